"""Heads of a student beside the one that says words (`runtime.contract.heads`): made, kept, and asked.

They are modules of the model, so that whatever trains, counts or exports its parameters has them too. In a folder they
lie in a file of their own, and Transformers reads the model as one without them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime.contract import Refusal
from runtime.contract.heads import FILE, MEANING, PREFIX

_ATTRIBUTE = PREFIX.rstrip(".")


def of(model: nn.Module) -> Mapping[str, nn.Linear]:
    """The heads of a model by name, in the order in which functions give what they say; none of most."""
    held: Any = getattr(model, _ATTRIBUTE, None)
    return {} if held is None else dict(held.items())


def names(model: nn.Module) -> tuple[str, ...]:
    return tuple(of(model))


def keep(model: nn.Module, wanted: Collection[str]) -> list[str]:
    """Leave a model no other heads than these; the names of those that were taken off."""
    had = of(model)
    detach(model)
    kept = nn.ModuleDict({name: one for name, one in had.items() if name in wanted})
    if len(kept):
        setattr(model, _ATTRIBUTE, kept)
    return sorted(had.keys() - kept.keys())


def attach(model: PreTrainedModel, wanted: Collection[str], seed: int = 0) -> None:
    """Give a model these heads, in the order in which they are declared; those that it has stay as they are. A new one
    has random weights: a function of the seed and its name, whatever ran before."""
    had = of(model)
    held = nn.ModuleDict()
    for number, name in enumerate(MEANING):
        if name in had:
            held[name] = had[name]
        elif name in wanted:
            held[name] = _fresh(model, seed * len(MEANING) + number)
    if len(held):
        setattr(model, _ATTRIBUTE, held)


def _fresh(model: PreTrainedModel, seed: int) -> nn.Linear:
    where, width = next(model.parameters()), int(model.config.hidden_size)
    made = nn.Linear(width, 1)
    spread = float(getattr(model.config, "initializer_range", None) or 0.02)
    numbers = torch.randn(1, width, generator=torch.Generator().manual_seed(seed)) * spread
    with torch.no_grad():
        made.weight.copy_(numbers)
        made.bias.zero_()
    return made.to(device=where.device, dtype=where.dtype)


def detach(model: nn.Module) -> None:
    """Take them off: of a part of a model that does not end it."""
    if of(model):
        delattr(model, _ATTRIBUTE)


def said(heads: Mapping[str, nn.Linear], hidden_BTH: Tensor) -> list[Tensor]:
    """Log-odds_BT of each head, of hidden states after the last normalisation."""
    return [head(hidden_BTH).squeeze(-1) for head in heads.values()]


@contextmanager
def overheard(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """While the model runs as it is: the hidden_BTH that its head for words was given, run by run."""
    met: list[Tensor] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, given: met.append(given[0]))
    try:
        yield met
    finally:
        hook.remove()


def stated(model: PreTrainedModel, hidden: Sequence[Tensor]) -> dict[str, Tensor]:
    """Log-odds_N by name, of hidden_BTH of several runs one after the other, on the CPU."""
    with torch.no_grad():
        whole_NH = torch.cat([one.flatten(0, -2) for one in hidden])
        return {name: head(whole_NH).squeeze(-1).cpu() for name, head in of(model).items()}


def split(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(the model's own tensors, those of its heads)."""
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
    return own, {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}


def load(model: PreTrainedModel, folder: Path) -> None:
    """Give a model the heads of its folder, if it has any. Raises Refusal for a file that holds something else."""
    path = folder / FILE
    if not path.is_file():
        return
    found = load_file(path)
    wanted = sorted({name.removeprefix(PREFIX).partition(".")[0] for name in found})
    if unknown := [name for name in wanted if name not in MEANING]:
        raise Refusal(
            f"{FILE} holds a head that is called `{unknown[0]}`",
            place=folder.name,
            action=f"keep {' and '.join(MEANING)}, or remove the file",
        )
    attach(model, wanted)
    due = {name: tuple(tensor.shape) for name, tensor in split(dict(model.named_parameters()))[1].items()}
    if due != {name: tuple(tensor.shape) for name, tensor in found.items()}:
        raise Refusal(
            f"{FILE} does not hold a weight of {int(model.config.hidden_size)} numbers and a bias for each head",
            place=folder.name,
            action="take the file of this very model, or remove it",
        )
    if broken := next((name for name, tensor in found.items() if not bool(torch.isfinite(tensor).all())), ""):
        raise Refusal(f"tensor {broken} is not finite", place=folder.name, action="take the weights again")
    for name, parameter in split(dict(model.named_parameters()))[1].items():
        parameter.data.copy_(found[name])
