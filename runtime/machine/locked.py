"""plan.lock (a JSON value) → certainty that the machine can read it: its format, its shape, its references.

Meaning was checked when the lock was made. This is the reader's half: a lock of another format, or one edited by hand
into something that cannot be walked, is refused before anything starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.contract import KINDS, Params, Refusal, Step
from runtime.contract.keys import KEY_SCHEME, parse_reference

FORMAT = "1"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@=,-]{0,199}$"
_DIGEST = r"^sha256:[0-9a-f]{64}$"
#: name of the run's own report among the reports
RUN = "apply"


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Header(_Part):
    format: str
    key_scheme: str
    hash: str


class _Asked(_Part):
    name: str = Field(pattern=_NAME)
    executor: str = "local"


class _Source(_Part):
    path: str
    #: of the file itself; left out by a compiler that pins only what a source means
    bytes: str | None = Field(default=None, pattern=_DIGEST)


class _Input(_Part):
    name: str = Field(pattern=_NAME)
    path: str
    kind: str
    digest: str = Field(pattern=_DIGEST)
    bytes: int = Field(ge=0)


class _Plugin(_Part):
    room: Literal["steps", "losses", "suites", "teachers", "generators", "backends", "executors", "runners"]
    name: str
    distribution: str
    version: str
    code: str


class _Give(_Part):
    kind: str
    report: str = ""


class _Step(_Part):
    id: str = Field(pattern=_NAME)
    kind: str = Field(pattern=r"^[A-Za-z0-9_.-]+@[1-9][0-9]*$")
    backend: str
    takes: dict[str, str]
    params: dict[str, Any]
    unkeyed: list[str] = Field(default_factory=list)
    gives: dict[str, _Give] = Field(min_length=1)
    after: list[str] = Field(default_factory=list)
    code: str
    seed: str = Field(pattern=r"^(0|[1-9][0-9]*)$")
    promise: str
    tolerance: dict[str, Any] | None = None
    derivation: str


class _Estimate(_Part):
    gigaoperations: int = Field(ge=1)
    wall_s: float | None = Field(default=None, ge=0)


class _Lock(_Part):
    lock: _Header
    asked: _Asked
    sources: list[_Source]
    inputs: list[_Input]
    toolchain: dict[str, str]
    plugins: list[_Plugin] = Field(default_factory=list)
    steps: list[_Step] = Field(min_length=1)
    estimates: dict[str, _Estimate] = Field(default_factory=dict)


def check(lock: Mapping[str, Any], *, place: str = "plan.lock") -> None:
    """Raises Refusal unless the machine can walk this lock: format, shape, order and references of its steps."""
    try:
        read = _Lock.model_validate(lock)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _refusal(f"the lock cannot be read: {where}: {first['msg']}", place) from error
    header = read.lock
    if header.format.partition(".")[0] != FORMAT:
        raise _refusal(f"the lock has format {header.format}; this machine reads format {FORMAT}", place)
    if header.key_scheme != KEY_SCHEME or header.hash != "sha256":
        raise _refusal(f"the lock has key scheme {header.key_scheme} and hash {header.hash}", place)
    pins = {entry.name: entry.kind for entry in read.inputs}
    made: dict[str, Mapping[str, _Give]] = {}
    for step in read.steps:
        if step.id in made or step.id == RUN:
            raise _refusal(f"two steps are called `{step.id}`, or the name is reserved", place)
        for kind in (give.kind for give in step.gives.values()):
            if kind not in KINDS:
                raise _refusal(f"step `{step.id}` gives an artifact of unknown kind `{kind}`", place)
        _check_references(step, pins, made, place)
        made[step.id] = step.gives


def _check_references(
    step: _Step, pins: Mapping[str, str], made: Mapping[str, Mapping[str, _Give]], place: str
) -> None:
    for port, reference in step.takes.items():
        try:
            room, name, give = parse_reference(reference)
        except ValueError as error:
            raise _refusal(f"step `{step.id}`, port `{port}`: {error}", place) from error
        if (room == "input" and name not in pins) or (room == "step" and give not in made.get(name, {})):
            raise _refusal(f"step `{step.id}` takes `{reference}`, which no earlier step or input supplies", place)
    for name in step.after:
        if name not in made:
            raise _refusal(f"step `{step.id}` comes after `{name}`, which is no earlier step", place)


def check_names(lock: Mapping[str, Any], names: Iterable[str], option: str) -> None:
    """Raises Refusal for a name that is no step of the lock."""
    known = [str(step["id"]) for step in lock["steps"]]
    for name in names:
        if name not in known:
            raise Refusal(
                f"{option} names `{name}`, which is no step of this plan",
                action=f"choose among: {', '.join(known)}",
                code="KR0102",
            )


def params_of(step: Step, entry: Mapping[str, Any]) -> Params:
    """The parameters of a locked step, validated by its declaration. Raises Refusal when they do not fit it."""
    try:
        # As JSON text, because strict validation of Python values would refuse a list where a tuple is declared.
        return step.params.model_validate_json(json.dumps(entry["params"]))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refusal(
            f"step `{entry['id']}`: parameter `{where}` of the lock does not fit: {first['msg']}",
            place=f"step {entry['id']}",
            action="plan again: kcompiler plan",
            code="KR0104",
        ) from error


def _refusal(message: str, place: str) -> Refusal:
    return Refusal(message, place=place, action="plan again: kcompiler plan", code="KR0101")
