"""Sizes of a sliding window: how much is padded around each spatial dimension, and how many windows fit.

Meaning: Apple's MIL op reference, modules `iOS15.conv` and `iOS15.pool`. Where the padding of `same` is odd, the texts
of `same` contradict each other; both front ends and the older layers of Core ML put the odd element after the data
(`BOTTOM_RIGHT_HEAVY`), and `same_lower` before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.mil.errors import UnsupportedOp

Around = list[tuple[int, int]]


def around(
    op: str,
    pad_type: str,
    pad: Sequence[int] | None,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
) -> Around:
    """(before, after) per spatial dimension; `kernel` holds the dilated sizes. `pad` counts for `custom` only."""
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        return custom(op, pad, len(sizes))
    if pad_type not in ("same", "same_lower"):
        raise UnsupportedOp(f"{op} pad_type {pad_type!r} is not modelled", op=op)
    both = [max(0, -(-size // s) * s - size + k - s) for size, k, s in zip(sizes, kernel, strides, strict=True)]
    return [halves(amount, lower=pad_type == "same_lower") for amount in both]


def custom(op: str, pad: Sequence[int] | None, rank: int) -> Around:
    """The pairs of a parameter `pad`, all zero when it is absent."""
    amounts = [0] * 2 * rank if pad is None else list(pad)
    if len(amounts) != 2 * rank:
        raise UnsupportedOp(f"{op} with pad_type custom and pad {pad}", op=op)
    return list(zip(amounts[::2], amounts[1::2], strict=True))


def halves(amount: int, *, lower: bool = False) -> tuple[int, int]:
    """An amount before and after the data; an odd element goes after it, with `lower` before it."""
    less, more = amount // 2, amount - amount // 2
    return (more, less) if lower else (less, more)


def places(size: int, pads: tuple[int, int], kernel: int, stride: int, *, ceil_mode: bool) -> int:
    """How many windows stand on one dimension. In `ceil_mode` the last may reach beyond the padding, and does not
    count when it starts behind the data and the padding before it."""
    free = size + sum(pads) - kernel
    if not ceil_mode:
        return free // stride + 1
    count = -(-free // stride) + 1
    return count - 1 if sum(pads) and (count - 1) * stride >= size + pads[0] else count
