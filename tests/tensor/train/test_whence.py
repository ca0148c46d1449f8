"""A number that is not finite is named with its step, row, model and module: planted in weights, rows, teacher, losses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runtime.contract import Loss, Refusal
from runtime.models import build
from runtime.train import teaching, whence
from runtime.train.distill import train
from runtime.train.loop import Trainer
from tests.longer import longer
from tests.tensor.losses.test_mutants import mutate_losses
from tests.tensor.train import world
from tests.tensor.train.world import Stage

NAN = float("nan")
Patch = pytest.MonkeyPatch


def message(takes: dict[str, Path], root: Path, **changes: Any) -> str:
    with pytest.raises(Refusal) as caught:
        train(
            takes,
            world.params(losses=world.terms(ce_truth=0.5, kl=0.5), needs_teacher=True, **changes),
            Stage(root, takes),
        )
    assert caught.value.action
    return caught.value.message


def spoiled_before(patch: Patch, step: int, spoil: Callable[[Trainer], None]) -> None:
    """Something happens to a run before a step of it."""
    whole = Trainer._step

    def changed(self: Trainer, at: int) -> None:
        if at == step:
            spoil(self)
        whole(self, at)

    patch.setattr(Trainer, "_step", changed)


def spoil_weight(trainer: Trainer) -> None:
    with torch.no_grad():
        trainer.student.model.layers[1].mlp.up_proj.weight[3, 4] = NAN


@longer
def test_a_weight_of_the_student_is_named(taught: dict[str, Path], tmp_path: Path, monkeypatch: Patch) -> None:
    spoiled_before(monkeypatch, 2, spoil_weight)
    said = message(taught, tmp_path)
    assert said.startswith("training diverged: loss `ce_truth` is nan at step 2; ")
    assert "the student gives numbers that are not finite from `model.layers.1.mlp.up_proj` on" in said
    assert "whose weights are not finite themselves, for rows `row-" in said
    assert "and 5 more" in said


def test_a_gradient_of_finite_numbers_that_is_too_long_is_called_so(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: Patch
) -> None:
    """The sum of their squares is beyond float32. No row makes a number that is not finite: none is looked for."""

    def lengthen(trainer: Trainer) -> None:
        weight = trainer.student.model.layers[1].mlp.up_proj.weight
        weight.register_hook(lambda gradient: torch.full_like(gradient, 1e20))

    spoiled_before(monkeypatch, 2, lengthen)
    assert message(taught, tmp_path) == (
        "training diverged: the gradient is longer than float32 can say at step 2: its largest number, 1.0e+20, is in "
        "`model.layers.1.mlp.up_proj.weight`"
    )


class Rare(nn.Module):
    """An embedding that has no number for one token."""

    def __init__(self, inner: nn.Module, token: int) -> None:
        super().__init__()
        self.inner, self.token = inner, token

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.inner(ids)
        return found.masked_fill((ids == self.token).unsqueeze(-1), NAN)


def spoil_rare(model: Any, corpus: Any) -> list[str]:
    """Spoil the embedding of the token that the fewest rows hold (its head stays sound); returns their names."""
    held: dict[int, list[str]] = {}
    for name, ids in zip(corpus.names, corpus.ids, strict=True):
        for token in set(ids.tolist()):
            held.setdefault(token, []).append(name)
    token = min(held, key=lambda one: (len(held[one]), one))
    assert len(held[token]) == 4
    model.model.embed_tokens = Rare(model.model.embed_tokens, token)
    return held[token]


def test_a_row_that_no_finite_number_comes_of_is_named(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: Patch
) -> None:
    """One token's embedding is spoiled: only the rows that hold it are named, and the module that reads it."""

    rare: list[str] = []

    def spoil(trainer: Trainer) -> None:
        rare.extend(spoil_rare(trainer.student, trainer.corpus))

    spoiled_before(monkeypatch, 0, spoil)
    said = message(taught, tmp_path, batch_size=40)
    assert "from `model.embed_tokens` on, for rows" in said
    named = set(re.findall(r"`(row-\d+)`", said))
    assert len(named) == 3
    assert named < set(rare)
    assert said.endswith(" and 1 more")


