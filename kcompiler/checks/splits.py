"""Rows to learn from and rows to be judged on: apart, readable, and there at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kcompiler.checks import Check, World
from kcompiler.checks.statistics import rows_of
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.lengths import learns
from kcompiler.facts.paths import located
from kcompiler.facts.rows import Read, Row, content_of, first_wrong, lacking, readable
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource
from runtime.contract.splits import SPLITS, TEST, TRAIN, VALIDATION, normalised, question

#: pairs that a message spells out, and how many characters of a prompt
_EXAMPLES, _SHOWN = 3, 60


def _apart(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """The same bytes may not be named for two splits, under whatever name."""
    seen: dict[str, tuple[int, FileSource]] = {}
    for i, source in enumerate(spec.data.sources):
        if not isinstance(source, FileSource):
            continue
        path = located(source.path, world)
        here = content_of(path) if path is not None else ""
        # of a file that is not here, the spec says which bytes it will have
        pin = here or (f"sha256:{source.sha256}" if source.sha256 else "")
        if not pin:
            continue
        if pin not in seen:
            seen[pin] = (i, source)
            continue
        first, other = seen[pin]
        if source.split != other.split:
            same = "the same file" if path == located(other.path, world) else "a file with the same content"
            validates = VALIDATION in (source.split, other.split)
            yield tree.diagnostic(
                "KC4527" if validates else "KC4501",
                f"/data/sources/{i}/path",
                _chosen_by(({source.split, other.split} - {VALIDATION}).pop())
                if validates
                else "the same rows would be trained on and tested on",
                label=f"{same}, for `{source.split}`",
                help=_KEEP if validates else "hold rows out with `split: auto`, or name another file",
                related=(tree.related(f"/data/sources/{first}/path", f"here for `{other.split}`"),),
            )


_KEEP = "name another file, or keep some of the rows to learn from with `validation: 0.05` in `data`"


def _chosen_by(split: str) -> str:
    """What it means that rows of validation stand in another split, too."""
    if split == TEST:
        return "the state to keep would be chosen by rows of the test split"
    return "the state to keep would be chosen by rows that are learnt from"


def _rows(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for read in readable(spec.data, world):
        if read.content.wrong:
            wrong = read.content.wrong
            whole = ":" not in wrong.place
            yield tree.diagnostic(
                "KC4522" if whole else "KC4505",
                f"/data/sources/{read.index}/path",
                f"source `{read.source.name}` is not of the kind `{read.source.kind}`, or not whole"
                if whole
                else f"source `{read.source.name}` holds a line that is no row",
                label=f"{wrong.place}: {wrong.reason}",
                help=wrong.action,
            )


def _ids(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """An id names one row, whichever of the files it stands in."""
    sound = [read for read in readable(spec.data, world) if not read.content.wrong]
    wrong = first_wrong(sound)
    if wrong is not None:
        at = next(
            one.index for one in reversed(sound) if wrong.place.startswith((f"{one.path.name}:", f"{one.path.name}/"))
        )
        yield tree.diagnostic(
            "KC4507",
            f"/data/sources/{at}/path",
            "one id names two rows",
            label=f"{wrong.place}: {wrong.reason}",
            help="give each row an id of its own, or, where the file means something else by it, write "
            '`fields: {id: ""}`: rows are then named by their content',
        )


def _by_question(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows that ask the same, with the same tools beside it."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        prompt, tools = question(row.whole)
        found.setdefault((normalised(prompt), tools), []).append(row)
    return found


def _contradicting(rows_of: Mapping[tuple[str, str], list[Row]]) -> list[list[Row]]:
    """The rows of each prompt that has several answers."""
    return [rows for rows in rows_of.values() if len({row.response for row in rows}) > 1]


def _one_answer(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A prompt with several answers teaches their mixture; often a field that tells its rows apart was left out."""
    for read in readable(spec.data, world):
        rows_of = _by_question(read.content.rows)
        several = _contradicting(rows_of)
        if not several:
            continue
        most = max(several, key=lambda rows: len({row.response for row in rows}))
        answers = len({row.response for row in most})
        label = f"{len(several):,} of {len(rows_of):,} prompts; one has {answers:,} answers"
        note = (f"{most[0].place}: {_short(most[0].prompt)}",)
        apart = _telling_apart(several)
        if apart:
            named = " and ".join(f"`{name}`" for name in apart)
            yield tree.diagnostic(
                "KC4509",
                f"/data/sources/{read.index}/path",
                f"rows of one prompt differ in {named}, which nothing maps",
                severity="warning",
                label=label,
                help=f'put it into the prompt: `prompt: "{_composed(read.source, apart)}"` in `fields`',
                notes=note,
            )
        elif read.source.split in ("auto", TRAIN):
            yield tree.diagnostic(
                "KC4508",
                f"/data/sources/{read.index}/path",
                "prompts have more than one answer",
                severity="warning",
                label=label,
                help="keep the answer that is right; of several the student learns a mixture",
                notes=note,
            )


#: where common forms of instruction data keep a part of the question: Alpaca, Dolly, OpenOrca
QUESTION = ("input", "context", "system_prompt", "system")


