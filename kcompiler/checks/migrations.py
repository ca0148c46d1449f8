"""A checkpoint whose vocabulary is migrated to the spec's: there are weights, they say what their ids mean, and the
two vocabularies are not one."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.teacher import apart, folder_at, folder_of
from kcompiler.source import Tree
from kcompiler.spec import Spec

_MIGRATE, _CHECKPOINT = "/student/migrate", "/student/checkpoint"
#: the kinds of tokenizer.json whose tokens are bytes of a text; one without a kind is read as BPE
KINDS = ("BPE", "Unigram")


def _can_be(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    if spec.student.migrate is None:
        return
    label, way, note = _fault(spec, world)
    if label:
        yield tree.diagnostic(
            "KC4354",
            _MIGRATE,
            "there is no vocabulary to migrate",
            on="key",
            label=label,
            help=way,
            related=(tree.related(f"{_CHECKPOINT}", note, "key"),) if note else (),
        )


def _fault(spec: Spec, world: World) -> tuple[str, str, str]:
    """(what is wrong, what to do, what the checkpoint's place is told), empty texts where nothing is."""
    if spec.student.checkpoint is None:
        return "the student starts from no weights", "name them in student.checkpoint, or remove `migrate`", ""
    folder = folder_at(spec.student.checkpoint, world)
    if folder is None:
        return "", "", ""
    model = folder.tokenizer.get("model")
    if not isinstance(model, dict) or not model.get("vocab"):
        way = "take the tokenizer.json that belongs to these weights, or let the student start from random weights"
        return "what its rows mean is not known", way, "these weights have no tokenizer.json with a vocabulary"
    kind = model.get("type") or "BPE"
    if kind not in KINDS:
        way = f"take weights with a tokenizer of kind {' or '.join(KINDS)}, or remove `migrate`"
        return f"its tokenizer is of kind {kind}, whose tokens are no bytes", way, "of these weights"
    width, same = folder.number("vocab_size"), "remove `migrate`: every row stays where it is"
    if width is None or width != spec.tokenizer.vocab_size or spec.tokenizer.added or spec.tokenizer.expand:
        return "", "", ""
    if spec.tokenizer.source == "student":
        return "the spec's tokenizer is the one of these weights", same, "it is taken from here"
    teacher = folder_of(spec, world) if spec.tokenizer.source == "teacher" else None
    if teacher is not None and teacher.words is not None and not apart(spec, world):
        return "its ids mean what the teacher's mean", same, "these weights have the same vocabulary"
    return "", "", ""


CHECKS = (Check(_can_be, "student", "tokenizer", "teacher"),)
