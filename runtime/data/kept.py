"""Requests ↔ the replies that were paid for, one file each, for every step, attempt, cell and spec of a project.

An answer is found by its whole request (address, model, prompt, every sampling parameter), never by what it cost, how
fast it was asked, or which rows were asked beside it. Each file carries the SHA-256 of what is in it, the request
included: a file that was emptied, edited, torn or put under another name is no answer. It is named, and asked again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import rfc8785

from runtime.contract.strict_json import dumps, loads
from runtime.machine import durable

_KEYS = frozenset({"request", "reply", "reserved", "usd"})


class _Damaged(Exception):
    """The file is not what was written under this name."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a server sent, and what it cost. `reserved` names the reservation that it settles, "" for none."""

    value: Any
    usd: Decimal
    reserved: str = ""


class Kept:
    """The folder of replies. `damaged` maps each file that was no answer to what is wrong with it."""

    def __init__(self, folder: Path) -> None:
        """Removes what a killed writer left half written."""
        self._folder = folder
        self.damaged: dict[str, str] = {}
        for room in folder.glob("*"):
            durable.sweep(room)

    def get(self, request: Mapping[str, Any]) -> Reply | None:
        """The kept reply to exactly this request; None when there is none, or none that can be trusted."""
        path = self._path(request)
        try:
            return _read(path.read_bytes(), request)
        except FileNotFoundError:
            return None
        except _Damaged as error:
            self.damaged[self._name(path)] = str(error)
        except OSError as error:
            self.damaged[self._name(path)] = error.strerror or type(error).__name__
        return None

    def put(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Durable when it returns. Raises StorageFailed."""
        content: dict[str, Any] = {
            "request": dict(request),
            "reply": reply.value,
            "reserved": reply.reserved,
            "usd": str(reply.usd),
        }
        durable.write(self._path(request), dumps({"content": content, "sha256": _sum(content)}) + "\n")

    def _path(self, request: Mapping[str, Any]) -> Path:
        key = _sum(request)
        return self._folder / key[:2] / f"{key}.json"

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder.parents[2]).as_posix()


def checked(folder: Path) -> tuple[int, dict[Path, str]]:
    """How many kept answers are what was written under their names, and what is wrong with each that is not. Changes
    nothing."""
    sound, damaged = 0, dict[Path, str]()
    for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*.json")):
        try:
            request = _content(path.read_bytes())["request"]
            if not isinstance(request, dict) or f"{_sum(request)}.json" != path.name:
                raise _Damaged("the answer to another request")
            sound += 1
        except _Damaged as error:
            damaged[path] = str(error)
        except OSError as error:
            damaged[path] = error.strerror or type(error).__name__
    return sound, damaged


def _read(text: bytes, request: Mapping[str, Any]) -> Reply:
    content = _content(text)
    if content["request"] != request:
        raise _Damaged("the answer to another request")
    try:
        return Reply(value=content["reply"], usd=Decimal(content["usd"]), reserved=content["reserved"])
    except InvalidOperation:
        raise _Damaged("states no cost") from None


def _content(text: bytes) -> dict[str, Any]:
    try:
        file = loads(text)
    except ValueError as error:
        raise _Damaged("empty" if not text else f"not JSON: {error}") from None
    if not isinstance(file, dict) or file.keys() != {"content", "sha256"}:
        raise _Damaged("not the form of a kept answer")
    content = file["content"]
    if not isinstance(content, dict) or file["sha256"] != _sum(content):
        raise _Damaged("does not have the checksum it states")
    reserved, usd = content.get("reserved"), content.get("usd")
    if content.keys() != _KEYS or not isinstance(reserved, str) or not isinstance(usd, str):
        raise _Damaged("not the form of a kept answer")
    return content


def _sum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(rfc8785.dumps(dict(value))).hexdigest()
