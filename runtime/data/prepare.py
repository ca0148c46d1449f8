"""Declared sources → one dataset: rows in splits without overlap, the tool registry, the manifest and its report."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from runtime import catalog, digest
from runtime.contract import Context, Generator, Refusal, calls, fixtures, rows, sources, splits, toolbox
from runtime.contract import report as facts
from runtime.contract.rows import WANTED, Row
from runtime.contract.strict_json import Json
from runtime.machine import durable
from runtime.steps.data import DataParams, Source
from runtime.tools import registry

#: how many offending rows a refusal spells out
NAMED = 10
#: splits that have no prompt in common; of the second the rows that the first has as well are counted
_APART = (
    (splits.TRAIN, splits.TEST),
    (splits.TRAIN, splits.VALIDATION),
    (splits.TEST, splits.VALIDATION),
)
_FOR = {splits.TRAIN: "training", splits.VALIDATION: "validation", splits.TEST: "testing"}


def seed_of(source: Source, seed: int) -> int:
    """The seed of one generator source, so that two sources of one generator differ."""
    text = "\0".join(("kc.source.v1", str(seed), source.name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def from_file(path: Path, source: Source, unused: Counter[str]) -> Iterator[tuple[str, Row]]:
    """The rows of one source that is a file as (place, row). Raises Refusal with file and line."""
    reader = sources.Reader(
        source.name, source.fields, source.limit, source.form(), prompts=source.responses == "teacher"
    )
    for found in reader.file(path):
        unused.update(sources.unused(found.rest))
        yield found.place, found.row


def from_generator(source: Source, tools: Sequence[registry.Tool], seed: int) -> Iterator[tuple[str, Row]]:
    """The rows of one generator source as (place, row), their ids led by the source's name.

    Raises Refusal for an unknown generator or a bad row.
    """
    try:
        generator = cast(Generator, catalog.load("generators", source.generator))
    except KeyError:
        raise Refusal(
            f"no generator is called `{source.generator}`", action=f"use {', '.join(catalog.names('generators'))}"
        ) from None
    params = generator.params.model_validate(source.params)
    made = generator.rows(params, tools, seed_of(source, seed))
    for number, row in enumerate(itertools.islice(made, source.limit or None), start=1):
        here = f"{source.name}:{number}"
        yield here, rows.checked({**row, "id": f"{source.name}-{row['id']}", "source": source.name}, here)


def _refuse_wrong(final: Mapping[str, Sequence[Row]], place_of: Mapping[str, str]) -> None:
    """An answer that its own row calls wrong is no answer to measure by. Raises Refusal."""
    for name in (splits.TEST, splits.VALIDATION):
        for row in final.get(name, ()):
            said = row.get(WANTED)
            if isinstance(said, Mapping) and said.get("right") is False:
                raise Refusal(
                    f"row `{row['id']}` says that its answer is wrong, and would be used for {_FOR[name]}",
                    place=place_of[row["id"]],
                    action="give such rows by a source of their own with `split: train`",
                )


def _refuse_overlap(found: splits.Overlap, first: str, second: str, place_of: Mapping[str, str]) -> None:
    if not found.normalised:
        return
    named = ", ".join(f"{place_of[one]} = {place_of[other]}" for one, other in found.normalised[:NAMED])
    more = f" and {len(found.normalised) - NAMED} more" if len(found.normalised) > NAMED else ""
    counts = f"{len(found.normalised)} prompts stand in {first} and in {second} ({len(found.exact)} letter by letter)"
    raise Refusal(
        f"{counts}: {named}{more}",
        action="remove them from one split, or let `split: auto` place both sources",
        code="KR0115",
    )


def _write(
    folder: Path, found: Mapping[str, Sequence[Row]], tools: Sequence[registry.Tool], params: DataParams
) -> None:
    """The dataset folder: one file per split, tools.json when declared, manifest.json."""
    stated: dict[str, Json] = {}
    for name, split in found.items():
        path = folder / f"{name}.jsonl"
        lines = rows.written(split, path.name)
        count = len(lines)
        durable.write(path, "".join(lines))
        stated[name] = {"rows": count, "sha256": facts.hex_of(digest.of_file(path))}
    if params.has_tools:
        _dump(folder / "tools.json", cast(Json, list(tools)))
    per_source = Counter(row["source"] for split in found.values() for row in split)
    manifest: Json = {
        "tool_registry_sha256": registry.fingerprint(tools),
        "splits": stated,
        "sources": [{"name": s.name, "license": s.license, "rows": per_source[s.name]} for s in params.sources],
        "license": cast(Json, sorted({source.license for source in params.sources})),
    }
    _dump(folder / "manifest.json", manifest)


def _copy(source: Path, to: Path) -> None:
    """The files of a folder of fixtures, as they are."""
    for path in sorted(source.iterdir()):
        durable.write(to / path.name, path.read_text(encoding="utf-8"))


def _dump(path: Path, value: Json) -> None:
    durable.write(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def prepare(takes: Mapping[str, Path], params: DataParams, ctx: Context) -> None:
    """Operation `data`. Duplicates are dropped before splitting; an overlap of prompts is refused with its rows."""
    tools = registry.load(takes["tools"]) if params.has_tools else []
    if params.has_fixtures:
        # refused before any row is read, where they are for other tools or malformed
        fixtures.load(takes["fixtures"], tools, place="fixtures")
    ruled = _ruled_by_suites(params)
    unused: Counter[str] = Counter()
    found: list[tuple[str, Row]] = []
    for source in params.sources:
        if source.kind != "generator":
            found += from_file(takes[f"source_{source.name}"], source, unused)
        else:
            found += from_generator(source, tools, ctx.seed)
        ctx.say(f"{source.name}: {len(found)} rows so far")
    _refuse_calls([(here, row) for here, row in found if row["source"] not in ruled], tools)
    shares = splits.Shares(params.held_out, params.validation)
    final, dropped = splits.assembled(found, {source.name: source.split for source in params.sources}, shares)
    needed = {*final} if params.learns else {splits.TEST}
    for name, split in final.items():
        if not split and name in needed:
            raise Refusal(
                f"no row is left for {_FOR[name]}; {dropped} duplicates were dropped",
                action=f"add rows with other prompts, feed `{name}` from a source of its own, or change "
                f"data.{'validation' if name == splits.VALIDATION else 'held_out'}",
            )
    place_of = {row["id"]: here for here, row in found}
    _refuse_wrong(final, place_of)
    overlaps = {pair: splits.overlap(*(final[name] for name in pair)) for pair in _APART if set(pair) <= set(final)}
    for (first, second), shared in overlaps.items():
        _refuse_overlap(shared, first, second, place_of)
    overlap = overlaps[splits.TRAIN, splits.TEST]
    folder = ctx.out("dataset")
    _write(folder, final, tools, params)
    if params.has_fixtures:
        _copy(takes["fixtures"], folder / toolbox.FOLDER)
    data = {
        "splits": {name: {"rows": facts.measured(len(split), "row")} for name, split in final.items()},
        "rows": facts.measured(sum(map(len, final.values())), "row"),
        "duplicates_dropped": facts.measured(dropped, "row", n=len(found)),
        "overlap_exact": facts.measured(len(overlap.exact), "row", n=len(final["test"])),
        "overlap_normalised": facts.measured(len(overlap.normalised), "row", n=len(final["test"])),
        "sources": _sources(final, params),
        "licenses": sorted({source.license for source in params.sources}),
        "classes": _classes(final),
        "fields_unused": {name: facts.measured(count, "row") for name, count in sorted(unused.items())},
        "tools": facts.measured(len(tools), "tool"),
    }
    if splits.VALIDATION in final:
        # rows of validation that another split has as well
        count = len(final[splits.VALIDATION])
        data["validation_overlap"] = {
            other: facts.measured(len(shared.normalised), "row", n=count)
            for (other, second), shared in overlaps.items()
            if second == splits.VALIDATION
        }
    ctx.report("report", data, fingerprints={"tool_registry": registry.fingerprint(tools)})
    counts = ", ".join(f"{name}: {len(split)} rows" for name, split in final.items())
    ctx.say(f"{counts}, {dropped} duplicates dropped")


def _ruled_by_suites(params: DataParams) -> set[str]:
    """The sources whose calls suites judge by rules of their own. Raises Refusal where something might learn from one:
    what no schema allows would be taught."""
    ruled = [source for source in params.sources if source.calls == "suites"]
    for source in ruled:
        if source.split != splits.TEST:
            raise Refusal(
                f"source `{source.name}` gives rows to the split `{source.split}`, and no tool says which calls they "
                "may hold",
                action="plan again: calls that suites judge by rules of their own are tested by alone",
            )
    return {source.name for source in ruled}


def _refuse_calls(found: Sequence[tuple[str, Row]], tools: Sequence[registry.Tool]) -> None:
    """A row's own call that no model could be right with: it would teach a fault, and be refused by the last step."""
    valid = registry.validators(tools) if tools else {}
    for here, row in found:
        why = calls.why_not_row(row, valid)
        if why:
            by = "tools beside the messages allow" if row.get("tools") else "registry allows"
            raise Refusal(
                f"the response is no call that the {by}: {why}",
                place=here,
                action="correct the row, or the declaration of the tool",
            )


def _sources(found: Mapping[str, Sequence[Row]], params: DataParams) -> dict[str, object]:
    per = {name: Counter(row["source"] for row in split) for name, split in found.items()}
    return {
        source.name: {
            "license": source.license,
            "rows": {name: facts.measured(count[source.name], "row") for name, count in per.items()},
        }
        for source in params.sources
    }


def _classes(found: Mapping[str, Sequence[Row]]) -> dict[str, object]:
    per = {name: Counter(row["class"] for row in split if row["class"]) for name, split in found.items()}
    names = sorted(set().union(*per.values()))
    return {c: {split: facts.measured(count[c], "row") for split, count in per.items()} for c in names}
