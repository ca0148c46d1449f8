from runtime.contract import Backend, Params, Port, Step

BACKEND = Backend(name="drawing", version=1, operations={"draw": "drawing:draw"}, requires={"torch": "2.12.0"})
STEP = Step(
    name="draw",
    version=1,
    params=Params,
    takes={},
    gives={"report": Port(kind="report", report="drawing")},
    backend="drawing",
    run=lambda takes, params, ctx: ctx.perform(takes, params),
)
