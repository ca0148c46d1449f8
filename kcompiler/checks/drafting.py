"""A drafter and the worker whose tokens it guesses: one tokenizer, or every guess is rejected.

Speculative decoding compares token by token (arXiv 2211.17192): ids of another tokenizer mean other texts. Folders are
compared by what their tokenizers mean, repositories by their commit, and what is trained here by what it is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kcompiler import compose, source
from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.derived import fill
from kcompiler.facts.paths import kind, located
from kcompiler.facts.teacher import SHOWN, folder_at, of_teacher
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.parse import parse
from runtime.contract.vocabulary import differences
from runtime.contract.weights import Weights

#: fields of both specs that decide which ids stand for which texts
_SAME = ("tokenizer.vocab_size", "tokenizer.special", "tokenizer.added", "tokenizer.expand")
#: what else decides a tokenizer that is trained here
_TRAINED = ("data.sources", "data.held_out", "tokenizer.template", "tokenizer.single_token_tags", "execution.seed")


def _named(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    drafts = spec.student.drafts_for
    if spec.student.role == "drafter" and drafts is None:
        yield tree.diagnostic(
            "KC4312",
            "/student/role",
            "a drafter must name the worker whose tokens it guesses",
            label="no `drafts_for` in this section",
            help="write the worker's spec: `drafts_for: worker.yaml`",
        )
    elif spec.student.role != "drafter" and drafts is not None:
        yield tree.diagnostic(
            "KC4312",
            "/student/drafts_for",
            f"a {spec.student.role} drafts for nobody",
            label="only a drafter guesses another model's tokens",
            help="remove the key, or write `role: drafter`",
        )


def _agrees(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    written = spec.student.drafts_for
    if written is None or spec.student.role != "drafter":
        return
    path = located(written, world)
    worker = _worker(path, world) if path is not None and kind(path) == "file" else None
    if path is None or worker is None:
        yield tree.diagnostic(
            "KC4313",
            "/student/drafts_for",
            "the worker's spec cannot be read",
            label="not a valid spec of this project",
            help="name its YAML file, relative to this spec's folder, and see what `kcompiler validate` says of it",
        )
        return
    fields: tuple[str, ...] = ("tokenizer.source", *_SAME)
    if spec.tokenizer.source == worker.tokenizer.source == "train":
        fields = (*_SAME, *_TRAINED)
    elif "train" not in (spec.tokenizer.source, worker.tokenizer.source):
        fields = _SAME
        yield from _taken(spec, worker, tree, world, World(world.root, path.parent))
    for field in fields:
        ours, theirs = _at(spec, field), _at(worker, field)
        if ours != theirs:
            yield _differs(tree, "/" + field.replace(".", "/"), f"{_short(ours)} here, {_short(theirs)} in {written}")


def _taken(spec: Spec, worker: Spec, tree: Tree, here: World, there: World) -> Iterator[Diagnostic]:
    """Two tokenizers that come with weights, whoever's they are."""
    (pointer, ours), (_, theirs) = _weights(spec), _weights(worker)
    if ours is None or theirs is None:
        return  # `tokens` says that there is none to take
    mine, its = folder_at(ours, here), folder_at(theirs, there)
    if mine is None or its is None:
        if (ours.repository, ours.revision) != (theirs.repository, theirs.revision):
            key = ours.key if ours.place != theirs.place else "revision"
            values = [_short(one.revision if key == "revision" else one.place) for one in (ours, theirs)]
            yield _differs(tree, f"{pointer}/{key}", f"{values[0]} here, {values[1]} in {spec.student.drafts_for}")
        return
    words = mine.words, its.words
    if words[0] is None or words[1] is None:
        return  # `tokens` says so of this spec, and of the worker's
    different = differences(words[0], words[1], ("drafter", "worker"))
    if different:
        label = "the two folders' tokenizers do not mean the same"
        yield _differs(tree, f"{pointer}/model", label, different[:SHOWN])


def _weights(spec: Spec) -> tuple[str, Weights | None]:
    """Pointer and weights beside which the tokenizer of a spec lies."""
    if spec.tokenizer.source == "teacher":
        return "/teacher", of_teacher(spec)
    return "/student/checkpoint", spec.student.checkpoint


def _differs(tree: Tree, pointer: str, label: str, notes: Sequence[str] = ()) -> Diagnostic:
    return tree.diagnostic(
        "KC4313",
        pointer,
        "drafter and worker would not share a tokenizer",
        label=label,
        help="give both specs the same tokenizer; a guess in other ids is never accepted",
        notes=notes,
        related=(tree.related("/student/drafts_for", "the worker"),),
    )


def _worker(path: Path, world: World) -> Spec | None:
    """What the worker's spec means, with its fragments in it and every default; None when it means nothing whole."""
    tree, found = source.load(path.name, path.read_bytes())
    if tree is None or any(item.severity == "error" for item in found):
        return None
    base = compose.compose(tree, world.root, path.parent).base
    if base is None or not isinstance(base.data, dict):
        return None
    filled, found = fill(base, World(world.root, path.parent))
    return parse(filled).spec if not found else None


def _at(spec: Spec, field: str) -> Any:
    """The value of a field, in the form it has in text; None where a part of the way is not there."""
    value: Any = spec.model_dump(mode="json", by_alias=True, include={field.partition(".")[0]})
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


CHECKS = (Check(_named, "student"), Check(_agrees, "student", "tokenizer", "teacher", "data", "execution"))
