"""Rows of a split on which a teacher and what is made of it are measured, and what both steps that do so share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from runtime.contract import Context, rows
from runtime.data.encode import RESPONSE, encode
from runtime.models import threads as team
from runtime.models.tokenizer import Tokenizer

#: ids of a whole row, and which of them are supervised as targets
Encoded = tuple[list[int], list[bool]]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads of torch inside, as many as before afterwards."""
    before = torch.get_num_threads()
    team.use(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sample(path: Path, words: Tokenizer, most: int) -> list[Encoded]:
    """(ids, which of them are the response) of at most `most` rows of a split, evenly spaced over it."""
    if not path.is_file():
        return []
    every = rows.load(path)
    count = min(most, len(every))
    chosen = [every[i * len(every) // count] for i in range(count)]
    found = []
    for row in chosen:
        for example in encode(row, words, [RESPONSE]):
            # a row that the teacher will answer has no response yet: the end of an empty one is none
            found.append((example.ids, example.masks[RESPONSE] if row["response"] else [False] * len(example.ids)))
    return found


def origin(made_by: str, ctx: Context) -> str:
    """Text of a checkpoint's training.json."""
    told = {"schema_version": "1.0", "made_by": made_by, "teacher": ctx.digests["teacher"]}
    return json.dumps(told, indent=2, sort_keys=True) + "\n"
