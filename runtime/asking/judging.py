"""An evaluation in which a judge has a part: a Transformers folder with words of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.asking.words import Folder
from runtime.contract import Context, Runner
from runtime.models import build, device
from runtime.models import evaluate as evaluation
from runtime.models.asking import Told
from runtime.models.runners import HFRunner
from runtime.steps.evaluate import EvaluateParams


def opened(name: str, folder: Path, on: str, told: Told) -> Runner:
    """The runner of a judge. Raises Refusal for weights or words that cannot be read, and for a device not here."""
    model = build.load(folder, attention="sdpa").to(device.of(on))
    width = int(model.get_output_embeddings().weight.shape[0])
    return HFRunner(name, model, Folder(folder, width), told)


def evaluate(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> None:
    """Operation `evaluate`."""
    evaluation.evaluate(takes, params, ctx, opened)
