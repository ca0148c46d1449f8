"""A dataset × its tokenizer → what a person should see before anything is trained: rows as the student will read them,
with what it is asked to learn marked, how long they are, and which will not be used.

Nothing is rendered here a second time: ids and masks come from `runtime.data.encode.encode`, which training asks, and
their text from the tokenizer that decodes what a model answers.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.contract import rows
from runtime.contract.rows import Row
from runtime.data.encode import RESPONSE, Example, encode
from runtime.machine import durable
from runtime.models.fitting import size_of, tools_of
from runtime.models.tokenizer import Tokenizer, load, made
from runtime.steps.tokenizer import TokenizerParams

#: rows of a split that are measured; they stand in the order of a hash, so that the first are a fair sample
MEASURED = 50_000
#: rows that are named for each reason not to use them
NAMED = 3


@dataclass(frozen=True)
class Aside:
    """Where a tokenizer is made in a folder of its own, of nobody's step."""

    folder: Path
    digests: Mapping[str, str]

    def out(self, port: str) -> Path:
        made = self.folder / port
        durable.DISK.ensure(made)
        return made

    def say(self, message: str) -> None:
        """Nobody watches."""


def tokenizer_of(takes: Mapping[str, Path], params: Mapping[str, Any], digests: Mapping[str, str]) -> Tokenizer:
    """The tokenizer that the step would make of these, made aside. Raises what the step raises."""
    with tempfile.TemporaryDirectory() as folder:
        return made(takes, TokenizerParams.model_validate(params), Aside(Path(folder), digests))[0]


def look(
    dataset: Path,
    tokenizer: Tokenizer | Path,
    *,
    split: str,
    count: int,
    masks: Sequence[str],
    buckets: Sequence[int],
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """What `kcompiler data look` shows of one split.

    `masks` are the spans that the spec's losses may supervise, `buckets` the lengths in tokens of its prefill shapes,
    `params` those of the step `tokenizer`: how long a row may be, and what becomes of a longer one. Raises Refusal for
    rows that are none.
    """
    words = load(tokenizer) if isinstance(tokenizer, Path) else tokenizer
    bound = params["lengths"].get(split)
    shown: list[dict[str, Any]] = []
    sized: list[tuple[int, Row]] = []
    tools = tools_of(dataset) if split in params.get("asked_with_tools", ()) else None
    for row in itertools.islice(rows.read(dataset / f"{split}.jsonl"), MEASURED):
        # a conversation whose earlier turns stand behind other words when they are asked is several sequences
        examples = encode(row, words, masks if len(shown) < count else ())
        if len(shown) < count:
            shown += [_shown(row, example, words) for example in examples]
        sized.append((size_of(row, words, split, tools), row))
    total = int(json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))["splits"][split]["rows"])
    sizes = [size for size, _ in sized]
    return {
        "split": split,
        "rows": total,
        "measured": len(sized),
        "shown": shown,
        "lengths": {
            "min": min(sizes),
            "median": statistics.median_low(sizes),
            "within_95": sorted(sizes)[max(0, -(-95 * len(sizes) // 100) - 1)],
            "max": max(sizes),
            "buckets": _histogram(sizes, buckets),
        },
        "too_long": _too_long(sized, bound, str(params["too_long"])),
    }


def _shown(row: Row, example: Example, tokenizer: Tokenizer) -> dict[str, Any]:
    """One row as its tokens say it, in pieces that are learnt or not; and the text of each further mask."""
    asked = not row["response"]
    if asked:
        # the end token stands where the teacher's answer will
        example = Example(example.ids[:-1], {name: [False] * (len(example.ids) - 1) for name in example.masks})
    return {
        "id": row["id"],
        "source": row["source"],
        "class": row["class"],
        "answered_by": "teacher" if asked else "file",
        "rejected": str(rows.rejected_of(row)) if rows.REJECTED in row else "",
        "tokens": len(example.ids),
        "learnt": sum(example.masks[RESPONSE]),
        "pieces": [
            {"text": tokenizer.decode(ids), "learnt": learnt}
            for learnt, ids in _runs(example.ids, example.masks[RESPONSE])
        ],
        "spans": {
            name: [tokenizer.decode(ids) for inside, ids in _runs(example.ids, mask) if inside]
            for name, mask in sorted(example.masks.items())
            if name != RESPONSE
        },
    }


def _runs(ids: Sequence[int], mask: Sequence[bool]) -> Iterable[tuple[bool, list[int]]]:
    for inside, group in itertools.groupby(zip(mask, ids, strict=True), key=lambda pair: pair[0]):
        yield inside, [number for _, number in group]


def _histogram(sizes: Sequence[int], buckets: Sequence[int]) -> list[dict[str, Any]]:
    """Rows per bucket: the shortest prefill shape that holds them; those that none holds stand at `most` None."""
    edges = sorted(buckets)
    found = [
        {"most": edge, "rows": sum(low < size <= edge for size in sizes)}
        for low, edge in zip([0, *edges[:-1]], edges, strict=True)
    ]
    return [*found, {"most": None, "rows": sum(size > edges[-1] for size in sizes)}]


def _too_long(sized: Sequence[tuple[int, Row]], bound: Mapping[str, Any] | None, policy: str) -> dict[str, Any]:
    """The rows that do not fit where they are read, by the bound of the step `tokenizer`."""
    if bound is None:
        return {"policy": policy, "field": "", "most": None, "rows": 0, "longest": []}
    long = sorted((item for item in sized if item[0] > bound["tokens"]), key=lambda item: (-item[0], item[1]["id"]))
    return {
        "policy": policy,
        "field": bound["field"],
        "most": bound["tokens"],
        "rows": len(long),
        "longest": [{"id": row["id"], "source": row["source"], "tokens": size} for size, row in long[:NAMED]],
    }
