"""What a section says about weights that somebody else made → where they lie here, and why they cannot be had.

A section is read as it is written, before it has a model: what a spec leaves to its weights is filled in first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts import World
from kcompiler.facts.paths import kind, located, model_folder, unplaced, wrong_folder, wrong_path
from kcompiler.source import Tree, Value, child
from runtime.contract import gguf_model, places
from runtime.contract.gguf import Broken
from runtime.contract.gguf_words import Unsupported
from runtime.contract.weights import REMOTE, FileWeights, FolderWeights, PackagedWeights, Weights

#: value of `source` → the form of weights it stands for
FORMS: Mapping[str, type[Weights]] = {"hf": FolderWeights, "gguf": FileWeights, "package": PackagedWeights}


@dataclass(frozen=True)
class Where:
    """Weights by how a lock names them, the key that names them, and whether they are one GGUF file."""

    place: str
    key: str
    packed: bool

    @property
    def remote(self) -> bool:
        """Whether they are in a repository, which is looked at when it was fetched."""
        return self.place.startswith(REMOTE) and not self.packed


def of(weights: Weights) -> Where:
    return Where(weights.place, weights.key, weights.packed)


def written(section: Value) -> Where | None:
    """Where a section as it is written says that weights lie; None when it says nothing whole, or names no weights."""
    form = FORMS.get(str(section.get("source", "hf"))) if isinstance(section, dict) else None
    if form is None or not isinstance(section, dict):
        return None
    if form is PackagedWeights:
        distribution, file = section.get("distribution"), section.get("file")
        if not isinstance(distribution, str) or not isinstance(file, str):
            return None
        return Where(f"{places.PACKAGE}{distribution}/{file}", form.key, form.packed)
    model = section.get("model")
    return Where(model, form.key, form.packed) if isinstance(model, str) else None


def path_of(where: Where, world: World) -> Path | None:
    """The folder or the file itself; None for a repository, and for what is not here."""
    if where.remote:
        return None
    if not where.packed:
        return model_folder(where.place, world)
    try:
        elsewhere = places.elsewhere(where.place)
        path = places.place_of(world.root, where.place) if elsewhere else located(where.place, world)
    except places.NoPlace:
        return None
    return path if path is not None and kind(path) == "file" else None


def wrong(tree: Tree, world: World, pointer: str, where: Where) -> Iterator[Diagnostic]:
    """Why weights cannot be had here; nothing for a repository. `pointer` is the section that names them."""
    place = child(pointer, where.key)
    if not where.packed:
        yield from wrong_folder(tree, world, place, where.place)
        return
    lacking = list(_absent(tree, world, place, where.place))
    yield from lacking
    path = path_of(where, world)
    if not lacking and path is not None:
        yield from _unusable(tree, place, path)


def _absent(tree: Tree, world: World, pointer: str, place: str) -> Iterator[Diagnostic]:
    if place.startswith(places.PACKAGE):
        distribution, _, file = place.removeprefix(places.PACKAGE).partition("/")
        try:
            places.packaged(distribution, file)
        except places.NoPlace as reason:
            yield tree.diagnostic(
                "KC4321",
                pointer,
                "this machine has no such file of a distribution",
                label=str(reason),
                help=_way(distribution, file),
                notes=("the digest beside the name says which weights they must be",),
            )
    elif place.startswith(places.MODELS) and places.NAME.match(places.named(place)):
        try:
            path = places.place_of(world.root, place)
        except places.NoPlace as reason:
            name = places.named(place)
            yield tree.diagnostic(
                "KC4441",
                pointer,
                f"this machine has no place for the model `{name}`",
                label=str(reason),
                help=f'write where it is into {places.FILE} at the project\'s root: {name} = "/where/it/is"',
                notes=("the digest beside the name says which weights they must be; places are not part of spec or "
                       "lock",),
            )  # fmt: skip
            return
        if kind(path) != "file":
            yield _no_file(tree, pointer, path, place)
    elif place.startswith(places.MODELS):
        lacking = unplaced(tree, world, pointer, places.MODELS + places.named(place))
        yield from () if lacking is None else (lacking,)
    elif place.startswith(REMOTE):
        yield tree.diagnostic(
            "KC4401",
            pointer,
            "no such file",
            label="a repository of the Hub",
            help="load the file from there and name it here; only Transformers folders are fetched, with `source: hf`",
        )
    else:
        path_here = located(place, world)
        if path_here is not None and kind(path_here) == "folder":
            yield _no_file(tree, pointer, path_here, place)
        else:
            yield from wrong_path(tree, world, pointer, place, folder=False)


def _no_file(tree: Tree, pointer: str, path: Path, place: str) -> Diagnostic:
    """A folder where a file is wanted: perhaps one that holds such a file, perhaps a Transformers folder."""
    files = sorted(item.name for item in path.glob("*.gguf")) if kind(path) == "folder" else []
    if files:
        inside = place.rstrip("/")
        way = f"name a file in it: {', '.join(f'{inside}/{name}' for name in files[:3])}"
    else:
        way = "write `source: hf` for a Transformers folder, or name the *.gguf file"
    found = "folder" if kind(path) == "folder" else "pipe or a device"
    return tree.diagnostic("KC4404", pointer, "a GGUF file is wanted here", label=f"this is a {found}", help=way)


def _way(distribution: str, file: str) -> str:
    files = places.shipped(distribution, ".gguf")
    if files is None:
        return f"`{places.install(distribution)}` with the Python that runs kcompiler: its files alone are read"
    if not files:
        return "it ships no GGUF file at all; name the distribution that does"
    names = [name.rpartition("/")[2] for name in files]
    return did_you_mean(file.rpartition("/")[2], names) or f"it ships {', '.join(files[:3])}"


def _unusable(tree: Tree, pointer: str, path: Path) -> Iterator[Diagnostic]:
    try:
        gguf_model.read(path)
    except Broken as reason:
        yield tree.diagnostic(
            "KC4320",
            pointer,
            "the GGUF file cannot be read",
            label=str(reason),
            help="take the file again, whole, from where it came"
            if path.suffix.lower() == ".gguf"
            else "name a *.gguf file; weights of PyTorch become one, or safetensors, with their authors' own tools",
        )
    except Unsupported as reason:
        yield tree.diagnostic(
            "KC4322",
            pointer,
            "the GGUF file cannot be carried over exactly",
            label=reason.message,
            help=reason.action,
        )
    except OSError as reason:
        yield tree.diagnostic(
            "KC4320", pointer, "the GGUF file cannot be read", label=reason.strerror or "", help="check its permissions"
        )
