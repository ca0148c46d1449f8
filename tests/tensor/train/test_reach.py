"""The step `reach`: every shipped loss passes, and every wrong one is named before anything is trained."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from runtime import catalog
from runtime.contract import Loss, Params, Refusal
from runtime.models import build
from runtime.models import tokenizer as tokenizers
from runtime.steps.reach import ReachParams, Tried
from runtime.steps.train import Term
from runtime.train import objective, onepass, promises, reach
from runtime.train.objective import Bound
from tests.tensor.losses.test_mutants import mutate_losses
from tests.tensor.train import world
from tests.tensor.train.world import Stage

NAMES = catalog.names("losses")
WIDTH = 40


def params(*names: str, **changes: Any) -> ReachParams:
    terms = [
        Tried(term=name, version=catalog.load("losses", name).version, semantics=dict(catalog.load("losses", name).semantics))
        for name in names
    ]  # fmt: skip
    values: dict[str, Any] = {"architecture": world.architecture(), "terms": terms, "max_length": 96, "threads": 1}
    return ReachParams(**(values | changes))


def run(root: Path, base: dict[str, Path], asked: ReachParams) -> dict[str, Any]:
    stage = Stage(root, base)
    reach.reach(base, asked, stage)
    return dict(stage.reports["report"]["data"])


def bound(loss: Loss, **given: Any) -> Bound:
    return Bound(Term(term=loss.name, version=loss.version, weight=1.0), loss, loss.params(**given))


@pytest.mark.parametrize("width", [2, 40, 1000])
@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_loss_keeps_what_it_promises(name: str, width: int) -> None:
    loss = catalog.load("losses", name)
    cold = [{"temperature": value} for value in (0.05, 1.0, 100.0)] if "temperature" in loss.params.model_fields else []
    for given in [{}, *cold]:
        findings = promises.tried(bound(loss, **given), width)
        assert [one for one in findings if not one.passed] == [], given
        checks = [one.check for one in findings]
        assert checks[:6] == ["inputs", "settings", "finite", "gradient", "value", "derivative"]
        assert ("agreement" in checks) == loss.divergence
        assert ("shift" in checks) == (loss.layers is None)


@pytest.mark.parametrize("name", [name for name in NAMES if catalog.load("losses", name).top is not None])
def test_it_does_so_of_the_likeliest_tokens_alone(name: str, base: dict[str, Path], tmp_path: Path) -> None:
    def of_top(loss: Loss) -> Bound:
        return replace(bound(loss), of_top=True)

    loss = catalog.load("losses", name)
    assert [one for one in promises.tried(of_top(loss), WIDTH) if not one.passed] == []
    right = loss.top.gradient
    wrong = replace(loss, top=replace(loss.top, gradient=lambda *given: (lambda v, g: (v, g / 2))(*right(*given))))
    assert [one.check for one in promises.tried(of_top(wrong), WIDTH) if not one.passed] == ["derivative"]
    assert [one for one in promises.tried(bound(wrong), WIDTH) if not one.passed] == []
    term = params(name).terms[0].model_copy(update={"semantics": dict(loss.top.semantics)})
    assert (
        run(tmp_path, base, params(terms=[term], of_top=True))["terms"][name]["checks"][-1]["passed"]["value"] is True
    )


def test_the_report_says_what_each_term_reaches(base: dict[str, Path], tmp_path: Path) -> None:
    # what the rows here have; and not every tensor has a part in what layers below the last hold
    losses = {name: catalog.load("losses", name) for name in NAMES}
    spans = ("response", "tool_name", "json_args")
    names = [name for name, one in losses.items() if one.mask in spans and one.layers is None and not one.head]
    data = run(tmp_path, base, params(*names))
    assert sorted(data["terms"]) == sorted(names)
    student = build.build(world.architecture(), 7)
    tensors = len(list(student.parameters()))
    for told in data["terms"].values():
        assert all(one["passed"]["value"] is True for one in told["checks"])
        assert told["checks"][-1]["check"] == "reaches"
        assert (told["tensors_reached"]["k"], told["tensors_reached"]["n"]) == (tensors, tensors)
        assert told["gradient_norm"]["value"] > 0
    assert data["rows"]["value"] >= 2


def test_a_term_reaches_the_trunk_and_the_head_that_it_trains(base: dict[str, Path], tmp_path: Path) -> None:
    data = run(tmp_path, base, params("halt", "ce_truth"))
    student = build.build(world.architecture(), 7)
    tensors = len(list(student.parameters()))
    assert data["terms"]["halt"]["tensors_reached"]["k"] == tensors + 2 - (not student.config.tie_word_embeddings)
    # a head that no term of words could reach is none of theirs
    assert (
        data["terms"]["ce_truth"]["tensors_reached"]["k"]
        == data["terms"]["ce_truth"]["tensors_reached"]["n"]
        == tensors
    )


def test_a_head_that_its_term_does_not_reach_is_told(base: dict[str, Path], tmp_path: Path) -> None:
    """The trunk learns, and the head stays as chance made it."""
    real = onepass._of_head

    def still(term: Bound, hidden_NH: Tensor, batch: onepass.Batch, pick_N: Tensor | None) -> Tensor:
        head = copy.deepcopy(batch.heads[term.loss.head]).requires_grad_(False)
        return real(term, hidden_NH, replace(batch, heads={term.loss.head: head}), pick_N)

    wrong = pytest.raises(Refusal, match=r"loss `halt` does not reach every parameter.*heads\.halt\.weight")
    with patch.object(onepass, "_of_head", still), wrong:
        run(tmp_path, base, params("halt"))


def test_the_same_term_with_other_parameters_is_tried_again(base: dict[str, Path], tmp_path: Path) -> None:
    one = params("kl").terms[0]
    terms = [one, one.model_copy(update={"params": {"temperature": 5.0}})]
    data = run(tmp_path, base, params(terms=terms))
    assert sorted(data["terms"]) == ["kl", "kl-2"]
    assert data["terms"]["kl"]["gradient_norm"] != data["terms"]["kl-2"]["gradient_norm"]


def test_weights_of_somebody_else_are_tried_as_they_are(taught: dict[str, Path], tmp_path: Path) -> None:
    takes = {"dataset": taught["dataset"], "tokenizer": taught["tokenizer"], "from": taught["teacher"]}
    data = run(tmp_path, takes, params("ce_truth", architecture=None))
    assert data["terms"]["ce_truth"]["tensors_reached"]["n"] == len(list(build.load(taught["teacher"]).parameters()))


def value_of(loss: Loss, change: Callable[[Tensor], Tensor]) -> Loss:
    return replace(loss, gradient=None, value=lambda s, t, y, p: change(loss.value(s, t, y, p)))


def closed(loss: Loss, change: Callable[[Tensor], Tensor]) -> Loss:
    whole = loss.gradient
    assert whole is not None
    return replace(loss, gradient=lambda *given: (lambda v, g: (v, change(g)))(*whole(*given)))


def detached(loss: Loss) -> Loss:
    return value_of(loss, lambda loss_N: loss_N.detach())


def constant(loss: Loss) -> Loss:
    return value_of(loss, lambda loss_N: loss_N * 0.0 + 1.0)


def of_the_teacher(loss: Loss) -> Loss:
    """The gradient goes to the teacher: the student's side is held constant."""
    return replace(loss, gradient=None, value=lambda s, t, y, p: loss.value(s.detach(), t.requires_grad_(), y, p))


