"""Events → `.kcompiler/journal.jsonl`, append-only and hash-chained; lines of the past → committed records.

The line is the commit: whatever has no `step_committed` line did not happen. Each line is durable before `append`
returns, then the small file `head` anchors it, so that complete lines missing at the end are noticed.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.contract import BrokenEvidence
from runtime.contract.chain import GENESIS, TYPES, Chain, Line, check_head, head_text, read, seal, unseal
from runtime.contract.peak import Peak, higher, peak_of
from runtime.machine.durable import DISK, Disk
from runtime.machine.meter import NOTHING, SECONDS, TOKENS, Spent, Way, spent_of, way_of

JOURNAL, HEAD = "journal.jsonl", "head"
_TRIES = 100
#: types of lines about attempts
_COUNTING = frozenset(
    {
        "step_claimed",
        "step_committed",
        "step_failed",
        "step_interrupted",
        "step_killed",
        "step_settled",
        "step_staged",
    }
)


@dataclass(frozen=True)
class Ended:
    """An attempt without a result whose end is known."""

    spent: Spent
    way: Way | None


@dataclass
class Attempts:
    """What is known of the attempts at one action since its last commit."""

    claimed: int = 0
    #: attempts of which it is known how long they worked; the rest were killed and left no sign
    ended: int = 0
    #: number of each of those attempts → what it took and how far it came
    ended_at: dict[int, Ended] = field(default_factory=dict)
    #: what those attempts took
    spent: Spent = NOTHING
    #: what was set aside for the newest attempt, until a line says what it took
    reserved: Spent = NOTHING
    #: what was set aside for attempts that were killed and left no sign: nobody knows that they took less
    held: Spent = NOTHING
    #: the most that they took of memory
    peak: Peak | None = None
    #: number of an attempt → the parameters of the step as it was claimed
    params: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    #: number of an attempt → under `budgets` those of the run that claimed it
    budgets: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    #: what the key of the action is made of
    components: Mapping[str, str] = field(default_factory=dict)
    #: what the newest attempt ended with, when it ended with a refusal or an error
    failed: str = ""
    #: what mends that, as the refusal said
    mended_by: str = ""
    #: of the writer that claimed the newest attempt
    fence: int = 0
    #: spec and step of the newest attempt
    of: tuple[str, str] = ("", "")
    staged: Mapping[str, Any] | None = None
    #: what was known when the newest attempt began, where a rule asks about it
    start: Mapping[str, Any] | None = None
    #: type of the newest line about them
    newest: str = ""

    @property
    def counted(self) -> Spent:
        """What counts against a budget, with what is set aside for an attempt without an end."""
        return self.spent + self.held + self.reserved

    def way_of(self, number: int) -> Way | None:
        """How far an attempt came whose end is known."""
        ended = self.ended_at.get(number)
        return None if ended is None else ended.way


@dataclass
class Past:
    """What the lines say: committed records in order, their line texts by sequence number, and unfinished attempts."""

    records: list[Mapping[str, Any]] = field(default_factory=list)
    _texts: dict[int, bytes] = field(default_factory=dict)
    attempts: dict[str, Attempts] = field(default_factory=dict)
    fence: int = 0
    #: each waiver with what it excused
    uses: set[tuple[str, str]] = field(default_factory=set)
    #: each waiver that was revoked → the earliest day
    ends: dict[str, str] = field(default_factory=dict)
    #: name of a spec → what the attempts that were made for it took, as far as they are over
    _paid: dict[str, Spent] = field(default_factory=dict)
    #: the same → number of the newest line about any of them
    _counted: dict[str, int] = field(default_factory=dict)

    def line_of(self, record: Mapping[str, Any]) -> bytes:
        """The journal line of one of `records` (this very object), as it stands in the file."""
        return self._texts[id(record)]

    def paid(self, name: str) -> Spent:
        """What every attempt took that was ever made for a spec of this name, in whatever form, profile or cell: with
        a result or without, in use or not."""
        found = self._paid.get(name, NOTHING)
        for known in self.attempts.values():
            if name_of(known.of[0]) == name:
                found += open_spent(known)
        return found

    def aside(self, name: str) -> Spent:
        """The part of `paid` that is set aside for attempts of which no line says yet what they took."""
        return sum((one.reserved for one in self.attempts.values() if name_of(one.of[0]) == name), NOTHING)

    def _pay(self, spec: str, spent: Spent) -> None:
        name = name_of(spec)
        self._paid[name] = self._paid.get(name, NOTHING) + spent

    def counted(self, name: str) -> int:
        """The number of the newest line that says what an attempt took, or that one begins, for a spec of this name; 0
        for none."""
        return self._counted.get(name, 0)

    def add(self, line: Line) -> None:
        self.fence = line.fence
        if line.type in _COUNTING:
            self._counted[name_of(str(line.data.get("spec", "")))] = line.seq
        if line.type == "waiver_used":
            self.uses.add((str(line.data.get("waiver", "")), str(line.data.get("use", ""))))
        elif line.type == "waiver_revoked":
            name, day = str(line.data.get("waiver", "")), str(line.data.get("on", ""))
            self.ends[name] = min(day, self.ends.get(name, day))
        elif line.type == "step_committed":
            self.records.append(line.data)
            self._texts[id(line.data)] = line.text
            known = self.attempts.pop(line.data["action"], Attempts())
            # another spec may store what this one had staged
            self._pay(known.of[0] or str(line.data.get("spec", "")), _newest(known, line.data))
        elif line.type in ("step_claimed", "step_staged", "step_failed", "step_interrupted", "step_killed"):
            known = self.attempts.setdefault(line.data["action"], Attempts())
            if line.type == "step_claimed":
                # nobody will know what the one before took
                known.held += open_spent(known)
                self._pay(known.of[0], open_spent(known))
            known.of = (str(line.data.get("spec", "")), str(line.data.get("step", "")))
            known.newest = line.type
            if line.type == "step_claimed":
                known.claimed += 1
                known.reserved = spent_of(line.data.get("reserved", {}))
                known.staged, known.failed, known.mended_by, known.fence = None, "", "", line.fence
                known.params[known.claimed] = line.data.get("params", {})
                if "budgets" in line.data:
                    known.budgets[known.claimed] = {"budgets": line.data["budgets"]}
                known.components = line.data.get("components", {})
                known.start = line.data.get("start")
            elif line.type == "step_staged":
                known.staged, known.reserved = line.data, NOTHING
            else:
                known.ended += 1
                known.staged, known.reserved = None, NOTHING
                known.failed = str(line.data.get("message", ""))
                known.mended_by = str(line.data.get("mended_by", ""))
                ended = known.ended_at[known.claimed] = Ended(spent_of(line.data), way_of(line.data))
                known.spent += ended.spent
                known.peak = higher(known.peak, peak_of(line.data))
                self._pay(known.of[0], ended.spent)
        elif line.type == "step_settled":
            self._settle(line)

    def _settle(self, line: Line) -> None:
        """An attempt has no result because somebody said so; what it took is known by its own lines, or by this."""
        known = self.attempts.setdefault(line.data["action"], Attempts())
        known.newest, known.staged, known.mended_by = line.type, None, ""
        known.failed = "somebody said that it has no result"
        if known.ended < known.claimed:
            known.ended, known.reserved = known.ended + 1, NOTHING
            ended = known.ended_at[known.claimed] = Ended(spent_of(line.data), way_of(line.data))
            known.spent += ended.spent
            self._pay(known.of[0], ended.spent)


def open_spent(known: Attempts) -> Spent:
    """What counts for the newest attempt as long as no line says how it ended: of one that had staged all it made, what
    that line says; of any other what was set aside for it."""
    return known.reserved if known.staged is None else _newest(known, known.staged)


def _newest(known: Attempts, line: Mapping[str, Any]) -> Spent:
    """What the newest attempt took, by its staged or committed line, which counts it and all before."""
    whole = spent_of(line)
    return Spent(**{name: max(0, getattr(whole, name) - getattr(known.spent, name)) for name in (*SECONDS, *TOKENS)})


def name_of(spec: str) -> str:
    """The name of a spec without that of a profile."""
    return spec.partition("@")[0]


def load(state: Path) -> tuple[Chain, Past]:
    """Verify the journal and read it, changing nothing. Raises BrokenEvidence for any damage but a torn last line.

    Needs no lease: while a writer is at work the two files are read until the anchor stands still around the journal.
    """
    for _ in range(_TRIES):
        head = _bytes(state / HEAD)
        text = _bytes(state / JOURNAL) or b""
        if _bytes(state / HEAD) == head:
            break
    chain = read(text, subject=JOURNAL)
    check_head(chain, head, subject=JOURNAL)
    past = Past()
    for line in chain.lines:
        if line.type not in TYPES:
            # it may undo what lines before it say
            told = f"`{line.type}` is no event that this version knows: a later version of kcompiler wrote it"
            raise BrokenEvidence(told, subject=f"{JOURNAL}:{line.seq}")
        past.add(line)
    return chain, past


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


class Journal:
    """The journal, open for the holder of the lease. After a failed append it refuses every further one."""

    def __init__(
        self,
        state: Path,
        *,
        sign: Callable[[int], int],
        confirm: Callable[[], None],
        disk: Disk = DISK,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Verify, cut an incomplete last line (and say so in the journal), and be ready to append.

        `sign` takes the newest fence of the journal and gives the writer's own, which must be greater (Lease.sign);
        `confirm` raises when the writer no longer holds the lease; `now` is seconds since 1970, for people only.
        """
        self._path, self._head, self._disk, self._now, self._confirm = state / JOURNAL, state / HEAD, disk, now, confirm
        chain, self.past = load(state)
        fence = sign(self.past.fence)
        if fence <= self.past.fence:
            raise BrokenEvidence(f"fence {fence} is not newer than fence {self.past.fence}", subject=JOURNAL)
        self.fence, self.run = fence, f"r{fence:06d}"
        self._seq, self._prev = len(chain.lines), chain.lines[-1].hash if chain.lines else GENESIS
        self._failed = False
        if chain.torn:
            self._disk.cut(self._path, self._path.stat().st_size - len(chain.torn))
        if chain.lines:
            # A crash may have left the anchor one line behind; a second one must not leave it two behind.
            self._disk.write(self._head, head_text(self._seq, self._prev))
        if chain.torn:
            self.append("tail_repaired", {"bytes": len(chain.torn)})

    @property
    def usable(self) -> bool:
        """False after an append that did not come to its end (a failed disk, a KeyboardInterrupt in its midst)."""
        return not self._failed

    @property
    def head(self) -> str:
        """Hash of the newest line."""
        return self._prev

    def append(self, kind: str, data: Mapping[str, Any]) -> Line:
        """Add one line; it is durable and anchored on return. Raises StorageFailed, BrokenEvidence (lease lost)."""
        if self._failed:
            raise BrokenEvidence("an earlier append failed; the journal must be opened again", subject=JOURNAL)
        self._confirm()
        stamp = datetime.datetime.fromtimestamp(self._now(), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "seq": self._seq + 1,
            "prev": self._prev,
            "run": self.run,
            "fence": self.fence,
            "ts": stamp,
            "type": kind,
            "data": dict(data),
        }
        text = seal(body)
        self._failed = True
        self._disk.append(self._path, text)
        # Read back as a reader will see it, so that what is remembered equals what is on disk.
        line = unseal(text, subject=f"{JOURNAL}:{self._seq + 1}")
        self._seq, self._prev = line.seq, line.hash
        self._disk.write(self._head, head_text(self._seq, self._prev))
        self._failed = False
        self.past.add(line)
        return line
