"""Validation looks and touches nothing; the student of a stage is its best state, or nobody gets it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from kcompiler.policy import evidence
from runtime import contract, digest
from runtime.contract import BrokenEvidence, Refusal, rows
from runtime.contract.optimizer import Optimizer, Schedule
from runtime.contract.validation import Validation
from runtime.models import build, tokenizer
from runtime.steps.train import TrainParams
from runtime.train import distill, loop, objective
from runtime.train.batches import rows_of
from runtime.train.distill import corpus_of, train
from runtime.train.loop import Trainer
from tests.longer import also, longer
from tests.tensor.train import world
from tests.tensor.train.test_resume import Interrupted, Stopped, flip
from tests.tensor.train.world import Stage

MODEL = "checkpoint/model.safetensors"
#: learns the few rows by heart, so that the rows it does not learn from get worse
TOO_FAST = Optimizer(learning_rate=3e-2, warmup_steps=1, decay="constant")


def params(**changes: Any) -> TrainParams:
    return world.params(**({"validation": Validation(every=2), "steps": 6} | changes))


def trained(takes: dict[str, Path], asked: TrainParams, folder: Path) -> tuple[Stage, dict[str, Any]]:
    stage = Stage(folder, takes)
    train(takes, asked, stage)
    return stage, json.loads((stage.root / "report/report.json").read_text())["data"]


@pytest.fixture(scope="module")
def contrary(base: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Validation by rows whose answers are others than the rows teach: they get worse as these are learnt."""
    data = tmp_path_factory.mktemp("contrary") / "dataset"
    shutil.copytree(base["dataset"], data)
    held = [{**world.row(number), "response": "door(no)", "spans": {}} for number in range(1000, 1012)]
    (data / "validation.jsonl").write_text("".join(rows.written(held, "validation.jsonl")))
    return {**base, "dataset": data}


def value(datum: dict[str, Any]) -> float:
    return float(datum["value"])


@longer
def test_a_training_that_does_not_end_early_makes_the_same_weights_with_and_without(
    taught: dict[str, Path], tmp_path: Path
) -> None:
    """Of the last state, which is kept beside the best one. Dropout would show a random state that was used."""
    common: dict[str, Any] = {"losses": world.terms(kl=0.5, ce_truth=0.5), "needs_teacher": True, "steps": 6}
    plain, _ = trained(taught, world.params(**common), tmp_path / "plain")
    watched, data = trained(taught, params(**common, keeps_states=True), tmp_path / "watched")
    last = watched.root / "states/step-00000006/model.safetensors"
    assert last.read_bytes() == (plain.root / MODEL).read_bytes()
    assert [value(look["step"]) for look in data["validation"]["curve"]] == [0, 2, 4, 6]
    assert data["validation"]["stopped"] == "steps"


def test_the_report_has_the_published_form(taught: dict[str, Path], tmp_path: Path) -> None:
    """And keeps its laws: no look is better than the best, no step beyond those that were made."""
    asked = params(
        losses=world.terms(kl=0.5, ce_truth=0.5),
        needs_teacher=True,
        keeps_states=True,
        validation=Validation(every=4, patience=9),
    )
    stage, data = trained(taught, asked, tmp_path)
    whole = {**stage.reports["report"], "kind": "training", "subject": {}}
    whole["environment"] = {"backend": "torch", "forged": False, "versions": {}}
    assert evidence.read(whole).problem == ""
    better = {**data["validation"]["best"], "value": {**data["validation"]["best"]["value"], "value": 99.0}}
    whole["data"] = {**data, "validation": {**data["validation"], "best": better}}
    assert "/validation.best.value <= value" in evidence.read(whole).problem


def test_validation_leaves_the_random_state_and_the_mode_as_they_were(base: dict[str, Path], tmp_path: Path) -> None:
    asked = params()
    words = tokenizer.load(base["tokenizer"])
    terms = objective.bind(asked.losses)
    with loop.deterministic(7, 1):
        student = distill.student_of(base, asked, words, 7)
        corpus, _ = corpus_of(base, words, terms, asked)
        watched, _ = corpus_of(base, words, terms, asked, "validation")
        trainer = Trainer(
            student=student,
            head=student.get_output_embeddings(),
            teacher=None,
            corpus=corpus,
            terms=terms,
            params=asked,
            seed=7,
        )
        trainer.watch(watched, None, tmp_path)
        student.train()
        before = torch.random.get_rng_state()
        assert trainer.validator is not None
        assert trainer.validator.values() == trainer.validator.values()
        assert torch.equal(torch.random.get_rng_state(), before)
        assert student.training
        assert all(parameter.grad is None for parameter in student.parameters())


