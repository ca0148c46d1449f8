"""Sections that a spec lacks → text to paste, taken word for word from a shipped spec that compiles."""

from __future__ import annotations

from kcompiler import assets
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import load
from kcompiler.source.tree import Tree

#: needs no file of its own, so that whatever is pasted from it compiles anywhere
_SHIPPED = "eight-ball.yaml"


def lacking(tree: Tree | None, diagnostics: list[Diagnostic]) -> list[str]:
    """The sections of the shipped spec that are missing, in its order; none while nothing says that one is required."""
    if tree is None or not any(item.code == "KC2102" and not item.pointer.strip("/") for item in diagnostics):
        return []
    written = tree.data if isinstance(tree.data, dict) else {}
    return [name for name in _sections() if name not in written]


def snippet(names: list[str]) -> str:
    """These sections, below a line that says what to do with them; "" for none."""
    if not names:
        return ""
    sections = _sections()
    head = f"to paste, then to change where it is not yours (from the shipped {_SHIPPED}):\n\n"
    return head + "".join(sections[name] for name in names)


def _sections() -> dict[str, str]:
    """Top-level key → its text with everything below it."""
    data = (assets.folder("specs") / _SHIPPED).read_bytes()
    tree, _ = load(_SHIPPED, data)
    assert tree is not None
    assert isinstance(tree.data, dict)
    starts = [(name, tree.keys[f"/{name}"].start) for name in tree.data]
    ends = [start for _, start in starts[1:]] + [len(tree.text)]
    return {name: tree.text[start:end] for (name, start), end in zip(starts, ends, strict=True)}
