"""What was spent in a project → `spend.jsonl`: money is reserved before a request is sent and settled after its reply.

A reservation that was never settled (a kill, a power cut, a reply that did not arrive) stays counted as spent: the
server may have answered, and nobody here knows. Lines are never changed, each carries its own hash and that of the
line before it, and each is durable before what it allows is done. Every apply, cell and later form of a spec pays from
one purse.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

from runtime.contract import BrokenEvidence
from runtime.contract.strict_json import dumps, loads
from runtime.machine import durable

FILE = "spend.jsonl"
_START = "0" * 64
_ZERO = Decimal(0)


class BudgetReached(Exception):
    """The next request could exceed what may be spent. `most`: what it costs at most, in US dollars."""

    def __init__(self, most: Decimal) -> None:
        super().__init__(f"the next request may cost {most} USD")
        self.most = most


def check(folder: Path) -> None:
    """Raises BrokenEvidence when the record of what was spent is not what was written. Changes nothing."""
    Spend(folder, "", _ZERO, mend=False)


class Spend:
    """The money of one purse. Amounts are exact decimals of US dollars."""

    def __init__(self, folder: Path, purse: str, limit: Decimal, *, mend: bool = True) -> None:
        """Raises BrokenEvidence when the file is not what was written: what was spent is then not known. Unless it may
        `mend`, an incomplete last line stays."""
        self._path, self._purse, self._limit = folder / FILE, purse, limit
        self._more = threading.Condition()
        #: reservations of this purse without an end, and those of them that are on their way now
        self._open: dict[str, Decimal] = {}
        self._away: set[str] = set()
        #: what requests cost whose end is known
        self.settled = _ZERO
        self._count, self._last = 0, _START
        self._failed: durable.StorageFailed | None = None
        self._load(mend)

    @property
    def unknown(self) -> Decimal:
        """What requests may have cost whose end nobody knows, at most."""
        with self._more:
            return sum((usd for name, usd in self._open.items() if name not in self._away), _ZERO)

    @property
    def lost(self) -> int:
        """How many requests have an end that nobody knows."""
        with self._more:
            return len(self._open) - len(self._away)

    def reserve(self, usd: Decimal) -> str:
        """Durably set money aside for a request; the name by which it is settled, "" for a request without a price.

        Waits while requests on their way may give back enough. Raises BudgetReached when nothing can.
        """
        if usd == 0:
            return ""
        with self._more:
            while self.settled + sum(self._open.values(), _ZERO) + usd > self._limit:
                if not self._away:
                    raise BudgetReached(usd)
                self._more.wait()
            name = uuid.uuid4().hex
            self._add({"is": "reserved", "as": name, "purse": self._purse, "usd": str(usd)})
            self._open[name] = usd
            self._away.add(name)
            return name

    def settle(self, name: str, usd: Decimal) -> None:
        """The request is known to have cost so much; at once for one that an earlier attempt sent. Harmless twice."""
        with self._more:
            if name in self._open:
                try:
                    self._add({"is": "settled", "as": name, "usd": str(usd)})
                    del self._open[name]
                    self.settled += usd
                finally:
                    self._away.discard(name)
                    self._more.notify_all()

    def lose(self, name: str) -> None:
        """Nobody will know what became of the request: what was set aside stays spent."""
        with self._more:
            self._away.discard(name)
            self._more.notify_all()

    def _add(self, entry: Mapping[str, Any]) -> None:
        if self._failed is not None:
            raise self._failed
        body = {"line": self._count + 1, "after": self._last, **entry}
        try:
            durable.DISK.folder(self._path.parent)
            durable.DISK.append(self._path, f"{dumps({**body, 'hash': _hash(body)})}\n".encode())
        except durable.StorageFailed as error:
            self._failed = error
            raise
        self._count, self._last = self._count + 1, _hash(body)

    def _load(self, mend: bool) -> None:
        try:
            *lines, torn = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        purses: dict[str, str] = {}
        for number, text in enumerate(lines, start=1):
            try:
                self._take(dict(cast(dict[str, Any], loads(text))), number, purses)
            except (ValueError, KeyError, TypeError, InvalidOperation) as error:
                raise BrokenEvidence(
                    f"the record of what was spent is damaged ({error}); restore it from a copy, or remove it and "
                    "lower budgets.usd by what was spent",
                    subject=f".kcompiler/{self._path.parent.name}/{FILE}:{number}",
                ) from None
        if torn and mend:
            # never acknowledged, so that nothing was sent for it
            durable.DISK.cut(self._path, self._path.stat().st_size - len(torn))

    def _take(self, entry: dict[str, Any], number: int, purses: dict[str, str]) -> None:
        stated = entry.pop("hash")
        if stated != _hash(entry):
            raise ValueError("it does not have the hash it states")
        if (entry["line"], entry["after"]) != (number, self._last):
            raise ValueError("it does not follow the line before it")
        self._count, self._last = number, stated
        usd = Decimal(entry["usd"])
        if not usd.is_finite() or usd < 0:
            raise ValueError(f"no amount: {usd}")
        if entry["is"] == "reserved":
            purses[entry["as"]] = entry["purse"]
            if entry["purse"] == self._purse:
                self._open[entry["as"]] = usd
        elif purses.pop(entry["as"]) == self._purse:
            del self._open[entry["as"]]
            self.settled += usd


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(dumps(dict(body)).encode()).hexdigest()
