"""Training with rounded weights against the same training rounded afterwards: held-out KL(teacher ‖ student), paired.

    kcompiler apply specs/eight-ball.yaml --profile qat4
    python tests/bench/qat.py generated/eight-ball@qat4/plan.lock      # two trainings for each form

The last stage of an applied plan is trained again from the plan's own rows, words and teacher: in float32, and for each
form with rounded weights from the step on that the plan says. Students are compared on the rows of split `test`, each by
the mean over its supervised tokens, in nats; `gain` is the difference of a row, its mean over rows with the interval of
Student's paired t: above 0 speaks for training with rounded weights. Rounded weights are those of the package
(`qat-as-trained`). CPU seconds say what a training costs beside the float32 one.

Eight-ball, profile qat4 (rounded from step 200 of 250 on), two threads, neighbours on the machine:

               after   trained       gain   95 %                  CPU
    fp32     0.00308                                                 1.00
    int8     0.00309   0.00310  -0.000016   [-0.000025, -0.000007] n=112  0.93
    int4     0.00350   0.00319   0.000310   [0.000141, 0.000478] n=112  1.13

Rounding takes 1.6 ns a number and step; what CPU seconds differ by beside that is the machine's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from runtime.contract.recipe import Recipe
from runtime.contract.rows import load
from runtime.contract.splits import TEST
from runtime.contract.statistics.paired import difference
from runtime.data.encode import RESPONSE, Example, encode
from runtime.machine.store import Store
from runtime.models import build, tokenizer
from runtime.steps.train import TrainParams
from runtime.train.distill import train
from runtime.train.qat import RoundedWeights
from runtime.train.teaching import ATTENTION
from tests.tensor.export.world import Stage

FORMS: dict[str, dict[str, Any]] = {
    "int8": {"weights": "int8", "granularity": "per_channel"},
    "int4": {"weights": "int4", "granularity": "per_block", "block": 32},
}
MOST_ROWS = 600


def taken(lock: Path, plan: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Path]]:
    """Parameters of the stage whose weights are rounded, and the artifacts that it took."""
    (step,) = (one for one in plan["steps"] if one["params"].get("qat") and "teacher" in one["takes"])
    report = json.loads((lock.parent / "evidence" / "reports" / f"{step['id']}.json").read_text(encoding="utf-8"))
    store = Store(lock.parents[2] / ".kcompiler")
    ports = {port.removeprefix("takes."): digest for port, digest in report["subject"].items() if "takes." in port}
    return {**step["params"], "seed": step["seed"]}, {port: store.read(digest) for port, digest in ports.items()}


def logs(model: PreTrainedModel, examples: Sequence[Example]) -> list[Tensor]:
    """log p_NV of each row's supervised tokens."""
    found = []
    with torch.inference_mode():
        for one in examples:
            places = torch.tensor(one.masks[RESPONSE]).nonzero()[:, 0] - 1
            found.append(model(input_ids=torch.tensor([list(one.ids)])).logits[0, places].log_softmax(-1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("lock", type=Path)
    lock = parser.parse_args().lock.resolve()
    params, takes = taken(lock, json.loads(lock.read_text(encoding="utf-8")))
    words, seed = tokenizer.load(takes["tokenizer"]), params.pop("seed")
    rows = load(takes["dataset"] / f"{TEST}.jsonl")[:MOST_ROWS]
    examples = [one for row in rows for one in encode(row, words, [RESPONSE])]
    teacher = logs(build.load(takes["teacher"], attention=ATTENTION), examples)

    def apart(model: PreTrainedModel) -> list[float]:
        pairs = zip(teacher, logs(model, examples), strict=True)
        return [float((p.exp() * (p - q)).sum(-1).mean()) for p, q in pairs]

    def trained(root: Path, name: str, rounding: dict[str, Any] | None) -> tuple[PreTrainedModel, float]:
        stage, begun = Stage(root / name, takes), time.process_time()
        stage.seed = seed
        train(takes, TrainParams.model_validate({**params, "qat": rounding}), stage)
        return build.load(stage.root / "checkpoint", attention=ATTENTION), time.process_time() - begun

    with tempfile.TemporaryDirectory() as folder:
        plain, cost = trained(Path(folder), "plain", None)
        before = apart(plain)
        print(f"{'':6}{'after':>10}{'trained':>10}{'gain':>11}   95 %{'':18}CPU", flush=True)
        print(f"{'fp32':6}{fmean(before):10.5f}{'':47}{1.0:6.2f}", flush=True)
        for name, form in FORMS.items():
            rounding = {**params["qat"], "recipe": {**params["qat"]["recipe"], "default": form}}
            aware, seconds = trained(Path(folder), name, rounding)
            after = build.load(Path(folder) / "plain" / "checkpoint", attention=ATTENTION)
            asked = TrainParams.model_validate({**params, "qat": rounding}).qat
            assert asked is not None
            assert isinstance(asked.recipe, Recipe)
            RoundedWeights(after, asked).settle()
            one, other = apart(after), apart(aware)
            gain = difference([-kl for kl in other], [-kl for kl in one], "nat/token")
            print(
                f"{name:6}{fmean(one):10.5f}{fmean(other):10.5f}{gain['value']:11.6f}"
                f"   [{gain['low']:.6f}, {gain['high']:.6f}] n={gain['n']}{seconds / cost:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
