"""Name of a family of decoders → how its layers are made, declared once: what compiler and machine derive sizes from.

A family is a model type of Transformers 5.23. All have rotary positions, grouped queries, a norm before each branch and
a gated MLP, but where a field says otherwise. Pure data, no tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Family:
    """How the layers of a family are made."""

    #: what a head's width must be a multiple of: rotation pairs up all of it, or half of it (4)
    rotary_parts: int = 2
    #: whether the width of a head may be another than hidden_size / heads
    own_head_width: bool = True
    #: whether the projections to queries, keys and values have a bias
    biased_queries: bool = False
    #: whether queries and keys of each head are normalised
    normed_heads: bool = False
    #: queries, keys and values come of one product, and so do gate and up (Phi-3)
    joined: bool = False
    #: norms after attention and MLP as well as before them (Gemma 2 and 3)
    sandwiched: bool = False
    #: norms multiply by one more than their weight (Gemma)
    offset_norms: bool = False
    #: whether its logits may be bounded after the head (Gemma 2)
    capped: bool = False
    #: no fused kernel of attention computes it: it has a cap on its scores (Gemma 2)
    eager: bool = False
    #: every so many layers one attends to the whole text, where a model has a window; 0: none does; None: no window
    windowed: int | None = None
    #: base of the rotation in layers with a window, which is never scaled; None: that of all others
    windowed_theta: float | None = None
    #: fields of config.json that must be the width of a head
    width_fields: tuple[str, ...] = ()
    #: attention and MLP side by side after one LayerNorm, an MLP without a gate, a bias at every product (Phi)
    parallel: bool = False
    #: kinds of scaled rotation that Transformers computes for it (`runtime.contract.rotation`)
    scaled: tuple[str, ...] = ("linear", "dynamic", "llama3", "yarn")
    #: share of a head's channels that are turned
    turned: float = 1.0
    #: kinds of module that can be kept in float32 in a package
    islands: tuple[str, ...] = ("rms_norm", "residual", "softmax", "logits")
    #: tensors that rounding was seen to hurt least
    sturdy: str = "*.gate_proj"
    #: epsilon's name in config.json
    epsilon: str = "rms_norm_eps"
    #: what a config.json means that leaves a field out
    unsaid: Mapping[str, Any] = field(default_factory=dict)
    #: what its arithmetic must be besides, since an architecture of a spec states nothing else
    only: Mapping[str, Any] = field(default_factory=dict)


#: Qwen's configs leave out the same
_QWEN: Mapping[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}

#: what every Gemma's arithmetic is
_GEMMA: Mapping[str, Any] = {
    "hidden_activation": "gelu_pytorch_tanh",
    "attention_bias": False,
    "attention_dropout": 0,
    "use_bidirectional_attention": False,
}
#: what configs of Gemma 2 and 3 leave out
_GEMMA_2: Mapping[str, Any] = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "sliding_window": 4096,
    "query_pre_attn_scalar": 256,
}

FAMILIES: Mapping[str, Family] = {
    "llama": Family(
        unsaid={
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
        },
        only={"attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "attention_dropout": 0},
    ),
    "mistral": Family(
        unsaid={
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131072,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
            # a config.json that says nothing of a window has one
            "sliding_window": 4096,
        },
        windowed=0,
        only={"hidden_act": "silu", "attention_dropout": 0},
    ),
    "qwen2": Family(
        own_head_width=False,
        biased_queries=True,
        unsaid=_QWEN,
        only={"hidden_act": "silu", "attention_dropout": 0, "use_sliding_window": False},
    ),
    "qwen3": Family(
        normed_heads=True,
        unsaid={**_QWEN, "head_dim": 128},
        only={"attention_bias": False, "hidden_act": "silu", "attention_dropout": 0, "use_sliding_window": False},
    ),
    "phi": Family(
        rotary_parts=4,
        turned=0.5,
        own_head_width=False,
        parallel=True,
        islands=("layer_norm", "residual", "softmax", "logits"),
        sturdy="*.fc1",
        epsilon="layer_norm_eps",
        unsaid={
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False,
        },
        only={
            "hidden_act": "gelu_new",
            "partial_rotary_factor": 0.5,
            "qk_layernorm": False,
            "attention_dropout": 0,
            "resid_pdrop": 0,
            "embd_pdrop": 0,
        },
    ),
    "phi3": Family(
        own_head_width=False,
        joined=True,
        # older spellings of longrope are read as it, and no other kind is
        scaled=("longrope",),
        sturdy="*.gate_up_proj",
        unsaid={
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "max_position_embeddings": 4096,
            # beside the fields of the rotation, and before them
            "original_max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False,
        },
        only={
            "hidden_act": "silu",
            "partial_rotary_factor": 1.0,
            "attention_dropout": 0,
            "resid_pdrop": 0,
            "embd_pdrop": 0,
        },
        windowed=0,
    ),
    "gemma": Family(
        offset_norms=True,
        unsaid={
            "hidden_size": 3072,
            "intermediate_size": 24576,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "head_dim": 256,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
        },
        # the first configs say "gelu", and Transformers reads it as this one
        only={**_GEMMA, "hidden_act": ("gelu_pytorch_tanh", "gelu")},
    ),
    "gemma2": Family(
        offset_norms=True,
        sandwiched=True,
        eager=True,
        windowed=2,
        width_fields=("query_pre_attn_scalar",),
        unsaid={
            **_GEMMA_2,
            "max_position_embeddings": 8192,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
        capped=True,
        only={**_GEMMA, "attn_logit_softcapping": 50.0},
    ),
    "gemma3_text": Family(
        offset_norms=True,
        sandwiched=True,
        normed_heads=True,
        windowed=6,
        windowed_theta=10000.0,
        width_fields=("query_pre_attn_scalar",),
        unsaid={**_GEMMA_2, "max_position_embeddings": 131072, "rope_theta": 1e6},
        only={**_GEMMA, "attn_logit_softcapping": None, "final_logit_softcapping": None},
    ),
}
#: the families in words, for whoever is to take another
NAMES = f"{', '.join([*FAMILIES][:-1])} or {[*FAMILIES][-1]}"


def ane_lacks(family: str) -> str:
    """Why the profile `ane` (`runtime.contract.authoring`) cannot express a family, or ""."""
    if family not in FAMILIES:
        return "its layers are not declared"
    return "its attention and MLP stand side by side after a LayerNorm" if FAMILIES[family].parallel else ""


#: the families that the profile `ane` expresses, in words
ANE_NAMES = ", ".join(name for name in FAMILIES if not ane_lacks(name))