def without_t(loss: Loss) -> Loss:
    return closed(loss, lambda gradient: gradient / 2.0)


def turned(loss: Loss) -> Loss:
    return closed(loss, lambda gradient: -gradient)


def half_silent(loss: Loss) -> Loss:
    """Right at the first entries of the vocabulary, zero at the others."""
    return closed(loss, lambda gradient: gradient.masked_fill(torch.arange(gradient.shape[-1]) > 20, 0.0))


def other_value(loss: Loss) -> Loss:
    whole = loss.gradient
    assert whole is not None
    return replace(loss, gradient=lambda *given: (lambda v, g: (v * 1.01, g))(*whole(*given)))


def log_of_softmax(loss: Loss) -> Loss:
    """Finite for small logits alone."""

    def value(student: Tensor, teacher: Tensor, _target: Tensor, given: Any) -> Tensor:
        p, q = ((one / given.temperature).softmax(-1) for one in (teacher, student))
        return (p * (p / q).log()).sum(-1) * given.temperature**2

    return replace(loss, gradient=None, value=value)


def not_zero(loss: Loss) -> Loss:
    return value_of(loss, lambda loss_N: loss_N + 0.01)


def cross_entropy_called_divergence(loss: Loss) -> Loss:
    def value(student: Tensor, teacher: Tensor, _target: Tensor, _params: Any) -> Tensor:
        return -(teacher.softmax(-1) * student.log_softmax(-1)).sum(-1)

    return replace(loss, gradient=None, value=value)


