"""How a checkpoint's rows go from its own vocabulary to the spec's: what a spec declares of it. No tensors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit


class Migration(Params):
    """The checkpoint's tokenizer is another than the spec's: embedding and head get the spec's ids.

    A token that writes the same bytes keeps its row, whatever its id was; a control token that has none of its own
    takes the row of the one that had its role.
    """

    new_rows: Literal["pieces", "mean"] = Field(
        default="pieces",
        description="What a token without an old row begins with. `pieces`: the mean of the rows by which the old "
        "tokenizer spells its text (arXiv 2402.09977). `mean`: the mean of all old rows.",
        examples=["pieces"],
    )
    gone: list[str] = Field(
        default_factory=list,
        max_length=10_000,
        description="Control tokens of the old vocabulary that the new one may lack. Any other that is lost blocks.",
        examples=[["[TOOL]"]],
    )
    rows: int = Field(
        default=32,
        ge=1,
        le=100_000,
        description="Rows of each split, evenly spaced, on which the model before and after is compared.",
        examples=[32],
        json_schema_extra=unit("row"),
    )
