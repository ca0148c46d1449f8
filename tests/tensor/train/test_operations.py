"""The operations `train` and `bootstrap`: what they write, what they refuse, and that they write it twice alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from runtime import digest
from runtime.contract import Refusal
from runtime.contract.optimizer import Optimizer, Schedule
from runtime.machine.ledger import Ledger, record
from runtime.models import admission, build
from runtime.models import tokenizer as tokenizers
from runtime.steps.bootstrap import BootstrapParams
from runtime.steps.train import TrainParams
from runtime.train.bootstrap import bootstrap
from runtime.train.distill import train
from tests.longer import also
from tests.tensor.train import world
from tests.tensor.train.world import Stage

ALL = {"kl": 0.5, "ce_teacher": 0.1, "ce_truth": 0.2, "tool_name": 0.1, "json_args": 0.1}


def run(root: Path, takes: dict[str, Path], params: TrainParams, seed: int = 7) -> Stage:
    stage = Stage(root, takes)
    stage.seed = seed
    train(takes, params, stage)
    return stage


def distilling(**changes: Any) -> TrainParams:
    return world.params(losses=world.terms(**ALL), needs_teacher=True, **changes)


@pytest.fixture(scope="module")
def done(taught: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return run(tmp_path_factory.mktemp("kd"), taught, distilling(steps=12))


def test_the_checkpoint_loads_in_transformers(done: Stage) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(done.root / "checkpoint")
    assert model.config.vocab_size == world.VOCAB
    assert sorted(path.name for path in (done.root / "checkpoint").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    ]


def test_training_json_says_what_was_trained(done: Stage, taught: dict[str, Path]) -> None:
    found = json.loads((done.root / "checkpoint" / "training.json").read_text())
    assert [loss["term"] for loss in found["losses"]] == list(ALL)
    assert [loss["weight"] for loss in found["losses"]] == list(ALL.values())
    assert found["losses"][0]["params"] == {"temperature": 2.0}
    assert found["losses"][0]["semantics"]["temperature_squared"] is True
    assert found["teacher"] == digest.of_folder(taught["teacher"])
    assert (found["steps"], found["seed"]) == (12, 7)
    assert found["tokens_seen"] > 0
    assert str(done.root) not in json.dumps(found)


def test_every_number_of_the_report_is_a_datum(done: Stage) -> None:
    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict) and "tag" in value:
            assert value["unit"], path
            assert value["tag"] in ("measured", "unavailable"), path
            return
        if isinstance(value, dict):
            for name, item in value.items():
                walk(item, f"{path}.{name}")
        elif isinstance(value, list):
            for item in value:
                walk(item, path)
        else:
            assert isinstance(value, (str, bool)), path

    walk(done.reports["report"]["data"], "data")


def test_the_report_shows_each_term_by_itself(done: Stage) -> None:
    data = done.reports["report"]["data"]
    assert set(data["terms"]) == set(ALL)
    steps = [point["step"]["value"] for point in data["terms"]["kl"]["curve"]]
    assert steps == [0, 3, 6, 9, 11]
    for step in range(len(steps)):
        shares = [data["terms"][name]["curve"][step]["gradient_share"]["value"] for name in ALL]
        assert sum(shares) == pytest.approx(1.0)
    assert data["terms"]["tool_name"]["supervised_tokens"]["value"] < data["terms"]["kl"]["supervised_tokens"]["value"]
    assert all(term["least_gradient_norm"]["value"] > 0 for term in data["terms"].values())


def test_the_report_shows_the_supervised_text(done: Stage, base: dict[str, Path]) -> None:
    terms = done.reports["report"]["data"]["terms"]
    eos = tokenizers.load(base["tokenizer"]).decode([tokenizers.load(base["tokenizer"]).eos_id])
    first = world.row(0)
    assert terms["ce_truth"]["supervised_example"]["row"] == "row-0"
    assert terms["ce_truth"]["supervised_example"]["text"] == first["response"] + eos
    assert terms["ce_truth"]["supervised_example"]["last"] == eos
    assert terms["tool_name"]["supervised_example"]["text"].startswith("lamp")
    assert '"level": 0' in terms["json_args"]["supervised_example"]["text"]
    assert "lamp" not in terms["json_args"]["supervised_example"]["text"]


def test_fingerprints_are_those_of_the_inputs_and_the_checkpoint(done: Stage, base: dict[str, Path]) -> None:
    marks = done.reports["report"]["fingerprints"]
    assert marks["model"] == digest.of_folder(done.root / "checkpoint").removeprefix("sha256:")
    assert marks["dataset"] == digest.of_folder(base["dataset"]).removeprefix("sha256:")
    assert set(marks) == {"dataset", "tool_registry", "tokenizer", "prompt_wrapper", "model"}


def test_what_was_trained_is_examined_like_what_enters(done: Stage) -> None:
    entry = done.reports["report"]["data"]["entry"]
    assert [(one["check"], one["passed"]["value"]) for one in entry] == [(name, True) for name in admission.WHY]


def test_the_loss_falls(done: Stage) -> None:
    for term in done.reports["report"]["data"]["terms"].values():
        assert term["curve"][-1]["value"]["value"] < term["first"]["value"]


def test_the_same_run_twice_gives_the_same_bytes(done: Stage, taught: dict[str, Path], tmp_path: Path) -> None:
    again = run(tmp_path, taught, distilling(steps=12))
    assert digest.of_folder(again.root / "checkpoint") == digest.of_folder(done.root / "checkpoint")
    assert again.reports["report"]["data"] == done.reports["report"]["data"]


def test_another_seed_gives_other_weights(done: Stage, taught: dict[str, Path], tmp_path: Path) -> None:
    again = run(tmp_path, taught, distilling(steps=12), seed=8)
    name = "checkpoint/model.safetensors"
    assert (again.root / name).read_bytes() != (done.root / name).read_bytes()


def test_measuring_gradients_and_saving_states_do_not_change_the_training(
    taught: dict[str, Path], tmp_path: Path
) -> None:
    often = run(tmp_path / "often", taught, distilling(gradient_norms_every=1, checkpoint_every=1))
    seldom = run(tmp_path / "seldom", taught, distilling(gradient_norms_every=100, checkpoint_every=100))
    name = "checkpoint/model.safetensors"
    assert (often.root / name).read_bytes() == (seldom.root / name).read_bytes()


def unread(takes: dict[str, Path], params: Any, root: Path, operation: Any = train) -> list[str]:
    ledger = Ledger()
    operation(takes, record(params, ledger), Stage(root, takes))
    return ledger.unread()


def test_every_parameter_is_used(taught: dict[str, Path], tmp_path: Path) -> None:
    """Used one by one: a dump of all of them would count as using all, and hide the next that nothing reads."""
    (term,) = world.terms(kl=0.5)
    falling = term.model_copy(update={"schedule": Schedule(to=0.25, from_step=1, until_step=4)})
    losses = [falling, *world.terms(ce_truth=1.0)]
    optimizer = Optimizer(
        learning_rate=1e-3, warmup_steps=1, final_fraction=0.3, weight_decay=0.1, beta1=0.8, beta2=0.9, epsilon=1e-7
    )
    params = world.params(losses=losses, needs_teacher=True, optimizer=optimizer)
    assert unread(taught, params, tmp_path / "train") == []
    teacher = BootstrapParams(architecture=world.architecture(), steps=2, batch_size=8, max_length=96, threads=1)
    assert unread(taught, teacher, tmp_path / "bootstrap", bootstrap) == []


def test_a_parameter_without_effect_is_noticed(base: dict[str, Path], tmp_path: Path) -> None:
    optimizer = Optimizer(decay="constant", final_fraction=0.5, warmup_steps=1)
    assert unread(base, world.params(optimizer=optimizer), tmp_path) == ["optimizer.final_fraction"]


def test_the_process_settings_come_back(base: dict[str, Path], tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    run(tmp_path, base, world.params(steps=1))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi"])
def test_every_family_trains(family: str, taught: dict[str, Path], tmp_path: Path) -> None:
    shape = world.architecture(family=family, tie_word_embeddings=family != "phi")
    stage = run(tmp_path, taught, distilling(architecture=shape, steps=2))
    assert build.load(stage.root / "checkpoint").config.model_type == family


@pytest.mark.parametrize("family", ["gpt2", also("bloom"), "mamba", also("mixtral")])
def test_a_teacher_of_any_family_teaches_with_or_without_fused_attention(
    family: str, base: dict[str, Path], tmp_path: Path
) -> None:
    """Before: it came in, and the training refused to load it: "does not support sdpa"."""
    torch.manual_seed(2)
    config = AutoConfig.for_model(family, vocab_size=world.VOCAB, hidden_size=32, num_hidden_layers=2)
    config.update({"num_attention_heads": 4, "n_head": 4, "num_key_value_heads": 2, "intermediate_size": 48})
    (tmp_path / "teacher").mkdir()
    build.save(AutoModelForCausalLM.from_config(config), tmp_path / "teacher")
    stage = run(tmp_path / "out", {**base, "teacher": tmp_path / "teacher"}, distilling(steps=2))
    assert stage.reports["report"]["data"]["steps"]["value"] == 2


def test_bootstrap_trains_a_teacher_on_the_rows_own_tokens(base: dict[str, Path], tmp_path: Path) -> None:
    stage = Stage(tmp_path, base)
    params = BootstrapParams(architecture=world.architecture(), steps=4, batch_size=8, max_length=96, threads=1)
    bootstrap(base, params, stage)
    found = json.loads((stage.root / "checkpoint" / "training.json").read_text())
    assert [loss["term"] for loss in found["losses"]] == ["ce_truth"]
    assert (found["made_by"], found["teacher"]) == ("bootstrap", None)


def test_a_student_can_start_from_a_checkpoint(done: Stage, taught: dict[str, Path], tmp_path: Path) -> None:
    takes = {**taught, "from": done.root / "checkpoint"}
    stage = run(tmp_path, takes, distilling(init="checkpoint", steps=2))
    first = stage.reports["report"]["data"]["terms"]["ce_truth"]["first"]["value"]
    fresh = done.reports["report"]["data"]["terms"]["ce_truth"]["first"]["value"]
    assert first < 0.9 * fresh


def refuses(takes: dict[str, Path], params: TrainParams, root: Path, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        run(root, takes, params)
    assert not (root / "checkpoint").exists()


def test_refused_a_term_that_needs_an_absent_teacher(base: dict[str, Path], tmp_path: Path) -> None:
    """Defect D11 of the origin: a KL weight without teacher logits must not reach the first step."""
    refuses(base, world.params(losses=world.terms(kl=1.0)), tmp_path, "`kl` needs a teacher's logits")


def test_refused_a_teacher_that_no_term_reads(taught: dict[str, Path], tmp_path: Path) -> None:
    refuses(taught, world.params(needs_teacher=True), tmp_path, "no loss term reads it")


def test_refused_a_row_that_is_too_long_by_its_id(base: dict[str, Path], tmp_path: Path) -> None:
    refuses(base, world.params(max_length=20), tmp_path, r"row `row-\d+` has \d+ tokens, more than max_length 20")


def test_refused_a_length_beyond_the_context(base: dict[str, Path], tmp_path: Path) -> None:
    params = world.params(max_length=96, architecture=world.architecture(max_position_embeddings=64))
    refuses(base, params, tmp_path, "longer than the student's context of 64")


def test_refused_a_vocabulary_that_does_not_match(base: dict[str, Path], tmp_path: Path) -> None:
    params = world.params(architecture=world.architecture(vocab_size=VOCAB_OTHER))
    refuses(base, params, tmp_path, f"student has {VOCAB_OTHER} embedding rows, the tokenizer {world.VOCAB} tokens")


VOCAB_OTHER = world.VOCAB + 8


def test_refused_a_teacher_of_another_vocabulary(taught: dict[str, Path], tmp_path: Path) -> None:
    build_into = tmp_path / "other"
    build_into.mkdir()
    build.save(build.build(world.architecture(vocab_size=VOCAB_OTHER), 1), build_into)
    refuses({**taught, "teacher": build_into}, distilling(), tmp_path, f"teacher has {VOCAB_OTHER} embedding rows")


def test_refused_a_mask_without_a_single_token(tmp_path: Path, base: dict[str, Path]) -> None:
    """A term that sees zero tokens prints a fine curve and trains nothing (Soup's zero-token mask)."""
    data = world.dataset(tmp_path / "plain", spans=False)
    params = world.params(losses=world.terms(ce_truth=1.0, tool_name=1.0))
    refuses({**base, "dataset": data}, params, tmp_path, "`tool_name` would see no supervised token")


def test_refused_a_checkpoint_of_another_shape(done: Stage, base: dict[str, Path], tmp_path: Path) -> None:
    params = world.params(init="checkpoint", architecture=world.architecture(num_hidden_layers=3))
    refuses({**base, "from": done.root / "checkpoint"}, params, tmp_path, "num_hidden_layers = 2, the spec says 3")


def test_refused_no_rows(base: dict[str, Path], tmp_path: Path) -> None:
    data = world.dataset(tmp_path / "empty", count=0)
    refuses({**base, "dataset": data}, world.params(), tmp_path, "has no row that can be used")


def test_refused_a_schedule_that_ends_before_it_starts(base: dict[str, Path], tmp_path: Path) -> None:
    (term,) = world.terms(ce_truth=1.0)
    wrong = term.model_copy(update={"schedule": Schedule(to=0.5, from_step=5, until_step=5)})
    refuses(base, world.params(losses=[wrong]), tmp_path, "ends at step 5 and starts at 5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"term": "nothing"}, "no loss is called `nothing`"),
        ({"version": 99}, "wants version 99"),
        ({"semantics": {"direction": "sideways"}}, "another meaning"),
        ({"params": {"temperature": 2.0}}, "temperature"),
    ],
)
def test_refused_a_term_that_is_not_the_installed_loss(
    change: dict[str, Any], message: str, base: dict[str, Path], tmp_path: Path
) -> None:
    (term,) = world.terms(ce_truth=1.0)
    refuses(base, world.params(losses=[term.model_copy(update=change)]), tmp_path, message)


def test_refused_a_term_declared_twice(base: dict[str, Path], tmp_path: Path) -> None:
    refuses(base, world.params(losses=world.terms(ce_truth=1.0) * 2), tmp_path, "declared twice")


def test_refused_no_terms(base: dict[str, Path], tmp_path: Path) -> None:
    refuses(base, world.params(losses=[]), tmp_path, "no loss term")
