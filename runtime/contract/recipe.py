"""The quantization recipe: which named tensors get which weights. Pure data and the matching rule."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from runtime.contract import Params


class Weights(Params):
    """How one tensor's weights are stored."""

    weights: Literal["fp16", "int8"] = Field(description="Stored type.")
    granularity: Literal["per_channel", "per_tensor"] = Field(
        default="per_channel", description="One scale per output channel, or one per tensor."
    )


class Rule(Weights):
    """Tensors whose dotted name matches the pattern. The last matching rule wins."""

    match: str = Field(
        description="Shell pattern over the checkpoint's tensor name without `.weight`, e.g. `*.norm`.",
        examples=["*norm*"],
    )


class Recipe(Params):
    """A default and exceptions by name."""

    default: Weights = Field(description="What every tensor gets that no rule matches.")
    rules: list[Rule] = Field(default_factory=list, description="Exceptions; the last match wins.")

    def of(self, tensor: str) -> Weights:
        """What the recipe asks for a tensor, named as in the checkpoint (`model.layers.0.mlp.up_proj.weight`)."""
        name = tensor.removesuffix(".weight")
        chosen = self.default
        for rule in self.rules:
            if fnmatchcase(name, rule.match):
                chosen = Weights(weights=rule.weights, granularity=rule.granularity)
        return chosen
