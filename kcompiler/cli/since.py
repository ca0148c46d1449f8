"""Every pack of a project, and what the lock of each spec asks, now and in a revision of git → what became of it: a
stage of `ci` that nothing weaker passes without somebody who says why."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli import asked as asking
from kcompiler.cli import change, revoked
from kcompiler.cli.answer import Answer
from kcompiler.cli.outcome import Outcome

if TYPE_CHECKING:
    from kcompiler.diagnostic import Diagnostic
    from kcompiler.diff.packs import Moved
    from kcompiler.diff.places import Spot

VERB = "policy diff"


def held_to(
    answer: Answer, revision: str, allowed: Mapping[str, str], specs: Sequence[Path], profile: str = ""
) -> None:
    """Compare the packs, and what the locks of `specs` ask, and put what moved into the answer. `allowed` maps
    `PACK/RULE` to why it may be weaker. Raises Outcome: 1 where something is weaker, gone or cannot be compared and
    nobody says why; 2 where there is no such revision, or a pack or a lock of it cannot be read."""
    for spec in specs:
        if (other := project.find(spec).root) != answer.home.root:
            both = f"{spec} is of the project {other}, {specs[0]} of {answer.home.root}: with --base, name those of one"
            raise click.UsageError(both)
    moved = [(f"{pack}/{one.rule}", one) for pack, one in _moved(answer.home, revision)]
    same = sum(one.way == "same" for _, one in moved)
    moved = [(name, one) for name, one in moved if one.way != "same"]
    asked = list(asking.asked(answer.home, revision, specs, profile))
    asked += revoked.undone(answer.home, revision)
    for spec in specs:
        place = answer.home.shown(spec)
        asked += [asking.Asked(place, place, place, one) for one in change.moved(answer.home, spec, profile, revision)]
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
    behind = asking.left_behind(answer.home)
    answer.sections = [
        ("packs", [*(row for each in said.values() for row in each), f"{same} rules are as in {revision}"]),
        ("left behind", [f"{place} is {why}: remove it" for place, why in behind.items()]),
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
