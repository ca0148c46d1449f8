"""One suite × the split it asks for × the runners it may question → its items and its report, or a shard of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from runtime.contract import Context, Runner, items
from runtime.contract.questioned import PORT_OF_RUNNER
from runtime.machine import durable
from runtime.models import questions, runners, threads
from runtime.models import tokenizer as tokenizers
from runtime.models.asking import TIMES, Asking, Told
from runtime.steps.evaluate import EvaluateParams


def _opened(name: str, takes: Mapping[str, Path], tokenizer: tokenizers.Tokenizer, device: str, told: Told) -> Runner:
    """The runner of this name. Raises Refusal where its model cannot be asked."""
    port = PORT_OF_RUNNER[name]
    if port == "package":
        return runners.saved_package(name, takes[port], tokenizer, told)
    return runners.checkpoint(name, takes[port], tokenizer, told, on=device)


def evaluate(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> None:
    """Operation `evaluate`. An empty split is no failure: every rate of it is unavailable, and no gate passes on it."""
    asked = questions.of(takes, params, ctx)
    tokenizer = tokenizers.load(takes["tokenizer"])
    # known before the first is opened: a shard may have nobody to ask
    device = params.device
    shard = (0, 1) if params.shard is None else (params.shard.index, params.shard.of)

    def open_(name: str, told: Told) -> Runner:
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
        asked.report(takes, lines, ctx)
    else:
        durable.DISK.write(ctx.out("lines") / items.FILE, items.written(lines))
