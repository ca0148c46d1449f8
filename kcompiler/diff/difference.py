"""Two plans → what changed in meaning: inputs, gates with their direction, code, budgets, parameters by dotted path.

A reviewer of a lock of three thousand lines needs the ten that change trust (plan-apply-policy.md, section 6 no. 14):
every change says whether it is one of those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal

from kcompiler.diff import approval
from kcompiler.diff.direction import Direction, direction, number
from kcompiler.lock import ABSENT, changed

#: beginning of the kinds of reports that are about the student's answers
_JUDGED = "eval."
#: where the sources of rows of a data step stand, each by its name
_SOURCES = "params.sources."
Plan = Mapping[str, Any]
Area = Literal["asked", "input", "policy", "waiver", "gate", "plugin", "toolchain", "code", "schema", "budget", "step"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that differs. `sign` is + for new, - for gone, ~ for changed; `trust` marks what a reviewer must see.

    `path`, `old` and `new` are of a changed value: a dotted path below the thing, and both values.
    """

    area: Area
    sign: Literal["+", "-", "~"]
    name: str
    what: str
    direction: Direction = ""
    trust: bool = False
    path: str = ""
    old: Any = None
    new: Any = None


def compare(old: Plan, new: Plan) -> list[Change]:
    """Every change, those of trust first; inside that in a fixed order: by area, then by name."""
    found = [
        *_asked(old, new),
        *_named(old, new, "inputs", "input", "name"),
        *_named(old, new, "policies", "policy", "pack"),
        *_waivers(old, new),
        *_gates(old, new),
        *_named(old, new, "plugins", "plugin", "name"),
        *_versions(old, new),
        *_code(old, new),
        *_schemas(old, new),
        *_budgets(old, new),
        *_steps(old, new),
    ]
    return [item for item in found if item.trust] + [item for item in found if not item.trust]


def short(value: object) -> str:
    """A digest by its first and last digits, a list by its items, anything else as it is written."""
    if isinstance(value, str) and value.startswith("sha256:") and len(value) == 71:
        return f"{value[7:15]}…{value[-4:]}"
    if isinstance(value, float):
        return number(value)
    if value is None:
        return "(none)"
    if isinstance(value, list):
        return ", ".join(map(short, value)) or "(empty)"
    return value if isinstance(value, str) else str(value)


def moved(old: object, new: object) -> str:
    """ "old → new", long values cut."""
    return " → ".join(text if len(text) <= 60 else f"{text[:59]}…" for text in (short(old), short(new)))


def _leaves(old: object, new: object) -> Iterator[tuple[str, Any, Any]]:
    """(dotted path, old, new) of every leaf that differs; a side without it has ABSENT."""
    for path, was, now in changed(old, new, ""):
        yield path.lstrip("."), was, now


def _json(value: Any) -> Any:
    """A value for programs: what is absent is null there, and the text says which it was."""
    return None if value is ABSENT else value


def _asked(old: Plan, new: Plan) -> Iterator[Change]:
    before, after = old.get("asked", {}), new.get("asked", {})
    for key in sorted({*before, *after}):
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        weaker: Direction = ""
        if key == "risk_tier" and isinstance(was, int) and isinstance(now, int):
            # tier 1 ships to people and has the strictest packs
            weaker = "weaker" if now > was else "stronger"
        if key == "targets":
            weaker = "weaker" if now else "stronger"
        yield Change(
            area="asked",
            sign="~",
            name=key,
            what=moved(was, now),
            direction=weaker,
            trust=bool(weaker) or key == "owner",
            path=key,
            old=was,
            new=now,
        )


def _named(
    old: Plan, new: Plan, section: str, area: Literal["input", "policy", "plugin"], key: str
) -> Iterator[Change]:
    """Entries of a list by name: all of them are trust."""
    before = {entry[key]: entry for entry in old.get(section, [])}
    after = {entry[key]: entry for entry in new.get(section, [])}
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            entry = was or now or {}
            parts = [short(entry[part]) for part in ("path", "version", "digest", "code", "license") if entry.get(part)]
            yield Change(area=area, sign="+" if was is None else "-", name=name, what="  ".join(parts), trust=True)
        yield from _approval(area, name, was or {}, now or {})
        if was is None or now is None:
            continue
        for dotted, value, other in _leaves(*({k: v for k, v in one.items() if k != "approval"} for one in (was, now))):
            yield Change(
                area=area,
                sign="~",
                name=name,
                what=f"{dotted} {moved(value, other)}",
                trust=True,
                path=dotted,
                old=_json(value),
                new=_json(other),
            )