class Overflowing(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.inner(*given, **named) * float("inf")


@longer
def test_a_module_whose_weights_are_sound_is_named_without_them(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: Patch
) -> None:
    def spoil(trainer: Trainer) -> None:
        layer = trainer.student.model.layers[0]
        layer.mlp.act_fn = Overflowing(layer.mlp.act_fn)

    spoiled_before(monkeypatch, 1, spoil)
    said = message(taught, tmp_path)
    assert "not finite from `model.layers.0.mlp.act_fn` on, for rows" in said


def test_a_weight_of_the_teacher_is_named_before_the_first_step(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: Patch
) -> None:
    model = build.load(taught["teacher"])
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight[0, 0] = float("inf")
    monkeypatch.setattr(teaching, "loaded", lambda _folder: model)
    said = message(taught, tmp_path)
    assert "the teacher gives numbers that are not finite from `model.layers.0.self_attn.q_proj` on" in said
    assert "whose weights are not finite themselves" in said


@pytest.mark.parametrize("limit", [teaching.CACHE_BYTES, 0], ids=["looked up", "step by step"])
def test_a_row_of_which_the_teacher_says_no_finite_number_is_named(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: Patch, limit: int
) -> None:
    """Its embedding has no number for a token that a few rows hold."""
    whole = teaching.Teacher.__init__
    rare: list[str] = []

    def spoiled(self: Any, given: Any, head: Any, corpus: Any, *rest: Any, **named: Any) -> None:
        rare.extend(spoil_rare(given, corpus))
        whole(self, given, head, corpus, *rest, **{**named, "limit": limit})

    monkeypatch.setattr(teaching.Teacher, "__init__", spoiled)
    said = message(taught, tmp_path, batch_size=40)
    assert "the teacher gives numbers that are not finite from `model.embed_tokens` on" in said
    named = re.findall(r"`(row-\d+)`", said)
    assert named
    assert set(named) <= set(rare)
    assert ("at step" in said) == (limit == 0)


def not_a_number(loss: Loss) -> Loss:
    """Right for all targets but one."""

    def value(student: Tensor, teacher: Any, target: Tensor, given: Any) -> Tensor:
        found: Tensor = loss.value(student, teacher, target, given)
        return found * torch.where(target == target.max(), NAN, 1.0)

    return replace(loss, gradient=None, value=value)


def not_a_gradient(loss: Loss) -> Loss:
    closed = loss.gradient
    assert closed is not None
    return replace(loss, gradient=lambda *given: (lambda v, g: (v, g / 0.0))(*closed(*given)))


@pytest.mark.parametrize(
    ("mutant", "words"),
    [
        (not_a_number, "the value of loss `kl`, of finite logits"),
        (not_a_gradient, "the gradient of loss `kl`, of finite logits"),
    ],
)
def test_a_loss_that_is_no_number_is_named(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: Patch, mutant: Any, words: str
) -> None:
    mutate_losses(monkeypatch, lambda loss: mutant(loss) if loss.name == "kl" else loss)
    said = message(taught, tmp_path)
    assert "at step 0, before any weight was moved; " in said
    assert f"{words} is not finite, for row" in said


class Backwards(torch.autograd.Function):
    """Forward as it is, backward not a number."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx: Any, *given: Tensor) -> Tensor:
        return given[0] * NAN


class Spoiling(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *given: Any, **named: Any) -> Any:
        return Backwards.apply(self.inner(*given, **named))


@longer
def test_a_gradient_that_is_lost_within_the_student_is_named(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: Patch
) -> None:
    def spoil(trainer: Trainer) -> None:
        layer = trainer.student.model.layers[0]
        layer.mlp = Spoiling(layer.mlp)

    spoiled_before(monkeypatch, 1, spoil)
    said = message(taught, tmp_path)
    assert (
        "the gradient is not finite at step 1; the gradient of loss `ce_truth` in `model.layers.0.mlp.inner.down_proj.weight`"
        in said
    )


def test_the_innermost_module_is_named_and_no_hook_is_left() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    with torch.no_grad():
        model[1][0].bias[0] = NAN
    with whence.traced(model) as trace:
        model(torch.ones(1, 2))
    assert (trace.module, trace.weights) == ("1.0", True)
    assert not any(module._forward_hooks for module in model.modules())
    with whence.traced(nn.Linear(2, 2)) as trace:
        pass
    assert trace.module == ""


@longer
def test_a_search_that_fails_hides_nothing(taught: dict[str, Path], tmp_path: Path, monkeypatch: Patch) -> None:
    def no(*_given: Any) -> str:
        raise torch.OutOfMemoryError("no more memory\nat all")

    monkeypatch.setattr("runtime.train.diagnosing._of_student", no)
    spoiled_before(monkeypatch, 2, spoil_weight)
    said = message(taught, tmp_path)
    assert said.startswith("training diverged: loss `ce_truth` is nan at step 2; ")
    assert said.endswith("where it comes from could not be looked for (no more memory)")
