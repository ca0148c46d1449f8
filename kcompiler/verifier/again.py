"""Reports that hold what they were computed from → the same computed again, and why it is not so. Standard library.

`benchmark` (nanoseconds), `benchmark.regression` (those of two sides), `parity` (wins and losses of two runners) and
`coreml.device` (`ondevice`); and whether a report is about what the parameters of its step asked for.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence, Tuple

from kcompiler.verifier import lacking, ondevice, statistics

_NS, _LONGEST, _MOST_TOKENS, _MOST_ITEMS, _MOST_NAMED = 10**9, 86_400 * 10**9, 10**9, 10**6, 1000
_GAP, _COST = "item/item", "USD/million queries"
_HERE = "in a numpy interpreter on this machine: no time of a device"
#: runner → (what it runs, level, what a time of it says)
_RUNNERS: Mapping[str, Tuple[str, str, str]] = {
    "torch": ("checkpoint", "", "the checkpoint in torch on this machine, not what ships"),
    "mil": ("package", "L2", f"the package {_HERE}"),
    "coreml": ("package", "L5", "the package in Core ML on this machine"),
    "mil_fp16": ("package", "L2", f"the float16 package, which does not ship, {_HERE}"),
    "coreml_fp16": ("package", "L5", "the float16 package, which does not ship, in Core ML on this machine"),
}
Data = Mapping[str, Any]


class _Wrong(ValueError):
    """What does not follow."""


def contradiction(report: Data) -> str:
    """Why a report is not what it was computed from, or ""; "" of the kinds that hold nothing of the kind."""
    try:
        if report["kind"] in _CONSISTENT:
            _CONSISTENT[report["kind"]](report["data"])
        if report["kind"] == "benchmark":
            machine, hardware = report["data"]["machine"], report["environment"].get("hardware", {})
            if any(machine.get(name) != str(hardware[name]) for name in hardware):
                raise _Wrong("measured on another machine than the report says")
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as why:
        return str(why) or type(why).__name__
    return ""


def of_another(report: Data, others: Mapping[str, Data]) -> bool:
    """Whether a comparison of speeds is not about the benchmark that stands beside it."""
    if report["kind"] != "benchmark.regression":
        return False
    data = report["data"]
    beside = [one["data"] for one in others.values() if one["kind"] == "benchmark"]
    return any(one["benchmark"] == data["benchmark"] and data["now"] != _side_of(one) for one in beside)


def _measured(value: Any, unit: str, **more: Any) -> Dict[str, Any]:
    return {"value": value, "unit": unit, "tag": "measured", **more}


def _unavailable(why: str, unit: str) -> Dict[str, Any]:
    return {"value": None, "unit": unit, "tag": "unavailable", "reason": why}


def _estimated(value: Any, unit: str, by: str) -> Dict[str, Any]:
    return {"value": value, "unit": unit, "tag": "estimated", "by": by}


# --- benchmark


def _observed(sample: Sequence[float], q: float, unit: str) -> Dict[str, Any]:
    n, least = len(sample), statistics.fewest(q)
    if n < least:
        return _unavailable(f"{n} repetitions; a quantile of {q:g} takes {least} at least", unit)
    ends = zip(("low", "high"), statistics.quantile_ends(sample, q, 0.95))
    found = {name: end for name, end in ends if end is not None}
    value = statistics.quantile(sample, q)
    return _measured(value, unit, n=n, **found, confidence=0.95, interval="order statistics")


def _tail(seconds: Sequence[float]) -> Dict[str, Any]:
    return {name: _observed(seconds, q, "s") for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


def _shape(times: Sequence[Tuple[int, int]], prompt: int, new: int, price: Optional[Data]) -> Dict[str, Any]:
    whole = [(one + rest) / _NS for one, rest in times]
    rates = [(new - 1) * _NS / rest for _, rest in times] if all(rest > 0 for _, rest in times) else None
    coarse = _unavailable("the clock is too coarse: tokens took no time", "token/s")
    data = {
        "prompt_tokens": _measured(prompt, "token"),
        "new_tokens": _measured(new, "token"),
        "repetitions": _measured(len(times), "repetition"),
        "first_token": _tail([one / _NS for one, _ in times]),
        "decode": {"p50": coarse if rates is None else _observed(rates, 0.5, "token/s")},
        "answer": _tail(whole),
        "ns": {"first": [one for one, _ in times], "rest": [rest for _, rest in times]},
    }
    if price is not None:
        hour = price["hour"]["value"]
        by = f"{hour:g} USD/h × median seconds of an answer, one at a time ({price['assumption']})"
        data["cost"] = _estimated(hour / 3600 * statistics.quantile(whole, 0.5) * 1e6, _COST, by)
    return data


def _no_shape(why: str, prompt: int, new: int, price: Optional[Data]) -> Dict[str, Any]:
    tail = {name: _unavailable(why, "s") for name in ("p50", "p95", "p99")}
    data = {
        "prompt_tokens": _measured(prompt, "token"),
        "new_tokens": _measured(new, "token"),
        "repetitions": _measured(0, "repetition"),
        "first_token": tail,
        "decode": {"p50": _unavailable(why, "token/s")},
        "answer": tail,
        "ns": {"first": [], "rest": []},
    }
    return data if price is None else {**data, "cost": _unavailable(why, _COST)}


def _prompt(length: str) -> int:
    return int(length[len("prompt_") :] if length.startswith("prompt_") else length)


def _target(said: Data, here: Data, runners: Data) -> Dict[str, Any]:
    """What `target` of a benchmark must be."""
    if said["profile"] == "none":
        return {"profile": "none", "shapes": {}}
    chip, most = said["chip"], said["memory"]["value"]
    unsaid = _unavailable("no table says it", "B")
    memory = unsaid if most is None else _estimated(most, "B", "the table of machines")
    enough = most is None or 0.9 * most <= int(here.get("memory", "0")) <= most
    device, why = runners.get("coreml"), ""
    if here.get("processor") != chip or not enough:
        why = f"needs {chip} ({said['profile']}), and this is {here.get('processor', 'another')}"
    elif device is None:
        why = "runner `coreml` was not asked"
    shapes = {}
    for length in sorted({length for one in runners.values() for length in one["shapes"]}, key=_prompt):
        found = None if why or device is None else device["shapes"].get(length)
        made = found or _no_shape(why, _prompt(length), 2, None)
        shapes[length] = {name: made[name] for name in ("first_token", "decode", "answer")}
    gauge = _unavailable(why, "B") if why or device is None else device["peak_memory"]
    told = {"profile": said["profile"], "chip": chip, "memory": memory}
    return {**told, "peak_memory": gauge, "shapes": shapes}


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LONGEST


def _benchmark(data: Data) -> None:
    here, runners, price, warm_up = data["machine"], data["runners"], data.get("price"), data["warm_up"]["value"]
    lengths = {tuple(sorted(runner["shapes"])) for runner in runners.values()}
    if not runners or len(lengths) != 1 or lengths == {()}:
        raise _Wrong("its runners were not asked the same lengths, or there are none")
    if any(data[name]["value"] is not None for name in ("energy", "carbon")):
        raise _Wrong("energy and carbon cannot be measured here")
    if price is not None:
        hour, told = price["hour"]["value"], price["assumption"]
        sound = isinstance(hour, (int, float)) and not isinstance(hour, bool) and 0 < hour <= 1e6
        if not sound or not isinstance(told, str) or not 10 <= len(told) <= 300:
            raise _Wrong("`price` is none")
        if price != {"hour": _estimated(hour, "USD/h", "the spec"), "assumption": told}:
            raise _Wrong("`price` is not what somebody said that an hour costs")
    for name, runner in runners.items():
        said = runner["conditions"]
        if _RUNNERS.get(name) != (runner["of"], runner["level"], runner["says"]):
            raise _Wrong(f"`{name}` is not what a runner of that name runs")
        if not all(isinstance(one, str) for one in said.values()) or any(said.get(one) != here[one] for one in here):
            raise _Wrong(f"{name}: measured under other conditions than the machine has")
        if said["warm_up"] != str(warm_up):
            raise _Wrong(f"{name}: measured after another warm-up")
        known = {_length(name, length, runner, data["repetitions"]["value"], price) for length in runner["shapes"]}
        if known != {runner["load"]["value"] is not None} or (
            known == {False} and runner["peak_memory"]["value"] is not None
        ):
            raise _Wrong(f"{name}: it was measured in part, or without being loaded")
    if data["target"] != _target(data["target"], here, runners):
        raise _Wrong("`target` is not what its machine and its runners give")


def _length(name: str, length: str, runner: Data, repetitions: int, price: Optional[Data]) -> bool:
    """Whether a length was measured; raises where its figures are not what its nanoseconds give."""
    found = runner["shapes"][length]
    ns, new, prompt = found["ns"], found["new_tokens"]["value"], found["prompt_tokens"]["value"]
    whole = type(new) is int and type(prompt) is int and 2 <= new <= _MOST_TOKENS
    if length != f"prompt_{prompt}" or not whole or runner["conditions"]["new_tokens"] != str(new):
        raise _Wrong(f"{name}, {length}: no such answers")
    if len(ns["first"]) != len(ns["rest"]) or not all(map(_is_time, [*ns["first"], *ns["rest"]])):
        raise _Wrong(f"{name}, {length}: no such times")
    times = list(zip(ns["first"], ns["rest"]))
    if times and len(times) != repetitions:
        raise _Wrong(f"{name}, {length}: {len(times)} answers of {repetitions} repetitions")
    why = str(found["decode"]["p50"].get("reason", ""))
    made = _shape(times, prompt, new, price) if times else _no_shape(why, prompt, new, price)
    for part in sorted({*made, *found}):
        if made.get(part) != found.get(part):
            raise _Wrong(f"{name}, {length}: `{part}` is not what the nanoseconds give")
    return bool(times)


# --- benchmark.regression


def _side_of(data: Data) -> Dict[str, Any]:
    return {
        name: {
            "conditions": one["conditions"],
            "shapes": {length: found["ns"] for length, found in one["shapes"].items()},
        }
        for name, one in data["runners"].items()
    }


def _regression(data: Data) -> None:
    now, before = data["now"], data["before"]
    for side in (now, before):
        for one in side.values():
            for ns in one["shapes"].values():
                if len(ns["first"]) != len(ns["rest"]) or not all(map(_is_time, [*ns["first"], *ns["rest"]])):
                    raise _Wrong("no such times")
    runners: Dict[str, Any] = {}
    for name in sorted({*now, *before}):
        new, old = now.get(name), before.get(name)
        lengths = sorted({*(old or {}).get("shapes", {}), *(new or {}).get("shapes", {})}, key=_prompt)
        runners[name] = {"shapes": {length: _quotients(name, length, new, old) for length in lengths}}
    pairs = [one for runner in runners.values() for one in runner["shapes"].values()]
    k, n = sum(one["decode"]["value"] is not None for one in pairs), len(pairs)
    compared = _measured(k / n, "ratio", n=n, k=k) if n else _unavailable("no items", "ratio")
    if data["compared"] != compared or data["runners"] != runners:
        raise _Wrong("it is not what the times of both sides give")


def _quotients(runner: str, length: str, new: Optional[Data], old: Optional[Data]) -> Dict[str, Any]:
    why = _not_alike(runner, length, new, old)
    if why or new is None or old is None:
        return {name: _unavailable(why, "1") for name in ("first_token", "decode")}
    one, other = new["shapes"][length], old["shapes"][length]
    return {"first_token": _quotient(one["first"], other["first"]), "decode": _quotient(other["rest"], one["rest"])}


def _not_alike(runner: str, length: str, new: Optional[Data], old: Optional[Data]) -> str:
    if new is None or length not in new["shapes"]:
        return f"the baseline has {length} through `{runner}`, which is not measured any more"
    if old is None or length not in old["shapes"]:
        return f"the baseline has no {length} through `{runner}`"
    here, there = new["conditions"], old["conditions"]
    apart = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]
    if apart:
        told = [f"{name} {there.get(name, 'not said')}, here {here.get(name, 'not said')}" for name in apart]
        return f"the baseline was measured otherwise: {'; '.join(told)}"
    for whose, one in (("here", new), ("in the baseline", old)):
        if not one["shapes"][length]["first"]:
            return f"`{runner}` was not available {whose}"
    return ""


def _quotient(above: Sequence[int], below: Sequence[int]) -> Dict[str, Any]:
    if min(*above, *below) <= 0:
        return _unavailable("the clock was too coarse: tokens took no time", "1")
    (low, high), (least, most) = (statistics.quantile_ends(one, 0.5, 0.975) for one in (above, below))
    found = {}
    if low is not None and high is not None and least is not None and most is not None:
        found = {"low": low / most, "high": high / least}
    value, n = statistics.quantile(above, 0.5) / statistics.quantile(below, 0.5), min(len(above), len(below))
    return _measured(value, "1", n=n, **found, confidence=0.95, interval="of both medians, order statistics")


# --- parity


def _k(datum: Data) -> int:
    return int(datum.get("k", 0))


def _parity(data: Data) -> None:
    runners = data["runners"]
    for name, one in runners.items():
        if sum(map(_k, one["reasons"].values())) != one["items"]["value"]:
            raise _Wrong(f"runners/{name}: its reasons are not those of its items")
    wanted = {frozenset(pair) for pair in combinations(runners, 2)}
    either = {f"{one} and {other}": (one, other) for one, other in permutations(runners, 2)}
    for place in ("ways", "models"):
        for name, found in data[place].items():
            pair = either.get(name)
            if pair is None or frozenset(pair) not in wanted:
                raise _Wrong(f"{place}/{name}: not a pair of two of its runners, or one that stands twice")
            wanted.discard(frozenset(pair))
            one, other = runners[pair[0]], runners[pair[1]]
            if (place == "ways") != bool(one["model"] and one["model"] == other["model"]):
                raise _Wrong(f"{place}/{name}: it stands in the wrong place")
            if _pair_wrong(found, one, other):
                raise _Wrong(f"{place}/{name}: it contradicts itself, or its runners")
    if wanted:
        raise _Wrong("a pair of runners is missing")


def _pair_wrong(pair: Data, one: Data, other: Data) -> bool:
    n, first, second = pair["items"]["value"], one["items"]["value"], other["items"]["value"]
    right = pair["difference"]["right"]
    won, lost = right.get("wins", 0), right.get("losses", 0)
    apart, answers, texts = (_k(pair[name]) for name in ("disagreeing", "other_answer", "other_text"))
    if n > min(first, second, _MOST_ITEMS):
        return True
    if not (type(won) is int and type(lost) is int and min(won, lost) >= 0 and won + lost <= min(n, apart)):
        return True
    moved = sum(
        abs(_k(one["reasons"].get(r, {})) - _k(other["reasons"].get(r, {})))
        for r in {*one["reasons"], *other["reasons"]}
    )
    wrong = right != _wins(n, won, lost) or not apart <= answers <= apart + texts
    wrong = wrong or len(pair["rows"]) != min(apart, _MOST_NAMED) or len({*pair["rows"]}) < len(pair["rows"])
    wrong = wrong or (first == second == n and moved > 2 * apart)
    nothing = False
    if one["right"]["value"] is not None and other["right"]["value"] is not None:
        mine, its = _k(one["right"]), _k(other["right"])
        nothing = not mine and not its
        wrong = wrong or (n > 1 and not n - second <= mine - its - (won - lost) <= first - n)
        wrong = wrong or won > min(mine, second - its) or lost > min(its, first - mine)
        wrong = wrong or answers - apart > min(first - mine, second - its)
    return wrong or (pair["gap"]["value"] is not None and pair["gap"] != _gap(pair["difference"], not nothing))


def _wins(n: int, won: int, lost: int) -> Dict[str, Any]:
    found = statistics.wins(n, won, lost)
    if found is None:
        return _unavailable("fewer than two items in common", _GAP)
    told = {"confidence": 0.95, "interval": "paired Wald, one half added to each cell", "wins": won, "losses": lost}
    return _measured(found[0], _GAP, n=n, low=found[1], high=found[2], **told)


def _gap(differences: Data, any_right: bool) -> Dict[str, Any]:
    if not any_right:
        return _unavailable("neither has an item right: nothing shows that they are worth the same", _GAP)
    for one in differences.values():
        if one["tag"] != "measured":
            return _unavailable(str(one["reason"]), _GAP)
    name, most = max(differences.items(), key=lambda pair: max(abs(pair[1]["low"]), abs(pair[1]["high"])))
    ends = sorted((abs(most["low"]), abs(most["high"])))
    low = 0.0 if most["low"] <= 0.0 <= most["high"] else min(ends[0], abs(most["value"]))
    more = {"confidence": most["confidence"], "interval": most["interval"], "of": name}
    return _measured(abs(most["value"]), _GAP, n=most["n"], low=low, high=max(ends[1], abs(most["value"])), **more)


def _device(data: Data) -> None:
    for why in ondevice.problems(data):
        raise _Wrong(why)
    found = data["latency"]
    for one in ondevice.times(data):
        ns, tokens = one["ns"], one["tokens"]["value"]
        rates = _unavailable("the clock is too coarse: a call took no time", "token/s")
        if all(ns):
            rates = _observed([tokens * _NS / n for n in ns], 0.5, "token/s")
        if one["seconds"] != _observed([n / _NS for n in ns], 0.5, "s") or one["tokens_per_second"] != rates:
            raise _Wrong("times that its nanoseconds do not give")
        if one["function"] == data["functions"][-1] and found["decode"] != rates:
            raise _Wrong("a speed of the decode that its function has not")


_CONSISTENT: Mapping[str, Callable[[Data], None]] = {
    "coreml.device": _device,
    "benchmark": _benchmark,
    "benchmark.regression": _regression,
    "parity": _parity,
}


# --- what a step was asked for


def _same(wanted: Sequence[Any], found: Sequence[Any]) -> bool:
    """In any order."""
    return len(wanted) == len(found) and all(wanted.count(one) == found.count(one) for one in wanted)


def _benchmark_unlike(asked: Data, data: Data) -> Iterator[str]:
    price, target = data.get("price"), data["target"]
    cost = None if price is None else {"usd_per_hour": price["hour"]["value"], "assumption": price["assumption"]}
    meant = None
    if target["profile"] != "none":
        meant = {"profile": target["profile"], "chip": target["chip"], "memory_bytes": target["memory"]["value"]}
    for said, wanted, found in (
        ("benchmark", [asked["id"]], [data["benchmark"]]),
        ("runners", asked["runners"], list(data["runners"])),
        ("warm_up", [asked["warm_up"]], [data["warm_up"]["value"]]),
        ("repetitions", [asked["repetitions"]], [data["repetitions"]["value"]]),
        ("threads", [str(asked["threads"])], [data["machine"].get("threads")]),
        ("price", [asked.get("price")], [cost]),
        ("target", [asked.get("target")], [meant]),
    ):
        if not _same(wanted, found):
            yield said
    for name, runner in data["runners"].items():
        shapes = runner["shapes"].values()
        if not _same(asked["prompts"], [one["prompt_tokens"]["value"] for one in shapes]):
            yield f"{name}: prompts"
        if not _same([asked["new_tokens"]], sorted({one["new_tokens"]["value"] for one in shapes})):
            yield f"{name}: new_tokens"


def _parity_unlike(asked: Data, data: Data) -> Iterator[str]:
    if data["suite"] != asked["suite"]:
        yield "suite"
    if {name: one["model"] for name, one in data["runners"].items()} != asked["models"]:
        yield "runners"


def _calibration_unlike(asked: Data, data: Data) -> Iterator[str]:
    if data["split"] != asked["split"]:
        yield "split"
    if sorted((one["source"], one["rows"]["n"]) for one in data["sources"]) != sorted(asked["sources"].items()):
        yield "sources"
    layers = asked.get("activations", [])
    rounded = data.get("activations", {"rounded": {"n": 0}, "layers": []})
    names = sorted(one["layer"] for one in rounded["layers"])
    if names != sorted(layers) or rounded["rounded"]["n"] != len(layers):
        yield "activations"


def _training_unlike(asked: Data, data: Data) -> Iterator[str]:
    wanted, told = asked.get("qat"), data.get("qat")
    if not wanted or not told:
        if wanted or told:
            yield "rounded weights"
    else:
        if not _same(wanted["tensors"], [one["tensor"] for one in told["matrices"]]):
            yield "rounded matrices"
        for name in ("from_step", "learning_rate_factor"):
            if told[name]["value"] != wanted[name]:
                yield name
        steps, made = told["steps"], data["steps"]["value"]
        if steps.get("n") != made or steps.get("k") != max(made - wanted["from_step"], 0):
            yield "rounded steps"


UNLIKE: Mapping[str, Callable[[Any, Any], Iterator[str]]] = {
    "coreml.device": ondevice.unlike,
    "benchmark": _benchmark_unlike,
    "parity": _parity_unlike,
    "quantization.calibration": _calibration_unlike,
    "training": _training_unlike,
    "coreml.parity": lacking.parity,
    "quantization.ledger": lacking.ledger,
    "onnx.parity": lacking.onnx,
}
