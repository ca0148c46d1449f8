"""Architecture, recipe and lengths → bytes and operations. Closed formulas over integers, nothing measured.

Tensor names and shapes are those of Transformers 5.23 (see `runtime.contract.families`); what a tensor takes in the
package is what `runtime/mil/quantize.py` stores: integers with float16 scales, indices with float16 palettes, anything
else in float16.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from kcompiler.facts.models import head_dim, total
from kcompiler.facts.teacher import Folder, json_object
from runtime.contract import footprint
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES
from runtime.contract.recipe import FLOAT16, FLOAT32, HEAD, Recipe, scale_width
from runtime.contract.strict_json import loads

#: bytes of a number by the name a spec gives its type
HELD = {"bf16": FLOAT16, "fp32": FLOAT32}
EMBEDDING = "model.embed_tokens.weight"
_TYPES = {"float32": 4, "float16": 2, "bfloat16": 2}
_HEADER_LENGTH, _LARGEST_HEADER = 8, 100 << 20


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint, with the other names of the same memory."""

    name: str
    shape: tuple[int, ...]
    aliases: tuple[str, ...] = ()

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def tensors(a: Architecture) -> Iterator[Tensor]:
    """Every tensor of a model; their elements add up to its parameters."""
    tied = a.tie_word_embeddings
    yield Tensor(EMBEDDING, (a.vocab_size, a.hidden_size), (HEAD,) if tied else ())
    for i in range(a.num_hidden_layers):
        for name, shape in _layer(a):
            yield Tensor(f"model.layers.{i}.{name}", shape)
    parallel = FAMILIES[a.family].parallel
    for name in ("final_layernorm.weight", "final_layernorm.bias") if parallel else ("norm.weight",):
        yield Tensor(f"model.{name}", (a.hidden_size,))
    if not tied:
        yield Tensor(HEAD, (a.vocab_size, a.hidden_size))
    if parallel:
        yield Tensor("lm_head.bias", (a.vocab_size,))


