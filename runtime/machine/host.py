"""This machine → the few words for it that enter keys and reports. Standard library only; starts no process."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
#: widest first: what PyTorch asks of a processor for each of its sets of kernels (aten/src/ATen/native/DispatchStub)
_VECTORS = (
    ("avx512", frozenset({"avx512f", "avx512vl", "avx512bw", "avx512dq", "fma"})),
    ("avx2", frozenset({"avx2", "fma"})),
)
#: variables by which PyTorch, MKL and oneDNN are told to use other kernels
_CHOOSING = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)


def words() -> dict[str, str]:
    """What an action key knows of the machine: Python's minor version, operating system, instruction set, and which
    kernels its processor is given. On another kind of processor sums are taken in another order."""
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "system": platform.system(),
        "machine": platform.machine(),
        "kernels": kernels(),
    }


def kernels() -> str:
    """Who made the processor and the widest vectors that numeric libraries use on it, as in "AuthenticAMD avx512";
    then every variable that gives them other kernels. Libraries choose by both."""
    facts = _first_processor()
    flags = set(facts.get("flags", "").split())
    width = next((name for name, needed in _VECTORS if needed <= flags), "")
    maker = facts.get("vendor_id") or facts.get("CPU implementer") or platform.processor() or platform.machine()
    chosen = [f"{name}={os.environ[name]}" for name in _CHOOSING if os.environ.get(name)]
    return " ".join(filter(None, (maker, width, *chosen)))


def model() -> str:
    """Which processor of its maker this is, as in "26.68" (family and model) or "0xd40" (part)."""
    facts = _first_processor()
    numbers = [facts[name] for name in ("cpu family", "model") if name in facts]
    return ".".join(numbers) or facts.get("CPU part") or platform.processor() or platform.machine()


def hardware() -> dict[str, str | int]:
    """What a report says of the machine: operating system, instruction set, processor model, logical processors."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count() or 0,
    }


def release() -> str:
    """Version of the operating system: of a Mac macOS's own, such as "26.1", elsewhere the kernel's."""
    return platform.mac_ver()[0] or platform.release()


def timing() -> dict[str, str]:
    """What a time depends on beside the program: all of `hardware`, how many processors this process may use, memory.

    A time that was measured elsewhere is no time of this machine: these words enter the key of a step that measures.
    """
    may = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0
    found = {name: str(value) for name, value in hardware().items()}
    return {**found, "kernels": kernels(), "usable": str(may), "memory": str(_memory())}


def _memory() -> int:
    """Bytes of the machine's memory; 0 where the system does not say."""
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def _processor() -> str:
    named = _first_processor().get("model name")
    if named is None and platform.system() == "Darwin":
        # "Apple M1 Max"; no other word tells one chip from the next
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            told = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            named = subprocess.run(told, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    return named or "unknown"


def _first_processor() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in _CPUINFO.read_text().partition("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            found[name.strip()] = value.strip()
    return found


def python() -> str:
    """Full version of this interpreter."""
    return platform.python_version()
