"""The state of a run → the numbers that somebody looks at while it goes on: losses, learning rate, tokens, memory, and
after a validation what it found.

Nothing here is kept: the record of the run is `runtime.train.record`, its evidence the report.
"""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from runtime.train.loop import Trainer

#: bytes of what getrusage counts in
_UNIT = 1 if sys.platform == "darwin" else 1024


def memory(device: torch.device) -> int:
    """Largest memory so far in bytes: of the process, or of its part of an accelerator."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * _UNIT


def numbers(trainer: Trainer) -> dict[str, float]:
    """After a step: `loss/<term>` in nat/token, `learning_rate`, `tokens` so far, `memory` in bytes; at a step where
    gradients were measured `gradient_share/<term>` and `loss`, the weighed sum."""
    record = trainer.record
    names = [bound.name for bound in trainer.terms]
    found = {f"loss/{name}": value for name, value in zip(names, record.tail[-1], strict=True) if value is not None}
    found |= {
        "learning_rate": float(trainer.optimizer.param_groups[0]["lr"]),
        "tokens": float(record.tokens),
        "memory": float(memory(trainer.place.device)),
    }
    point = record.points[-1] if record.points else None
    if point is not None and point.values == record.tail[-1]:
        shares = zip(names, point.shares, strict=True)
        found |= {"loss": point.total} | {f"gradient_share/{name}": one for name, one in shares if one is not None}
    return found


def validated(trainer: Trainer) -> dict[str, float]:
    """After a validation, all in nat/token: `validation/<term>`, `validation/metric` that decides, `validation/best` of
    it so far and the step of that; where a stage may end early `validation/patience_left`, how many more validations
    without a gain it bears."""
    selection, validator = trainer.record.selection, trainer.validator
    assert selection is not None
    assert validator is not None
    last, best = selection.looks[-1], selection.at(selection.best)
    assert best is not None
    values = zip(validator.terms, last.values, strict=True)
    found = {f"validation/{bound.name}": value for bound, value in values if value is not None}
    found |= {
        "validation/metric": last.metric,
        "validation/best": best.metric,
        "validation/best_step": float(best.step),
    }
    if validator.policy.patience is not None:
        found["validation/patience_left"] = float(max(0, validator.policy.patience - selection.waited))
    return found
