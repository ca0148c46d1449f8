"""GGUF files for tests, written byte by byte without the library whose readers they are shown to."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

U32, I32, F32, BOOL, TEXT, LIST = 4, 5, 6, 7, 8, 9
BLOCKS = {0: (1, 4), 1: (1, 2), 8: (32, 34)}
#: the 256 bytes as GPT-2 spells them
PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}


def alphabet() -> list[str]:
    rest = iter(range(0x100, 0x200))
    return [chr(byte) if byte in PRINTABLE else chr(next(rest)) for byte in range(256)]


CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ Ġ", "Ġ w", "1 2"]
TOKENS = [*CONTROL, *alphabet(), *(merge.replace(" ", "") for merge in MERGES), "<tool>"]
TYPES = [3] * 3 + [1] * (256 + len(MERGES)) + [4]
#: a SentencePiece vocabulary: what a score is, is put together first
PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "h", "e", "l", "o", "he", "ll", "hell",
          "hello", "▁hello", "▁▁", "[INST]"]  # fmt: skip
SCORES = [0.0] * 259 + [-100.0] * 5 + [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, 0.0]
PIECE_TYPES = [2, 3, 3] + [6] * 256 + [1] * 11 + [3]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
SHAPE = {"hidden": 32, "mlp": 64, "layers": 2, "heads": 4, "kv": 2, "width": 8}


def keys(architecture: str = "llama", **changes: Any) -> dict[str, Any]:
    """Keys of a small whole model; `changes` (with `__` for a dot) replace them, None takes one away."""
    s = SHAPE
    made: dict[str, Any] = {
        "general.architecture": architecture,
        f"{architecture}.context_length": 128,
        f"{architecture}.embedding_length": s["hidden"],
        f"{architecture}.block_count": s["layers"],
        f"{architecture}.feed_forward_length": s["mlp"],
        f"{architecture}.attention.head_count": s["heads"],
        f"{architecture}.attention.head_count_kv": s["kv"],
        f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{architecture}.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": TYPES,
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.chat_template": TEMPLATE,
    }
    if architecture in ("gemma2", "gemma3"):
        made[f"{architecture}.attention.sliding_window"] = 32
    if architecture == "qwen3":
        # real files of this family state it
        made |= {"qwen3.attention.key_length": s["width"], "qwen3.attention.value_length": s["width"]}
    for name, value in changes.items():
        key = name.replace("__", ".")
        made.pop(key, None)
        if value is not None:
            made[key] = value
    return made


def shapes(architecture: str = "llama", vocab: int = len(TOKENS)) -> dict[str, tuple[int, ...]]:
    """Name → shape, rows first, of every tensor of the small model."""
    s = SHAPE
    q, kv = s["heads"] * s["width"], s["kv"] * s["width"]
    made: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocab, s["hidden"]), "output_norm.weight": (s["hidden"],)}
    for i in range(s["layers"]):
        at = f"blk.{i}"
        made |= {
            f"{at}.attn_norm.weight": (s["hidden"],),
            f"{at}.attn_q.weight": (q, s["hidden"]),
            f"{at}.attn_k.weight": (kv, s["hidden"]),
            f"{at}.attn_v.weight": (kv, s["hidden"]),
            f"{at}.attn_output.weight": (s["hidden"], q),
            f"{at}.ffn_norm.weight": (s["hidden"],),
            f"{at}.ffn_gate.weight": (s["mlp"], s["hidden"]),
            f"{at}.ffn_up.weight": (s["mlp"], s["hidden"]),
            f"{at}.ffn_down.weight": (s["hidden"], s["mlp"]),
        }
        if architecture == "phi3":
            for name in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"):
                made.pop(f"{at}.{name}.weight")
            made |= {
                f"{at}.attn_qkv.weight": (q + 2 * kv, s["hidden"]),
                f"{at}.ffn_up.weight": (2 * s["mlp"], s["hidden"]),
            }
        if architecture in ("gemma2", "gemma3"):
            made |= {f"{at}.{name}.weight": (s["hidden"],) for name in ("post_attention_norm", "post_ffw_norm")}
        if architecture == "qwen2":
            made |= {f"{at}.attn_{x}.bias": (n,) for x, n in (("q", q), ("k", kv), ("v", kv))}
        if architecture in ("qwen3", "gemma3"):
            made |= {f"{at}.attn_{x}_norm.weight": (s["width"],) for x in "qk"}
    return made


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value(one: Any) -> bytes:
    """A value with its type before it."""
    if isinstance(one, bytes):  # written out by the caller
        return one
    if isinstance(one, bool):
        return struct.pack("<IB", BOOL, one)
    if isinstance(one, int):
        return struct.pack("<II", U32, one)
    if one and isinstance(one, list) and isinstance(one[0], float):
        return struct.pack(f"<IIQ{len(one)}f", LIST, F32, len(one), *one)
    if isinstance(one, float):
        return struct.pack("<If", F32, one)
    if isinstance(one, str):
        return struct.pack("<I", TEXT) + text(one)
    if one and isinstance(one[0], str):
        return struct.pack("<IIQ", LIST, TEXT, len(one)) + b"".join(map(text, one))
    return struct.pack(f"<IIQ{len(one)}i", LIST, I32, len(one), *one)


def entry(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    """One tensor of the list."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, offset)


