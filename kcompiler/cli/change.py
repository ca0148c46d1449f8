"""How large a change to a spec's own sources is, against `budgets.files` and `budgets.lines`: a stage of `ci`.

Its own sources are the spec and its fragments, the files and folders that it names, its packs as far as they lie in
the project, its waivers, and its plug-ins as far as they lie in the project; those that it has and those that it had.
What is generated is none. The bound is that of the revision, so that no change can raise what it is held to.
"""

from __future__ import annotations

import os.path
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kcompiler.cli.answer import Answer
from kcompiler.cli.governed import Governed, joined
from kcompiler.cli.numstat import Changed, Uncounted, Wanted, counted, fork, renamed
from kcompiler.cli.outcome import Outcome
from kcompiler.project import Project

if TYPE_CHECKING:
    from kcompiler.cli.asked import Compared
    from kcompiler.diagnostic import Diagnostic
    from kcompiler.diff.packs import Moved
    from kcompiler.source import Tree

VERB = "change"
#: of the section `budgets`, and what one of it is
BOUNDS = {"files": "file", "lines": "line"}
#: files that people are shown; data has all
_SHOWN = 20
_MAY_BIND = re.compile(rb"\b(files|lines)['\"]?[ \t]*:")


class Bounds(NamedTuple):
    """What a spec says of the size of a change. `name` is what its plan is called, `then` what the revision said,
    `held` what counts: the same unless somebody says why it may be another."""

    name: str
    now: Mapping[str, int]
    then: Mapping[str, int]
    held: Mapping[str, int]
    tree: Tree | None


def bounds(
    home: Project,
    spec: Path,
    profile: str,
    base: str | None,
    allowed: Collection[str] = (),
    compared: Compared | None = None,
) -> Bounds:
    """Of a spec and of what it was in the revision `base`, also where `compared` knows that it was called otherwise;
    nothing of a text that cannot be read, which `validate` says. Raises Outcome where the revision's spec cannot be
    read and may have a bound."""
    tree = composed(home.root, spec, profile)
    now, name = _of(tree), _name(tree, spec, profile)
    then: dict[str, int] = {}
    for root, place, form in _places(home, spec, name, profile, base, compared) if base is not None else ():
        known = compared.tree if compared is not None else Governed(home, f"{base}")
        try:
            was = _then(known, root, place, form)
        except _Unreadable as may:
            if not may.bind and not now:
                continue
            shown = joined(root, place)
            said = f"{base}:{shown}: cannot be read as a spec, so that nobody knows its budgets of files and lines"
            raise Outcome(2, "unreadable", "name a revision whose spec this version reads by --base", said) from None
        then |= {key: min(value, then.get(key, value)) for key, value in was.items()}
    free = {key for key in BOUNDS if f"{name}/budgets.{key}" in allowed}
    held = {key: value for key, value in {**now, **then}.items() if key not in free}
    return Bounds(name, now, then, held | {key: now[key] for key in free if key in now}, tree)


def moved(home: Project, spec: Path, profile: str, base: str, compared: Compared | None = None) -> list[Moved]:
    """Which way each bound of a spec went since a revision; no bound is the highest."""
    from kcompiler.diff.packs import Moved

    found = bounds(home, spec, profile, base, compared=compared)
    rows = []
    for key in BOUNDS:
        was, now = found.then.get(key), found.now.get(key)
        if was == now or (was is None and now is None):
            continue
        weakens = was is not None and (now is None or now > was)
        way: Any = "removed" if now is None else "added" if was is None else "weaker" if weakens else "stronger"
        what = f"{'none' if was is None else was} → {'none' if now is None else now} {BOUNDS[key]}s a change"
        rows.append(Moved(rule=f"{found.name}/budgets.{key}", way=way, what=what, weakens=weakens))
    return rows


