"""A text → the credentials that stand in it, by the forms their issuers gave them, and the text without them.

Found are forms that are made to be recognised (prefixes of keys, private keys in PEM, JSON web tokens, values of
Authorization headers), a user and password in an address, and what stands behind a word for a secret (`password=`,
`"api_key": `). A password that nothing names is not looked for, and nothing here says that it is absent.
"""

from __future__ import annotations

import re

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
    "web token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,2000}"),
    "key of OpenAI or Anthropic": re.compile(r"\bsk-[A-Za-z0-9_-]{20,300}"),
    "key of AWS": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "token of GitHub": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{50,255})"),
    "token of GitLab": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,100}"),
    "token of Slack": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}"),
    "token of Hugging Face": re.compile(r"\bhf_[A-Za-z0-9]{30,100}\b"),
    "key of Google": re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b"),
    "key of Stripe": re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,200}\b"),
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


def found(text: str) -> list[str]:
    """Kinds of the credentials in a text, sorted."""
    return sorted(kind for kind, form in _FORMS.items() if form.search(text))


def without(text: str) -> str:
    """The text with a word in the place of each."""
    for kind, form in _FORMS.items():
        text = form.sub(rf"\g<keep>[{kind}]" if "keep" in form.groupindex else f"[{kind}]", text)
    return text
