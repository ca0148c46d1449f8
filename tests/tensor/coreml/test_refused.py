"""What the toolchain does not convert is a refusal in our words, with a code; our own mistakes are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import activations

from runtime.contract import Refusal
from runtime.mil.convert import _toolchain, convert
from runtime.models.export import _toolchain as _tracing
from runtime.models.export import export
from runtime.steps.convert import ConvertParams
from tests.tensor.coreml.conftest import EXPORT, RECIPE
from tests.tensor.export.world import Stage, world


def test_an_operator_that_coremltools_lacks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(activations.ACT2FN, "celu", nn.CELU)
    takes = world(tmp_path, num_hidden_layers=1)
    path = takes["checkpoint"] / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_act": "celu"}))
    first = Stage(tmp_path / "exported", takes)
    export(takes, EXPORT, first)
    program = {"program": first.root / "program"}
    with pytest.raises(Refusal, match=r"cannot convert the decode of 1: NotImplementedError: .*celu") as caught:
        convert(program, ConvertParams(recipe=RECIPE, islands=["rms_norm"]), Stage(tmp_path / "converted", program))
    assert caught.value.code == "KR0140"
    assert "silu" in caught.value.action
    assert not list(tmp_path.rglob("*.mlpackage"))


class Deciding(nn.Module):
    """An activation whose code asks for the values it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) if x.sum() > 0 else x


def test_a_model_that_torch_export_cannot_trace_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(activations.ACT2FN, "deciding", Deciding)
    takes = world(tmp_path, num_hidden_layers=1)
    path = takes["checkpoint"] / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_act": "deciding"}))
    with pytest.raises(Refusal, match=r"torch\.export cannot trace the prefill of \d+: \w+: .") as caught:
        export(takes, EXPORT, Stage(tmp_path / "exported", takes))
    assert caught.value.code == "KR0141"
    assert "silu" in caught.value.action
    assert not list(tmp_path.rglob("*.pt2"))


@pytest.mark.parametrize("toolchain", [_toolchain, _tracing])
@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device"), Refusal("ours")])
def test_what_is_not_the_toolchains_opinion_stays_what_it_is(toolchain: Any, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, toolchain("it"):
        raise error
    assert caught.value is error
