"""A teacher's logits → its K likeliest tokens and the mass of all others: what form `top_k` of a logit store holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runtime.contract.objective import Top


def likeliest(logits_NV: Tensor, k: int, temperatures: Sequence[float]) -> Top:
    """The `k` largest entries, ids ascending; of equal ones on the border the lowest ids, whatever the device.

    The mass of the others is summed over them at each temperature: one minus the sum of the `k` would be rounding alone
    where the teacher is sure, and of the mass at 1 the mass at another temperature cannot be computed.
    """
    log_NV = logits_NV.log_softmax(-1)
    least_N1 = log_NV.topk(k, dim=-1).values[:, -1:]
    above_NV, equal_NV = log_NV > least_N1, log_NV == least_N1
    taken_NV = above_NV | (equal_NV & (equal_NV.cumsum(-1) <= k - above_NV.sum(-1, keepdim=True)))
    ids_NK = taken_NV.nonzero()[:, 1].reshape(-1, k)
    others_NV = log_NV.masked_fill(taken_NV, -torch.inf)
    rest = {t: (others_NV / t).logsumexp(-1) for t in temperatures}
    return Top(ids_NK.to(torch.int32), log_NV.gather(-1, ids_NK), rest)
