"""Terms over layers: the path that trains computes what the oracle defines, trains what it prints, and each known way to
spoil that is caught by the check that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from runtime import catalog
from runtime.contract import Loss, Refusal
from runtime.contract.layers import Pair
from runtime.data.encode import Example
from runtime.models import build
from runtime.steps.train import Term
from runtime.train import layers, matching, objective, onepass
from runtime.train.batches import Corpus
from runtime.train.matching import Matched, Matching
from runtime.train.objective import Bound
from runtime.train.teaching import gathered, head_of
from tests.tensor.losses import layer_oracle as oracle
from tests.tensor.losses.bench import examples, model, nudged
from tests.tensor.losses.test_mutants import mutate_losses

Patch = pytest.MonkeyPatch
NAMES = tuple(oracle.CASES)
PAIRS = [(1, 2), (2, 3)]
#: the last layer of each model is normalised
LAST = [(2, 4)]


def rows() -> list[Example]:
    """As other terms have them, with a mask that is no part of the response: of all that is supervised a term over layers
    reads its own."""
    found = []
    for one in examples():
        begin = one.masks["response"].index(True)
        found.append(Example(one.ids, {**one.masks, "clause": [0 < i < begin for i in range(len(one.ids))]}))
    return found


class Layered:
    """A student of two layers and a teacher of four, whose states are wider where their heads are not compared."""

    def __init__(
        self, case: str, pairs: list[tuple[int, int]] = PAIRS, dtype: torch.dtype = torch.float64, width: int = 24
    ) -> None:
        self.name, given, self.distance = oracle.CASES[case]
        self.pairs, self.dtype = pairs, dtype
        self.student, self.teacher = model(16, 2, 1, dtype), model(width, 4, 2, dtype)
        if self.name == "attention":
            for one in (self.student, self.teacher):
                build.attend(one, "eager")
        self.rows = rows()
        self.corpus = Corpus([str(row) for row in range(len(self.rows))], self.rows, 32, pad_id=0)
        params = {**given, "layers": [{"student": s, "teacher": t} for s, t in pairs]}
        self.bound: Bound = objective.bind([Term(term=self.name, version=1, weight=1.0, params=params)])[0]
        shapes = layers.shape_of(self.student), layers.shape_of(self.teacher)
        self.matching = Matching([self.bound], *shapes, seed=5).to(dtype)
        layers.listen(self.student, self.matching.student)
        layers.listen(self.teacher, self.matching.teacher)

    def batch(self) -> tuple[Tensor, onepass.Batch]:
        batch = self.corpus.batch(range(len(self.rows)))
        hidden_NH, student = gathered(self.student, batch.groups, wanted=self.matching.student)
        _, teacher = gathered(self.teacher, batch.groups, wanted=self.matching.teacher)
        matched = Matched(self.matching, student, teacher)
        totals = objective.totals(batch.masks_N)
        return hidden_NH, onepass.Batch(None, batch.target_N, batch.masks_N, totals, matched=matched)

    def path(self) -> Tensor:
        """The value, exactly as the training loop computes it."""
        hidden_NH, read = self.batch()
        head = head_of(self.student, torch.tensor([self.rows[0].ids]), "student")
        whole, values_K = onepass.total(hidden_NH, head, read, [self.bound], [1.0], 7)
        assert float(whole.detach()) == pytest.approx(float(values_K), rel=1e-6)
        assert float(onepass.values(hidden_NH, head, read, [self.bound], 7)) == pytest.approx(float(values_K), rel=1e-6)
        return whole

    def _inside(self, of: PreTrainedModel) -> list[dict[int, oracle.Array]]:
        """By Transformers' own outputs, row by row."""
        found = []
        for one in self.rows:
            with torch.no_grad():
                said = of(
                    input_ids=torch.tensor([one.ids]),
                    use_cache=False,
                    output_hidden_states=True,
                    output_attentions=self.name == "attention",
                )
            if self.name == "hidden":
                found.append({layer: state[0].double().numpy() for layer, state in enumerate(said.hidden_states)})
            else:
                maps = enumerate(said.attentions, 1)
                found.append({layer: one[0].transpose(0, 1).double().numpy() for layer, one in maps})
        return found

    def truth(self) -> float:
        masks = [one.masks["response"] for one in self.rows]
        given = {pair: self.matching.projections.get(f"hidden-{pair[0]}-{pair[1]}") for pair in self.pairs}
        matrices = {pair: one.detach().double().numpy() for pair, one in given.items() if one is not None} or None
        return oracle.term(
            self.distance, self._inside(self.student), self._inside(self.teacher), self.pairs, masks, matrices
        )