def _approval(area: Area, name: str, was: Plan, now: Plan) -> Iterator[Change]:
    """Who must sign the lock: of a pack that comes or goes as well."""
    for one in approval.moves(was.get("approval"), now.get("approval")):
        yield Change(
            area=area,
            sign="~",
            name=name,
            what=f"{one.path} {moved(one.old, one.new)}",
            direction=one.direction,
            trust=True,
            path=one.path,
            old=one.old,
            new=one.new,
        )


def _waivers(old: Plan, new: Plan) -> Iterator[Change]:
    """A waiver more may let something pass; one less cannot."""
    before = {entry["id"]: entry for entry in old.get("waivers", [])}
    after = {entry["id"]: entry for entry in new.get("waivers", [])}
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        entry = now or was or {}
        gained: Direction = "weaker" if was is None else "stronger" if now is None else "incomparable"
        yield Change(
            area="waiver",
            sign="+" if was is None else "-" if now is None else "~",
            name=name,
            what=f"{', '.join(entry['rules'])} until {entry['until']}  {short(entry['digest'])}",
            direction=gained,
            trust=True,
        )


def _gates(old: Plan, new: Plan) -> Iterator[Change]:
    before = {(item["rule"], item["from"], item["report"]): item for item in old.get("obligations", [])}
    after = {(item["rule"], item["from"], item["report"]): item for item in new.get("obligations", [])}
    for key in sorted({*before, *after}):
        was, now = before.get(key), after.get(key)
        if was is not None and now is not None and {**was, "pack": ""} == {**now, "pack": ""}:
            continue
        way, what = direction(was, now)
        yield Change(
            area="gate",
            sign="+" if was is None else "-" if now is None else "~",
            name=f"{key[0]} on {key[1].removeprefix('step:')}",
            what=what,
            direction=way,
            trust=way != "",
        )


def _versions(old: Plan, new: Plan) -> Iterator[Change]:
    # the name of a distribution may hold a dot: these are keys, not paths
    before, after = old.get("toolchain", {}), new.get("toolchain", {})
    for name in sorted({*before, *after}):
        was, now = before.get(name, ABSENT), after.get(name, ABSENT)
        if was == now:
            continue
        sign: Literal["+", "-", "~"] = "+" if was is ABSENT else "-" if now is ABSENT else "~"
        what = moved(was, now)
        yield Change(area="toolchain", sign=sign, name=name, what=what, trust=True, old=_json(was), new=_json(now))
    made, remade = old.get("made_by"), new.get("made_by")
    if made != remade:
        versions = [str((item or {}).get("version")) for item in (made, remade)]
        yield Change(area="toolchain", sign="~", name="kcompiler", what=moved(*versions), trust=True)


def _code(old: Plan, new: Plan) -> Iterator[Change]:
    """Steps whose code differs, counted by their kind: one file usually changes many steps."""
    before = {step["id"]: step for step in old.get("steps", [])}
    counted: dict[str, list[str]] = {}
    for step in new.get("steps", []):
        was = before.get(step["id"])
        if was is not None and was["kind"] == step["kind"] and was["code"] != step["code"]:
            counted.setdefault(step["kind"], []).append(step["id"])
    for kind, ids in sorted(counted.items()):
        several = ids[0] if len(ids) == 1 else f"{len(ids)} steps"
        yield Change(area="code", sign="~", name=kind, what=f"of {several}", trust=True)


def _schemas(old: Plan, new: Plan) -> Iterator[Change]:
    before = {item["id"]: item["digest"] for item in old.get("schemas", [])}
    after = {item["id"]: item["digest"] for item in new.get("schemas", [])}
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            sign: Literal["+", "-", "~"] = "+" if name not in before else "-" if name not in after else "~"
            yield Change(area="schema", sign=sign, name=name, what=moved(before.get(name), after.get(name)))


