"""The state of a training run ↔ files in its scratch folder, so that a killed run continues bit for bit.

`state-<step>.safetensors` holds every tensor; `state-<step>.json` names it, with its digest, and is written only after
it is durable. The two newest states are kept. A kill at any moment therefore leaves the states before or the new one,
and of a damaged one the state before it is used. Tensors go to the file one by one, so that saving takes no memory but
for the largest of them where it lies on an accelerator. No pickle is written or read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from runtime import digest
from runtime.contract import Context, Stopped
from runtime.machine import durable, saved
from runtime.models.pouring import laid_out, pour

#: how many states stay
KEPT = 2
#: before the names of tensors that are trained beside the model
BESIDE = "beside"
#: AdamW in float32 keeps two moments beside each weight
_TENSORS_PER_WEIGHT = 3
_FILE = re.compile(r"state-\d{8,}\.(json|safetensors)")
#: longest text of a part of the course that is shown as it is; of a longer one the digest stands for it
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class State:
    """What stands in the files: `step` is the next step to run, `record` the run's log so far (plain JSON)."""

    step: int
    tensors: Mapping[str, Tensor]
    record: dict[str, Any]


@dataclass(slots=True)
class Found:
    """The newest state that may be used, None for none; and what is to be said of those that may not."""

    state: State | None = None
    said: list[str] = field(default_factory=list)


