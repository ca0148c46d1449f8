"""A row of suite `needle` → its cell: how long its prompt is, and how deep in it the answer stands.

The class of such a row says both, as `4096@50`: words of the prompt, and per cent of them before the answer. The text
is asked whether that is so, so that a row does not stand in a cell by its word alone. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

_CLASS = re.compile(r"([1-9][0-9]{0,6})@(0|[1-9][0-9]?|100)")
_EDGE = ".,:;!?()[]\"'"
#: a sentence on either side of a fact, in words: where a depth is as near to an end of the text as can be
_SENTENCES = 16


class Cell(NamedTuple):
    """Words of a prompt, and per cent of them before the answer."""

    length: int
    depth: int

    @property
    def text(self) -> str:
        """As the class of a row says it."""
        return f"{self.length}@{self.depth}"


def cell_of(row: Mapping[str, Any], answer: str) -> Cell:
    """The cell that a row declares. `answer` is what of its response stands in the prompt.

    Raises ValueError where the class declares none, the prompt has another length by more than a twentieth, or the
    answer does not stand there once and about as deep as declared (a tenth of the text, and a sentence).
    """
    found = _CLASS.fullmatch(str(row["class"]))
    if found is None:
        raise ValueError(f"its class {str(row['class'])[:40]!r} is no length and depth, as in `4096@50`")
    cell = Cell(int(found[1]), int(found[2]))
    words = str(row["prompt"]).split()
    if abs(len(words) - cell.length) * 20 > cell.length:
        raise ValueError(f"its prompt has {len(words)} words, its class says {cell.length}")
    wanted = answer.split()
    places = [at for at in range(len(words)) if _same(words[at : at + len(wanted)], wanted)]
    if len(places) != 1:
        raise ValueError(f"its answer stands {len(places)} times in the prompt, not once")
    if abs(places[0] * 100 - cell.depth * len(words)) > 10 * len(words) + 100 * _SENTENCES:
        raise ValueError(f"its answer is word {places[0] + 1} of {len(words)}, its class says {cell.depth} per cent")
    return cell


def _same(words: list[str], wanted: list[str]) -> bool:
    return bool(wanted) and [word.strip(_EDGE) for word in words] == [word.strip(_EDGE) for word in wanted]
