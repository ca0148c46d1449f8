"""Times of one answer after the other → the data of a report of kind `benchmark`, and whether such data are what their
nanoseconds give. No clock and no tensors: whoever judges a report computes the same.

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
from typing import Any, Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.report import estimated, measured, unavailable
from runtime.contract.statistics.quantiles import observed, quantile
from runtime.contract.units import unit

KIND = "benchmark"
#: the profile of a machine that no table knows
NONE = "none"
#: what nothing here can measure
NO_METER = ("energy", "carbon")
Name = Literal["torch", "mil", "coreml", "mil_fp16", "coreml_fp16"]
NS = 10**9
#: nanoseconds of a day: no answer takes longer, and no product of times leaves the doubles
LONGEST = 86_400 * NS
#: tokens of an answer; no quotient of them leaves the doubles
MOST_TOKENS = 10**9
PER_MILLION = "USD/million queries"


@dataclass(frozen=True)
class Meaning:
    """What is run, by whom, and what a time of it says. `level` as of the package's attestation, "" of a checkpoint;
    `variant` is which package, "" of none."""

    of: Literal["checkpoint", "package"]
    level: str
    says: str
    variant: Literal["", "quantized", "fp16"] = ""


#: `target` speaks of the package that ships
ON_DEVICE = "coreml"
_HERE = "in a numpy interpreter on this machine: no time of a device"
RUNNERS: Mapping[str, Meaning] = {
    "torch": Meaning("checkpoint", "", "the checkpoint in torch on this machine, not what ships"),
    "mil": Meaning("package", "L2", f"the package {_HERE}", "quantized"),
    "coreml": Meaning("package", "L5", "the package in Core ML on this machine", "quantized"),
    "mil_fp16": Meaning("package", "L2", f"the float16 package, which does not ship, {_HERE}", "fp16"),
    "coreml_fp16": Meaning(
        "package", "L5", "the float16 package, which does not ship, in Core ML on this machine", "fp16"
    ),
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

    def told(self) -> dict[str, Any]:
        """As a report has it."""
        return {"hour": estimated(self.usd_per_hour, "USD/h", by="the spec"), "assumption": self.assumption}


class Target(Params):
    """The machine that the student is meant for: the chip as its maker calls it, and its memory."""

    profile: str
    chip: str
    memory_bytes: int | None

    def told(self) -> dict[str, Any]:
        """As a report has it."""
        unsaid = unavailable("no table says it", "B")
        memory = unsaid if self.memory_bytes is None else estimated(self.memory_bytes, "B", by="the table of machines")
        return {"profile": self.profile, "chip": self.chip, "memory": memory}


def named(prompt: int) -> str:
    """What a prompt length is called in reports, so that a rule can name it."""
    return f"prompt_{prompt}"


def tokens_of(name: str) -> int:
    """The same backwards."""
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
        return {"profile": NONE, "shapes": {}}
    lengths = sorted({length for one in runners.values() for length in one["shapes"]}, key=tokens_of)
    device = runners.get(ON_DEVICE)
    why = elsewhere(wanted, here) or ("runner `coreml` was not asked" if device is None else "")
    gauge = unavailable(why, "B") if why or device is None else device["peak_memory"]
    shapes: dict[str, Any] = {}
    for length in lengths:
        found = None if why or device is None else device["shapes"].get(length)
        made = found or no_shape(why, tokens_of(length), 2, None)
        shapes[length] = {name: made[name] for name in ("first_token", "decode", "answer")}
    return {**wanted.told(), "peak_memory": gauge, "shapes": shapes}


def elsewhere(wanted: Target, here: Mapping[str, str]) -> str:
    """Why a machine of these words is not the one that is meant, "" where it is."""
    memory = int(here.get("memory", "0"))
    # a system keeps a little of what the shop sold for itself
    enough = wanted.memory_bytes is None or 0.9 * wanted.memory_bytes <= memory <= wanted.memory_bytes
    if here.get("processor") == wanted.chip and enough:
        return ""
    return f"needs {wanted.chip} ({wanted.profile}), and this is {here.get('processor', 'another')}"


def consistent(data: Mapping[str, Any]) -> None:
    """Raises ValueError, KeyError, TypeError or AttributeError for data of a benchmark that are not what their own
    nanoseconds, conditions, price and machine give."""
    here, runners, price = data["machine"], data["runners"], _price(data.get("price"))
    if not runners:
        raise ValueError("no runner was asked")
    if any(data[name]["value"] is not None for name in NO_METER):
        raise ValueError("energy and carbon cannot be measured here")
    lengths = {tuple(sorted(runner["shapes"])) for runner in runners.values()}
    if len(lengths) > 1 or lengths == {()}:
        raise ValueError("its runners were not asked the same lengths")
    for name, runner in runners.items():
        _is_of(name, runner, here, data["warm_up"]["value"])
        known = {_is_shape(name, length, runner, data["repetitions"]["value"], price) for length in runner["shapes"]}
        if known != {runner["load"]["value"] is not None}:
            raise ValueError(f"{name}: it was measured in part, or without being loaded")
        if known == {False} and runner["peak_memory"]["value"] is not None:
            raise ValueError(f"{name}: memory of what was not loaded")
    meant = _meant(data["target"])
    if data["target"] != target(None if meant is None else Target(**meant), here, runners):
        raise ValueError("`target` is not what its machine and its runners give")


def _price(said: Mapping[str, Any] | None) -> Price | None:
    if said is None:
        return None
    price = Price(usd_per_hour=said["hour"]["value"], assumption=said["assumption"])
    if said != price.told():
        raise ValueError("`price` is not what somebody said that an hour costs")
    return price


def _is_of(name: str, runner: Mapping[str, Any], here: Mapping[str, str], warm_up: int) -> None:
    """Whether a runner is what its name says, measured on the machine that the report is of."""
    meaning = RUNNERS.get(name)
    if meaning is None or [runner[one] for one in ("of", "level", "says")] != [meaning.of, meaning.level, meaning.says]:
        raise ValueError(f"`{name}` is not what a runner of that name runs")
    said = runner["conditions"]
    if not all(isinstance(one, str) for one in said.values()):
        raise ValueError(f"{name}: what it was measured under is not said in words")
    apart = [one for one in sorted(here) if said.get(one) != here[one]]
    if apart:
        raise ValueError(f"{name}: measured under another `{apart[0]}` than the machine has")
    if said["warm_up"] != str(warm_up):
        raise ValueError(f"{name}: measured after another warm-up")


def _is_shape(name: str, length: str, runner: Mapping[str, Any], repetitions: int, price: Price | None) -> bool:
    """Whether a length was measured; its figures are what its nanoseconds give."""
    found = runner["shapes"][length]
    ns, new, prompt = found["ns"], found["new_tokens"]["value"], found["prompt_tokens"]["value"]
    if (
        named(prompt) != length
        or not (type(new) is type(prompt) is int and 2 <= new <= MOST_TOKENS)
        or runner["conditions"]["new_tokens"] != str(new)
        or not all(map(is_time, numbers(ns)))
    ):
        raise ValueError(f"{name}, {length}: no such times")
    times = list(zip(ns["first"], ns["rest"], strict=True))
    if times and len(times) != repetitions:
        raise ValueError(f"{name}, {length}: {len(times)} answers of {repetitions} repetitions")
    why = str(found["decode"]["p50"].get("reason", ""))
    made = shape(times, prompt, new, price) if times else no_shape(why, prompt, new, price)
    for part in sorted({*made, *found}):
        if made.get(part) != found.get(part):
            raise ValueError(f"{name}, {length}: `{part}` is not what the nanoseconds give")
    return bool(times)


def is_time(value: object) -> bool:
    """Whether a value is nanoseconds that an answer may take."""
    return type(value) is int and 0 <= value <= LONGEST


def numbers(ns: Mapping[str, Iterable[int]]) -> Iterator[Any]:
    """Every number of a length's nanoseconds."""
    yield from ns["first"]
    yield from ns["rest"]


