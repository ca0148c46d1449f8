"""A corpus and a mask → what of it a loss term learns, as text that a person can check: some rows with what stands
around, how many rows have any of it, and which share of all tokens it is.

Masks are where trainers go wrong without a word: a template that moves a span by a token, a row cut before its answer,
an end that is never learnt. What is shown here is decoded from the very ids and masks that the loss reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice
from typing import Any

from runtime.contract import report as facts
from runtime.contract.conditions import FACTS
from runtime.models.tokenizer import Tokenizer
from runtime.train.batches import Corpus

#: rows that are shown, pieces of each, and characters of a piece: a report is not the place to keep the data in
ROWS, PIECES, CHARACTERS = 3, 24, 240


def _shortened(text: str) -> str:
    """A text of at most CHARACTERS, its middle left out."""
    if len(text) <= CHARACTERS:
        return text
    half = CHARACTERS // 2
    return f"{text[:half]} […{len(text) - 2 * half} characters…] {text[-half:]}"


def _pieces(corpus: Corpus, mask: str, row: int, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """The row's text in pieces that are learnt and pieces that are not."""
    ids, learnt = corpus.ids[row].tolist(), corpus.learnt(mask, row)
    runs = ((flag, [ids[at] for at in places]) for flag, places in groupby(range(len(ids)), key=lambda at: learnt[at]))
    shown = [{"text": _shortened(tokenizer.decode(run)), "learnt": flag} for flag, run in islice(runs, PIECES + 1)]
    return [*shown[:PIECES], {"text": "[…]", "learnt": False}] if len(shown) > PIECES else shown


def rows(corpus: Corpus, mask: str) -> int:
    """How many rows have a token under a mask."""
    return sum(corpus.supervised(mask, row) > 0 for row in range(len(corpus)))


def told(corpus: Corpus, mask: str, tokenizer: Tokenizer, read: Sequence[str] = ()) -> dict[str, Any]:
    """`rows` with a token under the mask, `tokens` under it, and `shown`: the first of these rows. Of each flag among
    the facts that are `read`, `flagged`: the share of the mask's tokens that have it."""
    counts = [corpus.supervised(mask, row) for row in range(len(corpus))]
    learning = [row for row, count in enumerate(counts) if count]
    flagged = {name: facts.rate(corpus.flagged(mask, name), sum(counts)) for name in read if FACTS[name].kind == "flag"}
    return ({"flagged": flagged} if flagged else {}) | {
        "rows": facts.rate(len(learning), len(corpus)),
        "tokens": facts.rate(sum(counts), sum(len(ids) for ids in corpus.ids)),
        "shown": [
            {"row": corpus.names[row], "pieces": _pieces(corpus, mask, row, tokenizer)}
            for row in islice(learning, ROWS)
        ],
    }
