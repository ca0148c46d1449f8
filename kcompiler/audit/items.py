"""Items of an evaluation → its report's data again: judged anew from the outputs and the rows, and compared.

An artifact that has its digest may still say what no model said: every line is made again from its output, and every
number of the report from the lines.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompiler.audit.finding import Finding, broken, note
from kcompiler.audit.records import STATE, Records
from runtime import catalog
from runtime.contract import Refusal, Suite, apart, items, parity, rows, spool, strict_json, toolbox
from runtime.contract.part import Part
from runtime.contract.report import dump

#: what kinds of report suites make begin with
EVALUATION = "eval."
#: the report of a further runner's items, and that of how far all are apart
ASKED, PARITY = "asked", "parity"
#: two numbers this near are one: another machine's logarithm may end in another digit
NEAR = 1e-9


def stored(root: Path, digest: str) -> Path:
    """The folder of an artifact in the project's store, which need not be there."""
    scheme, _, text = digest.partition(":")
    return root / STATE / "store" / scheme / text[:2] / text


def lines(root: Path, record: Mapping[str, Any]) -> items.Lines:
    """The lines of a committed evaluation. Raises OSError where they are not here, ValueError where they are none."""
    return items.load(stored(root, record["gives"]["items"]["digest"]) / items.FILE)


def left(step: Mapping[str, Any]) -> bool:
    """Whether a locked step leaves items, and a report that is made of them."""
    kind = str(step["gives"].get("report", {}).get("report", ""))
    return "items" in step["gives"] and (kind == ASKED or kind.startswith(EVALUATION))


def judged(step: Mapping[str, Any]) -> bool:
    """Whether the report of a locked step is made of items."""
    return left(step) or step["gives"].get("report", {}).get("report") == PARITY


def recomputed(
    root: Path, plan: Mapping[str, Any], records: Records, given: Mapping[str, bytes], shown: str
) -> tuple[int, list[Finding]]:
    """How many lines were judged again, and what was found. `given` maps a step to its report as it lies there."""
    count, findings = 0, list[Finding]()
    for step in filter(judged, plan["steps"]):
        record, report = records.get(step["id"]), given.get(step["id"])
        if record is None or record["forged"] or report is None:
            continue
        subject = f"{shown}/reports/{step['id']}.json"
        try:
            if step["gives"]["report"]["report"] == PARITY:
                found, judged_lines = list(_pairs_apart(root, step, record, report, subject)), 0
            else:
                dataset = stored(root, str(record["components"].get("input.dataset")))
                held = lines(root, record)
                found, judged_lines = list(_apart(step, held, dataset, report, subject)), len(held)
        except OSError:
            why = "its items, or the rows they answer, are not in the store"
            word = "what no other number in it gives is the word of who made it, or signed it"
            findings.append(note(subject, f"not made again: {why}; {word}"))
            continue
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, Refusal) as reason:
            # a line that was put there may break whatever reads it
            place = f"artifact `items` of step `{step['id']}`" if "items" in step["gives"] else "what it compares"
            findings.append(broken("KA25", subject, f"{place} is not what a suite leaves: {reason}"))
            continue
        count += judged_lines
        findings += found
    return count, findings


def _apart(
    step: Mapping[str, Any], held: Sequence[items.Line], dataset: Path, report: bytes, subject: str
) -> Iterator[Finding]:
    params, name = step["params"], step["params"]["suite"]
    suite: Suite | None = catalog.load("suites", name) if name in catalog.names("suites") else None
    if suite is None or suite.version != params["suite_version"]:
        yield note(subject, f"not made again: suite `{name}` {params['suite_version']} is not the one that is here")
        return
    part = None if params["rows"] is None else Part.model_validate(params["rows"])
    asked = rows.kept(dataset / f"{params['split']}.jsonl", *([] if part is None else [part.holds]))
    tools = toolbox.of_dataset(dataset)
    own, said = suite.params.model_validate(params["params"]), _data(report)
    if step["gives"]["report"]["report"] == ASKED:
        _answered(suite, held, asked, tools, own, params)
        right = said.get("right") if isinstance(said, dict) else None
        # why a runner could not be asked at all stands in no line; without lines nothing is right, whatever the reason
        why = "" if held or not isinstance(right, dict) else str(right.get("reason", ""))
        data = {"suite": suite.name, "use": params["use"], **parity.asked(params["runner"], held, why)}
    else:
        data = suite.data_of(held, asked, tools, own, int(step["seed"]))
    yield from _compared(data, said, subject)


def _answered(
    suite: Suite,
    held: Sequence[items.Line],
    asked: Sequence[Mapping[str, Any]],
    tools: Any,
    own: Any,
    params: Mapping[str, Any],
) -> None:
    """Raises ValueError for a line of a further runner that its output does not give, and for one that is missing."""
    if not held:
        return
    name = params["runner"]
    due = suite.select(asked, name, own)
    there = array("I")
    if len(held) != len(due):
        raise ValueError(f"its lines are not one of runner `{name}` for each row that it is asked")
    for at, (row, one) in enumerate(zip(due, held, strict=True)):
        if (one["row"], one["runner"]) != (str(row["id"]), name):
            raise ValueError(f"its lines are not one of runner `{name}` for each row that it is asked")
        if one["reason"] != parity.NOT_RECORDED:
            there.append(at)
        elif params["use"] != "recorded" or one != items.line(row, name, None, {}, parity.NOT_RECORDED):
            raise ValueError(f"row `{one['row']}` is said not to be recorded")
    lost = len(there) < len(held)
    known = spool.picked(held, there) if lost else held
    # what a line is worth may depend on all rows, also on those without one
    if suite.complete is not None:
        again = items.made(suite.complete(known, asked, tools, own))
        apart = next((mine["row"] for mine, one in zip(known, again, strict=True) if mine != one), None)
        if apart is not None:
            raise ValueError(f"the line of row `{apart}` by runner `{name}` is not what its output gives")
    if suite.complete is None or not lost:
        suite.data_of(known, spool.picked(due, there) if lost else asked, tools, own, 0)


def _pairs_apart(
    root: Path, step: Mapping[str, Any], record: Mapping[str, Any], report: bytes, subject: str
) -> Iterator[Finding]:
    params, found = step["params"], dict[str, Sequence[items.Line]]()
    for port in (parity.OWN_ITEMS, *map(parity.port_of, params["further"])):
        folder = stored(root, str(record["components"].get(f"input.{port}")))
        found |= items.by_runner(items.load(folder / items.FILE))
    data = apart.told(params["suite"], found, params["models"], int(step["seed"]))
    yield from _compared(data, _data(report), subject)


def _data(report: bytes) -> Any:
    said = strict_json.loads(report)
    return said.get("data") if isinstance(said, dict) else None


def _compared(data: Mapping[str, Any], said: Any, subject: str) -> Iterator[Finding]:
    wrong = next(differing(strict_json.loads(dump(data)), said), "")
    if wrong:
        yield broken("KA26", f"{subject}#/data{wrong}", "not what the items give")


def differing(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """JSON pointers below which two values differ by more than rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            if name not in one or name not in other:
                yield f"{place}/{name}"
            else:
                yield from differing(one[name], other[name], f"{place}/{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differing(a, b, f"{place}/{index}")
    elif isinstance(one, float) and isinstance(other, float):
        if not math.isclose(one, other, rel_tol=NEAR, abs_tol=NEAR):
            yield place
    elif type(one) is not type(other) or one != other:
        yield place