def test_the_terms_are_those_of_the_whole_split_computed_by_hand(taught: dict[str, Path], tmp_path: Path) -> None:
    """Cross-entropy of every supervised token by transformers' own logits, over their number; and the sum by the
    weights of the last step."""
    losses = world.terms(kl=0.5, ce_truth=0.5)
    fading = losses[0].model_copy(update={"schedule": Schedule(to=0.1, until_step=3)})
    asked = params(losses=[fading, losses[1]], needs_teacher=True)
    stage, data = trained(taught, asked, tmp_path)
    model, words = build.load(stage.root / "checkpoint"), tokenizer.load(taught["tokenizer"])
    corpus, _ = corpus_of(taught, words, objective.bind(asked.losses), asked, "validation")
    losses_of_tokens = []
    for row in range(len(corpus)):
        ids = corpus.ids[row][None]
        with torch.no_grad():
            log_TV = model(input_ids=ids).logits[0].double().log_softmax(-1)
        places = corpus._before_S[corpus.start[row] : corpus.start[row + 1]]
        losses_of_tokens += [-float(log_TV[place, int(ids[0, place + 1])]) for place in places]
    best = next(one for one in data["validation"]["curve"] if one["step"] == data["validation"]["best"]["step"])
    mean = math.fsum(losses_of_tokens) / len(losses_of_tokens)
    assert value(best["terms"]["ce_truth"]) == pytest.approx(mean, rel=1e-5)
    assert best["terms"]["ce_truth"]["n"] == len(losses_of_tokens)
    assert value(best["value"]) == pytest.approx(
        0.1 * value(best["terms"]["kl"]) + 0.5 * value(best["terms"]["ce_truth"]), rel=1e-6
    )
    assert value(best["value"]) == min(value(look["value"]) for look in data["validation"]["curve"])


def test_the_student_is_the_best_state_and_the_training_ends_when_nothing_is_gained(
    contrary: dict[str, Path], tmp_path: Path
) -> None:
    base = contrary
    asked = params(
        optimizer=TOO_FAST,
        steps=60,
        validation=Validation(every=5, patience=3),
        keeps_states=True,
        checkpoint_every=100,
    )
    stage, data = trained(base, asked, tmp_path)
    found = data["validation"]
    best, made, ran = value(found["best"]["step"]), value(found["made"]), value(data["steps"])
    assert found["stopped"] == "patience"
    assert ran == best + 15 == 5 * made < 60 == value(data["steps_allowed"])
    shown = [(at, numbers) for at, numbers in stage.shown if "validation/metric" in numbers]
    assert [at for at, _ in shown] == [value(look["step"]) for look in found["curve"]]
    assert [numbers["validation/metric"] for _, numbers in shown] == [value(look["value"]) for look in found["curve"]]
    assert [numbers["validation/ce_truth"] for _, numbers in shown] == [
        value(look["terms"]["ce_truth"]) for look in found["curve"]
    ]
    assert [numbers["validation/patience_left"] for _, numbers in shown[-4:]] == [3, 2, 1, 0]
    assert {(numbers["validation/best_step"], numbers["validation/best"]) for _, numbers in shown[-4:]} == {
        (best, value(found["best"]["value"]))
    }
    by_digest = {one["digest"]: one for one in found["states"]}
    folders = {digest.of_folder(path): path for path in (stage.root / "states").iterdir()}
    assert by_digest.keys() == folders.keys()
    chosen = next(one for one in found["states"] if "best" in one["kept_as"])
    assert value(chosen["step"]) == best
    same = folders[chosen["digest"]] / "model.safetensors"
    assert (stage.root / MODEL).read_bytes() == same.read_bytes()
    assert {value(one["step"]) for one in found["states"] if "last" in one["kept_as"]} == {ran - 10, ran - 5, ran}
    made_by = json.loads((stage.root / "checkpoint/training.json").read_text())
    assert (made_by["steps"], made_by["steps_allowed"], made_by["state"]) == (ran, 60, best)
    assert value(data["rows_drawn"]) == ran * 8
    assert value(found["tokens_read"]) == (made + 1) * sum(
        len(ids)
        for ids in corpus_of(
            base, tokenizer.load(base["tokenizer"]), objective.bind(asked.losses), asked, "validation"
        )[0].ids
    )


