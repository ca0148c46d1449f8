"""What a spec leaves to what is measured of the teacher → settled before the first step, with the number that decided.

A rule for the tokens beside a teacher's likeliest is right or wrong by how much mass is beside them (`top_k_kl`), which
nobody knows before the teacher is asked; so it is asked at the run's own tokens, and what was chosen stands in the
report with what was measured.

Letters: N supervised tokens of a row, V vocabulary, K likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from runtime.contract.objective import Top
from runtime.train.batches import Corpus
from runtime.train.objective import Bound
from runtime.train.teaching import Taught

#: supervised tokens at which it is measured, of whole rows, evenly spaced among those drawn
MEASURED = 2048


def mass_of(
    known: Taught, corpus: Corpus, drawn: Sequence[int], mask: str, k: int, temperature: float
) -> tuple[float, int]:
    """Mean mass of the teacher's `k` likeliest tokens, softened, at the rows' tokens of a mask, and of how many."""
    total = sum(corpus.supervised(mask, row) for row in drawn)
    mass, count = 0.0, 0
    for row in drawn[:: max(1, total // MEASURED)]:
        batch = corpus.batch([row])
        at = batch.masks_N[mask].nonzero().squeeze(-1)
        if not len(at):
            continue
        with torch.no_grad():
            said = known.given(batch)
            if isinstance(said, Top):
                log_NK = said[at.to(said.log_NK.device)].softened(temperature)[0]
            else:
                log_NK = (said.head(said.hidden_NH[at.to(said.hidden_NH.device)]) / temperature).log_softmax(-1)
            mass += float(log_NK.topk(min(k, log_NK.shape[-1]), -1).values.double().exp().sum())
        count += len(at)
    return min(1.0, mass / max(count, 1)), count


def settled(terms: Sequence[Bound], known: Taught | None, corpus: Corpus, drawn: Sequence[int]) -> list[Bound]:
    """The terms, each with parameters that leave nothing open."""
    found: list[Bound] = []
    for bound in terms:
        rule = bound.loss.settled
        if rule is None or known is None or len(rule.may_become(bound.params)) < 2:
            found.append(bound)
            continue
        k, temperature = rule.tokens(bound.params), rule.temperature(bound.params)
        mass, count = mass_of(known, corpus, drawn, bound.loss.mask, k, temperature)
        found.append(replace(bound, params=rule.choose(bound.params, mass), measured=(mass, count)))
    return found
