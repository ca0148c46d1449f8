"""Section `metadata`: what a spec is called and who answers for it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kcompiler.spec.base import Name, Section


class Metadata(Section):
    """Name, owner and purpose."""

    name: Name = Field(description="Name of the spec, and of its folder in generated/.", examples=["worker-9b"])
    owner: str = Field(
        min_length=1,
        max_length=200,
        description="Team or person who answers for the student.",
        examples=["ml-platform"],
    )
    description: str = Field(
        default="",
        max_length=2000,
        description="What the student is for, in a sentence.",
        examples=["Answers tool calls on a laptop."],
    )
    use: Literal["research", "internal", "commercial"] = Field(
        default="research", description="What the student is for; licences that forbid it are refused."
    )
