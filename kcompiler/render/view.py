"""A plan, the committed one, its delta and its doubts → titled rows in the order people need them.

The forms (human, markdown) only lay these rows out, so that no form can forget a line that another one shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kcompiler.delta import Entry
from kcompiler.diagnostic import Diagnostic
from kcompiler.diff.difference import Change, compare, followers, short
from kcompiler.render import accounts
from kcompiler.render.fold import fold, label, pattern
from kcompiler.render.human import inert, shortened
from kcompiler.verifier import facts

if TYPE_CHECKING:
    from kcompiler.plan.silent import Silent

#: a bound on money is not called weak
_WAYS = {("budget", "weaker"): "HIGHER", ("budget", "stronger"): "LOWER"}
_SIGN = {"run": "~", "reuse": "=", "blocked": "!"}
#: rows of one section that people read; the rest is counted
_MOST = 200


@dataclass(frozen=True, kw_only=True)
class Section:
    """A titled block. Nothing in its rows can move a cursor."""

    title: str
    rows: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class View:
    """One answer of a verb: a line that says what it is about, then sections."""

    headline: str
    digest: str
    sections: Sequence[Section]


def plan_view(
    new: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    entries: Sequence[Entry],
    *,
    where: str,
    digest: str,
    old_digest: str = "",
    doubts: Sequence[Diagnostic] = (),
    told: Sequence[str] = (),
    kept: Mapping[str, str] | None = None,
    silent: Sequence[Silent] = (),
    accounted: accounts.Accounts = (),
    next_command: str,
    full: bool = False,
) -> View:
    """What a person must know before apply: trust, then steps, gates, disk, spend, and the next command.

    `told` says what the rows can tell of each margin, `kept` maps a step to the room that its artifact takes at most,
    by arithmetic; `silent` are the rules of the packs that ask nothing of this spec, `accounted` what
    is spent of each budget, set aside and left.
    """
    same = old == new
    changes = [] if old is None or same else compare(old, new)
    state = "new" if old is None else "unchanged" if same else "changed"
    if old_digest and state == "changed":
        state = f"{short(old_digest)} → {short(digest)}"
    targets = new["asked"].get("targets")
    sections = [
        Section(
            title="partial",
            rows=[f"only {', '.join(targets)} and what they need: no verdict can pass"] if targets else [],
        ),
        Section(title="trust", rows=_first(new) if old is None else rows_of([item for item in changes if item.trust])),
        Section(title="lock", rows=_lock(changes, full)),
        Section(title="steps", rows=steps(entries, _follow(old, new), full=full)),
        Section(
            title="gates",
            rows=[
                _gates(new["obligations"]),
                *_before(new["obligations"]),
                *_later(new["obligations"]),
                *told,
                *(f"! {item.summary} [{item.code}]" for item in doubts),
                *_silent(silent, full),
            ],
        ),
        Section(title="disk", rows=[f"{step}  {words}" for step, words in sorted((kept or {}).items())]),
        Section(
            title="spend", rows=[*spend(entries, new["budgets"], new.get("estimates", {})), *accounts.rows(accounted)]
        ),
        Section(title="next", rows=[next_command]),
    ]
    count = f"{len(new['steps'])} step{'s' if len(new['steps']) != 1 else ''}"
    headline = f"{new['asked']['name']}   {where}   {short(digest)}   {count}, {state}"
    return View(headline=inert(headline), digest=digest, sections=_cut(sections, full))


def _follow(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> set[str]:
    return set() if old is None else set(followers(old, new))


def _cut(sections: Iterable[Section], full: bool) -> list[Section]:
    found = []
    for section in sections:
        rows = [inert(row) for row in section.rows]
        if len(rows) > _MOST and not full:
            rows = [*rows[:_MOST], f"… and {len(rows) - _MOST} more rows, --full lists them"]
        if rows:
            found.append(Section(title=section.title, rows=rows))
    return found


def _first(plan: Mapping[str, Any]) -> list[str]:
    """Of a plan without a committed lock everything is new; what comes from outside is listed."""
    rows = [f"+ owner   {plan['asked']['owner']} answers for what is made"]
    for entry in plan["inputs"]:
        licence = f"  {entry['license']}" if entry["license"] else ""
        rows.append(
            f"+ input   {entry['name']}  {entry['path']}  {short(entry['digest'])}  {size(entry['bytes'])}{licence}"
        )
    rows += [f"+ policy  {item['pack']}@{item['version']}  {item['rules']} rules" for item in plan["policies"]]
    rows += [
        f"+ plugin  {item['room']}/{item['name']}  {item['distribution']} {item['version']}" for item in plan["plugins"]
    ]
    return rows


def rows_of(changes: Sequence[Change]) -> list[str]:
    """One row per change; equal changes of a gate on several reports, or of things that differ only by numbers, are
    folded."""
    groups = fold(changes, lambda item: (item.area, item.sign, _like(item), item.what, item.direction))
    names = [_named(group) for group in groups]
    width = min(max(map(len, names), default=0), 40)
    rows = []
    for name, group in zip(names, groups, strict=True):
        first = group[0]
        way = f"   {_WAYS.get((first.area, first.direction), first.direction.upper())}" if first.direction else ""
        rows.append(f"{first.sign} {first.area:<9} {name:<{width}}  {first.what}{way}".rstrip())
    return rows


def _like(change: Change) -> str:
    return change.name.partition(" on ")[0] if change.area == "gate" else pattern(change.name)


def _named(group: Sequence[Change]) -> str:
    if group[0].area == "gate" and len(group) > 1:
        return f"{_like(group[0])} on {len(group)} reports"
    return label([item.name for item in group])


def _lock(changes: Sequence[Change], full: bool) -> list[str]:
    """What changed in the lock besides trust. Schemas change together with the compiler: they are counted."""
    rest = [item for item in changes if not item.trust]
    schemas = [item for item in rest if item.area == "schema"]
    rows = rows_of([item for item in rest if full or item.area != "schema"])
    if schemas and not full:
        rows.append(f"~ {len(schemas)} published schema{'s' if len(schemas) > 1 else ''}")
    return rows


def steps(entries: Sequence[Entry], follow: set[str], *, full: bool) -> list[str]:
    """What would happen here: what runs or is blocked, folded; what is reused is counted unless `full`."""
    rows = []
    shown = [entry for entry in entries if full or entry.action != "reuse"]
    groups = (
        [[entry] for entry in shown]
        if full
        else fold(shown, lambda entry: (entry.action, entry.reason, pattern(entry.step), entry.step in follow))
    )
    names = [label([entry.step for entry in group]) for group in groups]
    width = min(max(map(len, names), default=0), 40)
    for name, group in zip(names, groups, strict=True):
        first = group[0]
        sign = ">" if first.action == "run" and first.reason == "upstream_changed" else _SIGN[first.action]
        why = shortened(first.why) if len({entry.why for entry in group}) == 1 else first.reason
        rows.append(f"{sign} {name:<{width}}  {first.action:<8}{why}")
    kept = [entry.step for entry in entries if entry.action == "reuse"]
    if kept and not full:
        named = f": {', '.join(kept)}" if len(kept) <= 6 else ""
        rows.append(f"= {len(kept)} step{'s' if len(kept) > 1 else ''} reused{named}")
    return rows


def _gates(obligations: Sequence[Mapping[str, Any]]) -> str:
    blocking = sum(1 for item in obligations if item["mode"] == "block")
    packs = sorted({item["pack"] for item in obligations})
    return f"{len(obligations)} obligations, {blocking} block ({', '.join(packs)})"


def _before(obligations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rules that have decided on this very plan, which would not be there, had one that blocks not passed; and those
    that decide right before a step begins."""
    rules = sorted({str(item["rule"]) for item in obligations if item.get("phase") in facts.KINDS})
    rows = [f"= {', '.join(rules)}: decided before any step runs"] if rules else []
    begun: dict[str, list[str]] = {}
    for item in obligations:
        if item.get("phase") == facts.PRE_STEP and item["mode"] != "skip":
            begun.setdefault(str(item["rule"]), []).append(str(item["from"]).partition(facts.start_of(""))[2])
    return [*rows, *(f"~ {rule} decides right before it begins: {label(begun[rule])}" for rule in sorted(begun))]


