"""Losses over layers in a training: however a batch goes through the models the step is the same, a killed run goes on
bit for bit with its matrices, nothing is gathered that no term reads, and the student has no matrix of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from runtime import catalog, digest
from runtime.contract import Refusal, footprint
from runtime.contract.optimizer import Optimizer
from runtime.contract.validation import Validation
from runtime.models import build
from runtime.steps.train import Term
from runtime.train import distill, layers, loop, matching, memory, objective, onepass
from runtime.train.distill import train
from runtime.train.layers import Wanted
from runtime.train.loop import Trainer
from runtime.train.teaching import Teacher, gathered
from tests.longer import also, longer
from tests.tensor.losses.test_mutants import mutate_losses
from tests.tensor.train import test_passes, test_reach, world
from tests.tensor.train.test_resume import CHECKPOINT, REPORT, Interrupted, Stopped
from tests.tensor.train.world import Stage

WAYS: list[dict[str, Any]] = [
    {"threads": 2},
    {"micro_batch": 5},
    {"packing": True},
    {"packing": True, "micro_batch": 31, "gradient_checkpointing": True},
]
EVERY = {"hidden": {"map": "uniform"}, "attention": {"layers": [{"student": 2, "teacher": 1}]}}


def terms(given: dict[str, dict[str, Any]], **weights: float) -> list[Term]:
    """Terms over logits by their weight, and terms over layers by their parameters."""
    found = world.terms(**weights)
    for name, params in given.items():
        loss = catalog.load("losses", name)
        found.append(Term(term=name, version=loss.version, weight=0.5, params=params, semantics=dict(loss.semantics)))
    return found


def stepped(given: dict[str, dict[str, Any]] = EVERY, look_up: int = 1 << 30, **ways: Any) -> Trainer:
    """A trainer after one step over all rows, whose clip never cuts."""
    made = test_passes.corpus()
    params = world.params(
        losses=terms(given, kl=0.5, tool_name=0.2),
        needs_teacher=True,
        batch_size=test_passes.ROWS,
        steps=1,
        optimizer=Optimizer(learning_rate=1e-3, clip_norm=1e6),
        **ways,
    )
    bound = objective.bind(params.losses)
    student = build.build(world.architecture(tie_word_embeddings=True), 1, attention="sdpa")
    model = build.build(world.architecture(hidden_size=48, num_hidden_layers=3), 2, attention="sdpa")
    found = distill.matching_of(bound, student, model, 3)
    wanted = layers.NOTHING if found is None else found.teacher
    trainer = Trainer(
        student=student,
        head=student.get_output_embeddings(),
        teacher=Teacher(model, model.get_output_embeddings(), made, range(len(made)), look_up, wanted=wanted),
        corpus=made,
        terms=bound,
        params=params,
        seed=3,
        matching=found,
    )
    if params.gradient_checkpointing:
        student.train()
        student.gradient_checkpointing_enable({"use_reentrant": False})
    trainer.step(0)
    return trainer


def gradients(trainer: Trainer) -> list[torch.Tensor]:
    return [parameter.grad for parameter in trainer.trained if parameter.grad is not None]


@pytest.mark.parametrize("given", [EVERY, also({"hidden": {"map": "last", "distance": "cosine"}})])
def test_every_way_is_the_same_step(given: dict[str, dict[str, Any]]) -> None:
    first = stepped(given)
    whole, point = gradients(first), first.record.points[0]
    length = math.hypot(*(float(one.norm()) for one in whole))
    assert length > 0.1
    for way in [*WAYS, {"look_up": 0}]:
        trainer = stepped(given, **way)
        found, other = gradients(trainer), trainer.record.points[0]
        assert len(found) == len(whole)
        apart = max(float((a - b).abs().max()) for a, b in zip(whole, found, strict=True))
        assert apart <= test_passes.TOLERANCE * length, f"{way}: {apart / length:.2g}"
        for name in ("values", "norms"):
            assert getattr(other, name) == pytest.approx(getattr(point, name), rel=1e-5), (way, name)


def test_a_packed_query_sees_its_own_row_alone() -> None:
    """Of two rows in one sequence, and padding after them."""
    model = build.build(world.architecture(), 1, attention="eager")
    made, wanted = test_passes.flat([12, 9, 23]), Wanted(attention=frozenset({1, 2}))
    layers.listen(model, wanted)
    with torch.no_grad():
        _, packed = gathered(model, [made.sequences([[0, 1], [2, 1]])], wanted=wanted)
        _, alone = gathered(model, [made.group([row]) for row in (0, 1, 2, 1)], wanted=wanted)
    begins = [begin for begin, length in ((0, 12), (12, 9), (0, 23), (23, 9)) for _ in range(length - 1)]
    for layer in (1, 2):
        maps_NAK, own_NAK = packed.attention[layer], alone.attention[layer]
        for token, begin in enumerate(begins):
            row_AK = maps_NAK[token]
            seen = row_AK[:, begin : begin + own_NAK.shape[-1]]
            torch.testing.assert_close(seen, own_NAK[token][:, : seen.shape[-1]], rtol=1e-5, atol=1e-6)
            assert float(row_AK[:, :begin].abs().sum()) == 0.0


def test_a_packed_query_that_saw_its_neighbour_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    test_passes.mask_dropped(monkeypatch)
    with pytest.raises(AssertionError):
        test_a_packed_query_sees_its_own_row_alone()


def test_states_are_those_of_transformers() -> None:
    for family in test_passes.FAMILIES:
        model = build.build(world.architecture(family=family), 1, attention="eager")
        made, wanted = test_passes.flat([12]), Wanted(frozenset({0, 1, 2}), frozenset({1, 2}))
        layers.listen(model, wanted)
        with torch.no_grad():
            _, read = gathered(model, [made.group([0])], wanted=wanted)
            said = model(made.ids[0][None], use_cache=False, output_hidden_states=True, output_attentions=True)
        for layer in (0, 1, 2):
            assert torch.equal(read.states[layer], said.hidden_states[layer][0, :-1]), (family, layer)
        for layer in (1, 2):
            assert torch.equal(read.attention[layer], said.attentions[layer - 1][0, :, :-1].transpose(0, 1)), family


def test_nothing_is_gathered_that_no_term_reads() -> None:
    def hooks(trainer: Trainer) -> list[str]:
        named = trainer.student.named_modules()
        return [name for name, one in named if one._forward_pre_hooks or one._forward_hooks]

    # Transformers' own stand on no layer that nobody asked for
    plain = stepped({})
    assert plain.matching is None
    assert hooks(plain) == []
    assert plain.student.config._attn_implementation == "sdpa"
    states = stepped({"hidden": {"layers": [{"student": 1, "teacher": 2}]}})
    assert hooks(states) == ["model.layers.1"]
    assert states.student.config._attn_implementation == "sdpa"
    assert list(states.teacher._tables) == [2]
    maps = stepped({"attention": {"map": "last"}})
    assert hooks(maps) == ["model.layers.1.self_attn"]
    assert maps.student.config._attn_implementation == "eager"


def params(**changes: Any) -> Any:
    given = {"hidden": {"layers": [{"student": 1, "teacher": 1}, {"student": 2, "teacher": 1}]}}
    return world.params(losses=terms(given, kl=0.5), needs_teacher=True, **changes)


def test_a_killed_run_goes_on_bit_for_bit_with_its_matrices(taught: dict[str, Path], tmp_path: Path) -> None:
    asked = params(checkpoint_every=1, validation=Validation(every=3), keeps_states=True)
    whole, again = Stage(tmp_path / "whole", taught), Stage(tmp_path / "again", taught)
    train(taught, asked, whole)
    cut = Interrupted(tmp_path / "cut", taught)
    with pytest.raises(Stopped):
        train(taught, asked, cut)
    again.scratch = cut.scratch
    train(taught, asked, again)
    assert again.kept_at[0] > 0
    assert digest.of_folder(again.root / CHECKPOINT) == digest.of_folder(whole.root / CHECKPOINT)
    assert (again.root / REPORT).read_bytes() == (whole.root / REPORT).read_bytes()


@pytest.mark.parametrize("forget", ["beside.", also("optimizer.exp_avg."), also("optimizer.exp_avg_sq.")])
@longer
def test_a_resume_that_forgets_the_matrices_gives_other_bytes(
    forget: str, taught: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the equality of bytes proves that they are kept, with their moments."""
    asked, restore = params(checkpoint_every=1), loop.restore_beside
    whole, second = Stage(tmp_path / "whole", taught), Stage(tmp_path / "second", taught)
    train(taught, asked, whole)
    cut = Interrupted(tmp_path / "cut", taught)
    with pytest.raises(Stopped):
        train(taught, asked, cut)
    second.scratch = cut.scratch

    def forgetful(module: Any, optimizer: Any, tensors: dict[str, torch.Tensor]) -> None:
        kept = {name: torch.zeros_like(one) if name.startswith(forget) else one for name, one in tensors.items()}
        restore(module, optimizer, kept)

    monkeypatch.setattr(loop, "restore_beside", forgetful)
    train(taught, asked, second)
    name = f"{CHECKPOINT}/model.safetensors"
    assert (second.root / name).read_bytes() != (whole.root / name).read_bytes()


