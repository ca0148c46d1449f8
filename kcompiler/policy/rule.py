"""The shape of pack.yaml and rule.yaml: closed models, so that a misspelt key can never switch a gate off.

A gate is one folder: `policies/<pack>/<id>/rule.yaml` beside its passing, failing and missing-data case. Policy alone
owns the mode (CAWS); a skipped rule must say why, and stays visible in every verdict.
"""

from __future__ import annotations

import base64
import re
from datetime import date
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator

from kcompiler.policy.datum import fraction
from kcompiler.policy.kind import NUMBER, Closed, PathText, text_of
from kcompiler.policy.obligation import BEFORE, DAY, Excusable, Mode, Phase

#: `caws/core`: lower-case words joined by `/`; never a path that leaves the folder of packs
PACK_NAME = r"^[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*$"
#: items behind a rate where neither rule nor pack says how many: of 19 that are all right the true share may be 0.85
LEAST = 20
_KIND = r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*"


#: who writes, owns or approves something: a handle or an address, never a sentence
PERSON = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$"
_BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0 "


def _person(name: str) -> str:
    if not re.fullmatch(PERSON, name):
        raise ValueError(
            "write a handle or an address, such as ana or ana@example.org; it begins with a letter or a digit"
        )
    return name


#: who writes, owns or approves something
Person = Annotated[str, AfterValidator(_person), WithJsonSchema({"pattern": PERSON, "type": "string"})]


class Approver(Closed):
    """Somebody who may approve: the name, and the public key as OpenSSH writes it, without its comment. `until` is the
    day (UTC) from whose first second on nothing counts that the key signed, whenever that was: it is compared with the
    clock given to the verb, as nobody but the signer says when something was signed. Left out, the key does not end."""

    name: Person
    key: str
    until: str = Field(default="", pattern=rf"(^$|{DAY})")

    @field_validator("key")
    @classmethod
    def _ed25519(cls, key: str) -> str:
        kind, _, text = key.partition(" ")
        try:
            blob = base64.b64decode(text, validate=True)
        except ValueError:
            blob = b""
        if kind != "ssh-ed25519" or len(blob) != len(_BLOB) + 32 or not blob.startswith(_BLOB):
            raise ValueError("write the two first words of an id_ed25519.pub: ssh-ed25519 AAAA…")
        return key

    @field_validator("until")
    @classmethod
    def _day(cls, until: str) -> str:
        if until:
            date.fromisoformat(until)
        return until


class OfWaivers(Closed):
    """How many must approve a waiver of a rule of the pack, and how many days one may last."""

    min: int = Field(ge=1)
    max_days: int = Field(default=90, ge=1, le=366)


class OfLocks(Closed):
    """How many must sign a lock before it is applied."""

    min: int = Field(ge=1)


class Approval(Closed):
    """What is approved, and by how many of the pack's approvers."""

    waiver: OfWaivers | None = None
    lock: OfLocks | None = None

    @model_validator(mode="after")
    def _something(self) -> Approval:
        if self.waiver is None and self.lock is None:
            raise ValueError("say what is approved: `waiver`, `lock`, or both")
        return self


class Pack(Closed):
    """`pack.yaml`. `name` repeats the folder; `version` grows with every change of meaning."""

    name: str = Field(pattern=PACK_NAME)
    version: int = Field(ge=1)
    title: str = Field(min_length=5)
    description: str = ""
    owner: str = ""
    #: least number of items behind a rate, of every rule that does not say it itself; fewer are inconclusive
    min_n: int = Field(default=LEAST, ge=1)
    #: a pack whose rules all belong to this one, too: each as it is, or stronger under the same id
    strengthens: str = Field(default="", pattern=rf"(^$|{PACK_NAME})")
    #: the risk tiers of specs this pack may be used for
    risk_tiers: list[Literal[1, 2, 3]] = Field(default=[1, 2, 3], min_length=1)
    #: who may approve what `approval` asks to be approved
    approvers: list[Approver] = Field(default=[])
    approval: Approval | None = None

    @model_validator(mode="after")
    def _enough_approvers(self) -> Pack:
        for what in ("name", "key"):
            every = [str(getattr(one, what)).casefold() if what == "name" else one.key for one in self.approvers]
            twice = next((one for one in every if every.count(one) > 1), None)
            if twice is not None:
                raise ValueError(f"`approvers` has the {what} `{twice}` twice: one of them would count as two")
        if bool(self.approvers) != (self.approval is not None):
            raise ValueError("`approvers` and `approval` belong together: who may approve, and how many must")
        for what in ("waiver", "lock") if self.approval is not None else ():
            asked = getattr(self.approval, what)
            if asked is not None and asked.min > len(self.approvers):
                raise ValueError(f"{asked.min} must approve a {what}, and there are {len(self.approvers)}")
        return self


