"""What a training takes of memory: measured at its highest, beside the formula of the plan; and what to set where it
was too much.

Measured by `runtime.models.gauge`, from just before the student is built.
"""

from __future__ import annotations

import bisect
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from runtime.contract import Refusal, footprint
from runtime.contract.architecture import Architecture
from runtime.contract.footprint import NO_LAYERS, Compared, Taught, Training
from runtime.contract.peak import Peak
from runtime.contract.placing import LEAST_CHUNK, Precision
from runtime.machine import durable, scarce
from runtime.models.gauge import Gauge
from runtime.train import teaching
from runtime.train.batches import Corpus
from runtime.train.layers import NOTHING, Wanted
from runtime.train.matching import Matching
from runtime.train.stored import View

#: how far above the formula a measurement may be
SLACK = 1.25
#: how much more than the formula says every row beyond the first must find for a setting to be advised: a limit counts
#: addresses, arenas of threads and free pieces of the heap, too, which no formula knows (2.0 seen under `ulimit -v`)
SPARE = 2.5
#: trainings that this process has begun: the second finds the libraries as the first left them
_used: list[None] = []
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
    @property
    def precision(self) -> Precision: ...


def taught_of(
    model: PreTrainedModel,
    corpus: Corpus,
    drawn: Sequence[int],
    watched: Corpus | None = None,
    wanted: Wanted = NOTHING,
) -> Taught:
    """A teacher by its model, the rows that any step will use, those that are validated by, and what is read of its
    layers."""
    config = model.config
    width, inner = int(config.hidden_size), int(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    weights, loaded = 0, 0
    for parameter in model.parameters():
        weights += size_of(parameter)
        loaded += parameter.numel() * parameter.element_size()
    held = asked = 0
    tables, longest = 1 + len(wanted.states), max(len(ids) for ids in corpus.ids)
    maps = len(wanted.attention) * int(config.num_attention_heads) * longest
    for rows, numbers in ((corpus, drawn), *(() if watched is None else ((watched, range(len(watched))),))):
        if teaching.keeps(rows, width, wanted=wanted):
            held += sum(len(rows.before(row)) for row in set(numbers)) * tables * width * footprint.FLOAT32
            read = teaching.lots(rows, numbers)
            asked = max(asked, *(len(lot) * len(rows.ids[lot[0]]) for lot in read))
    # while layers are rounded one by one, the file that they came from is still mapped
    loaded = weights + loaded if weights < loaded else 0
    hidden = tables * width + maps
    return Taught(weights=weights, loaded=loaded, held=held, hidden=hidden, layer=4 * width + 3 * inner, asked=asked)


def compared_of(matching: Matching | None, width: int) -> Compared:
    """What terms over layers compare, with a teacher whose states are so wide."""
    if matching is None:
        return NO_LAYERS
    maps = sum(len(pairs) for name, pairs in matching.pairs.items() if name in matching.of_maps)
    return Compared(
        states=sum(map(len, matching.pairs.values())) - maps,
        maps=maps,
        width=width,
        projected=sum(one.numel() for one in matching.parameters()),
    )


def stored_of(view: View) -> Taught:
    """A teacher of which is stored what it says: the files are mapped, and what was read of them stays."""
    form, width = view.stored.form, 0 if view.head is None else view.head.in_features
    weights = 0 if view.head is None else view.head.weight.numel() * footprint.FLOAT32
    return Taught(weights=weights, held=view.stored.mapped, hidden=width, dense=form != "top_k")


def size_of(tensor: Tensor) -> int:
    """Bytes of a weight; of one that was rounded, those of the tensors that it is made of (torchao's names)."""
    parts = [*getattr(tensor, "tensor_data_names", ()), *getattr(tensor, "optional_tensor_data_names", ())]
    if not parts:
        return tensor.numel() * tensor.element_size()
    found = (getattr(tensor, name) for name in parts)
    return sum(one.numel() * one.element_size() for one in found if one is not None)


class Room:
    """What one training takes, as far as its models are known, and what is there."""

    def __init__(self, params: Sized, longest: int, device: torch.device, *, whole: bool = False) -> None:
        """`longest`: tokens of the longest row. `whole`: a batch cannot be parted, for there is no setting for it."""
        self._whole = whole
        self._params, self._longest, self._device, self.gauge = params, longest, device, Gauge(device)
        #: of the student; 0 before it is built
        self.parameters = 0
        #: of these, how many stand beside themselves as the package will have them
        self.rounded = 0
        self.taught: Taught | None = None
        self.compared = NO_LAYERS
        #: passes that go through the student at the same time
        self.abreast = 1
        #: positions that went through the student at once, at most, and supervised tokens among them
        self.widest: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self._found: Peak | None = None
        self._libraries = footprint.USED_LIBRARIES if _used else footprint.LIBRARIES
        _used.append(None)

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
            libraries=self._libraries,
            abreast=self.abreast,
            half=params.precision != "fp32",
            rounded=self.rounded,
            compared=self.compared,
        )

    def advice(self, there: int | None) -> str:
        """What to set so that a pass of the longest rows fits into `there` bytes. As little as possible is changed, and
        no gradient: first fewer rows at once, then layers computed again, then fewer logits. Where nobody knows how
        much there is, the next of them that is less than now."""
        params = self._params
        rows, own = params.micro_batch or params.batch_size, params.gradient_checkpointing
        if there is None:
            return self._less(rows)

        def needed(count: int, checkpointed: bool, chunk: int) -> int:
            least, asked = (
                replace(
                    self.training(many * self._longest, self._longest, many * self._longest),
                    checkpointed=checkpointed,
                    chunk_tokens=chunk,
                    abreast=1,
                )
                for many in (1, count)
            )
            # passes that are one after the other, or are made again, are not made side by side
            together = self._whole or (count == rows and params.micro_batch is None and checkpointed == own)
            peak = replace(asked, abreast=self.abreast if together else 1).peak()
            return round(least.peak() * SLACK + (peak - least.peak()) * SPARE)

        if self._whole:
            most = bisect.bisect_right(
                range(1, rows), there, key=partial(needed, checkpointed=own, chunk=params.chunk_tokens)
            )
            return f"set batch_size: {most} for the teacher, which trains it otherwise" if most else self._smaller()
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
        return self._smaller()

    def _less(self, rows: int) -> str:
        """The next setting that takes less than now."""
        params = self._params
        if rows > 1 and self._whole:
            return f"set batch_size: {rows // 2} for the teacher, or less, which trains it otherwise"
        if rows > 1:
            return f"set micro_batch: {rows // 2} for this stage, or less, which changes no gradient"
        if not params.gradient_checkpointing and not self._whole:
            return "set gradient_checkpointing: true for this stage, which changes no gradient"
        if params.chunk_tokens > LEAST_CHUNK and not self._whole:
            return f"set chunk_tokens: {LEAST_CHUNK} for this stage, which changes no gradient"
        return self._smaller()

    def _smaller(self) -> str:
        """What is left where no setting helps: so much takes one row with all of them."""
        least = replace(self.training(self._longest, self._longest, self._longest), abreast=1)
        if not self._whole:
            least = replace(least, checkpointed=True, chunk_tokens=LEAST_CHUNK)
        size = round(least.peak() * SLACK)
        settings = "" if self._whole else ", with gradient_checkpointing,"
        who = "teacher" if self._whole else "student or teacher"
        return (
            f"even one row at a time{settings} takes about {scarce.text(size)}: "
            f"take a smaller {who}, shorter rows, or a machine with more memory"
        )

    def peak(self) -> Peak:
        """The highest so far beside what the formula gives for the largest pass there was. May be asked at any time."""
        if self._found is not None:
            return self._found
        widest, supervised = self.widest()
        return Peak(
            before=self.gauge.before,
            host=self.gauge.host(),
            device=self.gauge.device(),
            at="device" if self._device.type == "cuda" else "host",
            estimated=self.training(widest, self._longest, supervised).peak(),
        )

    def close(self) -> None:
        """What comes after the training is not measured."""
        self._found = self.peak()
        self.gauge.close()

    def told(self) -> str:
        """The highest beside the formula, in words."""
        peak = self.peak()
        most, said = peak.most, peak.estimated
        where = "the accelerator's memory" if peak.at == "device" else "memory"
        if most is None:
            return f"{where} was not measured on this system; by the formula {scarce.text(said)} at most"
        apart, formula = most / said - 1, scarce.text(said)
        return f"{scarce.text(most)} of {where} at most, {apart:+.0%} from the {formula} of the formula"

    @contextlib.contextmanager
    def enough(self) -> Iterator[None]:
        """Within it, want of memory is a refusal (KR0133) that says what to set."""
        try:
            yield
        except Exception as error:
            lacking = scarce.behind(error, self._missing())
            if lacking is None:
                raise
            wanted, there = scarce.wanted(lacking), self.gauge.most()
        else:
            return
        # outside of the handler: what the failed step held went with its frames
        had = "" if there is None else f": it had {scarce.text(there)} when more was refused"
        raise Refusal(
            f"there is not enough memory for this training{had} ({wanted})", action=self.advice(there), code=scarce.CODE
        )

    def _missing(self) -> int:
        """Bytes that the formula still wants for the rows that go through the models at once."""
        tokens = (self._params.micro_batch or self._params.batch_size) * self._longest
        return max(0, round(self.training(tokens, self._longest, tokens).peak() * SLACK) - (self.gauge.most() or 0))


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
