"""What a spec leaves to what is measured is settled by the teacher's own numbers, at the run's own tokens, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from runtime import catalog
from runtime.contract import Refusal
from runtime.contract.signals import Likeliest
from runtime.steps.reach import ReachParams, Tried
from runtime.steps.record_signals import RecordSignalsParams
from runtime.steps.train import Term
from runtime.train.batches import Batch, Corpus
from runtime.train.distill import train
from runtime.train.likeliest import likeliest
from runtime.train.objective import Side, bind
from runtime.train.reach import reach
from runtime.train.recording import record_signals
from runtime.train.settling import mass_of, settled
from tests.tensor.losses.bench import DIVERGENCES, GIVEN, examples
from tests.tensor.train import world
from tests.tensor.train.world import Stage

VOCAB, T = 29, 2.0


class Known:
    """A teacher with drawn logits, as all of them or as its likeliest tokens."""

    def __init__(self, corpus: Corpus, scale: float, k: int | None) -> None:
        made = torch.Generator().manual_seed(3)
        self.corpus, self.k = corpus, k
        self.logits_SV = torch.randn(corpus.start[-1], VOCAB, generator=made, dtype=torch.float64) * scale

    def given(self, batch: Batch) -> Any:
        logits_NV = self.logits_SV[self.corpus.flat(batch.rows)]
        return Side(logits_NV, lambda hidden: hidden) if self.k is None else likeliest(logits_NV, self.k, [1.0, T])


def corpus() -> Corpus:
    made = examples()
    return Corpus([str(row) for row in range(len(made))], made, 32, pad_id=0)


def term(tail: str = "auto", k: int = 5) -> Term:
    loss = catalog.load("losses", "top_k_kl")
    return Term(term=loss.name, version=loss.version, weight=1.0, params={"k": k, "tail": tail, "temperature": T})


@pytest.mark.parametrize("stored", [None, 5, 9])
def test_the_mass_is_that_of_the_softened_teacher_at_the_tokens_of_the_rows_drawn(stored: int | None) -> None:
    rows = corpus()
    known, drawn = Known(rows, 2.0, stored), [1, 2, 5]
    flat = rows.flat(drawn)[rows.batch(drawn).masks_N["response"]]
    softened_NV = (known.logits_SV[flat] / T).softmax(-1).sort(descending=True).values
    mass, count = mass_of(known, rows, drawn, "response", 5, T)
    assert count == len(flat)
    assert mass == pytest.approx(float(softened_NV[:, :5].sum()) / count, rel=1e-12)


@pytest.mark.parametrize(("scale", "chosen"), [(0.5, "bucket"), (5.0, "bucket"), (4000.0, "renormalise")])
@pytest.mark.parametrize("stored", [None, 5])
def test_auto_becomes_what_the_mass_decides(scale: float, chosen: str, stored: int | None) -> None:
    rows = corpus()
    (bound,) = settled(bind([term()], of_top=stored is not None), Known(rows, scale, stored), rows, range(len(rows)))
    assert bound.params.tail == chosen
    assert bound.measured is not None
    assert (bound.measured[0] >= 0.9999) is (chosen == "renormalise")


@pytest.mark.parametrize("tail", ["bucket", "renormalise"])
def test_what_is_declared_is_not_measured(tail: str) -> None:
    rows = corpus()
    (bound,) = settled(bind([term(tail)]), Known(rows, 4000.0, None), rows, range(len(rows)))
    assert (bound.params.tail, bound.measured) == (tail, None)


def test_nothing_is_computed_before_it_is_settled() -> None:
    (bound,) = bind([term()])
    logits = torch.zeros(2, VOCAB)
    with pytest.raises(Refusal, match="not settled"):
        bound.loss.value(logits, logits, torch.zeros(2, dtype=torch.long), bound.params)
    assert [one.params.tail for one in bound.options()] == ["bucket", "renormalise"]


def _terms(of_top: bool) -> list[Term]:
    found = []
    for name in DIVERGENCES:
        loss = catalog.load("losses", name)
        if of_top and loss.top is None:
            continue
        params = GIVEN.get(name, {}) | ({"tail": "auto", "k": 8} if name == "top_k_kl" else {})
        means = loss.top.semantics if of_top else loss.semantics
        found.append(Term(term=name, version=loss.version, weight=0.1, params=params, semantics=dict(means)))
    return found


@pytest.fixture(scope="module")
def kept(taught: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    stage = Stage(tmp_path_factory.mktemp("signals"), taught)
    store = Likeliest(form="top_k", k=16)
    record_signals(taught, RecordSignalsParams(store=store, temperatures=[1.0, T], max_length=96, threads=1), stage)
    return stage.root / "signals"


@pytest.mark.parametrize("of_top", [False, True])
def test_every_divergence_is_tried_trains_and_falls_and_the_report_says_what_was_settled(
    of_top: bool, taught: dict[str, Path], kept: Path, tmp_path: Path
) -> None:
    losses = _terms(of_top)
    tried = [Tried(term=one.term, version=one.version, params=one.params, semantics=one.semantics) for one in losses]
    stage = Stage(tmp_path / "reach", taught)
    shape = world.architecture()
    reach(taught, ReachParams(architecture=shape, terms=tried, of_top=of_top, max_length=96, threads=1), stage)
    # what may come out in two ways is tried in both
    assert set(stage.reports["report"]["data"]["terms"]) == {*(one.term for one in losses), "top_k_kl-2"}
    takes = {"dataset": taught["dataset"], "tokenizer": taught["tokenizer"]}
    takes |= {"signals": kept} if of_top else {"teacher": taught["teacher"]}
    stage = Stage(tmp_path / "train", takes)
    form = "top_k" if of_top else None
    train(takes, world.params(losses=losses, needs_teacher=not of_top, signals=form, steps=12), stage)
    terms = stage.reports["report"]["data"]["terms"]
    for one in losses:
        assert terms[one.term]["final"]["value"] < terms[one.term]["first"]["value"], one.term
    said = terms["top_k_kl"]
    assert said["settings"]["tail"] == said["settled"]["chosen"] == "bucket"
    assert (said["settled"]["parameter"], said["settled"]["asked"]) == ("tail", "auto")
    assert 0.1 < said["settled"]["mass"]["value"] < 0.9999
    assert [name for name in terms if "settled" in terms[name]] == ["top_k_kl"]
