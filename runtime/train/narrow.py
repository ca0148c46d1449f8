"""The last layer of a trunk, computed at the places that are read alone.

A loss reads the hidden states of supervised tokens, one position in four or so. All layers but the last are needed
everywhere, since attention mixes positions. After the last attention nothing does: its output projection and the
gated MLP, four fifths of a layer's work, treat each position by itself, and what they give at the others is never read
and has a zero gradient. So these two see the read places only; elsewhere zeros stand in.

The result is the same up to the rounding of sums over fewer rows. Whether a model's last layer is one of those that may
be treated so is not believed but tried, on a row of the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

#: relative difference of hidden states that rounding explains
ROUNDING = 1e-4
#: names of the modules after the last attention, by family: output projection, MLP
_AFTER_ATTENTION = (("self_attn.o_proj", "self_attn.dense"), ("mlp",))

#: places in the flattened [B·T] that are read; None: all
_READ_N: ContextVar[Tensor | None] = ContextVar("read", default=None)


@contextlib.contextmanager
def at(places_N: Tensor) -> Iterator[None]:
    """Within the context only these places of the flattened [B·T] of a narrowed model's output are right."""
    before = _READ_N.set(places_N)
    try:
        yield
    finally:
        _READ_N.reset(before)


def _forward(whole: Callable[[Tensor], Any], x_BTI: Tensor) -> Any:
    read_N = _READ_N.get()
    if read_N is None:
        return whole(x_BTI)
    flat_PI = x_BTI.flatten(0, 1)
    y_1NO = whole(flat_PI.index_select(0, read_N)[None])
    if not isinstance(y_1NO, Tensor):
        # experts that say more than their output
        return whole(x_BTI)
    y_PO = y_1NO.new_zeros(len(flat_PI), y_1NO.shape[-1]).index_copy(0, read_N, y_1NO[0])
    return y_PO.unflatten(0, x_BTI.shape[:2])


def _after_attention(model: PreTrainedModel) -> list[nn.Module]:
    """The modules of the last layer that may be narrowed; none when its parts have other names."""
    layers: Any = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        return []
    modules = dict(layers[-1].named_modules())
    found = [next((modules[name] for name in names if name in modules), None) for names in _AFTER_ATTENTION]
    return [module for module in found if module is not None] if all(module is not None for module in found) else []


def _equal(model: PreTrainedModel, ids_BT: Tensor) -> bool:
    """Whether every second place of these rows is what it is when all are computed."""
    ids_BT = ids_BT.to(model.device)
    read_N = torch.arange(0, ids_BT.numel(), 2, device=ids_BT.device)
    with torch.no_grad():
        whole_NH = model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state.flatten(0, 1)[read_N]
        with at(read_N):
            ours_NH = model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state.flatten(0, 1)[read_N]
    bound = ROUNDING * max(1.0, float(whole_NH.abs().max()))
    return bool((whole_NH - ours_NH).abs().max() <= bound)


@contextlib.contextmanager
def narrowed(ids_BT: Tensor, *models: PreTrainedModel | None) -> Iterator[None]:
    """Within the context the models' last layers compute, inside `at`, what is read. A model whose last layer does not
    give the same on the rows `ids_BT` is left as it is.

    Not for layers whose activations are checkpointed: they are computed again in the backward pass, outside of `at`.
    """
    with contextlib.ExitStack() as undo:
        for model in models:
            if model is None:
                continue
            with contextlib.ExitStack() as own:
                for module in _after_attention(model):
                    own.enter_context(_wrapped(module))
                if _equal(model, ids_BT):
                    undo.push(own.pop_all())
        yield


@contextlib.contextmanager
def _wrapped(module: nn.Module) -> Iterator[None]:
    """`forward` of one instance in another's place: what stood there, if anything (`linear.fast`), comes back."""
    before = module.__dict__.get("forward")
    module.forward = partial(_forward, module.forward)
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before