def _budgets(old: Plan, new: Plan) -> Iterator[Change]:
    before, after = old.get("budgets", {}), new.get("budgets", {})
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        # no bound at all is the highest
        higher = now is None or (was is not None and now > was)
        yield Change(
            area="budget",
            sign="~",
            name=name,
            what=moved(was, now),
            direction="weaker" if higher else "stronger",
            trust=higher,
            path=name,
            old=was,
            new=now,
        )


def _steps(old: Plan, new: Plan) -> Iterator[Change]:
    before = {step["id"]: step for step in old.get("steps", [])}
    after = {step["id"]: step for step in new.get("steps", [])}
    for name in [*before, *(name for name in after if name not in before)]:
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            kind = (was or now or {}).get("kind", "")
            yield Change(area="step", sign="+" if was is None else "-", name=name, what=kind)
            continue
        yield from _step(name, was, now)


def _step(name: str, was: Plan, now: Plan) -> Iterator[Change]:
    skipped = {"derivation", "code"} if was.get("kind") == now.get("kind") else {"derivation"}
    sides = [_by_name({k: v for k, v in side.items() if k not in skipped}) for side in (was, now)]
    judging = _judging(was) | _judging(now)
    judges = any(str(give.get("report", "")).startswith(_JUDGED) for give in now.get("gives", {}).values())
    for dotted, value, other in _leaves(sides[0], sides[1]):
        way = _evidence(dotted, value, other, judges, judging)
        yield Change(
            area="step",
            sign="~",
            name=name,
            what=f"{dotted} {moved(value, other)}",
            direction=way,
            # another backend or a weaker promise is another way of making the same thing
            trust=bool(way)
            or dotted in ("backend", "promise")
            or dotted.startswith("tolerance")
            or dotted.startswith("unkeyed")
            or (dotted.startswith(_SOURCES) and dotted.endswith(".license")),
            path=dotted,
            old=_json(value),
            new=_json(other),
        )


def _by_name(step: Plan) -> dict[str, Any]:
    """A step whose sources of rows stand by their names, so that one more moves no other."""
    params = step.get("params", {})
    sources = params.get("sources")
    if not isinstance(sources, list) or not all(isinstance(one, dict) and "name" in one for one in sources):
        return dict(step)
    return {**step, "params": {**params, "sources": {one["name"]: one for one in sources}}}


def _judging(step: Plan) -> set[str]:
    """Names of the sources that feed the test split of a data step."""
    named = _by_name(step).get("params", {}).get("sources")
    # a step that only counts the rows of its sources says of each a number
    if not isinstance(named, dict) or not all(isinstance(one, dict) for one in named.values()):
        return set()
    return {name for name, one in named.items() if one.get("split") not in ("train", "validation")}


def _evidence(dotted: str, old: object, new: object, judges: bool, judging: Set[str]) -> Direction:
    """Which way a parameter moves what gates are measured on; "" for one that only moves what is measured.

    `judges`: the step asks the student; `judging`: sources whose rows are asked.
    """
    if dotted == "params.held_out" and isinstance(old, int | float) and isinstance(new, int | float):
        return "weaker" if new < old else "stronger"
    source, _, key = dotted.removeprefix(_SOURCES).partition(".")
    asked = dotted.startswith(_SOURCES) and source in judging and key != "license"
    return "incomparable" if asked or (judges and dotted.startswith("params.")) else ""


def followers(old: Plan, new: Plan) -> list[str]:
    """Ids of steps whose own text is the same and whose derivation differs: they follow a change before them."""
    before = {step["id"]: step for step in old.get("steps", [])}
    found = []
    for step in new.get("steps", []):
        was = before.get(step["id"])
        if was is not None and was["derivation"] != step["derivation"]:
            own = {key: value for key, value in was.items() if key != "derivation"}
            if own == {key: value for key, value in step.items() if key != "derivation"}:
                found.append(step["id"])
    return found
