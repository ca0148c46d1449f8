"""Layers of a model → what declared terms read of them, gathered while it runs.

Nothing is asked of a model that no term reads. What is read is noted where it comes by, by a hook on that very layer,
and only while a pass gathers it: passes on several threads, and layers that are computed again in the backward pass, do
not meet. Of it the tokens are taken at which a term has a loss.

Letters: B rows, T tokens, N supervised tokens, H hidden width, A heads, K keys.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from runtime.contract import Refusal
from runtime.contract.layers import ATTENTION, STATES, Shape
from runtime.models import build

#: what the pass that goes on here has met: (signal, layer) → its tensor
_MET: ContextVar[dict[tuple[str, int], Tensor] | None] = ContextVar("met", default=None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The layers that terms read of one model."""

    states: frozenset[int] = frozenset()
    attention: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.states or self.attention)


NOTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Read:
    """What was gathered of one model: layer → states_NH, in float32, and layer → maps_NAK."""

    states: Mapping[int, Tensor] = field(default_factory=dict)
    attention: Mapping[int, Tensor] = field(default_factory=dict)

    def of(self, signal: str, layer: int) -> Tensor:
        return (self.states if signal == STATES else self.attention)[layer]

    def to(self, device: torch.device) -> Read:
        """The same on another device."""
        return Read(*({layer: one.to(device) for layer, one in part.items()} for part in (self.states, self.attention)))


#: of a model of which nothing is read
NONE = Read()


def layers_of(model: PreTrainedModel) -> Sequence[Any]:
    """The layers of a trunk. Raises Refusal for a model that does not have them in a list."""
    found = getattr(model.base_model, "layers", None)
    if not isinstance(found, nn.ModuleList) or not len(found):
        raise Refusal(
            f"the layers of a `{model.config.model_type}` are not in one list, and a loss reads them",
            action="take a family whose layers are, such as llama or qwen3, or drop the term",
        )
    return found


def shape_of(model: PreTrainedModel) -> Shape:
    """What of a model decides which layers may be compared."""
    config = model.config.get_text_config(decoder=True)
    count, window = int(config.num_hidden_layers), getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None) or ["sliding_attention"] * count
    return Shape(
        layers=count,
        width=int(config.hidden_size),
        heads=int(config.num_attention_heads),
        windows=tuple(window if one == "sliding_attention" else None for one in types),
    )


def attend(model: PreTrainedModel, who: str) -> None:
    """Let a model attend so that its maps can be read. Raises Refusal for one that cannot."""
    if not build.attend(model, "eager") or model.config._attn_implementation != "eager":
        raise Refusal(
            f"the attention of the {who} (`{model.config.model_type}`) cannot be returned",
            action="drop the loss `attention`, or take a family that attends eagerly, such as llama or qwen3",
        )


def _note_input(layer: int, _module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    met = _MET.get()
    if met is not None:
        met[STATES, layer] = given[0] if given else named["hidden_states"]


def _note_maps(layer: int, _module: nn.Module, _given: tuple[Any, ...], output: Any) -> None:
    met = _MET.get()
    if met is not None:
        met[ATTENTION, layer] = output[1]


def listen(model: PreTrainedModel, wanted: Wanted) -> list[RemovableHandle]:
    """Hooks on the layers that are wanted; the last states are the model's own output."""
    if not wanted:
        return []
    found = layers_of(model)
    return [
        *(
            found[layer].register_forward_pre_hook(partial(_note_input, layer), with_kwargs=True)
            for layer in sorted(wanted.states)
            if layer < len(found)
        ),
        *(
            found[layer - 1].self_attn.register_forward_hook(partial(_note_maps, layer))
            for layer in sorted(wanted.attention)
        ),
    ]


@contextlib.contextmanager
def met() -> Iterator[dict[tuple[str, int], Tensor]]:
    """Within the context hooks note what comes by, in this thread alone. Nothing is computed of it here: a layer whose
    activations are checkpointed must do the same whenever it runs."""
    found: dict[tuple[str, int], Tensor] = {}
    before = _MET.set(found)
    try:
        yield found
    finally:
        _MET.reset(before)


def taken(
    found: Mapping[tuple[str, int], Tensor], hidden_BTH: Tensor, places_N: Tensor, wanted: Wanted, last: int
) -> Read:
    """What one pass has met, at the places that predict a supervised token. The states of layer `last` are the model's
    own output."""
    states = {
        layer: (hidden_BTH if layer == last else found[STATES, layer]).flatten(0, 1).index_select(0, places_N)
        for layer in sorted(wanted.states)
    }
    rows_N, columns_N = places_N // hidden_BTH.shape[1], places_N % hidden_BTH.shape[1]
    maps = {layer: found[ATTENTION, layer][rows_N, :, columns_N] for layer in sorted(wanted.attention)}
    return Read(states, maps)


def joined(parts: Sequence[Read], wanted: Wanted) -> Read:
    """Passes one after the other → all of their tokens, in float32; maps are filled up with keys that nobody sees."""
    widest = max((one.shape[-1] for part in parts for one in part.attention.values()), default=0)

    def filled(maps_NAK: Tensor) -> Tensor:
        return nn.functional.pad(maps_NAK, (0, widest - maps_NAK.shape[-1]))

    return Read(
        {layer: wide(torch.cat([part.states[layer] for part in parts])) for layer in sorted(wanted.states)},
        {
            layer: wide(torch.cat([filled(part.attention[layer]) for part in parts]))
            for layer in sorted(wanted.attention)
        },
    )


def wide(tensor: Tensor) -> Tensor:
    """In float32, whatever a model computes in."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
