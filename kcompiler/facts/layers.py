"""Terms over layers of a spec, and what of student and teacher decides which layers they may compare."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.facts import World
from kcompiler.facts.models import teacher_architectures
from kcompiler.facts.teacher import Folder, folder_of
from kcompiler.spec import Spec
from kcompiler.spec.training import Loss as Term
from kcompiler.spec.training import Stage
from runtime import catalog
from runtime.contract import Loss, windows
from runtime.contract.architecture import Architecture
from runtime.contract.footprint import NO_LAYERS, Compared
from runtime.contract.layers import OF_WEIGHTS, STATES, Layers, Shape


def reads_weights(stage: Stage) -> bool:
    """Whether a loss of a stage reads what only a teacher gives whose weights are here: its logits, or its layers."""
    return any(catalog.load("losses", term.term).needs & OF_WEIGHTS for term in stage.losses)


def terms(spec: Spec) -> Iterator[tuple[str, Stage, Term, Loss]]:
    """(pointer, stage, term, loss) of every term over layers."""
    for s, stage in enumerate(spec.training.stages):
        for t, term in enumerate(stage.losses):
            loss: Loss = catalog.load("losses", term.term)
            if loss.layers is not None:
                yield f"/training/stages/{s}/losses/{t}", stage, term, loss


def student(spec: Spec) -> Shape:
    return _shape(spec.student.architecture)


def teacher(spec: Spec, world: World) -> Shape | None:
    """None where its config is not here to be read."""
    folder = folder_of(spec, world)
    if folder is not None:
        return _said(folder)
    return next((_shape(a) for _, a in teacher_architectures(spec)), None)


def _shape(a: Architecture) -> Shape:
    window = a.sliding_window
    types = windows.types(a) if windows.pattern(a) else [windows.SLIDING] * a.num_hidden_layers
    seen = tuple(window if one == windows.SLIDING else None for one in types)
    return Shape(layers=a.num_hidden_layers, width=a.hidden_size, heads=a.num_attention_heads, windows=seen)


def _said(folder: Folder) -> Shape | None:
    count = folder.number("num_hidden_layers", "num_layers", "n_layers", "n_layer")
    width, heads = folder.number("hidden_size", "n_embd", "d_model"), folder.number("num_attention_heads", "n_head")
    if count is None or width is None or heads is None:
        return None
    window, types = folder.number("sliding_window"), folder.config.get("layer_types")
    if not isinstance(types, list) or len(types) != count:
        # a config may name a window that it does not use (Qwen 2)
        types = [windows.SLIDING if folder.config.get("use_sliding_window", True) else windows.FULL] * count
    return Shape(
        layers=count,
        width=width,
        heads=heads,
        windows=tuple(window if one == windows.SLIDING else None for one in types),
    )


def compared(spec: Spec, stage: Stage, world: World) -> Compared:
    """What the terms over layers of a stage compare, for its memory; of a teacher that is not here to be read as if it
    were the student."""
    mine = student(spec)
    theirs = teacher(spec, world) or mine
    found = {"states": 0, "maps": 0, "projected": 0}
    for _, of, term, loss in terms(spec):
        reads = loss.layers
        if of.name != stage.name or reads is None:
            continue
        count = len(reads.pairs(term.params, mine.layers, theirs.layers))
        found["states" if reads.signal == STATES else "maps"] += count
        found["projected"] += count * mine.width * theirs.width * _projects(reads, mine, theirs)
    return Compared(**found, width=theirs.width) if found["states"] or found["maps"] else NO_LAYERS


def _projects(reads: Layers, mine: Shape, theirs: Shape) -> bool:
    return reads.projects and mine.width != theirs.width
