"""One datum and the counts beside it → why it is not what they give, or "": an exact interval, a paired comparison.

Gates read intervals and differences, so whoever writes one may not say what its own counts do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from runtime.contract.statistics.intervals import incomplete_beta
from runtime.contract.statistics.paired import EXACT_MCNEMAR, mcnemar_of, wins_of
from runtime.contract.statistics.rates import EXACT

#: items that one of two models has right and the other has not, of all: a difference of two rates, paired
PAIRED = "item/item"
#: of the intervals that gates read; one that holds the truth less often is a narrower one
CONFIDENCE = 0.95
#: items that differ; the exact test of more would take whoever reads a report too long
MOST = 20_000
#: as far as a number may be from what the counts give
_ROUNDING = 1e-9
#: and as far as the chance beyond an end may be from a half of what is left of the confidence
_LOOSE = 1e-6


@lru_cache(maxsize=4096)
def _beyond(k: int, n: int, end: float) -> float:
    """How likely k or more of n are, k > 0, where each is right so often as `end`. Cheaper than the end from counts."""
    return incomplete_beta(k, n - k + 1, end)


def _exact(k: int, n: int, low: object, high: object) -> bool:
    """Whether the ends are those of Clopper and Pearson's two-sided interval."""
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not 0 <= low <= high <= 1:
        return False
    tail = (1 - CONFIDENCE) / 2
    below = low == 0 if k == 0 else abs(_beyond(k, n, float(low)) - tail) < _LOOSE
    above = high == 1 if k == n else abs(_beyond(n - k, n, 1 - float(high)) - tail) < _LOOSE
    return below and above


def unnamed(node: Mapping[str, object]) -> str:
    """Why ends beside k of n are not those that a gate takes in their place, whatever they are called, or ""."""
    k, n = node.get("k"), node.get("n")
    if (
        node.get("tag") != "measured"
        or not isinstance(k, int)
        or not isinstance(n, int)
        or not {"low", "high"} & node.keys()
    ):
        return ""
    return "" if _exact(k, n, node.get("low"), node.get("high")) else f"its interval is not the exact one of {k}/{n}"


def wrong(
    node: Mapping[str, object],
    counted: tuple[int, int] | None,
    split: tuple[int | None, int | None, int | None],
) -> str:
    """Why a number is not what the counts beside it give, or ""."""
    if node.get("confidence", CONFIDENCE) != CONFIDENCE:
        return f"`confidence` {node['confidence']!r} is not {CONFIDENCE}"
    exact = node.get("interval") == EXACT and "k" in node
    if exact and counted is not None and not _exact(*counted, node.get("low"), node.get("high")):
        return f"its interval is not the exact one of {counted[0]}/{counted[1]}"
    paired = node["unit"] == PAIRED
    if not paired and node.get("test") != EXACT_MCNEMAR:
        return ""
    n, won, lost = split
    if paired and won is lost is None:
        return ""
    if n is None or won is None or lost is None:
        return "two models on the same items without `n`, `wins` and `losses`"
    if won + lost > min(n, MOST):
        return f"{won} won and {lost} lost of {n}"
    expected = (wins_of if paired else mcnemar_of)(n, won, lost)
    for name in ("value", "low", "high"):
        if name in expected and not near(node.get(name), expected[name]):
            return f"`{name}` {node.get(name)!r} is not {expected[name]!r}, of {won} won and {lost} lost of {n}"
    return ""


def near(found: object, expected: object) -> bool:
    """Whether two numbers are one but for rounding."""
    if not isinstance(found, int | float) or not isinstance(expected, int | float):
        return found is expected
    return math.isclose(found, expected, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
