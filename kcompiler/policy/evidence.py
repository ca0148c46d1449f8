"""A report as bytes or as a value → its digest and its content in the schema of its kind, or why it is no evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from kcompiler import assets
from kcompiler.policy import conforms
from kcompiler.policy.laws import whole
from kcompiler.policy.seen import Seen
from runtime import digest
from runtime.contract import report as contract
from runtime.contract import strict_json

ENVELOPE = "report"
#: the file of a report in its artifact
FILE = "report.json"
#: 16 MiB; the largest report of the shipped specs has a few hundred kB
MAX_BYTES = 16777216
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\Z")


@dataclass(frozen=True)
class Evidence:
    """`digest` is "sha256:…" of the bytes of report.json; `report` is None when `problem` says why."""

    digest: str
    report: Mapping[str, Any] | None
    problem: str = ""
    #: schema id → "sha256:…" of the schema file it was checked against
    schemas: Mapping[str, str] | None = None
    #: "sha256:…" of the artifact that a step gives: a folder with nothing but this report.json
    artifact: str = ""


@dataclass(frozen=True)
class _Schema:
    #: whether a report satisfies it; None where only jsonschema can tell
    accepts: conforms.Accepts | None
    #: "sha256:…" of the file
    digest: str
    content: Mapping[str, Any]


@cache
def _compiler() -> conforms.Compiler:
    """Of everything that may refer to the envelope."""
    return conforms.Compiler(_text(ENVELOPE))


@cache
def _validators() -> Any:
    """The same, for saying what is wrong."""
    from kcompiler.policy.validator import Validators  # 70 ms that right reports need not pay

    return Validators(_text(ENVELOPE))


@cache
def _worded(name: str) -> Any:
    return _validators().of(_text(name))


def _text(name: str) -> Any:
    return json.loads(_file(name).read_text(encoding="utf-8"))


def _file(name: str) -> Path:
    return assets.folder("schemas") / f"{name}.schema.json"


@cache
def _schema(name: str) -> _Schema | None:
    """A schema by its id; None when there is no such file."""
    if not _file(name).is_file():
        return None
    schema = _text(name)
    return _Schema(_compiler().of(schema), digest.of_file(_file(name)), schema)


def _complaint(content: Mapping[str, Any], name: str, schema: _Schema) -> str:
    """Where and why a report does not satisfy a schema, or ""."""
    if schema.accepts is not None and schema.accepts(content):
        return ""
    from runtime.contract.jsonschemas import best_match

    error = best_match(_worded(name).iter_errors(content))
    return "" if error is None else f"{error.json_path}: {error.message[:200]}"


def _checked(content: Mapping[str, Any], pin: str) -> Evidence:
    kind = content.get("kind")
    if not isinstance(kind, str) or not _KIND.match(kind):
        return Evidence(pin, None, "it names no report kind")
    # A third party's kind may have no schema of its own: then the envelope alone binds it; the others contain it. A
    # report that says it is forged has no data worth a schema: it is read, so that the judge can say what it is.
    environment = content.get("environment")
    forged = isinstance(environment, dict) and environment.get("forged") is True
    names = (ENVELOPE,) if forged else (ENVELOPE, f"{ENVELOPE}.{kind}")
    found = {name: schema for name in names if (schema := _schema(name)) is not None}
    used = {name: schema.digest for name, schema in found.items()}
    name, schema = list(found.items())[-1]
    if complaint := _complaint(content, name, schema):
        return Evidence(pin, None, f"it does not satisfy schemas/{name}.schema.json at {complaint}", used)
    # of a kind without a schema nobody knows what belongs together; what a rule reads of it is checked when it is read
    if name != ENVELOPE and (wrong := whole.contradiction(content, schema.content)):
        return Evidence(pin, None, f"it contradicts itself{wrong}", used)
    return Evidence(pin, Seen(content), "", used)


def read(given: bytes | Mapping[str, Any] | Evidence) -> Evidence:
    """Strictly read and checked, unless it is already. NaN, infinities, duplicate keys, and anything its schema forbids
    are problems."""
    if isinstance(given, Evidence):
        return given
    if not isinstance(given, bytes):
        try:
            given = contract.dump(given).encode()
        except (TypeError, ValueError) as error:
            return Evidence("", None, f"it cannot be written as strict JSON: {error}")
    return _read(given)


@lru_cache(maxsize=64)
def _read(given: bytes) -> Evidence:
    """The same bytes are the same evidence: apply asks for every report again after each step."""
    pin = digest.of_bytes(given)
    if len(given) > MAX_BYTES:
        return Evidence(pin, None, f"{len(given)} bytes; at most {MAX_BYTES} are read")
    if not given:
        return Evidence(pin, None, "it is empty, or two files were given for this step")
    try:
        content = strict_json.loads(given)
    except ValueError as error:
        return Evidence(pin, None, f"it is not strict JSON: {error}")
    if not isinstance(content, dict):
        return Evidence(pin, None, "it is not an object")
    return replace(_checked(content, pin), artifact=digest.of_one_file(FILE, given))