def _layer(a: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    h, m, d = a.hidden_size, a.intermediate_size, head_dim(a)
    q, kv = a.num_attention_heads * d, a.num_key_value_heads * d
    family = FAMILIES[a.family]
    if family.parallel:
        for name, rows, columns in (
            ("self_attn.q_proj", q, h),
            ("self_attn.k_proj", kv, h),
            ("self_attn.v_proj", kv, h),
            ("self_attn.dense", h, q),
            ("mlp.fc1", m, h),
            ("mlp.fc2", h, m),
        ):
            yield f"{name}.weight", (rows, columns)
            yield f"{name}.bias", (rows,)
        yield "input_layernorm.weight", (h,)
        yield "input_layernorm.bias", (h,)
        return
    if family.joined:
        yield "self_attn.qkv_proj.weight", (q + 2 * kv, h)
    else:
        yield "self_attn.q_proj.weight", (q, h)
        yield "self_attn.k_proj.weight", (kv, h)
        yield "self_attn.v_proj.weight", (kv, h)
    yield "self_attn.o_proj.weight", (h, q)
    if family.biased_queries:
        yield "self_attn.q_proj.bias", (q,)
        yield "self_attn.k_proj.bias", (kv,)
        yield "self_attn.v_proj.bias", (kv,)
    if family.normed_heads:
        yield "self_attn.q_norm.weight", (d,)
        yield "self_attn.k_norm.weight", (d,)
    if family.joined:
        yield "mlp.gate_up_proj.weight", (2 * m, h)
    else:
        yield "mlp.gate_proj.weight", (m, h)
        yield "mlp.up_proj.weight", (m, h)
    yield "mlp.down_proj.weight", (h, m)
    yield "input_layernorm.weight", (h,)
    yield "post_attention_layernorm.weight", (h,)
    if family.sandwiched:
        yield "pre_feedforward_layernorm.weight", (h,)
        yield "post_feedforward_layernorm.weight", (h,)


def stored(tensor: Tensor, recipe: Recipe, islands: Collection[str] = ()) -> int:
    """Bytes of one tensor in the package; a tied tensor is stored once."""
    width = scale_width((tensor.name, *tensor.aliases), islands)
    return recipe.of(tensor.name).stored_bytes(tensor.shape, width)


def weights(a: Architecture, recipe: Recipe, islands: Collection[str] = ()) -> dict[str, int]:
    """Bytes by part: embedding, layers, head. A tied embedding is the head too and stands under `embedding`."""
    parts = {"embedding": 0, "layers": 0, "head": 0}
    for tensor in tensors(a):
        part = "embedding" if tensor.name == EMBEDDING else "head" if tensor.name.startswith("lm_head") else "layers"
        parts[part] += stored(tensor, recipe, islands)
    return parts


def read_per_token(a: Architecture, recipe: Recipe, islands: Collection[str] = ()) -> int:
    """Bytes of weights that one decoded token reads: all of them, but of an untied embedding a single row."""
    parts = weights(a, recipe, islands)
    if not a.tie_word_embeddings:
        parts["embedding"] //= a.vocab_size
    return sum(parts.values())


def kv_per_token(a: Architecture) -> int:
    """Bytes of keys and values of one token: 2 × layers × key/value heads × head width × 2 (float16)."""
    return 2 * a.num_hidden_layers * a.num_key_value_heads * head_dim(a) * FLOAT16


def prefill_outputs(a: Architecture, length: int) -> int:
    """Bytes that one prefill of `length` tokens cannot do without: logits, new keys and values, its causal mask."""
    return length * a.vocab_size * FLOAT16 + length * kv_per_token(a) + length * length * FLOAT16


def prefill_scores(a: Architecture, length: int) -> int:
    """Bytes of one layer's attention scores and their softmax, unless the device fuses the two."""
    return 2 * a.num_attention_heads * length * length * FLOAT16


def training_state(a: Architecture) -> int:
    """Bytes of float32 weights, gradients and both AdamW moments."""
    return footprint.state(total(a))


def operations(parameters: int, tokens: int) -> int:
    """Floating-point operations of a forward pass, without attention's own: 2 × parameters × tokens
    (arXiv 2001.08361, section 2.1)."""
    return 2 * parameters * tokens


def prompt_operations(a: Architecture, tokens: int) -> int:
    """The operations that a prompt of `tokens` tokens cannot do without: its layers at every position, the head at the
    last one. An embedding is looked up."""
    head = a.vocab_size * a.hidden_size
    layers = total(a) - head * (1 if a.tie_word_embeddings else 2)
    return operations(layers, tokens) + operations(head, 1)


def ceiling(bandwidth_gb_s: float, bytes_read: int) -> Fraction:
    """Tokens a second that a memory bus allows when each token reads so many bytes (Williams et al. 2009)."""
    return Fraction(str(bandwidth_gb_s)) * 10**9 / bytes_read


def teacher_parameters(folder: Folder) -> int:
    """Number of parameters in a teacher's folder by its safetensors headers, or by their index; 0 when unknown. In a
    GGUF file they are counted."""
    if folder.packed is not None:
        return folder.packed.parameters
    named = 0
    for path in sorted(folder.path.glob("*.safetensors")):
        named += _in_header(path)
    metadata = json_object(folder.path / "model.safetensors.index.json").get("metadata")
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    kind = folder.config.get("dtype", folder.config.get("torch_dtype", "float32"))
    width = _TYPES.get(kind, FLOAT32) if isinstance(kind, str) else FLOAT32
    return max(named, size // width if isinstance(size, int) and not isinstance(size, bool) else 0)


def _in_header(path: Path) -> int:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_HEADER_LENGTH), "little")
            header = loads(file.read(length)) if length <= _LARGEST_HEADER else None
    except (OSError, ValueError):
        return 0
    if not isinstance(header, dict):
        return 0
    shapes = [entry.get("shape") for entry in header.values() if isinstance(entry, dict)]
    return sum(
        math.prod(n for n in shape if isinstance(n, int)) for shape in shapes if isinstance(shape, list) and shape
    )


def text(count: int) -> str:
    """Bytes for people: 9.024 GB, 147.5 kB, 96 B."""
    for unit, size in (("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:,.4g} {unit}"
    return f"{count} B"
