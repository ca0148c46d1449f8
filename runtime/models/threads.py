"""How many threads were asked for → how many really run, and a refusal that names what holds the others back.

`torch.get_num_threads` answers what was set, not what OpenMP gives: with OMP_THREAD_LIMIT=1 two threads that were asked
for are one, sums are taken in another order, and an operation that splits its work by the number that was set leaves
half of it undone (`mkldnn._linear_pointwise` of torch 2.13: half of the output is whatever was in the memory).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import torch

from runtime.contract import Refusal

#: variables by which OpenMP gives a parallel region fewer threads than were set
LIMITS = ("OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS", "OMP_NESTED", "KMP_DEVICE_THREAD_LIMIT")


def _openmp() -> ctypes.CDLL | None:
    """The OpenMP that this torch brings and has loaded; None where it has another pool of threads (macOS)."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*.so*")):
        library = ctypes.CDLL(str(path))
        if hasattr(library, "GOMP_parallel") and hasattr(library, "omp_get_dynamic"):
            return library
    return None


def running() -> int:
    """Threads of one parallel region, opened as torch opens its own: each of them comes by and is counted."""
    library = _openmp()
    if library is None:
        return torch.get_num_threads()
    seen: list[None] = []
    body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _data: seen.append(None))
    # 0 threads: as many as were set for this thread
    library.GOMP_parallel(body, None, ctypes.c_uint(0), ctypes.c_uint(0))
    return len(seen)


def _varies() -> bool:
    """Whether OpenMP may give each region another number of threads, by how busy the machine is."""
    library = _openmp()
    return library is not None and bool(library.omp_get_dynamic())


def check(wanted: int) -> None:
    """Raises Refusal when not exactly `wanted` threads run, or when that may change while the work goes on."""
    found = running()
    if found == wanted and (wanted == 1 or not _varies()):
        return
    named = [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    why = f"the environment says {', '.join(named)}" if named else "this process may not have more"
    what = f"{found} run" if found != wanted else "their number changes with the load of the machine"
    variables = " and ".join(name for name in LIMITS if name in os.environ) or "the limit"
    raise Refusal(
        f"{wanted} threads were asked for and {what}: {why}",
        place="execution.threads",
        action=f"unset {variables}, or write `execution.threads: 1`",
        code="KR0121",
    )


def use(wanted: int) -> None:
    """So many threads of torch from here on. Raises Refusal when others run."""
    torch.set_num_threads(wanted)
    check(wanted)
