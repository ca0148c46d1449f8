"""Transformers decoder (Llama, Qwen3, Phi, …) → two modules with the student's fixed I/O, ready for torch.export.

`Prefill` reads a whole right-padded prompt, `Decode` one token against a read-only cache. Both call the Transformers
model itself, so every family keeps its own layers; only four things are replaced, all without changing a weight:

- attention: queries of one key/value head are folded into one matmul, so that no key or value is ever repeated
  (Transformers' `repeat_kv` becomes rank-5 `tile`s in Core ML) and the mask is finite;
- rotary angles: float32 tables made once (`runtime.models.rotation`). Computing `position * frequency` in float16 would
  be wrong by up to 0.1 rad at position 255;
- a bound on the logits (Gemma 2): the same with a product for the division, in a module of its own;
- the cache: new keys and values leave as outputs and the host writes them, so that no scatter is in the graph.

Letters: B batch (always 1), T tokens, V vocabulary, L layers, H key/value heads, C cache slots, D head width.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from runtime.contract import Refusal, families
from runtime.contract.chunks import Chunk
from runtime.contract.windows import FULL, SLIDING
from runtime.models import capping, chunking, heads, rotation

ATTENTION = "kcompiler_grouped"
#: attribute of an attention whose mask hides what its window does not hold
WINDOW = "kcompiler_window"
#: rotary variants whose angles may depend on the length of the prompt
_LENGTH_DEPENDENT_ROPE = frozenset({"dynamic", "longrope"})
#: what Transformers passes to every attention function and what changes nothing here; anything else that is set
#: (attention sinks, a window that nobody knew of) would be a meaning that the exported graph loses
#: `is_causal` too: the additive mask is always given, and a checkpoint that is not causal fails the probes
#: (mixtures of experts hand on whether their routing shall be reported)
_WITHOUT_MEANING = frozenset(
    {"position_ids", "use_cache", "cache_position", "output_attentions", "output_router_logits", "is_causal"}
)


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of query_BQTD over key_BHSD and value_BHSD with an additive mask_11TS → out_BTQD.

    Q query heads share H key/value heads in consecutive groups, so `[B, H·G, T, D]` read as `[B, H, G·T, D]` needs no
    copy. The query is scaled before the product: float16 then keeps sqrt(D) more headroom than scaling after it.
    The mask of a layer with a window hides what lies before it; `softcap` bounds the scores before the mask (Gemma 2).
    Raises Refusal for an option that would change the result.
    """
    meant = sorted(name for name, given in options.items() if given is not None and name not in _WITHOUT_MEANING)
    if sliding_window is not None and sliding_window != getattr(module, WINDOW, None):
        meant.append(f"a window of {sliding_window}")
    if meant or dropout:
        raise Refusal(
            f"the model's attention asks for {', '.join(meant) or 'dropout'}, which the export does not express",
            action=f"use a {families.NAMES}",
        )
    batch, heads, length, width = query.shape
    shared = key.shape[1]
    rows = heads // shared * length
    folded = (query * (scaling if softcap is None else scaling / softcap)).reshape(batch, shared, rows, width)
    scores = torch.matmul(folded, key.transpose(2, 3)).reshape(batch, heads, length, key.shape[2])
    if softcap is not None:
        scores = torch.tanh(scores) * softcap
    weights = torch.softmax(scores + attention_mask, dim=-1).reshape(batch, shared, rows, key.shape[2])
    mixed = torch.matmul(weights, value).reshape(batch, heads, length, width)
    return mixed.transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, grouped_attention)


class RopeTable(nn.Module):
    """Position → (cos_1TR, sin_1TR), read from float32 tables of `context` positions.

    They are computed here for a family that is declared, and else by the model's own rotary module. With `rows` set,
    the first `rows` positions are meant and `position_ids` is not read. Raises Refusal for positions at which the
    angles would depend on the length of the text.
    """

    def __init__(self, model: PreTrainedModel, context: int, rows: int | None) -> None:
        super().__init__()
        rotary: nn.Module = model.get_decoder().rotary_emb
        # where the model's own rotary module is, if it has a table at all
        where = next(rotary.buffers(), torch.empty(0)).device
        self.rows, keep = rows, context if rows is None else rows
        if model.config.model_type in families.FAMILIES:
            for kind, parameters in rotations_of(model).items():
                limit = model.config.max_position_embeddings
                self._keep(kind, rotation.table(parameters, head_width(model), limit, context), keep, where)
            return
        positions = torch.arange(context, device=where)[None, :]
        with torch.no_grad():
            cos, sin = (part[0] for part in rotary(torch.zeros(1, dtype=torch.float32, device=where), positions))
        self._keep("", (cos, sin), keep, where)

    def _keep(self, kind: str, tables: tuple[Tensor, Tensor], rows: int, where: torch.device) -> None:
        for name, table in zip(("cos", "sin"), tables, strict=True):
            self.register_buffer(name + kind, table[:rows].to(where, copy=True), persistent=False)

    def forward(self, _hidden: Tensor, position_ids: Tensor, layer_type: str = "") -> tuple[Tensor, Tensor]:
        cos, sin = (self.get_buffer(name + layer_type) for name in ("cos", "sin"))
        if self.rows is not None:
            return cos[None], sin[None]
        index = position_ids.reshape(-1)
        return cos.index_select(0, index)[None], sin.index_select(0, index)[None]


