"""The named fingerprints of a report's envelope → each is there and is 64 hexadecimal digits of a real digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from kcompiler.policy.kind import Closed, Judged, Kind, broken, lacking, worst
from runtime.contract.report import FINGERPRINTS

_HEX = re.compile(r"[0-9a-f]{64}\Z")


class Params(Closed):
    """`names` is what the report must be bound to."""

    names: list[str] = Field(min_length=1)

    @field_validator("names")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in FINGERPRINTS:
                raise ValueError(f"no such fingerprint `{name}`; there are {', '.join(FINGERPRINTS)}")
        return names


def _one(found: Mapping[str, Any], name: str) -> Judged:
    pointer = f"/fingerprints/{name}"
    value = found.get(name)
    if value is None:
        return lacking(f"the fingerprint `{name}` is missing", pointer)
    if not isinstance(value, str) or not _HEX.match(value):
        return broken(f"the fingerprint `{name}` is not 64 hexadecimal digits", pointer)
    if len(set(value)) == 1:
        return Judged(word="fail", reason=f"the fingerprint `{name}` is a filler", pointer=pointer, observed=value)
    return Judged(word="pass", reason="all are digests", pointer=pointer, observed=value, threshold="64 hex")


def judge(params: Params, report: Mapping[str, Any], _expect: object, _other: object) -> Judged:
    return worst(_one(report["fingerprints"], name) for name in params.names)


KIND = Kind(name="fingerprints", version=1, params=Params, judge=judge)
