"""Whether a taken tokenizer writes the rows in bounded time and memory, before it does so in this process.

The rules of a tokenizer.json are a program by a stranger: a normaliser may make each space two, thirty times over, and
a regular expression may try every way to cut a text. The library bounds neither and cannot be interrupted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.contract import Refusal, rows
from runtime.models.tokenizer.contained import SPARE, STARTING, Contained, Stopped

#: texts that are written together, the seconds that they may take, and address space in bytes: a vocabulary of a
#: million pieces and the texts of a row of the largest size fit
TOGETHER, SECONDS, MEMORY = 64, 30.0, 4 << 30
_PROGRAM = Path(__file__).with_name("trial.py")


def texts(dataset: Path) -> Iterator[str]:
    """What stands in the rows of every split, conversations as one text."""
    for path in sorted(dataset.glob("*.jsonl")):
        for row in rows.read(path):
            yield row["prompt"]
            yield row["response"]


def prove(folder: Path, given: Iterable[str]) -> None:
    """Raises Refusal for a tokenizer.json that takes too long or too much; whether it can be read is told elsewhere."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return
    try:
        process = Contained(_PROGRAM)
        process.answer({"bytes": MEMORY, "seconds": STARTING + SPARE}, STARTING)
        # a large vocabulary takes seconds to read
        if "error" in process.answer({"path": str(path.resolve())}, STARTING):
            return
        waiting = iter(given)
        while some := list(itertools.islice(waiting, TOGETHER)):
            process.answer({"texts": some}, SECONDS)
    except Stopped as why:
        raise Refusal(
            f"the tokenizer {why} over {TOGETHER} texts of the rows; it may take "
            f"{SECONDS:g} s and {MEMORY >> 20:,} MiB",
            place=f"{folder.name}/{path.name}",
            action="take the tokenizer.json that its authors publish: a rule of its `normalizer` or `pre_tokenizer` "
            "lets texts grow, or its pattern tries every way to cut them",
            code="KR0179",
        ) from None