class OffsetRMSNorm(nn.Module):
    """A norm that multiplies by one more than its weight, with the weight as it is in the program: the converter would
    compute `1 + weight` once, and nobody could read the checkpoint's own tensor back."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.eps = float(norm.eps)
        self.weight: nn.Parameter = norm.weight

    def forward(self, hidden: Tensor) -> Tensor:
        normed = hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.eps)
        return normed + normed * self.weight


class LogitBound(nn.Module):
    """cap · tanh(logits / cap), with a product in the place of the division: a converter makes one of it anyway, under
    a name that no island knows."""

    def __init__(self, cap: float) -> None:
        super().__init__()
        self.cap = cap

    def forward(self, logits: Tensor) -> Tensor:
        return torch.tanh(logits * (1.0 / self.cap)) * self.cap


class Recorder:
    """Stands where Transformers expects a cache: joins the read-only past with new keys/values and remembers them. The
    past is that of the layers from `first` on."""

    def __init__(self, past: tuple[Tensor, Tensor] | None, first: int = 0) -> None:
        self.past, self.first = past, first
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def update(self, key: Tensor, value: Tensor, layer: int, *_more: Any, **_options: Any) -> tuple[Tensor, Tensor]:
        self.keys.append(key)
        self.values.append(value)
        if self.past is None:
            return key, value
        keys, values = self.past
        at = layer - self.first
        return torch.cat((keys[at : at + 1], key), 2), torch.cat((values[at : at + 1], value), 2)


class Wrapped(nn.Module):
    """What both functions share: a copy of the model's structure (weights shared) with the four replacements; of a
    chunk only what is in it."""

    def __init__(self, model: PreTrainedModel, context: int, rows: int | None, chunk: Chunk | None = None) -> None:
        super().__init__()
        self.model, self.chunk = _share(model), chunk
        if chunk is not None:
            chunking.keep(self.model, chunk)
        cap = capping.stated(self.model)
        self.bound: nn.Module = nn.Identity() if cap is None else LogitBound(cap)
        if cap is not None:
            # of the copy: the model itself goes on bounding its logits by itself
            self.model.config.get_text_config(decoder=True).final_logit_softcapping = None
        base = self.model.get_decoder()
        try:
            base.rotary_emb = RopeTable(self.model, context, rows)
        except TypeError as error:
            raise _unknown(model, f"its rotary module is called in another way ({error})") from error

    def _windowed(self, context: int) -> int | None:
        """The window that hides something of `context` tokens from some layer."""
        shortest = min((window for window in windows_of(self.model) if window is not None), default=context)
        return shortest if shortest < context else None

    def _recorder(self, past: tuple[Tensor, Tensor] | None) -> Recorder:
        return Recorder(past, 0 if self.chunk is None else self.chunk.layers[0])

    def _said(
        self, given: Tensor, full: Tensor, sliding: Tensor | None, positions: Tensor, cache: Recorder
    ) -> tuple[Tensor, ...]:
        """Logits, or the residual stream of a chunk without the head, of ids or the residual stream; by the mask of
        layers that attend to the whole text, and that of those with a window. After them what other heads say."""
        narrow = full if sliding is None else sliding
        mixed = len(set(windows_of(self.model))) > 1
        mask = {FULL: full, SLIDING: narrow} if mixed else narrow
        chunk = self.chunk
        fed = {"inputs_embeds" if chunk is not None and chunk.enters else "input_ids": given}
        ends, others = chunk is None or chunk.heads, heads.of(self.model)
        whole = self.model if ends and not others else self.model.get_decoder()
        try:
            output = whole(**fed, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
        except AttributeError as error:
            # a convolution's state, a length: what a family asks of its cache beside keys and values
            raise _unknown(self.model, f"it keeps more than keys and values ({error})") from error
        if whole is self.model:
            return (self.bound(output.logits),)
        hidden = output.last_hidden_state
        if not ends:
            return (hidden,)
        return self.bound(self.model.lm_head(hidden)), *heads.said(others, hidden)


class Prefill(Wrapped):
    """(input_ids_1T int32, attention_mask_1T float32, 1 = real) → (logits_1TV, keys_LHTD after RoPE, values_LHTD).

    Behind them the log-odds_1T of each head that the model has besides. Padding stands on the right, so position i of
    the input is position i of the text. Logits at padded positions mean nothing. A chunk takes hidden_states_1TH for
    ids where it does not embed them, gives hidden_states_1TH for logits where it has no head, and keys and values of
    its own layers.
    """

    causal: Tensor
    near: Tensor
    positions: Tensor

    def __init__(
        self, model: PreTrainedModel, length: int, mask_value: float = -1e4, chunk: Chunk | None = None
    ) -> None:
        super().__init__(model, length, length, chunk)
        self.mask_value = mask_value
        causal = torch.ones(length, length).tril()
        self.register_buffer("causal", causal[None, None], persistent=False)
        self.window = self._windowed(length)
        if self.window is not None:
            self.register_buffer("near", causal.triu(1 - self.window)[None, None], persistent=False)
        self.register_buffer("positions", torch.arange(length, dtype=torch.int32)[None], persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        real = attention_mask[:, None, None, :]
        full = (1.0 - self.causal * real) * self.mask_value
        sliding = None if self.window is None else (1.0 - self.near * real) * self.mask_value
        cache = self._recorder(None)
        logits, *others = self._said(input_ids, full, sliding, self.positions, cache)
        return logits, torch.cat(cache.keys, 0), torch.cat(cache.values, 0), *others


class Decode(Wrapped):
    """(input_ids_11 int32, position_1 int32, key_cache_LHCD, value_cache_LHCD) → (logits_11V, new_key_LH1D,
    new_value_LH1D).

    Slots at or after `position` are masked; the host writes the new key and value to slot `position`. Of a chunk the
    same holds as of its `Prefill`, and the caches are those of its layers.
    """

    slots: Tensor
    gone: Tensor
    itself: Tensor

    def __init__(
        self, model: PreTrainedModel, context: int, mask_value: float = -1e4, chunk: Chunk | None = None
    ) -> None:
        super().__init__(model, context, None, chunk)
        self.mask_value = mask_value
        self.register_buffer("slots", torch.arange(context, dtype=torch.int32), persistent=False)
        self.register_buffer("itself", torch.zeros(1, 1, 1, 1), persistent=False)
        self.window = self._windowed(context)
        if self.window is not None:
            # the position at which a slot has left the window
            self.register_buffer("gone", self.slots + self.window, persistent=False)

    def forward(
        self, input_ids: Tensor, position: Tensor, key_cache: Tensor, value_cache: Tensor
    ) -> tuple[Tensor, ...]:
        written = torch.lt(self.slots, position).to(key_cache.dtype)[None, None, None, :]
        full = torch.cat(((1.0 - written) * self.mask_value, self.itself), -1)
        sliding = None
        if self.window is not None:
            near = torch.gt(self.gone, position).to(key_cache.dtype)[None, None, None, :]
            sliding = torch.cat(((1.0 - written * near) * self.mask_value, self.itself), -1)
        cache = self._recorder((key_cache, value_cache))
        logits, *others = self._said(input_ids, full, sliding, position[None], cache)
        return logits, torch.cat(cache.keys, 0), torch.cat(cache.values, 0), *others


class Ends(Wrapped):
    """A chunk without layers: ids_1T int32 → hidden_states_1TH, or hidden_states_1TH → logits_1TV and what other heads
    say."""

    def __init__(self, model: PreTrainedModel, chunk: Chunk) -> None:
        super().__init__(model, 1, 1, chunk)

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        base = self.model.get_decoder()
        if base.embed_tokens is not None:
            return (base.embed_tokens(given),)
        hidden = base.get_submodule(chunking.final_norm(self.model))(given)
        return self.bound(self.model.lm_head(hidden)), *heads.said(heads.of(self.model), hidden)


def _share(model: PreTrainedModel) -> PreTrainedModel:
    """The same modules around the same weights: the caller's model is unchanged and nothing large is copied."""
    check_family(model)
    memo = {id(parameter): parameter for parameter in model.parameters()}
    copied: PreTrainedModel = copy.deepcopy(model, memo)
    try:
        copied.set_attn_implementation(ATTENTION)
    except ValueError as error:
        raise _unknown(model, "its attention cannot be exchanged") from error
    kind = model.config.model_type
    if kind in families.FAMILIES and families.FAMILIES[kind].offset_norms:
        _exchange_norms(copied)
    for layer, window in (
        zip(copied.get_decoder().layers, windows_of(copied), strict=True) if any(windows_of(copied)) else ()
    ):
        setattr(layer.self_attn, WINDOW, window)
    return copied.eval()


