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
from kcompiler.veil import holds
from runtime.contract.secret import PATTERN

_REFERENCE = re.compile(PATTERN)


def _secrets(_spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Keys written out, and references to the environment where nothing is secret: a lock must mean one thing."""
    for pointer, text in _texts(tree.data, ""):
        if holds(text):
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
            if isinstance(key, str):
                yield child(pointer, key), key if holds(key) else ""
            yield from _texts(item, child(pointer, key))


def _is_secret(pointer: str) -> bool:
    """Where a key is asked for: in the section, in an overlay of it, or as a value of a sweep over it."""
    place = re.sub(r"/\d+\Z", "", pointer) if pointer.startswith("/matrix/teacher.api_key/") else pointer
    if re.fullmatch(r"(/profiles/[^/]*)?/evaluation[/.](runners/\d+|judge[/.]server)[/.]api_key", place):
        return True
    overlaid = place.startswith(("/profiles/", "/matrix/")) and place.endswith(("/teacher.api_key", "/teacher/api_key"))
    return overlaid or place == "/teacher/api_key"


CHECKS = (Check(_secrets, "metadata", whole=True),)
