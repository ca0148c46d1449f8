"""What is trained with rounded weights is what conversion makes of the student, bit for bit, at every step and after it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from kcompiler.policy import evidence
from kcompiler.verifier.again import UNLIKE
from runtime import digest
from runtime.contract import Refusal, qat
from runtime.contract.qat import QuantizationAware, Rounding
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.contract.validation import Validation
from runtime.mil.quantize import QMAX, Quantized, digests, quantize, restored
from runtime.models import build
from runtime.steps.train import TrainParams
from runtime.train import objective
from runtime.train import qat as rounding
from runtime.train.distill import train
from runtime.train.loop import Trainer
from runtime.train.qat import RoundedWeights, rounded
from tests.tensor.train import world
from tests.tensor.train.test_passes import WAYS, corpus
from tests.tensor.train.test_resume import Interrupted, Stopped
from tests.tensor.train.world import Stage

NORMS = Rule(match="*norm*", weights="fp16")
INT8 = Recipe(default=Weights(weights="int8"), rules=[NORMS])
INT4 = Recipe(default=Weights(weights="int4", granularity="per_block", block=16), rules=[NORMS])
#: the embedding, which is the head, stays
MIXED = Recipe(
    default=INT4.default, rules=[NORMS, *(Rule(match=one, weights="fp16") for one in ("*embed*", "lm_head"))]
)
FORMS = [
    Weights(weights="int8"),
    Weights(weights="int8", granularity="per_tensor"),
    Weights(weights="int8", granularity="per_block", block=8),
    Weights(weights="int4"),
    Weights(weights="int4", granularity="per_tensor"),
    Weights(weights="int4", granularity="per_block", block=4),
]
MODEL = "checkpoint/model.safetensors"


def asked(recipe: Recipe = INT8, from_step: int = 0, factor: float = 1.0, **changes: Any) -> TrainParams:
    """Parameters of a training whose weights are rounded."""
    shape = changes.get("architecture", world.architecture())
    model = build.build(shape, 0, {"pad": 0, "bos": 1, "eos": 2})
    named = [_Tensor(name, tuple(one.shape)) for name, one in model.named_parameters()]
    made = Rounding(recipe=recipe, tensors=qat.rounded(recipe, named), from_step=from_step, learning_rate_factor=factor)
    return world.params(**{"qat": made, **changes})


class _Tensor:
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape


def stored(weight: np.ndarray, form: Weights) -> Quantized:
    found = quantize(weight, form)
    assert isinstance(found, Quantized)
    return found


def matrix(seed: int, rows: int, size: float) -> np.ndarray:
    """Numbers of one size with what rounding meets at its edges: ties, zeros, rows of zeros, outliers, numbers that are
    no normal float16 and no normal float32."""
    random = np.random.default_rng(seed)
    made = (random.standard_normal((rows, 16)) * size).astype(np.float32)
    flat = made.reshape(-1)
    for number in (0.0, -0.0, 50 * size, 6e-8 * size, 1e-40, -3e-45):
        flat[random.integers(flat.size)] = number
    # every second number is a tie of its row's scale, were that a power of two
    tied = made[random.integers(rows)]
    tied[::2] = (random.integers(-7, 7, 8) + 0.5) * 2.0**-9
    tied[1] = 7 * 2.0**-9
    made[random.integers(rows)] *= random.choice([0.0, 1.0, 1e-7, 1e-38])
    return made


SIZES = st.sampled_from([1e-30, 1e-7, 1e-4, 2e-3, 0.02, 1.0, 300.0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), SIZES, st.sampled_from(FORMS))
def test_a_step_rounds_as_conversion_does(seed: int, rows: int, size: float, form: Weights) -> None:
    weight = matrix(seed, rows, size)
    assert rounded(torch.from_numpy(weight), form).numpy().tobytes() == restored(stored(weight, form)).tobytes()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), SIZES, st.sampled_from(FORMS))
def test_no_weight_is_clipped_and_each_is_within_half_a_step(seed: int, rows: int, size: float, form: Weights) -> None:
    """So that the gradient may go straight through all of them."""
    weight = matrix(seed, rows, size)
    found = stored(weight, form)
    step = restored(found._replace(data=np.ones_like(found.data)))
    assert (np.abs(weight.astype(np.float64) / step) <= QMAX[form.weights]).all()
    assert (np.abs(restored(found).astype(np.float64) - weight) <= step * (0.5 + 1e-6)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), SIZES, st.sampled_from(FORMS))
def test_what_is_given_is_rounded_to_itself(seed: int, rows: int, size: float, form: Weights) -> None:
    """Of normal scales at the first time."""
    weight = matrix(seed, rows, size)
    model = torch.nn.Linear(16, rows, bias=False)
    model.weight.data = torch.from_numpy(weight.copy())
    whole = RoundedWeights(
        model, Rounding(recipe=Recipe(default=form), tensors=["weight"], from_step=0, learning_rate_factor=1)
    )
    (told,) = whole.settle()
    given_now = model.weight.detach().numpy()
    again = stored(given_now, form)
    assert (told.codes_sha256, told.scales_sha256) == digests(again)
    assert restored(again).tobytes() == given_now.tobytes()
    first = stored(weight, form)
    if (first.scale >= np.float16(2.0**-14)).all():
        assert digests(first) == digests(again)


def test_small_scales_take_more_than_one_rounding() -> None:
    """A largest number of 381.5 times the smallest float16 has a scale of 4 of them and becomes 95, which has one of 3."""
    weight = (np.linspace(1, 381.5, 16) * 2.0**-24).astype(np.float32)[None]
    form = Weights(weights="int8")
    once = stored(weight, form)
    twice = stored(restored(once), form)
    assert digests(once) != digests(twice)


def trained(takes: dict[str, Path], params: TrainParams, folder: Path) -> tuple[Stage, dict[str, Any]]:
    stage = Stage(folder, takes)
    train(takes, params, stage)
    return stage, json.loads((stage.root / "report/report.json").read_text())["data"]


@pytest.mark.parametrize("recipe", [INT8, INT4, MIXED], ids=["int8", "int4", "mixed"])
def test_the_checkpoint_holds_what_the_report_says(base: dict[str, Path], tmp_path: Path, recipe: Recipe) -> None:
    params = asked(recipe)
    assert params.qat is not None
    stage, data = trained(base, params, tmp_path / "a")
    held = load_file(stage.root / MODEL)
    told = {one["tensor"]: one for one in data["qat"]["matrices"]}
    assert sorted(told) == sorted(params.qat.tensors)
    assert ("model.embed_tokens.weight" in told) is (recipe is not MIXED)
    for name, one in told.items():
        found = stored(held[name], recipe.of(name).plain)
        assert (one["codes_sha256"], one["scales_sha256"]) == digests(found)
        assert restored(found).tobytes() == held[name].tobytes()
        assert one["stored"] == recipe.of(name).said
        assert 0 < one["apart"]["value"] < (0.2 if "int4" in one["stored"] else 0.02)
    assert data["qat"]["steps"] == {"k": 6, "n": 6, "tag": "measured", "unit": "ratio", "value": 1.0}
    whole = {**stage.reports["report"], "kind": "training", "environment": {"forged": False, "backend": "torch"}}
    assert evidence.read(whole).problem == ""


def test_before_the_first_rounded_step_nothing_is_other(base: dict[str, Path], tmp_path: Path) -> None:
    """A training that rounds after its last step gives the plain one's weights as conversion rounds them; one that
    rounds before is another."""
    plain, _ = trained(base, world.params(), tmp_path / "plain")
    after, data = trained(base, asked(from_step=6, factor=0.1), tmp_path / "after")
    within, _ = trained(base, asked(from_step=5), tmp_path / "within")
    assert data["qat"]["steps"]["k"] == 0
    before, given_after, given_within = (load_file(one.root / MODEL) for one in (plain, after, within))
    differing = 0
    for name, weight in before.items():
        due = restored(stored(weight, INT8.default)) if weight.ndim > 1 else weight
        assert given_after[name].tobytes() == due.tobytes()
        differing += int((given_within[name] != due).sum())
    assert differing


def trainer(params: TrainParams) -> Trainer:
    student = build.build(params.architecture, 5, {"pad": 0, "bos": 1, "eos": 2}, attention="sdpa").train()
    return Trainer(
        student=student,
        head=student.get_output_embeddings(),
        teacher=None,
        corpus=corpus(),
        terms=objective.bind(params.losses, of_top=False),
        params=params,
        seed=11,
    )


def gradients(one: Trainer) -> dict[str, torch.Tensor]:
    """Of the first step, before it is clipped by anything."""
    one.step(0)
    return {name: parameter.grad.clone() for name, parameter in one.student.named_parameters()}


WIDE: dict[str, Any] = {"steps": 2, "batch_size": 32, "gradient_norms_every": 50}


def unclipped(**changes: Any) -> dict[str, Any]:
    optimizer = world.params().optimizer.model_copy(update={"clip_norm": 1e9, **changes})
    return {**WIDE, "optimizer": optimizer}


def test_the_gradient_goes_straight_through() -> None:
    """It is that of the rounded weights, and moves those behind them."""
    aware = trainer(asked(INT4, **unclipped()))
    before = {name: one.detach().clone() for name, one in aware.student.named_parameters()}
    rounding_there = trainer(world.params(**unclipped()))
    with torch.no_grad():
        for name, one in rounding_there.student.named_parameters():
            if one.ndim > 1:
                one.copy_(torch.from_numpy(restored(stored(one.numpy(), INT4.of(name).plain))))
    wanted, found = gradients(rounding_there), gradients(aware)
    for name in wanted:
        assert torch.equal(wanted[name], found[name]), name
    plain = gradients(trainer(world.params(**unclipped())))
    assert not torch.equal(plain["model.embed_tokens.weight"], found["model.embed_tokens.weight"])
    rate = world.params().optimizer.learning_rate
    for name, one in aware.student.named_parameters():
        # AdamW's first step is as long as the learning rate at most, beside the decay; a rounding is far longer
        assert float((one.detach() - before[name]).abs().max()) <= 1.1 * rate, name


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_however_a_batch_goes_through_the_step_is_the_same(way: dict[str, Any]) -> None:
    whole = gradients(trainer(asked(INT4, **unclipped())))
    parts = gradients(trainer(asked(INT4, **unclipped(), **way)))
    length = float(torch.stack([one.norm() for one in whole.values()]).norm())
    for name in whole:
        assert float((whole[name] - parts[name]).abs().max()) <= 2e-6 * length, name


def test_one_tensor_of_two_names_is_rounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    plain = rounding.rounded
    monkeypatch.setattr(
        rounding, "rounded", lambda weight, form: (seen.append(tuple(weight.shape)), plain(weight, form))[1]
    )
    one = trainer(asked(INT8, **unclipped()))
    head, embedding = one.student.get_output_embeddings(), one.student.get_input_embeddings()
    assert one.rounded is not None
    with one.rounded.at(0):
        assert head.weight is embedding.weight
        assert torch.equal(head.weight.data, plain(one.rounded._each[0][1].data, INT8.default))
    assert seen.count((world.VOCAB, 32)) == 1


def test_a_run_that_is_killed_goes_on_bit_for_bit(base: dict[str, Path], tmp_path: Path) -> None:
    params = asked(INT4, from_step=2, factor=0.5, checkpoint_every=1)
    whole = Stage(tmp_path / "whole", base)
    train(base, params, whole)
    killed, again = Interrupted(tmp_path / "killed", base), Stage(tmp_path / "again", base)
    with pytest.raises(Stopped):
        train(base, params, killed)
    again.scratch = killed.scratch
    train(base, params, again)
    assert again.kept_at[0] == 3
    assert digest.of_folder(again.root / "checkpoint") == digest.of_folder(whole.root / "checkpoint")
    assert (again.root / "report/report.json").read_bytes() == (whole.root / "report/report.json").read_bytes()


def test_a_state_of_another_rounding_is_not_continued(base: dict[str, Path], tmp_path: Path) -> None:
    killed = Interrupted(tmp_path / "killed", base)
    with pytest.raises(Stopped):
        train(base, asked(INT4, checkpoint_every=1), killed)
    for number, other in enumerate((asked(INT8), asked(INT4, from_step=1), asked(INT4, factor=0.5), world.params())):
        again = Stage(tmp_path / f"again-{number}", base)
        again.scratch = tmp_path / f"scratch-{number}"
        shutil.copytree(killed.scratch, again.scratch)
        train(base, other, again)
        assert again.kept_at[0] == 0
        assert "another course" in " ".join(again.said)


def test_the_formula_of_memory_counts_what_stands_beside(base: dict[str, Path], tmp_path: Path) -> None:
    """After a first training, which finds no library in use."""
    train(base, world.params(steps=1), Stage(tmp_path / "first", base))
    plain, aware = Stage(tmp_path / "plain", base), Stage(tmp_path / "aware", base)
    train(base, world.params(steps=1), plain)
    train(base, asked(INT4, steps=1), aware)
    matrices = [one for name, one in load_file(aware.root / MODEL).items() if one.ndim > 1]
    assert aware.peak().estimated - plain.peak().estimated == 4 * sum(one.size for one in matrices)


def test_the_learning_rate_falls_with_the_first_rounded_step(base: dict[str, Path], tmp_path: Path) -> None:
    stage, _ = trained(base, asked(from_step=3, factor=0.25), tmp_path / "a")
    plain, _ = trained(base, world.params(), tmp_path / "b")
    rates, whole = ([numbers["learning_rate"] for _, numbers in one.shown] for one in (stage, plain))
    assert rates[:3] == whole[:3]
    assert rates[3:] == pytest.approx([0.25 * rate for rate in whole[3:]])


def test_validation_looks_at_rounded_weights(base: dict[str, Path], tmp_path: Path) -> None:
    """And the best state, and every state on the way, is given as it would ship."""
    stage, data = trained(base, asked(INT4, validation=Validation(every=2), keeps_states=True), tmp_path / "a")
    held = load_file(stage.root / MODEL)
    for one in data["qat"]["matrices"]:
        assert (one["codes_sha256"], one["scales_sha256"]) == digests(
            stored(held[one["tensor"]], INT4.of(one["tensor"]).plain)
        )
    best = int(data["validation"]["best"]["step"]["value"])
    states = sorted((stage.root / "states").iterdir())
    assert len(states) > 1
    for state in states:
        weights = load_file(state / "model.safetensors")
        for name in (one["tensor"] for one in data["qat"]["matrices"]):
            assert restored(stored(weights[name], INT4.of(name).plain)).tobytes() == weights[name].tobytes()
        assert (state.name == f"step-{best:08d}") is all(np.array_equal(weights[name], held[name]) for name in held)
    # what was said of the last state is what a training that goes on from it says of its start
    again = {**base, "from": states[-1]}
    _, further = trained(again, world.params(init="checkpoint", validation=Validation(every=6)), tmp_path / "further")
    assert further["validation"]["start"] == data["validation"]["curve"][-1]["value"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: made.update(precision="bf16"), "would be rounded again, to bf16"),
        (
            lambda made: made.update(qat=made["qat"].model_copy(update={"tensors": made["qat"].tensors[1:]})),
            "the plan names",
        ),
        (
            lambda made: made.update(
                qat=made["qat"].model_copy(
                    update={
                        "recipe": Recipe(
                            default=Weights(weights="int4", granularity="per_block", block=24), rules=[NORMS]
                        )
                    }
                )
            ),
            "a block of 24 does not divide",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(
    base: dict[str, Path], tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    made: dict[str, Any] = {"qat": asked(INT4).qat}
    change(made)
    with pytest.raises(Refusal, match=words):
        train(base, world.params(**made), Stage(tmp_path / "a", base))


def test_a_device_that_rounds_otherwise_is_refused(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that divides by multiplying with an inverse would."""
    plain = rounding.rounded
    monkeypatch.setattr(rounding, "rounded", lambda weight, form: plain(weight * (1 + 2.0**-23), form))
    with pytest.raises(Refusal, match="is rounded otherwise on cpu than in the package"):
        train(base, asked(), Stage(tmp_path / "a", base))


