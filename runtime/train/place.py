"""Device and precision of a training → where its models and tensors are, and in which floats they compute.

Weights, gradients, the optimiser and the loss are float32 always. With `bf16` or `fp16-mixed` the inside of both models
(matrix products, attention) computes in half precision through torch's autocast; the sums between layers stay float32.

The product with the head stays accurate: its logits are never rounded to bfloat16, whose three digits would be an error
of 0.06 in a logit of 15, as large as what distillation teaches. On CUDA with `bf16` its operands are rounded and the
sum is kept in float32 (`runtime.train.head`); everywhere else it is the plain float32 product.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from runtime.contract import placing
from runtime.models import device as devices

_HALF = {"bf16": torch.bfloat16, "fp16-mixed": torch.float16}
#: a factor below this keeps nothing of a gradient in float16 that float32 would not have lost
LEAST_SCALE = 1.0


class Placed(Protocol):
    """Parameters that say where a step trains."""

    @property
    def device(self) -> placing.Device: ...

    @property
    def precision(self) -> placing.Precision: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a training computes."""

    device: torch.device
    precision: placing.Precision = "fp32"
    #: None: beside the student
    teacher: torch.device | None = None

    @property
    def promise(self) -> str:
        return placing.promise(self.device.type, self.precision, None if self.teacher is None else self.teacher.type)

    @property
    def exact(self) -> bool:
        """Whether the plain float32 kernels of the processor do all of it."""
        return self.promise == placing.BITWISE

    def trunk(self, on: torch.device | None = None) -> AbstractContextManager[object]:
        """Within the context models compute in the chosen floats. The head and the loss do not belong in it."""
        half = _HALF.get(self.precision)
        if half is None:
            return contextlib.nullcontext()
        return torch.autocast((on or self.device).type, dtype=half)

    def scaling(self) -> Scaling:
        return Scaling(torch.amp.GradScaler(self.device.type) if self.precision == "fp16-mixed" else None)

    def synchronise(self) -> None:
        """Wait until all that was asked of the device is done, so that a clock may be read."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


#: what a training without any settings of place is: on the CPU in float32
HERE = Place(torch.device("cpu"))


def of(params: Placed, teacher: str | None = None) -> Place:
    """The place that parameters name. Raises Refusal (KR0123) where it is not on this machine."""
    return Place(
        device=devices.of(params.device),
        precision=params.precision,
        teacher=None if teacher is None else devices.of(teacher),
    )


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


class Scaling:
    """The factor by which the terms of a loss in float16 are multiplied, so that small gradients are not zero; 1
    without a scaler, where nothing else is done either."""

    def __init__(self, scaler: torch.amp.GradScaler | None) -> None:
        self._scaler = scaler

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Gradients of a sum that was `factor` times too large → those of the sum; not finite where it was too much."""
        if self._scaler is None:
            return
        # the factor is made a tensor where it is first multiplied by
        self._scaler.scale(torch.zeros((), device=optimizer.param_groups[0]["params"][0].device))
        self._scaler.unscale_(optimizer)

    def excuses(self) -> bool:
        """Whether a gradient that is not finite only says that the factor is too large."""
        return self._scaler is not None and self._scaler.get_scale() > LEAST_SCALE

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Move the weights; with a factor, not where a gradient is not finite, and change the factor."""
        if self._scaler is None:
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()

    @property
    def factor(self) -> float:
        return 1.0 if self._scaler is None else float(self._scaler.get_scale())

    def state(self) -> dict[str, Tensor]:
        """What a state of the run holds of it, under flat names."""
        if self._scaler is None:
            return {}
        found = self._scaler.state_dict()
        return {f"scale.{name}": torch.tensor(float(found[name])) for name in ("scale", "_growth_tracker")}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        if self._scaler is None:
            return
        found = self._scaler.state_dict()
        found["scale"] = float(tensors["scale.scale"])
        found["_growth_tracker"] = int(tensors["scale._growth_tracker"])
        self._scaler.load_state_dict(found)
