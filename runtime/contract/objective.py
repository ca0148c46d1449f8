"""What losses share: the log-probability of a token, the divergence of two distributions, and the words for both.

Written with the methods of the tensors that come in, so that no tensor library is imported. N runs over supervised
tokens, V over the vocabulary; everything is in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit


class Plain(Params):
    """Nothing to choose."""


class Softened(Params):
    temperature: float = Field(
        default=2.0,
        ge=0.01,
        le=100,
        description="Divides both logits before the softmax.",
        examples=[2.0],
        json_schema_extra=unit("1"),
    )


def cross_entropy(student_NV: Any, target_N: Any) -> Any:
    """-log q of each target, loss_N."""
    return -student_NV.log_softmax(-1).gather(-1, target_N.unsqueeze(-1)).squeeze(-1)


def divergence(first_NV: Any, second_NV: Any, temperature: float) -> Any:
    """T² · KL(first ‖ second) of two log-probabilities softened by T, loss_N.

    The factor T² keeps the size of the gradient while T changes (Hinton, Vinyals and Dean, arXiv 1503.02531, 2.1).
    Where `first` is impossible (-inf) it adds nothing, whatever `second` says: 0 · log 0 is 0.
    """
    difference_NV = (first_NV - second_NV).masked_fill(first_NV.isinf(), 0.0)
    return (first_NV.exp() * difference_NV).sum(-1) * temperature**2


def softened(logits_NV: Any, temperature: float) -> Any:
    """Log-probabilities of logits / T."""
    return (logits_NV if temperature == 1.0 else logits_NV / temperature).log_softmax(-1)


def cross_entropy_gradient(student_NV: Any, target_N: Any) -> tuple[Any, Any]:
    """`cross_entropy` and its gradient with respect to the logits, q - [v = target]."""
    log_q_NV, at_N1 = student_NV.log_softmax(-1), target_N.unsqueeze(-1)
    loss_N = -log_q_NV.gather(-1, at_N1).squeeze(-1)
    gradient_NV = log_q_NV.exp_()
    return loss_N, gradient_NV.scatter_add_(-1, at_N1, gradient_NV.new_full(at_N1.shape, -1.0))


def odds(student_NV: Any, target_N: Any) -> tuple[Any, Any, Any]:
    """Log-odds of each target against all other tokens; their log-sum-exp; the logits without the target's. In nats."""
    at_N1 = target_N.unsqueeze(-1)
    rivals_NV = student_NV.scatter(-1, at_N1, float("-inf"))
    rivals_N = rivals_NV.logsumexp(-1)
    return student_NV.gather(-1, at_N1).squeeze(-1) - rivals_N, rivals_N, rivals_NV


def _still(difference_NV: Any, weight_NV: Any) -> None:
    """In place: nothing where the weight is 0. On the CPU a look saves a pass; a card would have to be waited for."""
    nothing_NV = weight_NV == 0.0
    if nothing_NV.device.type != "cpu" or bool(nothing_NV.any()):
        difference_NV.masked_fill_(nothing_NV, 0.0)


def forward_gradient(student_NV: Any, teacher_NV: Any, temperature: float) -> tuple[Any, Any]:
    """T² · KL(p ‖ q) of two logits softened by T, p the teacher's, and its gradient with respect to the student's:
    T · (q - p). Where p is 0 nothing is added, whatever q is."""
    log_p_NV, log_q_NV = softened(teacher_NV, temperature), softened(student_NV, temperature)
    p_NV = log_p_NV.exp()
    difference_NV = log_p_NV.sub_(log_q_NV)
    _still(difference_NV, p_NV)
    loss_N = difference_NV.mul_(p_NV).sum(-1) * temperature**2
    return loss_N, log_q_NV.exp_().sub_(p_NV).mul_(temperature)


def reverse_gradient(student_NV: Any, teacher_NV: Any, temperature: float) -> tuple[Any, Any]:
    """T² · KL(q ‖ p) of two logits softened by T, q the student's, and its gradient with respect to the student's:
    T · q · (log q - log p - KL(q ‖ p)). Where q is 0 nothing is added, whatever p is."""
    log_p_NV, log_q_NV = softened(teacher_NV, temperature), softened(student_NV, temperature)
    q_NV = log_q_NV.exp()
    difference_NV = log_q_NV.sub_(log_p_NV)
    _still(difference_NV, q_NV)
    apart_N = (difference_NV * q_NV).sum(-1)
    gradient_NV = difference_NV.sub_(apart_N.unsqueeze(-1)).mul_(q_NV)
    return apart_N * temperature**2, gradient_NV.mul_(temperature)


@dataclass(frozen=True, slots=True)
class Top:
    """What is known of a teacher at N tokens: its K likeliest entries, ids ascending, and the mass of all others.

    `log_NK` are log-probabilities at temperature 1. `rest` maps a temperature T to log Σ p^(1/T) over all other
    entries; -inf where there are none.
    """

    ids_NK: Any
    log_NK: Any
    rest: Mapping[float, Any]

    def __getitem__(self, piece: Any) -> Top:
        return Top(self.ids_NK[piece], self.log_NK[piece], {t: rest_N[piece] for t, rest_N in self.rest.items()})

    def to(self, device: Any) -> Top:
        """The same on another device."""
        rest = {t: rest_N.to(device) for t, rest_N in self.rest.items()}
        return Top(self.ids_NK.to(device), self.log_NK.to(device), rest)

    def softened(self, temperature: float) -> tuple[Any, Any]:
        """(log p_NK, log p_N of all others together) at a temperature; they add up to 1."""
        log_NK, rest_N = self.log_NK / temperature, self.rest[temperature]
        whole_N = log_NK.logsumexp(-1).logaddexp(rest_N)
        return log_NK - whole_N.unsqueeze(-1), rest_N - whole_N


