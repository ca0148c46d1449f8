"""Secrets: keys written out where everybody reads them, and the environment asked for what is no secret.

A lock must mean one thing on every machine, so that only a key may come from the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree, Value, child
from kcompiler.spec import Spec
from runtime.contract.secret import PATTERN

_REFERENCE = re.compile(PATTERN)
#: keys of well-known services by the form each gives them, anywhere in a text. After `sk-` without a known word at
#: least one digit must stand in an unbroken run: names of models and runs begin so, too
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk[-_](?:(?:proj|svcacct|admin|live|test|or-v1|ant-[a-z]{1,8}\d{1,4})[-_][A-Za-z0-9_-]{20,}"
    r"|(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{20,})"
    r"|[pr]k_(?:live|test)_[A-Za-z0-9]{16,}|(?:hf|gsk|gh[oprsu]|r8)_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"
    r"|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{20,}|xai-[A-Za-z0-9]{30,}|nvapi-[A-Za-z0-9_-]{30,}"
    r"|A[KS]IA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"
)


def _secrets(_spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Keys written out, and references to the environment where nothing is secret: a lock must mean one thing."""
    for pointer, text in _texts(tree.data, ""):
        if _KEY.search(text):
            yield tree.diagnostic(
                "KC4209",
                pointer,
                "this looks like a key",
                label="a spec is read by everybody who reads the project",
                help="revoke it, then write `env:NAME` where a key is asked for",
            )
        elif re.fullmatch(r"env:\S+", text) and not _is_secret(pointer):
            yield tree.diagnostic(
                "KC4209",
                pointer,
                "the environment is read for secrets only",
                label="the lock would mean another thing on another machine" if _REFERENCE.match(text) else "",
                help="write the value itself",
            )


def _texts(value: Value, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _texts(item, child(pointer, key))


def _is_secret(pointer: str) -> bool:
    """Where a key is asked for: in the section, in an overlay of it, or as a value of a sweep over it."""
    place = re.sub(r"/\d+\Z", "", pointer) if pointer.startswith("/matrix/teacher.api_key/") else pointer
    if re.fullmatch(r"(/profiles/[^/]*)?/evaluation[/.](runners/\d+|judge[/.]server)[/.]api_key", place):
        return True
    overlaid = place.startswith(("/profiles/", "/matrix/")) and place.endswith(("/teacher.api_key", "/teacher/api_key"))
    return overlaid or place == "/teacher/api_key"


CHECKS = (Check(_secrets, "metadata", whole=True),)
