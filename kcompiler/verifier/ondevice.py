"""A report `coreml.device` → its level computed again from its runs, plan and times. Standard library.

What the next level lacks is said in words there, which are not made again; that they are empty at the top alone is.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping

from kcompiler.verifier.lacking import compared

Data = Mapping[str, Any]
_TARGETS: Mapping[str, List[str]] = {
    "all": ["neural_engine", "gpu"],
    "cpu_and_gpu": ["gpu"],
    "cpu_and_ne": ["neural_engine"],
}
_DEVICES = ["neural_engine", "gpu", "cpu"]
_LEAST, _NS, _LONGEST = 20, 10**9, 86_400 * 10**9
_UNITS = {"logits": "1", "cache": "1", "cosine": "cosine", "cache_cosine": "cosine", "kl": "nat"}


def problems(data: Data) -> Iterator[str]:
    """Why the data are not what they were computed from."""
    cannot, units = data["machine"]["cannot"], data["units"]
    level = None if cannot else _level(data)
    if data["level"]["value"] != level or bool(data["lacks"]) != (level != 5):
        yield "its level is not what its runs, plan and times give"
    if cannot and (data["runs"] or data["residency"]["functions"] or data["latency"]["functions"]):
        yield "a machine that cannot predict has measured something"
    bounds = {name: _bound(data["tolerances"][name]["value"], unit) for name, unit in _UNITS.items()}
    if data["tolerances"] != bounds:
        yield "its tolerances are not what a spec says"
    if data["residency"]["units"] != units or data["latency"]["units"] != units:
        yield "plan or times are of other units"
    names = [run["units"] for run in data["runs"]]
    if len(set(names)) < len(names):
        yield "two runs on the same units"
    yield from _placed(data["residency"])


def times(data: Data) -> Iterator[Dict[str, Any]]:
    """Of each function: its nanoseconds, tokens of a call, and what stands there of them. Raises ValueError for times
    that no call takes."""
    found = data["latency"]
    for one in found["functions"]:
        ns = one["ns"]
        if len(ns) != found["repetitions"]["value"] or any(type(n) is not int or not 0 <= n <= _LONGEST for n in ns):
            raise ValueError("no such times")
        yield one


def _bound(value: Any, unit: str) -> Dict[str, Any]:
    return {"value": value, "unit": unit, "tag": "estimated", "by": "the spec"}


def _level(data: Data) -> int:
    level = 2
    for reached in (_third(data), _fourth(data), _fifth(data)):
        if not reached:
            break
        level += 1
    return level


def _third(data: Data) -> bool:
    machine, toolchain, package = data["machine"], data["toolchain"], data["package"]
    known = [machine["release"], machine["processor"], toolchain["coremltools"], toolchain["coreml"]]
    same = re.fullmatch("[0-9a-f]{64}", package["sha256"]) and package["sha256"] == package["sha256_after"]
    return machine["system"] == "Darwin" and not {"", "unknown"} & set(known) and bool(same) and _ran("cpu_only", data)


def _fourth(data: Data) -> bool:
    placed = {one["function"]: one for one in data["residency"]["functions"]}
    return _ran(data["units"], data) and all(
        name in placed and placed[name]["planned"].get("k") == placed[name]["operations"]["value"]
        for name in data["functions"]
    )


def _fifth(data: Data) -> bool:
    timed = {one["function"]: one for one in data["latency"]["functions"]}
    return all(
        name in timed and len(timed[name]["ns"]) >= _LEAST and timed[name]["tokens_per_second"]["value"] is not None
        for name in data["functions"]
    )


def _ran(units: str, data: Data) -> bool:
    """Whether there is a run on these units of every function, within the tolerances."""
    run = next((one for one in data["runs"] if one["units"] == units), None)
    if run is None or run["failed"] or [one["function"] for one in run["shapes"]] != data["functions"][:-1]:
        return False
    return all(_within(one, data["tolerances"]) for one in [*run["shapes"], run["decode"]])


def _within(part: Data, asked: Data) -> bool:
    covered = part["covered"]
    if covered["value"] is None or covered["k"] != covered["n"]:
        return False
    if any(part[name]["value"] != 0 for name in ("shape_mismatches", "nan", "inf", "all_zero")):
        return False
    sides = [layer[side] for layer in part["cache"] for side in ("keys", "values")]
    return (
        _most(part["relative_error"], asked["logits"])
        and _most(part["kl"], asked["kl"])
        and _most(asked["cosine"], part["cosine"])
        and all(_most(one["relative_error"], asked["cache"]) for one in sides)
        and all(_most(asked["cache_cosine"], one["cosine"]) for one in sides)
    )


def _most(less: Data, more: Data) -> bool:
    return less["value"] is not None and more["value"] is not None and less["value"] <= more["value"]


def _placed(found: Data) -> Iterator[str]:
    sums = dict.fromkeys(("planned", "on_target", "operations"), 0)
    for one in found["functions"]:
        total, counts = one["operations"]["value"], {name: one[name].get("k", 0) for name in _DEVICES}
        counts["planned"] = sum(counts.values())
        counts["on_target"] = sum(counts[name] for name in _TARGETS[found["units"]])
        if any(one[name].get("k", 0) != count or one[name].get("n", 0) != total for name, count in counts.items()):
            yield f"operations of {one['function']} do not add up"
        for name in ("planned", "on_target"):
            sums[name] += counts[name]
        sums["operations"] += total
    for name in ("planned", "on_target") if found["functions"] else ():
        if (found[name].get("k", 0), found[name].get("n", 0)) != (sums[name], sums["operations"]):
            yield f"{name} is not the sum of its functions"


def unlike(asked: Data, data: Data) -> Iterator[str]:
    """In what a report is not what its step was asked for."""
    if data["package"]["precision"] != asked["precision"]:
        yield "precision"
    if data["units"] != asked["units"]:
        yield "units"
    if {name: one["value"] for name, one in data["tolerances"].items()} != asked["tolerances"]:
        yield "tolerances"
    for run in data["runs"]:
        if not run["failed"]:
            yield from compared(asked, run["units"], run)
