"""The parts of a batch, each through the model on a thread of its own → values and one gradient.

A small model's products are too small to be divided among threads: on two cores they gain a quarter and cost twice the
processor time, and wait for each other wherever a neighbour takes a core. Rows need nothing of each other until their
gradients are added up, so here each thread takes rows instead (`tests/bench/training_step.py`). Gradients are added in
the order of the parts, whichever is done first: the same number of threads gives the same bits.

Each part has a gradient of its own until then; where that takes too much memory the products are divided after all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial

import torch
from torch import Tensor, nn

#: bytes that the further gradients may take together
MOST_BYTES = 64 << 20
#: groups that one thread takes at most, and what a group costs beside its positions, in positions
MOST_ROUNDS, FIXED = 4, 64

#: one part's values_K and gradient, parameter by parameter; None where nothing reaches it
Found = tuple[Tensor, Sequence[Tensor | None]]


def lots_of(lengths: Sequence[int], threads: int) -> list[list[int]]:
    """Places in the batch, longest first, cut into groups that `threads` threads take one after the other. Every place
    is in one group. One group for each thread, or several where rows are so uneven that less padding pays for that."""
    places = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    rounds = range(1, 1 + min(MOST_ROUNDS, -(-len(places) // threads)))
    cuts = [_even(places, lengths, threads * each) for each in rounds]
    # the first group is as long as any: each round takes as long as it
    costs = [each * (_positions(cut, lengths) + FIXED) for each, cut in zip(rounds, cuts, strict=True)]
    return cuts[costs.index(min(costs))]


def _positions(groups: list[list[int]], lengths: Sequence[int]) -> int:
    """Of the largest group, padding included."""
    return max(len(group) * lengths[group[0]] for group in groups)


def _even(places: Sequence[int], lengths: Sequence[int], groups: int) -> list[list[int]]:
    """At most so many groups of neighbours, the largest as small as can be."""

    def cut(most: int) -> list[list[int]]:
        found: list[list[int]] = []
        for place in places:
            if not found or (len(found[-1]) + 1) * lengths[found[-1][0]] > most:
                found.append([])
            found[-1].append(place)
        return found

    low, high = lengths[places[0]], lengths[places[0]] * len(places)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(cut(middle)) <= groups else (middle + 1, high)
    return cut(low)


def lots_for(model: nn.Module, threads: int) -> int:
    """How many parts may go through a model at the same time; 1: the threads divide its products.

    Chance is drawn from one stream, in whichever order threads come by: a model that draws is not divided.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    size = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    plain = all(parameter.device.type == "cpu" and parameter.dtype == torch.float32 for parameter in parameters)
    return threads if plain and size * (threads - 1) <= MOST_BYTES and not _draws(model) else 1


def _draws(model: nn.Module) -> bool:
    """Whether some part of a model drops at random while it trains."""
    return any(
        float(getattr(module, name, 0.0) or 0.0) > 0
        for module in model.modules()
        for name in (("p",) if isinstance(module, nn.modules.dropout._DropoutNd) else ("attention_dropout",))
    )


class Abreast:
    """Threads that take a part each. To be closed."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "part", initializer=partial(torch.set_num_threads, 1))

    def close(self) -> None:
        self._pool.shutdown()

    def gradient(self, passes: Sequence[Callable[[], Found]], parameters: Sequence[Tensor]) -> Tensor:
        """values_K of all parts together; their gradient stands in the parameters' `grad`. Raises as the parts do."""
        # what a context says of layers and places holds for the parts, too
        going = [self._pool.submit(copy_context().run, one) for one in passes]
        values_K, first = going.pop(0).result()
        whole = list(first)
        while going:
            # none is kept for longer than until it is added
            further_K, parts = going.pop(0).result()
            values_K = values_K + further_K
            for at, part in enumerate(parts):
                before = whole[at]
                # not in place: two parameters may have been given one tensor
                whole[at] = part if before is None else before if part is None else before + part
        for parameter, gradient in zip(parameters, whole, strict=True):
            parameter.grad = gradient
        return values_K
