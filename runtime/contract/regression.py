"""Two reports of kind `benchmark` → how far they are apart, and whether such a comparison is what its own times give.

The comparison carries the times of both sides with what they were measured under: whoever judges it computes every
quotient again. No clock and no tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime import digest
from runtime.contract import speed, strict_json
from runtime.contract.report import dump, measured, rate, unavailable
from runtime.contract.speed import tokens_of
from runtime.contract.statistics.quantiles import ends, quantile

KIND = "benchmark.regression"
#: what a file is that is pinned: a report, and the report on the run that made it
PINNED = "benchmark.pinned"
#: bytes of a pinned report, at most
MOST = 16 << 20
#: one of a quotient's two intervals; both together hold at 0.95 (Bonferroni)
EACH = 0.975
#: what a report that cannot be read as one of a benchmark raises
NO_REPORT = (ValueError, KeyError, TypeError, AttributeError)

#: runner → "conditions" and, by length, its nanoseconds
Side = Mapping[str, Mapping[str, Any]]


def regression(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Data of two reports of kind `benchmark` → the quotients now / before of what both measured alike.

    Where a runner or a length is in one of them alone, or was measured under other conditions, the quotient is
    unavailable with the reason. Raises ValueError for a report whose figures are not those of its nanoseconds.
    """
    speed.consistent(now)
    speed.consistent(before)
    return {"benchmark": now["benchmark"], **_of(side(now), side(before))}


