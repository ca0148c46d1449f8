"""Every pack of a project, and what the lock of each spec asks, now and in a revision of git → what became of it: a
stage of `ci` that nothing weaker passes without somebody who says why."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli import change
from kcompiler.cli.answer import Answer
from kcompiler.cli.outcome import Outcome

if TYPE_CHECKING:
    from kcompiler.diff.difference import Change
    from kcompiler.diff.packs import Moved, Way

VERB = "policy diff"


def held_to(
    answer: Answer, revision: str, allowed: Mapping[str, str], specs: Sequence[Path], profile: str = ""
) -> None:
    """Compare the packs, and what the locks of `specs` ask, and put what moved into the answer. `allowed` maps
    `PACK/RULE` to why it may be weaker. Raises Outcome: 1 where something is weaker, gone or cannot be compared and
    nobody says why; 2 where there is no such revision, or a pack or a lock of it cannot be read."""
    moved = [(f"{pack}/{one.rule}", one) for pack, one in _moved(answer.home, revision)]
    same = sum(one.way == "same" for _, one in moved)
    moved = [(name, one) for name, one in moved if one.way != "same"]
    asked = [(lock, one) for spec in specs for lock, one in _asked(answer.home, revision, spec)]
    sizes = [(spec, one) for spec in specs for one in change.moved(answer.home, spec, profile, revision)]
    asked += [(answer.home.shown(spec), one) for spec, one in sizes]
    weaker = {name for name, one in moved if one.weakens} | {one.rule for _, one in asked if one.weakens}
    refuse_others(allowed, weaker, f" than in {revision}")
    rows = [(name, one) for name, one in moved] + [(one.rule, one) for _, one in asked]
    said = {
        name: [
            f"{one.way:<12}  {name}  {one.what}{f'  allowed: {allowed[name]}' if name in allowed else ''}"
            for other, one in rows
            if other == name
        ]
        for name, _ in rows
    }
    answer.sections = [
        ("packs", [*(row for each in said.values() for row in each), f"{same} rules are as in {revision}"])
    ]
    answer.data = {
        "base": revision,
        "rules": [_row(name, one, allowed) for name, one in moved],
        "asked": [{"lock": place, **_row(one.rule, one, allowed)} for place, one in asked],
    }
    left = sorted(weaker - set(allowed))
    if left:
        pack = next((name for name, one in moved if name in left and one.weakens), "").rpartition("/")[0]
        lock = next((lock for lock, one in asked if one.rule in left), "")
        again = f"policy diff {revision}:{pack} {pack}" if pack else f"diff --exit-code {revision}:./{lock} {lock}"
        following = f"kcompiler {again}" if pack or lock.endswith(".lock") else f"git diff {revision} -- {lock}"
        raise Outcome(1, "weaker", following, "\n".join(row for name in left for row in said[name]))


def refuse_others(allowed: Iterable[str], weaker: Set[str], than: str = "") -> None:
    """Raises UsageError where --allow-weaker names what is not weaker; it says which names are."""
    strange = sorted(set(allowed) - weaker)
    if strange:
        known = f"; what is: {', '.join(sorted(weaker))}" if weaker else "; nothing is"
        raise click.UsageError(f"--allow-weaker {strange[0]}: that is not weaker{than}{known}")


def _row(name: str, one: Moved, allowed: Mapping[str, str]) -> dict[str, Any]:
    why = allowed.get(name)
    return {"rule": name, "way": one.way, "what": one.what, "weakens": one.weakens, "allowed": why}


def _asked(home: project.Project, revision: str, spec: Path) -> Iterator[tuple[str, Moved]]:
    """(place of a lock, what became of something that it asked of a spec), by the lock that was committed then. A spec
    that is called otherwise now is held to what it was asked under its old name, and one that lies elsewhere by its
    name. That the lock of today is that of today's spec, and is there, is `plan --check`'s to say."""
    from kcompiler import lock
    from kcompiler.cli.views import git, readable
    from kcompiler.diff.difference import compare

    listed = git("ls-tree", revision, options=["-rz", "--name-only"], at=str(home.root)).decode("utf-8", "replace")
    places = [line for line in listed.split("\0") if re.fullmatch(r"generated/[^/]+/plan\.lock", line)]
    if not places:
        return

    def then(place: str) -> dict[str, Any]:
        data = git("show", f"{revision}:./{place}", at=str(home.root))
        try:
            return readable(lock.load(data.decode("utf-8")), f"{revision}:{place}")
        except (lock.UnreadableLock, UnicodeDecodeError) as why:
            said = f"{revision}:{place}: cannot be read as a lock: {why}"
            raise Outcome(2, "unreadable", "name a revision whose lock this version reads by --base", said) from None

    shown = home.shown(spec)
    for path in sorted((home.root / "generated").glob("*/plan.lock")):
        try:
            now = lock.read(path)
        except lock.UnreadableLock:
            continue  # `plan --check` says so
        if now["asked"]["spec"] != shown:
            continue
        place = home.shown(path)
        if place in places:
            before = [then(place)]
        else:
            form = str(now["asked"]["name"]).partition("@")[2]
            every = [then(one) for one in places if _form(one) == form]
            before = [one for one in every if one["asked"]["spec"] == shown]
        for one in before:
            for each in compare(one, readable(now, place)):
                if (found := _of_trust(each, str(now["asked"]["name"]))) is not None:
                    yield place, found


def _form(place: str) -> str:
    """The profile or the cell of a sweep that a lock is of."""
    return place.split("/")[1].partition("@")[2]


def _of_trust(change: Change, name: str) -> Moved | None:
    """An obligation, an approval or the tier of the spec `name` that moved; None for anything else."""
    from kcompiler.diff.packs import Moved

    if not change.direction:
        return None
    if change.area == "gate":
        rule, _, step = change.name.partition(" on ")
        what = f"asked of {name} on {step}: {change.what}"
    elif change.area == "policy" and change.path.startswith("approval."):
        rule, what = f"{change.name}/pack.yaml", f"asked of {name}: {change.what}"
    elif change.area == "asked" and change.name == "risk_tier":
        rule, what = f"{name}/risk_tier", change.what
    else:
        return None
    way: Way = "removed" if change.sign == "-" else "added" if change.sign == "+" else change.direction
    return Moved(rule=rule, way=way, what=what, weakens=change.direction != "stronger")


def _moved(home: project.Project, revision: str) -> list[tuple[str, Moved]]:
    """(pack, what became of a rule) of every pack that is there now or was there then."""
    from kcompiler import assets
    from kcompiler.cli.packs import laid_out, loaded, then_and_shipped
    from kcompiler.cli.views import git
    from kcompiler.diff.packs import compare, gone
    from kcompiler.policy import available, load

    own, shipped = home.root / "policies", assets.folder("policies")
    found: list[tuple[str, Moved]] = []
    with tempfile.TemporaryDirectory() as scratch:
        # a revision that is none ends here; one without packs has nothing that could be weaker now
        listed = git("ls-tree", revision, at=str(home.root)).decode("utf-8", "replace").splitlines()
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
