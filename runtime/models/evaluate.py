"""One suite × the split it asks for × the runners it may question → its items and its report, or a shard of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from runtime.contract import Context, Refusal, Runner, items, strict_json
from runtime.contract import report as facts
from runtime.contract.questioned import JUDGE, PORT_OF_RUNNER, STANDING
from runtime.machine import durable
from runtime.models import questions, runners, threads
from runtime.models import tokenizer as tokenizers
from runtime.models.asking import TIMES, Asking, Told
from runtime.steps.evaluate import EvaluateParams

#: (name, folder, device, told) → the runner of a judge
OpenJudge = Callable[[str, Path, str, Told], Runner]


def _opened(name: str, takes: Mapping[str, Path], tokenizer: tokenizers.Tokenizer, device: str, told: Told) -> Runner:
    """The runner of this name. Raises Refusal where its model cannot be asked."""
    port = PORT_OF_RUNNER[name]
    if port == "package":
        return runners.saved_package(name, takes[port], tokenizer, told)
    return runners.checkpoint(name, takes[port], tokenizer, told, on=device)


def _is_the_one(takes: Mapping[str, Path], ctx: Context) -> None:
    """Raises Refusal where the report that says what the judge is worth is about another model."""
    said: Any = strict_json.loads((takes[STANDING] / "report.json").read_bytes())
    of = said["fingerprints"].get("model")
    if of != facts.hex_of(ctx.digests[JUDGE]):
        raise Refusal(
            "the judge is not the model that its report is about",
            action="take both from evaluation.judge: port `standing` is the report on the folder of port `judge`",
        )


def _bound(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> dict[str, str]:
    """The fingerprints of the report; words and template of a judge are files of its folder, and bound with it."""
    if params.judging != "evaluated":
        return facts.fingerprints(takes, ctx.digests, model="checkpoint")
    found = facts.fingerprints(takes, ctx.digests, model=JUDGE)
    return {**found, "tokenizer": found["model"], "prompt_wrapper": found["model"]}


def evaluate(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context, judge: OpenJudge) -> None:
    """What operation `evaluate` does; `judge` opens a model with words of its own.

    An empty split is no failure: every rate of it is unavailable, and no gate passes on it.
    """
    asked = questions.of(takes, params, ctx)
    tokenizer = None if params.judging == "evaluated" else tokenizers.load(takes["tokenizer"])
    if params.judging == "asked":
        _is_the_one(takes, ctx)
    # known before the first is opened: a shard may have nobody to ask
    device = params.device
    shard = (0, 1) if params.shard is None else (params.shard.index, params.shard.of)

    def open_(name: str, told: Told) -> Runner:
        if tokenizer is None or name == JUDGE:
            return judge(name, takes[JUDGE], device, told)
        return _opened(name, takes, tokenizer, device, told)

    before = torch.get_num_threads()
    try:
        threads.use(params.threads)
        asking = Asking(asked.suite, asked.params, asked.rows, asked.tools, asked.runners, open_, ctx, shard)
        lines = asking.lines()
    finally:
        torch.set_num_threads(before)
    durable.DISK.write(ctx.out("seconds") / TIMES, asking.times())
    if params.shard is None:
        asked.report(lines, ctx, _bound(takes, params, ctx))
    else:
        durable.DISK.write(ctx.out("lines") / items.FILE, items.written(lines))
