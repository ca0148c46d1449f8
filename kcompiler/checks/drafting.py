"""A drafter and the worker whose tokens it guesses: one tokenizer, or every guess is rejected.

Speculative decoding compares token by token (arXiv 2211.17192): ids of another tokenizer mean other texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kcompiler import compose, source
from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.paths import kind, located
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.parse import parse

#: fields of both specs that decide which ids stand for which texts
_SAME = ("tokenizer.source", "tokenizer.vocab_size", "tokenizer.special", "tokenizer.added")
#: source of the tokenizer → what else decides it
_FROM = {
    "teacher": ("teacher.model", "teacher.revision"),
    "student": ("student.checkpoint.model", "student.checkpoint.revision"),
    "train": ("data.sources", "data.held_out", "tokenizer.template", "tokenizer.single_token_tags", "execution.seed"),
}


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
    if worker is None:
        yield tree.diagnostic(
            "KC4313",
            "/student/drafts_for",
            "the worker's spec cannot be read",
            label="not a valid spec of this project",
            help="name its YAML file, relative to this spec's folder, and see what `kcompiler validate` says of it",
        )
        return
    for field in (*_SAME, *_FROM[spec.tokenizer.source]):
        ours, theirs = _at(spec, field), _at(worker, field)
        if ours != theirs:
            yield tree.diagnostic(
                "KC4313",
                "/" + field.replace(".", "/"),
                "drafter and worker would not share a tokenizer",
                label=f"{_short(ours)} here, {_short(theirs)} in {written}",
                help="give both specs the same tokenizer; a guess in other ids is never accepted",
                related=(tree.related("/student/drafts_for", "the worker"),),
            )


def _worker(path: Path, world: World) -> Spec | None:
    """What the worker's spec means, with its fragments in it and every default; None when it means nothing whole."""
    tree, found = source.load(path.name, path.read_bytes())
    if tree is None or any(item.severity == "error" for item in found):
        return None
    base = compose.compose(tree, world.root, path.parent).base
    return parse(base).spec if base is not None and isinstance(base.data, dict) else None


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