def capture(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Weights, AdamW moments and the random state, under flat names."""
    found: dict[str, Tensor] = {"random": torch.random.get_rng_state()}
    return found | _parameters("model", model, optimizer)


def beside(module: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The same of what is trained beside the model and is no part of it."""
    return _parameters(BESIDE, module, optimizer)


def _parameters(kind: str, module: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        found[f"{kind}.{name}"] = parameter.detach()
        for key, value in optimizer.state[parameter].items():
            found[f"optimizer.{key}.{name}"] = value
    return found


def restore(model: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put captured tensors back. Raises KeyError when one is missing: the course let another model through."""
    _put("model", model, optimizer, tensors)
    torch.random.set_rng_state(tensors["random"])


def restore_beside(module: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The same of what `beside` has captured."""
    _put(BESIDE, module, optimizer, tensors)


def _put(kind: str, module: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(tensors[f"{kind}.{name}"])
            if "scale.scale" in tensors and f"optimizer.step.{name}" not in tensors:
                # of a scaled loss the first steps may move no weight, and leave no moments
                continue
            optimizer.state[parameter] = {
                key: tensors[f"optimizer.{key}.{name}"].to(parameter.device, copy=True)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }


def course(parts: Mapping[str, Any]) -> dict[str, str]:
    """Everything that decides a run's course, each part as a text that differs when the part does."""
    texts = {name: digest.canonical(value).decode() for name, value in parts.items()}
    return {
        name: text if len(text) <= _SHOWN else digest.of_value(text, "kc.training-course.v1")
        for name, text in texts.items()
    }


class Store:
    """The state files of one run. `course` stands for everything that decides the run's course."""

    def __init__(self, folder: Path, course: Mapping[str, str], disk: durable.Disk = durable.DISK) -> None:
        self.folder, self.course, self.disk = folder, dict(course), disk
        #: record of a state → why what it names beside the state may not be used, "" when all of it may
        self.unsound: Callable[[Mapping[str, Any]], str] = lambda _record: ""
        disk.folder(folder)
        durable.sweep(folder)

    @staticmethod
    def part(folder: Path, name: str) -> Any:
        """One part of the course of the newest state in a folder, as it was given to `course`; None for none, and for
        one that is too long to be kept whole."""
        for _, path in saved.indices(folder):
            index, _ = saved.read(path)
            if index is not None:
                text = str(index["course"].get(name, "null"))
                return None if text.startswith("sha256:") else json.loads(text)
        return None

    def require(self, parameters: int) -> None:
        """Raises StorageFailed when states of a model of so many parameters have no room: before a step is computed."""
        size = parameters * 4 * _TENSORS_PER_WEIGHT
        there = sum(path.stat().st_size for path in self._files())
        self.disk.require(self.folder / saved.name_of(0, "safetensors"), max(0, KEPT * size - there))

    def save(self, state: State) -> None:
        """Write the tensors, then the index that makes them count, then remove what is older than the two newest.

        Raises StorageFailed, before anything is written where the disk has no room; the newest state then stays.
        """
        path = self.folder / saved.name_of(state.step, "safetensors")
        if laid_out(state.tensors)[0] > self.disk.free(self.folder):
            self._prune(1, but=state.step)
        file_digest = pour(path, state.tensors, disk=self.disk)
        text = saved.index(
            course=self.course,
            step=state.step,
            file=path.name,
            file_digest=file_digest,
            record=state.record,
        )
        self.disk.write(self.folder / saved.name_of(state.step), text)
        self._prune(KEPT)

    def load(self) -> Found:
        """The newest state that is whole and of this very course. What may not be used is named and removed: a run may
        go back or start over, never astray."""
        found = Found()
        for step, path in saved.indices(self.folder):
            state, why = self._read(path)
            if state is not None:
                found.state = state
                if found.said:
                    found.said.append(f"the state before it is used, of step {step}")
                break
            found.said.append(f"the state of step {step} is not used: {why}")
            self.disk.remove(path)
            self.disk.remove(path.with_suffix(".safetensors"))
        if found.state is None and found.said:
            found.said.append("starting over")
        return found

    def _read(self, path: Path) -> tuple[State | None, str]:
        index, why = saved.read(path)
        if index is None:
            return None, why
        try:
            if differing := self._differing(index["course"]):
                return None, f"it is of another course, by {differing}"
            file = self.folder / Path(index["file"]).name
            if not file.is_file():
                return None, "its tensors are gone"
            if digest.of_file(file) != index["digest"]:
                return None, "its tensors were changed after they were written"
            if why := self.unsound(index["record"]):
                return None, why
            return State(step=index["step"], tensors=load_file(file), record=index["record"]), ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            return None, f"it cannot be read ({type(error).__name__})"

    def _differing(self, theirs: Mapping[str, str]) -> str:
        names = [name for name in sorted({*theirs, *self.course}) if theirs.get(name) != self.course.get(name)]
        return ", ".join(f"{name} ({_change(theirs.get(name, ''), self.course.get(name, ''))})" for name in names)

    def _files(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if _FILE.fullmatch(path.name)]

    def _prune(self, count: int, but: int = -1) -> None:
        """Remove all but the newest states; `but` is the step of one that is being written and counts as none."""
        kept = [step for step, _ in saved.indices(self.folder) if step != but][:count]
        names = {saved.name_of(step, ending) for step in kept for ending in ("json", "safetensors")}
        # an index goes before its tensors: without them it would count as damaged
        for path in sorted(self._files()):
            if path.name not in names:
                self.disk.remove(path)


def _change(old: str, new: str) -> str:
    if any(text.startswith("sha256:") for text in (old, new)):
        return "not what it was"
    return f"{old or 'nothing'} → {new or 'nothing'}"


class Keeper:
    """When the state of a run is made durable: every so many steps, after the last, and where the run is stopped."""

    def __init__(self, store: Store, ctx: Context, *, every: int, steps: int, state: Callable[[int], State]) -> None:
        """`state(done)`: the run's state when so many steps are done."""
        self._store, self._ctx, self._every, self._steps, self._state = store, ctx, every, steps, state
        self._newest = -1

    def begin(self, parameters: int) -> State | None:
        """The state to go on from. Raises StorageFailed when states of so many parameters have no room."""
        found = self._store.load()
        self._store.require(parameters)
        self._newest = 0 if found.state is None else found.state.step
        self._ctx.kept(self._newest)
        if found.said:
            self._ctx.say("; ".join(found.said))
        if found.state is not None:
            self._ctx.say(f"continuing at step {self._newest} of {self._steps}")
        return found.state

    def after(self, done: int, note: str) -> None:
        """When so many steps are done: save where it is time, and tell how far the run is."""
        if done % self._every == 0 or done == self._steps:
            self.save(done)
        try:
            self._ctx.progress(done, self._steps, note)
        except Stopped:
            # what was trained since the last save is not thrown away by a stop
            self.save(done)
            raise

    def save(self, done: int) -> None:
        """Make the state after so many steps durable, unless it is the newest."""
        if done != self._newest:
            self._store.save(self._state(done))
            self._newest = done
            self._ctx.kept(done)
