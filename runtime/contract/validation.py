"""When a training looks at rows that it does not learn from, and what it does with what it finds. Pure data."""

from __future__ import annotations

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit

#: the metric that is the weighed sum of all terms
TOTAL = "total"


class Validation(Params):
    """The state with the least metric is kept; the earlier of two that are equal."""

    every: int = Field(
        ge=1,
        description="Steps between two validations. There is one before the first step and one after the last, too.",
        examples=[50],
        json_schema_extra=unit("optimiser step"),
    )
    metric: str = Field(
        default=TOTAL,
        min_length=1,
        max_length=100,
        description="What decides, less is better: the name of a loss of the stage, or `total`, the sum of all of them "
        "by the weights of the last step. A baseline without that loss takes its own total.",
        examples=["ce_truth"],
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="The stage ends early after so many validations in a row that were not better by `least_gain`. "
        "Absent: all steps are made, and the best state is kept.",
        examples=[4],
        json_schema_extra=unit("count"),
    )
    least_gain: float = Field(
        default=0.0,
        ge=0,
        description="How much better than the last one that counted a validation must be, for patience to begin anew.",
        examples=[0.002],
        json_schema_extra=unit("nat/token"),
    )
