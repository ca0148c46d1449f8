"""Lengths that must agree: prefill shapes, decode cache, training rows, and the contexts of student and teacher."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.lengths import ENDS, PROBED, least, lengths
from kcompiler.facts.models import teacher_architectures
from kcompiler.facts.rows import readable, whole
from kcompiler.facts.teacher import CONTEXT_KEYS, folder_of
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import GeneratorSource
from runtime import catalog

#: fewer rows are a sample of what will come, not the data
_ENOUGH_ROWS = 100
_CONTEXT = "/student/architecture/max_position_embeddings"


def _ascending(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    lengths = spec.shapes.prefill
    for i, (before, length) in enumerate(pairwise(lengths), start=1):
        if length <= before:
            wanted = ", ".join(map(str, sorted(set(lengths))))
            yield tree.diagnostic(
                "KC4101",
                f"/shapes/prefill/{i}",
                "prefill lengths must ascend, each once",
                label=f"{length} comes after {before}",
                help=f"write [{wanted}]",
            )
            return


def _of_length(spec: Spec) -> tuple[str, ...]:
    """Why a dynamic rotation is no way around a context."""
    scaled = spec.student.architecture.rope_scaling
    if scaled is None or scaled.rope_type != "dynamic":
        return ()
    return (
        "dynamic is the plain rotation up to max_position_embeddings and changes all angles with the length of a "
        "longer text, which no table of a package holds; linear, yarn and llama3 have one table for all lengths",
    )


def _prefill(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    context, cache = spec.student.architecture.max_position_embeddings, spec.shapes.decode.context
    for i, length in enumerate(spec.shapes.prefill):
        if length > context:
            yield tree.diagnostic(
                "KC4102",
                f"/shapes/prefill/{i}",
                "a prefill shape is longer than the student's context",
                label=f"{length} tokens, {length - context} too many",
                help=f"remove it, or raise max_position_embeddings to {length}",
                notes=_of_length(spec),
                related=(tree.related(_CONTEXT, f"the student reads {context} tokens"),),
            )
        elif length > cache:
            yield tree.diagnostic(
                "KC4103",
                f"/shapes/prefill/{i}",
                "a prefill shape is longer than the decode cache",
                label=f"{length} tokens, the cache holds {cache}",
                help=f"remove it, or raise decode.context to {length}",
                related=(tree.related("/shapes/decode/context", f"the cache holds {cache} tokens"),),
            )


def _decode(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    context, cache = spec.student.architecture.max_position_embeddings, spec.shapes.decode.context
    if cache > context:
        yield tree.diagnostic(
            "KC4104",
            "/shapes/decode/context",
            "the decode cache is longer than the student's context",
            label=f"{cache} tokens, {cache - context} too many",
            help=f"lower it to {context}, or raise max_position_embeddings",
            notes=_of_length(spec),
            related=(tree.related(_CONTEXT, f"the student reads {context} tokens"),),
        )


def _provable(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Probes pad a sequence of two tokens in the shortest shape; golden vectors decode some tokens after a prompt."""
    shortest, cache = min(spec.shapes.prefill), spec.shapes.decode.context
    if shortest < PROBED:
        yield tree.diagnostic(
            "KC4110",
            f"/shapes/prefill/{spec.shapes.prefill.index(shortest)}",
            "a prefill shape is too short to be probed",
            label=f"{shortest} tokens leave no room for two and one of padding",
            help=f"make the shortest at least {PROBED}",
        )
    steps = spec.verification.decode_steps
    if cache < steps + ENDS:
        yield tree.diagnostic(
            "KC4110",
            "/shapes/decode/context",
            "the decode cache is too short for a golden vector",
            label=f"{cache} tokens; {steps} are decoded after a prompt",
            help=f"raise it to at least {steps + ENDS}, and to the longest prompt and {steps} in practice",
            related=(tree.related("/verification/decode_steps", "so many steps are compared"),),
        )


