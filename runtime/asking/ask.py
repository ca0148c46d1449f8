"""One suite × the rows it asks for × one further way to ask a model → its items, and what they come to.

A runner that cannot do what the suite asks of it leaves no items: what they would show is unavailable, with its reason.
"""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from runtime import catalog
from runtime.asking import served
from runtime.asking.recorded import Recorded
from runtime.asking.truth import Truth
from runtime.contract import Context, Refusal, Runner, RunnerKind, Suite, items, lots, parity, rows, spool, toolbox
from runtime.contract import report as facts
from runtime.contract.asked import Asked, CannotAnswer
from runtime.contract.hosted import in_a_word
from runtime.machine import durable
from runtime.models.asking import Asking, Told
from runtime.steps.ask import AskParams

Row = Mapping[str, Any]


def _plugged(room: str, name: str, version: int) -> Any:
    try:
        found = catalog.load(room, name)
    except KeyError:
        raise Refusal(
            f"room `{room}` has nothing called `{name}`", action=f"use {', '.join(catalog.names(room))}"
        ) from None
    if found.version != version:
        raise Refusal(
            f"`{name}` of room `{room}` has version {found.version}, the plan was made for {version}",
            action="plan again",
        )
    return found


def _runner(kind: RunnerKind, params: AskParams, takes: Mapping[str, Path], ctx: Context, told: Told) -> Runner:
    module, _, function = kind.opens.partition(":")
    asked = Asked(
        name=params.runner,
        params=kind.params.model_validate({**params.settings, **params.pace}),
        takes=takes,
        ctx=ctx,
        told=told,
        device=params.device,
        threads=params.threads,
        purse=params.purse,
        usd=params.usd,
        teacher_calls=params.teacher_calls,
        teacher_tokens=params.teacher_tokens,
    )
    return cast(Runner, getattr(importlib.import_module(module), function)(asked))


def _answered(suite: Suite) -> Suite:
    """The same suite, for runners that are told which rows are asked, or that remember the items themselves."""

    def ask(
        name: str, runner: Any, lot: Sequence[Row], tools: Sequence[Any], params: Any, seed: int
    ) -> Sequence[Mapping[str, Any]]:
        if isinstance(runner, Recorded):
            known = zip(lot, runner.remembered(lot), strict=True)
            return [one or items.line(row, name, None, {}, parity.NOT_RECORDED) for row, one in known]
        if isinstance(runner, Truth):
            runner.turn_to(lot, _wanted(suite, lot, tools, params))
        return suite.ask(name, runner, lot, tools, params, seed)

    return replace(suite, ask=ask)


def _wanted(suite: Suite, lot: Sequence[Row], tools: Sequence[Any], params: Any) -> list[str]:
    """What each row of a lot wants to hear: where its answers are texts its suite knows the form, else its response."""
    said = list(suite.zoo(lot, tools, params).get("copy_gold", ())) if suite.zoo is not None else []
    if len(said) == len(lot) and all(isinstance(one, str) for one in said):
        return said
    return [str(row["response"]) for row in lot]


def _checked(
    suite: Suite, lines: Sequence[items.Line], held: Sequence[Row], tools: Sequence[Any], own: Any, ctx: Context
) -> None:
    """Raises Refusal for a line that its output does not give: one from a file may say anything."""
    there = array("I", (at for at, one in enumerate(lines) if one["reason"] != parity.NOT_RECORDED))
    lost = len(there) < len(lines)
    known = spool.picked(lines, there) if lost else lines
    try:
        # what a line is worth may depend on all rows, also on those without one
        if suite.complete is not None:
            again = items.made(suite.complete(known, held, tools, own), ctx.scratch)
            if any(one != mine for one, mine in zip(again, known, strict=True)):
                raise ValueError("a line is not what its output gives")
        if suite.complete is None or not lost:
            # whom a limit leaves out was never asked, and takes no lost row's place; of who is asked there is a line
            due = spool.picked(suite.select(held, known[0]["runner"], own), there) if lost and known else held
            suite.data_of(known, due, tools, own, 0)
    except ValueError as error:
        raise Refusal(
            f"the recorded items are not of this suite: {error}",
            action="take the items.jsonl that this suite has written about these rows",
            code="KR0220",
        ) from None


def ask(takes: Mapping[str, Path], params: AskParams, ctx: Context) -> None:
    """Operation `ask`. Raises Unavailable where the model cannot be opened on this machine, Refusal for what is wrong
    with it or with the rows."""
    suite = cast(Suite, _plugged("suites", params.suite, params.suite_version))
    kind = cast(RunnerKind, _plugged("runners", params.use, params.use_version))
    own = suite.params.model_validate(params.params)
    held = rows.kept(takes["dataset"] / f"{params.split}.jsonl", *([] if params.rows is None else [params.rows.holds]))
    lots.distinct(held)
    tools = toolbox.of_dataset(takes["dataset"])
    suite.data_of([], held, tools, own, ctx.seed)
    if kind.scores_by and "score" in set(suite.asks) - kind.can and suite.replies is not None:
        in_a_word(suite.replies(own), suite.select(held, params.runner, own))
    ctx.say(f"{suite.name}: {len(held)} rows, runner {params.runner} ({kind.name})")
    why, lines = "", items.made([])

    def open_(_name: str, told: Told) -> Runner:
        return _runner(kind, params, takes, ctx, told)

    try:
        lines = Asking(_answered(suite), own, held, tools, [params.runner], open_, ctx).lines()
        if suite.complete is not None and kind.name != "recorded":
            lines = items.made(suite.complete(lines, held, tools, own), ctx.scratch)
        _checked(suite, lines, held, tools, own, ctx)
    except CannotAnswer as reason:
        why = str(reason)
        ctx.say(why)
    durable.DISK.pour(ctx.out("items") / items.FILE, lines.pieces(), lines.size)
    data = {"suite": suite.name, "use": kind.name, **parity.asked(params.runner, lines, why)}
    hosted = served.told(ctx.scratch, str(params.settings["model"])) if kind.address else {}
    if hosted.get("cut"):
        ctx.say(f"{len(hosted['cut'])} answers were cut where the suite lets them end")
    ctx.report("report", data, fingerprints=facts.fingerprints(takes, ctx.digests), environment=hosted)
