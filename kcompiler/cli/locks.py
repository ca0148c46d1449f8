"""The locks of a project that lie here, or as a text: of which spec each is, and whether that still makes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kcompiler.cli import change
from kcompiler.cli.governed import joined
from kcompiler.project import Project, find

if TYPE_CHECKING:
    from kcompiler.source import Tree

Plan = Mapping[str, Any]


class Lock(NamedTuple):
    """A lock: its place and its spec, relative to the root that it is of; and that root, from the repository's top."""

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

    @property
    def file(self) -> str:
        """Its spec, from the repository's top."""
        return joined(self.root, self.spec)

    @property
    def files(self) -> list[str]:
        """What its plan is read from, so."""
        return [self.file, *(joined(self.root, str(one["path"])) for one in self.plan["sources"])]


def lying(home: Project) -> Iterator[Lock]:
    """The locks that lie here now and can be read."""
    from kcompiler import lock
    from kcompiler.cli.views import readable

    for path in sorted((home.root / "generated").glob("*/plan.lock")):
        place = path.relative_to(home.root).as_posix()
        try:
            plan = readable(lock.read(path), place)
        except lock.UnreadableLock:
            continue  # `plan --check` says so
        yield Lock(place, str(plan["asked"]["spec"]), plan)


def left_behind(home: Project) -> dict[str, str]:
    """Place of a lock → of which spec it is, and why it is not."""
    return {one.place: f"of {one.spec}, which {why}" for one in lying(home) if (why := left(home, one))}


def left(home: Project, one: Lock) -> str:
    """Why a lock that lies here is that of no spec; "" where it is."""
    path = home.root / one.spec
    if not path.exists():
        return "is not there"
    if find(path).root.resolve() != home.root.resolve():
        return f"is of the project {home.shown(find(path).root)} now"
    return unmade(home, one)


def unmade(home: Project, one: Lock) -> str:
    """Why the file of a spec makes no lock of this name; "" where it does."""
    tree = change.composed(home.root, home.root / one.spec, one.form)
    if tree is None:
        return "cannot be read as a spec"
    return "" if makes(tree, one.name) else f"makes no plan called {one.name}"


def makes(tree: Tree, name: str) -> bool:
    """Whether a spec has this name, and the profile where that names one."""
    data = tree.data if isinstance(tree.data, dict) else {}
    own, _, profile = name.partition("@")
    head, profiles = data.get("metadata"), data.get("profiles")
    known = isinstance(profiles, dict) and profile in profiles
    return isinstance(head, dict) and str(head.get("name")) == own and (known or not profile)


def read(data: bytes | None, place: str, root: str) -> Lock | None:
    """A lock by its text; None where it cannot be read as one. Raises Outcome for one of another layout."""
    from kcompiler import lock
    from kcompiler.cli.views import readable

    try:
        plan = readable(lock.load((data or b"").decode("utf-8")), joined(root, place))
    except (lock.UnreadableLock, UnicodeDecodeError):
        return None
    return Lock(place, str(plan["asked"]["spec"]), plan, root)
