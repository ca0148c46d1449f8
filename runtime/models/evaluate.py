"""One suite × the split it asks for × the runners it may question → its items and its report, or a shard of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch

from runtime.contract import Context, Runner, items
from runtime.contract import report as facts
from runtime.contract.questioned import JUDGE, PORT_OF_RUNNER, WHICH
from runtime.contract.strict_json import dumps
from runtime.machine import durable
from runtime.models import questions, runners, threads
from runtime.models import tokenizer as tokenizers
from runtime.models.asking import TIMES, Asking, Told
from runtime.steps.evaluate import EvaluateParams


class Judge(Protocol):
    """The judge of an evaluation: one that compares answers of others, or that is what is evaluated."""

    def check(self) -> None:
        """Before anybody is asked. Raises Refusal where the report that says what it is worth is about another."""

    def open(self, name: str, told: Told) -> Runner:
        """Its runner. Raises Refusal where it cannot be asked."""

    def fingerprints(self) -> dict[str, str]:
        """By what a report on it is bound to it, once all was asked."""

    def which(self) -> dict[str, str]:
        """Once all was asked: which model it was, of one behind a server that was asked anything; else nothing."""


def _opened(name: str, takes: Mapping[str, Path], tokenizer: tokenizers.Tokenizer, device: str, told: Told) -> Runner:
    """The runner of this name. Raises Refusal where its model cannot be asked."""
    port = PORT_OF_RUNNER[name]
    if port == "package":
        return runners.saved_package(name, takes[port], tokenizer, told)
    return runners.checkpoint(name, takes[port], tokenizer, told, on=device)


def evaluate(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context, judge: Judge) -> None:
    """What operation `evaluate` does.

    An empty split is no failure: every rate of it is unavailable, and no gate passes on it.
    """
    asked = questions.of(takes, params, ctx)
    alone = params.judging == "evaluated"
    tokenizer = None if alone else tokenizers.load(takes["tokenizer"])
    if params.judging:
        judge.check()
    # known before the first is opened: a shard may have nobody to ask
    device = params.device
    shard = (0, 1) if params.shard is None else (params.shard.index, params.shard.of)

    def open_(name: str, told: Told) -> Runner:
        if tokenizer is None or name == JUDGE:
            return judge.open(name, told)
        return _opened(name, takes, tokenizer, device, told)

    before = torch.get_num_threads()
    try:
        threads.use(params.threads)
        asking = Asking(asked.suite, asked.params, asked.rows, asked.tools, asked.runners, open_, ctx, shard)
        lines = asking.lines()
    finally:
        torch.set_num_threads(before)
    durable.DISK.write(ctx.out("seconds") / TIMES, asking.times())
    which = judge.which() if params.judging else {}
    if params.shard is not None:
        durable.DISK.pour(ctx.out("lines") / items.FILE, lines.pieces(), lines.size)
        if which:
            durable.DISK.write(ctx.out("lines") / WHICH, dumps({**which}).encode())
        return
    bound = facts.fingerprints(takes, ctx.digests, model="" if alone else "checkpoint")
    asked.report(lines, ctx, {**bound, **(judge.fingerprints() if params.judging else {})}, questions.judged_by(which))