Scalar = str | bool | int | float


class When(Closed):
    """The rule applies only to specs in which the path `spec` leads to what `has` says, or to one of several; or, with
    `some`, to anything at all (`true`), to nothing (`false`).

    A text, a number and a truth value are compared as they are written: `3` and `"3"` mean the same.
    """

    spec: PathText
    has: Scalar | list[Scalar] | None = None
    some: bool | None = None

    @field_validator("has")
    @classmethod
    def _something(cls, has: Scalar | list[Scalar] | None) -> Scalar | list[Scalar] | None:
        if has in ("", []):
            raise ValueError("say what the spec must have there")
        return has

    @model_validator(mode="after")
    def _one_question(self) -> When:
        if (self.has is None) == (self.some is None):
            raise ValueError("give either `has` or `some`")
        return self

    @property
    def said(self) -> str:
        """In words."""
        if self.has is None:
            return f"{self.spec} is {'there' if self.some else 'not there'}"
        return f"{self.spec} is {' or '.join(self.texts)}"

    @property
    def texts(self) -> list[str]:
        """What it may be, each as `written`."""
        if self.has is None:
            return []
        return [written(one) for one in (self.has if isinstance(self.has, list) else [self.has])]


class Where(Closed):
    """The rule applies only to reports of steps in whose parameters the path `step` leads to `at_least` so many values;
    or, with `has`, to this value.

    A spec has several steps of one kind: of two trainings the one may have a single loss term, and nothing to compare.
    """

    step: PathText
    at_least: int | None = Field(default=None, ge=1)
    has: Scalar | None = None

    @model_validator(mode="after")
    def _one_question(self) -> Where:
        if (self.at_least is None) == (self.has is None):
            raise ValueError(
                f"say with `has` what stands there, or with `at_least` how many do, as in {{step: {self.step}, "
                "at_least: 1}; of `on: start` alone a step is chosen by its name, as in {step: name, has: train-kd}"
            )
        return self

    @property
    def said(self) -> str:
        """In words."""
        return f"at least {self.at_least} of {self.step}" if self.has is None else f"{self.step}: {written(self.has)}"


