"""The declared shape of a Transformers model, shared by the steps that build one. Pure data, no tensors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.rotation import RopeScaling
from runtime.contract.units import unit


def _absent(value: object) -> bool:
    """What a model has that most lack is in no lock of those: they are what they were."""
    return value is None


class Architecture(Params):
    """A decoder-only Transformers config in the library's own field names."""

    family: Literal["llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gemma", "gemma2", "gemma3_text"] = Field(
        description="Transformers model type."
    )
    hidden_size: int = Field(
        ge=8,
        le=1 << 20,
        description="Width of the residual stream.",
        examples=[4096],
        json_schema_extra=unit("channel"),
    )
    intermediate_size: int = Field(
        ge=8, le=1 << 22, description="Width of the MLP.", examples=[11008], json_schema_extra=unit("channel")
    )
    num_hidden_layers: int = Field(
        ge=1, le=1024, description="Number of decoder layers.", examples=[32], json_schema_extra=unit("layer")
    )
    num_attention_heads: int = Field(
        ge=1, le=4096, description="Number of query heads.", examples=[32], json_schema_extra=unit("head")
    )
    num_key_value_heads: int = Field(
        ge=1,
        le=4096,
        description="Number of key/value heads (GQA when fewer than query heads).",
        examples=[8],
        json_schema_extra=unit("head"),
    )
    head_dim: int | None = Field(
        default=None,
        ge=2,
        le=65_536,
        description="Width of one head; hidden_size / heads when absent.",
        examples=[128],
        json_schema_extra=unit("channel"),
    )
    max_position_embeddings: int = Field(
        ge=8, le=10_000_000, description="Longest context in tokens.", examples=[4096], json_schema_extra=unit("token")
    )
    vocab_size: int = Field(
        ge=8,
        le=10_000_000,
        description="Embedding rows; equals the tokenizer's size and the loss width.",
        examples=[32000],
        json_schema_extra=unit("id"),
    )
    rope_theta: float = Field(
        default=10000.0, ge=1, le=1e12, description="RoPE base.", examples=[10000.0], json_schema_extra=unit("1")
    )
    rope_scaling: RopeScaling | None = Field(
        default=None,
        exclude_if=_absent,
        description="How the rotation is scaled to longer texts; absent: it is not.",
    )
    sliding_window: int | None = Field(
        default=None,
        exclude_if=_absent,
        ge=1,
        le=10_000_000,
        description="How many tokens, itself among them, a token of a layer with a window attends to; absent: all.",
        examples=[4096],
        json_schema_extra=unit("token"),
    )
    sliding_window_pattern: int | None = Field(
        default=None,
        exclude_if=_absent,
        ge=2,
        le=1024,
        description="Every so many layers one attends to the whole text; absent: 2 of gemma2, 6 of gemma3_text.",
        examples=[6],
        json_schema_extra=unit("layer"),
    )
    final_logit_softcapping: float | None = Field(
        default=None,
        exclude_if=_absent,
        gt=0,
        le=1e4,
        description="Bound of the logits of a gemma2: they are this times the tanh of what the head says by this; "
        "absent: no bound.",
        examples=[30.0],
        json_schema_extra=unit("1"),
    )
    rms_norm_eps: float = Field(
        default=1e-5,
        ge=1e-12,
        le=1,
        description="Epsilon of the normalisation layers.",
        examples=[1e-05],
        json_schema_extra=unit("1"),
    )
    tie_word_embeddings: bool = Field(default=True, description="Whether the LM head is the embedding matrix.")
