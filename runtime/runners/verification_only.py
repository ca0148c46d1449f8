"""Says what each row wants to hear. It shows that a suite gives gold full marks, and forges: no gate passes on it."""

from __future__ import annotations

from runtime.contract import Params, RunnerKind


class NoParams(Params):
    """Nothing to set."""


RUNNER = RunnerKind(
    name="verification_only",
    version=1,
    params=NoParams,
    opens="runtime.asking.truth:opened",
    can=frozenset({"generate", "say"}),
    backend="python",
    forges=True,
)
