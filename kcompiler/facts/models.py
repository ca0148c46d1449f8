"""Architectures in a spec, and the exact number of their parameters (Transformers 5.23: llama, qwen3, phi)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kcompiler.spec import Spec
from runtime.contract.architecture import Architecture

#: what a head's width must be a multiple of: rotation pairs up all of it, or, in phi, half of it
ROTARY_PARTS = {"llama": 2, "qwen3": 2, "phi": 4}


def teacher_architectures(spec: Spec) -> Iterator[tuple[str, Architecture]]:
    """(pointer, architecture) of a teacher whose shape the spec declares."""
    for name in type(spec.teacher.params).model_fields:
        value = getattr(spec.teacher.params, name)
        if isinstance(value, Architecture):
            yield f"/teacher/{name}", value


def head_dim(architecture: Architecture) -> int:
    """Width of one attention head."""
    return architecture.head_dim or architecture.hidden_size // architecture.num_attention_heads


@dataclass(frozen=True)
class Part:
    """Parameters of one part of a model, and how they were counted."""

    name: str
    formula: str
    count: int


def parameters(a: Architecture) -> list[Part]:
    """The parts of a model; their counts add up to the number of its trainable parameters, tied ones counted once."""
    h, d = a.hidden_size, head_dim(a)
    q, kv, m = a.num_attention_heads * d, a.num_key_value_heads * d, a.intermediate_size
    if a.family == "phi":
        attention = Part(
            "attention", f"{h}×{q}+{q} + 2×({h}×{kv}+{kv}) + {q}×{h}+{h}", h * q + q + 2 * (h * kv + kv) + q * h + h
        )
        mlp = Part("MLP", f"{h}×{m}+{m} + {m}×{h}+{h}", h * m + m + m * h + h)
        norms, last = Part("norm", f"2×{h}", 2 * h), Part("last norm", f"2×{h}", 2 * h)
    else:
        extra = 2 * d if a.family == "qwen3" else 0
        attention = Part(
            "attention", f"2×{h}×{q} + 2×{h}×{kv}" + (f" + 2×{d}" if extra else ""), 2 * h * q + 2 * h * kv + extra
        )
        mlp = Part("MLP", f"3×{h}×{m}", 3 * h * m)
        norms, last = Part("norms", f"2×{h}", 2 * h), Part("last norm", f"{h}", h)
    layer = attention.count + mlp.count + norms.count
    inside = " + ".join(f"{part.name} ({part.formula})" for part in (attention, mlp, norms))
    parts = [
        Part("embedding", f"{a.vocab_size}×{h}", a.vocab_size * h),
        Part(f"{a.num_hidden_layers} layers", f"{a.num_hidden_layers}×({inside})", a.num_hidden_layers * layer),
        last,
    ]
    if not a.tie_word_embeddings:
        parts.append(Part("head", f"{h}×{a.vocab_size}", h * a.vocab_size))
    if a.family == "phi":
        parts.append(Part("head bias", f"{a.vocab_size}", a.vocab_size))
    return parts


def total(architecture: Architecture) -> int:
    """Number of parameters of a model."""
    return sum(part.count for part in parameters(architecture))
