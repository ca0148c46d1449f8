"""A text → the credentials that stand in it, by the forms their issuers gave them, and the text without them.

Only forms that are made to be recognised are found (prefixes of keys, private keys in PEM, JSON web tokens, values of
Authorization headers). A password that looks like a word is not looked for, and nothing here says that it is absent.
"""

from __future__ import annotations

import re

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
    "authorization": re.compile(r"\b(?:Bearer|Basic)\s{1,4}[A-Za-z0-9._~+/=-]{16,4000}"),
}


def found(text: str) -> list[str]:
    """Kinds of the credentials in a text, sorted."""
    return sorted(kind for kind, form in _FORMS.items() if form.search(text))


def without(text: str) -> str:
    """The text with a word in the place of each."""
    for kind, form in _FORMS.items():
        text = form.sub(f"[{kind}]", text)
    return text