def negative(loss: Loss) -> Loss:
    return value_of(loss, lambda loss_N: -loss_N)


def of_logits(loss: Loss) -> Loss:
    """Squared distance of logits: not a loss on distributions."""

    def value(student: Tensor, teacher: Tensor, *_rest: Any) -> Tensor:
        return ((student - teacher) ** 2).mean(-1)

    return replace(loss, gradient=None, divergence=False, semantics={}, value=value)


def filled_with_zeros(loss: Loss) -> Loss:
    """A vocabulary filled up with zero logits: a shift moves all but these."""

    def value(student: Tensor, teacher: Tensor, target: Tensor, given: Any) -> Tensor:
        student, teacher = (torch.cat([one, one[:, :3] * 0.0], -1) for one in (student, teacher))
        return loss.value(student, teacher, target, given)

    return replace(loss, gradient=None, value=value)


def without_t_squared(loss: Loss) -> Loss:
    return replace(loss, gradient=None, value=lambda s, t, y, p: loss.value(s, t, y, p) / p.temperature**2)


def writes_into_logits(loss: Loss) -> Loss:
    def gradient(student: Tensor, teacher: Tensor, target: Tensor, given: Any) -> Any:
        assert loss.gradient is not None
        found = loss.gradient(student.clone(), teacher, target, given)
        student.mul_(0.5)
        return found

    return replace(loss, gradient=gradient)


def writes_into_teacher(loss: Loss) -> Loss:
    return replace(loss, gradient=None, value=lambda s, t, y, p: loss.value(s, t.sub_(t.max()), y, p))


WRONG = [
    (detached, "gradient of exactly zero"),
    (constant, "gradient of exactly zero"),
    (of_the_teacher, "gradient of exactly zero"),
    (without_t, "not the derivative"),
    (turned, "not the derivative"),
    (half_silent, "not the derivative"),
    (other_value, "one value with its gradient and another without"),
    (log_of_softmax, "not finite"),
    (not_zero, "not zero, with zero gradient"),
    (cross_entropy_called_divergence, "not zero, with zero gradient"),
    (negative, "is negative"),
    (of_logits, "constant is added"),
    (filled_with_zeros, "constant is added"),
    (without_t_squared, "`temperature_squared` and its gradient fades"),
    (writes_into_logits, "writes into the logits"),
    (writes_into_teacher, "writes into the logits"),
]


@pytest.mark.parametrize(("mutant", "words"), WRONG, ids=[one[0].__name__ for one in WRONG])
def test_a_wrong_loss_is_named_before_a_model_is_built(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: Any, words: str
) -> None:
    mutate_losses(monkeypatch, lambda loss: mutant(loss) if loss.name == "kl" else loss)
    monkeypatch.setattr(reach.build, "build", lambda *_given, **_named: pytest.fail("a model was built"))
    with pytest.raises(Refusal) as caught:
        run(tmp_path, base, params("ce_truth", "kl"))
    assert caught.value.message.startswith("loss `kl` ")
    assert words in caught.value.message
    assert (caught.value.code, bool(caught.value.action)) == ("KR0128", True)
    assert not (tmp_path / "report").exists()


def test_what_a_loss_does_not_promise_is_not_held_against_it() -> None:
    kl = catalog.load("losses", "kl")
    free = replace(of_logits(kl), shift_invariant=False)
    assert all(one.passed for one in promises.tried(bound(free), WIDTH))
    held = replace(turned(kl), derivative=False)
    assert all(one.passed for one in promises.tried(bound(held), WIDTH))
    weighed = replace(not_zero(kl), divergence=False)
    assert all(one.passed for one in promises.tried(bound(weighed), WIDTH))


class Deaf(Params):
    """Parameters of which a loss may read one alone."""

    temperature: float = 1.0
    margin: float = 0.0
    kind: str = "plain"


@pytest.mark.parametrize(
    ("given", "deaf"),
    [
        ({}, []),
        ({"temperature": 3.0}, []),
        ({"margin": 0.5}, ["margin"]),
        ({"kind": "other", "margin": 0.5}, ["kind", "margin"]),
        ({"margin": 0.0}, []),
    ],
)
def test_a_parameter_that_a_loss_never_reads_is_named(given: dict[str, Any], deaf: list[str]) -> None:
    """A setting left at its default need not have an effect; one that somebody wrote must."""
    kl = catalog.load("losses", "kl")
    loss = replace(kl, params=Deaf, semantics={})
    (found,) = [one for one in promises.tried(bound(loss, **given), WIDTH) if one.check == "settings"]
    assert (found.passed, found.value) == (not deaf, len(deaf))
    if deaf:
        with pytest.raises(Refusal, match="loss `kl` never reads a parameter that it is given") as caught:
            promises.admit("kl", [found])
        assert all(f"`{name}`" in caught.value.message for name in deaf)


