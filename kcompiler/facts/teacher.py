"""What the folder of somebody's weights says about itself, as far as it can be read without any library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kcompiler.facts import World
from kcompiler.facts import weights as lying
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract import Step, gguf_model, templates
from runtime.contract.gguf import Broken
from runtime.contract.gguf_words import Unsupported
from runtime.contract.strict_json import Json, loads
from runtime.contract.vocabulary import Meaning, differences, meaning
from runtime.contract.weights import Weights

#: far above any real file of this kind: Llama 3's tokenizer.json has 9 MB
MAX_JSON_BYTES = 64 << 20
#: formats that run code when they are loaded (pickle, directly or inside a zip)
PICKLED = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
#: what a teacher can do whose weights are here and whose tokenizer is not the spec's
IN_TEXT = "let this teacher answer in text: source openai (`kcompiler serve` is such a server) or recorded"
#: so many differences of two tokenizers are told
SHOWN = 3
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length")


@dataclass(frozen=True)
class Folder:
    """A folder of weights, or the one that a GGUF file becomes: `packed` is then what the file is, and `path` the file.

    `config` and `tokenizer` are empty when the file is absent or no JSON object.
    """

    path: Path
    config: dict[str, Json] = field(repr=False)
    tokenizer: dict[str, Json] = field(repr=False)
    packed: gguf_model.Model | None = field(default=None, repr=False)

    def has(self, name: str) -> bool:
        """Whether a file lies in it."""
        if self.packed is None:
            return (self.path / name).is_file()
        return name in self.packed.documents or (name == gguf_model.CHAT_TEMPLATE and self.packed.chat_template != "")

    def document(self, name: str, *, strict: bool = True) -> dict[str, Json]:
        """A JSON object that lies in it, or an empty one (see `json_object`)."""
        if self.packed is None:
            return json_object(self.path / name, strict=strict)
        return dict(self.packed.documents.get(name, {}))

    @property
    def chat_template(self) -> str | None:
        """The chat template that its tokenizer brings, None without one. Raises ValueError for a file that is none."""
        return templates.chat_template(self.path) if self.packed is None else self.packed.chat_template or None

    @property
    def words(self) -> Meaning | None:
        """What its tokenizer means; None when it has none that can be read."""
        return meaning(self.tokenizer)

    def number(self, *keys: str) -> int | None:
        """The first of these integers in config.json, or in its `text_config`."""
        inner = self.config.get("text_config")
        for level in (self.config, inner if isinstance(inner, dict) else {}):
            for key in keys:
                value = level.get(key)
                if isinstance(value, int) and not isinstance(value, bool):
                    return value
        return None


def weights_of(spec: Spec) -> Iterator[tuple[str, Weights]]:
    """(pointer, weights) of everything that somebody else trained and a spec names."""
    if isinstance(spec.teacher.params, Weights):
        yield "/teacher", spec.teacher.params
    if spec.student.checkpoint is not None:
        yield "/student/checkpoint", spec.student.checkpoint


def has_weights(spec: Spec) -> bool:
    """Whether the teacher's weights are here when its step has run, so that it can be asked for logits, be evaluated
    and be cut; else it answers."""
    step: Step = catalog.load("steps", catalog.load("teachers", spec.teacher.source).step)
    return not callable(step.gives) and "checkpoint" in step.gives


def of_teacher(spec: Spec) -> Weights | None:
    """The teacher's weights, when it has any of its own."""
    return spec.teacher.params if isinstance(spec.teacher.params, Weights) else None


def folder_of(spec: Spec, world: World) -> Folder | None:
    """The teacher's folder, when it lies inside the project; `references` says what is wrong with one that does not."""
    return folder_at(of_teacher(spec), world)


def folder_at(weights: Weights | None, world: World) -> Folder | None:
    """The folder of some weights, where it may be read; None for a repository."""
    return None if weights is None else folder_in(lying.of(weights), world)


def tokenizer_folder(spec: Spec, world: World) -> Folder | None:
    """The folder that a taken tokenizer comes from, where it may be read."""
    own = {"teacher": of_teacher(spec), "student": spec.student.checkpoint}
    return folder_at(own.get(spec.tokenizer.source), world)


def folder_in(where: lying.Where, world: World) -> Folder | None:
    """The folder of a model by what names it; None for a repository, for what is not here, and for a GGUF file that
    cannot be used."""
    path = lying.path_of(where, world)
    if path is None:
        return None
    if not where.packed:
        return Folder(path, json_object(path / "config.json"), json_object(path / "tokenizer.json", strict=False))
    try:
        model = gguf_model.read(path)
    except (Broken, Unsupported, OSError):
        return None
    return Folder(path, model.documents[gguf_model.CONFIG], model.documents[gguf_model.TOKENIZER], model)


def apart(spec: Spec, world: World) -> list[str]:
    """Why the teacher's and the student's own tokenizers do not mean the same ids; empty when they do, and when one
    of them is not here to be read (a repository: the tokenizer step compares them when they were fetched)."""
    folders = (("teacher", folder_of(spec, world)), ("student", folder_at(spec.student.checkpoint, world)))
    found: list[Meaning] = []
    for who, folder in folders:
        if folder is None:
            return []
        words = folder.words
        if words is None:
            return [f"the {who}'s folder has no tokenizer.json whose vocabulary could be compared"]
        found.append(words)
    return differences(found[0], found[1], ("teacher", "student"))


class Foreign(NamedTuple):
    """Why the spec's tokenizer is not that of a teacher whose weights are here."""

    label: str
    notes: tuple[str, ...]


def foreign(spec: Spec, world: World) -> Foreign | None:
    """None for a tokenizer that means what the teacher's means, or whose files are not here to be read."""
    if of_teacher(spec) is None or spec.tokenizer.source == "teacher":
        return None
    if spec.tokenizer.source == "train":
        return Foreign("a new tokenizer is trained", ())
    different = apart(spec, world)
    return Foreign("the student keeps its own", tuple(different[:SHOWN])) if different else None


def json_object(path: Path, *, strict: bool = True) -> dict[str, Json]:
    """A JSON object from a file, or an empty one.

    A tokenizer's own file is not read strictly: merge tables may hold halves of surrogate pairs.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
            return {}
        value = loads(path.read_bytes()) if strict else json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
