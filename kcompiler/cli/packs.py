"""Words on the command line → policy packs: by name, by folder, or as they were in a revision of git."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.project import Project

if TYPE_CHECKING:
    from kcompiler.cli.governed import Governed
    from kcompiler.policy.load import LoadedPack


@contextmanager
def named(packs: tuple[str, ...]) -> Iterator[list[LoadedPack]]:
    """Packs by their names, folders or revisions. Raises Outcome with every diagnostic printed."""
    from kcompiler import assets, project
    from kcompiler.policy import available, load

    home = project.find(Path.cwd())
    own, shipped = home.root / "policies", assets.folder("policies")
    with tempfile.TemporaryDirectory() as scratch:
        found: list[LoadedPack] = []
        for number, name in enumerate(packs or (available([own]) if own.is_dir() else ())):
            roots, called = _placed(name, [own, shipped], Path(scratch) / str(number), home.root)
            found.append(loaded(load([called], roots), home.root))
        if not found:
            click.echo(f"{home.shown(own)} has no pack", err=True)
            raise Outcome(2, "no-such-pack", "kcompiler policy test caws/core")
        yield found


def _placed(name: str, roots: list[Path], scratch: Path, root: Path) -> tuple[list[Path], str]:
    """Where to look for a pack, and by which name."""
    revision, colon, inside = name.partition(":")
    if colon and not Path(name).exists():
        return then_and_shipped(laid_out(revision, scratch, root)), inside.removeprefix("policies/").rstrip("/")
    folder = Path(name)
    if not (folder / "pack.yaml").is_file():
        return roots, name
    called = _called(folder)
    place = scratch / "policies" / called
    if folder.resolve().parts[-len(Path(called).parts) :] == Path(called).parts:
        return [folder.resolve().parents[len(Path(called).parts) - 1]], called
    shutil.copytree(folder, place)
    return [scratch / "policies"], called


def _called(folder: Path) -> str:
    """The name that a pack gives itself; its folder's where that cannot be read, which the loader then says."""
    import re

    from kcompiler import source
    from kcompiler.policy.rule import PACK_NAME

    tree, _ = source.load("pack.yaml", (folder / "pack.yaml").read_bytes())
    name = tree.get("/name") if tree is not None and isinstance(tree.data, dict) and "name" in tree.data else None
    return name if isinstance(name, str) and re.fullmatch(PACK_NAME, name) else folder.resolve().name


def then_and_shipped(then: Path) -> list[Path]:
    """Where packs of a revision are looked for: what one of them strengthens is of then as well, or ships with
    kcompiler. A checkout of kcompiler has its own."""
    from kcompiler import assets
    from kcompiler.policy import available

    shipped = assets.folder("policies")
    return [then] if set(available([then])) & set(available([shipped])) else [then, shipped]


def laid_out(revision: str, scratch: Path, root: Path) -> Path:
    """The folder of a project's packs as it was in a revision of git, every file as it was committed: no attribute of
    the repository leaves one out. A key that stood there in a text is stars here: whoever takes it out is asked by the
    rules that were there. Raises Outcome."""
    from kcompiler.cli.governed import Governed

    tree = Governed(Project(root), revision)
    return laid(tree, tree.own, scratch)


def laid(tree: Governed, root: str, scratch: Path) -> Path:
    """`laid_out`, of a root that a revision had. Raises Outcome."""
    from kcompiler.cli.governed import joined
    from kcompiler.veil import starred

    folder = joined(root, "policies")
    texts = dict(tree.texts([path for path in tree.entries if path.startswith(f"{folder}/")]))
    if not texts:
        click.echo(f"{tree.revision}:{folder} holds no pack", err=True)
        raise Outcome(2, "no-such-pack", f"git ls-tree -r {tree.revision}")
    for path, data in texts.items():
        file = scratch / "policies" / path.removeprefix(f"{folder}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        text = data.decode("utf-8", "surrogateescape")
        file.write_bytes(starred(text).encode("utf-8", "surrogateescape"))
    return scratch / "policies"


def loaded(found: Any, root: Path) -> LoadedPack:
    """The one pack that was loaded, with every diagnostic printed. Raises Outcome where one is an error."""
    from kcompiler.cli.plans import show_diagnostics

    if found.problems:
        files = {one.file: root / one.file for one in found.problems if one.file}
        show_diagnostics(
            list(found.problems), "human", {name: path.read_bytes() for name, path in files.items() if path.is_file()}
        )
    if not found.packs or any(one.severity == "error" for one in found.problems):
        raise Outcome(2, "no-such-pack" if not found.packs else "unreadable", "mend it, then the same command again")
    pack: LoadedPack = found.packs[0]
    return pack


def read(folder: Path) -> LoadedPack:
    """The pack in a folder. Raises Outcome with every diagnostic printed."""
    with named((str(folder),)) as found:
        return found[0]