def test_a_term_whose_first_token_comes_after_the_end_is_unavailable(base: dict[str, Path], tmp_path: Path) -> None:
    """All steps that are allowed hold its token, so that it is no mistake; patience ends the training before it."""
    asked = params(
        losses=[
            *world.terms(ce_truth=1.0, tool_name=1.0)[:1],
            world.terms(tool_name=1.0)[0].model_copy(update={"schedule": Schedule(to=0.0, from_step=0, until_step=4)}),
        ],
        steps=6,
        batch_size=4,
        validation=Validation(every=2, patience=1, least_gain=100.0, metric="ce_truth"),
    )
    seed = Stage(tmp_path / "any", base).seed
    early = {row for step in range(2) for row in rows_of(seed, step, 4, 40)}
    late = next(row for step in range(2, 6) for row in rows_of(seed, step, 4, 40) if row not in early)
    data = tmp_path / "dataset"
    shutil.copytree(base["dataset"], data)
    written = [world.row(number, spans=number == late) for number in range(40)]
    (data / "train.jsonl").write_text("".join(rows.written(written, "train.jsonl")))
    stage, found = trained({**base, "dataset": data}, asked, tmp_path / "run")
    assert (found["validation"]["stopped"], value(found["steps"])) == ("patience", 2)
    rare = found["terms"]["tool_name"]
    assert value(rare["supervised_tokens"]) == 0
    for name in ("first", "final", "least_gradient_norm"):
        assert rare[name]["tag"] == "unavailable"
    assert value(found["terms"]["ce_truth"]["least_gradient_norm"]) > 0
    # the second step was the last that was made, not the sixth, and not the last that was measured
    weights = {"first": 1.0, "last": 0.75}
    assert {name: value(one) for name, one in rare["effective_weight"].items()} == weights
    made_by = json.loads((stage.root / "checkpoint/training.json").read_text())
    assert made_by["losses"][1]["effective_weight"] == weights


@longer
def test_a_training_that_ended_early_is_not_taken_up_again(contrary: dict[str, Path], tmp_path: Path) -> None:
    """A kill between its last step and the artifact costs no training, and does not make it go on."""
    asked = params(optimizer=TOO_FAST, steps=60, validation=Validation(every=5, patience=2), checkpoint_every=100)
    first, data = trained(contrary, asked, tmp_path / "first")
    again = Stage(tmp_path / "again", contrary)
    again.scratch = first.scratch
    train(contrary, asked, again)
    assert f"continuing at step {data['steps']['value']} of 60" in again.said
    for port in ("checkpoint", "report"):
        assert digest.of_folder(again.root / port) == digest.of_folder(first.root / port)


