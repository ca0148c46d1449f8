"""Packs that promise to be stronger than another → where they are weaker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kcompiler.diagnostic import Diagnostic
from kcompiler.diff.packs import moved
from kcompiler.policy.load import LoadedPack


def weaker(packs: Sequence[LoadedPack]) -> Iterator[Diagnostic]:
    """Every rule by which something may pass that the pack below would not let through. A rule that is left out is
    none: those of the pack below belong to the pack above as they are."""
    for pack in packs:
        below = pack.below
        if below is None:
            continue
        yield from weaker([below])
        name = below.pack.name
        if pack.pack.min_n < below.pack.min_n:
            yield pack.tree.diagnostic(
                "KC6046",
                "/min_n",
                f"pack `{pack.pack.name}` promises to strengthen `{name}`, and lets a rate be of fewer items",
                label=f"{pack.pack.min_n}; `{name}` asks for {below.pack.min_n}",
                help=f"raise it to {below.pack.min_n} or more",
            )
        old = {one.rule.id: one for one in below.rules}
        for rule in pack.rules:
            if rule.inherited or rule.rule.id not in old:
                continue
            found = moved(rule.rule.id, old[rule.rule.id], rule)
            if found.weakens:
                word = "weaker" if found.way == "weaker" else "not stronger"
                yield rule.tree.diagnostic(
                    "KC6046",
                    "/id",
                    f"rule `{rule.name}` is {word} than that of `{name}`",
                    label=found.what,
                    help=f"ask at least as much as `{name}/{rule.rule.id}`, or give it another id: then both hold",
                    notes=(f"pack.yaml says `strengthens: {name}`",),
                )