def test_parameters_that_are_handed_on_whole_are_read() -> None:
    kl = catalog.load("losses", "kl")

    def value(student: Tensor, teacher: Any, target: Tensor, given: Any) -> Tensor:
        found: Tensor = kl.value(student, teacher, target, Deaf(**given.model_dump()))
        return found

    loss = replace(kl, params=Deaf, semantics={}, gradient=None, value=value)
    assert all(one.passed for one in promises.tried(bound(loss, margin=0.5, temperature=2.0), WIDTH))


def raises(*_given: Any) -> Any:
    raise TypeError("no such thing")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": raises}, "ends with TypeError: no such thing"),
        ({"gradient": raises}, "ends with TypeError: no such thing"),
        ({"gradient": None, "value": lambda student, *_rest: student.mean()}, "returned shape ()"),
        ({"gradient": lambda student, *_rest: (student[:, 0], student[:, :3])}, "gradient of shape"),
    ],
)
def test_a_loss_that_cannot_be_called_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal) as caught:
        promises.tried(bound(replace(catalog.load("losses", "kl"), **change)), WIDTH)
    assert "`kl`" in caught.value.message
    assert words in caught.value.message


class Cut(nn.Module):
    """Lets values through and no gradient."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.inner(*given, **named).detach()


def test_weights_that_no_gradient_reaches_are_named(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build.build

    def cut(*given: Any, **named: Any) -> Any:
        model = made(*given, **named)
        model.model.layers[0].mlp = Cut(model.model.layers[0].mlp)
        return model

    monkeypatch.setattr(build, "build", cut)
    with pytest.raises(Refusal, match=r"loss `ce_truth` does not reach .*4 of \d+ tensors.*layers.0.mlp") as caught:
        run(tmp_path, base, params("ce_truth"))
    assert caught.value.code == "KR0128"


def test_of_a_layers_experts_one_has_to_be_reached() -> None:
    class Routed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(3))
            self.gate = nn.Linear(2, 2, bias=False)

    student: Any = Routed()
    some = reach.Reached(1.0, frozenset({"experts.1.weight", "gate.weight"}))
    assert reach._missed(student, some) == []
    assert reach._missed(student, reach.Reached(1.0, frozenset({"experts.1.weight"}))) == ["gate.weight"]
    none = reach._missed(student, reach.Reached(1.0, frozenset({"gate.weight"})))
    assert none == [f"experts.{index}.weight" for index in range(3)]


def test_a_gradient_in_the_student_that_is_not_finite_is_named(taught: dict[str, Path], tmp_path: Path) -> None:
    model = build.load(taught["teacher"])
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    words = tokenizers.load(taught["tokenizer"])
    terms = objective.bind(world.terms(ce_truth=1.0))
    batch = reach.batch_of(taught["dataset"] / "train.jsonl", words, terms, 96)
    reached = reach.gradient_of(model, model.get_output_embeddings(), terms[0], batch)
    with pytest.raises(Refusal, match="`ce_truth` has a value or gradient that is not finite"):
        promises.admit("ce_truth", reach._of_model(model, reached, 1))


def test_a_term_whose_spans_no_row_has_is_refused_at_once(tmp_path: Path, base: dict[str, Path]) -> None:
    plain = world.dataset(tmp_path / "plain", spans=False)
    with pytest.raises(Refusal, match="no row of at most 96 tokens has a `tool_name` span"):
        run(tmp_path / "run", {**base, "dataset": plain}, params("tool_name"))


def test_rows_that_wait_for_their_answer_are_tried_all_the_same(tmp_path: Path, base: dict[str, Path]) -> None:
    """Prompts alone: the teacher is to answer them, and has not been asked yet."""
    folder = world.dataset(tmp_path / "asked")
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    bare = "".join(json.dumps({**line, "response": "", "spans": {}}) + "\n" for line in lines)
    (folder / "train.jsonl").write_text(bare)
    data = run(tmp_path / "run", {**base, "dataset": folder}, params("sequence_kd"))
    assert data["terms"]["sequence_kd"]["checks"][-1]["passed"]["value"] is True
