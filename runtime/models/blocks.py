"""A checkpoint × ids → what each of its blocks gives at every position: the residual stream after each layer.

Of the Transformers model as it is, by hooks, so that an error of the exported functions shows as a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime.contract import Refusal, families


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """The blocks of a decoder, in order. Raises Refusal for a model of another build."""
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise Refusal(
            f"a `{model.config.model_type}` model has no list of layers",
            action=f"take a {families.NAMES} model",
        )
    return list(layers)


@contextmanager
def watched(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """A list to which every forward pass of one sequence adds the output [T, H] of each block, in order."""
    found: list[Tensor] = []

    def hook(_layer: nn.Module, _args: Any, out: Any) -> None:
        found.append((out[0] if isinstance(out, tuple) else out)[0].detach())

    handles = [layer.register_forward_hook(hook) for layer in layers_of(model)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def outputs(model: PreTrainedModel, rows: Sequence[Sequence[int]], told: Callable[[int], None]) -> list[list[Tensor]]:
    """Of each row of ids the output [T, H] of every block. `told` hears how many rows are done."""
    every = []
    with watched(model) as found:
        for done, ids in enumerate(rows, 1):
            found.clear()
            model.base_model(input_ids=torch.tensor([list(ids)]), use_cache=False)
            every.append([one.clone() for one in found])
            told(done)
    return every
