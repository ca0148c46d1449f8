"""Words on the command line → policy packs: by name, by folder, or as they were in a revision of git."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli.outcome import Outcome

if TYPE_CHECKING:
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
    """The folder of packs as it was in a revision of git. A key that stood there in a text is stars here: whoever takes
    it out is asked by the rules that were there. Raises Outcome."""
    from kcompiler.cli.revision import git
    from kcompiler.veil import starred

    archive = git("archive", revision, "policies", options=["--format=tar"], at=str(root))
    try:
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(scratch, filter="data")
    except tarfile.TarError as reason:
        click.echo(f"{revision} holds what cannot be laid out: {reason}", err=True)
        raise Outcome(2, "unreadable", "kcompiler policy diff --help") from None
    for file in (scratch / "policies").rglob("*"):
        if file.is_file() and (data := file.read_bytes()) != (without := starred(data)):
            file.write_bytes(without)
    return scratch / "policies"


def loaded(found: Any, root: Path) -> LoadedPack:
    """The one pack that was loaded. Raises Outcome with every diagnostic printed."""
    from kcompiler.cli.plans import show_diagnostics

    if found.problems or not found.packs:
        files = {one.file: root / one.file for one in found.problems if one.file}
        show_diagnostics(
            list(found.problems), "human", {name: path.read_bytes() for name, path in files.items() if path.is_file()}
        )
        raise Outcome(2, "no-such-pack" if not found.packs else "unreadable", "mend it, then the same command again")
    pack: LoadedPack = found.packs[0]
    return pack


def read(folder: Path) -> LoadedPack:
    """The pack in a folder. Raises Outcome with every diagnostic printed."""
    with named((str(folder),)) as found:
        return found[0]
