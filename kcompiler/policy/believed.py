"""Whose word a report rests on: of what a judge says nothing is decided, unless the judge itself has passed.

A suite that asks a judge takes the report on the judge. Every obligation about a report that was made so, or of
anything made of it, names the step of that report; its outcome stands only where all that blocks on the judge's report
passes in the same verdict, and a blocking rule bounds how far the judge's certainty is from its rightness. No pack has
to ask for it, and none can leave it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runtime.contract.questioned import STANDING

#: what a rule must bound from above, of the report on a judge
CALIBRATION = "calibration."
_FROM_ABOVE = ("<", "<=")


def edges(takes: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Step that rests on a judge → "step:…" of the report on the judge. `takes`: step → port → reference."""

    def made_by(reference: str) -> str:
        return reference.removeprefix("step:").partition("#")[0] if reference.startswith("step:") else ""

    found = {step: f"step:{made_by(ports[STANDING])}" for step, ports in takes.items() if STANDING in ports}
    while True:
        further = {
            step: found[made_by(reference)]
            for step, ports in takes.items()
            if step not in found
            for reference in ports.values()
            if made_by(reference) in found
        }
        if not further:
            return found
        found |= further


def named(obligations: Iterable[Mapping[str, Any]], rests: Mapping[str, str]) -> list[dict[str, Any]]:
    """The obligations, each with the judge that its report, or the one it is compared with, rests on."""
    made = []
    for one in obligations:
        steps = (str(one.get(key, "")).removeprefix("step:") for key in ("from", "against"))
        judge = next((rests[step] for step in steps if step in rests), "")
        plain = {key: value for key, value in one.items() if key != "judged_by"}
        made.append({**plain, "judged_by": judge} if judge else plain)
    return made


def about(step: str, obligations: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What blocks on the report of a step."""
    return [one for one in obligations if one.get("from") == f"step:{step}" and one.get("mode") == "block"]


def calibrates(one: Mapping[str, Any]) -> bool:
    """Whether an obligation bounds the calibration error of a judge from above."""
    params = one.get("params")
    if not isinstance(params, Mapping) or not str(one.get("kind", "")).startswith("bound@"):
        return False
    metric = params.get("metric")
    paths: Sequence[Any] = metric if isinstance(metric, list) else [metric]
    return params.get("op") in _FROM_ABOVE and any(str(path).startswith(CALIBRATION) for path in paths)


def doubt(step: str, blocking: Sequence[Mapping[str, Any]], outcomes: Mapping[str, str]) -> str:
    """Why the judge whose report `step` makes is not believed, or "". `outcomes`: rule → what became of it there."""
    if not any(map(calibrates, blocking)):
        return f"no blocking rule bounds the calibration error of the judge in the report of `{step}`"
    for one in blocking:
        word = outcomes.get(str(one.get("rule")), "not_evaluated")
        if word != "pass":
            return f"the judge is not believed: of the report of `{step}`, rule `{one.get('rule')}` is {word}"
    return ""
