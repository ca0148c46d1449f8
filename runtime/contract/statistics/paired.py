"""Two models on the same items → the mean difference with a 95 % interval, and whether scores are numbers at all.

Both saw the same rows, so that the difference of each row is what counts: difficulty falls out. A positive value speaks
for the model that is named first. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from runtime.contract import TokenScore
from runtime.contract.report import measured, unavailable
from runtime.contract.statistics import means, multiple
from runtime.contract.statistics.intervals import bootstrap_interval

#: what a suite compares, as datum → (the model it speaks for, the model it is compared with)
COMPARED: Mapping[str, tuple[str, str]] = {
    "kd_gain": ("student", "ce_only"),
    "teacher_gain": ("student", "teacher"),
    "package_gain": ("coreml", "student"),
}
#: what a suite of likelihoods says besides: what weights to start from are worth, and the package beside the original
OF_TEXTS: Mapping[str, tuple[str, str]] = {
    **COMPARED,
    "init_gain": ("student", "random_init"),
    "original_gain": ("coreml", "teacher"),
}
RUNNERS = ("teacher", "student", "ce_only", "coreml")
RUNNERS_OF_TEXTS = ("teacher", "student", "ce_only", "random_init", "coreml")
RESAMPLES = 2000
#: below this p, after Holm, a comparison is called significant
ALPHA = 0.05
#: two-sided 95 % of the normal distribution
_Z = 1.959963984540054
PAIRED_WALD = "paired Wald, one half added to each cell"
EXACT_MCNEMAR = "exact McNemar, two-sided"


class Numbers:
    """Scores, some after the others: whether they are evidence."""

    def __init__(self) -> None:
        self._count = self._wrong = self._empty = 0

    def add(self, scores: Iterable[TokenScore]) -> None:
        """More of them."""
        for score in scores:
            self._count += 1
            self._wrong += not math.isfinite(score.log_probability)
            self._empty += score.tokens < 1

    @property
    def why(self) -> str:
        """Why they are none, or "". One NaN or infinity is enough: it would order, or average, anything."""
        if self._wrong:
            return f"{self._wrong} of {self._count} scores are not finite"
        return "a score of no tokens" if self._empty else ""


def not_numbers(scores: Iterable[TokenScore]) -> str:
    """Why these scores are no evidence, or ""."""
    found = Numbers()
    found.add(scores)
    return found.why


def _pairs(better: Sequence[float], worse: Sequence[float], unit: str) -> list[float] | dict[str, Any]:
    """The differences of the items both have, from the first on (the package is asked fewer), or why there are none."""
    pairs = [a - b for a, b in zip(better, worse, strict=False)]
    if len(pairs) < 2:
        return unavailable("fewer than two items in common", unit)
    if not all(map(math.isfinite, pairs)):
        return unavailable("a difference is not finite", unit)
    return pairs


def difference(better: Sequence[float], worse: Sequence[float], unit: str) -> dict[str, Any]:
    """Datum: mean of better - worse item by item, with the interval of Student's paired t and the standard deviation
    that it follows from."""
    pairs = _pairs(better, worse, unit)
    return pairs if isinstance(pairs, dict) else means.student(pairs, unit)


def bootstrap(
    better: Sequence[float], worse: Sequence[float], unit: str, seed: int, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Datum: the same mean with a paired percentile bootstrap (Efron 1979), which asks nothing of how the differences
    are distributed. Its ends follow from the items alone."""
    pairs = _pairs(better, worse, unit)
    if isinstance(pairs, dict):
        return pairs
    low, high = bootstrap_interval(pairs, seed, resamples=resamples)
    mean = fmean(pairs)
    # rounding may put the ends of a constant sample a last digit beside its mean
    ends = {"low": min(low, mean), "high": max(high, mean)}
    return measured(mean, unit, n=len(pairs), **ends, confidence=0.95, interval="paired percentile bootstrap")


def _split(better: Sequence[int], worse: Sequence[int]) -> tuple[int, int, int]:
    """Items both have, those that only the first has right, and those that only the second has."""
    won = sum(a > b for a, b in zip(better, worse, strict=False))
    lost = sum(b > a for a, b in zip(better, worse, strict=False))
    return min(len(better), len(worse)), won, lost


def wins(better: Sequence[int], worse: Sequence[int]) -> dict[str, Any]:
    """Datum in `item/item`: (items only the first has right - items only the second has right) / items."""
    return wins_of(*_split(better, worse))


def wins_of(n: int, won: int, lost: int) -> dict[str, Any]:
    """The same of counted pairs.

    The interval is Wald's for paired proportions with one half added to each of the four cells (Agresti and Min 2005),
    which keeps its coverage where few items differ. `wins` and `losses` are the items that differ.
    """
    if n < 2:
        return unavailable("fewer than two items in common", "item/item")
    whole, up, down = n + 2, won + 0.5, lost + 0.5
    middle = (up - down) / whole
    half = _Z * math.sqrt((up + down) / whole - middle**2) / math.sqrt(whole)
    value = (won - lost) / n
    return measured(
        value,
        "item/item",
        n=n,
        low=max(-1.0, min(middle - half, value)),
        high=min(1.0, max(middle + half, value)),
        confidence=0.95,
        interval=PAIRED_WALD,
        wins=won,
        losses=lost,
    )


def mcnemar(better: Sequence[int], worse: Sequence[int]) -> dict[str, Any]:
    """Datum: the exact two-sided p of McNemar's test (1947): how likely a split of the items that differ as uneven as
    this one, or more so, would be if the two were equally good. `wins` and `losses` are these items, b and c."""
    return mcnemar_of(*_split(better, worse))


def mcnemar_of(n: int, won: int, lost: int) -> dict[str, Any]:
    """The same of counted pairs."""
    if n < 2:
        return unavailable("fewer than two items in common", "probability")
    tail = sum(math.comb(won + lost, i) for i in range(min(won, lost) + 1))
    p = min(1.0, 2 * tail / 2 ** (won + lost))
    return measured(p, "probability", n=n, wins=won, losses=lost, test=EXACT_MCNEMAR)


def mcnemars(better: Mapping[str, tuple[Sequence[int], Sequence[int]] | str]) -> dict[str, Any]:
    """Comparison → its `mcnemar`, or `unavailable` with the reason given in its place. All of them are one family:
    `adjusted` is p after Holm, and `significant` says whether that is below `alpha`."""
    found = {
        name: unavailable(both, "probability") if isinstance(both, str) else mcnemar(*both)
        for name, both in better.items()
    }
    known = {name: datum["value"] for name, datum in found.items() if datum["tag"] == "measured"}
    for name, adjusted in multiple.holm(known).items():
        found[name] |= {
            "adjusted": adjusted,
            "adjustment": "Holm",
            "comparisons": len(known),
            "alpha": ALPHA,
            "significant": adjusted < ALPHA,
        }
    return found


def lacking(name: str, runners: Mapping[str, Any], why: Mapping[str, str]) -> str:
    """Why a comparison of `OF_TEXTS` cannot be made, or "". `why` holds the runners whose numbers are none."""
    for runner in OF_TEXTS[name]:
        if runner in why:
            return f"runner `{runner}`: {why[runner]}"
        if runner not in runners:
            return f"no runner `{runner}`"
    return ""
