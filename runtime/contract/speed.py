"""Times of one answer after the other → the data of a report of kind `benchmark`, and two such reports → how far they
are apart. No clock and no tensors: whoever audits a report computes the same of its nanoseconds.

An answer begins with a prompt of P tokens; the first new token is there after `first` nanoseconds (the prefill and the
choice), the other N - 1 after `rest` more. So

    first_token = first                         seconds
    decode      = (N - 1) / rest                tokens per second: the steady state, without the first
    answer      = first + rest                  seconds

each as quantiles over the repetitions, which follow `warm_up` answers that are thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from runtime.contract import Params, strict_json
from runtime.contract.report import estimated, measured, rate, unavailable
from runtime.contract.statistics.quantiles import ends, observed, quantile
from runtime.contract.units import unit

KIND, COMPARED = "benchmark", "benchmark.regression"
Name = Literal["torch", "mil", "coreml"]
NS = 10**9
#: nanoseconds of a day: no answer takes longer, and no product of times leaves the doubles
LONGEST = 86_400 * NS
#: bytes of a pinned report, at most
MOST = 16 << 20
#: one of a quotient's two intervals; both together hold at 0.95 (Bonferroni)
EACH = 0.975
PER_MILLION = "USD/million queries"


@dataclass(frozen=True)
class Meaning:
    """What is run, by whom, and what a time of it says. `level` as of the package's attestation, "" of a checkpoint."""

    of: Literal["checkpoint", "package"]
    level: str
    says: str


RUNNERS: Mapping[str, Meaning] = {
    "torch": Meaning("checkpoint", "", "the checkpoint in torch on this machine, not what ships"),
    "mil": Meaning("package", "L2", "the package in a numpy interpreter on this machine: no time of a device"),
    "coreml": Meaning("package", "L5", "the package in Core ML on this machine"),
}


class Price(Params):
    """What an hour of the machine costs, and what that figure rests on."""

    usd_per_hour: float = Field(
        gt=0,
        le=1e6,
        description="Price of an hour of the machine.",
        examples=[0.085],
        json_schema_extra=unit("dollar per hour"),
    )
    assumption: str = Field(
        min_length=10,
        max_length=300,
        description="What the price is of, and of when: it stands beside every cost.",
        examples=["c7i.large on demand, us-east-1, 2026-06, always busy"],
    )


class Target(Params):
    """The machine that the student is meant for: the chip as its maker calls it, and its memory."""

    profile: str
    chip: str
    memory_bytes: int | None


def named(prompt: int) -> str:
    """What a prompt length is called in reports, so that a rule can name it."""
    return f"prompt_{prompt}"


def _tokens(name: str) -> int:
    return int(name.removeprefix("prompt_"))


def shape(times: Sequence[tuple[int, int]], prompt: int, new: int, price: Price | None) -> dict[str, Any]:
    """Data of one prompt length: `times` are (first, rest) in nanoseconds, one pair per repetition."""
    first = [one / NS for one, _ in times]
    whole = [(one + rest) / NS for one, rest in times]
    data = {
        "prompt_tokens": measured(prompt, "token"),
        "new_tokens": measured(new, "token"),
        "repetitions": measured(len(times), "repetition"),
        "first_token": _tail(first),
        "decode": {"p50": _rates(times, new)},
        "answer": _tail(whole),
        "ns": {"first": [one for one, _ in times], "rest": [rest for _, rest in times]},
    }
    if price is not None:
        data["cost"] = cost(whole, price)
    return data


def cost(seconds: Sequence[float], price: Price) -> dict[str, Any]:
    """Dollars of a million answers, one at a time: a computation with somebody's price, never a measurement."""
    by = f"{price.usd_per_hour:g} USD/h × median seconds of an answer, one at a time ({price.assumption})"
    return estimated(price.usd_per_hour / 3600 * quantile(seconds, 0.5) * 1e6, PER_MILLION, by=by)


def no_shape(why: str, prompt: int, new: int, price: Price | None) -> dict[str, Any]:
    """The same of a runner that could not be had here."""
    tail = {name: unavailable(why, "s") for name in ("p50", "p95", "p99")}
    data = {
        "prompt_tokens": measured(prompt, "token"),
        "new_tokens": measured(new, "token"),
        "repetitions": measured(0, "repetition"),
        "first_token": dict(tail),
        "decode": {"p50": unavailable(why, "token/s")},
        "answer": dict(tail),
        "ns": {"first": [], "rest": []},
    }
    return data if price is None else {**data, "cost": unavailable(why, PER_MILLION)}


