"""What a waiver's file says: closed models, so that a misspelt key can never widen one."""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from kcompiler.policy.kind import Closed, DecimalText
from kcompiler.policy.obligation import DAY
from kcompiler.policy.rule import PACK_NAME, Person

#: why a team goes on without what a rule asks for; the list is closed, so that reasons can be counted (CAWS)
Reason = Literal[
    "architectural_refactor",
    "emergency_hotfix",
    "experimental_feature",
    "infrastructure_limitation",
    "legacy_integration",
    "performance_critical",
    "security_patch",
    "third_party_constraint",
    "other",
]
REASONS: tuple[str, ...] = get_args(Reason)
ID = r"^WV-[0-9]{4,8}$"
_RULE = PACK_NAME.removesuffix("$") + r"/[a-z0-9][a-z0-9-]*$"
_DIGEST = r"^(sha256:[0-9a-f]{64})?$"
#: characters that say something about a case; fewer are a word that fits every case
TOLD, MENDED = 50, 20


def _a_day(day: str) -> str:
    try:
        date.fromisoformat(day)
    except ValueError:
        raise ValueError(f"{day} is no day of the calendar") from None
    return day


class Subject(Closed):
    """What is excused: all that is given must be so.

    `spec` is the name of a plan (with `@` and its profile), `lock` the digest of a plan as it is without waivers,
    `report` that of one report.json; `steps` are those whose reports alone are meant.
    """

    spec: str = ""
    lock: str = Field(default="", pattern=_DIGEST)
    report: str = Field(default="", pattern=_DIGEST)
    steps: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something(self) -> Subject:
        if not (self.spec or self.lock or self.report):
            raise ValueError("name a `spec`, a `lock` or a `report`: a waiver for everything is none")
        return self


class Revoked(Closed):
    """From this day on it excuses nothing."""

    by: Person
    on: str = Field(pattern=DAY)
    reason: str = Field(min_length=10)

    _day = field_validator("on")(_a_day)


class Waiver(Closed):
    """`waivers/<id>.yaml`. Days are UTC: it is in force from the first second of `created` to the last before
    `expires`. Who approves it signs it, in a file of their own (`kcompiler.waiver.approved`)."""

    id: str = Field(pattern=ID)
    title: str = Field(min_length=5)
    #: full names, `<pack>/<rule>`
    rules: list[str] = Field(min_length=1)
    subject: Subject
    #: how far the measured value may miss the bound, in the rule's unit; of rules that measure a distance
    magnitude: DecimalText | None = None
    reason: Reason
    description: str
    mitigation: str
    author: Person
    owner: Person
    created: str = Field(pattern=DAY)
    expires: str = Field(pattern=DAY)
    #: how many reports it may excuse; each counts once, however often it is judged
    max_uses: int | None = Field(default=None, ge=1)
    revoked: Revoked | None = None

    _days = field_validator("created", "expires")(_a_day)

    @field_validator("rules")
    @classmethod
    def _full_names(cls, rules: list[str]) -> list[str]:
        for rule in rules:
            if not re.fullmatch(_RULE, rule):
                raise ValueError(f"`{rule}` is not the full name of a rule: <pack>/<rule>")
            if rules.count(rule) > 1:
                raise ValueError(f"`{rule}` stands twice")
        return rules

    @field_validator("magnitude")
    @classmethod
    def _from_zero(cls, magnitude: str | None) -> str | None:
        if magnitude is not None and Fraction(magnitude) < 0:
            raise ValueError("how far it may miss is a number from 0 on")
        return magnitude

    @field_validator("description", "mitigation")
    @classmethod
    def _says_something(cls, text: str, info: object) -> str:
        least = TOLD if getattr(info, "field_name", "") == "description" else MENDED
        if len(" ".join(text.split())) < least:
            raise ValueError(f"still blank: say it in at least {least} characters")
        return text

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Waiver:
        if self.expires <= self.created:
            raise ValueError(f"it ends on {self.expires}, and was written on {self.created}")
        return self

    @property
    def days(self) -> int:
        """How many days it lasts."""
        return (date.fromisoformat(self.expires) - date.fromisoformat(self.created)).days

    @property
    def meaning(self) -> dict[str, Any]:
        """What the file says whatever its layout, for whoever reads no YAML."""
        return self.model_dump(mode="json", exclude_none=True)
