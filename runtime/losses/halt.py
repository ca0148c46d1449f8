"""Log-odds of the head `halt` → cross-entropy against whether the answer ends with the next token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.contract import Loss
from runtime.contract.heads import HALT
from runtime.contract.objective import Plain, cross_entropy, semantics


def value(said_N2: Any, _teacher: Any, target_N: Any, _params: Plain, *, facts: Mapping[str, Any]) -> Any:
    """-log P(what is) in nats, P(end) the logistic of the log-odds: a proper score (Gneiting and Raftery 2007), so that
    what it is trained to say is a probability."""
    return cross_entropy(said_N2, facts["ends"].to(target_N.dtype))


LOSS = Loss(
    name="halt",
    version=1,
    params=Plain,
    needs=frozenset(),
    facts=frozenset({"ends"}),
    mask="response",
    head=HALT,
    value=value,
    semantics=semantics(
        formula="-log sigmoid(h) where the answer ends with the next token, -log sigmoid(-h) elsewhere",
        direction="cross-entropy; label = whether the next token is the last of an answer",
        tail="two outcomes",
        vocabulary="none: a head of its own",
    ),
    hurts="one token of an answer ends it: beside a long one the head learns first that nothing ends. Its weight moves "
    "the trunk as well, and with it what words need of it.",
    source="a halting probability as in Graves (arXiv 1603.08983), by a label in the place of a cost of pondering",
)
