"""Spec → where its models run, as the lock will say it."""

from __future__ import annotations

from kcompiler import tables
from kcompiler.spec import Spec
from kcompiler.spec.training import Stage
from runtime.contract import placing

#: operating system of a machine with a GPU → what torch calls that GPU (AMD's too is `cuda`)
_GPU = {"macos": "mps", "linux": "cuda"}


def device_of_machine(name: str | None) -> str:
    """The device of the GPU of a machine in the table of hardware; "cpu" for none, and for one that has none."""
    machine = None if name is None else tables.hardware().profiles.get(name)
    return "cpu" if machine is None or machine.gpu is None else _GPU[machine.system]


def chunk_tokens(spec: Spec, stage: Stage) -> int:
    """Supervised tokens of a stage whose logits exist at one time."""
    return stage.chunk_tokens or placing.chunk_tokens(device(spec), spec.student.architecture.vocab_size)


def device(spec: Spec) -> str:
    """`execution.device` with `auto` worked out."""
    asked = spec.execution.device
    return device_of_machine(spec.hardware.training_profile) if asked == "auto" else asked
