"""A checkpoint and a declared map → the checkpoint of what is kept, and what was measured to choose it.

Every kept weight is the original's own, bit for bit: a cut only leaves out. What is left out is counted, never scaled
away; training is what makes up for it.

Importance is measured on training rows, one by one, so that no padding takes part:

    layers     block influence 1 - cos(what enters a layer, what leaves it), mean over tokens (arXiv 2403.03853, eq. 1)
    heads      Euclidean norm of a head's output, mean over tokens, summed over the query heads of a key/value head
    neurons    absolute activation inside the MLP, mean over tokens
    channels   absolute value after each norm of a layer, mean over tokens, summed over norms (arXiv 2407.14679, 2.2)

Heads and neurons are chosen in each layer for itself. Letters: T tokens, H width, N heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime.contract import Refusal, families
from runtime.contract.architecture import Architecture
from runtime.contract.cut import COUNTED, Choice, Parts
from runtime.models import build

#: projection → what its rows and its columns are (of a bias and a norm: its entries)
_HIDDEN, _QUERIES, _PAIRS, _INNER = "channels", "queries", "pairs", "neurons"
#: of a joined projection: queries, keys and values one below the other, and gate above up
_ATTENDED, _GATED = "queries, keys and values", "gates and neurons"
AXES: Mapping[str, tuple[str, ...]] = {
    "q_proj": (_QUERIES, _HIDDEN),
    "k_proj": (_PAIRS, _HIDDEN),
    "v_proj": (_PAIRS, _HIDDEN),
    "qkv_proj": (_ATTENDED, _HIDDEN),
    "o_proj": (_HIDDEN, _QUERIES),
    "dense": (_HIDDEN, _QUERIES),
    "gate_proj": (_INNER, _HIDDEN),
    "up_proj": (_INNER, _HIDDEN),
    "gate_up_proj": (_GATED, _HIDDEN),
    "fc1": (_INNER, _HIDDEN),
    "down_proj": (_HIDDEN, _INNER),
    "fc2": (_HIDDEN, _INNER),
    "embed_tokens": ("", _HIDDEN),
    "lm_head": ("", _HIDDEN),
    "input_layernorm": (_HIDDEN,),
    "pre_feedforward_layernorm": (_HIDDEN,),
    "post_feedforward_layernorm": (_HIDDEN,),
    "post_attention_layernorm": (_HIDDEN,),
    "final_layernorm": (_HIDDEN,),
    "norm": (_HIDDEN,),
    # of the width of a head, which is never cut
    "q_norm": ("",),
    "k_norm": ("",),
}
_OUT, _DOWN = ("o_proj", "dense"), ("down_proj", "fc2")
_NORMS = ("input_layernorm", "post_attention_layernorm")


@dataclass
class Measured:
    """Sums over `tokens` tokens: one number a layer, and of each layer one a key/value head and a neuron."""

    layers: Tensor
    heads: Tensor
    neurons: Tensor
    channels: Tensor
    tokens: int = 0

    def mean(self, part: str) -> Tensor:
        """What was measured of a part, in float64."""
        found: Tensor = getattr(self, part) / max(1, self.tokens)
        return found


@dataclass(frozen=True)
class Kept:
    """The ids that are kept, ascending: layers and channels of the model, heads and neurons of each kept layer."""

    layers: list[int]
    channels: list[int]
    heads: dict[int, list[int]] = field(repr=False)
    neurons: dict[int, list[int]] = field(repr=False)


def _decoder(model: PreTrainedModel) -> Any:
    """The part of the model that holds its layers. Raises Refusal for a model of another build."""
    inner = model.base_model
    if not isinstance(getattr(inner, "layers", None), nn.ModuleList) or getattr(inner, "embed_tokens", None) is None:
        raise Refusal(
            f"a `{model.config.model_type}` model is built of other parts than those that can be cut",
            action=f"cut a {families.NAMES} model",
        )
    return inner


def _named(layer: nn.Module, names: Sequence[str]) -> Iterator[nn.Module]:
    for name, module in layer.named_modules():
        if name.rpartition(".")[2] in names:
            yield module


class _Watch:
    """Hooks on every layer that add up what passes them."""

    def __init__(self, model: PreTrainedModel, pairs: int, width: int) -> None:
        self._layers, self._pairs, self._width = list(_decoder(model).layers), pairs, width
        layers, config = len(self._layers), model.config
        self.found = Measured(
            torch.zeros(layers, dtype=torch.float64),
            torch.zeros(layers, pairs, dtype=torch.float64),
            torch.zeros(layers, int(config.intermediate_size), dtype=torch.float64),
            torch.zeros(int(config.hidden_size), dtype=torch.float64),
        )
        self._handles: list[Any] = []

    def __enter__(self) -> Measured:
        for number, layer in enumerate(self._layers):
            self._handles.append(layer.register_forward_hook(self._influence(number), with_kwargs=True))
            for module in _named(layer, _OUT):
                self._handles.append(module.register_forward_pre_hook(self._attended(number)))
            for module in _named(layer, _DOWN):
                self._handles.append(module.register_forward_pre_hook(self._activated(number)))
            for module in _named(layer, _NORMS):
                self._handles.append(module.register_forward_hook(self._normed()))
        return self.found

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _influence(self, number: int) -> Callable[..., None]:
        def hook(_layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            before_TH = (args[0] if args else kwargs["hidden_states"])[0].double()
            after_TH = (out[0] if isinstance(out, tuple) else out)[0].double()
            self.found.layers[number] += (1 - nn.functional.cosine_similarity(before_TH, after_TH, dim=-1)).sum()

        return hook

    def _attended(self, number: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            out_TN = args[0][0].double().unflatten(-1, (-1, self._width)).norm(dim=-1)
            self.found.heads[number] += out_TN.sum(0).unflatten(0, (self._pairs, -1)).sum(-1)

        return hook

    def _activated(self, number: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            self.found.neurons[number] += args[0][0].double().abs().sum(0)

        return hook

    def _normed(self) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: tuple[Any, ...], out: Tensor) -> None:
            self.found.channels += out[0].double().abs().sum(0)

        return hook


def head_width(config: Any) -> int:
    """Width of one head of a Transformers config."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


