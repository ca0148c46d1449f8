"""What a recipe is calibrated on: rows of declared sources. Pure data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit

_ROWS = unit("row")


class Calibration(Params):
    """Texts whose values, inside the student, decide how its weights are rounded."""

    sources: dict[
        str,
        Annotated[int, Field(ge=1, le=100_000, json_schema_extra=_ROWS)],
    ] = Field(
        min_length=1,
        max_length=100,
        description="Name of a source of `data` → how many of its rows, evenly spaced over those of the split.",
        examples=[{"gsm8k-train": 64}],
    )
    split: Literal["train", "validation"] = Field(
        default="train", description="Where the rows are taken from: never `test`, which judges what is made of them."
    )
    max_length: int = Field(
        default=256,
        ge=8,
        le=1 << 20,
        description="Tokens of each row that are read, from its beginning.",
        examples=[256],
        json_schema_extra=unit("token"),
    )
