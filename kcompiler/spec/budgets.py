"""Section `budgets`: what a run may cost."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from kcompiler.spec.base import Section
from runtime.contract.units import unit


class Budgets(Section):
    """Upper bounds of a whole run over all its attempts. Money, calls, accelerators, tokens and the wall clock stop it
    when they are used up, and it goes on when the bound is raised; processor time is judged. What a step or a request
    takes is set aside before it begins. Money, calls, accelerators and tokens are counted for the spec's name, whatever
    is edited: who wants to spend anew writes a higher number, which stands in the difference of two versions and of two
    plans. Time is that of the plan at hand, which a rule holds to the same number: a pipeline that takes four
    minutes may be edited and run again. `plan` and `status` show what earlier plans of the name took.

    Files and lines bound a change to the spec's sources, and no run."""

    #: what is counted of a change to the sources, and of no run
    OF_CHANGES: ClassVar[frozenset[str]] = frozenset({"files", "lines"})

    usd: float = Field(
        ge=0,
        le=1e9,
        description="US dollars for hosted teachers, over all cells, attempts and resumed runs; asking stops before "
        "they are exceeded.",
        examples=[0, 240],
        json_schema_extra=unit("US dollar"),
    )
    gpu_hours: float = Field(
        ge=0,
        le=1e9,
        description="Hours of accelerators, each as long as a step holds it, over all cells, attempts and resumed "
        "runs; more stops the run.",
        examples=[0, 900],
        json_schema_extra=unit("hour"),
    )
    training_tokens: int | None = Field(
        default=None,
        ge=0,
        le=10**15,
        description="Tokens of rows that training steps may see, over all cells, attempts and resumed runs; more stops "
        "the run. No bound unless written.",
        examples=[2_000_000_000],
        json_schema_extra=unit("token"),
    )
    teacher_tokens: int | None = Field(
        default=None,
        ge=0,
        le=10**15,
        description="Tokens that hosted teachers may be sent and answer with, over all cells, attempts and resumed "
        "runs; asking stops before a request that may exceed them. For a teacher that has no price per token. No bound "
        "unless written.",
        examples=[50_000_000],
        json_schema_extra=unit("token"),
    )
    teacher_calls: int | None = Field(
        default=None,
        ge=0,
        le=10**12,
        description="Requests that may be sent to hosted teachers, judges and models, tried again or not, over all "
        "cells, attempts and resumed runs; asking stops before there are more. No bound unless written.",
        examples=[20_000],
        json_schema_extra=unit("call"),
    )
    wall_s: float = Field(
        gt=0,
        le=1e9,
        description="Seconds of wall-clock time that all attempts at one plan may take, of steps that an edit makes "
        "anew only the new ones; more stops the run at the next safe point of its step. Each plan of a name has them "
        "anew.",
        examples=[3600],
        json_schema_extra=unit("second"),
    )
    cpu_s: float = Field(
        default_factory=lambda before: before.get("wall_s", 1.0),
        gt=0,
        le=1e9,
        description="Seconds of processors, which no neighbour on the machine lengthens; a rule judges them. "
        "As many as `wall_s` unless written.",
        examples=[3600],
        json_schema_extra=unit("second"),
    )
    files: int | None = Field(
        default=None,
        ge=0,
        le=10**9,
        description="Files that one change may touch of the spec's own sources: the spec and what it includes, the "
        "rows and folders it names, the packs, waivers and plug-ins in its project; nothing generated. "
        "`kcompiler ci --base` counts them as git does, a moved or a binary file as one, and holds the change to the "
        "bound that its base has. No bound unless written.",
        examples=[25],
        json_schema_extra=unit("file"),
    )
    lines: int | None = Field(
        default=None,
        ge=0,
        le=10**12,
        description="Lines that one change may add and delete, together, in the files that `files` is about, as git "
        "counts them; a binary file has none. No bound unless written.",
        examples=[1000],
        json_schema_extra=unit("line"),
    )

    def of_runs(self) -> dict[str, Any]:
        """The bounds of a run that are written, or by default, as they stand in a lock."""
        return self.model_dump(mode="json", exclude_none=True, exclude=set(self.OF_CHANGES))
