"""p of several tests → what each is worth beside the others."""

from __future__ import annotations

from collections.abc import Mapping


def holm(found: Mapping[str, float]) -> dict[str, float]:
    """Name → adjusted p (Holm 1979). Calling those below alpha significant is wrong about any of them at most so often
    as alpha, however the tests depend on each other. Raises ValueError for what is no probability."""
    for name, p in found.items():
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"`{name}` has no p: {p}")
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(found, key=lambda one: (found[one], one))):
        largest = max(largest, min(1.0, (len(found) - rank) * found[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in found}
