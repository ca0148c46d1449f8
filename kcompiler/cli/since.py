"""Every pack of a project, and what the lock of each spec asks, now and in a revision of git → what became of it: a
stage of `ci` that nothing weaker passes without somebody who says why."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kcompiler import project
from kcompiler.cli import change
from kcompiler.cli.answer import Answer
from kcompiler.cli.outcome import Outcome

if TYPE_CHECKING:
    from kcompiler.diagnostic import Diagnostic
    from kcompiler.diff.difference import Change
    from kcompiler.diff.packs import Moved, Way
    from kcompiler.diff.places import Spot

Plan = Mapping[str, Any]
VERB = "policy diff"
#: budgets that are counted for a spec's name, whatever its plans (the others are of the plan at hand)
_OF_A_NAME = ("usd", "gpu_hours", "training_tokens", "teacher_tokens", "teacher_calls")


def held_to(
    answer: Answer, revision: str, allowed: Mapping[str, str], specs: Sequence[Path], profile: str = ""
) -> None:
    """Compare the packs, and what the locks of `specs` ask, and put what moved into the answer. `allowed` maps
    `PACK/RULE` to why it may be weaker. Raises Outcome: 1 where something is weaker, gone or cannot be compared and
    nobody says why; 2 where there is no such revision, or a pack or a lock of it cannot be read."""
    moved = [(f"{pack}/{one.rule}", one) for pack, one in _moved(answer.home, revision)]
    same = sum(one.way == "same" for _, one in moved)
    moved = [(name, one) for name, one in moved if one.way != "same"]
    asked = list(_asked(answer.home, revision, specs))
    for spec in specs:
        place = answer.home.shown(spec)
        asked += [_Asked(place, place, place, one) for one in change.moved(answer.home, spec, profile, revision)]
    weaker = {name for name, one in moved if one.weakens} | {one.moved.rule for one in asked if one.moved.weakens}
    refuse_others(allowed, weaker, f" than in {revision}")
    rows = [(name, one) for name, one in moved] + [(one.moved.rule, one.moved) for one in asked]
    said = {
        name: [
            f"{one.way:<12}  {name}  {one.what}{f'  allowed: {allowed[name]}' if name in allowed else ''}"
            for other, one in rows
            if other == name
        ]
        for name, _ in rows
    }
    behind = _left_behind(answer.home)
    answer.sections = [
        ("packs", [*(row for each in said.values() for row in each), f"{same} rules are as in {revision}"]),
        ("left behind", [f"{place} is of {spec}, which is not there: remove it" for place, spec in behind.items()]),
    ]
    answer.data = {
        "base": revision,
        "rules": [_row(name, one, allowed) for name, one in moved],
        "left_behind": list(behind),
        "asked": [{"lock": one.now or one.then, **_row(one.moved.rule, one.moved, allowed)} for one in asked],
    }
    left = sorted(weaker - set(allowed))
    if left:
        pack = next((name for name, one in moved if name in left and one.weakens), "").rpartition("/")[0]
        lock = next((one for one in asked if one.moved.rule in left), None)
        again = f"kcompiler policy diff {revision}:{pack} {pack}"
        if not pack and lock is not None:
            again = f"kcompiler diff --exit-code {revision}:./{lock.then} {lock.now}"
            again = again if lock.now else f"git show {revision}:./{lock.spec}"
            # a bound on a change stands in the spec alone
            again = f"git diff {revision} -- {lock.spec}" if lock.now == lock.spec else again
        spots = {name: one.at for name, one in moved if one.weakens and one.at is not None}
        spec_of = {one.moved.rule: one.spec for one in asked}
        found = []
        for name in left:
            spot = spots.get(name) or _in_spec(answer.home, name, spec_of.get(name, ""), profile)
            file = next((one for one in (spec_of.get(name), *map(answer.home.shown, specs)) if one), "")
            found.append(_mistake(answer.home, name, said[name], spot, file, revision))
        answer.found(found)
        raise Outcome(1, "weaker", again, "\n".join(row for name in left for row in said[name]))


def _mistake(
    home: project.Project, name: str, rows: Sequence[str], spot: Spot | None, file: str, revision: str
) -> Diagnostic:
    """What is weaker, at the line that says so now; where it is gone, at the file as a whole that had it: the pack's,
    or that which is asked, `file`."""
    from kcompiler.diagnostic import Diagnostic

    code, summary = "KC6070", f"`{name}` is weaker than in {revision}"
    detail = "\n".join(" ".join(row.split()) for row in rows)
    help = f"take it back, or say why: --allow-weaker {name} WHY"
    # a rule that a pack takes over lies in the one below, which may be a shipped one
    if spot is not None and (home.root / spot.tree.file_of(spot.pointer)).is_file():
        if spot.pointer:
            return spot.tree.diagnostic(code, spot.pointer, summary, on="key", detail=detail, help=help)
        file = spot.tree.file
    elif (home.root / f"policies/{name.rpartition('/')[0]}/pack.yaml").is_file():
        file = f"policies/{name.rpartition('/')[0]}/pack.yaml"
    return Diagnostic(code=code, summary=summary, file=file, detail=detail, help=help)


def _in_spec(home: project.Project, name: str, spec: str, profile: str) -> Spot | None:
    """What a spec says now of what was asked of it and is weaker: a budget, the tier, its name, or which packs."""
    from kcompiler.diff.places import Spot

    tree = change.composed(home.root, home.root / spec, profile) if spec else None
    if tree is None or not isinstance(tree.data, dict):
        return None
    what, packs = name.rpartition("/")[2], tree.data.get("policies")
    pointer = {"risk_tier": "/risk_tier", "name": "/metadata/name"}.get(what, "")
    if what.startswith("budgets."):
        pointer = f"/budgets/{what.removeprefix('budgets.')}"
    elif not pointer and what != "spec" and isinstance(packs, list):
        pack = name.rpartition("/")[0]
        pointer = f"/policies/{packs.index(pack)}" if pack in packs else "/policies"
    return Spot(tree, pointer if pointer in tree.values else "")


def refuse_others(allowed: Iterable[str], weaker: Set[str], than: str = "") -> None:
    """Raises UsageError where --allow-weaker names what is not weaker; it says which names are."""
    strange = sorted(set(allowed) - weaker)
    if strange:
        known = f"; what is: {', '.join(sorted(weaker))}" if weaker else "; nothing is"
        raise click.UsageError(f"--allow-weaker {strange[0]}: that is not weaker{than}{known}")


def _row(name: str, one: Moved, allowed: Mapping[str, str]) -> dict[str, Any]:
    why = allowed.get(name)
    return {"rule": name, "way": one.way, "what": one.what, "weakens": one.weakens, "allowed": why}


class _Asked(NamedTuple):
    """What became of something that a lock asked: `then` and `now` are its places, "" where there is none now."""

    then: str
    now: str
    spec: str
    moved: Moved


def _asked(home: project.Project, revision: str, specs: Sequence[Path]) -> Iterator[_Asked]:
    """What became of everything that the locks which were committed then asked of specs. A lock is held to the one that
    lay at its place, and to that of its spec under another name. A spec that is gone is held against the new one that
    is most like it, each new one against one; with none left it is gone. That the lock of today is that of today's
    spec, and is there, is `plan --check`'s to say: of the `specs` at hand."""
    from kcompiler.cli.revision import files, locks
    from kcompiler.diff.difference import compare

    listed = files(home.root, revision)
    then = locks(listed)
    if not then:
        return
    now = {place: plan for place, plan in _locks(home) if (home.root / plan["asked"]["spec"]).exists()}
    shown = [home.shown(spec) for spec in specs]
    new = {place for place in now if place not in then}
    gone: dict[str, dict[str, Plan]] = {}
    for place in then:
        if place in now:
            if now[place]["asked"]["spec"] in shown:
                yield from _between(place, _then(home, revision, place), place, now[place])
            continue
        was = _then(home, revision, place)
        path = str(was["asked"]["spec"])
        same = [one for one, lock in now.items() if lock["asked"]["spec"] == path and _form(one) == _form(place)]
        new.difference_update(same)
        if path in shown:
            for one in same:
                yield from _between(place, was, one, now[one])
        elif path in listed and not (home.root / path).exists():
            gone.setdefault(path, {})[place] = was
    fresh = {path: [one for one in now if now[one]["asked"]["spec"] == path] for path in shown}
    fresh = {path: ours for path, ours in fresh.items() if ours and new.issuperset(ours)}
    pairs = {
        (path, other): [(old, one) for old in gone[path] for one in fresh[other] if _form(old) == _form(one)]
        for path in gone
        for other in fresh
    }
    cost = {
        pair: sum(len(compare(gone[pair[0]][old], now[one])) for old, one in places)
        for pair, places in pairs.items()
        if places
    }
    while cost:
        path, other = min(cost, key=lambda pair: (cost[pair], pair))
        for old, one in pairs[path, other]:
            yield from _between(old, gone[path][old], one, now[one])
        cost = {pair: count for pair, count in cost.items() if pair[0] != path and pair[1] != other}
        del gone[path]
    for path, old_locks in sorted(gone.items()):
        for place, was in sorted(old_locks.items()):
            blocks = sum(one["mode"] == "block" for one in was.get("obligations", []))
            what = f"{path} is gone, and no spec that is new takes its place; {blocks} rules blocked it"
            row = _moved_row(f"{_name(place)}/spec", "removed", what, True)
            yield _Asked(place, "", path, row)