def held_to(answer: Answer, found: Bounds, spec: Path, base: str | None, plan: Mapping[str, Any]) -> None:
    """Count the change and put it into the answer. Raises Outcome: 1 where it is larger than a bound, 2 where nobody
    can count it."""
    try:
        if base is None:
            raise Uncounted("no revision is named from which to count", "`kcompiler ci … --base REVISION`")
        commit = fork(answer.home.root, base)
        wanted, pinned = _sources(answer.home, spec, base, plan, found.name)
        changes = counted(answer.home.root, commit, wanted, pinned)
    except Uncounted as why:
        pointer = f"/budgets/{next(iter(found.held))}"
        summary = "nobody counted how large the change is"
        answer.found([_diagnostic(found, "KC4741", pointer, summary, str(why), why.action)])
        again = f"kcompiler ci {answer.subject} --to DIR --base REVISION"
        raise Outcome(2, "not-counted", again, f"{found.name}: {summary}: {why}") from None
    sizes = {"files": len(changes), "lines": sum(one.lines for one in changes)}
    answer.data = {
        "base": base,
        "from": commit,
        "sizes": sizes,
        "bounds": {key: found.held.get(key) for key in BOUNDS},
        "changed": [one._asdict() for one in changes],
    }
    answer.sections = [(f"change of {found.name} since {commit[:12]}", list(_rows(sizes, found.held, changes)))]
    over = {
        key: f"{sizes[key]} {BOUNDS[key]}{'s' * (sizes[key] != 1)} since {commit[:12]}, {found.held[key]} allowed"
        for key in BOUNDS
        if key in found.held and sizes[key] > found.held[key]
    }
    for key, said in over.items():
        raised = f"--allow-weaker {found.name}/budgets.{key} WHY"
        smaller = f"make it in smaller changes; or raise budgets.{key} and say why: {raised}"
        summary = f"the change is larger than `budgets.{key}` allows"
        note = "" if found.now.get(key) == found.held[key] else f"{found.held[key]} is what {base} says"
        answer.found([_diagnostic(found, "KC4740", f"/budgets/{key}", summary, said, smaller, note)])
    if over:
        told = "\n".join(f"{found.name}: budgets.{key}: {said}" for key, said in over.items())
        raise Outcome(1, "too-large", f"git diff --stat {commit[:12]}", told)


def _diagnostic(
    found: Bounds, code: str, pointer: str, summary: str, detail: str, help: str, note: str = ""
) -> Diagnostic:
    from kcompiler.diagnostic import Diagnostic

    notes = (note,) if note else ()
    if found.tree is None:
        return Diagnostic(code=code, file="", summary=summary, detail=detail, help=help, notes=notes)
    return found.tree.diagnostic(code, pointer, summary, detail=detail, help=help, notes=notes)


def _rows(sizes: Mapping[str, int], held: Mapping[str, int], changes: list[Changed]) -> Iterator[str]:
    for key, size in sizes.items():
        yield f"{key:<5}  {size} of {held[key]}" if key in held else f"{key:<5}  {size}, no bound"
    largest = sorted(changes, key=lambda one: (-one.lines, one.path))
    for one in largest[:_SHOWN]:
        lines = "binary" if one.added is None else f"+{one.added} -{one.deleted}"
        yield f"{lines:>12}  {one.path}{f', was {one.was}' if one.was else ''}"
    if len(largest) > _SHOWN:
        yield f"{len(largest) - _SHOWN} further files; the json form has all"


class _Unreadable(Exception):
    """A spec of a revision that is none, or lacks a fragment. `bind`: it may have a bound."""

    def __init__(self, bind: bool) -> None:
        super().__init__()
        self.bind = bind


def composed(root: Path, spec: Path, profile: str) -> Tree | None:
    """A spec with its fragments and its profile; None where it cannot be read."""
    from kcompiler import compose, source
    from kcompiler.source import file

    try:
        tree, _ = source.load(Project(root).shown(spec), file.read(spec, source.LIMITS.bytes + 1))
        if tree is None:
            return None
        folder = spec.resolve().parent
        found = compose.compose(tree, root, folder, profile)
        if profile and profile not in found.profiles:
            found = compose.compose(tree, root, folder)
    except (OSError, RuntimeError, ValueError, file.NotAFile):
        return None
    return found.base


def _of(tree: Tree | None) -> dict[str, int]:
    section = tree.data.get("budgets") if tree is not None and isinstance(tree.data, dict) else None
    known = section if isinstance(section, dict) else {}
    return {key: value for key in BOUNDS if type(value := known.get(key)) is int}


def _name(tree: Tree | None, spec: Path, profile: str) -> str:
    said = tree.data.get("metadata") if tree is not None and isinstance(tree.data, dict) else None
    name = str(said["name"]) if isinstance(said, dict) and "name" in said else spec.stem
    return f"{name}@{profile}" if profile else name


def _then(tree: Governed, root: str, place: str, profile: str) -> dict[str, int]:
    """What a spec of a revision bounds. Raises _Unreadable."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        texts = _laid(tree, root, place, folder)
        made = composed(folder, folder / place, profile)
        if made is None:
            raise _Unreadable(any(_MAY_BIND.search(one) for one in texts.values()))
        return _of(made)


def composed_then(tree: Governed, root: str, place: str, profile: str) -> Tree | None:
    """A spec as it was in a revision, below a root, with its fragments and its profile; None where it cannot be
    read."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        _laid(tree, root, place, folder)
        return composed(folder, folder / place, profile)


