"""The state of a training run ↔ two files in its scratch folder, so that a killed run continues bit for bit.

`state-<step>.safetensors` holds every tensor; `state.json` names it, with its digest, and is replaced only after it is
durable. A kill at any moment therefore leaves the state before or the state after. No pickle is written or read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from runtime import digest
from runtime.machine import durable, saved


@dataclass(frozen=True, slots=True)
class State:
    """What stands in the files: `step` is the next step to run, `record` the run's log so far (plain JSON)."""

    step: int
    tensors: Mapping[str, Tensor]
    record: dict[str, Any]


def capture(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Weights, AdamW moments and the random state, under flat names."""
    found: dict[str, Tensor] = {"random": torch.random.get_rng_state()}
    for name, parameter in model.named_parameters():
        found[f"model.{name}"] = parameter.detach()
        for key, value in optimizer.state[parameter].items():
            found[f"optimizer.{key}.{name}"] = value
    return found


def restore(model: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put captured tensors back. Raises KeyError when one is missing: the fingerprint let another model through."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
            keys = ("step", "exp_avg", "exp_avg_sq")
            optimizer.state[parameter] = {key: tensors[f"optimizer.{key}.{name}"].clone() for key in keys}
    torch.random.set_rng_state(tensors["random"])


class Store:
    """The state files of one run. `fingerprint` stands for everything that decides the run's course."""

    def __init__(self, folder: Path, fingerprint: str, disk: durable.Disk = durable.DISK) -> None:
        self.folder, self.fingerprint, self.disk = folder, fingerprint, disk
        disk.folder(folder)
        durable.sweep(folder)

    def save(self, state: State) -> None:
        """Write the tensors, then the index that makes them count, then remove what it replaced."""
        data = save({name: tensor.contiguous() for name, tensor in state.tensors.items()})
        name = f"state-{state.step:08d}.safetensors"
        self.disk.write(self.folder / name, data)
        index = saved.index(fingerprint=self.fingerprint, step=state.step, file=name, data=data, record=state.record)
        self.disk.write(self.folder / saved.INDEX, index)
        for path in self.folder.glob("state-*.safetensors"):
            if path.name != name:
                path.unlink()

    def load(self) -> tuple[State | None, str]:
        """The saved state, or None and why there is none that may be used: a run may start over, never go astray."""
        index, why = saved.read(self.folder)
        if index is None:
            return None, why
        try:
            if index["fingerprint"] != self.fingerprint:
                return None, "the saved state belongs to other parameters or inputs"
            data = (self.folder / Path(index["file"]).name).read_bytes()
        except (OSError, ValueError, KeyError, TypeError) as error:
            return None, f"the saved state cannot be read ({type(error).__name__})"
        if digest.of_bytes(data) != index["digest"]:
            return None, "the saved state's tensors were changed after they were written"
        return State(step=index["step"], tensors=load(data), record=index["record"]), ""
