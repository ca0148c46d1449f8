"""Quantization-aware training (QAT): from which step on a stage computes with rounded weights, and which. Pure data.

What is rounded, and how, is the recipe's alone (`runtime.contract.recipe`): the stage says when. Forms with values that
are fitted anew to the weights (palettes), or that set weights to zero, are not trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol

from pydantic import Field

from runtime.contract import Params
from runtime.contract.recipe import SCALED, Recipe
from runtime.contract.units import unit

#: kind of the report that says what was trained
KIND = "training"
#: part of a training from which on it was measured that rounding is better than rounding afterwards
LATE = 0.8


class QuantizationAware(Params):
    """The stage trains what the package will hold: from some step on, losses are those of the weights as the recipe
    rounds them, and gradients move the float32 weights behind them."""

    start: float = Field(
        default=LATE,
        ge=0,
        lt=1,
        description="Part of the stage's steps after which weights are rounded; 0: from the first step on. Early, "
        "while the learning rate is high, they cross from one integer to the next at every step, and teach noise.",
        examples=[0.8],
        json_schema_extra=unit("1"),
    )
    learning_rate_factor: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="By what the learning rate is multiplied while weights are rounded.",
        examples=[0.1],
        json_schema_extra=unit("1"),
    )

    def first(self, steps: int) -> int:
        """The first of so many steps that is made with rounded weights, from 0 on; `steps` where none is."""
        return math.ceil(Fraction(str(self.start)) * steps)


class Rounding(Params):
    """The same for one training."""

    recipe: Recipe
    #: the matrices that are rounded, by their names in the checkpoint: report and package are held to them
    tensors: list[str] = Field(min_length=1)
    from_step: int = Field(ge=0, json_schema_extra=unit("optimiser step"))
    learning_rate_factor: float = Field(gt=0, le=1, json_schema_extra=unit("1"))

    def factor(self, step: int) -> float:
        """Of the learning rate at a step."""
        return self.learning_rate_factor if step >= self.from_step else 1.0


class Named(Protocol):
    """A tensor of a checkpoint."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Sequence[int]: ...


def rounded(recipe: Recipe, tensors: Iterable[Named]) -> list[str]:
    """The matrices that the recipe stores in integers, by name."""
    return [one.name for one in tensors if len(one.shape) > 1 and recipe.of(one.name).weights in SCALED]


def untrained(recipe: Recipe, tensors: Iterable[Named]) -> dict[str, str]:
    """Matrix → its form, of those that the recipe stores in a form that is not trained."""
    forms = ((one.name, recipe.of(one.name)) for one in tensors if len(one.shape) > 1)
    return {name: form.said for name, form in forms if form.weights not in SCALED and form.weights != "fp16"}


def unlike(asked: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    """In what a report on a training is not about the rounding that its step's parameters ask for, as sentences."""
    wanted, told = asked.get("qat"), data.get("qat")
    if not wanted or not told:
        if wanted:
            yield "asked for a training with rounded weights, and it has none"
        elif told:
            yield "weights were rounded while they were trained, which is not asked for"
        return
    names = sorted(one["tensor"] for one in told["matrices"])
    if names != sorted(wanted["tensors"]):
        yield f"asked for {len(wanted['tensors'])} rounded matrices, and it has {len(names)}, or others"
    if told["from_step"]["value"] != wanted["from_step"]:
        yield f"rounded from step {told['from_step']['value']}, asked for {wanted['from_step']}"
    made = data["steps"]["value"]
    if (told["steps"].get("k"), told["steps"].get("n")) != (max(0, made - wanted["from_step"]), made):
        yield f"rounded in {told['steps'].get('k')} of {told['steps'].get('n')} steps, and {made} were made"
    if told["learning_rate_factor"]["value"] != wanted["learning_rate_factor"]:
        yield f"another learning rate factor than {wanted['learning_rate_factor']:g}"
