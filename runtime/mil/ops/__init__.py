"""Every modelled op, one module per subject. Importing this package fills the registry."""

from runtime.mil.ops import (
    attention,
    constexpr,
    convolution,
    elementwise,
    indexing,
    linear,
    normalisation,
    ordering,
    pooling,
    rearranging,
    recurrent,
    reduction,
    resizing,
    sampling,
    shape,
    slicing,
)

__all__ = [
    "attention",
    "constexpr",
    "convolution",
    "elementwise",
    "indexing",
    "linear",
    "normalisation",
    "ordering",
    "pooling",
    "rearranging",
    "recurrent",
    "reduction",
    "resizing",
    "sampling",
    "shape",
    "slicing",
]
