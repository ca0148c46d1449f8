"""Every pack of a project, and what the lock of each spec asks, now and in a revision of git → what became of it: a
stage of `ci` that nothing weaker passes without somebody who says why."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from posixpath import relpath
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli import asked as asking
from kcompiler.cli import change, revoked
from kcompiler.cli.answer import Answer
from kcompiler.cli.governed import Governed, Strange, joined
from kcompiler.cli.locks import left_behind
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.packs import laid, loaded, then_and_shipped

if TYPE_CHECKING:
    from kcompiler.diagnostic import Diagnostic
    from kcompiler.diff.packs import Moved
    from kcompiler.diff.places import Spot

VERB = "policy diff"


def held_to(
    answer: Answer, revision: str, allowed: Mapping[str, str], specs: Sequence[Path], profile: str = ""
) -> asking.Compared:
    """Compare the packs, and what the locks of `specs` ask, and put what moved into the answer; gives what became of
    the locks. `allowed` maps `PACK/RULE` to why it may be weaker. Raises Outcome: 1 where something is weaker, gone or
    cannot be compared and nobody says why; 2 where there is no such revision, or a pack or a lock of it cannot be
    read."""
    for spec in specs:
        if (other := project.find(spec).root) != answer.home.root:
            both = f"{spec} is of the project {other}, {specs[0]} of {answer.home.root}: with --base, name those of one"
            raise click.UsageError(both)
    tree = Governed(answer.home, revision)
    links = {f"links/{one.place}": one for one in tree.strange(specs)}
    if set(links) - set(allowed):
        _refuse_links(answer, tree, links, allowed)
    compared = asking.Compared(answer.home, tree, specs, profile)
    moved = [(f"{pack}/{one.rule}", one) for pack, one in _moved(compared)]
    same = sum(one.way == "same" for _, one in moved)
    moved = [(name, one) for name, one in moved if one.way != "same"]
    asked = [
        *(_link(tree, one) for one in links.values()),
        *compared.rows,
        *revoked.undone(compared),
        *_bounds(compared, profile),
    ]
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
    behind = left_behind(answer.home)
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
        again = _between_packs(compared, pack)
        if lock is not None and not pack:
            again = _difference(compared, lock)
        if root := next((root for one in compared.shown if (root := tree.rootless(joined(tree.own, one)))), ""):
            again = f"mkdir {_typed(tree, root)}/.kcompiler"
        spots = {name: one.at for name, one in moved if one.weakens and one.at is not None}
        spec_of = {one.moved.rule: one.spec for one in asked}
        found = []
        for name in left:
            spot = spots.get(name) or _in_spec(answer.home, name, spec_of.get(name, ""), profile)
            file = next((one for one in (spec_of.get(name), *map(answer.home.shown, specs)) if one), "")
            found.append(_mistake(answer.home, tree, name, said[name], spot, file))
        answer.found(found)
        raise Outcome(1, "weaker", again, "\n".join(row for name in left for row in said[name]))
    return compared


def _between_packs(compared: asking.Compared, pack: str) -> str:
    """The command that shows how a pack moved: of the project in which one stands, `policy diff` knows both sides."""
    tree, name = compared.tree, pack.rpartition(":")[2]
    head = f"policies/{pack}/pack.yaml"
    both = tree.has(tree.own, head) and (compared.home.root / head).is_file()
    if both and project.find(Path.cwd()).root == compared.home.root:
        return f"kcompiler policy diff {tree.revision}:{pack} {pack}"
    roots = dict.fromkeys(root for one in compared.held for root in (one.then, one.now))
    places = [_typed(tree, joined(root, f"policies/{name}")) for root in roots]
    return f"git diff -M {tree.revision} -- {' '.join(places)}"


def _difference(compared: asking.Compared, one: asking.Asked) -> str:
    """The command that shows how what a lock asked, or a spec said, moved: as it is typed where one stands."""

    def then(place: str) -> str:
        inside = one.then.startswith("generated/") and compared.home.root.resolve() == Path.cwd().resolve()
        return f"{compared.revision}:./{place}" if inside else f"{compared.revision}:{joined(compared.own, place)}"

    def now(place: str) -> str:
        return _typed(compared.tree, joined(compared.own, place))

    if one.now == one.spec:  # a bound on a change stands in the spec alone
        return f"git diff {compared.revision} -- {now(one.spec)}"
    if not one.now:
        return f"git show {then(one.then if one.then.endswith('.yaml') else one.spec)}"
    return f"kcompiler diff --exit-code {then(one.then)} {now(one.now)}"


def _typed(tree: Governed, path: str) -> str:
    """A path from the repository's top as it is typed where one stands."""
    standing = Path.cwd().resolve()
    return relpath(tree.top / path, standing) if standing.is_relative_to(tree.top) else path


