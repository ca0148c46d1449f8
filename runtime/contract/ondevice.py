"""What a Mac measured of a saved package → the data of a report of kind `coreml.device`, the attestation level that
these give, and whether such data are what their own facts give. No clock and no tensors: whoever judges a report
computes the same.

    L3  predicted on the CPU alone: every function of the package over every golden vector, within the tolerances
        of the spec, on a machine, system, coremltools, Core ML and package that are named
    L4  L3, the same on the target units, and MLComputePlan says of every operation which device runs it
    L5  L4, and the time of a call of each function on the target units, often enough for an interval

What is missing for the next level stands beside it in words. A report of a machine that cannot predict has no level.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.lacking import compared_unlike
from runtime.contract.report import estimated, measured, rate, unavailable
from runtime.contract.statistics.quantiles import observed
from runtime.contract.units import unit

KIND = "coreml.device"
#: the units of a first run: no accelerator's kernels
CPU = "cpu_only"
Units = Literal["all", "cpu_and_gpu", "cpu_and_ne"]
#: target units → the devices whose share of the operations is residency
TARGETS: Mapping[str, tuple[str, ...]] = {
    "all": ("neural_engine", "gpu"),
    "cpu_and_gpu": ("gpu",),
    "cpu_and_ne": ("neural_engine",),
}
DEVICES = ("neural_engine", "gpu", "cpu")
LOWEST, HIGHEST = 2, 5
#: calls of a function behind a time: an interval of a median has both its ends from six on
LEAST_REPETITIONS = 20
NS = 10**9
#: nanoseconds of a day: no call takes longer
LONGEST = 86_400 * NS
#: types of operations, and words of what is lacking, that a report lists
MOST_NAMED = 20
_HEX = re.compile(r"[0-9a-f]{64}\Z")
Data = Mapping[str, Any]


class Tolerances(Params):
    """How far outputs may be from the golden vectors; see `verification.tolerances` of the spec."""

    logits: float = Field(gt=0, description="Largest difference over the largest value.", json_schema_extra=unit("1"))
    cache: float = Field(gt=0, description="The same of keys and values.", json_schema_extra=unit("1"))
    cosine: float = Field(ge=0, le=1, description="Least cosine of logits.", json_schema_extra=unit("cosine"))
    cache_cosine: float = Field(ge=0, le=1, description="The same of a head.", json_schema_extra=unit("cosine"))
    kl: float = Field(gt=0, description="Largest mean KL divergence.", json_schema_extra=unit("nat"))

    def told(self) -> dict[str, Any]:
        """As a report has it."""
        by = "the spec"
        return {
            "logits": estimated(self.logits, "1", by=by),
            "cache": estimated(self.cache, "1", by=by),
            "cosine": estimated(self.cosine, "cosine", by=by),
            "cache_cosine": estimated(self.cache_cosine, "cosine", by=by),
            "kl": estimated(self.kl, "nat", by=by),
        }


#: datum of a function → (the tolerance that bounds it, whether from below)
_BOUNDS = {"cosine": ("cosine", True), "relative_error": ("logits", False), "kl": ("kl", False)}
_CACHE_BOUNDS = {"cosine": ("cache_cosine", True), "relative_error": ("cache", False)}
#: what there may be none of
_NONE = ("shape_mismatches", "nan", "inf", "all_zero")


def timed(function: str, tokens: int, ns: Sequence[int]) -> dict[str, Any]:
    """The part of one function in `latency`: `ns` are the nanoseconds of each call after the warm-up."""
    if any(one <= 0 for one in ns):
        rates = unavailable("the clock is too coarse: a call took no time", "token/s")
    else:
        rates = observed([tokens * NS / one for one in ns], 0.5, "token/s")
    return {
        "function": function,
        "tokens": measured(tokens, "token"),
        "seconds": observed([one / NS for one in ns], 0.5, "s"),
        "tokens_per_second": rates,
        "ns": list(ns),
    }


def latency(units: str, warm_up: int, repetitions: int, functions: Sequence[Data], decode: str) -> dict[str, Any]:
    """Section `latency`; `decode` is the function that gives one token a call."""
    found = {one["function"]: one for one in functions}
    none = unavailable("decode was not timed", "token/s")
    return {
        "units": units,
        "warm_up": measured(warm_up, "call"),
        "repetitions": measured(repetitions, "call"),
        "functions": list(functions),
        "decode": found[decode]["tokens_per_second"] if decode in found else none,
    }


def no_latency(units: str, why: str) -> dict[str, Any]:
    """The same where nothing was timed."""
    none = {name: measured(0, "call") for name in ("warm_up", "repetitions")}
    return {"units": units, **none, "functions": [], "decode": unavailable(why, "token/s")}


def residency(units: str, functions: Sequence[Data]) -> dict[str, Any]:
    """Section `residency` of what `placed` gave for each function."""
    total = sum(one["operations"]["value"] for one in functions)
    names = ("planned", "on_target")
    return {
        "units": units,
        "functions": list(functions),
        **{name: rate(sum(one[name].get("k", 0) for one in functions), total) for name in names},
    }


def no_residency(units: str, why: str) -> dict[str, Any]:
    """The same where no plan could be had."""
    return {
        "units": units,
        "functions": [],
        **{name: unavailable(why, "ratio") for name in ("planned", "on_target")},
    }


def placed(
    function: str, units: str, devices: Mapping[str, str], types: Mapping[str, str], cost: float | None
) -> dict[str, Any]:
    """The part of one function in `residency`. `types` are its operations, output → type, constants left out;
    `devices` says of those that the plan places where; `cost` is the share of the estimated cost on the target."""
    total, target = len(types), TARGETS[units]
    counts = {name: sum(devices.get(one) == name for one in types) for name in DEVICES}
    away = Counter((kind, devices[one]) for one, kind in types.items() if devices.get(one) not in (None, *target))
    lost = Counter(kind for one, kind in types.items() if one not in devices)
    by = "Core ML's compute plan"
    return {
        "function": function,
        "operations": measured(total, "operation"),
        "planned": rate(sum(counts.values()), total),
        "on_target": rate(sum(counts[name] for name in target), total),
        **{name: rate(count, total) for name, count in counts.items()},
        "cost_on_target": unavailable("the plan estimates no cost", "1")
        if cost is None
        else estimated(cost, "1", by=by),
        "elsewhere": [f"{count} {kind} on {device}" for (kind, device), count in away.most_common(MOST_NAMED)],
        "unplanned": [f"{count} {kind}" for kind, count in lost.most_common(MOST_NAMED)],
    }


def missed(run: Data, tolerances: Data) -> Iterator[str]:
    """Where a run is not within the tolerances, in words; nothing where it is."""
    if run["failed"]:
        yield str(run["failed"])
        return
    parts = [(str(one["function"]), one) for one in run["shapes"]] + [("decode", run["decode"])]
    for name, part in parts:
        covered = part["covered"]
        if covered["value"] is None or covered["k"] != covered["n"]:
            yield f"{name}: {covered.get('k', 0)} of {covered.get('n', 0)} golden cases were run"
        for what in _NONE:
            if part[what]["value"] != 0:
                yield f"{name}: {what} is {_said(part[what])}, not 0"
        yield from _beyond(name, part, _BOUNDS, tolerances)
        for layer in part["cache"]:
            for side in ("keys", "values"):
                yield from _beyond(f"{name}, {side} of {layer['layer']}", layer[side], _CACHE_BOUNDS, tolerances)


def _beyond(name: str, part: Data, bounds: Mapping[str, tuple[str, bool]], tolerances: Data) -> Iterator[str]:
    for what, (bound, below) in bounds.items():
        value, limit = part[what]["value"], tolerances[bound]["value"]
        if value is None or not (value >= limit if below else value <= limit):
            yield f"{name}: {what} is {_said(part[what])}, asked {'>=' if below else '<='} {limit:g}"


def _said(datum: Data) -> str:
    return f"unavailable ({datum['reason']})" if datum["value"] is None else f"{datum['value']:.6g}"


def lacking(data: Data) -> dict[int, list[str]]:
    """Level → what it needs and the data do not have, in words; empty where they have all of it."""
    runs = {str(run["units"]): run for run in data["runs"]}
    return {3: list(_third(data, runs)), 4: list(_fourth(data, runs)), 5: list(_fifth(data))}


def _third(data: Data, runs: Mapping[str, Data]) -> Iterator[str]:
    machine, toolchain, package = data["machine"], data["toolchain"], data["package"]
    if machine["system"] != "Darwin":
        yield f"a Mac: this is {machine['system'] or 'a system without a name'}"
    for place, name in (
        (machine, "release"),
        (machine, "processor"),
        (toolchain, "coremltools"),
        (toolchain, "coreml"),
    ):
        if place[name] in ("", "unknown"):
            yield f"`{name}` is not known"
    if not _HEX.match(package["sha256"]):
        yield "the digest of the package that was run"
    elif package["sha256_after"] != package["sha256"]:
        yield "the package was another one after the run than before it"
    yield from _run(runs, CPU, data)


def _run(runs: Mapping[str, Data], units: str, data: Data) -> Iterator[str]:
    if units not in runs:
        yield f"a run on {units}"
        return
    covered = [str(one["function"]) for one in runs[units]["shapes"]]
    if not runs[units]["failed"] and covered != data["functions"][:-1]:
        yield f"{units}: ran {', '.join(covered) or 'no prefill'} of {', '.join(data['functions'][:-1])}"
    yield from (f"{units}: {why}" for why in missed(runs[units], data["tolerances"]))


def _fourth(data: Data, runs: Mapping[str, Data]) -> Iterator[str]:
    yield from _run(runs, data["units"], data)
    found = data["residency"]
    if found["planned"]["value"] is None:
        yield f"the compute plan: {found['planned']['reason']}"
        return
    for function in data["functions"]:
        one = next((one for one in found["functions"] if one["function"] == function), None)
        if one is None:
            yield f"the compute plan of {function}"
        elif one["planned"].get("k") != one["operations"]["value"]:
            named = ", ".join(one["unplanned"][:3])
            of = f"{one['planned'].get('k', 0)} of {one['operations']['value']} operations"
            yield f"the compute plan of {function} places {of}: not {named}"


def _fifth(data: Data) -> Iterator[str]:
    found = {one["function"]: one for one in data["latency"]["functions"]}
    for function in data["functions"]:
        times = len(found[function]["ns"]) if function in found else 0
        if times < LEAST_REPETITIONS:
            yield f"times of {function}: {times} calls of {LEAST_REPETITIONS} at least"
        elif found[function]["tokens_per_second"]["value"] is None:
            yield f"times of {function}: {found[function]['tokens_per_second']['reason']}"


def attested(data: Data) -> dict[str, Any]:
    """`level` and `lacks` of data that have all the rest."""
    why = data["machine"]["cannot"]
    if why:
        return {"level": unavailable(why, "level"), "lacks": [why]}
    lacks = lacking(data)
    level = LOWEST
    while level < HIGHEST and not lacks[level + 1]:
        level += 1
    rest = [] if level == HIGHEST else [f"L{level + 1}: {word}" for word in lacks[level + 1]]
    return {"level": measured(level, "level"), "lacks": rest[:MOST_NAMED]}


def consistent(data: Data) -> None:
    """Raises ValueError, LookupError, TypeError or AttributeError for data that are not what their own facts give."""
    if {name: data[name] for name in ("level", "lacks")} != attested(data):
        raise ValueError("`level` is not what the runs, the plan and the times give")
    if data["machine"]["cannot"] and (data["runs"] or data["residency"]["functions"] or data["latency"]["functions"]):
        raise ValueError("a machine that cannot predict has measured something")
    for name, bound in data["tolerances"].items():
        if bound["tag"] != "estimated" or bound["by"] != "the spec":
            raise ValueError(f"tolerances/{name}: not what a spec says")
    units = {data["units"], data["residency"]["units"], data["latency"]["units"]}
    if len(units) > 1:
        raise ValueError("runs, plan and times are of other units than those that were asked for")
    if len({run["units"] for run in data["runs"]}) < len(data["runs"]):
        raise ValueError("two runs on the same units")
    _placed_right(data["residency"])
    _timed_right(data["latency"], data["functions"][-1])


def _placed_right(found: Data) -> None:
    for one in found["functions"]:
        total = one["operations"]["value"]
        counts = {name: one[name].get("k", 0) for name in (*DEVICES, "planned", "on_target")}
        target = sum(counts[name] for name in TARGETS[found["units"]])
        if sum(counts[name] for name in DEVICES) != counts["planned"] or target != counts["on_target"]:
            raise ValueError(f"residency of {one['function']}: its operations do not add up")
        if any(one[name] != rate(count, total) for name, count in counts.items()):
            raise ValueError(f"residency of {one['function']}: not of all its operations")
    if found["functions"] and residency(found["units"], found["functions"]) != dict(found):
        raise ValueError("residency is not the sum of its functions")


def _timed_right(found: Data, decode: str) -> None:
    for one in found["functions"]:
        ns = one["ns"]
        if not all(type(each) is int and 0 <= each <= LONGEST for each in ns):
            raise ValueError(f"times of {one['function']}: no such times")
        if len(ns) != found["repetitions"]["value"] or timed(one["function"], one["tokens"]["value"], ns) != dict(one):
            raise ValueError(f"times of {one['function']}: not what its nanoseconds give")
    warm, many = found["warm_up"]["value"], found["repetitions"]["value"]
    if found["functions"] and latency(found["units"], warm, many, found["functions"], decode) != dict(found):
        raise ValueError("`latency` is not what its functions give")


def unlike(asked: Data, data: Data) -> Iterator[str]:
    """In what a report is not what the parameters of its step asked for, as sentences."""
    for name in ("precision", "units"):
        said = data["package"]["precision"] if name == "precision" else data[name]
        if said != asked[name]:
            yield f"{name}: asked for {asked[name]}, measured {said}"
    wanted = Tolerances(**asked["tolerances"]).told()
    yield from (
        f"tolerances.{name}: asked for {one['value']:g}, held to {data['tolerances'].get(name, {}).get('value')}"
        for name, one in wanted.items()
        if data["tolerances"].get(name) != one
    )
    for run in data["runs"]:
        if not run["failed"]:
            yield from compared_unlike(asked, run["units"], run)
