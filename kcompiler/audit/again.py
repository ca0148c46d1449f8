"""Reports as they lie there → which contradict themselves or each other, and which are not what their step took gives.

The first needs nothing but the reports. The second lets the step itself say how its report follows from what it took
(`Step.again`), and needs what it took: artifacts in the store, files in the project.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kcompiler.audit.finding import Finding, broken, note
from kcompiler.audit.items import differing, stored
from kcompiler.audit.records import Records
from kcompiler.plan import APPLY
from kcompiler.policy import binding
from kcompiler.policy import evidence as policy_evidence
from runtime import catalog
from runtime.contract import BrokenEvidence, Refusal, Step, places, strict_json
from runtime.contract.report import dump


def contradictions(given: Mapping[str, bytes | policy_evidence.Evidence], shown: str) -> Iterator[Finding]:
    """Reports that are no evidence, whatever else is at hand; `given` as the judge gets them."""
    found = {step: policy_evidence.read(data) for step, data in given.items()}
    wrong = {step: one.problem for step, one in found.items() if one.report is None} | binding.conflicts(found)
    for step, why in sorted(wrong.items()):
        name = "run.json" if step == APPLY else f"reports/{step}.json"
        yield broken("KA27", f"{shown}/{name}", why)


def remade(
    root: Path, plan: Mapping[str, Any], records: Records, given: Mapping[str, bytes], shown: str
) -> Iterator[Finding]:
    """Reports of steps that say how theirs is made again."""
    inputs = {f"input:{entry['name']}": entry for entry in plan["inputs"]}
    for step in plan["steps"]:
        name, _, version = str(step["kind"]).partition("@")
        record, report = records.get(step["id"]), given.get(step["id"])
        if record is None or record["forged"] or report is None or name not in catalog.names("steps"):
            continue
        known: Step = catalog.load("steps", name)
        if not known.again:
            continue
        subject = f"{shown}/reports/{step['id']}.json"
        if version != str(known.version):
            yield note(subject, f"not made again: step `{name}` {version} is not the one that is here")
            continue
        try:
            takes = {
                port: places.place_of(root, inputs[reference]["path"])
                if reference in inputs
                else stored(root, str(record["components"].get(f"input.{port}")))
                for port, reference in step["takes"].items()
            }
            yield from _apart(known, takes, step["params"], report, subject)
        except (OSError, places.NoPlace, ImportError) as reason:
            yield note(subject, f"not made again, what it takes is not here: {reason}")
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, Refusal, BrokenEvidence) as reason:
            yield broken("KA28", subject, f"what it was made of gives no report: {reason}")


def _apart(
    step: Step, takes: Mapping[str, Path], params: Mapping[str, Any], report: bytes, subject: str
) -> Iterator[Finding]:
    gone = next((path for path in takes.values() if not path.exists()), None)
    if gone is not None:
        raise FileNotFoundError(f"{gone.name[:12]}…")
    module, _, function = step.again.partition(":")
    data = getattr(importlib.import_module(module), function)(takes, step.params.model_validate(params))
    said: Any = strict_json.loads(report)
    wrong = next(differing(strict_json.loads(dump(data)), said.get("data") if isinstance(said, dict) else None), "")
    if wrong:
        yield broken("KA28", f"{subject}#/data{wrong}", "not what it was made of gives")
