"""A path or a name as written in a spec → where it lies, if it may lie there."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from kcompiler.diagnostic import Diagnostic, did_you_mean, suggest
from kcompiler.facts import World
from kcompiler.source import Tree
from runtime.contract.places import FILE, MODELS, NAME, NoPlace, folder_of, named
from runtime.contract.weights import REMOTE

_ABSOLUTE = re.compile(r"[/~\\]|[A-Za-z]:")


def relative(written: str) -> bool:
    """Whether a path is one that means the same on every machine: relative, `/` between folders."""
    return not _ABSOLUTE.match(written) and "\\" not in written


def inside(path: Path, world: World) -> bool:
    """Whether a path, with every `..` and symbolic link followed, lies below the project's root."""
    try:
        return path.resolve().is_relative_to(world.root.resolve())
    except (OSError, RuntimeError, ValueError):
        # a loop of links, or a name no file system takes
        return False


def leaves_by_link(written: str, world: World) -> bool:
    """Whether it is a symbolic link, and not the text of the path, that leads out of the project."""
    plain = Path(os.path.normpath(world.folder.resolve() / written))
    return plain.is_relative_to(world.root.resolve())


def kind(path: Path) -> str:
    """What lies there: "file", "folder", "other" (a pipe, a device), or "" for nothing."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        # absent, or a name too long for any file system
        return ""
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def located(written: str, world: World) -> Path | None:
    """The file or folder itself; None for a path that no reference may use. It need not exist."""
    if not relative(written) or not inside(world.folder / written, world):
        return None
    return (world.folder / written).resolve()


def wrong_path(tree: Tree, world: World, pointer: str, written: str, *, folder: bool) -> Iterator[Diagnostic]:
    """Why a path as written leads to no file (or folder) of the project."""
    if not relative(written):
        yield tree.diagnostic(
            "KC4403",
            pointer,
            "a path must be relative to the spec's folder, with `/` between names",
            label="means something else on another machine",
            help=f"write `models:NAME`, and the folder beside NAME in {FILE}"
            if folder
            else "copy the data into the project and name it from there",
        )
        return
    path = world.folder / written
    if not inside(path, world):
        label = "a symbolic link leads outside" if leaves_by_link(written, world) else "leads outside"
        yield tree.diagnostic(
            "KC4402",
            pointer,
            "a path leaves the project",
            label=label,
            help=f"write `models:NAME`, and the folder beside NAME in {FILE}"
            if folder
            else f"keep it below the project's root, the folder `{world.root.resolve().name}`",
        )
        return
    wanted, found = "folder" if folder else "file", kind(path)
    if not found:
        yield tree.diagnostic(
            "KC4401", pointer, f"no such {wanted}", label="does not exist", help=_neighbour(path, written)
        )
    elif found != wanted:
        yield tree.diagnostic(
            "KC4404",
            pointer,
            f"a {wanted} is wanted here",
            label="this is a pipe or a device" if found == "other" else f"this is a {found}",
            help="write `source: gguf` for a GGUF file"
            if folder and path.suffix.lower() == ".gguf"
            else f"name the {'folder that holds it' if folder else 'file itself'}",
        )


def _neighbour(path: Path, written: str) -> str:
    """A name beside the missing one that somebody may have meant."""
    try:
        names = sorted(item.name for item in path.parent.iterdir())
    except OSError:
        return f"the folder `{path.parent.name}` does not exist either; paths start at the spec's folder"
    near = [f"{written.removesuffix(path.name)}{name}" for name in suggest(path.name, names)]
    return did_you_mean(written, near) if near else "paths start at the spec's folder"


def model_folder(written: str, world: World) -> Path | None:
    """The folder of a model: below the project's root, or where this machine keeps it. None when there is none."""
    try:
        path = folder_of(world.root, named(written)) if named(written) else located(written, world)
    except NoPlace:
        return None
    return path if path is not None and kind(path) == "folder" else None


def unplaced(tree: Tree, world: World, pointer: str, written: str) -> Diagnostic | None:
    """What is wrong with `models:NAME` on this machine; None when it leads to a folder, or is no such name."""
    if not written.startswith(MODELS):
        return None
    name = written.removeprefix(MODELS)
    if not NAME.match(name):
        return tree.diagnostic(
            "KC4442",
            pointer,
            "this is no name of a model",
            label="not models:NAME",
            help="write small letters, digits, `-`, `_` and `.`, as in models:smollm2-135m",
        )
    try:
        folder_of(world.root, name)
    except NoPlace as reason:
        return tree.diagnostic(
            "KC4441",
            pointer,
            f"this machine has no place for the model `{name}`",
            label=str(reason),
            help=f'write its folder into {FILE} at the project\'s root: {name} = "/where/it/is"',
            notes=("the digest beside the name says which weights they must be; places are not part of spec or lock",),
        )
    return None


def wrong_folder(tree: Tree, world: World, pointer: str, written: str) -> Iterator[Diagnostic]:
    """Why the folder of a model is not here; nothing for a repository, which is looked at when it was fetched."""
    if written.startswith(MODELS):
        lacking = unplaced(tree, world, pointer, written)
        yield from () if lacking is None else (lacking,)
    elif not written.startswith(REMOTE):
        yield from wrong_path(tree, world, pointer, written, folder=True)
