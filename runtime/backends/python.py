"""Steps that need no toolchain beyond the core dependencies."""

from runtime.contract import Backend

BACKEND = Backend(
    name="python",
    version=1,
    operations={
        "ask": "runtime.asking.ask:ask",
        "attest": "runtime.data.attested:gather",
        "data": "runtime.data.prepare:prepare",
        "parity": "runtime.asking.parity:compare",
        "readiness": "runtime.data.readiness:gather",
        "replay": "runtime.data.replay:replay",
        "regression": "runtime.timing.comparing:compare",
    },
)
