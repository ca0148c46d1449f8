"""What a host calls a function by → what a function of the profile `ane` is fed: masks and angles. Numpy only.

`runtime.contract.authoring` says what they hold, this makes them: whatever is called by `attention_mask` or `position`
is given the inputs that its piece declares. In float32: whoever runs float16 rounds them like every other input.

Letters: T tokens, K keys, Q queries, C cache slots, R rotated channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import BrokenEvidence
from runtime.contract.authoring import Authoring, Turn
from runtime.contract.program import Value

Array: TypeAlias = NDArray[Any]
Real: TypeAlias = NDArray[np.float32]


def fed(inputs: Mapping[str, Array], declared: Sequence[Value], made: Authoring) -> dict[str, Array]:
    """The inputs of one call in the order in which its piece declares them: those of the same name as they are, masks
    and angles made. Raises BrokenEvidence for one that nothing says how to make."""
    angles = {name: (one, wave) for one in made.turns for name, wave in ((one.cos, np.cos), (one.sin, np.sin))}
    found: dict[str, Array] = {}
    for value in declared:
        if value.name in inputs:
            found[value.name] = inputs[value.name]
        elif value.name in made.masks:
            found[value.name] = _mask(inputs, value.shape, made.masks[value.name], made.mask_value)
        elif value.name not in angles:
            raise BrokenEvidence(f"nothing says what input `{value.name}` holds", subject="contract.json")
        else:
            turn, wave = angles[value.name]
            found[value.name] = wave(_angle(inputs, turn, value.shape)) * np.float32(turn.factor)
    return found


def _mask(inputs: Mapping[str, Array], shape: Sequence[int], window: int, mask_value: float) -> Real:
    """mask_1K1Q of a prefill, or mask_111C of a decode: 0 where a query attends to a key."""
    if "position" in inputs:
        position = int(inputs["position"][0])
        behind = position - np.arange(shape[3])
        # a slot of before; the token itself is no slot yet
        seen = (behind > 0) & (behind < window if window else True)
    else:
        place = np.arange(shape[3])
        behind = place[None, :] - place[:, None]
        real = np.asarray(inputs["attention_mask"][0])[:, None] > 0
        seen = (behind >= 0) & real & (behind < window if window else True)
    made: Real = np.where(seen, np.float32(0), np.float32(mask_value)).reshape(shape)
    return made


def _angle(inputs: Mapping[str, Array], turn: Turn, shape: Sequence[int]) -> Real:
    """angle_1R1T of the positions of a prefill, or angle_111R of a decode's, in radians."""
    rates = np.tile(np.asarray(turn.frequencies, np.float32), 2)
    if "position" in inputs:
        return (np.float32(inputs["position"][0]) * rates).reshape(shape)
    made: Real = np.multiply.outer(rates, np.arange(shape[3], dtype=np.float32)).reshape(shape)
    return made