def unlike(asked: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    """In what a report is not what the parameters of its step asked for, as sentences."""
    for said, wanted, found in (
        ("benchmark", [asked["id"]], [data["benchmark"]]),
        ("runners", asked["runners"], list(data["runners"])),
        ("warm_up", [asked["warm_up"]], [data["warm_up"]["value"]]),
        ("repetitions", [asked["repetitions"]], [data["repetitions"]["value"]]),
        ("threads", [str(asked["threads"])], [data["machine"].get("threads")]),
        ("price", [asked.get("price")], [_said(data.get("price"))]),
        ("target", [asked.get("target")], [_meant(data["target"])]),
    ):
        yield from _apart(said, wanted, found)
    for name, runner in data["runners"].items():
        shapes = runner["shapes"].values()
        yield from _apart(f"{name}: prompts", asked["prompts"], [one["prompt_tokens"]["value"] for one in shapes])
        of_each = sorted({one["new_tokens"]["value"] for one in shapes})
        yield from _apart(f"{name}: new_tokens", [asked["new_tokens"]], of_each)


def _apart(said: str, wanted: Sequence[Any], found: Sequence[Any]) -> Iterator[str]:
    """A sentence, where the one is not the other in any order."""
    if len(wanted) != len(found) or any(wanted.count(one) != found.count(one) for one in wanted):
        yield f"{said}: asked for {_listed(wanted)}, measured {_listed(found)}"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values)) or "nothing"


def _said(price: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if price is None else {"usd_per_hour": price["hour"]["value"], "assumption": price["assumption"]}


def _meant(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """Parameters of the machine that a report says is meant."""
    if said["profile"] == NONE:
        return None
    return {"profile": said["profile"], "chip": said["chip"], "memory_bytes": said["memory"]["value"]}
