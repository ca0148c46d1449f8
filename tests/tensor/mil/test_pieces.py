"""Functions in pieces: what each is given, how what they give is put together, and what a contract of them may say."""

from typing import Any

import numpy as np
import pytest

from runtime.contract import BrokenEvidence
from runtime.contract import program as contracts
from runtime.contract.program import Cache, Contract, Function, Piece, Special, Value
from runtime.mil import pieces
from runtime.mil.findings import Count, Findings, Mismatch, Peak
from runtime.mil.interpreter import Result

HEX = "0" * 64
LAYERS, HEADS, SLOTS, WIDTH = 3, 2, 4, 2
WHOLE = (LAYERS, HEADS, SLOTS, WIDTH)


def value(name: str, *shape: int) -> Value:
    return Value(name=name, shape=list(shape), dtype="float16")


def piece(
    package: str, function: str, layers: tuple[int, int], takes: list[str], gives: list[str], **more: Any
) -> Piece:
    return Piece(
        package=package,
        function=function,
        layers=layers,
        inputs=[value(name, 1) for name in takes],
        outputs=[value(name, 1) for name in gives],
        **more,
    )


DECODE = [
    piece(
        "a", "decode", (0, 2), ["input_ids", "position", "key_cache"], ["hidden", "new_key"], parameters={"p": "first"}
    ),
    piece("b", "decode", (2, 3), ["hidden", "position", "key_cache"], ["logits", "new_key"], parameters={"q": "last"}),
]
PREFILL = [
    piece("a", "prefill", (0, 2), ["input_ids"], ["hidden", "keys"], parameters={"p": "first"}),
    piece("b", "prefill", (2, 3), ["hidden"], ["logits", "keys"], parameters={"q": "last"}),
]


def contract(**of: list[Piece] | None) -> Contract:
    def function(kind: Any, takes: list[str], gives: list[str], made: list[Piece] | None) -> Function:
        return Function(
            kind=kind,
            length=1,
            inputs=[value(name, *(WHOLE if name.endswith("_cache") else (1,))) for name in takes],
            outputs=[value(name, 1) for name in gives],
            parameters={},
            modules={},
            pieces=made,
        )

    return Contract(
        stage="package",
        model_type="llama",
        vocab_size=7,
        functions={
            "prefill_4": function("prefill", ["input_ids"], ["logits", "keys"], of.get("prefill", PREFILL)),
            "decode": function(
                "decode",
                ["input_ids", "position", "key_cache", "value_cache"],
                ["logits", "new_key"],
                of.get("decode", DECODE),
            ),
        },
        kv_cache=Cache(layers=LAYERS, heads=HEADS, head_dim=WIDTH, context=SLOTS),
        mask_value=-1e4,
        special={"pad": Special(text="", id=0)},
        template_sha256=HEX,
        tokenizer_sha256=HEX,
        model_sha256=HEX,
        tensors=[contracts.Stored(name=name, shape=[1]) for name in ("first", "last", "nowhere")],
        lint=contracts.Lint(violations=0),
    )


class Told:
    """Remembers what it was given, and gives what it was made with."""

    def __init__(self, gives: dict[str, Any], findings: Findings | None = None) -> None:
        self.gives, self.findings = gives, findings or Findings(checked=True)
        self.given: list[tuple[dict[str, Any], Any]] = []

    def make_state(self) -> dict[str, Any]:
        return {"key_cache": np.zeros((1, HEADS, SLOTS, WIDTH))}

    def run(self, inputs: Any, /, *, state: Any = None) -> Result:
        self.given.append((dict(inputs), state))
        return Result(dict(self.gives), self.findings)


def keys(*layers: float) -> Any:
    return np.concatenate([np.full((1, HEADS, 1, WIDTH), layer) for layer in layers])


def chained(first: Told, last: Told) -> pieces.Chain:
    return pieces.Chain(contract(), "decode", [first, last])


def test_a_piece_is_given_its_own_layers_and_what_came_before() -> None:
    first = Told({"hidden": np.array([5.0]), "new_key": keys(0, 1)})
    last = Told({"logits": np.array([9.0]), "new_key": keys(2)})
    cache = np.arange(LAYERS, dtype=float)[:, None, None, None] * np.ones((LAYERS, HEADS, SLOTS, WIDTH))
    found = chained(first, last).run({"input_ids": np.array([1]), "position": np.array([3]), "key_cache": cache})
    (one, _), (two, _) = first.given[0], last.given[0]
    assert set(one) == {"input_ids", "position", "key_cache"}
    assert np.array_equal(one["key_cache"], cache[:2])
    assert set(two) == {"hidden", "position", "key_cache"}
    assert two["hidden"][0] == 5
    assert np.array_equal(two["key_cache"], cache[2:])
    # what only goes between pieces is no output
    assert set(found.outputs) == {"logits", "new_key"}
    assert found.outputs["logits"][0] == 9
    assert np.array_equal(found.outputs["new_key"], keys(0, 1, 2))


