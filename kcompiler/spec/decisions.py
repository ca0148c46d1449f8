"""Section `decisions`: the ledger in which two answers to one question become one declared value with a reason."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from kcompiler.spec.base import FORM, Section
from runtime.contract.units import unit

Scalar = Annotated[
    str | int | float | bool,
    Field(union_mode="left_to_right"),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


class Rejected(Section):
    """A value that somebody stated and that does not hold."""

    value: Scalar = Field(description="The value that does not hold.", examples=[4096])
    source: str = Field(
        min_length=3, max_length=300, description="Who stated it, and where.", examples=["readiness audit, table 2"]
    )


class Decision(Section):
    """One fact, the one value that holds, and why."""

    about: str = Field(
        min_length=3,
        max_length=200,
        description="The fact, in words; each is decided once.",
        examples=["context of the worker"],
    )
    value: Scalar = Field(description="What holds.", examples=[16384])
    reason: str = Field(
        min_length=10,
        max_length=1000,
        description="Why this and nothing else.",
        examples=["the stated context; shapes that stop at 4096 could not fill it"],
    )
    field: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$",
        max_length=200,
        description="Where this spec says it, as a dotted path; the spec's value must be the decision's.",
        json_schema_extra={FORM: "a dotted path, such as shapes.decode.context"},
        examples=["shapes.decode.context"],
    )
    rejected: list[Rejected] = Field(default_factory=list, max_length=20, description="What was stated elsewhere.")
    arithmetic: str | None = Field(
        default=None,
        pattern=r"^[-+*/(). _0-9eE]+$",
        max_length=300,
        description="How the value comes about, in numbers and + - * / ( ); it is computed and compared.",
        json_schema_extra={FORM: "numbers, + - * / and brackets"},
        examples=["17.4 / 1.1"],
    )
    tolerance_percent: float = Field(
        default=0.5,
        ge=0,
        le=50,
        description="Allowed distance of `value` from the arithmetic, in percent.",
        examples=[0.5],
        json_schema_extra=unit("percent"),
    )