@torch.inference_mode()
def measure(model: PreTrainedModel, rows: Sequence[Sequence[int]], told: Callable[[int], None]) -> Measured:
    """Importance of every part over rows of ids. `told` hears how many rows are done."""
    with _Watch(model, int(model.config.num_key_value_heads), head_width(model.config)) as found:
        for done, ids in enumerate(rows, 1):
            model.base_model(input_ids=torch.tensor([list(ids)]), use_cache=False)
            found.tokens += len(ids)
            told(done)
    return found


def most(values: Tensor, count: int) -> list[int]:
    """Places of the `count` largest values, ascending; of equal ones the first."""
    order = sorted(range(len(values)), key=lambda i: (-float(values[i]), i))
    return sorted(order[:count])


def choose(params: Parts, config: Any, measured: Measured) -> Kept:
    """The ids that the declared map means for this model. Raises Refusal for a map that does not fit it."""
    there = {name: int(getattr(config, field)) for name, field in COUNTED.items()}
    for name, choice in params.choices().items():
        if fault := choice.fault(there[name]):
            raise Refusal(
                f"student.cut.{name} does not fit the model: {fault}", action=f"write a choice among {there[name]}"
            )

    def of(choice: Choice | None, values: Tensor) -> list[int]:
        fixed = list(range(len(values))) if choice is None else choice.fixed(len(values))
        return most(values, choice.kept()) if choice is not None and fixed is None else fixed or []

    layers = of(params.layers, measured.mean("layers"))
    heads, neurons = measured.mean("heads"), measured.mean("neurons")
    return Kept(
        layers=layers,
        channels=of(params.channels, measured.mean("channels")),
        heads={i: of(params.heads, heads[i]) for i in layers},
        neurons={i: of(params.neurons, neurons[i]) for i in layers},
    )


def _rows_of(heads: Sequence[int], each: int) -> list[int]:
    """Places of whole heads of `each` entries."""
    return [head * each + i for head in heads for i in range(each)]


def _below(queries: Sequence[int], pairs: Sequence[int], config: Any, width: int) -> list[int]:
    """Places of kept rows where queries, keys and values stand one below the other."""
    keys = int(config.num_attention_heads) * width
    values = keys + int(config.num_key_value_heads) * width
    return [*queries, *(keys + i for i in pairs), *(values + i for i in pairs)]