def test_the_student_has_no_matrix_and_the_report_names_it(taught: dict[str, Path], tmp_path: Path) -> None:
    stage = Stage(tmp_path, taught)
    train(taught, params(steps=3), stage)
    tensors = load_file(stage.root / CHECKPOINT / "model.safetensors")
    assert set(tensors) == set(build.build(world.architecture(), 1).state_dict()) - {"lm_head.weight"} | (
        {"lm_head.weight"} & set(tensors)
    )
    data = stage.reports["report"]["data"]
    told = data["layers"]["hidden"]
    assert [(one["student"]["value"], one["teacher"]["value"], one["projection"]["value"]) for one in told] == [
        (1, 1, 48 * 32),
        (2, 1, 48 * 32),
    ]
    assert data["terms"]["hidden"]["final"]["unit"] == "1/token"
    assert data["parameters"]["value"] == build.count(build.build(world.architecture(), 1))


def test_a_teacher_that_is_not_there_is_asked_for() -> None:
    with pytest.raises(Refusal, match="loss `hidden` needs a teacher's layers"):
        distill._check_needs(
            world.params(losses=terms({"hidden": {}}, ce_truth=1.0)), objective.bind(terms({"hidden": {}}))
        )


def detached(patch: pytest.MonkeyPatch) -> None:
    """The matrix is trained, and the student is not."""
    projected = matching.Matching.projected
    patch.setattr(
        matching.Matching, "projected", lambda self, name, pair, states: projected(self, name, pair, states.detach())
    )


