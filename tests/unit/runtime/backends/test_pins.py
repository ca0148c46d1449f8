"""What two backends both need is one version: a teacher's signals of one and a training of the other go together."""

from __future__ import annotations

from collections import defaultdict

from runtime import catalog


def test_backends_that_share_a_distribution_pin_it_alike() -> None:
    pins: dict[str, set[str]] = defaultdict(set)
    named: dict[str, int] = defaultdict(int)
    for name in catalog.names("backends"):
        for distribution, version in catalog.load("backends", name).requires.items():
            pins[distribution].add(version)
            named[distribution] += 1
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}
    assert named["torch"] > 1
