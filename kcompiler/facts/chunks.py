"""Architecture × `export.chunks` → which layers each package holds, and how large it is: what the export will do."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from kcompiler.facts.sizes import EMBEDDING, Tensor, stored, tensors, text, weights
from runtime.contract.architecture import Architecture
from runtime.contract.chunks import Chunk, split
from runtime.contract.recipe import FLOAT16, Recipe


@dataclass(frozen=True)
class Sized:
    """A chunk, and the bytes of its tensors as the recipe stores them."""

    chunk: Chunk
    stored: int


def chunks(a: Architecture, count: int) -> list[Chunk]:
    """Raises ValueError for more chunks than the model has parts."""
    parts = [0] * (a.num_hidden_layers + 2)
    for tensor in tensors(a):
        for place in _places(a, tensor):
            parts[place] += tensor.elements * FLOAT16
    embedding, *layers, head = parts
    return split(embedding, layers, head, count)


def sized(a: Architecture, count: int, recipe: Recipe, islands: Collection[str] = ()) -> list[Sized]:
    """Raises what `chunks` raises."""
    parts = [0] * (a.num_hidden_layers + 2)
    for tensor in tensors(a):
        for place in _places(a, tensor):
            parts[place] += stored(tensor, recipe, islands)
    found = []
    for one in chunks(a, count):
        held = sum(parts[one.layers[0] + 1 : one.layers[1] + 1])
        found.append(Sized(one, held + parts[0] * (not one.enters) + parts[-1] * one.heads))
    return found


def largest(a: Architecture, count: int, recipe: Recipe, islands: Collection[str] = ()) -> int:
    """Bytes of the weights of the largest package. Of more chunks than the model has parts, that of as many as it
    has."""
    if count == 1:
        return sum(weights(a, recipe, islands).values())
    return max(one.stored for one in sized(a, min(count, a.num_hidden_layers + 2), recipe, islands))


def told(a: Architecture, count: int, recipe: Recipe, islands: Collection[str] = ()) -> str:
    """Every chunk in words."""
    said = [
        f"{one.chunk.package} {contents(one.chunk)}: {text(one.chunk.bytes)} in float16, {text(one.stored)} as stored"
        for one in sized(a, count, recipe, islands)
    ]
    return "; ".join([*said, *(["the tied embedding is in the first and in the last"] * a.tie_word_embeddings)])


def contents(chunk: Chunk) -> str:
    """What is in a chunk, in words."""
    first, end = chunk.layers
    layers = [] if first == end else [f"layer {first}" if end - first == 1 else f"layers {first} to {end - 1}"]
    return " + ".join([*([] if chunk.enters else ["embedding"]), *layers, *(["norm and head"] if chunk.heads else [])])


def _places(a: Architecture, tensor: Tensor) -> Iterator[int]:
    """The parts that hold a tensor: 0 the embedding, then each layer, the last the final norm and the head. A tied
    embedding is at both ends."""
    if tensor.name.startswith("model.layers."):
        yield int(tensor.name.split(".")[2]) + 1
        return
    if tensor.name == EMBEDDING:
        yield 0
    if tensor.name != EMBEDDING or tensor.aliases:
        yield a.num_hidden_layers + 1
