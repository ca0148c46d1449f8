"""A sound checkpoint passes every probe; a model or function that lost its mask, cache or reaction does not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from runtime.contract import Refusal
from runtime.models import build, probes
from runtime.models import tokenizer as tokenizers
from runtime.models.prompts import Text, texts_of
from runtime.models.wrapper import Decode, Prefill, RopeTable, check_shapes
from runtime.steps.probe import ProbeParams
from tests.tensor.export.conftest import Exported
from tests.tensor.export.world import Stage, architecture

PARAMS = ProbeParams(lengths=[16, 32], decode_context=40, threads=1)


@pytest.fixture
def model(exported: Exported) -> PreTrainedModel:
    return build.load(exported.takes["checkpoint"])


def failed(model: PreTrainedModel, exported: Exported) -> set[tuple[str, str]]:
    words = tokenizers.load(exported.takes["tokenizer"])
    sequences = probes.sequences_of(texts_of(exported.takes["dataset"], words), PARAMS.lengths)
    data = probes.data_of(model, sequences, PARAMS, words.pad_id)
    listed: list[dict[str, Any]] = data["probes"]
    lost = {(item["subject"], item["probe"]) for item in listed if item["passed"]["value"] is not True}
    assert data["passed"]["n"] == len(listed) == 9
    assert data["passed"]["k"] == 9 - len(lost)
    return lost


def test_a_sound_checkpoint_passes_with_evidence_that_it_reacts(exported: Exported, tmp_path: Path) -> None:
    stage = Stage(tmp_path, exported.takes)
    probes.probe(exported.takes, PARAMS, stage)
    data = stage.reports["report"]["data"]
    assert data["passed"]["k"] == data["passed"]["n"] == 9
    for item in data["probes"]:
        assert item["max_abs_difference"]["value"] <= 1e-4 < item["sensitivity"]["value"], item["probe"]


@pytest.mark.parametrize("at", [0, probes.ROWS, 2 * probes.ROWS + 6])
def test_no_position_is_left_out_and_none_hides_another_that_is_no_number(at: int) -> None:
    first = torch.zeros(2 * probes.ROWS + 7, 5)
    other = first.clone()
    other[at, 2] = -3.0
    assert probes.largest(first, other) == 3.0
    other[at, 2] = torch.nan
    assert math.isnan(probes.largest(first, other))


def test_a_checkpoint_without_a_causal_mask_fails(model: PreTrainedModel, exported: Exported) -> None:
    model.config.is_causal = False
    lost = failed(model, exported)
    assert ("checkpoint", "causality") in lost
    assert ("checkpoint", "prefill_decode") in lost
    assert ("functions", "equals_checkpoint") in lost


def test_functions_without_a_causal_mask_fail(
    model: PreTrainedModel, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Prefill.__init__

    def broken(self: Prefill, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self.causal.fill_(1.0)

    monkeypatch.setattr(Prefill, "__init__", broken)
    lost = failed(model, exported)
    assert ("functions", "causality") in lost
    assert not any(subject == "checkpoint" for subject, _ in lost)


def test_functions_that_see_their_padding_fail(
    model: PreTrainedModel, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Prefill.forward

    def broken(self: Prefill, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        self.causal.fill_(1.0)
        return made(self, input_ids, torch.ones_like(attention_mask))

    monkeypatch.setattr(Prefill, "forward", broken)
    lost = failed(model, exported)
    assert {("functions", "padding"), ("functions", "buckets")} <= lost


def test_a_decode_that_reads_unwritten_slots_fails(
    model: PreTrainedModel, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Decode.__init__

    def broken(self: Decode, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self.slots.fill_(-1)

    monkeypatch.setattr(Decode, "__init__", broken)
    assert failed(model, exported) == {("functions", "prefill_decode")}


def test_a_decode_that_reads_no_cache_fails(
    model: PreTrainedModel, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of defect D6 of the origin: traced with an empty cache, the branch that reads it is gone."""
    made = Decode.__init__

    def broken(self: Decode, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self.slots.fill_(PARAMS.decode_context)

    monkeypatch.setattr(Decode, "__init__", broken)
    assert failed(model, exported) == {("functions", "prefill_decode")}


def test_a_decode_that_is_always_at_position_zero_fails(
    model: PreTrainedModel, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half of D6: the mask is right, and every token is turned as the first one is."""
    made = Decode._said

    def broken(self: Decode, ids: Any, full: Any, sliding: Any, positions: torch.Tensor, cache: Any) -> Any:
        return made(self, ids, full, sliding, torch.zeros_like(positions), cache)

    monkeypatch.setattr(Decode, "_said", broken)
    assert failed(model, exported) == {("functions", "prefill_decode")}


def test_functions_whose_angles_depend_on_their_length_fail(
    model: PreTrainedModel, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect D7 of the origin: past a length the base grows with what a prompt was padded to."""
    made = RopeTable.__init__

    def broken(self: RopeTable, model: PreTrainedModel, context: int, rows: int | None) -> None:
        made(self, model, context, rows)
        if rows is not None and rows > 16:
            grown = scaled(rows, self.get_buffer("cos").shape[-1])
            self.get_buffer("cos").copy_(grown.cos())
            self.get_buffer("sin").copy_(grown.sin())

    monkeypatch.setattr(RopeTable, "__init__", broken)
    lost = failed(model, exported)
    assert {("functions", "buckets"), ("functions", "padding"), ("functions", "equals_checkpoint")} <= lost
    assert not any(subject == "checkpoint" for subject, _ in lost)


def scaled(rows: int, width: int, factor: float = 4.0) -> torch.Tensor:
    """Angles of `dynamic` scaling of a model of 16 positions, for a text of `rows` tokens."""
    base = 10000.0 * (factor * rows / 16 - (factor - 1)) ** (width / (width - 2))
    angles = torch.arange(rows)[:, None] / base ** (torch.arange(0, width, 2) / width)
    return torch.cat((angles, angles), -1)


def test_a_checkpoint_whose_angles_depend_on_its_padding_fails() -> None:
    """D7 in Transformers' own model, which no function is made of: `check_shapes` refuses it."""
    torch.manual_seed(1)
    shape = architecture(max_position_embeddings=16, rope_scaling={"rope_type": "dynamic", "factor": 4.0})
    model = build.build(shape, seed=1)
    ids = torch.randint(1, 512, (12,)).tolist()
    with torch.no_grad():
        assert probes.buckets(probes.checkpoint_forward(model, 0), ids, [14, 16]) <= PARAMS.tolerance
        assert probes.buckets(probes.checkpoint_forward(model, 0), ids, [16, 32]) > 10 * PARAMS.tolerance
    with pytest.raises(Refusal, match="16 positions"):
        check_shapes(model, [16, 32], 40, 512)


def test_a_model_that_answers_the_same_to_everything_proves_nothing(model: PreTrainedModel, exported: Exported) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert len(failed(model, exported)) == 9


def test_a_model_that_is_not_finite_fails(model: PreTrainedModel, exported: Exported) -> None:
    with torch.no_grad():
        model.get_decoder().norm.weight.fill_(float("nan"))
    assert len(failed(model, exported)) == 9


def test_shapes_too_short_to_probe_are_refused() -> None:
    with pytest.raises(Refusal, match="nothing to probe"):
        probes.sequences_of([Text("a", [1, 2, 3], 2)], [2, 8])
