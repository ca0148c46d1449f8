"""Order: every shipped spec's graph holds the preconditions, and no entry under `steps` can weaken them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from kcompiler.checks.order import PRECONDITIONS
from kcompiler.front import compile_spec
from kcompiler.graph import Node
from kcompiler.lower import lower
from tests.unit.kcompiler.checks.claims import Claim, _parsed, disagrees

ROOT = Path(__file__).resolve().parents[4]
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
MODEL = {"dataset": "data#dataset", "tokenizer": "tokenizer#tokenizer", "checkpoint": "train-kd#checkpoint"}
PROBE = {"use": "probe", "params": {"lengths": [32], "decode_context": 64}, "takes": MODEL}
EXPORT = {"use": "export", "params": {"prefill": [32], "decode_context": 64}}
CONVERT = {
    "use": "convert",
    "params": {
        "deployment": "iOS18",
        "strategy": "multifunction",
        "recipe": {"default": {"weights": "int8"}, "rules": []},
        "islands": [],
    },
}
TRAIN = {
    "use": "train",
    "params": {
        "architecture": {
            "family": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 512,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        },
        "losses": [], "needs_teacher": False, "steps": 1, "batch_size": 1, "max_length": 64,
    },
}  # fmt: skip


def steps(*entries: dict[str, Any]) -> Any:
    return lambda data: data.update(steps=[{"id": f"more-{i}", **entry} for i, entry in enumerate(entries)])


def taking(step: dict[str, Any], **takes: str) -> dict[str, Any]:
    return {**step, "takes": takes}


CLAIMS = [
    Claim("no further steps", lambda _: None),
    Claim("a step beside the pipeline", steps(PROBE)),
    *(Claim(f"the id {name}", steps({**PROBE, "id": name}), ("KC4821",), severity="error")
      for name in ("data", "tokenizer", "teacher", "probe", "export", "convert", "verify", "train-kd", "evaluate-x")),
    Claim("an id that only begins so", steps({**PROBE, "id": "trained"})),
    Claim("training after the contract alone",
          steps(taking(TRAIN, dataset="data#dataset", tokenizer="tokenizer#tokenizer")), ("KC4822",),
          ("before `reach`",)),
    Claim("training without it", steps(taking(TRAIN, dataset="data#dataset", tokenizer="input:tokenizer")),
          ("KC4822",), ("before `tokenizer`, `reach`",)),
    Claim("training after a training", steps(taking(TRAIN, checkpoint="train-kd#checkpoint"))),
    Claim("an export without probes", steps(taking(EXPORT, **MODEL)), ("KC4822",), ("before `probe`",)),
    Claim("an export of something else", steps(taking(EXPORT, dataset="data#dataset")), ("KC4822",),
          ("before `tokenizer`, `probe`", "take what `tokenizer` makes")),
    Claim("a conversion of the linted program", steps(taking(CONVERT, program="export#program"))),
    Claim("of the long form too", steps(taking(CONVERT, program="step:export#program"))),
    Claim("a conversion of a file", steps(taking(CONVERT, program="input:program")), ("KC4822",), ("before `export`",)),
    Claim("a conversion of something converted", steps(taking(CONVERT, program="convert#package"))),
    Claim("of what comes later", steps(taking(CONVERT, program="evaluate-answers#report"))),
    Claim("through another step", steps(taking(PROBE, checkpoint="export#program"),
                                        taking(CONVERT, program="more-0#report"))),
    Claim("through another step that proves nothing", steps(PROBE, taking(CONVERT, program="more-0#report")),
          ("KC4822",)),
    Claim("by a step of the right kind", steps(taking(EXPORT, tokenizer="export#program"),
                                               taking(CONVERT, program="more-0#program"))),
    Claim("steps that wait for each other", steps(taking(CONVERT, program="more-1#package"),
                                                  taking(CONVERT, program="more-0#package")), ("KC4822", "KC4822")),
    Claim("a step that waits for itself", steps(taking(CONVERT, program="more-0#package")), ("KC4822",)),
]  # fmt: skip


@dataclass(frozen=True)
class Step:
    id: str
    step: str
    takes: tuple[str, ...] = ()

    def upstream(self) -> Iterator[str]:
        yield from self.takes


def graphs() -> None:
    """`missing` by hand: direct, indirect, absent, dangling, cyclic."""
    order = importlib.import_module("kcompiler.checks.order")
    say = lambda *nodes: sorted(order.missing(nodes))  # noqa: E731
    tokens, linted = Step("tokenizer", "tokenizer"), Step("export", "export", ("tokenizer", "p"))
    probe = Step("p", "probe", ("tokenizer",))
    tried = Step("r", "reach", ("tokenizer",))
    assert say(tokens, tried, Step("t", "train", ("r",))) == []
    assert say(tokens, tried, Step("x", "data", ("r",)), Step("t", "train", ("x",))) == []
    assert say(tokens, tried, Step("t", "train", ("tokenizer",))) == [("t", "reach")]
    assert say(tokens, Step("b", "bootstrap")) == [("b", "tokenizer")]
    assert say(Step("b", "bootstrap", ("gone",))) == [("b", "tokenizer")]
    assert say(Step("c", "convert", ("export",)), linted, tokens, probe) == []
    assert say(Step("c", "convert", ("p",)), linted, tokens, probe) == [("c", "export")]
    assert say(Step("a", "convert", ("b",)), Step("b", "verify", ("a",))) == [("a", "export"), ("b", "export")]


ARITHMETIC = (graphs,)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_order_says(claim, tmp_path):
    assert disagrees("order", claim, tmp_path) == ""


def test_missing_by_hand():
    graphs()


def lowered(path: Path) -> list[Node]:
    front = compile_spec(path, ROOT)
    assert front.spec is not None, front.diagnostics
    return lower(front.spec, ROOT, path.parent)[0]


def _is_spec(path: Path) -> bool:
    return path.read_text(encoding="utf-8").find("kind: Distillation") >= 0


@pytest.mark.parametrize("path", [path for path in SPECS if _is_spec(path)], ids=lambda path: path.stem)
def test_the_graph_of_every_shipped_spec_holds_the_preconditions(path):
    missing = importlib.import_module("kcompiler.checks.order").missing
    nodes = lowered(path)
    assert list(missing(nodes)) == []
    guarded = [node for node in nodes if node.step in PRECONDITIONS]
    # smollm2 is a model that exists: nothing is trained
    trains = set() if path.stem == "smollm2" else {"train"}
    assert {*trains, "export", "convert", "verify", "evaluate"} <= {node.step for node in guarded}
    for node in guarded:
        cut = [replace(other, takes={}, after=()) if other.id == node.id else other for other in nodes]
        assert {kind for step, kind in missing(cut) if step == node.id} == set(PRECONDITIONS[node.step])


def test_further_steps_change_no_step_of_the_pipeline(tmp_path):
    """They can be added; whatever they are, the pipeline's own nodes, ports and edges stay as they were."""
    plain, _ = lower(_parsed(lambda _: None)[0], tmp_path, tmp_path)
    every = steps(PROBE, taking(CONVERT, program="export#program"), taking(TRAIN, checkpoint="train-kd#checkpoint"))
    more, _ = lower(_parsed(every)[0], tmp_path, tmp_path)
    assert more[: len(plain)] == plain
    assert len(more) == len(plain) + 3
    assert not [node.id for node in plain for up in node.upstream() if up.startswith("more-")]
