"""A project and a revision of git → what became of everything that the locks which were committed then asked.

Locks of every root of the repository: what moves to another root is compared as if it had stood still.

A lock counts while its spec is there, can be read and is called as the lock is: one that is left behind asks nothing,
nor does a file that is no spec any more. So what was asked is found again, or told as gone, whatever was renamed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kcompiler.cli import change
from kcompiler.cli.governed import Governed, joined, spec_of
from kcompiler.cli.locks import Lock, left, lying, makes, read, unmade
from kcompiler.cli.outcome import Outcome
from kcompiler.project import Project

if TYPE_CHECKING:
    from kcompiler.diff.difference import Change
    from kcompiler.diff.packs import Moved, Way

#: budgets that are counted for a spec's name, whatever its plans (the others are of the plan at hand)
_OF_A_NAME = ("usd", "gpu_hours", "training_tokens", "teacher_tokens", "teacher_calls")


class Asked(NamedTuple):
    """What became of something that a lock asked: `then` and `now` are its places, "" where there is none now."""

    then: str
    now: str
    spec: str
    moved: Moved


class Held(NamedTuple):
    """A root that governed then, and the one which is held to it now; `prefix` stands before the names of what is
    weaker, where that is not the project at hand."""

    then: str
    now: str
    prefix: str = ""


class Compared:
    """What became of each lock of a revision, by one rule: it is looked for at its place, then among the locks of the
    project at hand that are new, each new one for one, then in the one other root that is new; else it is gone. Raises
    Outcome."""

    def __init__(self, home: Project, tree: Governed, specs: Sequence[Path], profile: str = "") -> None:
        self.home, self.revision, self.profile, self.tree = home, tree.revision, profile, tree
        self.own = self.tree.own
        #: the specs at hand
        self.shown = [home.shown(spec) for spec in specs]
        self.now = {one.place: one._replace(root=self.own) for one in lying(home) if not left(home, one)}
        self.matched: set[str] = set()
        #: what stood for each lock that was then: itself or what took its place
        self.pairs: list[tuple[Lock, Lock]] = []
        #: whose spec is told as gone, with all that it said
        self.lost: set[tuple[str, str]] = set()
        self._kin: set[str] = set()
        self._moved: dict[str, str] = {}
        self._standing: set[str] = set()
        self.rows = list(self._rows())

    @cached_property
    def _fresh(self) -> bool:
        """Whether what is asked about here has a lock that was not here then: then it may come from anywhere."""
        own = self.tree.locks[self.own]
        return any(one.spec in self.shown and one.place not in own for one in self.now.values())

    @cached_property
    def held(self) -> list[Held]:
        """Each root of then with the one that is held to it: the project at hand to its own and to those that a lock of
        it was of; any other that may have given something to this one, to what stands there now."""
        found = [Held(self.own, self.own), *(Held(root, self.own) for root in sorted(self._kin))]
        for root in sorted(set(self.tree.locks) - {self.own} - self._kin):
            if (there := self._moved.get(root)) is not None:
                found.append(Held(root, there, f"{there}:"))
            elif self._fresh and root in self._standing:
                found.append(Held(root, root, f"{root}:"))
        return found

    def bound(self, root: str, spec: str, form: str) -> list[tuple[str, str, str]]:
        """Root, spec and profile of each spec of then that gave a lock to one of now, or that lay at its place in a
        root which it may come from: its bounds on a change bind this one."""
        found = [
            (was.root, was.spec, was.form)
            for was, now in self.pairs
            if (now.root, now.spec, now.form) == (root, spec, form) and self.tree.has(was.root, was.spec)
        ]
        roots = (one.then for one in self.held if one.now == root)
        return found + [(one, spec, form) for one in roots if self.tree.has(one, spec)]

    def _rows(self) -> Iterator[Asked]:
        places = self.tree.locks[self.own]
        gone: list[Lock] = []
        for place in places:
            yield from self._at(place, gone)
        strange: list[Lock] = []
        doubtful = [self._then(place) for place in places if self._doubtful(self.now.get(place))]
        for root in sorted(set(self.tree.locks) - {self.own}):
            for place in self.tree.locks[root]:
                yield from self._elsewhere(root, place, strange, doubtful)
        yield from self._brought(strange)
        fresh = [
            one
            for one in self.now.values()
            if one.spec in self.shown and one.place not in places and one.place not in self.matched
        ]
        told = yield from self._paired(gone, fresh)
        taken = {one.place for _, one in told}
        # of a lock that nobody asks about here it is told only what a new one took its place with
        rest = [was for was in strange if not (self._found(was) or self._at_hand(was) or self._as_it_was(was))]
        yield from self._paired([*doubtful, *rest], [one for one in fresh if one.place not in taken])
        self._kin |= {was.root for was, now in self.pairs if was.root != self.own and now.root == self.own}
        for was in strange:
            if not self._found(was):
                yield from self._away(was)
        for was in gone:
            if not self._found(was):
                yield self._lost(was)

    def _found(self, was: Lock) -> bool:
        return any((one.root, one.place) == (was.root, was.place) for one, _ in self.pairs)

    def _at_hand(self, was: Lock) -> bool:
        return was.file in {joined(self.own, one) for one in self.shown}

    def _at(self, place: str, gone: list[Lock]) -> Iterator[Asked]:
        """What became of what lay at a place of the project's own; a lock that is gone is put to those."""
        here = self.now.get(place)
        if here is not None and self.tree.same(self.own, place):
            self.matched.add(place)
            self.pairs.append((here, here))
            return
        was = self._then(place)
        if here is not None:
            self.pairs.append((was, here))
            yield from self._between(was, here)
        same = [one for one in self._same(was) if one.place != place]
        self.matched.update(one.place for one in same)
        for one in same:
            self.pairs.append((was, one))
            yield from self._between(was, one)
        checked = was.spec in self.shown and was.form == self.profile
        if here is None and not same and not checked and self._counted(was):
            gone.append(was)

    def _same(self, was: Lock) -> list[Lock]:
        """The locks of today of the same spec and profile, under names that are new."""
        return [
            one
            for one in self.now.values()
            if one.form == was.form and (one.spec == was.spec or joined(self.own, one.spec) == was.file)
        ]

    def _elsewhere(self, root: str, place: str, strange: list[Lock], doubtful: list[Lock]) -> Iterator[Asked]:
        """What became of a lock of another project of the repository. One that stands there is that one's own to say,
        unless something is new here that may come from it; one that does not is put to the strange."""
        tree, same = self.tree, self.tree.same(root, place)
        if same:
            spec = spec_of(tree.here(root, place) or b"")
            at_hand = joined(root, spec) in {joined(self.own, one) for one in self.shown}
            if not at_hand and tree.same(root, spec):
                self._standing.add(root)
                return
        try:
            was = self._then(place, root)
            here = was if same else read(tree.here(root, place), place, root)
        except Outcome:
            if self._fresh:
                raise
            return  # of an older layout, of another project
        if not self._counted(was):
            return
        stands = here is not None and tree.here(root, here.spec) is not None and not unmade(tree.project(root), here)
        if here is None or not stands or self._at_hand(was):
            strange.append(was)
            return
        self._standing.add(root)
        if self._fresh:
            self.pairs.append((was, here))
            if not same:
                yield from self._between(was, here, f"{root}:")
            if self._doubtful(here):
                doubtful.append(was)

    def _brought(self, strange: Sequence[Lock]) -> Iterator[Asked]:
        """What the project at hand has of other roots, at the same place or of the same spec: each for one."""
        from kcompiler.diff.difference import compare

        def there(was: Lock) -> list[Lock]:
            near = {one.place: one for one in self._same(was)}
            if (here := self.now.get(was.place)) is not None and was.place not in self.tree.locks[self.own]:
                near[was.place] = here
            return [one for place, one in near.items() if place not in self.matched]

        cost = {at: min([len(compare(was.plan, one.plan)) for one in there(was)], default=-1)
                for at, was in enumerate(strange)}  # fmt: skip
        for at in sorted(cost, key=lambda one: (cost[one], one)):
            for one in there(strange[at]):
                self.matched.add(one.place)
                self.pairs.append((strange[at], one))
                yield from self._between(strange[at], one)

    def _as_it_was(self, was: Lock) -> bool:
        """Whether one other root that is new has a lock and its spec, both to the byte."""
        there = self.tree.new_roots(was.place)
        return len(there) == 1 and all(
            self.tree.has(was.root, place) and self.tree.here(there[0], place) == self.tree.text(was.root, place)
            for place in (was.place, was.spec)
        )

    def _away(self, was: Lock) -> Iterator[Asked]:
        """A lock of another root that is not there any more, nor here: in the one other root that is new, or gone."""
        there = [] if self._at_hand(was) else self.tree.new_roots(was.place)
        if len(there) == 1:
            now = read(self.tree.here(there[0], was.place), was.place, there[0])
            if now is not None and not unmade(self.tree.project(there[0]), now):
                self._moved[was.root] = there[0]
                yield from self._between(was, now, f"{there[0]}:")
                return
        if self._at_hand(was) or self._fresh or was.root not in self._standing:
            yield self._lost(was)

    def _counted(self, was: Lock) -> bool:
        """Whether a lock was one that counted then: its spec was there, and made it."""
        if not self.tree.has(was.root, was.spec):
            return False
        tree = change.composed_then(self.tree, was.root, was.spec, was.form)
        return tree is None or makes(tree, was.name)

    def _doubtful(self, one: Lock | None) -> bool:
        """Whether a lock lies here of a spec that nobody asks about now and that says something else than the lock."""
        from kcompiler.plan import meaning, said

        if one is None or (one.root == self.own and one.spec in self.shown):
            return False
        root = self.tree.project(one.root).root
        tree = change.composed(root, root / one.spec, one.form)
        meant = one.plan["sources"][0].get("meaning", "") if one.plan["sources"] else ""
        return tree is None or bool(meant and meaning(said(tree)) != meant)

    def _paired(self, gone: Sequence[Lock], fresh: Sequence[Lock]) -> Generator[Asked, None, list[tuple[Lock, Lock]]]:
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
            yield from self._between(gone[old], fresh[new])
            pairs.append((gone[old], fresh[new]))
            cost = {pair: much for pair, much in cost.items() if pair[0] != old and pair[1] != new}
        self.pairs += pairs
        return pairs

    def _between(self, was: Lock, now: Lock, prefix: str = "") -> Iterator[Asked]:
        """What moved between two locks: what weighs, and the name where money was counted for it."""
        from kcompiler.diff.difference import compare

        name = str(now.plan["asked"]["name"])
        rows = [found for each in compare(was.plan, now.plan) if (found := _of_trust(each, name)) is not None]
        counted = sorted(key for key in _OF_A_NAME if was.plan.get("budgets", {}).get(key))
        if was.name != now.name and counted:
            what = f"{was.name} → {now.name}: {', '.join(counted)} that were spent for the old name count no more"
            rows.append(moved_row(f"{name}/name", "weaker", what, True))
        for one in rows:
            row = replace(one, rule=prefix + one.rule)
            then, place = self._seen(was.root, was.place), self._seen(now.root, now.place)
            yield Asked(then, place, self._seen(now.root, now.spec), row)

    def _lost(self, was: Lock) -> Asked:
        blocks = sum(one["mode"] == "block" for one in was.plan.get("obligations", []))
        home, folder = self.tree.project(was.root), joined(was.root, ".kcompiler")
        if was.root != self.own and self._at_hand(was):
            at = "the repository's top" if self.own == "." else self.own
            how = f"the project's root was {was.root} and is {at} now: `mkdir {folder}`"
        elif self.tree.here(was.root, was.spec) is None:
            how = f"{was.file} is gone"
        elif why := unmade(home, was):
            how = f"{was.file} {why}"
        else:
            how = f"{joined(was.root, was.place)} is gone, though {was.file} is there"
        self.lost.add((was.root, was.place))
        what = f"{how}, and no spec that is new takes its place; {blocks} rules blocked it"
        return Asked(
            self._seen(was.root, was.place),
            "",
            self._seen(was.root, was.spec),
            moved_row(f"{was.name}/spec", "removed", what, True),
        )

    def _seen(self, root: str, place: str) -> str:
        """A place of another root as it is seen from the project's."""
        return posixpath.relpath(joined(root, place), self.own)

    def _then(self, place: str, root: str = "") -> Lock:
        """A lock as it was committed then. Raises Outcome."""
        root = root or self.own
        found = read(self.tree.text(root, place), place, root)
        if found is None:
            said = f"{self.revision}:{joined(root, place)}: cannot be read as a lock"
            raise Outcome(2, "unreadable", "name a revision whose lock this version reads by --base", said)
        return found


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
