"""A text → the credentials that stand in it, by the forms their issuers gave them, and the text without them.

Found are forms that are made to be recognised (prefixes of keys, private keys in PEM, JSON web tokens, values of
Authorization headers), a user and password in an address, and what stands behind a word for a secret (`password=`,
`"api_key": `), also where it is spelled with characters that nobody sees, with escapes, with a dash for a hyphen, in
italics, or as base64 of text. A password that nothing names is not looked for, and nothing here says that it is absent.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from runtime.data.readings import decoded, hyphened, readings, unmarked

#: what stands where a value was left out
_LEFT_OUT = r"(?!(?:null|none|true|false|string|redacted|required|optional|x{3,}|\*+|\.{3})\b|[*.$<%{(\[])"
_NAMES = (
    r"(?:[A-Za-z0-9_.-]{0,40}(?:passw(?:or)?d|passphrase|passwort)|(?<![A-Za-z0-9_.-])(?:pwd|(?:[A-Za-z0-9]+[_-])?secret"
    r"|(?:[A-Za-z0-9]+[_-])?secret[_-]?(?:access[_-]?)?key|(?:[A-Za-z0-9]+[_-])?(?:api|access|private)[_-]?key"
    r"|(?:(?:access|auth|refresh|bearer|session|id|api)[_-]?)?token))"
)
_VALUE = r"[^\s\"',;&<>{}\[\]\\]"
_FORMS: dict[str, re.Pattern[str]] = {
    "private key": re.compile(
        r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{0,20000}"
        r"(?:-----END [A-Z0-9 ]{1,60}-----)?"
    ),
    "web token": re.compile(
        r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,2000}"
    ),
    "key of OpenAI or Anthropic": re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,300}"),
    "key of AWS": re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    "token of GitHub": re.compile(r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{50,255})"),
    "token of GitLab": re.compile(r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,100}"),
    "token of Slack": re.compile(r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,250}"),
    "token of Hugging Face": re.compile(r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,100}(?![A-Za-z0-9])"),
    "key of Google": re.compile(r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9])"),
    "key of Stripe": re.compile(r"(?<![A-Za-z0-9])[rs]k_(?:live|test)_[A-Za-z0-9]{16,200}(?![A-Za-z0-9])"),
    "authorization": re.compile(
        r"\b(?:Bearer|Basic)\s{1,4}[A-Za-z0-9._~+/=-]{16,4000}"
        rf"|(?P<keep>\b(?:proxy-)?authorization\\?[\"']?\s{{0,4}}[:=]\s{{0,4}}\\?[\"']?)(?:(?:Basic|Bearer|Token|Digest"
        rf"|Negotiate|ApiKey|Key)\s{{1,4}}{_LEFT_OUT}{_VALUE}{{4,4000}}|{_LEFT_OUT}(?=\S{{0,99}}\d){_VALUE}{{6,4000}})",
        re.IGNORECASE,
    ),
    "user and password of an address": re.compile(
        r"(?P<keep>\b[A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/?#@:\"'\[\]]{0,200}:[^\s/?#@\"'\[\]]{1,400}(?=@)"
    ),
    # behind a bare colon a sentence may go on: there a value has a digit or a sign
    "value of a secret": re.compile(
        rf"(?P<keep>{_NAMES}(?:\\?[\"']\s{{0,4}}[:=]|\s{{0,2}}=|:(?=\s{{0,4}}\\?[\"'])"
        rf"|\s{{0,2}}:(?=\s{{0,4}}[^\s\"']{{0,99}}[\d!@#%^+/~]))\s{{0,4}}\\?[\"']?){_LEFT_OUT}{_VALUE}{{4,400}}",
        re.IGNORECASE,
    ),
}


#: base64 of at least 12 bytes, of either alphabet; wrapped into lines, too; and how often text is base64 of base64
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}+={0,2}")
_WRAPPED = re.compile(r"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-]{4,}+\r?\n)+[A-Za-z0-9+/_-]{2,}+={0,2}")
_DEEPEST, _ENCODED = 3, "credentials in base64"


def _decoded(run: str) -> str:
    """The text that a run of base64 is of, or ""."""
    letters = re.sub(r"[\s=]", "", run).translate(str.maketrans("-_", "+/"))
    try:
        text = base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text if all(one.isprintable() or one.isspace() for one in text) else ""


def _encoded(text: str, depth: int) -> Iterator[tuple[int, int]]:
    """Where base64 stands that is of a text with credentials; no two of the places overlap."""
    end = 0
    runs = [run for form in (_WRAPPED, _BASE64) for run in form.finditer(text)] if depth < _DEEPEST else []
    # of those that begin at one place the longest first: a word in a line before may be no part of it
    for run in sorted(runs, key=lambda one: (one.start(), -one.end())):
        if run.start() >= end and (inner := _decoded(run[0])) and _kinds(inner, depth + 1):
            end = run.end()
            yield run.span()


def _kinds(text: str, depth: int) -> set[str]:
    kinds = set[str]()
    for reading in _looked_at(text):
        kinds |= {kind for kind, form in _FORMS.items() if form.search(reading)}
        kinds |= {_ENCODED} if next(_encoded(reading, depth), None) else set()
    return kinds


def _looked_at(text: str) -> list[str]:
    """The text, and what is read in it; none twice."""
    plain = readings(text)
    return list(dict.fromkeys([text, *plain, *(unmarked(hyphened(one, everywhere=True), names=True) for one in plain)]))


def found(text: str) -> list[str]:
    """Kinds of the credentials in a text, sorted."""
    return sorted(_kinds(text, 0))


def without(text: str) -> str:
    """The text with a word in the place of each. JSON stays JSON. Where characters that nobody sees, or escapes, hide
    one in another text, it is written as it looks."""
    text = _without(text)
    if not found(text):
        return text
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(_within(json.loads(text)), ensure_ascii=False)
    while kinds := found(text):
        shown = next((one for one in map(_without, _looked_at(text)) if not found(one)), None)
        further = decoded(text)
        if shown is None and further == text:  # two that stand across each other
            return " ".join(f"[{kind}]" for kind in kinds)
        text = further if shown is None else shown
    return text


def _within(value: Any) -> Any:
    """What JSON says, without the credentials in its texts."""
    if isinstance(value, str):
        return without(value)
    if isinstance(value, list):
        return [_within(one) for one in value]
    if isinstance(value, dict):
        return {without(name): _within(one) for name, one in value.items()}
    return value


def _without(text: str) -> str:
    for start, end in [*_encoded(text, 0)][::-1]:
        text = f"{text[:start]}[{_ENCODED}]{text[end:]}"
    for kind, form in _FORMS.items():
        text = form.sub(rf"\g<keep>[{kind}]" if "keep" in form.groupindex else f"[{kind}]", text)
    return text
