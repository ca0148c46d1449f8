"""What an earlier run answered, from its items: found by row and prompt; what is not there is not made up."""

from __future__ import annotations

from pydantic import Field

from runtime.contract import METHODS, Params, RunnerKind


class RecordedParams(Params):
    path: str = Field(
        min_length=1,
        max_length=1000,
        description="items.jsonl of an earlier run of the same suite, relative to the spec.",
        examples=["runs/2026-06/items.jsonl"],
    )
    runner: str = Field(
        min_length=1, max_length=100, description="Whose lines of it, by the name there.", examples=["student"]
    )


RUNNER = RunnerKind(
    name="recorded",
    version=1,
    params=RecordedParams,
    opens="runtime.asking.recorded:opened",
    can=frozenset(METHODS),
    backend="python",
    place="path",
)
