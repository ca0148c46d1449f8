"""Checkpoint × rows → what storing some of its matrices in fewer bits costs: KL of the next token, in nats a token.

The weights of a group are replaced by what their stored form stands for (`runtime.mil.quantize`), one group at a time;
nothing is converted. The reference is the checkpoint in float32, and the KL is of it from what was changed, at every
position of the rows. Activations stay float32: what float16 does to them is a number of the error ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from runtime.contract import Refusal
from runtime.contract.recipe import SCALED, Weights
from runtime.contract.suggestion import FP16, Option, kind_of
from runtime.mil.quantize import Form, quantize, restored

#: positions whose chances exist in float64 at one time
_ROWS = 64
#: scaled integers by what the command line calls them
_SCALED: Mapping[str, Weights] = {
    "int8": Weights(weights="int8"),
    "int4-64": Weights(weights="int4", granularity="per_block", block=64),
    "int4-32": Weights(weights="int4", granularity="per_block", block=32),
}
#: rows of a matrix that share a palette, at most
_SHARED = 64
#: hears (measurements done, of all, what the last one was)
Told = Callable[[int, int, str], None]
#: bytes of tensors that are stored so
Size = Callable[[Mapping[str, Weights]], int]


@dataclass(frozen=True)
class Group:
    """Matrices that are stored alike."""

    name: str
    tensors: tuple[str, ...]


class Changed:
    """A checkpoint beside itself with some tensors stored otherwise."""

    def __init__(self, model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> None:
        """Raises Refusal without a position to compare."""
        self._model, self._rows = model, [list(ids) for ids in rows if len(ids)]
        self._parameters = dict(model.named_parameters())
        self.tokens = sum(map(len, self._rows))
        if not self.tokens:
            raise Refusal("there is no row to measure on", action="name another split with --split")
        self._palettes: dict[tuple[str, Weights], Form] = {}
        self._logits = self._run()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor → its shape; a tied one once."""
        return {name: tuple(parameter.shape) for name, parameter in self._parameters.items()}

    @torch.inference_mode()
    def _run(self) -> list[Tensor]:
        return [self._model(input_ids=torch.tensor([ids]), use_cache=False).logits[0] for ids in self._rows]

    def kl(self, forms: Mapping[str, Weights]) -> float:
        """Mean KL (nats a token) of the checkpoint from itself with these tensors stored so."""
        before = {name: self._parameters[name].data for name in forms}
        try:
            for name, form in forms.items():
                self._parameters[name].data = self._stored(name, before[name], form)
            found = self._run()
        finally:
            for name, tensor in before.items():
                self._parameters[name].data = tensor
        return sum(_divergence(one, other) for one, other in zip(self._logits, found, strict=True)) / self.tokens

    def _stored(self, name: str, tensor: Tensor, form: Weights) -> Tensor:
        if form.weights == "fp16":
            return tensor.half().float()
        found = self._palettes.get((name, form)) or quantize(tensor.numpy(), form)
        if form.weights not in SCALED:
            # a palette takes seconds to find, and its indices a byte each to keep
            self._palettes[name, form] = found
        return torch.from_numpy(restored(found))


def _divergence(reference_TV: Tensor, found_TV: Tensor) -> float:
    """Sum of KL(reference ‖ found) over positions, in nats."""
    total = 0.0
    for at in range(0, len(reference_TV), _ROWS):
        first, second = (side[at : at + _ROWS].double().log_softmax(-1) for side in (reference_TV, found_TV))
        total += float((first.exp() * (first - second)).sum(-1).clamp(min=0).sum())
    return total


def groups_of(shapes: Mapping[str, Sequence[int]], by: str) -> list[Group]:
    """The matrices of a model by what they are called (`kind`), by their `layer`, or each for itself (`tensor`)."""
    found: dict[str, list[str]] = {}
    for name in (name for name, shape in shapes.items() if len(shape) >= 2):
        parts = name.split(".")
        layer = f"layer_{parts[parts.index('layers') + 1]}" if "layers" in parts else kind_of(name)
        key = {"kind": kind_of(name), "layer": layer, "tensor": name.removesuffix(".weight")}[by]
        found.setdefault(key, []).append(name)
    return [Group(name, tuple(tensors)) for name, tensors in found.items()]


def form_of(called: str, shape: Sequence[int]) -> Weights | None:
    """A form by its name on the command line, for a matrix of this shape; None where it does not divide it."""
    if called in _SCALED:
        form = _SCALED[called]
        return None if form.misfit(tuple(shape)) else form
    group = max(size for size in range(1, min(_SHARED, shape[0]) + 1) if shape[0] % size == 0)
    return Weights.model_validate({"weights": called, "granularity": "per_grouped_channel", "group": group})


def measured(
    changed: Changed, groups: Sequence[Group], forms: Sequence[str], size: Size, told: Told
) -> dict[str, list[Option]]:
    """Group → float16, and each form that fits it, with what it alone costs."""
    shapes = changed.shapes
    found: dict[str, list[Option]] = {}
    for done, group in enumerate(groups):
        plain = dict.fromkeys(group.tensors, FP16)
        options = [Option("fp16", plain, size(plain), 0.0)]
        for number, called in enumerate(forms):
            told(done * len(forms) + number, len(groups) * len(forms), f"{group.name} {called}")
            fitting = {name: form_of(called, shapes[name]) for name in group.tensors}
            given = {name: form for name, form in fitting.items() if form is not None}
            if len(given) == len(fitting):
                options.append(Option(called, given, size(given), changed.kl(given)))
        found[group.name] = options
    return found
