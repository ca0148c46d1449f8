"""A teacher whose weights are rounded to few bits while it teaches: whether it is, and what it then takes."""

from __future__ import annotations

from typing import cast

from kcompiler.facts.teacher import Folder
from kcompiler.spec import Spec
from runtime.contract import rounding
from runtime.contract.rounding import Rounded


def rounded(spec: Spec) -> Rounded | None:
    """How the spec asks for it; None for floats, and for a teacher whose weights are not here."""
    kind = getattr(spec.teacher.params, "dtype", None)
    return cast(Rounded, kind) if kind in rounding.BITS else None


def held(weights: Rounded, parameters: int, folder: Folder | None) -> int:
    """Bytes of the weights, at least: embedding and head are not rounded, where their sizes can be read."""
    return rounding.held(weights, parameters, 0 if folder is None else _ends(folder))


def _ends(folder: Folder) -> int:
    """Numbers of embedding and head by config.json."""
    vocab, width = folder.number("vocab_size"), folder.number("hidden_size", "n_embd", "d_model")
    tied = folder.config.get("tie_word_embeddings")
    return 0 if vocab is None or width is None else vocab * width * (2 if tied is False else 1)
