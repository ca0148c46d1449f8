"""Weights of a teacher rounded to few bits: the words for it, what a number takes, and which layers can be. Pure data.

Rounded are the matrices of linear layers; embedding, head and normalisations stay bfloat16, and so do the numbers that
go through the layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

Rounded = Literal["int8", "int4"]
#: bits that a number takes in a rounded matrix; with `int4` 32 of them share a scale and a zero of two bytes each
BITS: Mapping[str, int] = {"int8": 8, "int4": 5}
#: inputs of a layer that share a scale; 1: all of them do
GROUP: Mapping[str, int] = {"int8": 1, "int4": 32}
#: devices that the library has kernels for
DEVICES = ("cpu", "cuda")
#: bytes of a number that is not rounded
PLAIN = 2


def held(weights: str, parameters: int, plain: int = 0) -> int:
    """Bytes of so many parameters, `plain` of which are not rounded."""
    return int(Fraction(BITS[weights], 8) * (parameters - plain)) + PLAIN * plain
