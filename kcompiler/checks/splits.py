"""Rows to learn from and rows to be judged on: apart, readable, and there at all."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.paths import kind, located
from kcompiler.facts.rows import Read, Row, held_out, normalised, readable
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import JsonlSource
from runtime import digest

#: pairs that a message spells out, and how many characters of a prompt
_EXAMPLES, _SHOWN = 3, 60


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


def _rows(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for read in readable(spec.data, world):
        if read.content.wrong:
            line, reason = read.content.wrong
            yield tree.diagnostic(
                "KC4505",
                f"/data/sources/{read.index}/path",
                f"source `{read.source.name}` holds a line that is no row",
                label=f"{read.path.name}:{line}: {reason}",
                help="correct the line, or map the file's own names with `fields: {prompt: …, response: …}`",
            )


def _no_row_twice(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """No question may stand on both sides, letter by letter or after the data step's own normalisation."""
    sources = list(readable(spec.data, world))
    if len({read.source.split for read in sources}) < 2:
        # rows of one `auto` source that ask the same always share a split
        return
    for test in sources:
        for train in sources:
            same_bytes = test.data == train.data
            if test is not train and not same_bytes and {test.source.split, train.source.split} != {"auto"}:
                yield from _shared(spec, tree, train, test)


def _shared(spec: Spec, tree: Tree, train: Read, test: Read) -> Iterator[Diagnostic]:
    learned: dict[str, Row] = {}
    for row in _rows_in("train", train, spec.data.held_out):
        learned.setdefault(normalised(row.prompt), row)
    judged = list(_rows_in("test", test, spec.data.held_out))
    pairs = [(learned[key], row) for row in judged if (key := normalised(row.prompt)) in learned]
    if not pairs:
        return
    letter = sum(one.prompt == other.prompt for one, other in pairs)
    rest = len(pairs) - letter
    yield tree.diagnostic(
        "KC4504",
        f"/data/sources/{test.index}/path",
        "questions of the test split are also trained on",
        label=f"{len(pairs)} of {len(judged)} prompts",
        detail=f"{letter} letter by letter" + (f", {rest} but for case, spaces and punctuation" if rest else ""),
        help="remove them from one of the two, or let `split: auto` place both sources",
        notes=tuple(
            f"{test.path.name}:{other.line} = {train.path.name}:{one.line}: {_short(other.prompt)}"
            for one, other in pairs[:_EXAMPLES]
        ),
        related=(tree.related(f"/data/sources/{train.index}/path", "they stand here as well"),),
    )


def _rows_in(split: str, read: Read, share: float) -> Iterator[Row]:
    """The rows of a source that go to one split."""
    if read.source.split == split:
        yield from read.content.rows
    elif read.source.split == "auto":
        yield from (row for row in read.content.rows if held_out(row.prompt, share) == (split == "test"))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


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


def _judged_apart(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for i, suite in enumerate(spec.evaluation.suites):
        if suite.split == "train":
            yield tree.diagnostic(
                "KC4506",
                f"/evaluation/suites/{i}/split",
                f"suite `{suite.use}` would judge the student by the rows it learns from",
                label="the training split",
                help="write `split: test`, or leave it out",
            )


CHECKS = (
    Check(_apart, "data"),
    Check(_rows, "data"),
    Check(_no_row_twice, "data"),
    Check(_something_to_learn, "data"),
    Check(_something_to_judge, "data", "evaluation"),
    Check(_judged_apart, "evaluation"),
)
