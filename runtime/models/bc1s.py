"""Transformers decoder → the student's two functions written for the Neural Engine, ready for torch.export.

Profile `ane` (`runtime.contract.authoring`): the same model as `runtime.models.wrapper` makes, by other operators and
from the same weights, none of which is copied.

- Values are (1, C, 1, T). A projection is a 1×1 convolution, whose weight is the linear's with two axes of one.
- Attention goes by key/value head: the queries that share one are a batch of one product, so that no key is repeated
  and nothing has more than four axes. Scores are (1, G, K, Q), keys before queries.
- Masks and angles are inputs: nothing is compared, and no table is looked up in.
- A norm is scaled by the largest magnitude before anything is squared (`RMSNorm`): float16 ends at 65504.
- The cache is as hosts keep it everywhere (LHCD), which is the layout that a product with keys wants.

Letters: C channels, T tokens, H key/value heads, G queries of each, D head width, K keys, Q queries, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from runtime.contract import Refusal
from runtime.contract.authoring import Authoring, Turn
from runtime.contract.chunks import Chunk
from runtime.contract.families import ANE_NAMES, FAMILIES, Family, ane_lacks
from runtime.contract.program import Value
from runtime.mil import fed as feeding
from runtime.models import capping, heads, rotation
from runtime.models.wrapper import LogitBound, check_family, head_width, heads_of, rotations_of, windows_of

#: what the inputs of layers with a window, or of one of several rotations, are called after
_SUFFIX = {"": "", "full_attention": "", "sliding_attention": "_sliding"}


class Past(NamedTuple):
    """The cache of one layer: keys_1HCD, values_1HCD."""

    keys: Tensor
    values: Tensor


class Conv(nn.Module):
    """A linear as a 1×1 convolution of x_1C1T, by the linear's own weight."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = _viewed(linear.weight, 2)
        self.bias = linear.bias

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.conv2d(hidden, self.weight, self.bias)


class Embedding(nn.Module):
    """ids_1T → hidden_1C1T. Its weight has the shape of a convolution's: a head that is tied to it is the same constant
    of a package."""

    def __init__(self, own: Any, head: Conv | None) -> None:
        """`head` is what it is tied to, if that is there."""
        super().__init__()
        self.weight = _viewed(own.weight, 2) if head is None else head.weight
        #: what Gemma multiplies by
        self.scale = float(getattr(own, "embed_scale", 1.0))

    def forward(self, input_ids: Tensor) -> Tensor:
        rows = torch.index_select(self.weight, 0, input_ids.reshape(-1)).permute(2, 1, 3, 0)
        return rows if self.scale == 1.0 else rows * self.scale