def _mistake(
    home: project.Project, tree: Governed, name: str, rows: Sequence[str], spot: Spot | None, file: str
) -> Diagnostic:
    """What is weaker, at the line that says so now; where it is gone, at the file as a whole that had it: the pack's,
    or that which is asked, `file`. Files are shown from the project's root, and a note says where that lies."""
    from kcompiler.diagnostic import Diagnostic

    code, summary = "KC6070", f"`{name}` is weaker than in {tree.revision}"
    notes = (f"the project's root is {tree.own}",) if tree.own != "." else ()
    detail = "\n".join(" ".join(row.split()) for row in rows)
    help = f"take it back, or say why: --allow-weaker {name} WHY"
    # a rule that a pack takes over lies in the one below, which may be a shipped one
    if spot is not None and (home.root / spot.tree.file_of(spot.pointer)).is_file():
        if spot.pointer:
            return spot.tree.diagnostic(code, spot.pointer, summary, on="key", detail=detail, help=help, notes=notes)
        file = spot.tree.file
    elif (home.root / f"policies/{name.rpartition('/')[0]}/pack.yaml").is_file():
        file = f"policies/{name.rpartition('/')[0]}/pack.yaml"
    return Diagnostic(code=code, summary=summary, file=file, detail=detail, help=help, notes=notes)


def _in_spec(home: project.Project, name: str, spec: str, profile: str) -> Spot | None:
    """What a spec says now of what was asked of it and is weaker: a budget, the tier, its name, or which packs."""
    from kcompiler.diff.places import Spot

    inside = bool(spec) and not spec.startswith("../")
    tree = change.composed(home.root, home.root / spec, profile) if inside else None
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


def _refuse_links(answer: Answer, tree: Governed, links: Mapping[str, Strange], allowed: Mapping[str, str]) -> None:
    """Raises Outcome: nobody knows what would be compared."""
    rows = {name: _link(tree, one) for name, one in links.items()}
    said = {name: f"{one.moved.way:<12}  {name}  {one.moved.what}" for name, one in rows.items()}
    answer.sections = [("packs", list(said.values()))]
    answer.data = {"base": tree.revision, "rules": [], "left_behind": []}
    answer.data["asked"] = [{"lock": one.then, **_row(name, one.moved, allowed)} for name, one in rows.items()]
    left = sorted(set(links) - set(allowed))
    answer.found([_mistake(answer.home, tree, one, [said[one]], None, rows[one].spec) for one in left])
    raise Outcome(1, "weaker", f"git log -- :/{links[left[0]].place}", "\n".join(said[one] for one in left))


def _link(tree: Governed, one: Strange) -> asking.Asked:
    """What git and the compiler see otherwise, at a place that governs or above it."""
    place = relpath(one.place, tree.own)
    return asking.Asked(place, "", place, asking.moved_row(f"links/{one.place}", "incomparable", one.said, True))


def _bounds(compared: asking.Compared, profile: str) -> Iterator[asking.Asked]:
    """Which way the bounds on a change went, of each spec at hand, and of each that has its lock from then."""
    asked = {(compared.own, spec, profile): "" for spec in compared.shown}
    for was, now in compared.pairs:
        prefix = "" if now.root == compared.own else f"{now.root}:"
        if was is not now or not compared.tree.same(was.root, was.spec) or was.plan["sources"][1:]:
            asked.setdefault((now.root, now.spec, now.form), prefix)
    for (root, spec, form), prefix in asked.items():
        home = compared.tree.project(root)
        for one in change.moved(home, home.root / spec, form, compared.revision, compared):
            place = relpath(joined(root, spec), compared.own)
            yield asking.Asked(place, place, place, replace(one, rule=prefix + one.rule))


def _moved(compared: asking.Compared) -> list[tuple[str, Moved]]:
    """(pack, what became of a rule) of every pack that was there then, under each root that is held to something."""
    from kcompiler.policy import available

    found: list[tuple[str, Moved]] = []
    tree = compared.tree
    for one in compared.held:
        if not any(place.startswith("policies/") for place in tree.below(one.then)):
            continue  # without packs it has nothing that could be weaker now
        with tempfile.TemporaryDirectory() as scratch:
            then = laid(tree, one.then, Path(scratch))
            roots = then_and_shipped(then)
            for name in available([then]):
                here = [tree.project(root).root / "policies" for root in dict.fromkeys((one.now, one.then))]
                own = next((folder for folder in here if (folder / name / "pack.yaml").is_file()), None)
                prefix = one.prefix or (f"{one.then}:" if own == here[-1] and one.then != one.now else "")
                found += [(f"{prefix}{name}", row) for row in _of_pack(name, roots, own, compared.home.root)]
    return found


def _of_pack(name: str, then: Sequence[Path], own: Path | None, root: Path) -> list[Moved]:
    """What became of each rule of a pack; `own` is the folder of packs that has it now, None for none."""
    from kcompiler import assets
    from kcompiler.diff.packs import compare, gone
    from kcompiler.policy import load

    old = loaded(load([name], then), root)
    return gone(old) if own is None else compare(old, loaded(load([name], [own, assets.folder("policies")]), root))