def check_value(case: str, pairs: list[tuple[int, int]] = PAIRS, width: int = 24) -> None:
    bench = Layered(case, pairs, width=width)
    # Transformers' eager softmax is in float32 whatever the weights are
    near = 1e-6 if case == "attention" else 1e-9
    assert float(bench.path().detach()) == pytest.approx(bench.truth(), rel=near), case


def check_layer() -> None:
    """Pair (s, t) holds what layer s of the student has against layer t of the teacher."""
    for case in ("mse", "attention"):
        # without a matrix, which is of its pair
        check_value(case, width=16)
    check_value("cosine", [(0, 0), (2, 4)])


def check_roles() -> None:
    for case in ("relative", "attention"):
        check_value(case)


def check_mask() -> None:
    check_value("mse")


def check_denominator() -> None:
    check_value("mse")
    check_value("attention")


def check_shift() -> None:
    check_value("mse")


def check_pairs() -> None:
    """The mean over pairs, not their sum: a term does not weigh more because it names more layers."""
    check_value("mse")


def check_teacher_is_constant() -> None:
    for case in NAMES:
        bench = Layered(case)
        bench.path().backward()
        assert all(parameter.grad is None for parameter in bench.teacher.parameters())
        assert any(parameter.grad is not None for parameter in bench.student.parameters())


def check_gradient(case: str) -> None:
    """What autograd gives is the slope of the oracle's value, along a direction of all weights and matrices."""
    bench = Layered(case)
    parameters = [*bench.student.parameters(), *bench.matching.parameters()]
    made = torch.Generator().manual_seed(11)
    direction = [torch.randn(p.shape, generator=made, dtype=p.dtype) * p.detach().std() for p in parameters]
    gradients = torch.autograd.grad(bench.path(), parameters, allow_unused=True)
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True) if g is not None)
    whole = torch.nn.ModuleList([bench.student, bench.matching])
    # Transformers normalises in float32 whatever the weights are, so that a smaller step would measure its rounding
    step, found = 1e-3, []
    for by in (step, -step):
        with nudged(whole, direction, by):
            found.append(bench.truth())
    assert abs(slope) > 1e-3, "the direction is flat, so that the check could not fail"
    assert slope == pytest.approx((found[0] - found[1]) / (2 * step), rel=2e-3)


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("pairs", [PAIRS, LAST, [(1, 1)]], ids=str)
def test_value_is_the_oracles(case: str, pairs: list[tuple[int, int]]) -> None:
    check_value(case, pairs)


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=str)
def test_a_token_is_what_the_formula_says(case: str, dtype: torch.dtype, near: float) -> None:
    """Of numbers that no model has rounded before."""
    name, given, distance = oracle.CASES[case]
    loss, made = catalog.load("losses", name), torch.Generator().manual_seed(1)
    shape = (5, 3, 7) if name == "attention" else (5, 9)
    sides = [torch.randn(shape, generator=made, dtype=torch.float64) for _ in range(2)]
    if name == "attention":
        # a third of the keys is seen by nobody
        sides = [one.masked_fill(torch.arange(7) > 4, -torch.inf).softmax(-1) for one in sides]
    found_N = loss.value(*(one.to(dtype) for one in sides), None, loss.params.model_validate(given))
    truth = [distance(*(one[token].numpy() for one in sides)) for token in range(5)]
    assert found_N.tolist() == pytest.approx(truth, rel=near)


@pytest.mark.parametrize("case", NAMES)
def test_gradient_is_the_slope_of_the_oracle(case: str) -> None:
    check_gradient(case)


@pytest.mark.parametrize("case", NAMES)
def test_float32_agrees_to_rounding(case: str) -> None:
    bench = Layered(case, dtype=torch.float32)
    assert float(bench.path().detach()) == pytest.approx(bench.truth(), rel=1e-5)


def test_teacher_gets_no_gradient() -> None:
    check_teacher_is_constant()


def test_of_equal_widths_there_is_no_matrix() -> None:
    bench = Layered("mse", width=16)
    assert list(bench.matching.parameters()) == []
    assert float(bench.path().detach()) == pytest.approx(bench.truth(), rel=1e-9)
    assert {tuple(one.shape) for one in Layered("mse").matching.parameters()} == {(24, 16)}


@pytest.mark.parametrize("case", NAMES)
def test_a_student_that_is_its_teacher_has_nothing_to_learn(case: str) -> None:
    bench = Layered(case, [(1, 1), (2, 2)], width=16)
    bench.teacher = bench.student
    layers.listen(bench.student, bench.matching.teacher)
    value = bench.path()
    value.backward()
    assert abs(float(value.detach())) < 1e-12
    assert all(float(p.grad.abs().max()) < 1e-7 for p in bench.student.parameters() if p.grad is not None)