def test_each_package_has_its_own_state_and_read_by_name_they_are_one() -> None:
    first, last = Told({"hidden": np.zeros(1)}), Told({"logits": np.zeros(1)})
    kept = [one.model_copy(update={"states": [value("key_cache", 1)]}) for one in DECODE]
    chain = pieces.Chain(contract(decode=kept), "decode", [first, last])
    state = chain.make_state()
    state.of["a"]["key_cache"] += 1
    assert state["key_cache"].shape == (2, HEADS, SLOTS, WIDTH)
    assert state["key_cache"][:, 0, 0, 0].tolist() == [1, 0]
    chain.run({"input_ids": np.array([1]), "position": np.array([0])}, state=state)
    assert first.given[0][1] is state.of["a"]
    assert last.given[0][1] is state.of["b"]


def test_what_was_found_in_a_piece_is_told_under_its_name() -> None:
    seen = Findings(
        checked=True,
        mismatches=(Mismatch("x", "add", "x", "shape", "(1,)", "(2,)"),),
        nan=(Count("x", "add", "x", 3),),
        peaks={"x": Peak("x", "add", "x", 10.0)},
        first="x",
    )
    other = Findings(checked=True, nan=(Count("x", "add", "x", 4),), peaks={"x": Peak("x", "add", "x", 7.0)})
    found = chained(Told({}, seen), Told({}, other)).run({}).findings
    assert found.checked
    assert found.first == "a/x"
    assert found.peaks == {"a/x": Peak("a/x", "add", "a/x", 10.0), "b/x": Peak("b/x", "add", "b/x", 7.0)}
    assert found.nan == (Count("a/x", "add", "a/x", 3), Count("b/x", "add", "b/x", 4))
    assert found.mismatches[0].value == "a/x"
    # one piece that was not looked at is enough
    assert not chained(Told({}, seen), Told({}, Findings())).run({}).findings.checked


def test_a_function_of_a_package_is_made_once_for_all_that_it_runs() -> None:
    shared = piece("", "any", (0, LAYERS), ["input_ids"], ["logits", "keys", "new_key"])
    made = pieces.runs(contract(prefill=[shared], decode=[shared]), lambda _: Told({}))
    assert made["prefill_4"][0] is made["decode"][0]
    # alone it is told by its own name
    assert isinstance(pieces.functions(contract(prefill=None, decode=None), made)["decode"], Told)


def test_the_contract_of_one_package_is_of_its_pieces_and_tensors_alone() -> None:
    whole = contract()
    assert contracts.parts(whole) == ["a", "b"]
    part = contracts.part(whole, "b")
    assert set(part.functions) == {"prefill", "decode"}
    assert [one.name for one in part.functions["decode"].inputs] == ["hidden", "position", "key_cache"]
    assert part.functions["decode"].kind == "decode"
    assert part.functions["prefill"].parameters == {"q": "last"}
    assert [one.name for one in part.tensors] == ["last"]
    plain = contract(prefill=None, decode=None)
    assert contracts.parts(plain) == [""]
    assert contracts.part(plain, "") is plain
    assert [contracts.filename("fp16"), contracts.filename("fp16", "a")] == ["fp16.mlpackage", "fp16.a.mlpackage"]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([(0, 2)], "end at layer 2 of 3"),
        ([(0, 2), (2, 4)], "end at layer 4 of 3"),
        ([(1, 3)], "does not begin at layer 0"),
        ([(0, 2), (1, 3)], "does not begin at layer 2"),
        ([(0, 2), (2, 1)], "does not begin at layer 2"),
    ],
)
def test_pieces_that_do_not_hold_every_layer_once_are_no_contract(
    tmp_path: Any, layers: list[tuple[int, int]], said: str
) -> None:
    whole = contract()
    wrong = [piece("a", f"f{at}", item, ["input_ids"], ["logits"]) for at, item in enumerate(layers)]
    broken = whole.functions["decode"].model_copy(update={"pieces": wrong})
    changed = whole.model_copy(update={"functions": {**whole.functions, "decode": broken}})
    (tmp_path / "contract.json").write_text(contracts.dump(changed))
    with pytest.raises(BrokenEvidence, match=said):
        contracts.load(tmp_path)


def test_a_contract_with_pieces_is_read_as_it_was_written(tmp_path: Any) -> None:
    (tmp_path / "contract.json").write_text(contracts.dump(contract()))
    assert contracts.load(tmp_path) == contract()
