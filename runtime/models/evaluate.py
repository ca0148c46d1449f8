"""One suite × the split it asks for × the runners it may question → its report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from runtime import catalog
from runtime.contract import Context, Refusal, Runner, Suite, items, lots, rows
from runtime.contract import report as facts
from runtime.machine import durable
from runtime.models import runners, threads
from runtime.models import tokenizer as tokenizers
from runtime.models.asking import Asking, Told
from runtime.steps.evaluate import PORT_OF_RUNNER, EvaluateParams
from runtime.tools import registry


def _suite(params: EvaluateParams) -> Suite:
    try:
        suite = cast(Suite, catalog.load("suites", params.suite))
    except KeyError:
        raise Refusal(
            f"no suite is called `{params.suite}`", action=f"use {', '.join(catalog.names('suites'))}"
        ) from None
    if suite.version != params.suite_version:
        raise Refusal(
            f"suite `{suite.name}` has version {suite.version}, the plan was made for {params.suite_version}",
            action="plan again",
        )
    missing = [name for name in suite.runners if name not in params.runners]
    if missing:
        raise Refusal(
            f"suite `{suite.name}` cannot answer without {', '.join(missing)}",
            action="give it that runner",
        )
    return suite


def _opened(
    name: str, takes: Mapping[str, Path], params: EvaluateParams, tokenizer: tokenizers.Tokenizer, told: Told
) -> Runner:
    """The runner of this name. Raises Refusal where its model cannot be asked."""
    port = PORT_OF_RUNNER[name]
    if port == "package":
        return runners.saved_package(name, takes[port], tokenizer, told)
    return runners.checkpoint(name, takes[port], tokenizer, told, on=params.device)


def evaluate(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> None:
    """Operation `evaluate`. An empty split is no failure: every rate of it is unavailable, and no gate passes on it."""
    suite = _suite(params)
    own = suite.params.model_validate(params.params)
    tokenizer = tokenizers.load(takes["tokenizer"])
    held: list[Mapping[str, Any]] = list(rows.load(takes["dataset"] / f"{params.split}.jsonl"))
    if params.rows is not None:
        held = [row for row in held if params.rows.holds(row)]
    lots.distinct(held)
    declared = takes["dataset"] / "tools.json"
    tools = registry.load(declared) if declared.is_file() else []
    # rows that cannot be judged are refused before anybody is asked
    suite.data_of([], held, tools, own, ctx.seed)
    ctx.say(f"{suite.name}: {len(held)} rows, runners {', '.join(params.runners)}")

    def open_(name: str, told: Told) -> Runner:
        return _opened(name, takes, params, tokenizer, told)

    before = torch.get_num_threads()
    try:
        threads.use(params.threads)
        lines = Asking(suite, own, held, tools, params.runners, open_, ctx).lines()
    finally:
        torch.set_num_threads(before)
    if suite.complete is not None:
        lines = items.read(items.written(suite.complete(lines, held, tools, own)))
    durable.DISK.write(ctx.out("items") / items.FILE, items.written(lines))
    data = suite.data_of(lines, held, tools, own, ctx.seed)
    ctx.report("report", data, fingerprints=facts.fingerprints(takes, ctx.digests, model="checkpoint"))
