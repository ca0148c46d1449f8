"""Findings of checked runs × their program → the least float16 headroom of values that are data, not mask.

An additive mask of −1e4 has a headroom of 6.6 by design, and so has every score it was added to. Counting them would
hide the activations, so values that come from the mask alone, and sums with such a value, are left out. They are
found by what they depend on, not by their size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runtime.mil.findings import Findings, Peak
from runtime.mil.program import Function

#: inputs that steer the mask (and the rotary angles) but carry no activations
STEERING = frozenset({"attention_mask", "position"})


def masked(function: Function) -> frozenset[str]:
    """Names of values that hold a mask, or a sum with one."""
    steered = {feature.name for feature in function.inputs if feature.name in STEERING}
    data = {feature.name for feature in (*function.inputs, *function.states) if feature.name not in STEERING}
    sums: set[str] = set()
    for operation in function.operations:
        arguments = {item for group in operation.inputs.values() for item in group if isinstance(item, str)}
        outputs = {name for name, _ in operation.outputs}
        if operation.type == "shape":
            # how many tokens there are, of which a function for several lengths makes its mask
            steered |= outputs
        elif arguments & data:
            data |= outputs
            if operation.type == "add" and arguments & steered:
                sums |= outputs
        elif arguments & steered:
            steered |= outputs
    return frozenset(steered | sums)


def tightest(functions: Mapping[str, Function], findings: Iterable[Findings]) -> Peak | None:
    """The largest magnitude of a float16 value that is no mask; None when nothing was watched. `functions`: what ran,
    under the name that its values stand under, or "" for the one that stands alone."""
    left_out = {f"{at}/{name}" if at else name for at, one in functions.items() for name in masked(one)}
    peaks = [peak for run in findings for name, peak in run.peaks.items() if name not in left_out]
    return max(peaks, key=lambda peak: (peak.magnitude, peak.value), default=None)
