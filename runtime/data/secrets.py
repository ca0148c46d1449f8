"""Name of an environment variable → its value, at the moment it is used. The value goes into no file and no message."""

from __future__ import annotations

import os

from runtime.contract import Refusal


def secret(name: str) -> str:
    """Raises Refusal when the variable is not set, is empty, or holds what cannot stand in an HTTP header."""
    value = os.environ.get(name, "").strip()
    if not value or not value.isascii() or not value.isprintable():
        what = "is not set" if not value else "holds characters that no key has"
        raise Refusal(f"the secret env:{name} {what}", action=f"set {name} in the environment of apply", code="KR0113")
    return value
