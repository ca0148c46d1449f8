"""Section `tokenizer`: how text becomes ids, and how wide the vocabulary is."""

from __future__ import annotations

from datetime import date as _date
from typing import Annotated, Literal

from pydantic import Field, field_validator

from kcompiler.spec.base import DISTINCT, FORM, Distinct, Section
from runtime.contract.templates import CHAT, DATE
from runtime.contract.units import unit

ControlToken = Annotated[str, Field(min_length=1, max_length=64)]


class Special(Section):
    """Texts of the control tokens. They never come out of encoding a prompt."""

    pad: ControlToken = Field(default="<|pad|>", description="Fills the right end of short rows.", examples=["<|pad|>"])
    bos: ControlToken = Field(default="<|bos|>", description="Begins every sequence.", examples=["<|bos|>"])
    eos: ControlToken = Field(
        default="<|eos|>", description="Ends every response; generation stops at it.", examples=["<|eos|>"]
    )


class Tokenizer(Section):
    """One tokenizer for teacher, student and package."""

    source: Literal["train", "teacher", "student"] = Field(
        description="`train`: byte-level BPE trained on the training split. `teacher`, `student`: the one that lies "
        "beside the weights of the teacher, or of the student's checkpoint."
    )
    vocab_size: int = Field(
        ge=260,
        le=1_000_000,
        description="Number of ids = rows of the embedding = width of the loss. 256 bytes and the control tokens fit. "
        "Left out beside `teacher` or `student` in a folder: what its config.json says.",
        examples=[32000],
        json_schema_extra=unit("id"),
    )
    special: Special = Field(
        default_factory=Special,
        description="Texts of the control tokens; of a folder's tokenizer those it names, unless written.",
    )
    added: Annotated[list[Literal["pad", "bos", "eos"]], Distinct] = Field(
        default_factory=list,
        description="Control tokens that a taken tokenizer lacks: they get unused ids, and their embedding is learnt.",
        json_schema_extra=DISTINCT,
        examples=[["pad"]],
    )
    expand: Annotated[list[ControlToken], Distinct] = Field(
        default_factory=list,
        description="Texts that a taken tokenizer gets as tokens of their own, each the next unused id; rows may hold "
        "them. Weights without a row for them are given one by student.migrate.",
        json_schema_extra=DISTINCT,
        examples=[["<tool>", "</tool>"]],
    )
    template: str = Field(
        min_length=1,
        max_length=10_000,
        description="`chat`: the chat template that comes with the tokenizer. Or literal text with exactly one "
        "`{prompt}` and, after it, exactly one `{response}`.",
        examples=["chat", "{prompt}\n{response}"],
    )
    system: str = Field(
        default="",
        max_length=10_000,
        description="With `template: chat`: the system message of every conversation that brings none.",
        examples=["Answer in one sentence."],
    )
    date: str = Field(
        default=DATE,
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="With `template: chat`: the day that a template is told where it asks for today, so that a run "
        "tomorrow reads the same.",
        json_schema_extra={FORM: "a day, YYYY-MM-DD"},
        examples=["2024-07-26"],
    )
    single_token_tags: Annotated[list[ControlToken], Distinct] = Field(
        default_factory=list,
        description="Texts that must encode to exactly one id.",
        json_schema_extra=DISTINCT,
        examples=[["<tool>", "</tool>"]],
    )

    @field_validator("date")
    @classmethod
    def _a_day(cls, value: str) -> str:
        _date.fromisoformat(value)
        return value

    @property
    def chat(self) -> bool:
        """Whether the template is the tokenizer's own."""
        return self.template == CHAT
