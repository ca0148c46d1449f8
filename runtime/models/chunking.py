"""A decoder × a plan of chunks → the part of it that is in one chunk, and how large its parts are.

A chunk is made of the family's own modules: its layers keep the names and numbers that they have in the checkpoint,
what is not in the chunk is not there, and the residual stream enters where the embedding would have given it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedModel

from runtime.contract import Refusal
from runtime.contract import program as contracts
from runtime.contract.chunks import HIDDEN, Chunk, split
from runtime.contract.families import FAMILIES, NAMES
from runtime.contract.recipe import FLOAT16
from runtime.models import heads


def keep(model: PreTrainedModel, chunk: Chunk) -> None:
    """Remove what is not in the chunk from a copy of the model, in place; the config says how many layers are left."""
    base, (first, end) = model.get_decoder(), chunk.layers
    kept = nn.ModuleList()
    for number in range(first, end):
        # under the number that the checkpoint names its tensors by
        kept.add_module(str(number), base.layers[number])
    base.layers = kept
    model.config.num_hidden_layers = end - first
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = list(model.config.layer_types[first:end])
    if chunk.enters:
        base.embed_tokens = None
    if not chunk.heads:
        heads.detach(model)
        setattr(base, final_norm(model), nn.Identity())
        model.lm_head = nn.Identity()


def final_norm(model: PreTrainedModel) -> str:
    """What a decoder calls the norm after its last layer."""
    return "final_layernorm" if FAMILIES[model.config.model_type].parallel else "norm"


def planned(model: PreTrainedModel, count: int) -> list[Chunk]:
    """How a checkpoint is split. Raises Refusal for a family whose forward pass may do more between its parts than is
    declared, and for more chunks than it has parts."""
    kind = model.config.model_type
    if kind not in FAMILIES:
        raise Refusal(
            f"model type `{kind}` is not split into chunks: what it does beside its layers is not declared",
            place="export.chunks",
            action=f"remove export.chunks, or use a {NAMES}",
        )
    base = model.get_decoder()
    embedding, layers = _bytes([base.embed_tokens]), [_bytes([layer]) for layer in base.layers]
    try:
        return split(
            embedding,
            layers,
            _bytes([getattr(base, final_norm(model)), model.lm_head, *heads.of(model).values()]),
            count,
        )
    except ValueError as error:
        raise Refusal(f"{error}", place="export.chunks", action=f"ask for at most {len(layers) + 2}") from error


def _bytes(modules: Iterable[nn.Module]) -> int:
    return FLOAT16 * sum(parameter.numel() for module in modules for parameter in module.parameters())


class Part(NamedTuple):
    """One function of one chunk: what its package is called, [first, end) of its layers, and the function."""

    package: str
    layers: tuple[int, int]
    function: contracts.Function


def composed(name: str, parts: Sequence[Part]) -> contracts.Function:
    """The function that all chunks are, in order. What a host calls looks as if there were no chunks: its inputs and
    outputs are those of the whole."""
    layers, functions = parts[-1].layers[1], [part.function for part in parts]
    inputs: dict[str, contracts.Value] = {}
    outputs: dict[str, contracts.Value] = {}
    modules: dict[str, dict[str, list[str]]] = {}
    for function in functions:
        for side, values in ((inputs, function.inputs), (outputs, function.outputs)):
            side |= {value.name: _of_all(value, layers) for value in values if not value.name.startswith(HIDDEN)}
        for kind, paths in function.modules.items():
            modules.setdefault(kind, {}).update(paths)
    return functions[0].model_copy(
        update={
            "inputs": list(inputs.values()),
            # as of a function that is in one piece
            "outputs": [outputs.pop("logits"), *outputs.values()],
            "parameters": {node: tensor for function in functions for node, tensor in function.parameters.items()},
            "modules": modules,
            "pieces": [_piece(name, part) for part in parts],
        }
    )


def _piece(name: str, part: Part) -> contracts.Piece:
    """What runs the function in one chunk, by whatever that takes."""
    package, held, function = part
    taken = function if function.pieces is None else function.pieces[0]
    return contracts.Piece(
        package=package,
        function=name,
        inputs=taken.inputs,
        outputs=function.outputs,
        layers=held,
        parameters=function.parameters,
        modules=function.modules,
    )


def _of_all(value: contracts.Value, layers: int) -> contracts.Value:
    """A cache, or what is written into it, of all layers; anything else as it is."""
    return value if len(value.shape) < 4 else value.model_copy(update={"shape": [layers, *value.shape[1:]]})
