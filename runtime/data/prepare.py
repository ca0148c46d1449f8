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
from runtime.contract import Context, Generator, Refusal
from runtime.contract import report as facts
from runtime.contract.strict_json import Json
from runtime.data import rows, splits
from runtime.data.rows import Row
from runtime.steps.data import DataParams, Source
from runtime.tools import registry

#: how many offending rows a refusal spells out
NAMED = 10


def content_id(source: str, prompt: str, response: str) -> str:
    """The id of a row that brings none: source and 80 bits of a hash of its content."""
    content = "\0".join((prompt, response))
    return f"{source}-{hashlib.sha256(content.encode()).hexdigest()[:20]}"


def seed_of(source: Source, seed: int) -> int:
    """The seed of one generator source, so that two sources of one generator differ."""
    text = "\0".join(("kc.source.v1", str(seed), source.name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def _identifier(value: Json, here: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refusal("field `id` must be a string or an integer", place=here, action="correct the line")
    return str(value)


def _mapped(value: dict[str, Json], source: Source, here: str, unused: Counter[str]) -> Row:
    """One object of a source file as a row. Fields the mapping does not name are counted when there is a mapping,
    and refused when there is none."""
    field = {name: source.fields.get(name, name) for name in rows.FIELDS}
    found: dict[str, Json] = {name: value[field[name]] for name in rows.FIELDS if field[name] in value}
    for name in source.fields:
        if name not in found:
            raise Refusal(f"missing field `{source.fields[name]}`", place=here, action=f"it supplies `{name}`")
    extra = sorted(set(value) - {field[name] for name in rows.FIELDS})
    if extra and not source.fields:
        raise Refusal(
            f"unknown field `{extra[0]}`", place=here, action=f"map it with `fields` of data source `{source.name}`"
        )
    unused.update(extra)
    for name in ("prompt", "response"):
        if not isinstance(found.get(name), str):
            raise Refusal(
                f"field `{field[name]}` must be a string",
                place=here,
                action=f"map the right field to `{name}` with `fields` of data source `{source.name}`",
            )
    if "id" in found:
        found["id"] = _identifier(found["id"], here)
    else:
        found["id"] = content_id(source.name, str(found["prompt"]), str(found["response"]))
    whole: dict[str, Json] = {"class": "", "spans": {}, "meta": {}, **found, "source": source.name}
    return rows.checked(whole, here)


def from_file(path: Path, source: Source, unused: Counter[str]) -> Iterator[tuple[str, Row]]:
    """The rows of one JSON Lines source as (place, row). Raises Refusal with file and line."""
    unknown = sorted(set(source.fields) - set(rows.FIELDS))
    if unknown:
        raise Refusal(
            f"data source `{source.name}` maps `{unknown[0]}`, which is no field of a row",
            action=f"map only {', '.join(rows.FIELDS)}",
        )
    for here, value in itertools.islice(rows.objects(path), source.limit or None):
        yield here, _mapped(value, source, here, unused)


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


def _unique(found: Sequence[tuple[str, Row]]) -> list[Row]:
    """Rows whose ids are unique. One id for two contents is refused; the same row twice is left to the caller."""
    first: dict[str, tuple[str, Row]] = {}
    for here, row in found:
        place, other = first.setdefault(row["id"], (here, row))
        if (other["prompt"], other["response"]) != (row["prompt"], row["response"]):
            raise Refusal(
                f"id `{row['id']}` was already used at {place} for another row", place=here, action="rename one of them"
            )
    return [row for _, row in found]


def _refuse_overlap(found: splits.Overlap) -> None:
    if not found.normalised:
        return
    named = ", ".join(f"{train} = {test}" for train, test in found.normalised[:NAMED])
    more = f" and {len(found.normalised) - NAMED} more" if len(found.normalised) > NAMED else ""
    counts = f"{len(found.normalised)} prompts stand in train and in test ({len(found.exact)} letter by letter)"
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
        count = rows.write(path, split)
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


def _dump(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def prepare(takes: Mapping[str, Path], params: DataParams, ctx: Context) -> None:
    """Operation `data`. Duplicates are dropped before splitting; an overlap of prompts is refused with its rows."""
    tools = registry.load(takes["tools"]) if params.has_tools else []
    unused: Counter[str] = Counter()
    found: list[tuple[str, Row]] = []
    split_of: dict[str, str] = {}
    for source in params.sources:
        if source.kind == "jsonl":
            found += from_file(takes[f"source_{source.name}"], source, unused)
        else:
            found += from_generator(source, tools, ctx.seed)
        split_of[source.name] = source.split
        ctx.say(f"{source.name}: {len(found)} rows so far")
    by_split: dict[str, list[Row]] = {}
    for row in _unique(found):
        by_split.setdefault(split_of[row["source"]], []).append(row)
    kept, dropped = {}, 0
    for name, group in by_split.items():
        kept[name], lost = splits.without_duplicates(group)
        dropped += lost
    final = splits.assign(kept, params.held_out)
    if not final["train"]:
        raise Refusal("no row is left for training", action="add rows, or lower data.held_out")
    overlap = splits.overlap(final["train"], final["test"])
    _refuse_overlap(overlap)
    folder = ctx.out("dataset")
    _write(folder, final, tools, params)
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
    ctx.report("report", data, fingerprints={"tool_registry": registry.fingerprint(tools)})
    counts = ", ".join(f"{name}: {len(split)} rows" for name, split in final.items())
    ctx.say(f"{counts}, {dropped} duplicates dropped")


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
