"""An error → whether there was no memory, and what this process was allowed.

Libraries say it in words of their own. Some of those words are said of other failures too (oneDNN's "could not create a
primitive" is also said where its code generator fails, cuBLAS's NOT_INITIALIZED where the driver is broken): they count
only where memory is really short, by the limits of this process or by the accelerator's own account. Imports no torch:
where none is loaded, none of its errors was raised.
"""

from __future__ import annotations

import contextlib
import errno
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

with contextlib.suppress(ImportError):
    import resource

#: c10's and ATen's allocators, C++, CUDA, cuBLAS, cuDNN, cuSPARSE, NCCL, HIP, Metal, safetensors' and torch's mmap
_SURE = re.compile(
    r"out of (host |device )?memory|outofmemory|out_of_memory|bad_alloc|not enough memory|insufficient memory"
    r"|(can't|cannot|could not|unable to|failed to) allocate (memory|\d+ bytes)|alloc(ation)?_failed",
    re.IGNORECASE,
)
#: oneDNN where it allocates (its reason is left out of the message); C modules that
#: lose the error, the loader of libraries; a new thread's stack; cuBLAS, cuDNN and CUDA where
#: a handle finds no room
_PERHAPS = re.compile(
    r"^could not (create a primitive|execute a primitive|create a memory object)$"
    r"|error return without exception set|without setting an exception|failed to map segment from shared object"
    r"|can't start new thread|thread constructor failed|Resource temporarily unavailable"
    r"|C(UBLAS|UDNN|USPARSE|USOLVER)_STATUS_(NOT_INITIALIZED|EXECUTION_FAILED|INTERNAL_ERROR)",
)
#: of a refusal for want of memory
CODE = "KR0133"
#: room that a thread's stack or a buffer of oneDNN takes: below it memory is short
SHORT_BYTES = 64 * 2**20
#: what a step leaves to the engine: where there is no more, a failure could not even be written down. Never touched, so
#: that it takes addresses alone
SPARE_BYTES = 32 * 2**20
_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limit:
    """One thing that bounds this process' memory: bytes it allows, and bytes of them that are left."""

    name: str
    size: int
    left: int

    def __str__(self) -> str:
        return f"{self.name} allows {text(self.size)}, and {text(self.left)} of it were left"


def limits(proc: Path = _PROC, cgroup: Path = _CGROUP) -> list[Limit]:
    """What bounds this process and can be asked, the scarcest first. Nothing where the system does not say."""
    held = _pairs(proc / "self" / "status")
    found = list(_rlimits(held.get("VmSize"), held.get("VmData")))
    machine = _pairs(proc / "meminfo")
    if "MemTotal" in machine and "MemAvailable" in machine:
        found.append(Limit("the machine", machine["MemTotal"], machine["MemAvailable"]))
    for size, now, reusable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError):
            most, used = int((cgroup / size).read_text()), int((cgroup / now).read_text())
            used -= _stat((cgroup / size).parent / "memory.stat").get(reusable, 0)
            if "MemTotal" not in machine or most < machine["MemTotal"]:
                found.append(Limit("the container", most, max(0, most - used)))
    return sorted(found, key=lambda one: one.left)


def _rlimits(size: int | None, data: int | None) -> Iterator[Limit]:
    if "resource" not in globals():
        return
    for name, number, held in (("`ulimit -v`", "RLIMIT_AS", size), ("`ulimit -d`", "RLIMIT_DATA", data)):
        soft = resource.getrlimit(getattr(resource, number))[0]
        if soft != resource.RLIM_INFINITY and held is not None:
            yield Limit(name, soft, max(0, soft - held))


def _pairs(path: Path) -> dict[str, int]:
    """Lines as `VmRSS:  12 kB` → bytes."""
    found = {}
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            if value.endswith(" kB"):
                found[name] = int(value.split()[0]) * 1024
    return found


def _stat(path: Path) -> dict[str, int]:
    with contextlib.suppress(OSError, ValueError):
        return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}
    return {}


def is_short(error: BaseException, missing: int = 0) -> bool:
    """Whether an error says that there was no memory, `missing` bytes of which were still to be asked for. Ask where it
    is caught: its frames still hold what they held."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if not isinstance(error, RuntimeError | OSError | ImportError | SystemError):
        return False
    said = str(error).strip()
    return bool(_SURE.search(said)) or (bool(_PERHAPS.search(said)) and (_short_here(missing) or _short_there(said)))


def _short_here(missing: int) -> bool:
    return any(one.left < max(SHORT_BYTES, missing) for one in limits())


def _short_there(said: str) -> bool:
    """Whether a CUDA card, whose library complains, has next to nothing left."""
    torch: Any = sys.modules.get("torch")
    if torch is None or "CU" not in said or not torch.cuda.is_initialized():
        return False
    with contextlib.suppress(RuntimeError):
        return any(torch.cuda.mem_get_info(card)[0] < SHORT_BYTES for card in range(torch.cuda.device_count()))
    # a card that is full does not even answer
    return True


def behind(error: BaseException, missing: int = 0) -> BaseException | None:
    """The want of memory that an error is, or was made of; None where it is none."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        if is_short(one, missing):
            return one
        seen.add(id(one))
        one = one.__cause__ or one.__context__
    return None


def wanted(error: BaseException) -> str:
    """What the library says of it, in a line."""
    said = str(error).strip()
    return said.splitlines()[0][:200] if said else type(error).__name__


def text(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"


def held(proc: Path = _PROC) -> str:
    """What this process holds, in words; nothing where the system does not say."""
    size = _pairs(proc / "self" / "status").get("VmRSS")
    return "" if size is None else f"the process held {text(size)}"


def more(least: Limit | None) -> str:
    """How there would be more of what is scarcest."""
    if least is None or least.name == "the machine":
        return "end other programs, or take a machine with more memory"
    if least.name == "the container":
        return "give the container more memory"
    return f"raise {least.name}"
