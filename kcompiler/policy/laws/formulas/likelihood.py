"""What texts cost: a perplexity is e to the nats per token, and a second interval is about the same mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import Data, apart, measured


def broken(data: Data, _said: Mapping[str, Any]) -> Iterator[str]:
    """Each perplexity is that of its nats; whoever is better on every text is better."""
    for name, node in data["runners"].items():
        nats, found = measured(node["nll"]), measured(node["perplexity"])
        if (nats is None) is not (found is None):
            yield f"/runners/{name}/perplexity: it is not there with its nats"
        elif nats is not None and apart(node["perplexity"]["value"], math.exp(min(700.0, node["nll"]["value"]))):
            yield f"/runners/{name}/perplexity: not e to the {node['nll']['value']!r}"
    gain, again, wins = (measured(data[name]) for name in ("kd_gain", "kd_gain_bootstrap", "kd_wins"))
    if gain is None or gain.value is None:
        return
    if again is None or again.n != gain.n or apart(data["kd_gain_bootstrap"]["value"], data["kd_gain"]["value"]):
        yield "/kd_gain_bootstrap: another mean than `kd_gain`"
    if wins is None or wins.n != gain.n:
        yield "/kd_wins: of other texts than `kd_gain`"
    elif (wins.k == 0 and gain.value > 0) or (wins.k == wins.n and gain.value <= 0):
        yield f"/kd_wins: {wins.k} texts cost less, and yet they cost {float(-gain.value)!r} more"
