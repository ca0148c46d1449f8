"""Weights as the package will hold them, while a student learns: quantization-aware training (QAT).

The forward pass reads W' = s · q, which `runtime.mil.quantize` makes of W: the same integers and the same float16
scales as conversion, so that what is trained is what ships. The gradient of a loss in W' is taken for that in W
(straight-through estimator, Bengio, Léonard and Courville 2013, arXiv 1308.3432). Since the scale is rounded up, no
weight is clipped, and each has its gradient. The float32 weights stay behind and are what the optimiser moves.

Weights are rounded once a step, whatever is done with them in it: several passes, layers that are computed again,
threads that take a part each. One tensor of several names is one parameter, and is rounded once.

When it is over the weights *are* the rounded ones. Rounding these again gives the same integers and scales: of a group
with a scale of at least 2⁻¹⁴, a normal float16, the largest weight is Q · s to within a part of 2⁻¹⁰ and becomes ±Q, so
that max|W'| / Q = s exactly, and every W' / s = q exactly. Smaller scales are rounded more coarsely than that: weights
are rounded until they stay, which each time makes a scale smaller or is the last. That they do stay is not believed but
tried, tensor by tensor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from runtime.contract import Refusal
from runtime.contract import report as facts
from runtime.contract.qat import Rounding
from runtime.contract.recipe import SCALED, Weights
from runtime.mil.quantize import QMAX, Float, Quantized, digests, quantize, restored, wanted


def rounded(weight: Tensor, asked: Weights) -> Tensor:
    """A matrix in float32 → `restored(quantize(weight, asked))`, bit for bit, on the weight's own device."""
    # what has one scale is a row here
    size = {"per_tensor": weight.numel(), "per_channel": weight.numel() // len(weight)}.get(asked.granularity)
    cells = weight.detach().reshape(-1, size or asked.block or 1)
    qmax = QMAX[asked.weights]
    largest = cells.abs().amax(1, keepdim=True)
    # by a tensor: divided by a number, a card multiplies by its inverse
    exact = largest / torch.full_like(largest, qmax)
    scale = exact.to(torch.float16)
    above = (scale.view(torch.int16) + 1).view(torch.float16)
    step = scale.float()
    step = torch.where((step < exact) | (step == 0), above.float(), step)
    step = torch.where(largest == 0, torch.ones_like(step), step)
    return (cells / step).round_().clamp_(-qmax, qmax).mul_(step).add_(0.0).reshape(weight.shape)


class Trained(NamedTuple):
    """One matrix as it was trained."""

    tensor: str
    asked: Weights
    codes_sha256: str
    scales_sha256: str
    #: length of W - W' over that of W
    apart: float


class RoundedWeights:
    """The matrices of a student that are rounded while it learns."""

    def __init__(self, student: nn.Module, asked: Rounding) -> None:
        """Raises Refusal where the recipe rounds other matrices than the plan names, or cannot be kept."""
        self.asked = asked
        names: dict[int, list[str]] = {}
        held: dict[int, nn.Parameter] = {}
        for name, parameter in student.named_parameters(remove_duplicate=False):
            names.setdefault(id(parameter), []).append(name)
            held[id(parameter)] = parameter
        #: name, parameter, form
        self._each: list[tuple[str, nn.Parameter, Weights]] = []
        for key, (name, *aliases) in names.items():
            form = wanted(asked.recipe, name, aliases, tuple(held[key].shape))
            if form.weights in SCALED:
                self._each.append((name, held[key], form))
        if sorted(name for name, *_ in self._each) != sorted(asked.tensors):
            raise Refusal(
                f"the recipe rounds {len(self._each)} matrices of the student, the plan names {len(asked.tensors)}",
                place="training.stages.qat",
                action="plan again: kcompiler plan SPEC",
            )

    @property
    def parameters(self) -> int:
        """How many numbers are rounded."""
        return sum(parameter.numel() for _, parameter, _ in self._each)

    @contextlib.contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Within the context the student has its rounded weights, where they are due at this step."""
        if step < self.asked.from_step:
            yield
            return
        behind = [parameter.data for _, parameter, _ in self._each]
        try:
            for _, parameter, form in self._each:
                parameter.data = rounded(parameter.data, form)
            yield
        finally:
            for (_, parameter, _), float32 in zip(self._each, behind, strict=True):
                parameter.data = float32

    def settle(self) -> list[Trained]:
        """Make the rounded weights the student's own, and tell what they are.

        Raises Refusal where the device that trained rounds otherwise than conversion does, and where weights do not
        stay.
        """
        return [self._settled(name, parameter, form) for name, parameter, form in self._each]

    def _settled(self, name: str, parameter: nn.Parameter, form: Weights) -> Trained:
        before: Float = parameter.detach().cpu().numpy().copy()
        stored, value = _rounds(before, form)
        if not np.array_equal(value, rounded(parameter, form).cpu().numpy()):
            raise Refusal(
                f"`{name}` is rounded otherwise on {parameter.device.type} than in the package",
                place="training.stages.qat",
                action="train this stage on the processor: execution.device: cpu",
            )
        again, next_value = _rounds(value, form)
        while not _same(stored, again):
            stored, value = again, next_value
            again, next_value = _rounds(value, form)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(value))
        whole = float(np.linalg.norm(before))
        apart = float(np.linalg.norm(before - value)) / whole if whole else 0.0
        return Trained(name, form, *digests(stored), apart)

    def told(self, matrices: list[Trained], steps: int) -> dict[str, Any]:
        """Section `qat` of the report of a training of so many steps."""
        first = self.asked.from_step
        return {
            "from_step": facts.measured(first, "step"),
            "steps": facts.rate(max(0, steps - first), steps),
            "learning_rate_factor": facts.measured(self.asked.learning_rate_factor, "1"),
            "matrices": [
                {
                    "tensor": one.tensor,
                    "stored": one.asked.said,
                    "codes_sha256": one.codes_sha256,
                    "scales_sha256": one.scales_sha256,
                    "apart": facts.measured(one.apart, "1"),
                }
                for one in matrices
            ],
        }


def _rounds(weight: Float, form: Weights) -> tuple[Quantized, Float]:
    """What conversion stores of a matrix, and what that stands for."""
    stored = quantize(weight, form)
    assert isinstance(stored, Quantized)
    return stored, restored(stored)


def _same(one: Quantized, other: Quantized) -> bool:
    return np.array_equal(one.data, other.data) and np.array_equal(one.scale, other.scale)
