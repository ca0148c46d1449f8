"""A rule applied to a plan → one entry of the lock's `obligations`: what must be proven, by which step's report."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from kcompiler.policy.kind import Closed

Mode = Literal["block", "warn", "skip"]
#: when a rule decides: when a spec is compiled or planned, right before a step begins, over each report as it comes, or
#: only where what was made is handed over
Phase = Literal["compile", "plan", "pre-step", "report", "release"]
#: phases that decide before any step runs, on what a plan says of itself
EARLY = ("compile", "plan")
#: the phase that decides before a step, and those in which nothing is made yet
PRE_STEP = "pre-step"
BEFORE = (*EARLY, PRE_STEP)
#: a day, from whose first second on (UTC) a rule blocks
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


#: what somebody may excuse; broken evidence nobody can
Excusable = Literal["fail", "inconclusive", "not_evaluated"]


class Waivable(Closed):
    """The terms on which a waiver lets the rule through: which outcomes it may excuse, how many of the `approvers`
    (name → OpenSSH public key) must approve it, how many days it may last, and `until` which day the key of a name
    counts, where it ends."""

    outcomes: list[Excusable] = Field(min_length=1)
    min: int = Field(ge=1)
    max_days: int = Field(ge=1)
    approvers: dict[str, str] = Field(min_length=1)
    until: dict[str, str] = Field(default_factory=dict)


class Obligation(Closed):
    """As it stands in the lock. `from` names the step that must produce the report; `kind` is `name@version`."""

    rule: str = Field(min_length=1)
    pack: str = Field(min_length=1)
    title: str = ""
    mode: Mode
    #: why the rule is skipped; only with mode skip
    reason: str = ""
    report: str = Field(min_length=1)
    source: str = Field(alias="from", pattern=r"^step:.+$")
    #: the step whose report the one of `from` is compared with; only of a rule that compares two reports
    against: str = Field(default="", pattern=r"^(step:.+)?$")
    #: the step whose report says what the judge is worth that this report rests on
    judged_by: str = Field(default="", pattern=r"^(step:.+)?$")
    kind: str = Field(pattern=r"^[a-z_]+@[0-9]+$")
    params: dict[str, Any]
    #: resolved from the spec when the plan was made; None when the rule expects nothing
    expect: Any = None
    remedy: str = ""
    #: left out of the lock where it is the usual one
    phase: Phase = "report"
    effective_on: str = Field(default="", pattern=rf"(^$|{DAY})")
    #: left out of the lock where no waiver can let the rule through
    waivable: Waivable | None = None

    @model_validator(mode="after")
    def _skip_has_a_reason(self) -> Obligation:
        if (self.mode == "skip") != bool(self.reason):
            raise ValueError("`reason` belongs to mode skip, and mode skip needs one")
        return self

    @property
    def step(self) -> str:
        """The id of the step that must produce the report."""
        return self.source.removeprefix("step:")


def first_problem(error: ValidationError) -> str:
    """The first problem of a validation as one line: `params.op: Input should be …`."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'as a whole'}: {first['msg']}"
