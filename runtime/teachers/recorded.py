"""Answers that a teacher gave before, kept as a file of the project: the same ones every time, on any machine."""

from __future__ import annotations

from pydantic import Field

from runtime.contract import Params, Teacher
from runtime.contract.units import unit


class RecordedTeacher(Params):
    path: str = Field(
        min_length=1,
        max_length=1000,
        description="JSON Lines file, relative to the spec: prompt, text and, for multiple choice, choices.",
        examples=["answers.jsonl"],
    )
    model: str = Field(
        min_length=1, max_length=200, description="Who answered, with its version.", examples=["teacher-1, of 2026-03"]
    )
    parameters: int | None = Field(
        default=None,
        ge=1,
        description="Total parameters, where its maker states them.",
        examples=[1000000000000],
        json_schema_extra=unit("parameter"),
    )
    allow_missing: float = Field(
        ge=0,
        lt=1,
        description="Share of training rows that may stay without a usable answer; they are left out.",
        examples=[0.01],
        json_schema_extra=unit("1"),
    )


TEACHER = Teacher(
    name="recorded", version=1, params=RecordedTeacher, signals=frozenset({"text", "choices"}), step="replay"
)