def _whole_question(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A field that such forms fill with a part of the question, filled here, and mapped to nothing."""
    for read in readable(spec.data, world):
        several = _contradicting(_by_question(read.content.rows))
        # KC4509 says the same of a field that tells answers apart, and more
        told = _telling_apart(several) if several else []
        for name in (one for one in QUESTION if one not in told):
            filled = [row for row in read.content.rows if row.rest.get(name, "").strip()]
            if filled:
                yield tree.diagnostic(
                    "KC4510",
                    f"/data/sources/{read.index}/path",
                    f"`{name}` is filled in {len(filled):,} of {len(read.content.rows):,} rows, and nothing maps it",
                    severity="warning",
                    label="in data of this form a part of the question stands there",
                    help=f'put it into the prompt: `prompt: "{_composed(read.source, [name])}"` in `fields`',
                    notes=(f"{filled[0].place}: {_short(filled[0].rest[name])}",),
                )


def _telling_apart(several: list[list[Row]]) -> list[str]:
    """Unmapped texts that differ wherever the answers of a prompt do: the question may stand there."""
    names = {name for rows in several for row in rows for name in row.rest}
    found = []
    for name in sorted(names):
        pairs = [{(row.rest.get(name, ""), row.response) for row in rows} for rows in several]
        # each text has one answer, in every prompt
        if all(len({text for text, _ in one}) == len(one) for one in pairs):
            found.append(name)
    return found


def _composed(source: FileSource, apart: list[str]) -> str:
    prompt = source.fields.get("prompt", "prompt")
    start = prompt if "{" in prompt else f"{{{prompt}}}"
    return "\\n".join([start, *(f"{{{name}}}" for name in apart)]).replace("\n", "\\n")


def _no_row_twice(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """No question may stand on both sides, letter by letter or after the data step's own normalisation."""
    sources = list(readable(spec.data, world))
    if len({read.source.split for read in sources}) < 2:
        # rows of one `auto` source that ask the same always share a split
        return
    apart = [(TRAIN, TEST), (TRAIN, VALIDATION), (TEST, VALIDATION)]
    for second in sources:
        for first in sources:
            same_bytes = second.content_digest == first.content_digest
            if second is not first and not same_bytes and {second.source.split, first.source.split} != {"auto"}:
                for pair in apart:
                    yield from _shared(spec, tree, first, second, *pair)


def _shared(spec: Spec, tree: Tree, first: Read, second: Read, split: str, other: str) -> Iterator[Diagnostic]:
    """Questions that the first source gives to one split and the second to another."""
    there: dict[str, Row] = {}
    for row in _rows_in(spec, split, first):
        there.setdefault(normalised(row.prompt), row)
    here = list(_rows_in(spec, other, second))
    pairs = [(there[key], row) for row in here if (key := normalised(row.prompt)) in there]
    if not pairs:
        return
    letter = sum(one.prompt == other.prompt for one, other in pairs)
    rest = len(pairs) - letter
    validates = other == VALIDATION
    yield tree.diagnostic(
        "KC4527" if validates else "KC4504",
        f"/data/sources/{second.index}/path",
        _chosen_by(split) if validates else "questions of the test split are also trained on",
        label=f"{len(pairs)} of {len(here)} prompts",
        detail=f"{letter} letter by letter" + (f", {rest} but for case, spaces and punctuation" if rest else ""),
        help="remove them from one of the two, or let `split: auto` place both sources",
        notes=tuple(f"{other.place} = {one.place}: {_short(other.prompt)}" for one, other in pairs[:_EXAMPLES]),
        related=(tree.related(f"/data/sources/{first.index}/path", "they stand here as well"),),
    )


def _rows_in(spec: Spec, split: str, read: Read) -> Iterator[Row]:
    """The rows of a source that go to one split."""
    shares = spec.data.shares
    if shares.share(read.source.split, split):
        yield from (row for row in read.content.rows if shares.split_of(read.source.split, row.prompt) == split)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _left(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A split that is fed by the words of the spec may still get no row: by the hash, or when duplicates are gone."""
    reads = list(readable(spec.data, world))
    if first_wrong(reads) or any(read.content.wrong for read in reads):
        return
    if len(reads) == len(spec.data.sources):
        empty, sure = lacking(reads, spec.data.shares), True
    else:
        counts = {name: rows_of(spec, world, name) for name in SPLITS if name in spec.data.fed}
        few = {name: count.most for name, count in counts.items() if count is not None and not count.expected}
        empty = next(iter(few), "")
        sure = few.get(empty) == 0
    if not empty or empty not in spec.data.fed:
        return
    auto = [i for i, source in enumerate(spec.data.sources) if spec.data.shares.share(source.split, empty)]
    share, value = ("validation", spec.data.validation) if empty == VALIDATION else ("held_out", spec.data.held_out)
    yield tree.diagnostic(
        "KC4503",
        f"/data/sources/{auto[0]}/path" if f"/data/sources/{auto[0]}/path" in tree.values else "/data/sources",
        f"the split `{empty}` gets no row" if sure else f"the split `{empty}` will hardly get a row",
        severity="error" if sure else "warning",
        label=f"{share} is {value:g}: rows of one prompt stay together, and equal rows count once",
        help=f"add rows with other prompts, feed `{empty}` from a source of its own, or change data.{share}",
    )


def _something_to_learn(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if learns(spec) and TRAIN not in spec.data.fed:
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
        if suite.split not in spec.data.fed:
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
        if suite.split != TEST:
            by = "it learns from" if suite.split == TRAIN else "it was chosen by"
            yield tree.diagnostic(
                "KC4506",
                f"/evaluation/suites/{i}/split",
                f"suite `{suite.use}` would judge the student by the rows {by}",
                label="the training split" if suite.split == TRAIN else "the validation split",
                help="write `split: test`, or leave it out",
            )


CHECKS = (
    Check(_apart, "data"),
    Check(_rows, "data"),
    Check(_ids, "data"),
    Check(_one_answer, "data"),
    Check(_whole_question, "data"),
    Check(_no_row_twice, "data"),
    Check(_left, "data"),
    Check(_something_to_learn, "data", "training", "teacher", "tokenizer", "student"),
    Check(_something_to_judge, "data", "evaluation"),
    Check(_judged_apart, "evaluation"),
)
