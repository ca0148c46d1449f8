"""Log-odds of the head `self_eval` → cross-entropy against whether the answer that is being written is right.

The answer may be a wrong one: no other term learns from it. The head is asked after each token, of the answer so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.contract import Loss
from runtime.contract.conditions import JUDGED
from runtime.contract.heads import SELF_EVAL
from runtime.contract.objective import Plain, cross_entropy, semantics


def value(said_N2: Any, _teacher: Any, target_N: Any, _params: Plain, *, facts: Mapping[str, Any]) -> Any:
    """-log P(what is) in nats, P(right) the logistic of the log-odds."""
    return cross_entropy(said_N2, facts["right"].to(target_N.dtype))


LOSS = Loss(
    name="self_eval",
    version=1,
    params=Plain,
    needs=frozenset(),
    facts=frozenset({"right"}),
    mask=JUDGED,
    head=SELF_EVAL,
    value=value,
    semantics=semantics(
        formula="-log sigmoid(h) where the row's answer is right, -log sigmoid(-h) where it is wrong",
        direction="cross-entropy; label = `wanted.right` of the row",
        mask=JUDGED,
        tail="two outcomes",
        vocabulary="none: a head of its own",
    ),
    hurts="where wrong answers are of another kind than the student's own: it learns to tell the two sources apart. "
    "Rows of one verdict alone teach it to say that verdict of everything.",
    source="a model that is asked whether its answer is true (Kadavath et al., arXiv 2207.05221, P(True)), as a head",
)
