"""`teacher.store` of a spec → what is recorded, how many bytes that is, and what losses then mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kcompiler.facts import World, sizes
from kcompiler.facts.lengths import lengths
from kcompiler.facts.models import teacher_architectures
from kcompiler.facts.rounding import rounded
from kcompiler.facts.rows import whole
from kcompiler.facts.teacher import folder_of
from kcompiler.spec import Spec
from kcompiler.spec.training import Loss as Term
from runtime import catalog
from runtime.contract import Loss, signals
from runtime.contract.signals import Hidden, Likeliest

LOGITS = "logits"


def readers(spec: Spec) -> Iterator[tuple[str, Term, Loss]]:
    """(pointer, term, loss) of every term that reads what is stored."""
    for s, stage in enumerate(spec.training.stages):
        for t, term in enumerate(stage.losses):
            loss: Loss = catalog.load("losses", term.term)
            if LOGITS in loss.needs:
                yield f"/training/stages/{s}/losses/{t}/term", term, loss


def temperatures(spec: Spec) -> list[float]:
    """Those at which the mass of what is not stored is read, and 1, at which it is measured; of form `top_k`."""
    if not isinstance(spec.teacher.store, Likeliest):
        return []
    found = {1.0}
    for _, term, loss in readers(spec):
        found |= {float(one) for one in loss.top.temperatures(term.params)} if loss.top is not None else set()
    return sorted(found)


def means(spec: Spec, loss: Loss) -> Mapping[str, Any]:
    """The semantics of a loss in the lock."""
    return loss.top.semantics if isinstance(spec.teacher.store, Likeliest) and loss.top is not None else loss.semantics


@dataclass(frozen=True)
class Size:
    """Bytes that are stored: of a token, once for all of them, and how many tokens there are at most; None where the
    rows are not here to be read."""

    token: int
    once: int
    most: int | None
    #: bytes of a token in form `hidden`, where the teacher's width is known
    hidden: int | None

    @property
    def bytes(self) -> int | None:
        return None if self.most is None else self.most * (self.token + signals.PLACE) + self.once

    @property
    def text(self) -> str:
        """The arithmetic in words."""
        each = f"{sizes.text(self.token)} a supervised token"
        if self.bytes is None or self.most is None:
            return each
        return f"{sizes.text(self.bytes)}: {self.most:,} tokens × {sizes.text(self.token)}" + (
            f" + head of {sizes.text(self.once)}" if self.once else ""
        )


def size(spec: Spec, world: World) -> Size | None:
    """What is stored takes at most; None where nothing is, or where the teacher's shape is not here to be read."""
    store, vocab = spec.teacher.store, spec.student.architecture.vocab_size
    if store is None:
        return None
    width, floats = _width(spec, world), "bf16" if rounded(spec) else str(getattr(spec.teacher.params, "dtype", "fp32"))
    hidden = None if width is None else width * signals.WIDTH[floats]
    if isinstance(store, Hidden) and width is None:
        return None
    wide, read = width or 0, len(temperatures(spec))
    token = signals.token_bytes(store, vocab=vocab, width=wide, floats=floats, temperatures=read)
    head = signals.head_bytes(store, vocab=vocab, width=wide, floats=floats)
    return Size(token, head, _tokens(spec, world), hidden)


def _width(spec: Spec, world: World) -> int | None:
    """Width of the teacher's hidden states."""
    folder = folder_of(spec, world)
    if folder is not None:
        return folder.number("hidden_size", "n_embd", "d_model")
    return next((a.hidden_size for _, a in teacher_architectures(spec)), None)


def _tokens(spec: Spec, world: World) -> int | None:
    """Supervised tokens of all rows that may be trained on, at most: a token of a text has at least one of its bytes,
    and a row has one that ends it."""
    reads = whole(spec.data, world)
    if reads is None or any(read.source.responses == "teacher" for read in reads):
        return None
    longest = lengths(spec)["train"][0]
    kept = [read for read in reads if read.source.split != "test"]
    return sum(min(longest, len(row.response.encode()) + 1) for read in kept for row in read.content.rows)
