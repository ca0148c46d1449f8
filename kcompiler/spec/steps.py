"""Section `steps`: further steps, usually of third parties."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from kcompiler.spec.base import FORM, ROOM, Name, Plugged

Reference = Annotated[
    str,
    Field(
        pattern=r"^(input:[A-Za-z0-9_-]+|(step:)?[A-Za-z0-9_:-]+#[A-Za-z0-9_-]+)$",
        max_length=200,
        json_schema_extra={FORM: "step-id#port, or input:name"},
    ),
]


class ExtraStep(Plugged):
    """One step of the catalog, joined to the others by ports."""

    room: ClassVar[str] = "steps"
    key: ClassVar[str] = "use"
    inline: ClassVar[bool] = False
    pattern: ClassVar[str] = "/steps/*"
    noun: ClassVar[str] = "step"

    id: Name = Field(description="Id of the step in the graph.", examples=["probe-more"])
    use: str = Field(description="Which step of the catalog.", json_schema_extra={ROOM: "steps"})
    takes: dict[str, Reference] = Field(
        default_factory=dict,
        description="Port → producer, as `step-id#port`.",
        examples=[{"dataset": "data#dataset", "tokenizer": "tokenizer#tokenizer"}],
    )
