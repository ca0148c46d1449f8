"""One attempt at a step → how long it has worked and how far it is: wall clock, processors, accelerators, tokens; steps
done, and steps that a later attempt need not do again; memory, where the step measures it. Kept where a kill leaves it.

A thread writes the sums down every `INTERVAL_S`, so that of an attempt that is killed no more than the last interval is
unknown. Processor time is that of this process with all its threads, and of children that were waited for: it does not
grow because somebody else uses the machine.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.contract import Used, strict_json
from runtime.contract.peak import PEAK, Peak, peak_of
from runtime.machine.durable import Disk, StorageFailed

INTERVAL_S = 1.0
FILE = "spent.json"


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
        #: step it began at, steps done, steps kept, and when they were
        self._began: int | None = None
        self._done, self._kept, self._kept_wall = 0, 0, self._wall
        self._write()
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
        self._done = done

    def keep(self, done: int) -> None:
        """So many steps are durable; the first call says where the attempt begins."""
        with self._lock:
            if self._began is None:
                self._began = self._done = done
            self._kept, self._kept_wall = done, time.perf_counter()

    def use(self, what: Used, amount: int) -> None:
        """So much more of it was used."""
        with self._lock:
            self._tokens[what] += amount

    def close(self) -> Spent:
        """Stop the thread; what was spent in all."""
        self._end.set()
        self._thread.join()
        return self.spent()

    def _beat(self) -> None:
        while not self._end.wait(INTERVAL_S):
            # a disk that is full is said by the step that needs it
            with contextlib.suppress(StorageFailed):
                self._write()

    def _write(self) -> None:
        self._disk.write(self._path, json.dumps({"attempt": self._attempt, **self.data()}).encode())


def left_behind(folder: Path, attempt: int) -> dict[str, Any] | None:
    """What a killed attempt spent and how far it came, for a journal line, to within one interval after its last sign
    of life; None where it left none."""
    try:
        found: Any = strict_json.loads((folder / FILE).read_bytes())
        if found["attempt"] != attempt:
            return None
        last, way, peak = spent_of(found), way_of(found), peak_of(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    # the interval in which it was killed counts as worked, as fast as before: rather too much than too little
    share = INTERVAL_S / last.wall_s if last.wall_s else 0.0
    more = {name: math.ceil(getattr(last, name) * share) for name in TOKENS}
    cards = max(1.0, last.gpu_s / last.wall_s) if last.gpu_s and last.wall_s else 0.0
    killed = Spent(wall_s=INTERVAL_S, cpu_s=INTERVAL_S, gpu_s=cards * INTERVAL_S, **more)
    further = {} if way is None else {**way.data(), "lost_s": round(way.lost_s + INTERVAL_S, 6)}
    taken = {} if peak is None else {PEAK: peak.data()}
    return {**(last + killed).data(), **further, **taken}


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
