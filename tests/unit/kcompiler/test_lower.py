"""Spec → nodes: which section makes which steps, what each takes, and what it must wait for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from runtime import digest
from runtime.contract.fixtures import WORLD
from runtime.tools.broker import recording
from tests.unit.kcompiler.compiling import ROOT, STAGE, lowered
from tests.unit.runtime.suites import scenes

EVERY = [
    "data",
    "teacher",
    "tokenizer",
    "reach",
    "train-kd",
    "probe",
    "export",
    "convert",
    "verify",
    "evaluate-answers",
]


def test_every_section_makes_its_steps(tmp_path: Path) -> None:
    nodes, inputs = lowered(tmp_path)
    assert list(nodes) == EVERY
    assert inputs == []
    assert {name: node.step for name, node in nodes.items()} == {
        "data": "data",
        "teacher": "bootstrap",
        "tokenizer": "tokenizer",
        "reach": "reach",
        "train-kd": "train",
        "probe": "probe",
        "export": "export",
        "convert": "convert",
        "verify": "verify",
        "evaluate-answers": "evaluate",
    }


def test_every_node_points_back_into_the_spec(tmp_path: Path) -> None:
    nodes, _ = lowered(tmp_path)
    assert nodes["train-kd"].origin == "/training/stages/0"
    assert nodes["evaluate-answers"].origin == "/evaluation/suites/0"
    assert all(node.origin.startswith("/") for node in nodes.values())


def test_every_default_is_written_out(tmp_path: Path) -> None:
    """What the spec leaves out stands in the params, so that a later default changes no earlier plan unseen."""
    params = lowered(tmp_path)[0]["train-kd"].params
    assert params["optimizer"]["beta2"] == 0.95
    assert params["chunk_tokens"] == 128
    assert params["max_length"] == 64, "the longest prefill shape"


@pytest.mark.parametrize(("form", "blocks"), [("int8", 0.05), ("lut4", 0.4)])
def test_an_error_ledger_is_a_step_of_its_own_with_the_tolerances_of_the_recipe(
    form: str, blocks: float, tmp_path: Path
) -> None:
    def change(data: dict[str, Any]) -> None:
        data["quantization"] = {"default": {"weights": form, "granularity": "per_tensor"}}
        data["verification"] = {"ledger": True, "prompts": 3}

    nodes, _ = lowered(tmp_path, change)
    ledger, verify = nodes.pop("error-ledger"), nodes["verify"]
    assert list(nodes) == EVERY
    assert (ledger.step, ledger.origin, dict(ledger.takes)) == (
        "error_ledger",
        "/verification/ledger",
        dict(verify.takes),
    )
    assert ledger.params == {
        "float32": 1e-5,
        "float16": 0.02,
        "quantized": blocks,
        "prefill": verify.params["prefill"],
        "decode_context": verify.params["decode_context"],
        "layers": verify.params["layers"],
        "golden_prompts": 3,
        "decode_steps": verify.params["decode_steps"],
        "threads": 2,
        "mode": "fp16_round",
    }


def test_a_suite_in_shards_is_gathered_by_a_step_of_its_old_name(tmp_path: Path) -> None:
    """Whoever reads the report finds it where it was, about the same models."""
    alone = lowered(tmp_path)[0]["evaluate-answers"]

    def change(data: dict[str, Any]) -> None:
        data["evaluation"]["suites"][0]["shards"] = 3

    nodes, _ = lowered(tmp_path, change)
    shards = [nodes[f"evaluate-answers-shard-{number}"] for number in range(3)]
    gathered = nodes["evaluate-answers"]
    assert [shard.params["shard"] for shard in shards] == [{"index": number, "of": 3} for number in range(3)]
    assert [dict(shard.takes) for shard in shards] == [dict(alone.takes)] * 3
    lines = {f"shard_{number}": f"step:evaluate-answers-shard-{number}#lines" for number in range(3)}
    assert dict(gathered.takes) == {**alone.takes, **lines}
    assert (gathered.gives["report"], gathered.gives["items"]) == (alone.gives["report"], alone.gives["items"])
    assert (gathered.step, gathered.backend) == ("gather", alone.backend)


def test_a_baseline_validates_as_the_student_does_and_by_its_own_total_where_it_lacks_the_loss(tmp_path: Path) -> None:
    """Its own best state is what it is compared by; states on the way are given of the student alone."""

    def change(data: dict[str, Any]) -> None:
        data["training"]["stages"][0]["validation"] = {"every": 10, "metric": "kl", "patience": 2, "least_gain": 0.5}
        data["data"]["validation"] = 0.1
        data["evaluation"]["baselines"] = ["ce_only"]

    nodes, _ = lowered(tmp_path, change)
    student, baseline = nodes["train-kd"], nodes["train-ce_only-kd"]
    assert student.params["validation"] == {"every": 10, "metric": "kl", "patience": 2, "least_gain": 0.5}
    assert baseline.params["validation"] == {**student.params["validation"], "metric": "total"}
    assert set(student.gives) - set(baseline.gives) == {"states"}
    assert nodes["data"].params["validation"] == 0.1
    # its rows are read as those that are learnt from
    assert nodes["tokenizer"].params["lengths"]["validation"] == nodes["tokenizer"].params["lengths"]["train"]
    plain, _ = lowered(tmp_path)
    assert "states" not in plain["train-kd"].gives
    assert "validation" not in plain["tokenizer"].params["lengths"]


def test_the_semantics_of_each_loss_are_pinned(tmp_path: Path) -> None:
    term = lowered(tmp_path)[0]["train-kd"].params["losses"][0]
    assert term["params"] == {"temperature": 2.0}
    assert term["semantics"]["direction"] == "forward: KL(teacher || student)"


@pytest.mark.parametrize(
    ("step", "waits_for"),
    [
        ("teacher", {"tokenizer"}),
        ("reach", {"tokenizer"}),
        ("train-kd", {"tokenizer", "reach"}),
        ("export", {"tokenizer", "probe"}),
        ("convert", {"export"}),
        ("verify", {"export", "convert"}),
        ("evaluate-answers", {"verify"}),
    ],
)
def test_preconditions_are_edges(tmp_path: Path, step: str, waits_for: set[str]) -> None:
    """Contract before training, lint before conversion, goldens before evaluation on the package."""
    assert waits_for <= set(lowered(tmp_path)[0][step].upstream())


def test_only_a_stage_whose_losses_need_logits_takes_the_teacher(tmp_path: Path) -> None:
    nodes, _ = lowered(tmp_path, lambda data: data["training"].update(stages=[STAGE]))
    assert "teacher" not in nodes["train-kd"].takes
    assert nodes["train-kd"].params["needs_teacher"] is False
    nodes, _ = lowered(tmp_path)
    assert nodes["train-kd"].takes["teacher"] == "step:teacher#checkpoint"


def test_a_teacher_whose_weights_are_here_answers_once_for_all_stages(tmp_path: Path) -> None:
    def asked(data: dict[str, Any]) -> None:
        term = {"term": "sequence_kd", "weight": 1.0}
        data["teacher"] = {
            "source": "hf",
            "model": "hf:a/b",
            "revision": "1" * 40,
            "signals": ["text"],
            "parameters": 100_000,
            "license": "MIT",
        }
        data["tokenizer"]["source"] = "teacher"
        data["training"]["stages"] = [
            {**STAGE, "losses": [term]},
            {**STAGE, "name": "more", "from": "kd", "losses": [term]},
        ]
        data["data"] |= {"too_long": "drop", "too_long_at_most": 0.05}

    nodes, _ = lowered(tmp_path, asked)
    assert nodes["answers"].step == "generate_answers"
    assert nodes["answers"].takes["teacher"] == "step:teacher#checkpoint"
    assert nodes["answers"].params["model"] == "hf:a/b"
    assert (nodes["answers"].params["longest"], nodes["answers"].params["allow_missing"]) == (64, 0.05)
    for name in ("train-kd", "train-more"):
        assert nodes[name].takes["answers"] == "step:answers#answers"
        assert nodes[name].params["responses"] == "teacher"
        assert "teacher" not in nodes[name].takes


def test_the_baseline_is_the_same_student_without_the_teacher(tmp_path: Path) -> None:
    nodes, _ = lowered(tmp_path, lambda data: data["evaluation"].update(baselines=["ce_only"]))
    student, baseline = nodes["train-kd"], nodes["train-ce_only-kd"]
    assert "teacher" not in baseline.takes
    assert [term["term"] for term in baseline.params["losses"]] == ["ce_truth"]
    different = {key for key in student.params if student.params[key] != baseline.params[key]}
    assert different == {"losses", "needs_teacher"}
    assert baseline.seed == student.seed
    assert nodes["evaluate-answers"].takes["ce_only"] == "step:train-ce_only-kd#checkpoint"


@pytest.mark.parametrize(("suite", "asked"), [("scenarios", ["test"]), ("answers", [])])
def test_rows_that_are_asked_with_tools_are_measured_so(tmp_path: Path, suite: str, asked: list[str]) -> None:
    (tmp_path / "specs/fixtures").mkdir(parents=True)
    (tmp_path / "specs/tools.json").write_text(json.dumps(scenes.TOOLS), encoding="utf-8")
    for name, lines in scenes.lines().items():
        file = tmp_path / "specs/fixtures" / (WORLD if name == "world" else f"{name}.jsonl")
        file.write_text(recording.written(lines), encoding="utf-8")

    def asks(data: dict[str, Any]) -> None:
        data["evaluation"]["suites"] = [{"use": suite}]
        data["data"].update({"tools": "tools.json"} | ({"fixtures": "fixtures"} if asked else {}))

    nodes, _ = lowered(tmp_path, asks)
    assert nodes["tokenizer"].params["asked_with_tools"] == asked


def test_a_baseline_from_random_weights_differs_in_nothing_else(tmp_path: Path) -> None:
    """Of a student that is cut from its teacher, in two stages; only the suite that reads it is given it."""

    def cut(data: dict[str, Any]) -> None:
        data["teacher"] = {
            "source": "hf",
            "model": "hf:a/b",
            "revision": "0" * 40,
            "license": "MIT",
            "parameters": 100_000,
            "signals": ["logits"],
        }
        data["tokenizer"].update(source="teacher")
        data["student"]["cut"] = {"layers": {"by": "even", "count": 2}}
        data["training"]["stages"].append({**STAGE, "name": "more", "from": "kd"})
        data["evaluation"] = {
            "suites": [{"use": "language_model"}, {"use": "answers"}],
            "baselines": ["ce_only", "random_init"],
        }

    nodes, _ = lowered(tmp_path, cut)
    student, baseline = nodes["train-kd"], nodes["train-random_init-kd"]
    assert {key for key in student.params if student.params[key] != baseline.params[key]} == {"init"}
    assert (student.params["init"], baseline.params["init"]) == ("checkpoint", "random")
    assert {**baseline.takes, "from": "step:student#checkpoint"} == dict(student.takes)
    assert "from" not in baseline.takes
    assert baseline.seed == student.seed
    assert nodes["train-random_init-more"].params == nodes["train-more"].params
    assert nodes["train-random_init-more"].takes["from"] == "step:train-random_init-kd#checkpoint"
    assert nodes["train-more"].takes["from"] == "step:train-kd#checkpoint"
    texts, answers = nodes["evaluate-language_model"], nodes["evaluate-answers"]
    assert texts.params["runners"] == ["teacher", "student", "ce_only", "random_init", "coreml"]
    assert texts.takes["random_init"] == "step:train-random_init-more#checkpoint"
    assert answers.params["runners"] == ["teacher", "student", "ce_only", "coreml"]
    assert "random_init" not in answers.takes


def test_stages_follow_each_other_and_the_last_one_is_delivered(tmp_path: Path) -> None:
    def two(data: dict[str, Any]) -> None:
        data["training"]["stages"].append({**STAGE, "name": "more", "from": "kd"})
        data["evaluation"]["baselines"] = ["ce_only"]

    nodes, _ = lowered(tmp_path, two)
    assert nodes["train-more"].takes["from"] == "step:train-kd#checkpoint"
    assert nodes["train-more"].params["init"] == "checkpoint"
    assert nodes["train-ce_only-more"].takes["from"] == "step:train-ce_only-kd#checkpoint"
    for name in ("probe", "export", "verify", "evaluate-answers"):
        assert nodes[name].takes["checkpoint"] == "step:train-more#checkpoint"


def test_files_are_pinned_by_what_they_hold(tmp_path: Path) -> None:
    rows = tmp_path / "specs" / "rows.jsonl"
    rows.parent.mkdir()
    rows.write_text('{"question": "Will it?", "answer": "Yes."}\n', encoding="utf-8")
    fields = {"prompt": "question", "response": "answer"}
    source = {"name": "mine", "kind": "jsonl", "path": "rows.jsonl", "license": "MIT", "fields": fields}
    nodes, inputs = lowered(tmp_path, lambda data: data["data"]["sources"].append(source))
    assert nodes["data"].takes == {"source_mine": "input:source_mine"}
    (entry,) = inputs
    assert (entry.path, entry.kind, entry.license) == ("specs/rows.jsonl", "file", "MIT")
    assert (entry.digest, entry.bytes) == (digest.of_file(rows), rows.stat().st_size)


@pytest.mark.parametrize(("dtype", "once"), [("fp32", True), ("bf16", False)])
def test_a_student_starts_from_the_teachers_weights_as_they_are(tmp_path: Path, dtype: str, once: bool) -> None:
    weights = tmp_path / "specs" / "weights"
    shutil.copytree(next(ROOT.glob("tests/golden/validate/KC4346-*/teacher")), weights)
    named = {"model": "weights", "revision": digest.of_folder(weights), "license": "MIT"}

    def change(data: dict[str, Any]) -> None:
        data["teacher"] = {"source": "hf", "signals": ["logits"], "dtype": dtype, **named}
        data["tokenizer"] = {"source": "teacher", "template": data["tokenizer"]["template"]}
        data["student"] = {"role": "toy", "architecture": "from checkpoint", "checkpoint": named}

    nodes, _ = lowered(tmp_path, change)
    start = nodes["train-kd"].takes["from"]
    assert start == ("step:teacher#checkpoint" if once else "step:student#checkpoint")
    assert nodes[start.removeprefix("step:").partition("#")[0]].params["dtype"] == "fp32"
    assert nodes["train-kd"].takes["teacher"] == "step:teacher#checkpoint"
    assert (nodes["reach"].takes["from"], nodes["reach"].params["architecture"]) == (start, None)


def test_a_tool_registry_is_an_input(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    shutil.copytree(ROOT / "specs" / "tools", tmp_path / "specs" / "tools")
    nodes, inputs = lowered(tmp_path, lambda data: data["data"].update(tools="tools/registry.json"))
    assert nodes["data"].takes == {"tools": "input:tools"}
    assert nodes["data"].params["has_tools"] is True
    assert [entry.path for entry in inputs] == ["specs/tools/registry.json"]


def test_the_null_backend_takes_every_step(tmp_path: Path) -> None:
    nodes, _ = lowered(tmp_path, backend="null")
    assert {node.backend for node in nodes.values()} == {"null"}


def test_further_steps_are_joined_by_their_references(tmp_path: Path) -> None:
    takes = {"dataset": "data#dataset", "tokenizer": "step:tokenizer#tokenizer", "checkpoint": "teacher#checkpoint"}
    params = {"lengths": [32], "decode_context": 64}
    extra = {"id": "look", "use": "probe", "takes": takes, "params": params}
    node = lowered(tmp_path, lambda data: data.update(steps=[extra]))[0]["look"]
    assert node.takes == {
        "dataset": "step:data#dataset",
        "tokenizer": "step:tokenizer#tokenizer",
        "checkpoint": "step:teacher#checkpoint",
    }
    assert node.origin == "/steps/0"


def test_the_seed_of_the_spec_is_the_seed_of_every_step(tmp_path: Path) -> None:
    nodes, _ = lowered(tmp_path, lambda data: data.update(execution={"seed": 7}))
    assert {node.seed for node in nodes.values()} == {7}


def test_where_long_rows_are_dropped_everything_reads_those_that_fit(tmp_path: Path) -> None:
    """And nothing else changes: the tokenizer itself is made from all rows."""
    kept, _ = lowered(tmp_path)
    nodes, _ = lowered(tmp_path, lambda data: data["data"].update(too_long="drop"))
    assert nodes["tokenizer"].takes["dataset"] == "step:data#dataset"
    assert "dataset" in nodes["tokenizer"].gives
    assert "dataset" not in kept["tokenizer"].gives
    readers = {name: node.takes["dataset"] for name, node in nodes.items() if "dataset" in node.takes}
    assert set(readers) == {
        "teacher",
        "tokenizer",
        "reach",
        "train-kd",
        "probe",
        "export",
        "verify",
        "evaluate-answers",
    }
    assert {readers[name] for name in readers if name != "tokenizer"} == {"step:tokenizer#dataset"}
    assert kept["tokenizer"].params["lengths"] == {
        "train": {"tokens": 64, "field": "shapes.prefill"},
        "test": {"tokens": 64, "field": "shapes.prefill"},
    }


def test_each_term_is_tried_once_before_any_training(tmp_path: Path) -> None:
    """Of all stages and of the baseline; what a weight is, is none of its business, and no teacher is asked."""

    def stages(data: dict[str, Any]) -> None:
        first, second = (
            [{"term": "kl", "weight": weight}, {"term": "ce_truth", "weight": 0.1}] for weight in (0.5, 0.9)
        )
        third = [{"term": "kl", "weight": 0.5, "temperature": 1.0}]
        terms = zip("abc", (first, second, third), strict=True)
        made = [{**STAGE, "name": name, "losses": losses} for name, losses in terms]
        data["training"]["stages"] = [made[0], *({**one, "from": "ab"[i]} for i, one in enumerate(made[1:]))]
        data["evaluation"]["baselines"] = ["ce_only"]

    nodes, _ = lowered(tmp_path, stages)
    tried = [(term["term"], term["params"]) for term in nodes["reach"].params["terms"]]
    assert tried == [("kl", {"temperature": 2.0}), ("ce_truth", {}), ("kl", {"temperature": 1.0})]
    assert nodes["reach"].takes == {"dataset": "step:data#dataset", "tokenizer": "step:tokenizer#tokenizer"}
    trained = [node for node in nodes.values() if node.step == "train"]
    assert len(trained) == 6
    assert all("reach" in node.after for node in trained)


def test_what_forges_is_asked_and_is_no_part_of_how_far_the_others_are_apart(tmp_path):
    gold, mil = {"use": "verification_only"}, {"use": "mil"}

    def among(*runners):
        def change(data):
            data["evaluation"] = {"suites": [{"use": "gold", "match": "exact"}], "runners": list(runners)}

        return lowered(tmp_path, change)[0]

    parity = among(gold, mil)["parity-gold"]
    assert parity.params["further"] == ["mil"]
    assert "verification_only" not in parity.params["models"]
    assert set(parity.takes) == {"items", "items_mil"}
    assert "ask-gold-verification_only" in among(gold, mil)
    # alone there is nobody else, and the report is a forged one
    assert among(gold)["parity-gold"].params["further"] == ["verification_only"]


def test_packages_are_made_for_and_verified_against_one_system(tmp_path: Path) -> None:
    # what is left out is iOS18, and all
    assert lowered(tmp_path)[0]["convert"].params["deployment"] == "iOS18"
    asked = {"deployment": "iOS26", "compute_units": "cpu_and_gpu"}
    nodes, _ = lowered(tmp_path, lambda data: data.update(export=asked))
    assert [{key: nodes[step].params[key] for key in asked} for step in ("convert", "verify")] == [asked] * 2
