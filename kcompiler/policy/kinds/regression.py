"""A number of a report × the same number of a pinned earlier report → not worse than it was, by more than a margin.

The baseline is a report that lies in the rule's own folder, named with its digest; what the rule needs of it stands in
the lock. Beside it lies the report on the run that made it, which names that run's plan and, by digest, the report: a
number that no run is named for decides nothing, unless the rule says `unanchored: allowed`. It says something only
where both were measured on the same: the fingerprints that `same` names must be equal, or nothing is decided. Nor is it
where the baseline is gone, or where one of the two has a place that the other has not, so that a shape that is left out
cannot pass. A rate is compared by its counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kcompiler.policy import path, shape
from kcompiler.policy.comparison import HasNeed, Op, apart, decided, end_of, floored, lacks, never_missed
from kcompiler.policy.datum import BadDatum, Datum, read
from kcompiler.policy.kind import (
    Closed,
    DecimalText,
    Fault,
    Judged,
    Kind,
    PathTexts,
    Read,
    broken,
    lacking,
    text_of,
    worst,
)
from runtime import digest
from runtime.contract import strict_json

_BELOW = r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)+$"
Bound = Literal["dataset", "tool_registry", "tokenizer", "prompt_wrapper", "model"]


class Baseline(Closed):
    """`file` is a report in the rule's folder, in a folder of it; `digest` is "sha256:…" of its bytes. `run` is the
    report on the run that made it (generated/NAME/evidence/run.json), in a folder of the rule's, too."""

    file: str = Field(pattern=_BELOW)
    run: str | None = Field(default=None, pattern=_BELOW)
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class Params(HasNeed):
    """Each place of `metric` is compared with the same place of `baseline`, by difference or by quotient.

    `need` is asked of both. Where `on` is `end`, the unfavourable end of the new number's interval is compared.
    """

    metric: PathTexts
    baseline: Baseline
    better: Literal["higher", "lower"]
    #: how much worse it may be: of a difference in the unit, of a quotient as a share of what it was
    margin: DecimalText
    by: Literal["difference", "quotient"] = "difference"
    on: Literal["point", "end"] = "point"
    #: what a baseline is worth that no run is named for
    unanchored: Literal["inconclusive", "allowed"] = "inconclusive"
    #: fingerprints that must be equal
    same: list[Bound] = Field(default=["dataset", "tool_registry", "tokenizer", "prompt_wrapper"], min_length=1)

    @field_validator("margin")
    @classmethod
    def _no_gain(cls, margin: str) -> str:
        if Fraction(margin) < 0:
            raise ValueError("a margin is how much worse it may be, from 0 on")
        return margin

    @model_validator(mode="after")
    def _can_fail(self) -> Params:
        if self.by == "quotient" and self.better == "higher" and Fraction(self.margin) >= 1:
            raise ValueError("of a quotient a margin of 1 and more lets everything pass")
        return self

    @property
    def op(self) -> Op:
        """How the difference or quotient is compared with the threshold."""
        return ">=" if self.better == "higher" else "<="

    @property
    def threshold(self) -> Fraction:
        """What the difference or quotient may be."""
        still = Fraction(1 if self.by == "quotient" else 0)
        return still - Fraction(self.margin) if self.better == "higher" else still + Fraction(self.margin)


def pinned(params: Params, folder: Path, kind: str) -> dict[str, Any]:
    """What the rule compares with: the baseline's digest, fingerprints and data at the rule's places; or that it is
    gone. Raises ValueError where the file is not the report that the rule names."""
    file = folder / params.baseline.file
    if not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
        return {"missing": f"no baseline `{params.baseline.file}` lies beside the rule"}
    data = file.read_bytes()
    if (found := digest.of_bytes(data)) != params.baseline.digest:
        raise ValueError(f"`{params.baseline.file}` has the digest {found}, and the rule pins another")
    report: Any = strict_json.loads(data)
    sections = ("data", "environment", "fingerprints")
    if not isinstance(report, dict) or not all(isinstance(report.get(name), dict) for name in sections):
        raise ValueError(f"`{params.baseline.file}` is no report")
    if report.get("kind") != kind:
        raise ValueError(f"`{params.baseline.file}` is a report `{report.get('kind')}`, and the rule is about `{kind}`")
    if report["environment"].get("forged") is not False:
        raise ValueError(f"`{params.baseline.file}` is forged: nothing was measured")
    places = {match.pointer: match.value for match in _places(params, report["data"]) if not match.missing}
    if not places:
        raise ValueError(f"`{params.baseline.file}` has nothing at {', '.join(params.metric)}")
    said = {"report": params.baseline.digest, "fingerprints": report["fingerprints"], "data": places}
    return said | ({} if params.baseline.run is None else {"plan": _plan_of(data, folder, params.baseline.run)})