class Late(Interrupted):
    """A Context whose run ends after seven steps, between two saves."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        Stage.progress(self, done, total, note)
        if done == 7:
            raise Stopped


def stopped_at_seven(base: dict[str, Path], folder: Path) -> tuple[TrainParams, Path]:
    asked = params(steps=9, checkpoint_every=4, keeps_states=True, optimizer=TOO_FAST)
    cut = Late(folder, base)
    with pytest.raises(Stopped):
        train(base, asked, cut)
    return asked, cut.scratch


@longer
def test_a_kept_state_that_was_changed_is_not_given_out(base: dict[str, Path], tmp_path: Path) -> None:
    """Found before the run goes on, and it starts over; found at its end, and nothing is given."""
    asked, scratch = stopped_at_seven(base, tmp_path / "cut")
    quiet, _ = trained(base, asked, tmp_path / "quiet")
    kept = sorted((scratch / "training/kept").iterdir())
    again = Stage(tmp_path / "again", base)
    again.scratch = tmp_path / "copy"
    shutil.copytree(scratch, again.scratch)
    flip(again.scratch / "training/kept" / kept[0].name)
    train(base, asked, again)
    why = f"the state of step 4 is not used: of the states that were kept {kept[0].name} is not what it was"
    assert f"{why}; starting over" in again.said
    assert digest.of_folder(again.root / "states") == digest.of_folder(quiet.root / "states")

    terms = objective.bind(asked.losses)
    words = tokenizer.load(base["tokenizer"])
    student = build.load(quiet.root / "checkpoint")
    corpus, _ = corpus_of(base, words, terms, asked)
    watched, _ = corpus_of(base, words, terms, asked, "validation")
    trainer = Trainer(
        student=student,
        head=student.get_output_embeddings(),
        teacher=None,
        corpus=corpus,
        terms=terms,
        params=asked,
        seed=7,
    )
    trainer.watch(watched, None, tmp_path / "own")
    assert trainer.validator is not None
    assert trainer.record.selection is not None
    trainer.validator.look(0, trainer.record.selection)
    flip(tmp_path / "own/kept/step-00000000.safetensors")
    with pytest.raises(BrokenEvidence, match="changed after it was written"):
        trainer.take(None)


def test_a_resume_goes_on_with_what_was_seen_and_kept(base: dict[str, Path], tmp_path: Path) -> None:
    asked, scratch = stopped_at_seven(base, tmp_path / "cut")
    quiet, _ = trained(base, asked, tmp_path / "quiet")
    again = Stage(tmp_path / "again", base)
    again.scratch = scratch
    train(base, asked, again)
    assert "continuing at step 4 of 9" in again.said
    for port in ("checkpoint", "states", "report"):
        assert digest.of_folder(again.root / port) == digest.of_folder(quiet.root / port)


@longer
def test_another_policy_does_not_go_on_from_a_state(base: dict[str, Path], tmp_path: Path) -> None:
    asked, scratch = stopped_at_seven(base, tmp_path / "cut")
    for number, changed in enumerate(
        (
            Validation(every=2, metric="ce_truth"),
            Validation(every=2, patience=9),
            Validation(every=2, patience=9, least_gain=0.5),
            Validation(every=3),
            None,
        )
    ):
        again = Stage(tmp_path / str(number), base)
        shutil.copytree(scratch, tmp_path / f"{number}-scratch")
        again.scratch = tmp_path / f"{number}-scratch"
        other = asked.model_copy(update={"validation": changed, "keeps_states": changed is not None})
        train(base, other, again)
        assert any("of another course, by validation" in said for said in again.said), changed


@pytest.mark.parametrize(
    ("metric", "match"),
    [("kl", "none of the losses"), ("json_args", "no row of the validation split has a token"), ("total", "no row of")],
)
def test_a_metric_of_nothing_is_refused_before_the_first_step(
    metric: str, match: str, base: dict[str, Path], tmp_path: Path
) -> None:
    data = tmp_path / "dataset"
    shutil.copytree(base["dataset"], data)
    bare = [world.row(number, spans=False) for number in range(1000, 1004)]
    (data / "validation.jsonl").write_text("".join(rows.written(bare, "validation.jsonl")))
    takes = {**base, "dataset": data}
    asked = params(losses=world.terms(ce_truth=0.8, json_args=0.2), validation=Validation(every=2, metric=metric))
    with pytest.raises(Refusal, match=match):
        train(takes, asked, Stage(tmp_path / "run", takes))


def test_without_the_split_or_a_row_in_it_nothing_is_trained(base: dict[str, Path], tmp_path: Path) -> None:
    data = tmp_path / "dataset"
    shutil.copytree(base["dataset"], data)
    takes = {**base, "dataset": data}
    (data / "validation.jsonl").write_text("")
    with pytest.raises(Refusal, match="no row that can be used"):
        train(takes, params(), Stage(tmp_path / "empty", takes))
    (data / "validation.jsonl").unlink()
    with pytest.raises(Refusal, match="no split `validation`"):
        train(takes, params(), Stage(tmp_path / "none", takes))


def test_a_baseline_keeps_its_best_and_gives_no_other_state(base: dict[str, Path], tmp_path: Path) -> None:
    stage, data = trained(base, params(), tmp_path)
    assert not (stage.root / "states").exists()
    assert data["validation"]["states"] == []
    best = f"step-{int(value(data['validation']['best']['step'])):08d}.safetensors"
    kept = {path.name for path in (stage.scratch / "training/kept").iterdir()}
    # and those that the states before the last one name
    assert best in kept
    assert kept <= {best, "step-00000002.safetensors", "step-00000004.safetensors"}


class Inside(Stage):
    """A Context that is asked to stop when it is inside a validation: of the state after so many steps."""

    at = 0

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, note)
        if note.startswith("validating: 1 of ") and done == self.at:
            raise contract.Stopped


@pytest.mark.parametrize("at", [also(0), 2, also(6)])
@longer
def test_stopped_inside_a_validation_it_keeps_what_was_trained_and_validates_again(
    base: dict[str, Path], tmp_path: Path, at: int
) -> None:
    """A validation may take longer than a budget lasts: it has safe points, and the result is that of an undisturbed
    run."""
    asked = params(micro_batch=2, keeps_states=True, checkpoint_every=100)
    quiet, data = trained(base, asked, tmp_path / "quiet")
    cut, again = Inside(tmp_path / "cut", base), Stage(tmp_path / "again", base)
    cut.at, again.scratch = at, cut.scratch
    with pytest.raises(contract.Stopped):
        train(base, asked, cut)
    train(base, asked, again)
    assert (f"continuing at step {at} of 6" in again.said) == (at > 0)
    for port in ("checkpoint", "states", "report"):
        assert digest.of_folder(again.root / port) == digest.of_folder(quiet.root / port), port
    # the lot that was gone through twice is counted twice
    read = cut.used_up["training_tokens"] + again.used_up["training_tokens"]
    assert (
        quiet.used_up["training_tokens"]
        < read
        < quiet.used_up["training_tokens"] + value(data["validation"]["tokens_read"])
    )