def pieces(model: PreTrainedModel, kept: Kept) -> dict[str, Tensor]:
    """Name in the smaller model → the original's own numbers. Raises Refusal for a tensor of no known part."""
    config, width = model.config, head_width(model.config)
    group = int(config.num_attention_heads) // int(config.num_key_value_heads)
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        owner, _, _ = name.rpartition(".")
        layer = _layer_of(name)
        if layer is not None and layer not in kept.layers:
            continue
        axes = AXES.get(owner.rpartition(".")[2])
        if axes is None:
            raise Refusal(
                f"tensor {name} of a `{config.model_type}` model is no part that can be cut",
                action=f"cut a {families.NAMES} model",
            )
        ids = {_HIDDEN: kept.channels}
        if layer is not None:
            pairs = kept.heads[layer]
            ids |= {_QUERIES: _rows_of(pairs, group * width), _PAIRS: _rows_of(pairs, width)}
            ids |= {_INNER: kept.neurons[layer]}
            ids |= {_ATTENDED: _below(ids[_QUERIES], ids[_PAIRS], config, width)}
            ids |= {_GATED: [*ids[_INNER], *(int(config.intermediate_size) + i for i in ids[_INNER])]}
        piece = tensor
        for axis in range(tensor.ndim):
            if axes[axis]:
                piece = piece.index_select(axis, torch.tensor(ids[axes[axis]]))
        new = name if layer is None else name.replace(f".{layer}.", f".{kept.layers.index(layer)}.", 1)
        found[new] = piece.contiguous()
    return found


def _layer_of(name: str) -> int | None:
    """`model.layers.3.mlp…` → 3; None for what belongs to no layer."""
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1]) if "layers" in parts else None


def cut(model: PreTrainedModel, architecture: Architecture, kept: Kept, special: Mapping[str, int]) -> PreTrainedModel:
    """The model of `architecture` with what is kept of the weights of `model`.

    Raises Refusal when the two are models of another arithmetic (another rotary base, another activation), or of other
    sizes than what is kept.
    """
    # the seed is of no account: every weight is replaced
    made = build.build(architecture, 0, special, attention="sdpa")
    declared, found = made.config.to_dict(), model.config.to_dict()
    found |= {name: declared.get(name) for name in (*COUNTED.values(), "num_attention_heads")}
    found["head_dim"] = head_width(model.config) if "head_dim" in declared else None
    if isinstance(found.get("layer_types"), list):
        found["layer_types"] = [found["layer_types"][i] for i in kept.layers]
    if key := build.apart(declared, found):
        raise Refusal(
            f"the model that is cut has {key} = {found.get(key)!r}, the student {declared[key]!r}",
            place="student.architecture",
            action=build.otherwise(key, "write `architecture: from cut`, or the fields of its config.json as they are"),
        )
    _fill(made, pieces(model, kept))
    return made


def _fill(made: PreTrainedModel, tensors: Mapping[str, Tensor]) -> None:
    own = made.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        here, there = (list(one[name].shape) if name in one else None for one in (own, tensors))
        if here != there:
            raise Refusal(
                f"what is kept does not fill the student: {name} is {there}, the architecture asks for {here}",
                place="student.architecture",
                action="write `architecture: from cut`, or the sizes that the cut leaves",
            )
    made.load_state_dict(dict(tensors))
    made.tie_weights()


def equal(made: PreTrainedModel, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many tensors of a model are the same numbers as these, of how many."""
    own = made.state_dict()
    return sum(name in own and torch.equal(own[name], tensor) for name, tensor in tensors.items()), len(own)


@torch.inference_mode()
def likelihood(model: PreTrainedModel, rows: Sequence[tuple[Sequence[int], Sequence[bool]]]) -> tuple[float, int]:
    """(nats per token of the responses under the model, their tokens) over rows of (ids, which are the response)."""
    total, tokens = 0.0, 0
    for ids, mask in rows:
        at = torch.tensor(mask[1:])
        logits_TV = model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0, :-1][at]
        log_TV = torch.log_softmax(logits_TV.double(), dim=-1)
        total -= float(log_TV.gather(1, torch.tensor(ids[1:])[at][:, None]).sum())
        tokens += int(at.sum())
    return total / max(1, tokens), tokens
