"""What a process takes of memory at its highest while a model is in it.

On the CPU that is the growth of the process' resident memory since the gauge was made, as the kernel keeps its highest
value (`VmHWM`, which `clear_refs` sets back; proc(5)). Where it keeps none, or does not set it back, a thread looks
every `EVERY_S` seconds. On CUDA it is what torch's allocator held at most.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import sys
import threading
from pathlib import Path

import torch

from runtime.contract import footprint

#: seconds between two looks, where the kernel keeps no highest value
EVERY_S = 0.02
_STATUS, _REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def give_back() -> None:
    """What was freed goes back to the system: the C library keeps it otherwise, in parts that do not fit what comes."""
    gc.collect()
    trim()


def trim() -> None:
    """The same of what no cycle holds, which takes no time."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Gauge:
    """Measures from its creation until `close`; `device` is where the student is."""

    def __init__(self, device: torch.device, status: Path = _STATUS, refs: Path = _REFS) -> None:
        self._device, self._status = device, status
        # freed memory that the process still holds would hide as much growth
        give_back()
        # no file, but a word to the kernel
        with contextlib.suppress(OSError):
            asked = os.open(refs, os.O_WRONLY)
            try:
                os.write(asked, b"5")
            finally:
                os.close(asked)
        self.before, high = self._resident(), self._read("VmHWM")
        self._end, self._thread, self._seen = threading.Event(), None, self.before
        kept = high is not None and self.before is not None and high - self.before < footprint.LIBRARIES // 8
        if self.before is not None and not kept:
            self._thread = threading.Thread(target=self._look, name="gauge", daemon=True)
            self._thread.start()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def _read(self, name: str) -> int | None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in self._status.read_text().splitlines():
                if line.startswith(f"{name}:"):
                    return int(line.split()[1]) * 1024
        return None

    def _resident(self) -> int | None:
        """Bytes that the process holds now."""
        found = self._read("VmRSS")
        if found is None and sys.platform == "darwin":
            with contextlib.suppress(ImportError):
                found = int(importlib.import_module("psutil").Process().memory_info().rss)
        return found

    def _look(self) -> None:
        while not self._end.wait(EVERY_S):
            self._seen = max(self._seen or 0, self._resident() or 0)

    def close(self) -> None:
        """Look no longer. What was seen stays."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def host(self) -> int | None:
        """Bytes by which the process grew at its highest; None where the system does not say what it holds."""
        if self.before is None:
            return None
        high = self._read("VmHWM") if self._thread is None else max(self._seen or 0, self._resident() or 0)
        return None if high is None else max(0, high - self.before)

    def device(self) -> int | None:
        """Bytes that torch held on the accelerator at most; None on the CPU and where torch does not count."""
        return int(torch.cuda.max_memory_allocated(self._device)) if self._device.type == "cuda" else None

    def most(self) -> int | None:
        """Of the place where the student is."""
        return self.device() if self._device.type == "cuda" else self.host()
