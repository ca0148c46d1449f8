"""One obligation before and after → stronger, weaker or incomparable, by interval reasoning on thresholds and modes.

Stronger means: whatever passes now would have passed before. Where that cannot be shown, the two are incomparable,
which a reviewer reads like weaker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

Direction = Literal["", "stronger", "weaker", "incomparable"]
Rule = Mapping[str, Any]

_MODES = ("skip", "warn", "block")
#: what blocks the release alone asks for less than what blocks every step after it, and that less than what blocks all
_PHASES = ("release", "report", "pre-step", "plan", "compile")
_TAGS = ("estimated", "measured")


def direction(old: Rule | None, new: Rule | None) -> tuple[Direction, str]:
    """Which way a gate moved ("" where nothing of weight did) and what moved, in words. None: there is no such gate."""
    if old is None or new is None:
        rule = new if old is None else old
        assert rule is not None
        way: Direction = "" if rule["mode"] == "skip" else "stronger" if old is None else "weaker"
        return way, f"{rule['mode']}, {threshold(rule)}"
    moves = list(_moves(old, new))
    ways = {way for way, _ in moves if way}
    text = "; ".join(text for _, text in moves)
    if not ways:
        return "", text or "title or remedy"
    return (ways.pop() if len(ways) == 1 else "incomparable"), text


def threshold(rule: Rule) -> str:
    """What a rule asks for, short."""
    params, expect = rule.get("params", {}), rule.get("expect")
    if rule["kind"].startswith("bound@"):
        end = "" if params.get("on", "point") == "point" else f"{params['on']} end "
        return f"{end}{params.get('op')} {_plain(_limit(rule))} {params.get('unit', '')}".rstrip()
    if rule["kind"].startswith("relative@"):
        other = _plain(expect) if params.get("to") is None else params["to"]
        return f"{params.get('by')} to {other} {params.get('op')} {_plain(params.get('threshold'))}"
    if rule["kind"].startswith("dominance@"):
        return f"none above {params.get('factor')} times the others at {params.get('window')} points in a row"
    if rule["kind"].startswith("trend@"):
        return (
            f"{params.get('of')} of the last {params.get('window')} points {params.get('op')} {params.get('threshold')}"
        )
    if rule["kind"].startswith("regression@"):
        way = "lower" if params.get("better") == "higher" else "higher"
        return f"{params.get('by')} to the baseline {way} by at most {params.get('margin')}"
    if expect is not None:
        return f"expects {_plain(expect)}"
    return str(rule["kind"]).partition("@")[0]


def _moves(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    if old["mode"] != new["mode"]:
        yield _rank(_MODES, old["mode"], new["mode"]), f"mode {old['mode']} → {new['mode']}"
    if (was := old.get("phase", "report")) != (now := new.get("phase", "report")):
        yield _rank(_PHASES, was, now), f"phase {was} → {now}"
    if (was := old.get("effective_on", "")) != (now := new.get("effective_on", "")):
        yield (
            ("weaker" if now > was else "stronger"),
            f"blocks from {was or 'the beginning'} → {now or 'the beginning'}",
        )
    if (was := old.get("waivable")) != (now := new.get("waivable")):
        yield _waivable(was, now)
    if old["kind"] != new["kind"]:
        yield "incomparable", f"kind {old['kind']} → {new['kind']}"
        return
    if old["kind"].startswith("bound@"):
        yield from _bound(old, new)
    elif old["kind"].startswith("relative@"):
        yield from _relative(old, new)
    elif old.get("expect") != new.get("expect") or old["params"] != new["params"]:
        yield from _sets(old, new)


def _waivable(was: Rule | None, now: Rule | None) -> tuple[Direction, str]:
    """More that can be excused, by fewer, by more people, or for longer, is weaker."""
    if was is None or now is None:
        return ("weaker", "can be waived") if was is None else ("stronger", "can no longer be waived")
    ways = {
        _subset(now["outcomes"], was["outcomes"]),
        _count(was["min"], now["min"]),
        _count(now["max_days"], was["max_days"]),
        _subset([*now["approvers"].items()], [*was["approvers"].items()]),
        *(_sooner(was, now, name) for name in was["approvers"].keys() & now["approvers"].keys()),
    } - {""}
    keys = [key for key in ("outcomes", "min", "max_days", "approvers", "until") if was.get(key) != now.get(key)]
    return (ways.pop() if len(ways) == 1 else "incomparable"), f"waivable: {', '.join(keys)}"


def _sooner(was: Rule, now: Rule, name: str) -> Direction:
    """A key that ends earlier approves less; "~": it does not end."""
    before, after = (one.get("until", {}).get(name, "~") for one in (was, now))
    return "" if before == after else "stronger" if after < before else "weaker"


def _bound(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    before, after = old["params"], new["params"]
    if (before["op"], _limit(old)) != (after["op"], _limit(new)):
        way = _interval(before, after, _limit(old), _limit(new))
        yield way, f"{before['op']} {_plain(_limit(old))} → {after['op']} {_plain(_limit(new))}"
    if before.get("unit") != after.get("unit"):
        yield "incomparable", f"unit {before.get('unit')} → {after.get('unit')}"
    if before.get("on", "point") != after.get("on", "point"):
        was, now = before.get("on", "point"), after.get("on", "point")
        # `bound` gates on the unfavourable end only, so an end always asks for more than the point
        end: Direction = "stronger" if was == "point" else "weaker" if now == "point" else "incomparable"
        yield end, f"on {was} → {now}"
    yield from _need(before.get("need", {}), after.get("need", {}))
    if before.get("min_matches") != after.get("min_matches"):
        was, now = before.get("min_matches"), after.get("min_matches")
        yield _count(was, now), f"min_matches {_plain(was)} → {_plain(now)}"
    if before.get("metric") != after.get("metric"):
        yield _subset(before.get("metric"), after.get("metric")), f"metric {_items(before['metric'], after['metric'])}"
    known = {"op", "threshold", "unit", "on", "need", "min_matches", "metric"}
    if {k: v for k, v in before.items() if k not in known} != {k: v for k, v in after.items() if k not in known}:
        yield "incomparable", "other parameters"


def _relative(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    """With the same two sides a margin is a bound; with another side, or another way to compare, it is another gate."""
    before, after = old["params"], new["params"]
    if (before["op"], before["threshold"]) != (after["op"], after["threshold"]):
        way = _interval(old["params"], new["params"], before["threshold"], after["threshold"])
        yield way, f"{before['op']} {before['threshold']} → {after['op']} {after['threshold']}"
    yield from _need(before.get("need", {}), after.get("need", {}))
    known = {"op", "threshold", "need"}
    for key in sorted({*before, *after} - known):
        if before.get(key) != after.get(key):
            yield "incomparable", f"{key} {_plain(before.get(key))} → {_plain(after.get(key))}"
    for key in ("expect", "against"):
        if old.get(key) != new.get(key):
            yield "incomparable", f"{key} {_plain(old.get(key))} → {_plain(new.get(key))}"


def _need(was: Rule, now: Rule) -> Iterator[tuple[Direction, str]]:
    if was.get("tag") != now.get("tag"):
        yield _rank(_TAGS, was.get("tag"), now.get("tag")), f"need.tag {was.get('tag')} → {now.get('tag')}"
    if was.get("min_n") != now.get("min_n"):
        least, most = was.get("min_n"), now.get("min_n")
        yield _count(least, most), f"need.min_n {_plain(least)} → {_plain(most)}"


def _limit(rule: Rule) -> Any:
    declared = rule["params"].get("threshold")
    return rule.get("expect") if declared is None else declared


def _interval(old: Rule, new: Rule, was_limit: Any, now_limit: Any) -> Direction:
    """By the set of values that pass: inside the old set is stronger, around it is weaker."""
    try:
        was, now = _ends(old["op"], Decimal(str(was_limit))), _ends(new["op"], Decimal(str(now_limit)))
    except (InvalidOperation, KeyError):
        return "incomparable"
    inside, around = _within(now, was), _within(was, now)
    if inside and around:
        return ""
    return "stronger" if inside else "weaker" if around else "incomparable"


_Ends = tuple[tuple[Decimal, int], tuple[Decimal, int]]
_INFINITE = Decimal("Infinity")


def _ends(op: str, limit: Decimal) -> _Ends:
    """Lowest and highest value that pass; the second number moves an end that is itself left out by a hair."""
    low, high = (-_INFINITE, 0), (_INFINITE, 0)
    if op in (">=", "=="):
        low = (limit, 0)
    if op == ">":
        low = (limit, 1)
    if op in ("<=", "=="):
        high = (limit, 0)
    if op == "<":
        high = (limit, -1)
    return low, high


def _within(inner: _Ends, outer: _Ends) -> bool:
    return inner[0] >= outer[0] and inner[1] <= outer[1]


def _sets(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    """Kinds that ask for lists of things: more of them is stronger, unless exactly these are asked for. A list that is
    not there is an empty one."""
    before, after = old["params"], new["params"]
    exact = "equals" in (before.get("how"), after.get("how"))
    if old.get("expect") != new.get("expect"):
        way = "incomparable" if exact else _subset(old.get("expect"), new.get("expect"))
        yield way, f"expects {_plain(old.get('expect'))} → {_plain(new.get('expect'))}"
    for key in sorted({*before, *after}):
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        if key in ("at", "names", "measured"):
            yield _subset(was or [], now or []), f"{key} {_items(was, now)}"
        elif key == "quoted":
            # texts that may say anything: a longer list checks less
            yield _subset(now or [], was or []), f"{key} {_items(was, now)}"
        elif key == "how":
            yield _rank(("contains", "equals"), was, now), f"how {was} → {now}"
        elif key == "min_matches":
            yield _count(was, now), f"min_matches {_plain(was)} → {_plain(now)}"
        else:
            yield "incomparable", key


def _subset(old: Any, new: Any) -> Direction:
    if not isinstance(old, list) or not isinstance(new, list):
        return "incomparable"
    before, after = {str(item) for item in old}, {str(item) for item in new}
    if before == after:
        return ""
    return "stronger" if before < after else "weaker" if after < before else "incomparable"


def _count(old: Any, new: Any) -> Direction:
    """A least number of things; none is zero."""
    before, after = old or 0, new or 0
    if not isinstance(before, int) or not isinstance(after, int):
        return "incomparable"
    return "stronger" if after > before else "weaker" if after < before else ""


def _items(old: Any, new: Any) -> str:
    """What a list gained and lost."""
    before = [str(item) for item in old] if isinstance(old, list) else []
    after = [str(item) for item in new] if isinstance(new, list) else []
    gained = [f"+{item}" for item in after if item not in before]
    return " ".join(gained + [f"-{item}" for item in before if item not in after]) or "reordered"


def _rank(order: tuple[str, ...], old: object, new: object) -> Direction:
    if old not in order or new not in order:
        return "incomparable"
    return "stronger" if order.index(str(new)) > order.index(str(old)) else "weaker"


def number(value: float) -> str:
    """Every digit that tells it from its neighbours, and no fraction that is none: 2592000, 0.6, 2e-05."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return number(value) if isinstance(value, float) else "none" if value is None else str(value)
