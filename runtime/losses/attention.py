"""Attention maps of student and teacher → KL(teacher ‖ student) over the keys of each query, the mean of all heads.

The transfer of attention distributions of MiniLM (Wang et al., arXiv 2002.10957, section 3.1), there of the last
layers alone, here of declared pairs. It holds head against head, so both models must have as many; MiniLM's relations
of values, and the relations by which its second version does without equal heads (arXiv 2012.15828), are not computed.
"""

from __future__ import annotations

from typing import Any

from runtime.contract import Loss
from runtime.contract.layers import ATTENTION, Layers, Mapped
from runtime.contract.objective import semantics

#: least weight of a key whose logarithm is taken: the smallest normal number of float32
LEAST = 1.2e-38


class AttentionParams(Mapped):
    pass


def value(student_NAK: Any, teacher_NAK: Any, _target_N: Any, _params: AttentionParams) -> Any:
    """mean_a Σ_k p_k (log p_k - log q_k) in nats; keys that the query does not see have p = q = 0 and add nothing.

    q - p is added, which is 0 over all keys: so the gradient is 0, too, where the two agree.
    """
    logs = [one.clamp(min=LEAST).log() for one in (teacher_NAK, student_NAK)]
    return (teacher_NAK * (logs[0] - logs[1]) + (student_NAK - teacher_NAK)).sum(-1).mean(-1)


LOSS = Loss(
    name="attention",
    version=1,
    params=AttentionParams,
    needs=frozenset({ATTENTION}),
    mask="response",
    value=value,
    semantics=semantics(
        formula="mean_a sum_k p_ak * (log p_ak - log q_ak), p the teacher's and q the student's attention of head a "
        "to key k; mean over the pairs of layers",
        direction="forward: KL(teacher || student)",
        layers="attention of layer 1 to the last",
        heads="as many in both models, else refused",
        shift="queries at position i-1, which predict token i",
        tail="none: every key that the query sees counts, no padding, no later token, no other packed row",
        vocabulary="the teacher reads the student's ids",
    ),
    divergence=True,
    shift_invariant=False,
    layers=Layers(signal=ATTENTION),
    hurts="with long rows: both models attend eagerly, which takes time and memory with the square of their length; "
    "and a student that starts from nothing, whose heads have no order to be matched by",
    source="MiniLM (Wang et al., arXiv 2002.10957)",
)
