"""Answers as classes: all that is said of each follows from the table of what was said in place of what.

`none` is the column of what is none of the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from kcompiler.policy.laws.sides import Data, apart, measured


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Recall, precision, F1 and their mean are those of the table, whose questions are all that were asked; beside
    them is the teacher's own recall."""
    for name, node in data["validity"].items():
        valid = measured(node)
        if valid is None:
            continue
        table = _table(data["confusion"].get(name, {}))
        other = sum(row.get(said["none"], 0) for row in table.values())
        n = sum(sum(row.values()) for row in table.values())
        if (n - other, n) != (valid.k, valid.n):
            yield f"/confusion/{name}: {n - other} of {n} questions in it have an answer"
            continue
        hits = sum(row.get(answer, 0) for answer, row in table.items())
        matches = measured(data["gold_match"].get(name))
        if matches is not None and not hits <= (matches.k or 0) <= n - other:
            yield f"/gold_match/{name}: {hits} answers are the rows' own, of {n - other}"
        yield from _scores(data, name, table)


def _table(node: Any) -> dict[str, dict[str, int]]:
    return {
        gold: {said: int(one.value or 0) for said, each in row.items() if (one := measured(each)) is not None}
        for gold, row in node.items()
    }


def _counts(node: Any) -> tuple[int | None, int | None] | None:
    one = measured(node)
    return None if one is None else (one.k, one.n)


def _scores(data: Data, name: str, table: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    told = data["by_answer"].get(name, {})
    golds = {gold for gold, row in table.items() if sum(row.values())}
    if told.keys() != golds:
        yield f"/by_answer/{name}: not of the answers that the rows give"
        return
    found = []
    for answer, scores in told.items():
        hit = table[answer].get(answer, 0)
        gold, taken = sum(table[answer].values()), sum(row.get(answer, 0) for row in table.values())
        due = {"recall": (hit, gold), "precision": (hit, taken)}
        for part, counts in due.items():
            if _counts(scores[part]) != (counts if counts[1] else None):
                yield f"/by_answer/{name}/{answer}/{part}: the table has {counts[0]} of {counts[1]}"
        own = data["by_answer"].get("teacher", {}).get(answer, {}).get("recall")
        if _counts(scores["recall_of_teacher"]) != _counts(own):
            yield f"/by_answer/{name}/{answer}/recall_of_teacher: it is not the teacher's own"
        f1 = scores["f1"]
        if [f1.get(count) for count in ("tp", "fp", "fn", "n")] != [hit, taken - hit, gold - hit, gold]:
            yield f"/by_answer/{name}/{answer}/f1: the table has others"
        found.append(2 * hit / (gold + taken))
    mean = measured(data["macro_f1"].get(name))
    if mean is not None and (mean.n != len(found) or apart(data["macro_f1"][name]["value"], fmean(found))):
        yield f"/macro_f1/{name}: it is not the mean of {len(found)} answers' F1"