def _exchange_norms(model: PreTrainedModel) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__.endswith("RMSNorm"):
                setattr(parent, name, OffsetRMSNorm(child))


def _unknown(model: PreTrainedModel, why: str) -> Refusal:
    return Refusal(
        f"model type `{model.config.model_type}` cannot be exported: {why}",
        action=f"use a {families.NAMES}",
    )


def check_family(model: PreTrainedModel) -> None:
    """Raises Refusal for a model whose attention or positions the fixed functions cannot express."""
    config = model.config
    if not isinstance(getattr(model.get_decoder(), "rotary_emb", None), nn.Module):
        raise _unknown(model, "it has no rotary embedding")
    kinds = {parameters.get("rope_type", "default") for parameters in rotations_of(model).values()}
    rope = next(iter(kinds & _LENGTH_DEPENDENT_ROPE), None)
    if rope is not None and config.model_type not in families.FAMILIES:
        raise Refusal(
            f"rotary variant `{rope}` changes its angles with the prompt's length and has no static table",
            action="choose rope_type default, linear, yarn or llama3",
        )
    if SLIDING in (getattr(config, "layer_types", None) or []) and not any(windows_of(model)):
        raise Refusal("sliding-window layers have no export function here", action="set use_sliding_window to false")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Token-by-token steps on one thread: their products are too small to share, and waiting for a second thread on a
    busy machine costs many times the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rotations_of(model: PreTrainedModel) -> dict[str, Mapping[str, Any]]:
    """Type of layer → parameters of its rotation; "" for all layers of a model that has one."""
    said: Mapping[str, Any] = getattr(model.config, "rope_parameters", None) or {}
    inner = {kind: one for kind, one in said.items() if isinstance(one, Mapping)}
    return inner or {"": said}


