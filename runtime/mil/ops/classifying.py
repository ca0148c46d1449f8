"""classify: what makes a classifier of a model. Its results leave the function; no other op reads them.

Meaning: Apple's MIL op reference, module `classify` of iOS15. Of labels that are equally probable the first is taken;
MIL leaves it open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.mil.numerics import Array

CLASSIFY = "classify"


def classified(labels: Sequence[str | int], probabilities: Array) -> tuple[Array, Array]:
    """The most probable label, and the probability of each in their order. Raises ValueError where they are not as
    many."""
    flat = probabilities.reshape(-1)
    if len(flat) != len(labels):
        raise ValueError(f"{len(flat)} probabilities of {len(labels)} labels")
    return np.array(labels[int(flat.argmax())]), flat.astype(np.float64)
