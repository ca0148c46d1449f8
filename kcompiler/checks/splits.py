"""Rows to learn from and rows to be judged on: apart, present, and licensed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.checks._paths import kind, located
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import JsonlSource
from runtime import digest

_SPDX = re.compile(r"\(*[A-Za-z0-9.+:-]+\)*(\s+(AND|OR|WITH)\s+\(*[A-Za-z0-9.+:-]+\)*)*\Z")
_PLACEHOLDERS = frozenset({"", "?", "-", "na", "n/a", "none", "noassertion", "tbd", "tba", "todo", "unknown", "xxx"})


def _licences(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for i, source in enumerate(spec.data.sources):
        words = source.license.strip()
        if words.casefold() in _PLACEHOLDERS or not _SPDX.match(words):
            yield tree.diagnostic(
                "KC4502",
                f"/data/sources/{i}/license",
                f"source `{source.name}` names no licence",
                label="not an SPDX expression",
                help="write the rows' licence, such as MIT or CC-BY-4.0, or LicenseRef-<name> for one of your own",
                notes=("the licence flows to every artifact made from these rows",),
            )


def _apart(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """The same bytes may not be named for training and for testing, under whatever name."""
    seen: dict[str, tuple[int, JsonlSource]] = {}
    for i, source in enumerate(spec.data.sources):
        if not isinstance(source, JsonlSource):
            continue
        path = located(source.path, world)
        if path is None or kind(path) != "file":
            continue
        pin = digest.of_file(path)
        if pin not in seen:
            seen[pin] = (i, source)
            continue
        first, other = seen[pin]
        if source.split != other.split:
            same = "the same file" if path == located(other.path, world) else "a file with the same content"
            yield tree.diagnostic(
                "KC4501",
                f"/data/sources/{i}/path",
                "the same rows would be trained on and tested on",
                label=f"{same}, for `{source.split}`",
                help="hold rows out with `split: auto`, or name another file",
                related=(tree.related(f"/data/sources/{first}/path", f"here for `{other.split}`"),),
            )


def _fed(spec: Spec) -> set[str]:
    """The splits that get rows."""
    feeds = {source.split for source in spec.data.sources}
    if "auto" in feeds:
        feeds |= {"train", "test"} if spec.data.held_out > 0 else {"train"}
    return set(feeds)


def _something_to_learn(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if "train" not in _fed(spec):
        yield tree.diagnostic(
            "KC4503",
            "/data/sources",
            "no source feeds the split `train`",
            on="key",
            label="nothing to learn from",
            help="add a source, or write `split: auto`",
        )


def _something_to_judge(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    held_out = any(source.split == "auto" for source in spec.data.sources)
    hint = "raise data.held_out above 0" if held_out else "add a source, or write `split: auto`"
    for i, suite in enumerate(spec.evaluation.suites):
        if suite.split not in _fed(spec):
            at = f"/evaluation/suites/{i}/split"
            yield tree.diagnostic(
                "KC4503",
                at if at in tree.values else f"/evaluation/suites/{i}/use",
                f"no source feeds the split `{suite.split}`",
                label=f"suite `{suite.use}` would have no rows",
                help=hint,
                related=(tree.related("/data/sources", "the sources", "key"),),
            )


CHECKS = (
    Check(_licences, "data"),
    Check(_apart, "data"),
    Check(_something_to_learn, "data"),
    Check(_something_to_judge, "data", "evaluation"),
)
