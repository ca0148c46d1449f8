"""Name of an environment variable → its value, at the moment it is used; and the texts that would give it away.

The value goes into no file and no message. What a server sends back may repeat it, whole or in another form: what
those forms are is said here.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from runtime.contract import Refusal

#: characters from which on a value is looked for in answers and in other forms: a shorter one is a word (`EMPTY`)
LEAST = 12


def secret(name: str) -> str:
    """Raises Refusal when the variable is not set, is empty, or holds what cannot stand in an HTTP header."""
    value = os.environ.get(name, "").strip()
    if not value or not value.isascii() or not value.isprintable():
        what = "is not set" if not value else "holds characters that no key has"
        raise Refusal(f"the secret env:{name} {what}", action=f"set {name} in the environment of apply", code="KR0113")
    return value


def shapes(value: str) -> list[str]:
    """Texts that give a secret away, the longest first: itself, and as JSON, an address, hexadecimal digits and base64
    write it, wherever in what was encoded it begins."""
    return sorted({one for one in _shapes(value) if one}, key=lambda one: (-len(one), one))


def _shapes(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value)[1:-1].replace("/", "\\/")
    if len(value) < LEAST:
        return
    data = value.encode()
    for address in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield address
        yield re.sub(r"%..", lambda match: match[0].lower(), address)
    yield data.hex()
    yield data.hex().upper()
    for before in range(3):
        # only those digits that what stands before and after has no part in
        digits = base64.b64encode(bytes(before) + data).decode()
        whole = digits[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        yield whole
        yield whole.replace("+", "-").replace("/", "_")


def readable(text: str) -> str:
    """A text in which no character is written by its number, as JSON may write any."""
    return re.sub(r"\\u00([2-7][0-9a-fA-F])", lambda match: chr(int(match[1], 16)), text)


def without(text: str, value: str) -> str:
    """A text without a secret in any of its shapes; "" is no secret."""
    for shape in shapes(value):
        text = text.replace(shape, "***")
    return text


def gives_away(text: str, value: str) -> bool:
    """Whether a text holds a secret that is long enough to be none but itself, in any of its shapes."""
    return len(value) >= LEAST and any(shape in text for shape in shapes(value))
