"""What an evaluation asks, from its dataset, and the report on what was answered: the same at once and in shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

from runtime import catalog
from runtime.contract import Context, Params, Refusal, Suite, items, lots, rows, toolbox
from runtime.contract.part import Part
from runtime.contract.questioned import JUDGE
from runtime.machine import durable


class Asked(Protocol):
    """Parameters of a step that says what is asked of whom."""

    @property
    def suite(self) -> str: ...
    @property
    def suite_version(self) -> int: ...
    @property
    def params(self) -> dict[str, Any]: ...
    @property
    def split(self) -> str: ...
    @property
    def rows(self) -> Part | None: ...
    @property
    def runners(self) -> Sequence[str]: ...


@dataclass(frozen=True, kw_only=True)
class Questions:
    """A suite under its parameters, and what it asks."""

    suite: Suite
    params: Params
    rows: Sequence[Mapping[str, Any]]
    tools: Sequence[Any]
    runners: Sequence[str]

    def report(
        self,
        lines: Sequence[Mapping[str, Any]],
        ctx: Context,
        fingerprints: Mapping[str, str],
        environment: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Write the items and the report of every line."""
        complete = self.suite.complete
        whole = lines if complete is None else complete(lines, self.rows, self.tools, self.params)
        kept = items.made(whole, ctx.scratch)
        durable.DISK.pour(ctx.out("items") / items.FILE, kept.pieces(), kept.size)
        data = self.suite.data_of(kept, self.rows, self.tools, self.params, ctx.seed)
        ctx.report("report", data, fingerprints=fingerprints, environment=environment)


def _suite(params: Asked) -> Suite:
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


def judged_by(which: Mapping[str, str]) -> dict[str, Any]:
    """What the environment of a report says of a judge behind a server (`runtime.contract.hosted.judge`)."""
    return {JUDGE: dict(which)} if which else {}


def of(takes: Mapping[str, Path], params: Asked, ctx: Context) -> Questions:
    """Raises Refusal for rows that cannot be judged, before anybody is asked."""
    suite = _suite(params)
    own = suite.params.model_validate(params.params)
    held = rows.kept(takes["dataset"] / f"{params.split}.jsonl", *([] if params.rows is None else [params.rows.holds]))
    lots.distinct(held)
    tools = toolbox.of_dataset(takes["dataset"])
    suite.data_of([], held, tools, own, ctx.seed)
    ctx.say(f"{suite.name}: {len(held)} rows, runners {', '.join(params.runners)}")
    return Questions(suite=suite, params=own, rows=held, tools=tools, runners=list(params.runners))