def _locks(home: project.Project) -> Iterator[tuple[str, Plan]]:
    """Place → lock, of those that lie here now and can be read."""
    from kcompiler import lock
    from kcompiler.cli.views import readable

    for path in sorted((home.root / "generated").glob("*/plan.lock")):
        try:
            yield home.shown(path), readable(lock.read(path), home.shown(path))
        except lock.UnreadableLock:
            continue  # `plan --check` says so


def _left_behind(home: project.Project) -> dict[str, str]:
    """Place of a lock → its spec, where that is not there."""
    return {
        place: str(plan["asked"]["spec"])
        for place, plan in _locks(home)
        if not (home.root / plan["asked"]["spec"]).exists()
    }


def _then(home: project.Project, revision: str, place: str) -> Plan:
    """A lock as it was committed then. Raises Outcome."""
    from kcompiler import lock
    from kcompiler.cli.revision import text
    from kcompiler.cli.views import readable

    data = text(home.root, revision, place)
    try:
        return readable(lock.load(data.decode("utf-8")), f"{revision}:{place}")
    except (lock.UnreadableLock, UnicodeDecodeError) as why:
        said = f"{revision}:{place}: cannot be read as a lock: {why}"
        raise Outcome(2, "unreadable", "name a revision whose lock this version reads by --base", said) from None