def _plan_of(data: bytes, folder: Path, run: str) -> str:
    """The plan of the run that made a report. Raises ValueError where the report on the run names no such report."""
    file = folder / run
    if not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"no report on its run lies at `{run}`")
    found: Any = strict_json.loads(file.read_bytes())
    subject = found.get("subject") if isinstance(found, dict) and found.get("kind") == "run" else None
    if not isinstance(subject, dict) or found.get("environment", {}).get("forged") is not False:
        raise ValueError(f"`{run}` is no report on a run that was carried out")
    if not isinstance(subject.get("plan"), str) or digest.of_one_file("report.json", data) not in subject.values():
        raise ValueError(f"the run of `{run}` made no such report")
    return str(subject["plan"])


def _places(params: Params, data: object) -> list[path.Match]:
    return [match for text in params.metric for match in path.walk(path.parse(text), data, "/data")]


def _undecided(reason: str, pointer: str = "") -> Judged:
    return Judged(word="inconclusive", reason=reason, pointer=pointer)


def _apart(params: Params, now: Mapping[str, Any], before: Mapping[str, Any]) -> Judged | None:
    """Why the two were not measured on the same, or None."""
    known = [name for name in params.same if name in now or name in before]
    if not known:
        return _undecided("neither report says what it was measured on", "/fingerprints")
    for name in known:
        if now.get(name) != before.get(name):
            return _undecided(f"the baseline was measured on another {name}", f"/fingerprints/{name}")
    return None


def _number(params: Params, node: object, pointer: str, whose: str) -> Datum | Judged:
    try:
        datum = read(node)
    except BadDatum as error:
        return broken(f"{whose}{error}", pointer)
    lack = lacks(params.need, params.unit, datum, pointer)
    if lack is not None:
        return Judged(word=lack.word, reason=f"{whose}{lack.reason}", pointer=pointer)
    return datum


def _at(params: Params, match: path.Match, before: Mapping[str, Any]) -> Judged:
    if match.missing:
        return lacking(match.missing, match.pointer)
    if match.pointer not in before:
        return _undecided("the baseline has nothing here", match.pointer)
    was = _number(params, before[match.pointer], match.pointer, "the baseline: ")
    now = _number(params, match.value, match.pointer, "")
    if isinstance(now, Judged) or isinstance(was, Judged):
        return worst(one for one in (now, was) if isinstance(one, Judged))
    end = "point" if params.on == "point" else "low" if params.better == "higher" else "high"
    new, old = end_of(now, end), was.value
    if new is None or old is None:
        return lacking(f"has no `{end}` end of an interval", match.pointer)
    if params.by == "quotient" and (new < 0 or old <= 0):
        return lacking(f"{text_of(new)} and {text_of(old)} have no quotient that says anything", match.pointer)
    found = new - old if params.by == "difference" else new / old
    told = f"{text_of(new)} {'less' if params.by == 'difference' else 'of'} {text_of(old)} is {text_of(found)}, which"
    return decided(params.op, found, params.threshold, match.pointer, told)


def judge(params: Params, report: Mapping[str, Any], expect: object, _other: object) -> Judged:
    if not isinstance(expect, Mapping):
        return lacking("the plan names no baseline")
    if "missing" in expect:
        return _undecided(str(expect["missing"]))
    before, bound = expect.get("data"), expect.get("fingerprints")
    if not isinstance(before, Mapping) or not isinstance(bound, Mapping):
        return broken("what the plan says of the baseline is no report")
    if params.unanchored != "allowed" and not isinstance(expect.get("plan"), str):
        return _undecided("the baseline is unanchored: nothing says of which run it is")
    other = _apart(params, report["fingerprints"], bound)
    if other is not None:
        return other
    matches = _places(params, report["data"])
    found = [_at(params, match, before) for match in matches]
    gone = sorted(set(before) - {match.pointer for match in matches})
    found += [_undecided(f"the baseline has a number at {pointer}, and this report has none") for pointer in gone]
    return worst(found)


def idle(params: Params, about: Sequence[str]) -> Fault | None:
    """That no number the schema lets stand there is so much worse than any other."""
    if params.by == "quotient" or params.on != "point":
        return None
    for text in params.metric:
        ends = shape.ends(about, text)
        if not never_missed(params.op, apart(ends, ends), params.threshold):
            return None
    said = f"no number at `{params.metric[0]}` can be worse than another by more than {params.margin}"
    return Fault("margin", "idle", said, 0, "say how much worse it may be, so that a worse one fails")


KIND = Kind(
    name="regression",
    measures=True,
    version=2,
    params=Params,
    judge=judge,
    reads=lambda params: [Read("metric", text, ("number", "datum"), unit=params.unit) for text in params.metric],
    pinned=pinned,
    floored=floored,
    idle=idle,
)