def test_a_query_sees_no_padding_and_no_later_token() -> None:
    bench = Layered("attention")
    batch = bench.corpus.batch(range(len(bench.rows)))
    _, read = gathered(bench.student, batch.groups, wanted=bench.matching.student)
    at = torch.cat([bench.corpus.before(row) for row in batch.rows])
    for maps_NAK in read.attention.values():
        assert maps_NAK.shape[1:] == (4, max(len(one.ids) for one in bench.rows))
        later_NK = torch.arange(maps_NAK.shape[-1])[None] > at[:, None]
        assert bool(later_NK.any())
        assert bool((maps_NAK.masked_select(later_NK[:, None].expand_as(maps_NAK)) == 0).all())
        assert bool(maps_NAK.masked_select(~later_NK[:, None].expand_as(maps_NAK)).gt(0).all())
        torch.testing.assert_close(maps_NAK.sum(-1), torch.ones(maps_NAK.shape[:2], dtype=maps_NAK.dtype))


def test_heads_that_differ_and_layers_that_are_not_there_are_refused() -> None:
    bench = Layered("attention")
    mine, theirs = layers.shape_of(bench.student), layers.shape_of(bench.teacher)
    for shape, words in (
        (replace(theirs, heads=8), "attends by 4 heads, the teacher by 8"),
        (replace(theirs, layers=2, windows=(None, None)), "layer 3 of the teacher is named, which has 1 to 2"),
        (replace(theirs, windows=(None, 5, None, None)), "the whole text, layer 2 of the teacher to a window of 5"),
    ):
        with pytest.raises(Refusal, match=words):
            Matching([bench.bound], mine, shape, 1)


def pair_off_by_one(patch: Patch) -> None:
    def change(loss: Loss) -> Loss:
        if loss.layers is None:
            return loss
        whole = loss.layers.pairs

        def off(params: Any, student: int, teacher: int) -> list[Pair]:
            found = whole(params, student, teacher)
            return [Pair(student=one.student, teacher=one.teacher - 1) for one in found]

        return replace(loss, layers=replace(loss.layers, pairs=off))

    mutate_losses(patch, change)


def layer_off_by_one(patch: Patch) -> None:
    """What a layer is given is taken for what it gives."""
    whole = layers.layers_of
    patch.setattr(layers, "layers_of", lambda model: [whole(model)[0], *whole(model)[:-1]])


def roles_transposed(patch: Patch) -> None:
    mutate_losses(
        patch,
        lambda loss: loss if loss.layers is None else replace(loss, value=lambda s, t, y, p: loss.value(t, s, y, p)),
    )


def mask_dropped(patch: Patch) -> None:
    value = matching.value
    patch.setattr(matching, "value", lambda bound, matched, target_N, _pick: value(bound, matched, target_N, None))


def denominator_of_all(patch: Patch) -> None:
    totals = objective.totals
    patch.setattr(
        objective,
        "totals",
        lambda masks: (
            dict.fromkeys(masks, max(map(len, masks.values()), default=0))
            | {name: count for name, count in totals(masks).items() if name != "response"}
        ),
    )


def shift_forgotten(patch: Patch) -> None:
    taken = layers.taken
    patch.setattr(layers, "taken", lambda met, hidden, places, *rest: taken(met, hidden, places + 1, *rest))


def pairs_added_up(patch: Patch) -> None:
    value = matching.value
    patch.setattr(
        matching,
        "value",
        lambda bound, matched, *rest: value(bound, matched, *rest) * len(matched.matching.pairs[bound.name]),
    )


def teacher_learns(patch: Patch) -> None:
    patch.setattr(matching, "constant", lambda taught: taught)


def student_is_constant(patch: Patch) -> None:
    """The matrix alone is trained."""
    projected = Matching.projected
    patch.setattr(Matching, "projected", lambda self, name, pair, states: projected(self, name, pair, states.detach()))


CAUGHT_BY: list[tuple[Callable[[Patch], None], Callable[[], None]]] = [
    (pair_off_by_one, check_layer),
    (layer_off_by_one, check_layer),
    (roles_transposed, check_roles),
    (mask_dropped, check_mask),
    (denominator_of_all, check_denominator),
    (shift_forgotten, check_shift),
    (pairs_added_up, check_pairs),
    (teacher_learns, check_teacher_is_constant),
    (student_is_constant, lambda: check_gradient("mse")),
]


@pytest.mark.parametrize(("mutant", "check"), CAUGHT_BY, ids=[mutant.__name__ for mutant, _ in CAUGHT_BY])
def test_mutant_is_caught(
    mutant: Callable[[Patch], None], check: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check()
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check()


def test_the_loss_is_found_by_its_name() -> None:
    assert {name for name in catalog.names("losses") if catalog.load("losses", name).layers} >= {"hidden", "attention"}