def _viewed(weight: nn.Parameter, ones: int) -> nn.Parameter:
    """The same numbers with so many axes of one behind, where they lie."""
    return nn.Parameter(weight.detach()[(..., *[None] * ones)], requires_grad=weight.requires_grad)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + ε) · w over the axis `back` from the last, without a square that float16 does not hold.

    With m = max(max|x|, √ε) it is (x/m) / sqrt(mean((x/m)²) + (√ε/m)²): no element that is squared is above one, and
    the sum in the root is between 1/C and 2. (`rsqrt` would be saved with an epsilon of its own.) The layer norm of
    (x, -x), which others write, holds only where the unit computes inside of that operator in more than float16.
    """

    floor: Tensor

    def __init__(self, norm: nn.Module, back: int, *, offset: bool) -> None:
        super().__init__()
        epsilon = getattr(norm, "variance_epsilon", None) or getattr(norm, "eps", None)
        if not isinstance(epsilon, float):
            raise Refusal(f"a {type(norm).__name__} has no epsilon", action="use another family, or the profile gpu")
        self.axis, self.offset = -back, offset
        weight = norm.weight
        assert isinstance(weight, nn.Parameter)
        self.weight = _viewed(weight, back - 1)
        # a tensor: a number over a tensor would be exported as a product with its reciprocal, which Core ML rounds up
        self.register_buffer("floor", torch.full((1, 1, 1, 1), math.sqrt(epsilon)), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        largest = torch.maximum(hidden.abs().amax(self.axis, keepdim=True), self.floor)
        scaled, share = hidden / largest, self.floor / largest
        normed = scaled / torch.sqrt((scaled * scaled).mean(self.axis, keepdim=True) + share * share)
        return normed + normed * self.weight if self.offset else normed * self.weight


class Attention(nn.Module):
    """hidden_1C1T → (mixed_1C1T, keys_1HDT, values_1HDT), all with the names of the checkpoint's own modules."""

    def __init__(self, own: Any, model: PreTrainedModel, family: Family) -> None:
        super().__init__()
        config = model.config
        self.width, self.heads, self.shared = (
            head_width(model),
            config.num_attention_heads,
            config.num_key_value_heads,
        )
        self.joined, self.scaling = family.joined, float(own.scaling)
        self.softcap: float | None = getattr(own, "attn_logit_softcapping", None)
        for name in ("qkv_proj", "o_proj") if family.joined else ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, Conv(getattr(own, name)))
        self.normed = family.normed_heads
        for name in ("q_norm", "k_norm") if family.normed_heads else ():
            setattr(self, name, RMSNorm(getattr(own, name), 2, offset=family.offset_norms))

    def _projected(self, hidden: Tensor) -> list[Tensor]:
        """queries_1,HG,D,T, keys_1HDT and values_1HDT."""
        sizes = [self.heads, self.shared, self.shared]
        if self.joined:
            parts = torch.split(self.qkv_proj(hidden), [size * self.width for size in sizes], 1)
        else:
            parts = tuple(one(hidden) for one in (self.q_proj, self.k_proj, self.v_proj))
        tokens = hidden.shape[3]
        return [part.reshape(1, size, self.width, tokens) for part, size in zip(parts, sizes, strict=True)]

    def forward(
        self, hidden: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor, past: Past | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = self._projected(hidden)
        if self.normed:
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        # scaled before the product: float16 then keeps sqrt(D) more headroom than after it
        scaling = self.scaling if self.softcap is None else self.scaling / self.softcap
        queries, keys = turned(queries, *angles) * scaling, turned(keys, *angles)
        group, mixed = self.heads // self.shared, []
        for head in range(self.shared):
            asked = queries[:, head * group : (head + 1) * group]
            one = slice(head, head + 1)
            before = None if past is None else Past(past.keys[:, one], past.values[:, one])
            mixed.append(self._mixed(asked, keys[:, one], values[:, one], mask, before))
        joined = torch.cat(mixed, 1).reshape(1, self.heads * self.width, 1, hidden.shape[3])
        return self.o_proj(joined), keys, values

    def _mixed(self, asked: Tensor, key: Tensor, value: Tensor, mask: Tensor, past: Past | None) -> Tensor:
        """What asked_1GDQ see of one head's key_11DQ and value_11DQ and of its past, by mask_11KQ → mixed_1GDQ."""
        own = self._bounded(torch.matmul(key.transpose(2, 3), asked))
        if past is None:
            return torch.matmul(value, torch.softmax(own + mask, 2))
        slots = past.keys.shape[2]
        held = self._bounded(torch.matmul(past.keys, asked)) + mask
        weights = torch.softmax(torch.cat((held, own), 2), 2)
        mixed = torch.matmul(past.values.transpose(2, 3), weights[:, :, :slots])
        return mixed + torch.matmul(value, weights[:, :, slots:])

    def _bounded(self, scores: Tensor) -> Tensor:
        return scores if self.softcap is None else torch.tanh(scores) * self.softcap


def turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """heads_1HDT with their first R channels turned by cos_11RT and sin_11RT; pairs are R/2 channels apart."""
    rotated = cos.shape[2]
    part, rest = heads[:, :, :rotated], heads[:, :, rotated:]
    first, second = part[:, :, : rotated // 2], part[:, :, rotated // 2 :]
    made = part * cos + torch.cat((-second, first), 2) * sin
    return torch.cat((made, rest), 2) if rotated < heads.shape[2] else made


class MLP(nn.Module):
    """hidden_1C1T → hidden_1C1T: gated."""

    def __init__(self, own: Any, family: Family) -> None:
        super().__init__()
        self.joined = family.joined
        for name in ("gate_up_proj", "down_proj") if family.joined else ("gate_proj", "up_proj", "down_proj"):
            setattr(self, name, Conv(getattr(own, name)))
        self.act_fn: nn.Module = own.activation_fn if family.joined else own.act_fn

    def forward(self, hidden: Tensor) -> Tensor:
        gate, up = (
            torch.chunk(self.gate_up_proj(hidden), 2, 1)
            if self.joined
            else (self.gate_proj(hidden), self.up_proj(hidden))
        )
        out: Tensor = self.down_proj(self.act_fn(gate) * up)
        return out


class DecoderLayer(nn.Module):
    """One layer; norms of branches where the family has them (Gemma 2 and 3)."""

    def __init__(self, own: Any, model: PreTrainedModel, family: Family) -> None:
        super().__init__()
        self.sandwiched = family.sandwiched
        names = ["input_layernorm", "post_attention_layernorm"]
        names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if family.sandwiched else []
        for name in names:
            setattr(self, name, RMSNorm(getattr(own, name), 3, offset=family.offset_norms))
        self.self_attn, self.mlp = Attention(own.self_attn, model, family), MLP(own.mlp, family)

    def forward(
        self, hidden: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor, past: Past | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        mixed, keys, values = self.self_attn(self.input_layernorm(hidden), angles, mask, past)
        if not self.sandwiched:
            hidden = hidden + mixed
            return hidden + self.mlp(self.post_attention_layernorm(hidden)), keys, values
        hidden = hidden + self.post_attention_layernorm(mixed)
        mixed = self.mlp(self.pre_feedforward_layernorm(hidden))
        return hidden + self.post_feedforward_layernorm(mixed), keys, values


class _Body(nn.Module):
    """Embedding, layers and the last norm, each where the chunk has it; layers under their own numbers."""

    def __init__(self, model: PreTrainedModel, family: Family, head: Conv | None, chunk: Chunk | None) -> None:
        super().__init__()
        own: Any = model.get_decoder()
        if chunk is None or not chunk.enters:
            tied = head is not None and own.embed_tokens.weight is model.get_output_embeddings().weight
            self.embed_tokens = Embedding(own.embed_tokens, head if tied else None)
        self.layers = nn.ModuleList()
        for number in _held(model, chunk):
            self.layers.add_module(str(number), DecoderLayer(own.layers[number], model, family))
        if head is not None:
            self.norm = RMSNorm(own.norm, 3, offset=family.offset_norms)


class _Model(nn.Module):
    """The tree whose parameters have the checkpoint's names."""

    def __init__(self, model: PreTrainedModel, family: Family, chunk: Chunk | None) -> None:
        super().__init__()
        own: Any = model.get_output_embeddings()
        head = Conv(own) if chunk is None or chunk.heads else None
        self.model = _Body(model, family, head, chunk)
        if head is not None:
            self.lm_head = head
            if others := heads.of(model):
                self.heads = nn.ModuleDict({name: Conv(one) for name, one in others.items()})


class _Function(nn.Module):
    """What the functions share. Their inputs behind the first are those of `authored`, masks first, then cosine and
    sine of each rotation."""

    def __init__(self, model: PreTrainedModel, chunk: Chunk | None = None) -> None:
        super().__init__()
        check(model)
        self.chunk = chunk
        self.model = _Model(model, FAMILIES[model.config.model_type], chunk)
        cap = capping.stated(model)
        self.bound: nn.Module = nn.Identity() if cap is None else LogitBound(cap)
        made, held = authored(model, chunk=chunk), _held(model, chunk)
        masks, turns = [*made.masks], [one.cos for one in made.turns]
        windows, cosines = windows_of(model), _cosines(model)
        #: of each layer the number of its mask and of its rotation
        self.masks = [masks.index(_mask(windows[number])) for number in held]
        self.turns = [turns.index(cosines[number]) for number in held]
        self.first = len(masks)

    def _entered(self, given: Tensor) -> Tensor:
        """hidden_1C1T of ids_1T, or of hidden_states_1TC that another chunk gives."""
        if self.chunk is not None and self.chunk.enters:
            return given.transpose(1, 2).unsqueeze(2)
        found: Tensor = self.model.model.embed_tokens(given)
        return found

    def _left(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """logits_1TV of hidden_1C1T and what other heads say, or hidden_states_1TC for another chunk."""
        if self.chunk is not None and not self.chunk.heads:
            return (hidden.squeeze(2).transpose(1, 2),)
        normed = self.model.model.norm(hidden)
        logits = self.model.lm_head(normed)
        others = [head(normed).squeeze(2).squeeze(1) for head in heads.of(self.model).values()]
        return self.bound(logits.squeeze(2).transpose(1, 2)), *others

    def _run(
        self, given: Tensor, masks: list[Tensor], angles: list[tuple[Tensor, Tensor]], past: list[Past | None]
    ) -> tuple[Tensor, ...]:
        """(logits_1TV, keys_LHTD, values_LHTD) of masks_11KQ and angles_11RT, and what other heads say."""
        body = self.model.model
        hidden = self._entered(given)
        keys, values = [], []
        for number, layer in enumerate(body.layers):
            mask, turn = masks[self.masks[number]], angles[self.turns[number]]
            hidden, key, value = layer(hidden, turn, mask, past[number])
            keys.append(key.transpose(2, 3))
            values.append(value.transpose(2, 3))
        logits, *others = self._left(hidden)
        return logits, torch.cat(keys, 0), torch.cat(values, 0), *others


class Prefill(_Function):
    """(input_ids_1T int32, masks_1,K,1,Q, cosines and sines_1R1T) → (logits_1TV, keys_LHTD after RoPE, values_LHTD).

    A chunk takes hidden_states_1TC for ids where it does not embed them, gives hidden_states_1TC for logits where it
    has no head, and has masks, angles, keys and values of its own layers.
    """

    def forward(self, input_ids: Tensor, *fed: Tensor) -> tuple[Tensor, ...]:
        masks = [one.transpose(1, 2) for one in fed[: self.first]]
        angles = [one.transpose(1, 2) for one in fed[self.first :]]
        pairs = list(zip(angles[::2], angles[1::2], strict=True))
        return self._run(input_ids, masks, pairs, [None] * len(self.masks))


class Decode(_Function):
    """(input_ids_11 int32, masks_111C, cosines and sines_111R, key_cache_LHCD, value_cache_LHCD) → (logits_11V,
    new_key_LH1D, new_value_LH1D)."""

    def forward(self, input_ids: Tensor, *fed: Tensor) -> tuple[Tensor, ...]:
        *given, keys, values = fed
        masks = [one.transpose(2, 3) for one in given[: self.first]]
        angles = [one.transpose(2, 3) for one in given[self.first :]]
        pairs = list(zip(angles[::2], angles[1::2], strict=True))
        layers = range(len(self.masks))
        past: list[Past | None] = [Past(keys[i : i + 1], values[i : i + 1]) for i in layers]
        return self._run(input_ids, masks, pairs, past)


class Ends(_Function):
    """A chunk without layers: ids_1T int32 → hidden_states_1TC, or hidden_states_1TC → logits_1TV."""

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        return self._left(self._entered(given))


def check(model: PreTrainedModel) -> None:
    """Raises Refusal for a model that this profile does not express."""
    check_family(model)
    if why := ane_lacks(model.config.model_type):
        raise Refusal(
            f"the profile `ane` does not express model type `{model.config.model_type}`: {why}",
            place="export.profile",
            action=f"use the profile gpu, or one of {ANE_NAMES}",
        )


def _mask(window: int | None) -> str:
    return "mask" if window is None else "mask_sliding"


def _held(model: PreTrainedModel, chunk: Chunk | None) -> range:
    """Numbers of the layers."""
    return range(model.config.num_hidden_layers) if chunk is None else range(*chunk.layers)


def _types(model: PreTrainedModel) -> list[str]:
    """Of each layer the type that its rotation is by."""
    kinds = rotations_of(model)
    layers: int = model.config.num_hidden_layers
    return list(model.config.layer_types) if len(kinds) > 1 else [next(iter(kinds))] * layers


def _cosines(model: PreTrainedModel) -> list[str]:
    """Of each layer the input that holds its cosines."""
    types = _types(model)
    return [f"cos{_SUFFIX[kind] if len(set(types)) > 1 else ''}" for kind in types]


def authored(model: PreTrainedModel, mask_value: float = -1e4, chunk: Chunk | None = None) -> Authoring:
    """Masks and rotations of a model, or of the layers of a chunk, as inputs, in the order in which its functions take
    them."""
    windows, types, cosines = windows_of(model), _types(model), _cosines(model)
    width, context, held = head_width(model), heads_of(model)["context"], _held(model, chunk)
    turns = {}
    for number in held:
        frequencies, factor = rotation.frequencies(rotations_of(model)[types[number]], width, context)
        cos = cosines[number]
        turns[cos] = Turn(cos=cos, sin=f"sin{cos[3:]}", frequencies=frequencies.tolist(), factor=factor)
    masks = {_mask(windows[number]): windows[number] or 0 for number in held}
    return Authoring(
        profile="ane",
        masks=dict(sorted(masks.items())),
        mask_value=mask_value,
        turns=[turns[one] for one in sorted(turns)],
    )


def fed(made: Authoring, called: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Examples of the inputs of a function that a host calls by `called`: by name, in the order of its arguments."""
    caches = {name: called[name] for name in ("key_cache", "value_cache") if name in called}
    first = next(iter(called))
    found, length = {first: called[first]}, called[first].shape[1]
    mask = (1, 1, 1, caches["key_cache"].shape[2]) if caches else (1, length, 1, length)
    found |= {name: torch.zeros(mask) for name in made.masks}
    for one in made.turns:
        channels = 2 * len(one.frequencies)
        angle = (1, 1, 1, channels) if caches else (1, channels, 1, length)
        found |= {one.cos: torch.ones(angle), one.sin: torch.zeros(angle)}
    return found | caches


def called(function: nn.Module, made: Authoring, by: Mapping[str, Tensor]) -> Any:
    """What a function gives that is called as hosts call it: its masks and angles are made as theirs are."""
    shapes = fed(made, by)
    declared = [
        Value(name=name, shape=list(one.shape), dtype="float32") for name, one in shapes.items() if name not in by
    ]
    told = {name: by[name].cpu().numpy() for name in ("attention_mask", "position") if name in by}
    derived = feeding.fed(told, declared, made)
    device = next(iter(by.values())).device
    return function(*(by[name] if name in by else torch.from_numpy(derived[name]).to(device) for name in shapes))