@contextmanager
def _left(self: RoundedWeights, step: int) -> Iterator[None]:
    """Rounded weights that stay."""
    for _, parameter, form in self._each:
        parameter.data = rounded(parameter.data, form)
    yield


def _by(divisor: float) -> Callable[[torch.Tensor, Weights], torch.Tensor]:
    """Rounding by another largest integer, as torchao has it (127.5 and 7.5)."""

    def mutant(weight: torch.Tensor, form: Weights) -> torch.Tensor:
        return rounded(weight * (QMAX[form.weights] + divisor) / QMAX[form.weights], form)

    return mutant


@pytest.mark.parametrize(
    ("name", "mutant"),
    [("at", _left), ("at", lambda _self, _step: nullcontext())],
    ids=["weights stay rounded", "nothing is rounded"],
)
def test_a_step_that_rounds_otherwise_is_noticed(name: str, mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoundedWeights, name, mutant)
    with pytest.raises(AssertionError):
        test_the_gradient_goes_straight_through()


def test_another_divisor_is_refused(base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "rounded", _by(0.5))
    with pytest.raises(Refusal, match="is rounded otherwise"):
        train(base, asked(INT4), Stage(tmp_path / "a", base))


def test_float32_weights_under_the_name_of_rounded_ones_are_noticed(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = RoundedWeights._settled

    def mutant(self: RoundedWeights, name: str, parameter: torch.nn.Parameter, form: Weights) -> Any:
        before = parameter.detach().clone()
        told = settled(self, name, parameter, form)
        parameter.data = before
        return told

    monkeypatch.setattr(RoundedWeights, "_settled", mutant)
    with pytest.raises(AssertionError):
        test_the_checkpoint_holds_what_the_report_says(base, tmp_path, INT4)


@pytest.mark.parametrize(
    ("start", "steps", "first"),
    [(0.0, 10, 0), (0.8, 250, 200), (0.1, 10, 1), (0.7, 10, 7), (0.95, 10, 10), (1e-9, 3, 1)],
)
def test_the_first_rounded_step_is_counted_exactly(start: float, steps: int, first: int) -> None:
    assert QuantizationAware(start=start).first(steps) == first


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a matrix less", lambda _, data: data["qat"]["matrices"].pop()),
        ("another matrix", lambda _, data: data["qat"]["matrices"][0].update(tensor="lm_head.weight")),
        ("later", lambda _, data: data["qat"]["from_step"].update(value=3)),
        ("another rate", lambda _, data: data["qat"]["learning_rate_factor"].update(value=0.5)),
        ("a step less", lambda _, data: data["qat"]["steps"].update(k=0)),
        ("of more steps", lambda _, data: data["qat"]["steps"].update(n=2)),
        ("none", lambda _, data: data.pop("qat")),
        ("not asked for", lambda asked, _: asked.pop("qat")),
    ],
)
def test_a_report_of_less_is_named(
    base: dict[str, Path], tmp_path: Path, name: str, change: Callable[[dict[str, Any], dict[str, Any]], object]
) -> None:
    params = asked(steps=1)
    _, data = trained(base, params, tmp_path / "a")
    wanted = params.model_dump(mode="json")
    unlike = (qat.unlike, UNLIKE[qat.KIND])
    assert [list(one(wanted, data)) for one in unlike] == [[], []], name
    change(wanted, data)
    assert all(list(one(wanted, data)) for one in unlike)