def _between(then: str, was: Plan, now: str, plan: Plan) -> Iterator[_Asked]:
    """What moved between two locks: what weighs, and the name where money was counted for it."""
    from kcompiler.diff.difference import compare

    name, spec = str(plan["asked"]["name"]), str(plan["asked"]["spec"])
    for each in compare(was, plan):
        if (found := _of_trust(each, name)) is not None:
            yield _Asked(then, now, spec, found)
    counted = sorted(key for key in _OF_A_NAME if was.get("budgets", {}).get(key))
    if then != now and counted:
        what = f"{_name(then)} → {_name(now)}: {', '.join(counted)} that were spent for the old name count no more"
        yield _Asked(then, now, spec, _moved_row(f"{name}/name", "weaker", what, True))


def _moved_row(rule: str, way: Way, what: str, weakens: bool) -> Moved:
    from kcompiler.diff.packs import Moved

    return Moved(rule=rule, way=way, what=what, weakens=weakens)


def _name(place: str) -> str:
    return place.split("/")[1]


def _form(place: str) -> str:
    """The profile or the cell of a sweep that a lock is of."""
    return _name(place).partition("@")[2]


def _of_trust(change: Change, name: str) -> Moved | None:
    """An obligation, an approval, the tier or a budget of the spec `name` that moved; None for anything else."""
    if not change.direction:
        return None
    if change.area == "gate":
        rule, _, step = change.name.partition(" on ")
        what = f"asked of {name} on {step}: {change.what}"
    elif change.area == "policy" and change.path.startswith("approval."):
        rule, what = f"{change.name}/pack.yaml", f"asked of {name}: {change.what}"
    elif change.area == "asked" and change.name == "risk_tier":
        rule, what = f"{name}/risk_tier", change.what
    elif change.area == "budget":
        rule, what = f"{name}/budgets.{change.name}", change.what
    else:
        return None
    way: Way = "removed" if change.sign == "-" else "added" if change.sign == "+" else change.direction
    return _moved_row(rule, way, what, change.direction != "stronger")


def _moved(home: project.Project, revision: str) -> list[tuple[str, Moved]]:
    """(pack, what became of a rule) of every pack that is there now or was there then."""
    from kcompiler import assets
    from kcompiler.cli.packs import laid_out, loaded, then_and_shipped
    from kcompiler.cli.revision import git
    from kcompiler.diff.packs import compare, gone
    from kcompiler.policy import available, load

    own, shipped = home.root / "policies", assets.folder("policies")
    found: list[tuple[str, Moved]] = []
    with tempfile.TemporaryDirectory() as scratch:
        # a revision that is none ends here; one without packs has nothing that could be weaker now
        listed = git("ls-tree", revision, at=home.root).decode("utf-8", "replace").splitlines()
        if not any(line.endswith("\tpolicies") for line in listed):
            return []
        then = laid_out(revision, Path(scratch), home.root)
        before, now = available([then]), available([own]) if own.is_dir() else []
        roots = then_and_shipped(then)
        for name in sorted({*before, *now}):
            if name not in before:
                continue
            old = loaded(load([name], roots), home.root)
            if name in now:
                found += [(name, one) for one in compare(old, loaded(load([name], [own, shipped]), home.root))]
            else:
                found += [(name, one) for one in gone(old)]
    return found
