"""The scaled rotation of a model → keys and tensors of a GGUF file by which llama.cpp turns as it does.

What llama.cpp does with them (`llama-model.cpp`, `ggml_rope_ext`): `linear` slows every channel; `yarn` has a ramp
between two numbers of turns and multiplies sine and cosine by its paper's factor times `attn_factor`;
`rope_freqs.weight` divides frequencies, and is read for a `llama` alone; `rope_factors_*` for a `phi3`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import gguf
import numpy as np

from runtime.contract import gguf_model
from runtime.models.rotation import frequencies, longrope_attention, yarn_attention

Array: TypeAlias = np.ndarray[Any, Any]


def keys(writer: gguf.GGUFWriter, rotation: Mapping[str, Any], context: int) -> None:
    """Write the keys of a rotation. `dynamic` is the plain one up to the context that the file states."""
    writer.add_rope_freq_base(float(rotation["rope_theta"]))
    kind, original = rotation.get("rope_type", "default"), rotation.get("original_max_position_embeddings")
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(float(rotation["factor"]))
    if kind in ("llama3", "yarn", "longrope") and original is not None:
        writer.add_rope_scaling_orig_ctx_len(int(original))
    if kind == "longrope":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_attn_factors(longrope_attention(rotation, context))
    if kind == "yarn" and rotation.get("attention_factor") is not None:
        advised = yarn_attention(float(rotation["factor"]))
        writer.add_rope_scaling_attn_factors(float(rotation["attention_factor"]) / advised)


def tensors(rotation: Mapping[str, Any], width: int, context: int) -> Iterator[tuple[str, Array]]:
    """Tensors that divide frequencies, float32."""
    kind = rotation.get("rope_type", "default")
    if kind == "llama3":
        plain, scaled = (frequencies(one, width, context)[0] for one in (_plain(rotation), rotation))
        yield gguf_model.DIVISORS, (plain.double() / scaled.double()).float().numpy()
    if kind == "longrope":
        for name, field in ((gguf_model.LONG, "long_factor"), (gguf_model.SHORT, "short_factor")):
            yield name, np.asarray(rotation[field], dtype=np.float32)


def _plain(rotation: Mapping[str, Any]) -> dict[str, Any]:
    return {**rotation, "rope_type": "default"}
