"""A project and a revision of git → what became of everything that the locks which were committed then asked.

A lock counts while its spec is there, can be read and is called as the lock is: one that is left behind asks nothing,
nor does a file that is no spec any more. So what was asked is found again, or told as gone, whatever was renamed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kcompiler.cli import change
from kcompiler.cli.outcome import Outcome
from kcompiler.project import Project, find

if TYPE_CHECKING:
    from kcompiler.diff.difference import Change
    from kcompiler.diff.packs import Moved, Way
    from kcompiler.source import Tree

Plan = Mapping[str, Any]
#: budgets that are counted for a spec's name, whatever its plans (the others are of the plan at hand)
_OF_A_NAME = ("usd", "gpu_hours", "training_tokens", "teacher_tokens", "teacher_calls")
_LOCK = re.compile(r"(?:.+/)?generated/[^/]+/plan\.lock")


class Asked(NamedTuple):
    """What became of something that a lock asked: `then` and `now` are its places, "" where there is none now."""

    then: str
    now: str
    spec: str
    moved: Moved


class _Lock(NamedTuple):
    """A lock: its place and its spec, relative to the project's root; its `root`, too, where it is of another."""

    place: str
    spec: str
    plan: Plan
    root: str = "."

    @property
    def name(self) -> str:
        return self.place.split("/")[-2]

    @property
    def form(self) -> str:
        """The profile that it is of."""
        return self.name.partition("@")[2]


def asked(home: Project, revision: str, specs: Sequence[Path], profile: str = "") -> Iterator[Asked]:
    """A lock is held to the one that lay at its place, and to that of its spec and profile under another name. One that
    is gone is held against the new one of the `specs` at hand that is most like it, each new one against one; with none
    left it is gone. That the lock of today is that of today's spec, and is there, is `plan --check`'s to say: of the
    `specs` at hand. Raises Outcome."""
    return _Compared(home, revision, [home.shown(spec) for spec in specs], profile).rows()


