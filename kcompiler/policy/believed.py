"""Whose word a report rests on: of what a judge says nothing is decided, unless the judge itself has passed.

A suite that asks a judge takes the report on the judge. Every obligation about a report that was made so, or of
anything made of it, names the step of that report; its outcome stands only where all that blocks on the judge's report
passes in the same verdict, and a blocking rule bounds how far the judge's certainty is from its rightness, below what
a judge has that is merely always sure. No pack has
to ask for it, and none can leave it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from runtime.contract.questioned import STANDING

#: what a rule must bound from above, of the report on a judge: the error of the model that judges, or of every model
CALIBRATION = ("calibration.student", "calibration.*")
#: a judge that is always sure, and right so often as quality/judged asks at least (0.75), errs by this: a bound at or
#: above it says nothing
ALWAYS_SURE = Fraction(1, 4)
_FROM_ABOVE, _ENDS = ("<", "<="), ("point", "high")


def edges(takes: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Step that rests on a judge → "step:…" of the report on the judge. `takes`: step → port → reference."""

    def made_by(reference: str) -> str:
        return reference.removeprefix("step:").partition("#")[0]

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
    """Whether an obligation bounds the calibration error of a judge, or its upper end, by less than that of a judge who
    is always sure."""
    params = one.get("params")
    if not isinstance(params, Mapping) or not str(one.get("kind", "")).startswith("bound@"):
        return False
    metric = params.get("metric")
    paths: Sequence[Any] = metric if isinstance(metric, list) else [metric]
    above = params.get("op") in _FROM_ABOVE and params.get("on", "point") in _ENDS
    bounds = above and any(path in CALIBRATION for path in paths)
    written = params.get("threshold")
    return bounds and not _harmless(one.get("expect") if written is None else written)


def _harmless(threshold: object) -> bool:
    """Whether the error of a judge who is always sure is within it, or it is no number."""
    try:
        return Fraction(str(threshold)) >= ALWAYS_SURE
    except (ValueError, ZeroDivisionError):
        return True


class Said(NamedTuple):
    """What became of a rule about the judge."""

    outcome: str
    reason: str
    remedy: str


#: a rule that nothing was said of
_NOTHING = Said("not_evaluated", "nothing was judged by it", "apply the whole plan")


def doubt(step: str, blocking: Sequence[Mapping[str, Any]], outcomes: Mapping[str, Said]) -> tuple[str, str]:
    """Why the judge whose report `step` makes is not believed, and what to do; or ("", ""). `outcomes`: by rule."""
    if not any(map(calibrates, blocking)):
        return (
            f"no blocking rule bounds the calibration error of the judge in the report of `{step}`",
            "name pack quality/judged, or a pack of your own with a rule of kind bound about eval.judge: "
            f"`metric: calibration.student`, `on: high`, a threshold below {float(ALWAYS_SURE)}",
        )
    for one in blocking:
        rule = str(one.get("rule"))
        said = outcomes.get(rule, _NOTHING)
        if said.outcome != "pass":
            why = f"rule `{rule}` is {said.outcome}: {said.reason}"
            return f"the judge is not believed: of the report of `{step}`, {why}", said.remedy
    return "", ""
