"""One suite × the split it asks for × the runners it may question → its report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch

from runtime import catalog
from runtime.contract import Context, Refusal, Runner, Suite, rows
from runtime.contract import report as facts
from runtime.contract.strict_json import dumps
from runtime.machine import durable
from runtime.models import runners, threads
from runtime.models import tokenizer as tokenizers
from runtime.steps.evaluate import PORT_OF_RUNNER, EvaluateParams
from runtime.tools import registry

#: in the artifact of an itemised suite
ITEMS = "items.jsonl"


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


def evaluate(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> None:
    """Operation `evaluate`. An empty split is no failure: every rate of it is unavailable, and no gate passes on it."""
    suite = _suite(params)
    tokenizer = tokenizers.load(takes["tokenizer"])
    held = rows.load(takes["dataset"] / f"{params.split}.jsonl")
    if params.rows is not None:
        held = [row for row in held if params.rows.holds(row)]
    declared = takes["dataset"] / "tools.json"
    tools = registry.load(declared) if declared.is_file() else []
    opened: dict[str, Runner] = {}
    for name in params.runners:
        port = PORT_OF_RUNNER[name]
        if port == "package":
            opened[name] = runners.saved_package(name, takes[port], tokenizer, ctx.progress)
        else:
            opened[name] = runners.checkpoint(name, takes[port], tokenizer, ctx.progress, on=params.device)
    ctx.say(f"{suite.name}: {len(held)} rows, runners {', '.join(opened)}")
    before = torch.get_num_threads()
    try:
        threads.use(params.threads)
        found = suite.run(opened, held, tools, suite.params.model_validate(params.params), ctx.seed)
    finally:
        torch.set_num_threads(before)
    data, lines = found if suite.itemised else (found, None)
    if lines is not None:
        durable.DISK.write(ctx.out("items") / ITEMS, "".join(dumps(line) + "\n" for line in lines).encode())
    ctx.report("report", data, fingerprints=facts.fingerprints(takes, ctx.digests, model="checkpoint"))
