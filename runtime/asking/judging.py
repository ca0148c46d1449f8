"""An evaluation in which a judge may have a part: a Transformers folder with words of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.asking.words import Folder
from runtime.contract import Context, Refusal, Runner, strict_json
from runtime.contract import report as facts
from runtime.contract.questioned import JUDGE, STANDING
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


class Local:
    """A judge whose folder is taken."""

    def __init__(self, takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> None:
        self._takes, self._params, self._ctx = takes, params, ctx

    def check(self) -> None:
        if self._params.judging != "asked":
            return
        said: Any = strict_json.loads((self._takes[STANDING] / "report.json").read_bytes())
        if said["fingerprints"].get("model") != facts.hex_of(self._ctx.digests[JUDGE]):
            raise Refusal(
                "the judge is not the model that its report is about",
                action="take both from evaluation.judge: port `standing` is the report on the folder of port `judge`",
            )

    def open(self, name: str, told: Told) -> Runner:
        return opened(name, self._takes[JUDGE], self._params.device, told)

    def fingerprints(self) -> dict[str, str]:
        """Of a report on the judge itself; its words and template are files of its folder, and bound with it. One on
        answers that it compared says which it was by the port `judge`."""
        if self._params.judging != "evaluated":
            return {}
        return dict.fromkeys(("model", "tokenizer", "prompt_wrapper"), facts.hex_of(self._ctx.digests[JUDGE]))

    def which(self) -> dict[str, str]:
        return {}


def evaluate(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> None:
    """Operation `evaluate`. Raises Refusal for a judge behind a server, whom another operation asks."""
    if params.hosted is not None or params.terms is not None:
        raise Refusal("this backend asks no server", action="plan again")
    evaluation.evaluate(takes, params, ctx, Local(takes, params, ctx))
