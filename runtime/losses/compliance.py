"""Student logits → unlikelihood of the row's tokens inside the spans of what must not be said.

Welleck et al. 2020, Neural Text Generation with Unlikelihood Training (arXiv 1908.04319), with the token of a
`forbidden` span as the only negative candidate. A forbidden token is no target of any other term: a row that shows what
not to say would be a lesson in it otherwise.
"""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss
from runtime.contract.objective import Plain, odds, semantics


def value(student_NV: Any, _teacher_NV: Any, target_N: Any, _params: Plain) -> Any:
    """-log(1 - q) of the row's token in nats, by its log-odds: exact where q is nearly 1. loss_N."""
    odds_N, _, _ = odds(student_NV, target_N)
    return odds_N.logaddexp(odds_N.new_zeros(()))


def gradient(student_NV: Any, _teacher_NV: Any, target_N: Any, _params: Plain) -> tuple[Any, Any]:
    """q · ([v = token] - softmax over the other tokens)."""
    odds_N, rivals_N, rivals_NV = odds(student_NV, target_N)
    push_N1 = odds_N.sigmoid().unsqueeze(-1)
    gradient_NV = (rivals_NV - rivals_N.unsqueeze(-1)).exp() * -push_N1
    return odds_N.logaddexp(odds_N.new_zeros(())), gradient_NV.scatter(-1, target_N.unsqueeze(-1), push_N1)


LOSS = Loss(
    name="compliance",
    version=1,
    params=Plain,
    needs=frozenset(),
    mask="forbidden",
    value=value,
    gradient=gradient,
    semantics=semantics(
        formula="-log(1 - softmax(student)[token]), token one of a forbidden span",
        direction="unlikelihood of the row's token; its tokens are no target of any other term",
        mask="forbidden",
        tail="every other token of the vocabulary may take the place",
        vocabulary="the student's own",
    ),
    hurts="with long spans: most tokens of a forbidden sentence are harmless by themselves and are unlearnt with it; "
    "mark the words that matter. With a large weight the text around loses its fluency",
    source="Welleck et al., unlikelihood training (arXiv 1908.04319)",
)