def windows_of(model: PreTrainedModel) -> list[int | None]:
    """Of each layer the window that it attends to; None: the whole text."""
    config = model.config
    every = families.FAMILIES[config.model_type].windowed if config.model_type in families.FAMILIES else None
    window = getattr(config, "sliding_window", None) if every is not None else None
    types = config.layer_types if every else [SLIDING] * config.num_hidden_layers
    return [window if kind == SLIDING else None for kind in types]


def head_width(model: PreTrainedModel) -> int:
    """Channels of one head."""
    config = model.config
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def heads_of(model: PreTrainedModel) -> dict[str, int]:
    """layers, key/value heads, head width, context length and vocabulary of the model's own config."""
    config = model.config
    return {
        "layers": config.num_hidden_layers,
        "heads": config.num_key_value_heads,
        "head_dim": head_width(model),
        "context": config.max_position_embeddings,
        "vocab_size": config.vocab_size,
    }


def check_shapes(model: PreTrainedModel, lengths: list[int], context: int, vocabulary: int) -> None:
    """Raises Refusal for shapes the checkpoint cannot serve, or a tokenizer of another width."""
    limit = model.config.max_position_embeddings
    longest = max(lengths)
    if len(set(lengths)) != len(lengths):
        raise Refusal(f"prefill lengths repeat: {lengths}", place="shapes.prefill", action="name each length once")
    if min(lengths) < 1 or longest > limit or context > limit:
        raise Refusal(
            f"prefill {lengths} and decode context {context} do not fit the model's {limit} positions",
            place="shapes",
            action="shorten the shapes or train with a larger max_position_embeddings",
        )
    if longest > context:
        raise Refusal(
            f"a prompt of {longest} tokens does not fit a cache of {context}",
            place="shapes.decode.context",
            action="make decode.context at least the longest prefill",
        )
    for parameters in rotations_of(model).values():
        rotation.check(parameters, limit, max(longest, context))
    if vocabulary != model.config.vocab_size:
        raise Refusal(
            f"the tokenizer has {vocabulary} tokens, the checkpoint's embedding {model.config.vocab_size} rows",
            action="export a checkpoint with the tokenizer it was trained with",
        )