def test_a_term_that_trains_its_matrix_alone_is_refused(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detached(monkeypatch)
    with pytest.raises(Refusal, match="loss `hidden` has a value but its gradient is exactly zero at step 0"):
        train(taught, params(), Stage(tmp_path, taught))
    asked = test_reach.params("hidden")
    with pytest.raises(Refusal, match="loss `hidden` does not reach every parameter") as caught:
        test_reach.run(tmp_path / "reach", taught, asked)
    assert caught.value.code == "KR0128"


@pytest.mark.parametrize("name", ["hidden", "attention"])
def test_a_term_that_is_not_finite_is_named(
    name: str, taught: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside one over logits that is: what a head does not read is looked at, too."""
    mutate_losses(
        monkeypatch,
        lambda loss: (
            replace(loss, value=lambda s, t, y, p: loss.value(s, t, y, p) * math.nan) if loss.name == name else loss
        ),
    )
    given = {name: {"layers": [{"student": 1, "teacher": 1}]}}
    asked = world.params(losses=terms(given, kl=0.5), needs_teacher=True)
    with pytest.raises(
        Refusal, match=rf"loss `{name}` is nan at step 0.*; the value of loss `{name}`, of finite logits"
    ):
        train(taught, asked, Stage(tmp_path, taught))


@pytest.mark.parametrize(
    ("name", "given", "reached"),
    [
        # of 21 tensors: embedding, two layers of nine, last norm, head
        ("hidden", {"layers": [{"student": 0, "teacher": 3}]}, 1),
        ("hidden", {"layers": [{"student": 1, "teacher": 1}]}, 10),
        ("hidden", {"map": "last"}, 20),
        # norm, queries and keys
        ("attention", {"layers": [{"student": 1, "teacher": 1}]}, 4),
        ("attention", {"map": "last"}, 13),
    ],
)
def test_a_term_reaches_the_layers_it_reads_and_those_below(
    name: str, given: dict[str, Any], reached: int, base: dict[str, Path], tmp_path: Path
) -> None:
    asked = test_reach.params(name)
    asked = asked.model_copy(update={"terms": [asked.terms[0].model_copy(update={"params": given})]})
    data = test_reach.run(tmp_path, base, asked)
    told = data["terms"][name]["tensors_reached"]
    assert (told["k"], told["n"]) == (reached, reached)


def test_a_layer_that_is_left_out_below_one_that_is_read_is_named(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build.build

    def cut(*given: Any, **named: Any) -> Any:
        model = made(*given, **named)
        model.model.layers[0].mlp = test_reach.Cut(model.model.layers[0].mlp)
        return model

    monkeypatch.setattr(build, "build", cut)
    for name in ("hidden", "attention"):
        with pytest.raises(Refusal, match=rf"loss `{name}` does not reach .*layers.0.mlp"):
            test_reach.run(tmp_path / name, base, test_reach.params(name))


def test_a_model_without_a_list_of_layers_is_refused() -> None:
    model = build.build(world.architecture(), 1)
    model.model.layers = torch.nn.Sequential(*model.model.layers)
    with pytest.raises(Refusal, match="are not in one list"):
        layers.listen(model, Wanted(frozenset({1})))


def kept(given: dict[str, dict[str, Any]]) -> tuple[int, Trainer]:
    """Bytes that autograd holds between forward and backward of one pass, the models' own weights left out."""
    trainer = stepped(given)
    batch = trainer.corpus.batch(range(test_passes.ROWS), test_passes.ROWS)
    weights = {one.untyped_storage().data_ptr() for one in trainer.trained}
    held: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden_NH, read = trainer._given(batch, objective.totals(batch.masks_N), trainer.teacher)
        whole, _ = onepass.total(hidden_NH, trainer.head, read, trainer.terms, [1.0] * len(trainer.terms), 64)
    assert whole.requires_grad
    return sum(one.untyped_storage().nbytes() for one in held.values()), trainer


@pytest.mark.parametrize(
    "given",
    [
        also({"hidden": {"map": "uniform"}}),
        {"hidden": {"map": "uniform", "distance": "cosine"}},
        also({"attention": {"map": "last"}}),
        {"attention": {"map": "uniform"}},
    ],
)
def test_the_formula_counts_what_layers_keep(given: dict[str, dict[str, Any]]) -> None:
    """What autograd holds to within a tenth where it holds most (a cosine keeps more than a difference); what is there
    for a moment, and the gradient on its way back, are beside that."""
    plain, without = kept({})
    found, trainer = kept(given)
    batch = trainer.corpus.batch(range(test_passes.ROWS), test_passes.ROWS)
    tokens, supervised, longest = batch.positions, len(batch.target_N), test_passes.LONGEST
    a, compared = trainer.params.architecture, memory.compared_of(trainer.matching, 48)
    said = compared.parts(a, tokens, longest, supervised)["layers"]
    gradient = 4 * tokens * max(a.hidden_size if compared.states else 0, 4 * longest if compared.maps else 0)
    eager = [footprint.activations(a, tokens, row=longest, eager=one) for one in (compared.maps > 0, False)]
    assert without.matching is None
    assert 0.9 <= (said - gradient + eager[0] - eager[1]) / (found - plain) < 1.7


@longer
def test_the_student_becomes_like_its_teacher_inside(taught: dict[str, Path], tmp_path: Path) -> None:
    """Beside what is said alone: the distance falls."""
    stage = Stage(tmp_path, taught)
    train(taught, params(steps=60), stage)
    curve = stage.reports["report"]["data"]["terms"]["hidden"]["curve"]
    assert curve[-1]["value"]["value"] < 0.5 * curve[0]["value"]["value"]