def _rows(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    context = spec.student.architecture.max_position_embeddings
    for i, stage in enumerate(spec.training.stages):
        if stage.max_length is not None and stage.max_length > context:
            yield tree.diagnostic(
                "KC4105",
                f"/training/stages/{i}/max_length",
                "training rows are longer than the student's context",
                label=f"{stage.max_length} tokens, {stage.max_length - context} too many",
                help=f"lower it to {context}",
                related=(tree.related(_CONTEXT, f"the student reads {context} tokens"),),
            )


def _trained(spec: Spec) -> tuple[int, str]:
    """The longest row that some stage reads, and where that is written. A stage's bound is the longest prefill shape
    unless it declares one."""
    lengths = [
        (stage.max_length or max(spec.shapes.prefill), f"/training/stages/{i}/max_length" if stage.max_length else "")
        for i, stage in enumerate(spec.training.stages)
    ]
    longest, where = max(lengths, key=lambda item: item[0], default=(0, ""))
    return longest, where


def _never_trained(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Positions that no training row reaches stay what they were at random; a shape or cache beyond serves noise."""
    longest, where = _trained(spec)
    if not where:
        return
    related = (tree.related(where, f"no stage reads rows longer than {longest} tokens"),)
    for i, length in enumerate(spec.shapes.prefill):
        if length > longest:
            yield tree.diagnostic(
                "KC4107",
                f"/shapes/prefill/{i}",
                "a prefill shape is longer than any row of training",
                label=f"{length} tokens, positions {longest} to {length - 1} are never trained",
                help=f"remove the shape, or raise max_length to {length}",
                related=related,
            )
    cache = spec.shapes.decode.context
    if cache > longest >= max(spec.shapes.prefill):
        yield tree.diagnostic(
            "KC4108",
            "/shapes/decode/context",
            "the decode cache reaches positions that no row of training has",
            severity="warning",
            label=f"{cache} tokens, positions {longest} to {cache - 1} are never trained",
            help=f"lower it to {longest}, or raise max_length to {cache}",
            related=related,
        )


def _never_reached(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A byte-level vocabulary spends at most one token on a byte, so that the longest row bounds every length."""
    sources = whole(spec.data, world) if spec.tokenizer.source == "train" else None
    rows = [row for read in sources or () for row in read.content.rows]
    if len(rows) < _ENOUGH_ROWS:
        return
    text = max(len(row.prompt.encode()) + len(row.response.encode()) for row in rows)
    fixed = len(spec.tokenizer.template.replace("{prompt}", "").replace("{response}", "").encode()) + ENDS
    longest = text + fixed
    for i, (shorter, length) in enumerate(pairwise(spec.shapes.prefill), start=1):
        if shorter >= longest:
            yield tree.diagnostic(
                "KC4109",
                f"/shapes/prefill/{i}",
                "no row is long enough for a prefill shape",
                severity="warning",
                label=f"{length} tokens; every row fits into {shorter}",
                detail=f"longest of {len(rows):,} rows: {text} bytes + {fixed} of template, start and end = "
                f"at most {longest} tokens",
                help="remove the shape: nothing would train or judge it; or add longer rows",
                related=(tree.related("/data/sources", "the rows", "key"),),
            )


def _too_long(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Rows that no tokenizer trained here could make short enough. The step `tokenizer` measures all of them."""
    spaced = any(" " in tag for tag in spec.tokenizer.single_token_tags)
    if spec.data.too_long != "refuse" or spec.tokenizer.source != "train" or spaced:
        return
    bounds = lengths(spec)
    for read in readable(spec.data, world):
        long = []
        for row in read.content.rows:
            split = spec.data.shares.split_of(read.source.split, row.prompt)
            tokens, (most, field) = least(row.prompt, row.response), bounds[split]
            if tokens > most:
                long.append((tokens, row.place, split, most, field))
        if long:
            tokens, place, split, most, field = max(long, key=lambda one: one[0])
            yield tree.diagnostic(
                "KC4111",
                f"/data/sources/{read.index}/path",
                "rows are longer than anything reads",
                label=f"{place}: at least {tokens:,} tokens; {field} reads {most:,} to {split}",
                help=f"shorten or remove them, raise {field}, or write `too_long: drop` in `data`; rows are never cut",
                notes=(f"{len(long):,} of {len(read.content.rows):,} rows",),
            )


def _made_too_long(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Rows that a generator says it will make: known before any is made."""
    spaced = any(" " in tag for tag in spec.tokenizer.single_token_tags)
    if spec.data.too_long != "refuse" or spec.tokenizer.source != "train" or spaced:
        return
    bounds = lengths(spec)
    for i, source in enumerate(spec.data.sources):
        if not isinstance(source, GeneratorSource):
            continue
        words = catalog.load("generators", source.generator).words
        if words is None:
            continue
        allowed = [bounds[source.split]] if source.split in bounds else list(bounds.values())
        most, field = min(allowed)
        if (tokens := words(source.params)) > most:
            yield tree.diagnostic(
                "KC4111",
                f"/data/sources/{i}/params",
                "rows are longer than anything reads",
                label=f"`{source.generator}` makes rows of at least {tokens:,} tokens; {field} reads {most:,}",
                help=f"make shorter ones, raise {field}, or write `too_long: drop` in `data`; rows are never cut",
            )


def _teacher(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Rows are as long as a stage allows, or as the longest prefill shape; the teacher reads every one of them."""
    stages = enumerate(spec.training.stages)
    allowed = [(stage.max_length or 0, f"/training/stages/{i}/max_length") for i, stage in stages]
    longest, where = max([(max(spec.shapes.prefill), "/shapes/prefill"), *allowed], key=lambda item: item[0])
    reads, place = _teacher_context(spec, world)
    if reads is not None and reads < longest:
        yield tree.diagnostic(
            "KC4106",
            place,
            "rows are longer than the teacher's context",
            label=f"the teacher reads {reads} tokens, rows have up to {longest}",
            help=f"shorten the rows to {reads}, or take a teacher that reads {longest}",
            related=(tree.related(where, f"rows of up to {longest} tokens"),),
        )


def _teacher_context(spec: Spec, world: World) -> tuple[int | None, str]:
    for pointer, architecture in teacher_architectures(spec):
        return architecture.max_position_embeddings, f"{pointer}/max_position_embeddings"
    folder = folder_of(spec, world)
    return (folder.number(*CONTEXT_KEYS) if folder else None), "/teacher/model"


CHECKS = (
    Check(_never_trained, "shapes", "training"),
    Check(_too_long, "shapes", "tokenizer", "data", "training", "teacher"),
    Check(_made_too_long, "shapes", "tokenizer", "data", "training", "teacher"),
    Check(_never_reached, "shapes", "tokenizer", "data"),
    Check(_ascending, "shapes"),
    Check(_prefill, "shapes", "student"),
    Check(_decode, "shapes", "student"),
    Check(_provable, "shapes", "verification"),
    Check(_rows, "training", "student"),
    Check(_teacher, "training", "shapes", "teacher"),
)
