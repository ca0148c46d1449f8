"""What was bought of servers in a project → `spend.jsonl`: money, calls and tokens are reserved before a request is
sent and settled after its reply.

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
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

from runtime.contract import BrokenEvidence, Refusal
from runtime.contract.strict_json import dumps, loads
from runtime.machine import durable

FILE = "spend.jsonl"
_START = "0" * 64
_ZERO = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Amount:
    """US dollars, exactly; requests that were sent; tokens that were sent and answered."""

    usd: Decimal = _ZERO
    calls: int = 0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(usd=self.usd + other.usd, calls=self.calls + other.calls, tokens=self.tokens + other.tokens)


NOTHING = Amount()


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What may be bought in all. None: no bound."""

    usd: Decimal
    calls: int | None = None
    tokens: int | None = None


class BudgetReached(Exception):
    """The next request could exceed what may be spent. `most`: what it costs at most, in US dollars; `name`: of the
    budget."""

    def __init__(self, most: Decimal, name: str = "usd", needs: int = 0) -> None:
        super().__init__(f"the next request may exceed budgets.{name}")
        self.most, self.name, self.needs = most, name, needs


def check(folder: Path) -> None:
    """Raises BrokenEvidence when the record of what was spent is not what was written. Changes nothing."""
    look(folder, "")


def look(folder: Path, purse: str) -> Spend:
    """A purse, for reading only. Raises BrokenEvidence."""
    return Spend(folder, purse, _ZERO, mend=False)


class Spend:
    """One purse. Amounts of money are exact decimals of US dollars."""

    def __init__(self, folder: Path, purse: str, limit: Decimal | Bounds, *, mend: bool = True) -> None:
        """Raises BrokenEvidence when the file is not what was written: what was spent is then not known. Unless it may
        `mend`, an incomplete last line stays."""
        self._path, self._purse = folder / FILE, purse
        self._limit = limit if isinstance(limit, Bounds) else Bounds(usd=limit)
        self._more = threading.Condition()
        #: reservations of this purse without an end, and those of them that are on their way now
        self._open: dict[str, Amount] = {}
        self._away: set[str] = set()
        #: what requests took whose end is known
        self.taken = NOTHING
        #: number of the newest line about this purse; 0 for none
        self.mark = 0
        self._count, self._last = 0, _START
        self._failed: durable.StorageFailed | None = None
        self._load(mend)

    @property
    def settled(self) -> Decimal:
        """What requests cost whose end is known."""
        return self.taken.usd

    @property
    def aside(self) -> Amount:
        """What requests may have taken, at most, that are on their way or whose end nobody knows."""
        with self._more:
            return sum(self._open.values(), NOTHING)

    @property
    def unknown(self) -> Decimal:
        """What requests may have cost whose end nobody knows, at most."""
        with self._more:
            return sum((one.usd for name, one in self._open.items() if name not in self._away), _ZERO)

    @property
    def lost(self) -> int:
        """How many requests have an end that nobody knows."""
        with self._more:
            return len(self._open) - len(self._away)

    def reserve(self, usd: Decimal, tokens: int = 0) -> str:
        """Durably set money, one call and so many tokens aside for a request; the name by which it is settled.

        Waits while requests on their way may give back enough. Raises BudgetReached when nothing can.
        """
        asked = Amount(usd=usd, calls=1, tokens=tokens)
        with self._more:
            while name := self._exceeded(asked):
                if not self._away:
                    raise BudgetReached(usd, name, tokens)
                self._more.wait()
            name = uuid.uuid4().hex
            self._add({"is": "reserved", "as": name, "purse": self._purse, "usd": str(usd), "tokens": tokens})
            self._open[name] = asked
            self._away.add(name)
            return name

    def _exceeded(self, asked: Amount) -> str:
        """The budget that has less left than is asked; "" for none. What has no price costs no money, however little
        there is."""
        whole = sum(self._open.values(), self.taken) + asked
        if asked.usd and whole.usd > self._limit.usd:
            return "usd"
        if self._limit.calls is not None and whole.calls > self._limit.calls:
            return "teacher_calls"
        if self._limit.tokens is not None and asked.tokens and whole.tokens > self._limit.tokens:
            return "teacher_tokens"
        return ""

    def settle(self, name: str, usd: Decimal, tokens: int = 0, *, calls: int = 1) -> None:
        """The request is known to have taken so much; at once for one that an earlier attempt sent. `calls` is 0 for
        one that was never sent. Harmless twice."""
        with self._more:
            if name in self._open:
                try:
                    self._add({"is": "settled", "as": name, "usd": str(usd), "tokens": tokens, "calls": calls})
                    del self._open[name]
                    self.taken += Amount(usd=usd, calls=calls, tokens=tokens)
                finally:
                    self._away.discard(name)
                    self._more.notify_all()

    def lose(self, name: str) -> None:
        """Nobody will know what became of the request: what was set aside stays spent."""
        with self._more:
            self._away.discard(name)
            self._more.notify_all()

    def refusal(self, reached: BudgetReached) -> Refusal:
        """What is said where the next request is not sent."""
        if reached.name == "usd":
            unknown, lost = self.unknown, self.lost
            more = f", up to {unknown:.4f} more for {lost} requests whose end is not known" if lost else ""
            said = (
                f"{self.settled:.4f} US dollars are spent{more}; the next request may cost {reached.most:.4f}, and "
                f"{float(self._limit.usd):g} may be spent"
            )
        elif reached.name == "teacher_calls":
            count = (self.taken + self.aside).calls
            said = f"{count:,} requests were sent to servers, and {self._limit.calls:,} may be"
        else:
            count = (self.taken + self.aside).tokens
            said = (
                f"{count:,} tokens were sent to servers and answered; the next request may take {reached.needs:,}, and "
                f"{self._limit.tokens:,} may be taken"
            )
        return Refusal(
            said,
            place=f"budgets.{reached.name}",
            action=f"raise budgets.{reached.name}; the answers so far are kept and not asked for again",
            code="KR0112",
        )

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
        self.mark = self._count

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
        # a line of an earlier version says nothing of tokens; each was of one request
        one = Amount(usd=Decimal(entry["usd"]), calls=entry.get("calls", 1), tokens=entry.get("tokens", 0))
        if not one.usd.is_finite() or one.usd < 0:
            raise ValueError(f"no amount: {one.usd}")
        if any(type(count) is not int or count < 0 for count in (one.calls, one.tokens)):
            raise ValueError(f"no count: {one.calls}, {one.tokens}")
        if entry["is"] == "reserved":
            purses[entry["as"]] = entry["purse"]
            if entry["purse"] == self._purse:
                self._open[entry["as"]], self.mark = one, number
        elif purses.pop(entry["as"]) == self._purse:
            del self._open[entry["as"]]
            self.taken, self.mark = self.taken + one, number


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(dumps(dict(body)).encode()).hexdigest()
