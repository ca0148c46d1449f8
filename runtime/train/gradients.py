"""Values of the loss terms → the size of each term's gradient, and the gate that refuses a term which trains nothing.

A printed loss proves nothing: in axolotl #3660 a term got no gradient while its value looked right. The norm is taken
over all trainable parameters of the student, one term at a time, on the very graph the step is trained from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runtime.contract import Refusal

#: nat/token: as much as rounding makes of the divergence of a model from itself
NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Reach:
    """Gradient of one unweighted term: Euclidean norm over all parameters, and how many of them it moves."""

    norm: float
    parameters: int


def measure(values: Iterable[Tensor], parameters: Sequence[Tensor], factor: float = 1.0) -> list[Reach]:
    """One Reach per value of a term; the graph is kept for the training step that follows. `factor` keeps gradients
    from vanishing in half precision on their way."""
    found: list[Reach] = []
    for value in values:
        scaled = value if factor == 1.0 else value * factor
        found.append(reach(torch.autograd.grad(scaled, list(parameters), retain_graph=True, allow_unused=True), factor))
    return found


def reach(gradients: Iterable[Tensor | None], factor: float = 1.0) -> Reach:
    """The size of one gradient, given tensor by tensor, each `factor` times too large."""
    norms = [float(_wide(gradient).norm()) / factor for gradient in gradients if gradient is not None]
    return Reach(norm=math.hypot(*norms), parameters=sum(norm != 0.0 for norm in norms))


def _wide(gradient: Tensor) -> Tensor:
    """In float64 where the device has it: a sum of millions of squares."""
    return gradient.float() if gradient.device.type == "mps" else gradient.double()


class Diverged(Refusal):
    """A number that is not finite."""

    def found(self, place: str) -> Diverged:
        """The same, and where it comes from."""
        return Diverged(f"{self.message}; {place}", action=self.action)


def diverged(what: str, step: int) -> Diverged:
    """The refusal of a number that is not finite. At step 0 no weight has moved yet: no learning rate is to blame."""
    if step > 0:
        return Diverged(f"training diverged: {what} at step {step}", action="lower the learning rate")
    return Diverged(
        f"{what} at step 0, before any weight was moved",
        action="look at what the step begins with: the temperature of the loss, the logits of the teacher, the weights "
        "the student starts from",
    )


def without_length(gradients: Mapping[str, Tensor | None], step: int) -> Refusal:
    """The refusal of a gradient, by the names of its tensors, whose length is no number: one of its numbers is none,
    and where that comes from is to be looked for; or all are, and the sum of their squares is beyond float32."""
    largest = {name: float(one.abs().max()) for name, one in gradients.items() if one is not None}
    if not all(map(math.isfinite, largest.values())):
        return diverged("the gradient is not finite", step)
    name = max(largest, key=lambda one: largest[one])
    words = diverged("the gradient is longer than float32 can say", step)
    return Refusal(f"{words.message}: its largest number, {largest[name]:.1e}, is in `{name}`", action=words.action)


def check_finite(what: str, number: float, step: int) -> None:
    """Raises Refusal for a number that is not finite, after so many steps."""
    if not math.isfinite(number):
        raise diverged(f"{what} is {number}", step)


def gate(name: str, value: float, reach: Reach, step: int, *, first: bool) -> None:
    """Raises Refusal for a gradient that is not finite and, as long as it is the `first` of a term that is more than
    zero, for one that is exactly zero beside a `value` that is not. Later a term may be learned so well that nothing is
    left in float32; and a student that begins as its teacher has nothing to learn of it yet."""
    if not math.isfinite(reach.norm):
        raise diverged(f"the gradient of loss `{name}` is not finite", step)
    if first and reach.norm == 0.0 and abs(value) > NOTHING:
        raise Refusal(
            f"loss `{name}` has a value but its gradient is exactly zero at step {step}: it would train nothing",
            action="repair the loss, or remove the term",
        )


def shares(norms: Sequence[float], weights: Sequence[float]) -> list[float] | None:
    """Each term's part of Σ weight · norm; None when the sum is zero. Sizes, not directions: parts may cancel."""
    parts = [norm * weight for norm, weight in zip(norms, weights, strict=True)]
    total = sum(parts)
    return [part / total for part in parts] if total > 0 else None
