"""A checkpoint, a recipe and a few texts → each matrix in the stored form whose outputs on these texts are nearest.

Layer after layer, as the package computes: the inputs of a matrix are those that the layers before it give once *they*
are rounded, so that a matrix makes good what was lost before it as well (GPTQ, arXiv 2210.17323, section 3.3). Within a
layer the matrices that read one tensor are rounded together, and those that read what they give after them.

An embedding is read by row and multiplied by nothing: it is rounded to the nearest values, as is a head that is tied to
it. Layers that read integers (W8A8) read rounded inputs as soon as their scale is chosen: their own weights, and those
of all layers behind them, are chosen by what they are multiplied with then.

Letters: T tokens of a text, H width, I inputs of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime.contract.recipe import Weights
from runtime.mil import activations, gptq
from runtime.mil.quantize import restored


class _Enough(Exception):
    """What was looked for has been seen; the rest of the computation is of no use."""


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of a decoder, in their order."""
    return list(model.base_model.layers)


def multiplied(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The matrices of a model that texts are multiplied by, by the name of their module: those of its layers, and its
    head where that is not the embedding, too."""
    tied = model.get_input_embeddings().weight
    linear = [(name, one) for name, one in model.named_modules() if isinstance(one, nn.Linear)]
    return {name: one for name, one in linear if one.weight is not tied}


class Text(NamedTuple):
    """What one text is before a layer."""

    ids: Sequence[int]
    hidden_1TH: Tensor
    #: of each layer what else it is called with: rotation, mask
    others: list[dict[str, Any]]


@contextmanager
def _hooked(hooks: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _through(model: nn.Module, ids: Sequence[int]) -> Any:
    return model(input_ids=torch.tensor([list(ids)]), use_cache=False)


def _entering(model: PreTrainedModel, layers: Sequence[nn.Module], ids: Sequence[int]) -> Text:
    """A text before the first layer."""
    seen: list[tuple[Any, dict[str, Any]]] = []

    def look(_layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        others = dict(kwargs)
        hidden = args[0] if args else others.pop("hidden_states")
        seen.append((hidden if not seen else None, others))

    with _hooked([layer.register_forward_pre_hook(look, with_kwargs=True) for layer in layers]):
        _through(model.base_model, ids)
    return Text(ids, seen[0][0], [others for _, others in seen])


def _left(layer: nn.Module, number: int, text: Text) -> Tensor:
    out = layer(text.hidden_1TH, **text.others[number])
    return out[0] if isinstance(out, tuple) else out


def _readers(layer: nn.Module, text: Text, number: int) -> list[list[str]]:
    """The linear modules of a layer by name, those that read one tensor together, in the order of their calls."""
    found: list[tuple[Tensor, list[str]]] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            for tensor, names in found:
                if tensor is args[0]:
                    names.append(name)
                    return
            found.append((args[0], [name]))

        return hook

    linear = {name: module for name, module in layer.named_modules() if isinstance(module, nn.Linear)}
    with _hooked([module.register_forward_pre_hook(look(name)) for name, module in linear.items()]):
        _left(layer, number, text)
    return [names for _, names in found]


def _look(
    module: nn.Module, run: Callable[[Text], object], texts: Sequence[Text], see: Callable[[Tensor], object]
) -> None:
    """Show what a module reads of each text, read_TI, and compute no further."""

    def look(_module: nn.Module, args: tuple[Any, ...]) -> None:
        see(args[0].reshape(-1, int(module.in_features)))
        raise _Enough

    with _hooked([module.register_forward_pre_hook(look)]):
        for text in texts:
            try:
                run(text)
            except _Enough:
                continue


def _energy(module: nn.Module, run: Callable[[Text], object], texts: Sequence[Text]) -> gptq.Real:
    """energy_II: the mean over all tokens of the outer product of what a module reads."""
    inputs = int(module.in_features)
    whole, tokens = torch.zeros(inputs, inputs, dtype=torch.float64), 0

    def add(read_TI: Tensor) -> None:
        nonlocal tokens
        whole.add_((read_TI.T @ read_TI).double())
        tokens += len(read_TI)

    _look(module, run, texts, add)
    return (whole / tokens).numpy()


def _input(module: nn.Module, run: Callable[[Text], object], texts: Sequence[Text]) -> activations.Input:
    """How what a module reads is rounded with the least loss."""
    largest: list[float] = []
    _look(module, run, texts, lambda read_TI: largest.append(float(read_TI.abs().max())))
    # a maximum of Python's may leave NaN out
    grid = activations.Grid(float(torch.tensor(largest).max()))
    _look(module, run, texts, lambda read_TI: grid.add(read_TI.numpy()))
    return grid.best()


def _reads(module: nn.Module, chosen: activations.Input) -> None:
    """Let a module read rounded inputs from now on."""
    step = float(chosen.scale)

    def look(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (torch.clamp(torch.round(args[0] / step), activations.LOW, activations.HIGH) * step, *args[1:])

    module.register_forward_pre_hook(look)


class Made(NamedTuple):
    """Tensor name → its stored form; and of layers that read integers, by their weight → how their input is rounded."""

    forms: dict[str, gptq.Calibrated]
    inputs: dict[str, activations.Input]


@torch.inference_mode()
def calibrated(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    plan: Mapping[str, Weights],
    told: Callable[[int], None],
    integers: Collection[str] = (),
) -> Made:
    """The stored form of every matrix in `plan`, and the scale of what those in `integers` read. Changes the model:
    what was rounded is what it computes with afterwards.

    `rows` are ids of texts; `told` hears how many layers are done. Raises ValueError for inputs of a matrix that have
    no energy, or are not finite.
    """
    layers = layers_of(model)
    names = {id(module): f"{name}.weight" for name, module in multiplied(model).items()}
    texts = [_entering(model, layers, ids) for ids in rows]
    made = Made({}, {})

    def take(modules: Sequence[nn.Module], run: Callable[[Text], object]) -> None:
        """Modules that read one tensor: those of them that read integers, and those that do not."""
        rounding = [one for one in modules if names[id(one)] in integers]
        if rounding:
            chosen = _input(rounding[0], run, texts)
            for one in rounding:
                _reads(one, chosen)
                made.inputs[names[id(one)]] = chosen
        for together in (rounding, [one for one in modules if one not in rounding]):
            store(together, run)

    def store(modules: Sequence[nn.Module], run: Callable[[Text], object]) -> None:
        wanted = [(one, plan[names[id(one)]]) for one in modules if names[id(one)] in plan]
        if not wanted:
            return
        energy_II = _energy(wanted[0][0], run, texts)
        for module, asked in wanted:
            found = gptq.calibrated(module.weight.detach().numpy(), energy_II, asked)
            module.weight.copy_(torch.from_numpy(restored(found.stored)))
            made.forms[names[id(module)]] = found

    for number, layer in enumerate(layers):
        for together in _readers(layer, texts[0], number):
            modules = [layer.get_submodule(name) for name in together]
            take(modules, partial(_left, layer, number))
        texts = [text._replace(hidden_1TH=_left(layer, number, text)) for text in texts]
        told(number + 1)
    head = model.get_output_embeddings()
    if id(head) in names:
        take([head], lambda text: _through(model, text.ids))
    return made
