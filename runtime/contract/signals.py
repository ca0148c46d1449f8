"""What is kept of a teacher at each supervised token, and how many bytes that takes: the word `store` of a spec.

The folder of an artifact of kind `signals`: `signals.json` says what is stored, of which teacher and tokenizer, and the
digest of each other file; `rows.safetensors` which tokens of which rows; `shard-<number>.safetensors` the numbers, so
many tokens in each, in one order; with form `hidden`, `head.safetensors` the layer that makes logits of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit

INDEX, ROWS, HEAD = "signals.json", "rows.safetensors", "head.safetensors"
VERSION = "1.0"
#: bytes of a shard, at most: what a kill while signals are recorded can lose, and what is held while one is written
SHARD_BYTES = 32 << 20
#: bytes of a number by the name a spec gives its type, and of an id
WIDTH = {"fp32": 4, "bf16": 2}
ID = 4
#: bytes of a token in `rows.safetensors`: its place in its row
PLACE = 4

Floats = Literal["fp32", "bf16"]


class Hidden(Params):
    """The final hidden state of each token, and once the teacher's head."""

    form: Literal["hidden"] = Field(
        description="The final hidden states, in the teacher's own floats, and its head: exact, and every loss reads "
        "them."
    )


class Likeliest(Params):
    """The k likeliest tokens and the mass of all others."""

    form: Literal["top_k"] = Field(
        description="The likeliest tokens with their log-probabilities, and the mass of all others at each temperature "
        "that a loss has: losses compare this mass as one outcome."
    )
    k: int = Field(
        default=64,
        ge=1,
        le=65536,
        description="How many tokens.",
        examples=[64],
        json_schema_extra=unit("token"),
    )


class Full(Params):
    """Every log-probability."""

    form: Literal["full"] = Field(description="Every log-probability: for small vocabularies.")
    dtype: Floats = Field(
        default="fp32", description="Floats in which they are kept; bf16 has three digits.", examples=["bf16"]
    )


#: schema keyword: what the key says by which one form is told from another
WHICH = "x-which"
Stored = Annotated[
    Hidden | Likeliest | Full,
    Field(discriminator="form", json_schema_extra={WHICH: "What is kept of each token."}),
]


def token_bytes(store: Hidden | Likeliest | Full, *, vocab: int, width: int, floats: str, temperatures: int) -> int:
    """Bytes of one token in the shards. `width` and `floats` are those of the teacher's hidden states."""
    if isinstance(store, Hidden):
        return width * WIDTH[floats]
    if isinstance(store, Full):
        return vocab * WIDTH[store.dtype]
    return store.k * (ID + WIDTH["fp32"]) + temperatures * WIDTH["fp32"]


def head_bytes(store: Hidden | Likeliest | Full, *, vocab: int, width: int, floats: str) -> int:
    """Bytes of the teacher's head, where it is kept, without a bias."""
    return vocab * width * WIDTH[floats] if isinstance(store, Hidden) else 0


def shard_tokens(token: int) -> int:
    """Tokens of a shard when one takes so many bytes."""
    return max(1, SHARD_BYTES // token)
