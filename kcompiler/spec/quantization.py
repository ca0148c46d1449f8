"""Section `quantization`: how the weights of the package are stored, and what stays in float32."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kcompiler.spec.base import DISTINCT, Distinct
from runtime.contract.recipe import Recipe


class Quantization(Recipe):
    """The recipe: a default, rules by tensor name (the last match wins), and islands of precision."""

    islands: Annotated[list[Literal["rms_norm", "layer_norm", "residual", "softmax", "logits"]], Distinct] = Field(
        default_factory=list,
        description="What stays float32: the arithmetic of each norm, the sums of the residual stream, the softmax of "
        "attention, the head that gives the logits. The weights that it reads stay as the recipe says.",
        json_schema_extra=DISTINCT,
    )
