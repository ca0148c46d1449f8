"""What a first spec is chosen by: how many tokens each row has under a tokenizer and its chat template, before there is
a spec with a tokenizer; and how fast this machine multiplies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer as Backend

from runtime.contract import Refusal
from runtime.contract.templates import DATE
from runtime.models.tokenizer.sandbox import Sandbox

#: begin and end of every sequence
_ENDS = 2
#: rows and columns of a matrix that is multiplied, and for how long
_WIDE, _WHILE_S = 1024, 0.5
#: what a template is shown in the place of a user's question and its answer
_ROLES = ("user", "assistant")


def lengths(words: str, template: str, tokens: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Tokens of each row, its beginning and end counted.

    `words` is the content of a tokenizer.json, `template` the chat template ("" for none: prompt, line end, response),
    `tokens` the control tokens by the names that templates know (`bos_token`, …). A row has `messages`, or `prompt` and
    `response`. Raises Refusal for a tokenizer that cannot be read, and for what the template refuses.
    """
    try:
        backend = Backend.from_str(words)
    except Exception as error:
        if type(error) is not Exception and not isinstance(error, ValueError):
            raise
        raise Refusal(f"the tokenizer.json cannot be read: {error}", action="take it again") from None
    backend.no_truncation()
    backend.no_padding()
    texts = _written(template, tokens, rows) if template else (f"{row['prompt']}\n{row['response']}" for row in rows)
    return [len(backend.encode(text, add_special_tokens=False).ids) + _ENDS for text in texts]


def speed() -> float:
    """Operations a second of float32 products of matrices as wide as a small model: the fastest in half a second."""
    matrix_NN = np.random.default_rng(0).standard_normal((_WIDE, _WIDE), dtype=np.float32)
    least, until = float("inf"), time.perf_counter() + _WHILE_S
    while (begun := time.perf_counter()) < until:
        matrix_NN @ matrix_NN
        least = min(least, time.perf_counter() - begun)
    return 2 * _WIDE**3 / least


def _written(template: str, tokens: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    sandbox = Sandbox(template, DATE)
    for row in rows:
        pair = zip(_ROLES, (row["prompt"], row["response"]), strict=True)
        messages = row.get("messages") or [{"role": role, "content": text} for role, text in pair]
        yield sandbox.render(list(messages), list(row.get("tools", ())), tokens, generation_prompt=False)
