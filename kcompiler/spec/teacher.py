"""Section `teacher`: where the teacher comes from and what it gives."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kcompiler.spec.base import DISTINCT, ROOM, Distinct, Plugged
from runtime.contract.signals import Stored


class Teacher(Plugged):
    """The model that is imitated. Its further keys belong to its source."""

    room: ClassVar[str] = "teachers"
    key: ClassVar[str] = "source"
    pattern: ClassVar[str] = "/teacher"
    noun: ClassVar[str] = "teacher source"

    source: str = Field(description="Where the teacher comes from.", json_schema_extra={ROOM: "teachers"})
    signals: Annotated[list[Literal["text", "choices", "logits", "states", "attention"]], Distinct] = Field(
        min_length=1,
        default=["logits"],
        description="What training may ask of it: text, log-probabilities of permitted choices, all logits, hidden "
        "states of its layers, or attention maps.",
        json_schema_extra=DISTINCT,
        examples=[["logits"], ["text", "choices"]],
    )
    store: Stored | None = Field(
        default=None,
        description="Keep what it says at each supervised token, computed once for all stages, baselines and cells, "
        "which are then trained without it in memory. Absent: each training computes it again.",
        examples=[{"form": "hidden"}, {"form": "top_k", "k": 64}],
    )
    license: str = Field(
        default="", max_length=200, description="SPDX expression of the teacher's own licence.", examples=["Apache-2.0"]
    )

    def __getattr__(self, name: str) -> Any:
        """The keys of the source read as if they were the section's own, as they are written."""
        params = self.__dict__.get("params")
        if params is not None and name in type(params).model_fields:
            return getattr(params, name)
        raise AttributeError(name)