def _later(obligations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rules that do not block as soon as their report is there."""
    when = {item["rule"]: (item.get("effective_on", ""), item.get("phase", "report")) for item in obligations}
    rows = []
    for rule, (day, phase) in sorted(when.items()):
        told = [*([f"from {day} on"] if day else []), *(["where it is delivered"] if phase == "release" else [])]
        rows += [f"~ {rule} blocks {' and '.join(told)}"] if told else []
    return rows


def _silent(found: Sequence[Silent], full: bool) -> list[str]:
    """Rules that ask nothing of this spec: how many for each reason, or each by its name."""
    if full:
        return [f"- {one.rule} is not asked: {one.because}" for one in found]
    rows = []
    for group in fold(found, lambda one: one.because):
        count = len(group)
        whose = f"{count} rules are" if count > 1 else f"{group[0].rule} is"
        rows.append(f"- {whose} not asked: {group[0].because}")
    return rows


def spend(entries: Sequence[Entry], budgets: Mapping[str, Any], estimates: Mapping[str, Any]) -> list[str]:
    """The bounds, how long the steps that would run will take by what was recorded or by arithmetic, and how far the
    last estimates were from what was measured then."""
    known = [entry.forecast for entry in entries if entry.action == "run" and entry.forecast is not None]
    recorded = [one for one in known if one.by == "recorded"]
    running = sum(1 for entry in entries if entry.action == "run")
    bounds = ", ".join(f"{name} {short(value)}" for name, value in sorted(budgets.items()) if value is not None)
    rows = [f"limit      {bounds or 'none declared'}"]
    if not running:
        rows.append("estimated  nothing runs")
    elif recorded:
        missing = f", {running - len(recorded)} without a recorded time" if running > len(recorded) else ""
        total = sum(one.wall_s for one in recorded)
        rows.append(f"estimated  {total:.1f} s for {len(recorded)} of {running} steps to run, as recorded{missing}")
    else:
        rows.append(f"estimated  unavailable: none of the {running} steps to run has a recorded time")
    computed = [
        (entry.step, entry.forecast.wall_s)
        for entry in entries
        if entry.action == "run" and entry.forecast is not None and entry.forecast.by == "arithmetic"
    ]
    width = min(max((len(step) for step, _ in computed), default=0), 40)
    rows += [f"estimated  {step:<{width}}  {wall_s:,.0f} s: {estimates[step]['how']}" for step, wall_s in computed]
    limit = budgets.get("wall_s")
    if limit is not None and sum(one.wall_s for one in known) > limit:
        rows.append(f"! the estimated times exceed wall_s {short(limit)}")
    return rows + _errors(entries)


def _errors(entries: Sequence[Entry]) -> list[str]:
    """What was measured the last time beside what had been estimated for it."""
    found = [(entry.wall_s, entry.foreseen_s) for entry in entries if entry.wall_s and entry.foreseen_s is not None]
    took, foreseen = sum(pair[0] or 0.0 for pair in found), sum(pair[1] or 0.0 for pair in found)
    if not found:
        return []
    off = abs(took - foreseen) / took
    steps = f"{len(found)} step{'s' if len(found) > 1 else ''}"
    return [f"measured   {took:.1f} s the last time for {steps}, {foreseen:.1f} s had been estimated: {off:.0%} off"]


def diff_view(old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, str], digests: tuple[str, str]) -> View:
    """Two plans by meaning."""
    changes = compare(old, new)
    follow = followers(old, new)
    sections = [
        Section(title="trust", rows=rows_of([item for item in changes if item.trust])),
        Section(title="lock", rows=_lock(changes, full=True)),
        Section(title="follow", rows=[f"> {label(group)}" for group in fold(follow, pattern)]),
    ]
    state = "the same plan" if digests[0] == digests[1] else f"{short(digests[0])} → {short(digests[1])}"
    headline = f"{names[0]} → {names[1]}   {state}"
    return View(headline=inert(headline), digest=digests[1], sections=_cut(sections, full=False))


def size(count: int) -> str:
    """Bytes in the largest unit that keeps the number above one."""
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")
