"""One attempt at a step → how long it has worked and how far it is: wall clock, processors, accelerators, tokens; steps
done, and steps that a later attempt need not do again; memory, where the step measures it. Kept where a kill leaves it.

A thread makes the sums durable every `INTERVAL_S`, so that of the time of an attempt that is killed no more than the
last interval is unknown. What is counted one by one (tokens, steps done, steps kept) is known exactly where only the
process was killed: each time a number changes it is handed to the file system, without waiting for the disk.
Processor time is that of this process with all its threads, and of children that were waited for: it does not grow
because somebody else uses the machine.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.contract import Used, strict_json
from runtime.contract.peak import PEAK, Peak, peak_of
from runtime.machine.durable import Disk, StorageFailed

INTERVAL_S = 1.0
FILE = "spent.json"
#: beside it: what was counted last, not durable
LATEST = "counted.json"
_LATEST_BYTES = 512


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds of work, and the tokens that it read or wrote."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    training_tokens: int = 0
    teacher_tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in (*SECONDS, *TOKENS)})

    def data(self) -> dict[str, float]:
        """For a journal line."""
        return {name: round(getattr(self, name), 6) for name in (*SECONDS, *TOKENS)}


SECONDS, TOKENS = ("wall_s", "cpu_s", "gpu_s"), ("training_tokens", "teacher_tokens")
NOTHING = Spent()


def spent_of(data: Mapping[str, Any]) -> Spent:
    """From a journal line; what the line does not say is nothing."""
    seconds: dict[str, Any] = {name: float(data.get(name, 0.0)) for name in SECONDS}
    return Spent(**seconds, **{name: int(data.get(name, 0)) for name in TOKENS})


@dataclass(frozen=True, kw_only=True)
class Way:
    """How far an attempt came: it began at a step, has done so many, and so many are durable; all counted from the
    first of the work. `lost_s`: seconds it worked since what is durable."""

    began: int
    done: int
    kept: int
    lost_s: float

    def data(self) -> dict[str, float]:
        """For a journal line."""
        return {"began": self.began, "done": self.done, "kept": self.kept, "lost_s": round(self.lost_s, 6)}


def way_of(data: Mapping[str, Any]) -> Way | None:
    """From a journal line; None for an attempt that did not say that anything of it is kept."""
    if "began" not in data:
        return None
    found = {name: int(data[name]) for name in ("began", "done", "kept")}
    return Way(began=found["began"], done=found["done"], kept=found["kept"], lost_s=float(data["lost_s"]))


class Meter:
    """Runs from its creation until `close`. The first sign of life is durable before the work begins."""

    def __init__(self, folder: Path, attempt: int, disk: Disk) -> None:
        """Raises StorageFailed."""
        self._path, self._attempt, self._disk = folder / FILE, attempt, disk
        self._wall, self._cpu, self._gpu_s = time.perf_counter(), _cpu_s(), 0.0
        self._looked, self._lock, self._end = self._wall, threading.Lock(), threading.Event()
        self._tokens = dict.fromkeys(TOKENS, 0)
        #: what the attempt has taken of memory so far; it knows once it has begun
        self.peak: Callable[[], Peak | None] = lambda: None
        #: the most tokens that were used at once, and those that are being used as far as the step says so
        self._most, self._underway = dict.fromkeys(TOKENS, 0), dict.fromkeys(TOKENS, 0)
        #: step it began at, steps done, steps kept, and when they were
        self._began: int | None = None
        self._done, self._kept, self._kept_wall = 0, 0, self._wall
        self._write()
        self._latest: int | None = os.open(folder / LATEST, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._note()
        self._thread = threading.Thread(target=self._beat, name="meter", daemon=True)
        self._thread.start()

    def spent(self) -> Spent:
        """Since the beginning."""
        with self._lock:
            now = time.perf_counter()
            self._gpu_s += (now - self._looked) * accelerators()
            self._looked = now
            seconds: dict[str, Any] = {
                "wall_s": now - self._wall,
                "cpu_s": max(0.0, _cpu_s() - self._cpu),
                "gpu_s": self._gpu_s,
            }
            return Spent(**seconds, **self._tokens)

    def way(self) -> Way | None:
        """How far it is; None while nothing was said to be kept."""
        with self._lock:
            return self._way()

    def _way(self) -> Way | None:
        if self._began is None:
            return None
        lost_s = time.perf_counter() - self._kept_wall if self._done > self._kept else 0.0
        return Way(began=self._began, done=self._done, kept=self._kept, lost_s=lost_s)

    def data(self) -> dict[str, Any]:
        """Both, and memory, for a journal line."""
        way, peak = self.way(), self.peak()
        return {
            **self.spent().data(),
            **({} if way is None else way.data()),
            **({} if peak is None else {PEAK: peak.data()}),
        }

    def did(self, done: int) -> None:
        """So many steps are done."""
        with self._lock:
            self._done = done
            self._note()

    def keep(self, done: int) -> None:
        """So many steps are durable; the first call says where the attempt begins."""
        with self._lock:
            if self._began is None:
                self._began = self._done = done
            self._kept, self._kept_wall = done, time.perf_counter()
            self._note()

    def use(self, what: Used, amount: int) -> None:
        """So much more of it was used."""
        with self._lock:
            self._tokens[what] += amount
            self._most[what] = max(self._most[what], amount)
            self._note()

    def expect(self, what: Used, amount: int) -> None:
        """At most so much more of it is being used just now."""
        with self._lock:
            self._underway[what] = amount
            self._note()

    def _at_work(self) -> dict[str, int]:
        """What counts as used by an attempt that is killed now, beside what it has counted."""
        return {name: max(self._most[name], self._underway[name]) for name in TOKENS}

    def close(self) -> Spent:
        """Stop the thread; what was spent in all."""
        self._end.set()
        self._thread.join()
        with self._lock:
            if self._latest is not None:
                os.close(self._latest)
                self._latest = None
        return self.spent()

    def _note(self) -> None:
        """Hand over what was counted: one write over the one before, which a kill does not tear."""
        if self._latest is None:
            return
        way, wall_s = self._way(), round(time.perf_counter() - self._wall, 6)
        counted = {"attempt": self._attempt, "wall_s": wall_s, **self._tokens, "most": self._at_work()}
        # no sign is missing without it: the durable one stands
        with contextlib.suppress(OSError):
            os.pwrite(
                self._latest, json.dumps(counted | ({} if way is None else way.data())).ljust(_LATEST_BYTES).encode(), 0
            )

    def _beat(self) -> None:
        while not self._end.wait(INTERVAL_S):
            # a disk that is full is said by the step that needs it
            with contextlib.suppress(StorageFailed):
                self._write()

    def _write(self) -> None:
        self._disk.write(
            self._path, json.dumps({"attempt": self._attempt, **self.data(), "most": self._at_work()}).encode()
        )


def left_behind(folder: Path, attempt: int) -> dict[str, Any] | None:
    """What a killed attempt spent and how far it came, for a journal line, with the interval after its last durable
    sign of life; None where it left none."""
    last, latest = _sign(folder / FILE, attempt), _sign(folder / LATEST, attempt)
    if last is None:
        return None
    spent, way, most = last.spent, last.way, last.most
    cards = max(1.0, spent.gpu_s / spent.wall_s) if spent.gpu_s and spent.wall_s else 0.0
    if latest is None or latest.spent.wall_s < spent.wall_s:
        # after a power cut nothing is known of the interval: it counts as worked as fast as before
        share = INTERVAL_S / spent.wall_s if spent.wall_s else 0.0
        counted = {name: getattr(spent, name) + math.ceil(getattr(spent, name) * share) for name in TOKENS}
        at_s = spent.wall_s
    else:
        way, most, at_s = latest.way, latest.most, latest.spent.wall_s
        counted = {name: getattr(latest.spent, name) for name in TOKENS}
    # rather too much than too little: what was at work when it was killed counts as the most that it can be
    tokens = {name: counted[name] + most[name] for name in TOKENS}
    more_s = max(INTERVAL_S, at_s - spent.wall_s)
    killed = Spent(wall_s=more_s, cpu_s=more_s, gpu_s=cards * more_s)
    whole = replace(spent + killed, **tokens)
    further = {} if way is None else replace(way, lost_s=way.lost_s + whole.wall_s - at_s).data()
    taken = {} if last.peak is None else {PEAK: last.peak.data()}
    return {**whole.data(), **further, **taken}


@dataclass(frozen=True, kw_only=True)
class _Sign:
    """What an attempt has written of itself. `most`: the tokens that it may have used beside those it had counted."""

    spent: Spent
    way: Way | None
    most: Mapping[str, int]
    peak: Peak | None


def _sign(path: Path, attempt: int) -> _Sign | None:
    """What stands in a file of this attempt. None for one that cannot be read, or says what cannot be: nothing takes
    less than no time."""
    try:
        found: Any = strict_json.loads(path.read_bytes())
        if found["attempt"] != attempt:
            return None
        most = {name: int(found.get("most", {}).get(name, 0)) for name in TOKENS}
        sign = _Sign(spent=spent_of(found), way=way_of(found), most=most, peak=peak_of(found))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    numbers = [*sign.spent.data().values(), *most.values(), *({} if sign.way is None else sign.way.data()).values()]
    return sign if all(math.isfinite(number) and number >= 0 for number in numbers) else None


def accelerators() -> int:
    """How many this process has in use now, by the tensor library that a step has loaded. Loads nothing."""
    torch: Any = sys.modules.get("torch")
    with contextlib.suppress(AttributeError, RuntimeError):
        if torch is not None and torch.cuda.is_initialized():
            # who has begun holds one; a card of which nothing was taken is free for others
            cards = range(torch.cuda.device_count())
            taken = sum(1 for number in cards if torch.cuda.memory_reserved(number) > 0)
            return max(1, taken)
        if torch is not None and torch.backends.mps.is_available() and torch.mps.driver_allocated_memory():
            return 1
    return 0


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
