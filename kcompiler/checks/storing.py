"""`teacher.store`: can what the teacher says be stored, does anything read it, and what does it take?"""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.checks.signals import answers
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import sizes, stored
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract.signals import Hidden, Likeliest

STORE = "/teacher/store"
#: bytes of a token that nobody wants to keep where form `hidden` says the same in a quarter of them
LARGE, TIMES = 1 << 16, 4
#: bytes of everything from which on a disk is asked about
MUCH = 100 * 10**9


def _read(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A store needs a teacher whose logits are here, and a term that reads them."""
    if spec.teacher.store is None:
        return
    if answers(spec):
        yield tree.diagnostic(
            "KC4239",
            STORE,
            f"a teacher of source `{spec.teacher.source}` has no logits to store",
            on="key",
            label="only its answers are here, and they are kept already",
            help="remove `store`, or take a teacher whose weights are here (bootstrap, hf, gguf, package)",
        )
    elif not any(True for _ in stored.readers(spec)):
        yield tree.diagnostic(
            "KC4245",
            STORE,
            "no loss reads what would be stored",
            on="key",
            label="no term of any stage needs logits",
            help="add a term such as kl, or remove `store`",
        )


def able() -> str:
    """The losses that read a teacher's likeliest tokens, in words."""
    *names, last = (name for name in catalog.names("losses") if catalog.load("losses", name).top is not None)
    return f"{', '.join(names)} or {last}"


def _losses(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Of the likeliest tokens a loss must know what to make of the others."""
    if not isinstance(spec.teacher.store, Likeliest):
        return
    for pointer, _, loss in stored.readers(spec):
        if loss.top is None:
            yield tree.diagnostic(
                "KC4251",
                pointer,
                f"loss `{loss.name}` needs all logits, and the likeliest alone are stored",
                label="it does not say what it makes of the other tokens",
                help=f"write `form: hidden`, which is exact, or use {able()}",
                related=(tree.related(f"{STORE}/form", "what is stored"),),
            )


def _tokens(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    store, width = spec.teacher.store, spec.student.architecture.vocab_size
    if isinstance(store, Likeliest) and store.k > width:
        yield tree.diagnostic(
            "KC4257",
            f"{STORE}/k" if f"{STORE}/k" in tree.values else STORE,
            "more tokens are to be stored than the vocabulary has",
            label=f"{store.k:,} of {width:,}",
            help=f"lower k to at most {width}, or write `form: full`",
        )


def _likeliest(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A loss of the likeliest tokens reads no more of them than there are, or than are stored."""
    store, width = spec.teacher.store, spec.student.architecture.vocab_size
    for pointer, term, loss in stored.readers(spec):
        if loss.settled is None:
            continue
        k, known = loss.settled.tokens(term.params), store.k if isinstance(store, Likeliest) else width
        if k > known:
            at = pointer.removesuffix("term") + "k"
            yield tree.diagnostic(
                "KC4269",
                at if at in tree.values else pointer,
                f"loss `{loss.name}` reads more of the teacher's tokens than "
                + ("are stored" if isinstance(store, Likeliest) else "the vocabulary has"),
                label=f"{k:,} of {known:,}",
                help=f"lower k to at most {known}" + (", or store more" if isinstance(store, Likeliest) else ""),
                related=(tree.related(STORE, "what is stored", "key"),) if isinstance(store, Likeliest) else (),
            )


def _large(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    found = stored.size(spec, world)
    if found is None:
        return
    exact = found.hidden is not None and found.token >= LARGE and found.token > TIMES * found.hidden
    if exact and not isinstance(spec.teacher.store, Hidden):
        yield tree.diagnostic(
            "KC4263",
            STORE,
            "the teacher's hidden states would say the same in far fewer bytes",
            severity="warning",
            on="key",
            label=f"{sizes.text(found.token)} a token, hidden states take {sizes.text(found.hidden or 0)}",
            help="write `form: hidden`, which is exact, or `form: top_k` with a smaller k",
            notes=(f"at most {found.text}",) if found.bytes is not None else (),
        )
    elif found.bytes is not None and found.bytes > MUCH:
        yield tree.diagnostic(
            "KC4263",
            STORE,
            "what is stored may need a large disk",
            severity="warning",
            on="key",
            label=f"at most {found.text}",
            help="write `form: top_k` with a smaller k, or expect the step to refuse for want of room",
        )


CHECKS = (
    Check(_read, "teacher", "training"),
    Check(_losses, "teacher", "training"),
    Check(_tokens, "teacher", "student"),
    Check(_likeliest, "teacher", "student", "training"),
    Check(_large, "teacher", "student", "training", "data", "shapes"),
)
