"""Dataset and tokenizer → a small real teacher: the operation `bootstrap`.

The teacher is an ordinary causal language model trained on the rows' own tokens by the same loop and the same loss path
as every student; nothing about it is special but its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime import catalog
from runtime.contract import Context, Loss
from runtime.contract.placing import chunk_tokens
from runtime.steps.bootstrap import BootstrapParams
from runtime.steps.train import Term, TrainParams
from runtime.train.distill import fit

#: the one term of a teacher
TERM = "ce_truth"


def as_training(params: BootstrapParams) -> TrainParams:
    """The teacher's params as those of a student without a teacher."""
    loss: Loss = catalog.load("losses", TERM)
    term = Term(term=TERM, version=loss.version, weight=1.0, semantics=dict(loss.semantics))
    return TrainParams(
        architecture=params.architecture,
        losses=[term],
        needs_teacher=False,
        steps=params.steps,
        batch_size=params.batch_size,
        max_length=params.max_length,
        optimizer=params.optimizer,
        checkpoint_every=params.checkpoint_every,
        threads=params.threads,
        chunk_tokens=chunk_tokens(params.device, params.architecture.vocab_size),
        device=params.device,
        precision=params.precision,
    )


def bootstrap(takes: Mapping[str, Path], params: BootstrapParams, ctx: Context) -> None:
    """Operation `bootstrap`: train the teacher and report it like any training."""
    fit(takes, as_training(params), ctx, made_by="bootstrap")
