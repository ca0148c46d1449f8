"""What somebody typed for a teacher → the keys by which a spec names it, and what its files say of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kcompiler.begin.unable import Unable
from kcompiler.diagnostic import did_you_mean
from kcompiler.facts import World, spdx, weights
from kcompiler.facts.models import Unreadable, of_config
from kcompiler.facts.teacher import Folder, folder_in
from runtime.contract import gguf, gguf_model, gguf_words, places, templates
from runtime.contract.architecture import Architecture

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+\Z")
_LICENSE = re.compile(r"^license:\s*[\"']?([A-Za-z0-9.+-]+)[\"']?\s*$", re.MULTILINE)
#: where a project keeps what is of this machine alone
STATE = ".kcompiler"
#: how much of a model card is looked at for its licence
_CARD = 1 << 14
#: what holds weights and is never read: it can run code
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A teacher. `section` are its keys in the spec, `place` is (name, path) of an entry that
    `.kcompiler/models.toml` needs first, `license` and `template` are "" when nothing says them."""

    section: Mapping[str, str]
    architecture: Architecture
    template: str
    license: str
    title: str
    #: the content of its tokenizer.json
    words: str = field(repr=False)
    #: control tokens by the names that chat templates know
    tokens: Mapping[str, str] = field(repr=False)
    place: tuple[str, Path] | None = None


def look(typed: str, world: World) -> Model:
    """The model of a path, of `package:DISTRIBUTION[/FILE]`. Raises Unable."""
    if typed.startswith(places.PACKAGE):
        return _packaged(*typed.removeprefix(places.PACKAGE).partition("/")[::2], world)
    path = Path(typed).expanduser()
    if not path.exists():
        if _HUB.match(typed):
            raise Unable(f"{typed}: no such folder or file here", f"--teacher hf:{typed}, if it is on the Hub")
        raise Unable(f"{typed}: no such folder or file", "name a Transformers folder, a *.gguf file, or package:NAME")
    section, place = _placed(path, world)
    if path.is_dir():
        _whole(path)
        return _model(section, {"source": "hf", **section}, place, world, _of_card(path), path.resolve().name)
    if path.suffix.lower() != ".gguf":
        raise Unable(f"{typed}: a file that is no *.gguf", "name the folder of a model, or its *.gguf file")
    return _model(section, {"source": "gguf", **section}, place, world, "", path.name)


def _placed(path: Path, world: World) -> tuple[dict[str, str], tuple[str, Path] | None]:
    """How a spec in the world's folder names a path: relative where it is in the project, else by a name."""
    whole = path.resolve()
    root = world.root.resolve()
    if whole.is_relative_to(root) and not whole.is_relative_to(root / STATE):
        return {"model": Path(os.path.relpath(whole, world.folder.resolve())).as_posix()}, None
    # no dot: in TOML one parts the keys of a table
    name = re.sub(r"[^a-z0-9_-]+", "-", whole.stem.lower() if whole.is_file() else whole.name.lower()).strip("-_")
    if not places.NAME.match(name):
        name = "teacher"
    return {"model": f"{places.MODELS}{name}"}, (name, whole)


def _whole(folder: Path) -> None:
    """Raises Unable for a folder that holds no model that is read."""
    if not (folder / "config.json").is_file():
        files = sorted(item.name for item in folder.glob("*.gguf"))
        way = f"name the file: --teacher {folder}/{files[0]}" if files else "name the folder that holds config.json"
        raise Unable(f"{folder}: no Transformers folder (it has no config.json)", way)
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(item.name for item in folder.iterdir() if item.suffix in _PICKLES)
    if pickled:
        raise Unable(
            f"{folder}: its weights are pickled ({pickled[0]}), which can run code when it is read",
            "save them as safetensors, or take the *.safetensors that most authors publish beside them",
        )
    raise Unable(f"{folder}: the folder has no weights (*.safetensors)", "take the weights that belong to config.json")


