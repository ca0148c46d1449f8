"""Items of an evaluation → its report's data again: judged anew from the outputs and the rows, and compared.

An artifact that has its digest may still say what no model said: every line is made again from its output, and every
number of the report from the lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kcompiler.audit.finding import Finding, broken, note
from kcompiler.audit.records import STATE, Records
from runtime import catalog
from runtime.contract import Refusal, Suite, items, rows, strict_json, toolbox
from runtime.contract.part import Part
from runtime.contract.report import dump

#: what kinds of report suites make begin with
EVALUATION = "eval."
#: two numbers this near are one: another machine's logarithm may end in another digit
NEAR = 1e-9


def stored(root: Path, digest: str) -> Path:
    """The folder of an artifact in the project's store, which need not be there."""
    scheme, _, text = digest.partition(":")
    return root / STATE / "store" / scheme / text[:2] / text


def lines(root: Path, record: Mapping[str, Any]) -> list[items.Line]:
    """The lines of a committed evaluation. Raises OSError where they are not here, ValueError where they are none."""
    return items.read((stored(root, record["gives"]["items"]["digest"]) / items.FILE).read_bytes())


def judged(step: Mapping[str, Any]) -> bool:
    """Whether a locked step leaves items, and a report that is made of them."""
    kind = step["gives"].get("report", {}).get("report", "")
    return "items" in step["gives"] and str(kind).startswith(EVALUATION)


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
        dataset = stored(root, str(record["components"].get("input.dataset")))
        try:
            held = lines(root, record)
            found = list(_apart(step, held, dataset, report, subject))
        except OSError:
            findings.append(note(subject, "not made again: its items, or the rows they answer, are not in the store"))
            continue
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, Refusal) as reason:
            # a line that was put there may break whatever reads it
            place = f"artifact `items` of step `{step['id']}`"
            findings.append(broken("KA25", subject, f"{place} is not what a suite leaves: {reason}"))
            continue
        count += len(held)
        findings += found
    return count, findings


def _apart(
    step: Mapping[str, Any], held: list[items.Line], dataset: Path, report: bytes, subject: str
) -> Iterator[Finding]:
    params, name = step["params"], step["params"]["suite"]
    suite: Suite | None = catalog.load("suites", name) if name in catalog.names("suites") else None
    if suite is None or suite.version != params["suite_version"]:
        yield note(subject, f"not made again: suite `{name}` {params['suite_version']} is not the one that is here")
        return
    part = None if params["rows"] is None else Part.model_validate(params["rows"])
    asked = [row for row in rows.load(dataset / f"{params['split']}.jsonl") if part is None or part.holds(row)]
    tools = toolbox.of_dataset(dataset)
    data = suite.data_of(held, asked, tools, suite.params.model_validate(params["params"]), int(step["seed"]))
    said = strict_json.loads(report)
    wrong = next(differing(strict_json.loads(dump(data)), said.get("data") if isinstance(said, dict) else None), "")
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