def side(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of a benchmark a comparison rests on."""
    return {
        name: {
            "conditions": runner["conditions"],
            "shapes": {length: found["ns"] for length, found in runner["shapes"].items()},
        }
        for name, runner in data["runners"].items()
    }


def _of(now: Side, before: Side) -> dict[str, Any]:
    runners: dict[str, Any] = {}
    for name in sorted({*now, *before}):
        new, old = now.get(name), before.get(name)
        found = {*(old or {}).get("shapes", {}), *(new or {}).get("shapes", {})}
        runners[name] = {
            "shapes": {length: _quotients(name, length, new, old) for length in sorted(found, key=tokens_of)}
        }
    pairs = [one for runner in runners.values() for one in runner["shapes"].values()]
    known = sum(1 for one in pairs if one["decode"]["value"] is not None)
    return {"compared": rate(known, len(pairs)), "now": now, "before": before, "runners": runners}


def consistent(data: Mapping[str, Any]) -> None:
    """Raises ValueError for data of a comparison that are not what the times of its two sides give."""
    for name in ("now", "before"):
        for runner, one in data[name].items():
            for length, ns in one["shapes"].items():
                if len(ns["first"]) != len(ns["rest"]) or any(not speed.is_time(n) for n in speed.numbers(ns)):
                    raise ValueError(f"{name}, {runner}, {length}: no such times")
    made = _of(data["now"], data["before"])
    for part in ("compared", "runners"):
        if made[part] != data[part]:
            raise ValueError(f"`{part}` is not what the times of both sides give")


def of_another(data: Mapping[str, Any], benchmark: Mapping[str, Any]) -> str:
    """Why a comparison is not one of this benchmark, "" where it is."""
    return "" if data["now"] == side(benchmark) else "what it calls `now` is not what the benchmark measured"


def pinned(path: Path) -> Mapping[str, Any]:
    """Data of a report that lies in a file; it may hold nothing that was measured. Raises OSError, and one of NO_REPORT
    for a file that is no report of a benchmark, or whose figures are not those of its nanoseconds."""
    return _measured(_whole(path))


def _whole(path: Path) -> Any:
    if path.stat().st_size > MOST:
        raise ValueError(f"larger than {MOST >> 20} MiB")
    return strict_json.loads(path.read_bytes())


def _measured(report: Any) -> Mapping[str, Any]:
    if not isinstance(report, dict) or report.get("kind") != speed.KIND:
        raise ValueError(f"not of kind `{speed.KIND}`")
    if report["environment"]["forged"] is not False:
        raise ValueError("forged: nothing was measured")
    data: Mapping[str, Any] = report["data"]
    speed.consistent(data)
    return data


def pin(report: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """The text of a baseline: a report of a benchmark with the report on the run that made it, which names its plan
    and, by digest, the report."""
    return dump({"kind": PINNED, "report": report, "run": run})


def baseline(path: Path) -> Mapping[str, Any]:
    """The same of a file that times are compared with, as `pin` writes it: it holds some, and it is of a run. Raises as
    `pinned` does."""
    whole = _whole(path)
    if isinstance(whole, dict) and whole.get("kind") == speed.KIND:
        raise ValueError("it is tied to no run: the report on the run that made it is not beside it")
    if not isinstance(whole, dict) or whole.get("kind") != PINNED:
        raise ValueError(f"not of kind `{PINNED}`")
    data = _measured(whole["report"])
    made = digest.of_one_file("report.json", dump(whole["report"]).encode())
    subject = whole["run"]["subject"]
    if whole["run"]["environment"]["forged"] is not False or not isinstance(subject.get("plan"), str):
        raise ValueError("the run that it names was forged, or is of no plan")
    if made not in subject.values():
        raise ValueError("the run that it names made no such report: one of both was changed")
    shapes = [(name, one) for name, runner in data["runners"].items() for one in runner["shapes"].values()]
    if not any(one["ns"]["first"] for _, one in shapes):
        name, one = shapes[0]
        raise ValueError(f"nothing in it was measured (`{name}`: {one['decode']['p50']['reason']})")
    return data


def unasked(pinned_data: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """In what a baseline can never be compared with a benchmark of these parameters, as sentences."""
    found = pinned_data["runners"]
    for name in asked["runners"]:
        if name not in found:
            yield f"it has no times of `{name}`"
    for name, runner in found.items():
        if name not in asked["runners"]:
            yield f"it has times of `{name}`, which is not asked any more"
            continue
        lengths = [one["prompt_tokens"]["value"] for one in runner["shapes"].values()]
        yield from _lengths(name, lengths, asked["prompts"])
        for what in ("new_tokens", "warm_up", "threads"):
            said = runner["conditions"].get(what, "not said")
            if said != str(asked[what]):
                yield f"`{name}` was measured with {what} {said}, not {asked[what]}"
        if not any(one["ns"]["first"] for one in runner["shapes"].values()):
            yield f"`{name}` was not available where it was pinned"


def _lengths(name: str, found: Iterable[int], asked: Iterable[int]) -> Iterator[str]:
    for length in sorted({*asked} - {*found}):
        yield f"it has no prompt of {length} tokens through `{name}`"
    for length in sorted({*found} - {*asked}):
        yield f"it has a prompt of {length} tokens through `{name}`, which is not asked any more"


def _quotients(
    runner: str, length: str, new: Mapping[str, Any] | None, old: Mapping[str, Any] | None
) -> dict[str, Any]:
    why = _unlike(runner, length, new, old)
    if why or new is None or old is None:
        return {name: unavailable(why, "1") for name in ("first_token", "decode")}
    one, other = new["shapes"][length], old["shapes"][length]
    # of N - 1 tokens in both: the rates are as the inverse times
    return {
        "first_token": _quotient(one["first"], other["first"]),
        "decode": _quotient(other["rest"], one["rest"]),
    }


def _unlike(runner: str, length: str, new: Mapping[str, Any] | None, old: Mapping[str, Any] | None) -> str:
    """Why two measurements of a length say nothing about each other, "" where they do."""
    if new is None or length not in new["shapes"]:
        return f"the baseline has {length} through `{runner}`, which is not measured any more"
    if old is None or length not in old["shapes"]:
        return f"the baseline has no {length} through `{runner}`"
    here, there = new["conditions"], old["conditions"]
    apart = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]
    if apart:
        told = (f"{name} {there.get(name, 'not said')}, here {here.get(name, 'not said')}" for name in apart)
        return f"the baseline was measured otherwise: {'; '.join(told)}"
    for whose, one in (("here", new), ("in the baseline", old)):
        if not one["shapes"][length]["first"]:
            return f"`{runner}` was not available {whose}"
    return ""


def _quotient(numerator: Sequence[int], denominator: Sequence[int]) -> dict[str, Any]:
    """Median of the one by median of the other, between the ends that 95 % leave it."""
    if min(*numerator, *denominator) <= 0:
        return unavailable("the clock was too coarse: tokens took no time", "1")
    (low, high), (least, most) = ends(numerator, 0.5, EACH), ends(denominator, 0.5, EACH)
    found = {}
    if low is not None and high is not None and least is not None and most is not None:
        found = {"low": low / most, "high": high / least}
    value = quantile(numerator, 0.5) / quantile(denominator, 0.5)
    n = min(len(numerator), len(denominator))
    return measured(value, "1", n=n, **found, confidence=0.95, interval="of both medians, order statistics")
