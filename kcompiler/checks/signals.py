"""What losses need against what teacher and data give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts.rows import readable
from kcompiler.facts.teacher import IN_TEXT, foreign
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource
from runtime import catalog
from runtime.contract import Loss, Refusal, Step, Teacher
from runtime.contract.conditions import FACTS, MASKS
from runtime.contract.layers import OF_WEIGHTS
from runtime.contract.splits import TEST, TRAIN, VALIDATION

_LOGITS, _TEXT, _WHOLE = "logits", "text", "response"


def _given(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    teacher: Teacher = catalog.load("teachers", spec.teacher.source)
    given = teacher.gives(spec.teacher.params) if teacher.gives else teacher.signals
    for i, signal in enumerate(spec.teacher.signals):
        if signal not in given:
            asked = signal in teacher.signals
            yield tree.diagnostic(
                "KC4202",
                f"/teacher/signals/{i}",
                f"a teacher of source `{teacher.name}` cannot give `{signal}`{' as it is asked' if asked else ''}",
                label="not with these parameters" if asked else "not a signal of this source",
                help="ask for it: `top_logprobs` at least 2"
                if asked
                else f"it gives {', '.join(sorted(teacher.signals)) or 'nothing'}",
            )


def _terms(spec: Spec) -> Iterator[tuple[str, Loss]]:
    """(pointer, loss) of every term of every stage."""
    for s, stage in enumerate(spec.training.stages):
        for t, term in enumerate(stage.losses):
            yield f"/training/stages/{s}/losses/{t}/term", catalog.load("losses", term.term)


def _needed(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for pointer, loss in _terms(spec):
        missing = sorted(loss.needs - set(spec.teacher.signals))
        if not missing:
            continue
        ways = _ways_out(spec, loss, missing)
        yield tree.diagnostic(
            "KC4201",
            pointer,
            f"loss `{loss.name}` needs a signal that the teacher does not give",
            label=f"needs `{'`, `'.join(missing)}`",
            help=", or ".join(ways),
            related=(tree.related("/teacher/signals", "the teacher gives only these", "key"),),
        )


def _ways_out(spec: Spec, loss: Loss, missing: list[str]) -> list[str]:
    """What could be changed so that a term gets its signals."""
    source: Teacher = catalog.load("teachers", spec.teacher.source)
    if set(missing) <= source.signals:
        ways = [f"add `{'`, `'.join(missing)}` to teacher.signals"]
    else:
        able = [name for name in catalog.names("teachers") if set(missing) <= _usable("teachers", name, "signals")]
        ways = [f"take a teacher of source {_either(able)}"] if able else []
    enough = set(spec.teacher.signals)
    others = [
        name
        for name in catalog.names("losses")
        if _usable("losses", name, "needs") <= enough
        and _usable("losses", name, "mask") == loss.mask
        and not _usable("losses", name, "head")
    ]
    if others:
        ways.append(f"replace the term by {_either(others)}, which needs no more than there is")
    possible = [
        name
        for name in catalog.names("losses")
        if answers(spec)
        and not _usable("losses", name, "needs") <= enough
        and _usable("losses", name, "needs") <= source.signals - set(missing)
    ]
    if possible:
        needed = sorted(set().union(*(_usable("losses", name, "needs") for name in possible)))
        ways.append(f"ask this teacher for `{'`, `'.join(needed)}` and use {_either(possible)}")
    return ways


def _either(names: list[str]) -> str:
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def answers(spec: Spec) -> bool:
    """Whether the teacher is asked for answers; else its weights are loaded and asked for logits."""
    step: Step = catalog.load("steps", catalog.load("teachers", spec.teacher.source).step)
    return not callable(step.gives) and "answers" in step.gives


def _usable(room: str, name: str, attribute: str) -> Any:
    """An attribute of a plug-in; of a broken one, which only its own use reports, something that fits nothing."""
    try:
        return getattr(catalog.load(room, name), attribute)
    except (Refusal, ImportError, AttributeError):
        return frozenset({"nothing"}) if attribute == "needs" else frozenset()


def _supervised(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for pointer, loss in _terms(spec):
        if loss.mask in spec.data.targets or loss.mask in MASKS:
            continue
        yield tree.diagnostic(
            "KC4204",
            pointer,
            f"loss `{loss.name}` supervises a part of the rows that the data does not declare",
            label=f"supervises `{loss.mask}`",
            help=f"add `{loss.mask}` to data.targets if the rows carry it, or remove the term",
            related=(tree.related("/data/targets", f"declared: {', '.join(spec.data.targets)}", "key"),),
        )


def _produced(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A span that no row of the training split can carry leaves its loss without a single token."""
    carried = _carried(spec, world)
    for i, target in enumerate(spec.data.targets if carried is not None else []):
        if target != _WHOLE and target not in (carried or ()):
            known = ", ".join(sorted(carried or ()))
            yield tree.diagnostic(
                "KC4205",
                f"/data/targets/{i}",
                f"no row that is trained on carries spans called `{target}`",
                label="nothing to supervise",
                help=did_you_mean(target, carried or ())
                or "add a source whose rows have such spans, map them with `fields: {spans: …}`, or remove the target",
                related=(tree.related("/data/sources", f"spans of these rows: {known or 'none'}", "key"),),
            )


