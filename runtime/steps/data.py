"""Declared sources → one dataset with splits, overlap-free."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from runtime.contract import Context, Params, Port, Ports, Step
from runtime.contract.formats import Form


class Source(Params):
    """One source of rows."""

    name: str
    kind: Literal["jsonl", "csv", "parquet", "datasets", "generator"]
    generator: str = ""
    #: parameters of the generator, already validated by its own model
    params: dict[str, Any] = Field(default_factory=dict)
    #: "auto" assigns each row by stable hash; a named split takes every row, but what `validation` takes of "train"
    split: Literal["auto", "train", "validation", "test"] = "auto"
    license: str
    #: row field → field of the file
    fields: dict[str, str] = Field(default_factory=dict)
    #: who answers the prompts
    responses: Literal["file", "teacher"] = "file"
    #: who says which calls its rows may hold: tools, or suites by rules of their own, where nothing learns from them
    calls: Literal["tools", "suites"] = "tools"
    #: of a CSV file: what stands between fields, and the names of the columns where there is no header
    delimiter: Literal[",", ";", "\t", "|"] = ","
    columns: list[str] = Field(default_factory=list)
    #: take only so many rows, in file order; 0 takes all
    limit: int = Field(default=0, ge=0)

    def form(self) -> Form | None:
        """How its file is read; None where there is no file."""
        return None if self.kind == "generator" else Form(self.kind, self.delimiter, tuple(self.columns))


class DataParams(Params):
    sources: list[Source]
    #: share of the rows of "auto" sources that is held out, decided per row by a stable hash
    held_out: float = Field(default=0.2, ge=0.0, lt=1.0)
    #: share of the rows that would be learnt from that is kept for validation, by another hash of the same kind
    validation: float = Field(default=0.0, ge=0.0, lt=1.0)
    has_tools: bool = False
    #: whether the tools are answered from fixtures
    has_fixtures: bool = False
    #: whether anything reads training rows; then there must be some
    learns: bool = True


def takes(params: DataParams) -> Ports:
    ports = {
        f"source_{source.name}": Port(kind="rows_folder" if source.kind == "datasets" else "file")
        for source in params.sources
        if source.kind != "generator"
    }
    if params.has_tools:
        ports["tools"] = Port(kind="file")
    if params.has_fixtures:
        ports["fixtures"] = Port(kind="fixtures_folder")
    return ports


def plugs(params: DataParams) -> list[tuple[str, str]]:
    return [("generators", source.generator) for source in params.sources if source.kind == "generator"]


def run(takes: Mapping[str, Path], params: DataParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="data",
    version=1,
    params=DataParams,
    takes=takes,
    gives={"dataset": Port(kind="dataset"), "report": Port(kind="report", report="data.splits")},
    backend="python",
    run=run,
    plugs=plugs,
    code=(
        "runtime.data.prepare",
        "runtime.contract.conversation",
        "runtime.contract.rows",
        "runtime.contract.spool",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.contract.verdicts",
        "runtime.data.drawn",
        "runtime.contract.scenario",
        "runtime.contract.fixture_set",
        "runtime.contract.fixtures",
        "runtime.contract.expressions",
        "runtime.contract.bounded",
        "runtime.contract.pairs",
        "runtime.contract.sources",
        "runtime.contract.formats",
        "runtime.contract.tables",
        # run by runtime.contract.tables as a program
        "runtime.data.tables",
        "runtime.contract.splits",
        "runtime.data.classic",
        "runtime.tools",
        "runtime.contract.toolbox",
        "runtime.contract.calls",
        "runtime.contract.attempts",
        "runtime.contract.fitting",
        "runtime.contract.grouped",
        "runtime.contract.seen",
        "runtime.contract.callforms",
        "runtime.contract.cells",
        "runtime.contract.jsonschemas",
        "runtime.contract.toolset",
        "runtime.contract.ecma",
        "runtime.contract.strict_json",
        "runtime.contract.report",
    ),
    lighter="take fewer rows, by data.sources[].limit",
)
