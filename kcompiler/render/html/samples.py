"""Items of evaluations → the worst answers, each beside what was asked and the row's own, where these lie here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kcompiler.render.html.run import Run
from kcompiler.render.items import worst
from runtime import catalog, digest
from runtime.contract import Refusal, items, rows

#: answers that are shown of one evaluation, and evaluations
COUNT, MOST = 10, 20
#: characters of a text that are shown
LONGEST, _HEAD = 1200, 80


def section(run: Run) -> list[dict[str, Any]]:
    """One entry an evaluation that was really asked."""
    asked = [step for step in run.evaluations if not run.committed.get(str(step["id"]), {"forged": True})["forged"]]
    return [{"step": str(step["id"]), **_of(run, step)} for step in asked[:MOST]]


def _of(run: Run, step: Mapping[str, Any]) -> dict[str, Any]:
    record = run.committed[str(step["id"])]
    pin = record["gives"].get("items", {}).get("digest")
    folder = run.stored(pin)
    if folder is None:
        return _without("its answers are not in the store of this project")
    try:
        if digest.of_folder(folder) != pin:
            return _without("what lies in the store is not what was stored")
        lines = items.load(folder / items.FILE)
        name = str(step["params"]["suite"])
        cost = catalog.load("suites", name).cost if name in catalog.names("suites") else None
        found = worst(lines, cost, COUNT)
    except (OSError, ValueError, LookupError, TypeError) as reason:
        return _without(f"its answers cannot be read: {reason}")
    dataset = run.stored(record["components"].get("input.dataset"))
    known = _rows(dataset, str(step["params"].get("split", "")), {str(one["row"]) for one in found})
    wrong = sum(bool(one["reason"]) for one in lines)
    return {
        "why": "",
        "count": len(lines),
        "wrong": wrong,
        "runners": list(dict.fromkeys(str(one["runner"]) for one in lines)),
        "items": [_item(one, known.get(str(one["row"]))) for one in found],
    }


def _without(why: str) -> dict[str, Any]:
    return {"why": why, "count": 0, "wrong": 0, "runners": [], "items": []}


def _rows(dataset: Path | None, split: str, wanted: Iterable[str]) -> dict[str, rows.Row]:
    """Id → row, of those that are wanted; none where they are not here or cannot be read."""
    if dataset is None or "/" in split or not (dataset / f"{split}.jsonl").is_file():
        return {}
    ids = set(wanted)
    try:
        return {row["id"]: row for row in rows.kept(dataset / f"{split}.jsonl", lambda row: row["id"] in ids)}
    except (OSError, Refusal):
        return {}


def _item(one: Mapping[str, Any], row: rows.Row | None) -> dict[str, Any]:
    output = one["output"] if isinstance(one["output"], str) else json.dumps(one["output"], ensure_ascii=False)
    # of an answer with its scores the answer is read first
    said = one["output"].get("text") if isinstance(one["output"], Mapping) else None
    head = said if isinstance(said, str) else output
    # what lies here under that id may be another row
    same = row is not None and items.prompt_digest(rows.prompt_of(row)) == one["prompt"]
    return {
        "row": str(one["row"]),
        "runner": str(one["runner"]),
        "reason": str(one["reason"]),
        "head": head[:_HEAD] + ("…" if len(head) > _HEAD else ""),
        "output": _cut(output),
        "prompt": _cut(row["prompt"]) if row is not None and same else None,
        "digest": str(one["prompt"]),
        "expected": _cut(row["response"]) if row is not None and same else None,
        "parts": [(str(name), json.dumps(value, ensure_ascii=False)[:200]) for name, value in one["parts"].items()],
        "right": [name for name in one["right"] if name != one["runner"]],
    }


def _cut(text: str) -> dict[str, Any]:
    return {"text": text[:LONGEST], "left": max(0, len(text) - LONGEST)}
