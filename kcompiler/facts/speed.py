"""A spec's benchmark → lengths that it measures, the machine that is meant, and what is wrong with a pinned report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kcompiler import tables
from kcompiler.spec import Spec
from kcompiler.spec.evaluation import Benchmark
from runtime.contract import regression


def lengths_of(spec: Spec, asked: Benchmark) -> list[int]:
    """Tokens of the prompts, shortest first: those that are written, or each prefill that leaves room for an answer."""
    if asked.prompts is not None:
        return list(asked.prompts)
    return [length for length in spec.shapes.prefill if length + asked.new_tokens <= spec.shapes.decode.context]


def target(spec: Spec) -> dict[str, Any] | None:
    """The machine of `hardware.profile`, as a Mac of its kind names itself; None for one that is in no table."""
    machine = tables.hardware().profiles.get(spec.hardware.profile)
    if machine is None:
        return None
    memory = machine.memory_bytes.value
    return {
        "profile": spec.hardware.profile,
        "chip": machine.title.partition(",")[0],
        "memory_bytes": None if memory is None else int(memory),
    }


def not_pinned(path: Path) -> str:
    """Why a file is no report that a benchmark can be compared with, "" where it is."""
    try:
        regression.baseline(path)
    except (OSError, *regression.NO_REPORT) as error:
        return f"it is no report of a benchmark: {error}"
    return ""


def never_compared(spec: Spec, asked: Benchmark, path: Path) -> list[str]:
    """What of a benchmark, or of a baseline, the other of the two has not: those rules could never be decided."""
    wanted = {**asked.model_dump(), "prompts": lengths_of(spec, asked), "threads": spec.execution.threads}
    return list(regression.unasked(regression.baseline(path), wanted))