def _carried(spec: Spec, world: World) -> set[str] | None:
    """Names of the spans in all rows that may be trained on; None when a source cannot tell."""
    names: set[str] = set()
    files = {read.index: read.content for read in readable(spec.data, world)}
    for i, source in enumerate(spec.data.sources):
        if not spec.data.shares.share(source.split, TRAIN):
            continue
        if isinstance(source, FileSource):
            if i not in files or files[i].wrong:
                return None
            names.update(name for row in files[i].rows for name in row.spans)
        else:
            spans = catalog.load("generators", source.generator).spans
            if spans is None:
                return None
            names |= spans
    return names


def _conditioned(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A term that depends on what rows say of themselves needs rows that say it: one at least has all of it."""
    rows = _trained(spec, world)
    for pointer, loss in _terms(spec):
        read = [MASKS[loss.mask]] if loss.mask in MASKS else []
        read += [FACTS[fact].source for fact in sorted(loss.facts)]
        for source in read:
            lacking = [] if rows is None else source.lacking_in(rows)
            if lacking:
                yield tree.diagnostic(
                    "KC4270",
                    pointer,
                    f"no row that is trained on says what loss `{loss.name}` depends on",
                    label=f"reads {source.says}",
                    help=f"give rows that carry {' and '.join(lacking)}, or remove the term",
                    related=(tree.related("/data/sources", "none of these rows has it", "key"),),
                )
                break


def _judged(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """An answer that its own row calls wrong is none to measure by."""
    for read in readable(spec.data, world):
        source, shares = spec.data.sources[read.index], spec.data.shares
        used = [split for split in (TEST, VALIDATION) if shares.share(source.split, split)]
        wrong = [row for row in read.content.rows if row.whole.get("wanted", {}).get("right") is False]
        if used and wrong and not read.content.wrong:
            yield tree.diagnostic(
                "KC4662",
                f"/data/sources/{read.index}",
                f"{len(wrong)} rows of source `{source.name}` call their own answer wrong, and may be measured by",
                label=f"its rows come into the split `{used[0]}`",
                help="give such rows by a source of their own with `split: train`",
            )


def _trained(spec: Spec, world: World) -> list[Mapping[str, Any]] | None:
    """The rows that may be trained on, as far as files hold them; None where a file cannot be read here. What a
    generator makes says nothing of itself but by its spans."""
    found: list[Mapping[str, Any]] = []
    files = {read.index: read.content for read in readable(spec.data, world)}
    for i, source in enumerate(spec.data.sources):
        if not spec.data.shares.share(source.split, TRAIN):
            continue
        if isinstance(source, FileSource):
            if i not in files or files[i].wrong:
                return None
            found += [row.whole for row in files[i].rows]
        else:
            spans = catalog.load("generators", source.generator).spans
            if spans is None:
                return None
            found.append({"spans": {name: [[0, 1]] for name in spans}})
    return found


def _wanted(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    used = {loss.mask for _, loss in _terms(spec)}
    for i, target in enumerate(spec.data.targets):
        if target != _WHOLE and target not in used:
            able = [name for name in catalog.names("losses") if _usable("losses", name, "mask") == target]
            yield tree.diagnostic(
                "KC4206",
                f"/data/targets/{i}",
                f"no loss supervises the target `{target}`",
                severity="warning",
                label="declared, never used",
                help=f"add a term such as {able[0]}, or remove the target" if able else "remove the target",
                related=(tree.related("/training/stages", "the terms of all stages", "key"),),
            )


def _one_vocabulary(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Logits are compared entry by entry, and layers token by token: both models must mean the same by an id.

    What they mean stands in their files, whatever the folders are called. A repository's are compared by the tokenizer
    step, before anything is trained.
    """
    pointer, reads = next(((at, loss.needs) for at, loss in _terms(spec) if loss.needs & OF_WEIGHTS), ("", frozenset()))
    why = foreign(spec, world) if pointer else None
    if why is not None:
        yield tree.diagnostic(
            "KC4203",
            "/tokenizer/source",
            "teacher and student would not share a vocabulary",
            label=f"{why.label}, the teacher has another",
            detail="the same id would stand for different texts: a divergence over ids would compare unlike things",
            help=_one_tokenizer(spec),
            notes=why.notes,
            related=(
                tree.related(
                    pointer,
                    "this term compares logits entry by entry"
                    if _LOGITS in reads
                    else "this term compares what both make of the same ids",
                ),
            ),
        )


def _one_tokenizer(spec: Spec) -> str:
    """What to do about a teacher that means other tokens by the spec's ids."""
    first = (
        "write `source: teacher`"
        if spec.student.checkpoint is None
        else "take a teacher and a student whose tokenizers mean the same"
    )
    return f"{first}, or {IN_TEXT}"


def _own_words(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A teacher whose weights are here writes answers token by token: in its own tokens, under the spec's template."""
    pointer = next((pointer for pointer, loss in _terms(spec) if _TEXT in loss.needs), "")
    why = foreign(spec, world) if pointer else None
    if why is not None:
        yield tree.diagnostic(
            "KC4523",
            "/tokenizer/source",
            "the teacher would have to answer in tokens that are not its own",
            label=f"{why.label}, the teacher has another",
            help=_one_tokenizer(spec),
            notes=why.notes,
            related=(tree.related(pointer, "this term reads the teacher's answers"),),
        )


def _only_judged(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """No loss reads the teacher, and suites would still ask it: in ids that mean other texts to it."""
    if any(loss.needs & (OF_WEIGHTS | {_TEXT}) for _, loss in _terms(spec)):
        return
    why = foreign(spec, world)
    if why is not None:
        yield tree.diagnostic(
            "KC4326",
            "/tokenizer/source",
            "the teacher would be judged in tokens that are not its own",
            label=f"{why.label}, the teacher has another",
            help=_one_tokenizer(spec),
            notes=why.notes,
            related=(tree.related("/teacher/source", "its weights are here, and they read ids", "key"),),
        )


CHECKS = (
    Check(_given, "teacher"),
    Check(_needed, "teacher", "training"),
    Check(_supervised, "data", "training"),
    Check(_produced, "data"),
    Check(_conditioned, "data", "training"),
    Check(_judged, "data"),
    Check(_wanted, "data", "training"),
    Check(_one_vocabulary, "teacher", "tokenizer", "training", "student"),
    Check(_own_words, "teacher", "tokenizer", "training", "student"),
    Check(_only_judged, "teacher", "tokenizer", "training", "student"),
)