def _packaged(distribution: str, file: str, world: World) -> Model:
    shipped = places.shipped(distribution, ".gguf")
    if shipped is None:
        raise Unable(
            f"no distribution `{distribution}` is installed here",
            f"{places.install(distribution)}, with the Python that runs kcompiler (its files alone are read)",
        )
    known = ", ".join(shipped)
    if not shipped:
        raise Unable(f"`{distribution}` ships no *.gguf file", "name a distribution that ships a model")
    if not file and len(shipped) > 1:
        raise Unable(f"`{distribution}` ships {known}", f"say which: package:{distribution}/FILE")
    chosen = [one for one in shipped if one == file or one.endswith(f"/{file}")] if file else shipped
    if len(chosen) != 1:
        raise Unable(f"`{distribution}` ships no file `{file}`", did_you_mean(file, shipped) or f"it ships {known}")
    section = {"distribution": distribution, "file": chosen[0].rpartition("/")[2]}
    said = importlib.metadata.metadata(distribution)
    license = next((_spdx(said[key]) for key in ("License-Expression", "License") if key in said), "")
    return _model(section, {"source": "package", **section}, None, world, license, distribution)


def _model(
    named: Mapping[str, str],
    section: dict[str, str],
    place: tuple[str, Path] | None,
    world: World,
    license: str,
    title: str,
) -> Model:
    """What the files say. A place that is not yet in models.toml is looked at where it is."""
    folder = _opened(section, place, world)
    try:
        architecture = Architecture.model_validate(
            {**of_config(folder.config), "vocab_size": folder.config.get("vocab_size")}
        )
    except Unreadable as reason:
        raise Unable(
            f"{title}: {reason}", "a student of your own shape can be taught by it: see `kcompiler init --list`"
        ) from None
    except ValueError as reason:
        raise Unable(f"{title}: its config.json is no model: {str(reason).splitlines()[0]}", "take it again") from None
    if folder.packed is not None and not license:
        license = _spdx(str(folder.packed.header.metadata.get("general.license", "")))
    return Model(
        section=section,
        architecture=architecture,
        template=_template(folder),
        license=license,
        title=title,
        words=json.dumps(folder.tokenizer),
        tokens=_tokens(folder),
        place=place,
    )


def _tokens(folder: Folder) -> dict[str, str]:
    """What tokenizer_config.json calls its control tokens: texts, or objects with one."""
    said = folder.document("tokenizer_config.json", strict=False)
    found = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = said.get(name)
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str):
            found[name] = text
    return found


def _template(folder: Folder) -> str:
    """Its chat template, ""  where it has none."""
    if folder.packed is not None:
        return folder.packed.chat_template
    try:
        return templates.chat_template(folder.path) or ""
    except ValueError as reason:
        raise Unable(f"{folder.path}: {reason}", "take the template that belongs to this model") from None


def _opened(section: Mapping[str, str], place: tuple[str, Path] | None, world: World) -> Folder:
    if place is not None:
        _, path = place
        inside = World(path.parent, path.parent, world.packs)
        where = weights.Where(path.name, "model", section["source"] == "gguf")
        found = folder_in(where, inside)
    else:
        named = weights.written(dict(section))
        assert named is not None
        path, found = Path(named.place), folder_in(named, world)
        path = weights.path_of(named, world) or path
    if found is None:
        raise Unable(f"{path}: the model cannot be read{_why(path)}", "take it again, whole, from where it came")
    return found


def _why(path: Path) -> str:
    """What is wrong with a GGUF file."""
    try:
        gguf_model.read(path)
    except (gguf.Broken, gguf_words.Unsupported, OSError) as reason:
        return f": {reason}"
    return ""


def _of_card(folder: Path) -> str:
    """The licence that a model card states at its head; "" when there is none."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
            head = file.read(_CARD)
    except OSError:
        return ""
    found = _LICENSE.search(head) if head.startswith("---") else None
    return _spdx(found[1]) if found else ""


def _spdx(text: str) -> str:
    """A licence as SPDX writes it; "" for what it does not know."""
    try:
        names = {name for way in spdx.ways(text.strip()) for name in way}
    except ValueError:
        return ""
    if len(names) == 1:
        return spdx.canonical(next(iter(names))) or ""
    return text.strip() if names and all(spdx.canonical(name) == name for name in names) else ""
