"""Which layers of a model attend to a window of the text, by its architecture. Pure data, no tensors.

A window holds the token itself and those before it: of `sliding_window` 4, token 9 sees 6, 7, 8 and 9, as in
Transformers 5.23 (`sliding_window_overlay` in `masking_utils.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES

#: types of layers in a config.json
FULL, SLIDING = "full_attention", "sliding_attention"


def pattern(a: Architecture) -> int:
    """Every so many layers one attends to the whole text; 0: none does, of a family that has windows."""
    return a.sliding_window_pattern or FAMILIES[a.family].windowed or 0


def types(a: Architecture) -> list[str]:
    """The type of each layer of a family that mixes them."""
    every = pattern(a)
    return [SLIDING if (i + 1) % every else FULL for i in range(a.num_hidden_layers)]


def count(a: Architecture) -> int:
    """How many layers have a window."""
    if a.sliding_window is None:
        return 0
    return types(a).count(SLIDING) if pattern(a) else a.num_hidden_layers


def of_types(found: Sequence[object]) -> int | None:
    """The pattern that a list of types follows; None for none: the first full layer says where the next must be."""
    if FULL not in found:
        return None
    every = found.index(FULL) + 1
    follows = all(one == (SLIDING if (i + 1) % every else FULL) for i, one in enumerate(found))
    return every if follows and every > 1 else None


def fault(a: Architecture) -> tuple[str, str, str] | None:
    """(field, what is wrong, what to do) of an architecture's windows, or None."""
    every = FAMILIES[a.family].windowed
    having = ", ".join(name for name, one in FAMILIES.items() if one.windowed is not None)
    if a.sliding_window is not None and every is None:
        return "sliding_window", f"a {a.family} has no window", f"remove it, or choose one of {having}"
    if a.sliding_window_pattern is not None and not every:
        return "sliding_window_pattern", f"a {a.family} does not mix layers with and without a window", "remove it"
    if every and a.sliding_window is None:
        return "family", f"some layers of a {a.family} have a window, and it is not said", "write sliding_window: 4096"
    if every and pattern(a) > a.num_hidden_layers:
        where = "sliding_window_pattern" if a.sliding_window_pattern is not None else "num_hidden_layers"
        return (
            where,
            f"the last of every {pattern(a)} layers attends to the whole text, and there are {a.num_hidden_layers}",
            f"write sliding_window_pattern: {a.num_hidden_layers}, or fewer, or make more layers",
        )
    return None