def written(value: object) -> str:
    """One scalar as text, the same for every way to write it: true, 3, 0.5; "" for what is no scalar."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and re.fullmatch(NUMBER, value):
        return text_of(Fraction(value))
    number = fraction(value)
    return text_of(number) if number is not None else value if isinstance(value, str) else ""


class Expect(Closed):
    """What the check compares with: a path `from` into the resolved spec, a literal `value`, or with `step` the
    parameters of the step that makes the report.

    `format` turns each item into a name ("prefill_{}"); `plus` adds names that do not stand in the spec.
    """

    source: PathText | None = Field(default=None, alias="from")
    value: Any = None
    step: Literal[True] | None = None
    format: str = "{}"
    plus: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_origin(self) -> Expect:
        if [self.source is None, self.value is None, self.step is None].count(False) != 1:
            raise ValueError("give one of `from`, `value` and `step`")
        if self.format.count("{}") != 1 or re.search(r"[{}]", self.format.replace("{}", "")):
            raise ValueError("`format` holds {} exactly once")
        return self


class Rule(Closed):
    """`rule.yaml`. `on` is a report kind, or `eval.*` for every kind below, or `*` for every report."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = Field(min_length=5)
    on: str = Field(pattern=rf"^(\*|{_KIND}(\.\*)?)$")
    mode: Mode = "block"
    reason: str = ""
    #: one condition, or several that must all hold
    when: When | list[When] | None = None
    #: of the steps that make the report, those whose parameters are like this
    where: Where | None = None
    kind: str
    params: dict[str, Any] = Field(default_factory=dict)
    expect: Expect | None = None
    remedy: str = Field(min_length=5)
    #: `compile`, `plan`: what does not pass is refused before any step runs; `pre-step`: it holds back the step that is
    #: about to begin; `release`: it stops `deliver`, and no step and no verdict of apply
    phase: Phase = "report"
    #: before this day (UTC) what does not pass is told and blocks nothing
    effective_on: str = Field(default="", pattern=DAY)
    #: outcomes that a waiver may excuse; `true` is [fail]. What could not be decided has to be named
    waivable: bool | list[Excusable] = False
    #: version of the pack in which the rule came
    since: int = Field(default=1, ge=1)

    @field_validator("kind")
    @classmethod
    def _plain(cls, kind: str) -> str:
        if not re.fullmatch(r"[a-z_]+", kind):
            raise ValueError("a kind is one lower-case word")
        return kind

    @field_validator("effective_on")
    @classmethod
    def _a_day(cls, day: str) -> str:
        try:
            date.fromisoformat(day)
        except ValueError:
            raise ValueError(f"{day} is no day of the calendar") from None
        return day

    @model_validator(mode="after")
    def _blocks_some_time(self) -> Rule:
        # one that decides before anything is made looks at something else than the others: no matter of blocking
        for key in ("effective_on", *(() if self.phase in BEFORE else ("phase",))):
            if self.mode != "block" and key in self.model_fields_set:
                raise ValueError(f"`{key}` says when a rule blocks, and mode {self.mode} never does")
        return self

    @model_validator(mode="after")
    def _something_to_excuse(self) -> Rule:
        if self.waivable == [] or (isinstance(self.waivable, list) and len(set(self.waivable)) < len(self.waivable)):
            raise ValueError("`waivable` names each outcome that a waiver may excuse once; `false` is none")
        if self.waivable and self.mode != "block":
            raise ValueError(f"`waivable` is about what blocks, and mode {self.mode} never does")
        return self

    @model_validator(mode="after")
    def _skip_has_a_reason(self) -> Rule:
        if (self.mode == "skip") != bool(self.reason.strip()):
            raise ValueError("`reason` belongs to mode skip, and mode skip needs one")
        return self

    @property
    def conditions(self) -> list[tuple[str, When]]:
        """Each condition with its place in the file."""
        if isinstance(self.when, list):
            return [(f"/when/{index}", one) for index, one in enumerate(self.when)]
        return [("/when", self.when)] if self.when else []

    @property
    def excusable(self) -> list[Excusable]:
        """The outcomes that a waiver may excuse."""
        if isinstance(self.waivable, list):
            return self.waivable
        return ["fail"] if self.waivable else []

    @property
    def conditional(self) -> bool:
        """Whether the rule is not for every spec, or not for every step that makes its report."""
        return self.when is not None or self.where is not None

    def covers(self, report: str) -> bool:
        """Whether the rule is about reports of this kind."""
        if self.on.endswith(".*"):
            return report.startswith(self.on[:-1])
        return self.on in ("*", report)


def terms(pack: Pack, rule: Rule) -> dict[str, Any]:
    """On which terms a waiver lets the rule through, where one can."""
    if not rule.excusable or pack.approval is None or pack.approval.waiver is None:
        return {}
    asked = pack.approval.waiver
    return {
        "waivable": {
            "outcomes": list(rule.excusable),
            "min": asked.min,
            "max_days": asked.max_days,
            **approving(pack),
        }
    }


def approving(pack: Pack) -> dict[str, Any]:
    """Who may approve by a pack, and until when, where a key ends."""
    ends = {one.name: one.until for one in pack.approvers if one.until}
    return {"approvers": {one.name: one.key for one in pack.approvers}, **({"until": ends} if ends else {})}
