"""Activations in eight bits (W8A8): which linear layers are multiplied by integers, and what stands against one. Pure
data and the matching rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple, Protocol

from pydantic import Field

from runtime.contract import Params
from runtime.contract.recipe import HEAD, Recipe

#: what a layer's weights must be, so that both sides of its products are integers with scales outside the sum
WEIGHTS, GRANULARITIES = "int8", ("per_channel", "per_tensor")
#: the tensor that is read by row and multiplied by nothing
_EMBEDDING = "embed_tokens.weight"


class Activations(Params):
    """Linear layers whose inputs are rounded to int8, symmetric, by one scale of the tensor that calibration chose."""

    match: list[str] = Field(
        min_length=1,
        max_length=100,
        description="Shell patterns over names of linear layers, as rules match tensors. Each layer's weights are int8 "
        "per channel or per tensor. All others read float16.",
        examples=[["*.mlp.*"]],
    )


#: what a layer has against integers → what to do
Kind = Literal["none", "embedding", "tied", "island", "weights"]
ACTIONS: Mapping[Kind, str] = {
    "none": "name linear layers, such as `*.mlp.*`, or remove the pattern",
    "embedding": "name the layers more closely: no pattern may match the embedding",
    "tied": "name the layers more closely: no pattern may match a head that is tied",
    "island": "name the layers more closely, or remove the island",
    "weights": "store its weights as int8 per channel, or name the layers more closely",
}


class Fault(NamedTuple):
    """Why a pattern, by its number, cannot be carried out; `layer` is the first that it is so for, of `layers`."""

    pattern: int
    kind: Kind
    layer: str
    layers: int
    text: str


def plain(tensor: str) -> str:
    """The name of a layer, by that of its weight."""
    return tensor.removesuffix(".weight")


class Named(Protocol):
    """A tensor, with the other names of the same memory."""

    @property
    def name(self) -> str: ...
    @property
    def aliases(self) -> Sequence[str]: ...
    @property
    def shape(self) -> Sequence[int]: ...


def matrices(tensors: Iterable[Named]) -> list[tuple[str, ...]]:
    """All names of each tensor of two axes, its own first."""
    return [(one.name, *one.aliases) for one in tensors if len(one.shape) == 2]


def _matched(pattern: str, matrices: Iterable[Sequence[str]]) -> Iterator[tuple[str, Sequence[str]]]:
    """(the name that matches, all names) of each matrix."""
    for names in matrices:
        found = next((name for name in names if fnmatchcase(plain(name), pattern)), None)
        if found is not None:
            yield found, names


def chosen(patterns: Sequence[str], matrices: Sequence[Sequence[str]]) -> list[str]:
    """Weights of the layers that any pattern matches, in the order of `matrices`: the names of each tensor of two axes.
    What `faults` has nothing against is a linear layer."""
    every = [{names[0] for _, names in _matched(pattern, matrices)} for pattern in patterns]
    return [names[0] for names in matrices if any(names[0] in found for found in every)]


def faults(
    patterns: Sequence[str], matrices: Sequence[Sequence[str]], recipe: Recipe, islands: Sequence[str]
) -> Iterator[Fault]:
    """What stands against each pattern, one fault of a kind."""
    for number, pattern in enumerate(patterns):
        found: dict[Kind, list[tuple[str, str]]] = {}
        matched = list(_matched(pattern, matrices))
        for name, names in matched:
            if wrong := _wrong(name, names, recipe, islands):
                found.setdefault(wrong[0], []).append((plain(name), wrong[1]))
        if not matched:
            yield Fault(number, "none", "", 0, f"`{pattern}` matches no linear layer")
        for kind, layers in found.items():
            yield Fault(number, kind, layers[0][0], len(layers), layers[0][1])


def _wrong(name: str, names: Sequence[str], recipe: Recipe, islands: Sequence[str]) -> tuple[Kind, str] | None:
    """(kind, why) of what a layer stands against, by one of the names of its weight."""
    layer = plain(name)
    if name.endswith(_EMBEDDING):
        return "embedding", f"`{layer}` is read by row and multiplied by nothing"
    if any(one.endswith(_EMBEDDING) for one in names):
        return "tied", f"`{layer}` is the embedding, too"
    if name == HEAD and "logits" in islands:
        return "island", f"`{layer}` is computed in float32, by the island `logits`"
    asked = recipe.of(name)
    if asked.weights != WEIGHTS or asked.granularity not in GRANULARITIES:
        return "weights", f"`{layer}` is stored as {asked.said}"
    return None