def _tail(seconds: Sequence[float]) -> dict[str, Any]:
    return {name: observed(seconds, q, "s") for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


def _rates(times: Sequence[tuple[int, int]], new: int) -> dict[str, Any]:
    if any(rest <= 0 for _, rest in times):
        return unavailable("the clock is too coarse: tokens took no time", "token/s")
    return observed([(new - 1) * NS / rest for _, rest in times], 0.5, "token/s")


def target(wanted: Target | None, here: Mapping[str, str], runners: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the package does on the machine that it is meant for; a time from anywhere else does not stand here."""
    if wanted is None:
        return {"profile": "none", "shapes": {}}
    lengths = sorted({length for one in runners.values() for length in one["shapes"]}, key=_tokens)
    device = runners.get("coreml")
    why = elsewhere(wanted, here) or ("runner `coreml` was not asked" if device is None else "")
    gauge = unavailable(why, "B") if why or device is None else device["peak_memory"]
    shapes: dict[str, Any] = {}
    for length in lengths:
        found = None if why or device is None else device["shapes"].get(length)
        made = found or no_shape(why, _tokens(length), 2, None)
        shapes[length] = {name: made[name] for name in ("first_token", "decode", "answer")}
    return {"profile": wanted.profile, "peak_memory": gauge, "shapes": shapes}


def elsewhere(wanted: Target, here: Mapping[str, str]) -> str:
    """Why a machine of these words is not the one that is meant, "" where it is."""
    memory = int(here.get("memory", "0"))
    # a system keeps a little of what the shop sold for itself
    enough = wanted.memory_bytes is None or 0.9 * wanted.memory_bytes <= memory <= wanted.memory_bytes
    if here.get("processor") == wanted.chip and enough:
        return ""
    return f"needs {wanted.chip} ({wanted.profile}), and this is {here.get('processor', 'another')}"


def regression(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Data of two reports of kind `benchmark` → the quotients now / before of what both measured alike.

    Where a runner or a length is in one of them alone, or was measured under other conditions, the quotient is
    unavailable with the reason. Raises ValueError for a report whose figures are not those of its nanoseconds.
    """
    consistent(now)
    consistent(before)
    runners: dict[str, Any] = {}
    for name in sorted({*now["runners"], *before["runners"]}):
        new, old = now["runners"].get(name), before["runners"].get(name)
        found = {**(old or {}).get("shapes", {}), **(new or {}).get("shapes", {})}
        runners[name] = {
            "shapes": {length: _quotients(name, length, new, old) for length in sorted(found, key=_tokens)}
        }
    pairs = [one for runner in runners.values() for one in runner["shapes"].values()]
    known = sum(1 for one in pairs if one["decode"]["value"] is not None)
    return {"benchmark": now["benchmark"], "compared": rate(known, len(pairs)), "runners": runners}


def pinned(path: Path) -> Mapping[str, Any]:
    """Data of a pinned report. Raises OSError, and ValueError, KeyError, TypeError or AttributeError for a file that is
    no measured report of a benchmark, or whose figures are not those of its nanoseconds."""
    if path.stat().st_size > MOST:
        raise ValueError(f"larger than {MOST >> 20} MiB")
    report: Any = strict_json.loads(path.read_bytes())
    if not isinstance(report, dict) or report.get("kind") != KIND:
        raise ValueError(f"not of kind `{KIND}`")
    if report["environment"]["forged"] is not False:
        raise ValueError("forged: nothing was measured")
    data: Mapping[str, Any] = report["data"]
    consistent(data)
    return data


def _quotients(
    runner: str, length: str, new: Mapping[str, Any] | None, old: Mapping[str, Any] | None
) -> dict[str, Any]:
    why = _unlike(runner, length, new, old)
    if why or new is None or old is None:
        return {name: unavailable(why, "1") for name in ("first_token", "decode")}
    one, other = new["shapes"][length]["ns"], old["shapes"][length]["ns"]
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
        if not one["shapes"][length]["ns"]["first"]:
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


def consistent(data: Mapping[str, Any]) -> None:
    """Raises ValueError, KeyError or TypeError for data of a benchmark that are not what their nanoseconds give."""
    for name, runner in data["runners"].items():
        said = runner["conditions"]
        if not all(isinstance(one, str) for one in said.values()):
            raise ValueError(f"{name}: what it was measured under is not said in words")
        for length, found in runner["shapes"].items():
            ns, new, prompt = found["ns"], found["new_tokens"]["value"], found["prompt_tokens"]["value"]
            if (
                named(prompt) != length
                or new < 2
                or said["new_tokens"] != str(new)
                or not all(map(_is_time, _numbers(ns)))
            ):
                raise ValueError(f"{name}, {length}: no such times")
            times = list(zip(ns["first"], ns["rest"], strict=True))
            if not times:
                continue
            made = shape(times, prompt, new, None)
            for part in ("repetitions", "first_token", "decode", "answer"):
                if made[part] != found[part]:
                    raise ValueError(f"{name}, {length}: `{part}` is not what the nanoseconds give")


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value <= LONGEST


def _numbers(ns: Mapping[str, Iterable[int]]) -> Iterator[Any]:
    yield from ns["first"]
    yield from ns["rest"]