def buckets(student_NV: Any, top: Top, temperature: float) -> tuple[Any, Any, Any, Any]:
    """(ids_NK, log q_NV, log q_NK, log q_N of all other entries together), softened. The last is a sum over them, not
    one minus the rest: that would be rounding alone where the student is sure."""
    ids_NK, log_q_NV = top.ids_NK.long(), softened(student_NV, temperature)
    rest_N = log_q_NV.scatter(-1, ids_NK, float("-inf")).logsumexp(-1)
    return ids_NK, log_q_NV, log_q_NV.gather(-1, ids_NK), rest_N


def _apart(first: Any, second: Any) -> Any:
    """first - second, and 0 where the first is impossible: it adds nothing, whatever the second says."""
    none = first.isinf() & (first < 0)
    return first.masked_fill(none, 0.0) - second.masked_fill(none, 0.0)


def forward_of_top(student_NV: Any, top: Top, temperature: float) -> Any:
    """T² · KL(p ‖ q) over K + 1 outcomes: each of the teacher's likeliest tokens, and any other. loss_N.

    Never more than over all V (log-sum inequality, Cover and Thomas, theorem 2.7.1), and as much where the student
    shares the mass of the others out as the teacher does."""
    _, _, log_q_NK, rest_q_N = buckets(student_NV, top, temperature)
    log_p_NK, rest_p_N = top.softened(temperature)
    inside_N = (log_p_NK.exp() * _apart(log_p_NK, log_q_NK)).sum(-1)
    return (inside_N + rest_p_N.exp() * _apart(rest_p_N, rest_q_N)) * temperature**2


def reverse_of_top(student_NV: Any, top: Top, temperature: float) -> Any:
    """T² · KL(q ‖ p) over the same K + 1 outcomes; a lower bound of it over all V as well. loss_N."""
    _, _, log_q_NK, rest_q_N = buckets(student_NV, top, temperature)
    log_p_NK, rest_p_N = top.softened(temperature)
    inside_N = (log_q_NK.exp() * _apart(log_q_NK, log_p_NK)).sum(-1)
    return (inside_N + rest_q_N.exp() * _apart(rest_q_N, rest_p_N)) * temperature**2


def forward_of_top_gradient(student_NV: Any, top: Top, temperature: float) -> tuple[Any, Any]:
    """`forward_of_top` and its gradient: T · (q - p) at the teacher's likeliest tokens, and at any other
    T · q · (1 - P / Q), P and Q the mass of all others: as a whole they go up or down."""
    ids_NK, log_q_NV, log_q_NK, rest_q_N = buckets(student_NV, top, temperature)
    log_p_NK, rest_p_N = top.softened(temperature)
    p_NK = log_p_NK.exp()
    loss_N = (p_NK * _apart(log_p_NK, log_q_NK)).sum(-1) + rest_p_N.exp() * _apart(rest_p_N, rest_q_N)
    # q · P / Q in logarithms: P / Q alone may be larger than any number
    more_N1 = (rest_p_N - rest_q_N).masked_fill(rest_p_N.isinf(), float("-inf")).unsqueeze(-1)
    q_NV = log_q_NV.exp()
    gradient_NV = q_NV - log_q_NV.add_(more_N1).exp_()
    gradient_NV.scatter_(-1, ids_NK, log_q_NK.exp() - p_NK)
    return loss_N * temperature**2, gradient_NV.mul_(temperature)


def reverse_of_top_gradient(student_NV: Any, top: Top, temperature: float) -> tuple[Any, Any]:
    """`reverse_of_top` and its gradient, T · q · (log q - log p - KL), where log q - log p of any other token is that
    of all others together."""
    ids_NK, log_q_NV, log_q_NK, rest_q_N = buckets(student_NV, top, temperature)
    log_p_NK, rest_p_N = top.softened(temperature)
    q_NK, apart_NK, apart_N = log_q_NK.exp(), _apart(log_q_NK, log_p_NK), _apart(rest_q_N, rest_p_N)
    loss_N = (q_NK * apart_NK).sum(-1) + rest_q_N.exp() * apart_N
    gradient_NV = log_q_NV.exp_().mul_((apart_N - loss_N).unsqueeze(-1))
    gradient_NV.scatter_(-1, ids_NK, q_NK * (apart_NK - loss_N.unsqueeze(-1)))
    return loss_N * temperature**2, gradient_NV.mul_(temperature)


def semantics(**own: str | bool) -> Mapping[str, str | bool]:
    """The choices of a loss, for the lock: those that all losses make alike, and its own."""
    return {
        "temperature": "none",
        "temperature_squared": False,
        "mask": "response",
        "shift": "logits at position i-1 predict token i",
        "denominator": "supervised tokens of this term in the whole optimiser batch",
        "tail": "none: every entry of the vocabulary counts",
        "unit": "nat/token",
        **own,
    }


#: of a term against the tokens of a dataset row
OF_THE_ROW = {
    "formula": "-log softmax(student)[token]",
    "direction": "cross-entropy; label = token of the dataset row",
    "vocabulary": "student width equals the tokenizer's size, else refused",
}

#: of a divergence from a teacher of which the likeliest tokens and the mass of all others are known
OF_TOP = {
    "tail": "one bucket: all other entries of the vocabulary are one outcome, on both sides, by the mass that is "
    "stored for each temperature",
    "bound": "never more than over the whole vocabulary, and as much where student and teacher agree on the shares "
    "within the bucket, of which nothing is learnt",
    "vocabulary": "equal widths, else refused",
}