def size(shape: Sequence[int], kind: int) -> int:
    elements, taken = BLOCKS[kind]
    return math.prod(shape) // elements * taken


def floats(name: str, count: int) -> bytes:
    made = random.Random(name)
    low = 1.0 if name.endswith("norm.weight") else 0.0
    return struct.pack(f"<{count}f", *(low + made.uniform(-0.1, 0.1) for _ in range(count)))


def written(
    metadata: Mapping[str, Any] | Iterable[tuple[str, Any]],
    tensors: Mapping[str, tuple[int, ...]] | None = None,
    *,
    version: int = 3,
    counts: tuple[int | None, int | None] = (None, None),
    entries: Mapping[str, bytes] | None = None,
    alignment: int = 32,
    contents: Mapping[str, bytes] | None = None,
) -> bytes:
    """A file in float32. `counts` are claims of (tensors, keys); `entries` and `contents` replace those of some tensors."""
    pairs = list(metadata.items() if isinstance(metadata, Mapping) else metadata)
    shaped = dict(tensors or {})
    head = b"GGUF" + struct.pack("<I", version)
    head += struct.pack("<QQ", *(len(x) if n is None else n for n, x in zip(counts, (shaped, pairs), strict=True)))
    head += b"".join(text(name) + value(one) for name, one in pairs)
    body, listed = b"", b""
    for name, shape in shaped.items():
        listed += (entries or {}).get(name) or entry(name, shape, 0, len(body))
        body += (contents or {}).get(name) or floats(name, math.prod(shape))
        body += b"\0" * (-len(body) % alignment)
    head += listed
    return head + b"\0" * (-len(head) % alignment) + body


def pieced(**changes: Any) -> bytes:
    """A whole small model with a SentencePiece tokenizer."""
    words: dict[str, Any] = {
        "tokenizer__ggml__model": "llama", "tokenizer__ggml__pre": None, "tokenizer__ggml__merges": None,
        "tokenizer__ggml__tokens": PIECES, "tokenizer__ggml__scores": SCORES,
        "tokenizer__ggml__token_type": PIECE_TYPES, "tokenizer__ggml__padding_token_id": None,
        "tokenizer__ggml__unknown_token_id": 0,
    }  # fmt: skip
    return written(keys(**{**words, **changes}), shapes(vocab=len(PIECES)))


def small(architecture: str = "llama", **changes: Any) -> bytes:
    """A whole small model."""
    return written(keys(architecture, **changes), shapes(architecture))
