"""References to secrets: the name of an environment variable, never a value. Names are in locks and keys."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

#: schema keyword of a field that holds a reference to a secret
SECRET = "x-secret"
PATTERN = r"^env:[A-Z][A-Z0-9_]{0,63}$"

Secret = Annotated[
    str,
    Field(
        pattern=PATTERN,
        json_schema_extra={SECRET: True, "x-form": "env:NAME, the name of an environment variable"},
    ),
]

_REFERENCE = re.compile(PATTERN)


def name_of(reference: str) -> str:
    """ "env:KEY" → "KEY". Raises ValueError for anything else."""
    if not _REFERENCE.match(reference):
        raise ValueError("not a reference to a secret")
    return reference.removeprefix("env:")