class _Compared:
    def __init__(self, home: Project, revision: str, shown: Sequence[str], profile: str) -> None:
        self.home, self.revision, self.shown, self.profile = home, revision, shown, profile
        self.now = {one.place: one for one in lying(home) if not left(home, one)}
        self.matched: set[str] = set()

    @cached_property
    def listed(self) -> list[str]:
        """Every file of the repository in the revision, relative to the project's root."""
        from kcompiler.cli.revision import git

        options = ["-rz", "--name-only", "--full-tree"]
        files = git("ls-tree", self.revision, options=options, at=self.home.root).decode("utf-8", "replace").split("\0")
        return [posixpath.relpath(one, self.prefix) for one in files if one]

    @cached_property
    def prefix(self) -> str:
        """Where the project's root lies in the repository."""
        from kcompiler.cli.revision import git

        said = git("rev-parse", options=["--show-prefix"], at=self.home.root).decode("utf-8", "replace")
        return said.strip().rstrip("/") or "."

    def rows(self) -> Iterator[Asked]:
        places = [one for one in self.listed if _LOCK.fullmatch(one)]
        own = [one for one in places if one.count("/") == 2 and one.startswith("generated/")]
        gone: list[_Lock] = []
        for place in own:
            yield from self._at(place, gone)
        strange = [one for place in places if place not in own for one in self._of_another_root(place)]
        for was in strange:
            same = self._same(was)
            self.matched.update(one.place for one in same)
            for one in same:
                yield from _between(was, one)
        fresh = [
            one
            for one in self.now.values()
            if one.spec in self.shown and one.place not in own and one.place not in self.matched
        ]
        told = yield from self._paired(gone, fresh)
        taken = {one.place for _, one in told}
        fresh = [one for one in fresh if one.place not in taken]
        # of a lock that nobody asks about here it is told only what a new one took its place with
        doubtful = [self._then(place) for place in own if self._doubtful(place)]
        elsewhere = [was for was in strange if not self._same(was)]
        yield from self._paired([*doubtful, *(was for was in elsewhere if was.spec not in self.shown)], fresh)
        for was in elsewhere:
            if was.spec in self.shown:
                yield self._lost(was)
        found = {old.place for old, _ in told}
        for was in gone:
            if was.place not in found:
                yield self._lost(was)

    def _at(self, place: str, gone: list[_Lock]) -> Iterator[Asked]:
        """What became of what lay at a place of the project's own; a lock that is gone is put to those."""
        from kcompiler.cli.revision import text

        here = self.now.get(place)
        if here is not None and text(self.home.root, self.revision, place) == (self.home.root / place).read_bytes():
            self.matched.add(place)
            return
        was = self._then(place)
        if here is not None:
            yield from _between(was, here)
        same = [one for one in self._same(was) if one.place != place]
        self.matched.update(one.place for one in same)
        for one in same:
            yield from _between(was, one)
        checked = was.spec in self.shown and was.form == self.profile
        if here is None and not same and not checked and self._counted(was):
            gone.append(was)

    def _same(self, was: _Lock) -> list[_Lock]:
        """The locks of today of the same spec and profile, under names that are new."""
        return [one for one in self.now.values() if (one.spec, one.form) == (was.spec, was.form)]

    def _counted(self, was: _Lock) -> bool:
        """Whether a lock was one that counted then: its spec was there, and made it."""
        if was.spec not in self.listed:
            return False
        full = posixpath.normpath(posixpath.join(self.prefix, was.spec))
        repository = Project((self.home.root / posixpath.relpath(".", self.prefix)).resolve())
        tree = change.composed_then(repository, self.revision, full, was.form)
        return tree is None or _makes(tree, was.name)

    def _of_another_root(self, place: str) -> Iterator[_Lock]:
        """A lock of another project of the repository whose spec is there no more: its folder may be this one now."""
        root = posixpath.dirname(posixpath.dirname(posixpath.dirname(place))) or "."
        home = Project((self.home.root / root).resolve())
        try:
            here: Plan = next((one.plan for one in lying(home) if one.place == _below(root, place)), {})
            if here and not left(home, _Lock(_below(root, place), str(here["asked"]["spec"]), here)):
                return
            was = self._then(place, root)
        except Outcome:
            return  # of an older layout, of another project
        if self._counted(was):
            yield was

    def _doubtful(self, place: str) -> bool:
        """Whether a lock lies here of a spec that nobody asks about now and that says something else than the lock."""
        from kcompiler.plan import meaning, said

        one = self.now.get(place)
        if one is None or one.spec in self.shown:
            return False
        tree = change.composed(self.home.root, self.home.root / one.spec, one.form)
        meant = one.plan["sources"][0].get("meaning", "") if one.plan["sources"] else ""
        return tree is None or bool(meant and meaning(said(tree)) != meant)

    def _paired(
        self, gone: Sequence[_Lock], fresh: Sequence[_Lock]
    ) -> Generator[Asked, None, list[tuple[_Lock, _Lock]]]:
        """Each of the one with what is most like it of the other, that of the same profile first; yields what moved,
        returns the pairs."""
        from kcompiler.diff.difference import compare

        cost = {
            (old, new): (gone[old].form != fresh[new].form, len(compare(gone[old].plan, fresh[new].plan)))
            for old in range(len(gone))
            for new in range(len(fresh))
        }
        pairs = []
        while cost:
            old, new = min(cost, key=lambda pair: (cost[pair], gone[pair[0]].place, fresh[pair[1]].place))
            yield from _between(gone[old], fresh[new])
            pairs.append((gone[old], fresh[new]))
            cost = {pair: much for pair, much in cost.items() if pair[0] != old and pair[1] != new}
        return pairs

    def _lost(self, was: _Lock) -> Asked:
        blocks = sum(one["mode"] == "block" for one in was.plan.get("obligations", []))
        path = self.home.root / was.spec
        if was.root != ".":
            how = f"the project's root was {was.root} and is {self.home.root.name} now: `mkdir {was.root}/.kcompiler`"
        elif not path.exists():
            how = f"{was.spec} is gone"
        elif why := _unmade(self.home, was):
            how = f"{was.spec} {why}"
        else:
            how = f"{was.place} is gone, though {was.spec} is there"
        what = f"{how}, and no spec that is new takes its place; {blocks} rules blocked it"
        return Asked(was.place, "", was.spec, moved_row(f"{was.name}/spec", "removed", what, True))

    def _then(self, place: str, root: str = ".") -> _Lock:
        """A lock as it was committed then. Raises Outcome."""
        from kcompiler import lock
        from kcompiler.cli.revision import text
        from kcompiler.cli.views import readable

        data = text(self.home.root, self.revision, place)
        try:
            plan = readable(lock.load(data.decode("utf-8")), f"{self.revision}:{place}")
        except (lock.UnreadableLock, UnicodeDecodeError) as why:
            said = f"{self.revision}:{place}: cannot be read as a lock: {why}"
            raise Outcome(2, "unreadable", "name a revision whose lock this version reads by --base", said) from None
        spec = posixpath.join(self.prefix, root, str(plan["asked"]["spec"]))
        return _Lock(place, posixpath.relpath(spec, self.prefix), plan, root)


