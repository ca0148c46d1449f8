"""A dataset × its tokenizer → whether every row fits where it is read, and, where the spec says so, the rows that do.

A row is never cut. One that is too long is refused before anything is trained or asked, or, by `data.too_long: drop`,
left out of its split and counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runtime import digest
from runtime.contract import Context, Refusal, rows, scenario, strict_json
from runtime.contract import report as facts
from runtime.contract.rows import Row
from runtime.machine import durable
from runtime.models.tokenizer import Tokenizer, made
from runtime.steps.tokenizer import TokenizerParams

#: rows that a refusal names, and how much of their prompts it shows
NAMED, SHOWN = 3, 40
#: the split whose pairs are read on both sides
JUDGED = "test"


def fit(dataset: Path, tokenizer: Tokenizer, params: TokenizerParams, ctx: Context) -> dict[str, Any]:
    """Datum `too_long` of the report: per split, how many rows do not fit. Writes port `dataset` when they are dropped.

    Raises Refusal for a row that is too long and may not be dropped, and for a split of which none is left.
    """
    found: dict[str, Any] = {}
    kept: dict[str, list[Row]] = {}
    for split, bound in sorted(params.lengths.items()):
        most, field = bound.tokens, bound.field
        whole = rows.load(dataset / f"{split}.jsonl")
        tools = tools_of(dataset) if split in params.asked_with_tools else None
        sized = [(row, size_of(row, tokenizer, split, tools)) for row in whole]
        long = [(row, size) for row, size in sized if size > most]
        kept[split] = [row for row, size in sized if size <= most]
        if long and params.too_long == "refuse":
            raise _refusal(split, most, field, long, len(whole), " with their tools" if tools else "")
        if not kept[split]:
            raise Refusal(
                f"all {len(whole)} rows of the split `{split}` are longer than {most} tokens",
                place=field,
                action=f"raise {field}",
            )
        found[split] = facts.rate(len(long), len(whole))
    if params.too_long == "drop":
        _write(dataset, ctx.out("dataset"), kept)
    return found


def tools_of(dataset: Path) -> list[Any]:
    """The tools beside the rows, as the data step checked and wrote them."""
    path = dataset / "tools.json"
    return cast(list[Any], strict_json.loads(path.read_bytes())) if path.is_file() else []


def size_of(row: Row, tokenizer: Tokenizer, split: str, tools: Sequence[Any] | None = None) -> int:
    """Tokens of the longest sequence that is read of a row: of a held-out pair either answer is one, and of a scenario
    the first prompt with the tools that it is asked with. `tools`: those of the registry, where a suite asks so.

    Raises Refusal for a rejected answer that the template does not write.
    """
    longest = max(len(one.ids) for one in tokenizer.sequences(row))
    if tools is not None and not scenario.unfit(row):
        longest = max(longest, len(tokenizer.encode_prompt(scenario.asked(row, tools))))
    if rows.REJECTED not in row or split != JUDGED:
        return longest
    try:
        return max(longest, len(tokenizer.encode_pair(rows.prompt_of(row), rows.rejected_of(row)).ids))
    except Refusal as error:
        raise Refusal(
            f"the rejected answer of row `{row['id']}`: {error.message}",
            place=error.place,
            action=error.action,
            code=error.code,
        ) from None


def _refusal(split: str, most: int, field: str, long: Sequence[tuple[Row, int]], count: int, beside: str) -> Refusal:
    longest = sorted(long, key=lambda item: (-item[1], item[0]["id"]))
    named = "; ".join(
        f"row `{row['id']}` of source `{row['source']}`, {size} tokens: {row['prompt'][:SHOWN]!r}"
        for row, size in longest[:NAMED]
    )
    more = f"; and {len(long) - NAMED} more" if len(long) > NAMED else ""
    return Refusal(
        f"{len(long)} of {count} rows of the split `{split}` are longer than {most} tokens{beside}: {named}{more}",
        place=field,
        action=f"shorten or remove them, raise {field} to {longest[0][1]}, or write `data.too_long: drop`; rows "
        "are never cut",
    )


def _write(dataset: Path, folder: Path, kept: Mapping[str, Sequence[Row]]) -> None:
    """The dataset again without the rows that do not fit: splits, tools as they were, a manifest of what is left."""
    manifest = cast(dict[str, Any], json.loads((dataset / "manifest.json").read_text(encoding="utf-8")))
    for path in dataset.iterdir():
        if path.suffix != ".jsonl" and path.name != "manifest.json":
            durable.copy(path, folder / path.name)
    for split, left in kept.items():
        path = folder / f"{split}.jsonl"
        durable.write(path, "".join(rows.written(left, path.name)))
        manifest["splits"][split] = {"rows": len(left), "sha256": facts.hex_of(digest.of_file(path))}
    sources = [row["source"] for left in kept.values() for row in left]
    for source in manifest["sources"]:
        source["rows"] = sources.count(source["name"])
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    durable.write(folder / "manifest.json", text)


def make(takes: Mapping[str, Path], params: TokenizerParams, ctx: Context) -> None:
    """Operation `tokenizer`: the tokenizer and its contract, then the rows against the lengths that are read."""
    tokenizer, data, marks = made(takes, params, ctx)
    data["too_long"] = fit(takes["dataset"], tokenizer, params, ctx)
    ctx.report("report", data, fingerprints=marks)
    ctx.say(f"{tokenizer.vocab_size} tokens, {len(tokenizer.control_ids)} of them control tokens")
