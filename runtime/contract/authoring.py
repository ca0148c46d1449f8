"""Profiles by which a student's functions are written for a unit of Apple's hardware, and what a host feeds each.

`gpu`: values are (1, tokens, channels); masks and angles are made inside of what a host calls by (`input_ids`,
`attention_mask`, `position`).

`ane`: values are (1, channels, 1, tokens), products are 1×1 convolutions (apple/ml-ane-transformers), and masks and
angles are inputs of their own, so that nothing is compared or looked up on the unit. What they hold follows from what a
host calls by; `Authoring` says how. Pure data, no tensors.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtime.contract import Params

Profile = Literal["gpu", "ane"]


class Turn(Params):
    """Angles of a rotation as two inputs: of position p and pair i they are `factor`·cos and `factor`·sin of
    p · `frequencies[i]`, all pairs and then all pairs again."""

    cos: str
    sin: str
    frequencies: list[float] = Field(min_length=1, description="Radians a position, of each pair of channels.")
    factor: float = 1.0


class Authoring(Params):
    """How the physical functions are written, and what their inputs hold that no host calls by.

    A mask is 0 where a query attends to a key and `mask_value` elsewhere. Of a prefill of T tokens it is
    [1, key T, 1, query T], and an angle [1, channel, 1, token T]. Of a decode a mask is [1, 1, 1, slot] of the cache's
    slots alone, since the token itself is always attended to, and an angle [1, 1, 1, channel]: the unit pads the last
    axis of what goes in and out.
    """

    profile: Literal["ane"]
    masks: dict[str, int] = Field(
        description="Input → window of the layers that it is for, in tokens; 0: they attend to the whole text."
    )
    mask_value: float = Field(description="What a mask adds to the score of a key that is not attended to.")
    turns: list[Turn]