def lying(home: Project) -> Iterator[_Lock]:
    """The locks that lie here now and can be read."""
    from kcompiler import lock
    from kcompiler.cli.views import readable

    for path in sorted((home.root / "generated").glob("*/plan.lock")):
        place = path.relative_to(home.root).as_posix()
        try:
            plan = readable(lock.read(path), place)
        except lock.UnreadableLock:
            continue  # `plan --check` says so
        yield _Lock(place, str(plan["asked"]["spec"]), plan)


def left_behind(home: Project) -> dict[str, str]:
    """Place of a lock → of which spec it is, and why it is not."""
    return {one.place: f"of {one.spec}, which {why}" for one in lying(home) if (why := left(home, one))}


def left(home: Project, one: _Lock) -> str:
    """Why a lock that lies here is that of no spec; "" where it is."""
    path = home.root / one.spec
    if not path.exists():
        return "is not there"
    if find(path).root.resolve() != home.root.resolve():
        return f"is of the project {home.shown(find(path).root)} now"
    return _unmade(home, one)


def _unmade(home: Project, one: _Lock) -> str:
    """Why the file of a spec makes no lock of this name; "" where it does."""
    tree = change.composed(home.root, home.root / one.spec, one.form)
    if tree is None:
        return "cannot be read as a spec"
    return "" if _makes(tree, one.name) else f"makes no plan called {one.name}"


def _makes(tree: Tree, name: str) -> bool:
    """Whether a spec has this name, and the profile where that names one."""
    data = tree.data if isinstance(tree.data, dict) else {}
    own, _, profile = name.partition("@")
    head, profiles = data.get("metadata"), data.get("profiles")
    known = isinstance(profiles, dict) and profile in profiles
    return isinstance(head, dict) and str(head.get("name")) == own and (known or not profile)


def _below(root: str, place: str) -> str:
    return posixpath.relpath(place, root)


def _between(was: _Lock, now: _Lock) -> Iterator[Asked]:
    """What moved between two locks: what weighs, and the name where money was counted for it."""
    from kcompiler.diff.difference import compare

    name = str(now.plan["asked"]["name"])
    for each in compare(was.plan, now.plan):
        if (found := _of_trust(each, name)) is not None:
            yield Asked(was.place, now.place, now.spec, found)
    counted = sorted(key for key in _OF_A_NAME if was.plan.get("budgets", {}).get(key))
    if was.name != now.name and counted:
        what = f"{was.name} → {now.name}: {', '.join(counted)} that were spent for the old name count no more"
        yield Asked(was.place, now.place, now.spec, moved_row(f"{name}/name", "weaker", what, True))


def moved_row(rule: str, way: Way, what: str, weakens: bool) -> Moved:
    from kcompiler.diff.packs import Moved

    return Moved(rule=rule, way=way, what=what, weakens=weakens)


def _of_trust(each: Change, name: str) -> Moved | None:
    """An obligation, an approval, the tier or a budget of the spec `name` that moved; None for anything else."""
    if not each.direction:
        return None
    if each.area == "gate":
        rule, _, step = each.name.partition(" on ")
        what = f"asked of {name} on {step}: {each.what}"
    elif each.area == "policy" and each.path.startswith("approval."):
        rule, what = f"{each.name}/pack.yaml", f"asked of {name}: {each.what}"
    elif each.area == "asked" and each.name == "risk_tier":
        rule, what = f"{name}/risk_tier", each.what
    elif each.area == "budget":
        rule, what = f"{name}/budgets.{each.name}", each.what
    else:
        return None
    way: Way = "removed" if each.sign == "-" else "added" if each.sign == "+" else each.direction
    return moved_row(rule, way, what, each.direction != "stronger")
