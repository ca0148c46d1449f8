"""Terms that depend on what rows say of themselves, from rows as they are written to a trained student and its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from runtime.contract import Refusal, rows
from runtime.contract.signals import Hidden
from runtime.steps.reach import ReachParams, Tried
from runtime.steps.record_signals import RecordSignalsParams
from runtime.train.distill import train
from runtime.train.reach import reach
from runtime.train.recording import record_signals
from tests.longer import also
from tests.tensor.train import world
from tests.tensor.train.world import Stage

OWN = ("claims", "compliance", "integration", "length", "early_tool", "code_mode")


def row(number: int) -> rows.Row:
    """One of six sorts, which differ in what the terms read of them."""
    sort, n = number % 6, number // 6 % 7
    spans: rows.Spans = {}
    more: dict[str, Any] = {}
    if sort == 0:
        response = f"It is {n}.5 km away"
        spans = {"integration": [[3, len(response)]], "fact": [[6, 12]], "claims": [[0, 12]]}
    elif sort == 1:
        response = f"sadly not {n}"
        spans = {"forbidden": [[0, 5]]}
    elif sort == 2:
        response = f"well, it is rather far away, {n} or so"
        more = {"wanted": {"required": ["km"], "reference_bytes": 10}}
    elif sort == 3:
        args = json.dumps({"x": n})
        response = f'so: {{"name": "f", "args": {args}}}'
        at = response.index(args)
        spans = {"call": [[4, len(response)]], "tool_name": [[14, 15]], "json_args": [[at, at + len(args)]]}
        more = {"wanted": {"calls": [{"name": "f", "args": {"x": [n] if n else [9]}}]}}
    elif sort == 4:
        response = f"run(f({n}))"
        more = {"rejected": f"f is {n}", "wanted": {"code_mode": n % 2 == 0}}
    else:
        response = f"plain {n}"
    return {"id": f"r{number}", "prompt": f"ask {number}", "response": response, "class": "", "spans": spans,
            "source": "w", **more}  # type: ignore[typeddict-item]  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("rows")
    data = root / "dataset"
    data.mkdir()
    text = "".join(rows.written([row(number) for number in range(84)], "train.jsonl"))
    (data / "train.jsonl").write_text(text, encoding="utf-8")
    (data / "manifest.json").write_text(json.dumps({"tool_registry_sha256": "0" * 64}), encoding="utf-8")
    return {"dataset": data, "tokenizer": world.tokenizer(root / "tokenizer", data)}


def losses() -> Any:
    return world.terms(ce_truth=0.4, **dict.fromkeys(OWN, 0.1))


@pytest.fixture(scope="module")
def trained(given: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Stage:
    stage = Stage(tmp_path_factory.mktemp("trained"), given)
    train(given, world.params(losses=losses(), steps=60, batch_size=14), stage)
    return stage


def test_each_term_is_tried_learns_from_its_own_rows_and_falls(
    given: dict[str, Path], trained: Stage, tmp_path: Path
) -> None:
    tried = [Tried(term=one.term, version=one.version, params={}, semantics=one.semantics) for one in losses()]
    stage = Stage(tmp_path, given)
    reach(given, ReachParams(architecture=world.architecture(), terms=tried, max_length=96, threads=1), stage)
    assert set(stage.reports["report"]["data"]["terms"]) == {"ce_truth", *OWN}
    terms = trained.reports["report"]["data"]["terms"]
    for name in OWN:
        assert terms[name]["final"]["value"] < terms[name]["first"]["value"], name
    shares = {name: (terms[name]["learnt_rows"]["k"], terms[name]["learnt_rows"]["n"]) for name in OWN}
    # of fourteen rows of each sort: right calls are those with an argument above 0, code is allowed where it is even
    assert shares == {
        **dict.fromkeys(("claims", "compliance", "integration", "length"), (14, 84)),
        "early_tool": (12, 84),
        "code_mode": (8, 84),
    }
    flagged = terms["integration"]["supervision"]["flagged"]["fact"]
    assert 0 < flagged["k"] < flagged["n"] == terms["integration"]["supervision"]["tokens"]["k"]


def test_what_is_forbidden_is_learnt_by_no_other_term_and_shown(trained: Stage) -> None:
    terms = trained.reports["report"]["data"]["terms"]

    def text(name: str, row: str, learnt: bool) -> str:
        (found,) = [one for one in terms[name]["supervision"]["shown"] if one["row"] == row]
        return "".join(piece["text"] for piece in found["pieces"] if piece["learnt"] is learnt)

    assert text("compliance", "r1", True) == "sadly"
    assert "sadly" not in text("ce_truth", "r1", True)
    assert "not 0" in text("ce_truth", "r1", True)


@pytest.mark.parametrize("way", [also({"micro_batch": 3}), {"micro_batch": 5, "packing": True}, also({"threads": 2})])
def test_every_way_through_the_model_reads_the_facts_of_its_own_tokens(
    given: dict[str, Path], trained: Stage, tmp_path: Path, way: dict[str, Any]
) -> None:
    stage = Stage(tmp_path, given)
    train(given, world.params(losses=losses(), steps=3, batch_size=14, **way), stage)
    whole = Stage(tmp_path / "whole", given)
    train(given, world.params(losses=losses(), steps=3, batch_size=14), whole)
    ours, theirs = (load_file(one.root / "checkpoint" / "model.safetensors") for one in (stage, whole))
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-5) for name in ours)


def test_signals_are_stored_for_forbidden_tokens_as_well(
    given: dict[str, Path], trained: Stage, tmp_path: Path
) -> None:
    takes = {**given, "teacher": trained.root / "checkpoint"}
    stage = Stage(tmp_path / "signals", takes)
    record_signals(
        takes, RecordSignalsParams(store=Hidden(form="hidden"), temperatures=[], max_length=96, threads=1), stage
    )
    takes = {**given, "signals": stage.root / "signals"}
    terms = world.terms(kl=0.5, compliance=0.5)
    stage = Stage(tmp_path / "train", takes)
    train(takes, world.params(losses=terms, signals="hidden", steps=2), stage)
    assert stage.reports["report"]["data"]["signals"]["covered"]["k"] > 0


def test_rows_without_what_a_term_reads_are_refused(given: dict[str, Path], tmp_path: Path) -> None:
    data = tmp_path / "plain"
    data.mkdir()
    plain = [{**row(5), "id": str(number)} for number in range(12)]
    (data / "train.jsonl").write_text("".join(rows.written(plain, "train.jsonl")), encoding="utf-8")  # type: ignore[arg-type]
    takes = {**given, "dataset": data}
    for name, mask in (("length", "longer"), ("early_tool", "before_call"), ("code_mode", "code_mode")):
        with pytest.raises(Refusal, match=f"no row drawn has a `{mask}` span"):
            train(takes, world.params(losses=world.terms(ce_truth=0.5, **{name: 0.5})), Stage(tmp_path / name, takes))
