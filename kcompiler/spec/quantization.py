"""Section `quantization`: how the weights of the package are stored and chosen, and what stays in float32."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kcompiler.spec.base import DISTINCT, Distinct
from runtime.contract.activations import Activations
from runtime.contract.calibration import Calibration
from runtime.contract.recipe import Recipe


class Quantization(Recipe):
    """The recipe: a default, rules by tensor name (the last match wins), and islands of precision."""

    islands: Annotated[list[Literal["rms_norm", "layer_norm", "residual", "softmax", "logits"]], Distinct] = Field(
        default_factory=list,
        description="What stays float32: the arithmetic of each norm, the sums of the residual stream, the softmax of "
        "attention, the head that gives the logits. The weights that it reads stay as the recipe says.",
        json_schema_extra=DISTINCT,
    )
    calibration: Calibration | None = Field(
        default=None,
        description="Rows on which the weights are rounded so that the outputs of each matrix are nearest, and not its "
        "numbers: what the rounding of one column loses the next ones make good (GPTQ, arXiv 2210.17323). Integers and "
        "palettes of matrices that are multiplied; an embedding, and a head tied to it, keep the nearest values.",
    )
    activations: Activations | None = Field(
        default=None,
        description="Linear layers that read int8 (W8A8): before each, the quantized package rounds its input by one "
        "scale that `calibration` chose over its rows, with the least squared error. The package is held to it.",
    )

    @property
    def coarse(self) -> bool:
        """Whether numbers are moved so far that what becomes of the next token judges them: by a coarse form of
        weights, or by layers that read integers."""
        return super().coarse or self.activations is not None