def _laid(tree: Governed, root: str, place: str, folder: Path) -> dict[Path, bytes]:
    """Lay a spec of a revision and its fragments below a folder; what was written."""
    from kcompiler import source

    data = tree.text(root, place)
    read, _ = source.load(place, data)
    entries = read.data.get("include") if read is not None and isinstance(read.data, dict) else None
    own = folder / place
    texts = {own: data}
    for one in entries if isinstance(entries, list) else ():
        path = Path(os.path.normpath(own.parent / str(one.get("path") if isinstance(one, dict) else "")))
        shown = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else ""
        if shown and tree.has(root, shown):
            texts[path] = tree.text(root, shown)
    for path, data in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return texts


def _places(
    home: Project, spec: Path, name: str, profile: str, base: str, compared: Compared | None
) -> list[tuple[str, str, str]]:
    """Where a spec lay in a revision, each with its root and profile: where it lies now, where
    git says that it was moved from, where the lock of its name says, and what is known to have given it its lock."""
    shown = home.shown(spec)
    tree = compared.tree if compared is not None else Governed(home, base)
    root = tree.root_of(home)
    found = {str(one["asked"]["spec"]) for one in _locks(tree, root, shown, name)} | {shown}
    known = {one for one in found if tree.has(root, one)}
    if shown not in known:
        try:
            was = renamed(home.root, base, shown)
        except Uncounted as why:
            raise Outcome(2, "unreadable", "git status", str(why)) from None
        known |= {was} - {""}
    taken = compared.bound(root, shown, profile) if compared is not None else []
    return sorted({(root, one, profile) for one in known} | set(taken))


def _locks(tree: Governed, root: str, spec: str, name: str) -> list[dict[str, Any]]:
    """The locks of a spec, or of its name, that were committed below a root in a revision; those that cannot be read
    are left out, which `policy diff` refuses."""
    from kcompiler import lock

    found = []
    for place in tree.locks.get(root, ()):
        try:
            made = lock.load(tree.text(root, place).decode("utf-8"))
        except (lock.UnreadableLock, UnicodeDecodeError):
            continue
        if made["asked"]["spec"] == spec or made["asked"]["name"] == name:
            found.append(made)
    return found


def _sources(home: Project, spec: Path, base: str, plan: Mapping[str, Any], name: str) -> tuple[Wanted, frozenset[str]]:
    """Every path that is a source of a plan, or was one of its locks in a revision; and those of the files it names
    that are what they were, by their digests."""
    tree = Governed(home, base)
    then = _locks(tree, tree.own, home.shown(spec), name)
    named: set[str] = set()
    folders: set[str] = set()
    for made in (plan, *then):
        named |= {made["asked"]["spec"], *(one["path"] for one in made["sources"])}
        named |= {one["path"] for one in made["inputs"]}
        named |= {f"waivers/{one['id']}.yaml" for one in made.get("waivers", ())}
        folders |= {f"policies/{one}" for one in _packs(home, made)}
        folders |= {path for one in made["plugins"] for path in _code(home, one)}
    digests = {(one["path"], one["digest"]) for made in then for one in made["inputs"]}
    same = {one["path"] for one in plan["inputs"] if (one["path"], one["digest"]) in digests}
    return Wanted(frozenset(named), frozenset(folders)), frozenset(same)


def _packs(home: Project, plan: Mapping[str, Any]) -> Iterator[str]:
    """The packs of a plan with those that they strengthen, as far as they are there now."""
    from kcompiler import assets
    from kcompiler.policy import load

    roots = [home.root / "policies", assets.folder("policies")]
    for name in (str(one["pack"]) for one in plan["policies"]):
        yield name
        for pack in load([name], roots).packs:
            below = pack.below
            while below is not None:
                yield below.pack.name
                below = below.below


def _code(home: Project, plugin: Mapping[str, str]) -> Iterator[str]:
    """The package of a plug-in, where it lies in the project."""
    from importlib.util import find_spec

    from runtime import catalog

    try:
        top = catalog.module_of(plugin["room"], plugin["name"]).partition(".")[0]
        found = find_spec(top)
    except (KeyError, ImportError, ValueError):
        return  # it is no longer installed: `plan --check` says so where it is asked for
    if found is None:
        return
    root = home.root.resolve()
    places = [Path(one) for one in found.submodule_search_locations or ()]
    places = places or ([Path(found.origin)] if found.origin else [])
    for path in places:
        inside = path.resolve()
        if inside.is_relative_to(root) and "site-packages" not in inside.parts:
            yield inside.relative_to(root).as_posix()
