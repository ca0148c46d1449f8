"""What a training takes of memory: measured at its highest, beside the formula of the plan; and what to set where it
was too much.

On the CPU that is the growth of the process' resident memory from just before the student is built, as the kernel keeps
its highest value (`VmHWM`, which `clear_refs` sets back; proc(5)). On CUDA it is what torch's allocator held at most.
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import gc
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from runtime.contract import Refusal, footprint
from runtime.contract.architecture import Architecture
from runtime.contract.footprint import Taught, Training
from runtime.machine import durable

#: how far above the formula a measurement may be; what is advised must fit with it
SLACK = 1.25
#: fewest tokens of a chunk
LEAST_CHUNK = 16
#: words of torch's allocators, of oneDNN and of C++ when there is no memory
_WORDS = ("DefaultCPUAllocator", "out of memory", "bad_alloc", "Cannot allocate memory", "not enough memory")
_STATUS, _REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


class Sized(Protocol):
    """Parameters that say how much goes through the models at once."""

    @property
    def architecture(self) -> Architecture: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def micro_batch(self) -> int | None: ...
    @property
    def packing(self) -> bool: ...
    @property
    def chunk_tokens(self) -> int: ...
    @property
    def gradient_checkpointing(self) -> bool: ...


class Gauge:
    """Measures from its creation on; `device` is where the student is."""

    def __init__(self, device: torch.device, status: Path = _STATUS, refs: Path = _REFS) -> None:
        self._device, self._status = device, status
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            # freed memory that the process still holds would hide as much growth
            ctypes.CDLL(None).malloc_trim(0)
        # no file, but a word to the kernel
        with contextlib.suppress(OSError):
            asked = os.open(refs, os.O_WRONLY)
            try:
                os.write(asked, b"5")
            finally:
                os.close(asked)
        self._begin = self._read("VmRSS")
        self._high = self._read("VmHWM")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def _read(self, name: str) -> int | None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in self._status.read_text().splitlines():
                if line.startswith(f"{name}:"):
                    return int(line.split()[1]) * 1024
        return None

    def host(self) -> int | None:
        """Bytes by which the process grew at its highest; None where the kernel does not say, and where the process had
        been larger before and its highest value could not be set back."""
        high = self._read("VmHWM")
        if high is None or self._begin is None or self._high is None:
            return None
        reset = self._high - self._begin < footprint.LIBRARIES // 8
        return high - self._begin if reset or high > self._high else None

    def device(self) -> int | None:
        """Bytes that torch held on the accelerator at most; None on the CPU and where torch does not count."""
        return int(torch.cuda.max_memory_allocated(self._device)) if self._device.type == "cuda" else None

    def most(self) -> int | None:
        """Of the place where the student is."""
        return self.device() if self._device.type == "cuda" else self.host()


def taught_of(model: PreTrainedModel | None, looked_up: int) -> Taught | None:
    """A teacher by its model; `looked_up`: tokens whose hidden states are kept."""
    if model is None:
        return None
    config = model.config
    width, inner = int(config.hidden_size), int(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    weights, loaded = 0, 0
    for parameter in model.parameters():
        weights += size_of(parameter)
        loaded += parameter.numel() * parameter.element_size()
    return Taught(weights=weights, loaded=loaded, layer=4 * width + 3 * inner, hidden=width, looked_up=looked_up)


def size_of(tensor: Tensor) -> int:
    """Bytes of a weight; of one that was rounded, those of the tensors that it is made of (torchao's names)."""
    parts = [*getattr(tensor, "tensor_data_names", ()), *getattr(tensor, "optional_tensor_data_names", ())]
    if not parts:
        return tensor.numel() * tensor.element_size()
    found = (getattr(tensor, name) for name in parts)
    return sum(one.numel() * one.element_size() for one in found if one is not None)


def short(error: BaseException) -> bool:
    """Whether an error says that there was no memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


class Room:
    """What one training takes, as far as its models are known, and what is there."""

    def __init__(self, params: Sized, longest: int, device: torch.device) -> None:
        """`longest`: tokens of the longest row."""
        self._params, self._longest, self._device, self.gauge = params, longest, device, Gauge(device)
        #: of the student; 0 before it is built
        self.parameters = 0
        self.taught: Taught | None = None

    def training(self, tokens: int, length: int, supervised: int) -> Training:
        """The formula's inputs for `tokens` positions that go through the student at once."""
        params = self._params
        return Training(
            architecture=params.architecture,
            parameters=self.parameters,
            tokens=tokens,
            length=length,
            supervised=supervised,
            chunk_tokens=params.chunk_tokens,
            checkpointed=params.gradient_checkpointing,
            packed=params.packing,
            taught=self.taught,
            host=self._device.type != "cuda",
        )

    def advice(self, there: int) -> str:
        """What to set so that a pass of the longest rows fits into `there` bytes. As little as possible is changed, and
        no gradient: first fewer rows at once, then layers computed again, then fewer logits."""
        params = self._params
        rows, own = params.micro_batch or params.batch_size, params.gradient_checkpointing

        def needed(count: int, checkpointed: bool, chunk: int) -> int:
            asked = self.training(count * self._longest, self._longest, count * self._longest)
            return round(replace(asked, checkpointed=checkpointed, chunk_tokens=chunk).peak() * SLACK)

        for chunk in dict.fromkeys((params.chunk_tokens, LEAST_CHUNK)):
            for checkpointed in sorted({own, True}):
                most = bisect.bisect_right(
                    range(1, rows + 1), there, key=partial(needed, checkpointed=checkpointed, chunk=chunk)
                )
                found = [f"micro_batch: {most}"] * (most < rows)
                found += ["gradient_checkpointing: true"] * (checkpointed and not own)
                found += [f"chunk_tokens: {chunk}"] * (chunk < params.chunk_tokens)
                if found and most:
                    return f"set {', '.join(found)} for this stage, which changes no gradient"
        return (
            f"even one row at a time, with gradient_checkpointing, takes about {_text(needed(1, True, LEAST_CHUNK))}: "
            "take a smaller student or teacher, shorter rows, or a machine with more memory"
        )

    def told(self, widest: int, supervised: int) -> str:
        """The highest measured beside what the formula gives for the largest pass there was."""
        most, said = self.gauge.most(), self.training(widest, self._longest, supervised).peak()
        where = "the accelerator's memory" if self._device.type == "cuda" else "memory"
        if most is None:
            return f"{where} was not measured on this system; by the formula {_text(said)} at most"
        return f"{_text(most)} of {where} at most, {most / said - 1:+.0%} from the {_text(said)} of the formula"

    @contextlib.contextmanager
    def enough(self) -> Iterator[None]:
        """Within it, want of memory is a refusal (KR0133) that says what to set."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not short(error):
                raise
            wanted = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            there = self.gauge.most() or 0
        else:
            return
        # outside of the handler: what the failed step held went with its frames
        raise Refusal(
            f"there is not enough memory for this training: it had {_text(there)} when more was refused ({wanted})",
            action=self.advice(there),
            code="KR0133",
        )


def killed_before(folder: Path) -> bool:
    """Whether the attempt before this one left a mark in its scratch folder, and the kernel has ended processes of this
    container for want of memory since. Leaves the mark of this attempt."""
    path, now, before = folder / "memory.json", _killed(), None
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(path.read_bytes())
    durable.write(path, json.dumps(now))
    return isinstance(before, int) and now is not None and now > before


def _killed() -> int | None:
    """How many processes of this container the kernel has ended for want of memory (cgroup v2, v1)."""
    for path in _EVENTS:
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
    return None


def _text(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"
