"""One attempt at a step → how long it has worked: wall clock, processors, accelerators. Kept where a kill leaves it.

A thread writes the sums down every `INTERVAL_S`, so that of an attempt that is killed no more than the last interval is
unknown. Processor time is that of this process with all its threads, and of children that were waited for: it does not
grow because somebody else uses the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.contract import strict_json
from runtime.machine.durable import Disk, StorageFailed

INTERVAL_S = 1.0
FILE = "spent.json"


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds of work."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(wall_s=self.wall_s + other.wall_s, cpu_s=self.cpu_s + other.cpu_s, gpu_s=self.gpu_s + other.gpu_s)

    def data(self) -> dict[str, float]:
        """For a journal line."""
        return {name: round(getattr(self, name), 6) for name in ("wall_s", "cpu_s", "gpu_s")}


NOTHING = Spent()


def spent_of(data: Mapping[str, Any]) -> Spent:
    """From a journal line; what the line does not say is nothing."""
    return Spent(**{name: float(data.get(name, 0.0)) for name in ("wall_s", "cpu_s", "gpu_s")})


class Meter:
    """Runs from its creation until `close`. The first sign of life is durable before the work begins."""

    def __init__(self, folder: Path, attempt: int, disk: Disk) -> None:
        """Raises StorageFailed."""
        self._path, self._attempt, self._disk = folder / FILE, attempt, disk
        self._wall, self._cpu, self._gpu_s = time.perf_counter(), _cpu_s(), 0.0
        self._looked, self._lock, self._end = self._wall, threading.Lock(), threading.Event()
        self._write(Spent())
        self._thread = threading.Thread(target=self._beat, name="meter", daemon=True)
        self._thread.start()

    def spent(self) -> Spent:
        """Since the beginning."""
        with self._lock:
            now = time.perf_counter()
            self._gpu_s += (now - self._looked) * accelerators()
            self._looked = now
            return Spent(wall_s=now - self._wall, cpu_s=max(0.0, _cpu_s() - self._cpu), gpu_s=self._gpu_s)

    def close(self) -> Spent:
        """Stop the thread; what was spent in all."""
        self._end.set()
        self._thread.join()
        return self.spent()

    def _beat(self) -> None:
        while not self._end.wait(INTERVAL_S):
            # a disk that is full is said by the step that needs it
            with contextlib.suppress(StorageFailed):
                self._write(self.spent())

    def _write(self, spent: Spent) -> None:
        self._disk.write(self._path, json.dumps({"attempt": self._attempt, **spent.data()}).encode())


def left_behind(folder: Path, attempt: int) -> Spent | None:
    """What a killed attempt spent, to within one interval after its last sign of life; None where it left none."""
    try:
        found: Any = strict_json.loads((folder / FILE).read_bytes())
        if found["attempt"] != attempt:
            return None
        last = spent_of(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    # the interval in which it was killed counts as worked: rather too much than too little
    return last + Spent(wall_s=INTERVAL_S, cpu_s=INTERVAL_S, gpu_s=INTERVAL_S if last.gpu_s else 0.0)


def accelerators() -> int:
    """How many this process has in use now, by the tensor library that a step has loaded. Loads nothing."""
    torch: Any = sys.modules.get("torch")
    with contextlib.suppress(AttributeError, RuntimeError):
        if torch is not None and torch.cuda.is_initialized():
            return int(torch.cuda.device_count())
        if torch is not None and torch.backends.mps.is_available() and torch.mps.driver_allocated_memory():
            return 1
    return 0


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
