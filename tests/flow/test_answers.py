"""Teachers that answer, on the real command line: a record and a server; a student that starts from phi's weights."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PhiConfig, PhiForCausalLM

from runtime import digest
from tests.flow.world import ROOT, SIGNALLED, Result, kcompiler, signals
from tests.longer import longer
from tests.unit.runtime.data.teaching import completion, serving

LETTERS = "ABCD"


def question(i: int) -> tuple[str, str]:
    """A question whose right letter stands in it."""
    letter = LETTERS[i % 4]
    return f"row {i}: the letter is {letter}. Which?\n", letter


def rows(first: int, count: int) -> str:
    lines = []
    for i in range(first, first + count):
        prompt, letter = question(i)
        lines.append(json.dumps({"prompt": prompt, "response": letter, "spans": {"choice": [[0, 1]]}}) + "\n")
    return "".join(lines)


def recorded(first: int, count: int) -> str:
    """A teacher that is right and fairly sure of it."""
    lines = []
    for i in range(first, first + count):
        prompt, letter = question(i)
        choices = {one: -0.2 if one == letter else -2.8 for one in LETTERS}
        lines.append(json.dumps({"prompt": prompt, "text": letter, "choices": choices}) + "\n")
    return "".join(lines)


def phi(folder: Path) -> str:
    """A tiny phi with its own tokenizer, as one would download it; returns its tree digest."""
    folder.mkdir(parents=True)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    end = [AddedToken("<|endoftext|>", special=True)]
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=end, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator([question(i)[0] for i in range(40)], trainer)
    backend.save(str(folder / "tokenizer.json"))
    config = PhiConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        partial_rotary_factor=0.5,
        bos_token_id=0,
        eos_token_id=0,
    )
    PhiForCausalLM(config).save_pretrained(folder)
    return digest.of_folder(folder)


def spec(teacher: Mapping[str, Any], losses: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "kcompiler/v1",
        "kind": "Distillation",
        "metadata": {"name": "letters", "owner": "me"},
        "risk_tier": 3,
        "teacher": {"allow_missing": 0.0, "model": "teacher-1", **teacher},
        "tokenizer": {
            "source": "student",
            "vocab_size": 320,
            "special": {"pad": "<|pad|>", "bos": "<|bos|>", "eos": "<|endoftext|>"},
            "added": ["pad", "bos"],
            "template": "{prompt}{response}",
        },
        "data": {
            "sources": [
                {"name": "train", "kind": "jsonl", "path": "train.jsonl", "split": "train", "license": "CC0-1.0"},
                {"name": "test", "kind": "jsonl", "path": "test.jsonl", "split": "test", "license": "CC0-1.0"},
            ],
            "targets": ["response", "choice"] if losses[0]["term"] == "choice_kl" else ["response"],
        },
        "student": {
            "role": "toy",
            "architecture": {
                "family": "phi",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "max_position_embeddings": 64,
                "rms_norm_eps": 1.0e-5,
                "tie_word_embeddings": False,
            },
            "checkpoint": {"model": "phi", "revision": "", "license": "MIT"},
        },
        "training": {
            "stages": [
                {
                    "name": "kd",
                    "steps": 40,
                    "batch_size": 8,
                    "gradient_checkpointing": True,
                    "losses": losses,
                    "optimizer": {"learning_rate": 5.0e-3, "warmup_steps": 4},
                }
            ]
        },
        "shapes": {"prefill": [48, 64], "decode": {"context": 64}},
        "quantization": {"default": {"weights": "int8"}, "rules": [{"match": "*norm*", "weights": "fp16"}]},
        "evaluation": {"suites": [{"use": "choice"}], "baselines": ["ce_only"]},
        "hardware": {"profile": "m1-max-64gb"},
        "budgets": {"usd": 0, "gpu_hours": 0, "wall_s": 600},
        "policies": ["caws/core"],
        "execution": {"threads": 1},
    }


def project(root: Path, data: dict[str, Any]) -> Path:
    (root / ".kcompiler").mkdir(parents=True)
    data["student"]["checkpoint"]["revision"] = phi(root / "phi")
    (root / "train.jsonl").write_text(rows(0, 48), encoding="utf-8")
    (root / "test.jsonl").write_text(rows(100, 12), encoding="utf-8")
    (root / "answers.jsonl").write_text(recorded(0, 48), encoding="utf-8")
    (root / "letters.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return root


def report(root: Path, step: str) -> dict[str, Any]:
    text = (root / "generated/letters/evidence/reports" / f"{step}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)["data"]
    return found


@pytest.mark.slow
@longer
def test_a_record_teaches_phi_choice_by_choice(tmp_path: Path) -> None:
    teacher = {"source": "recorded", "path": "answers.jsonl", "signals": ["choices"]}
    losses = [{"term": "choice_kl", "weight": 0.7}, {"term": "ce_truth", "weight": 0.3}]
    home = project(tmp_path / "project", spec(teacher, losses))
    kcompiler("apply", "letters.yaml", cwd=home, timeout=400).ended(0, "")
    training = report(home, "train-kd")
    curve = training["terms"]["choice_kl"]["curve"]
    assert curve[-1]["value"]["value"] < curve[0]["value"]["value"]
    assert training["rows_without_answer"]["value"] == 0
    assert report(home, "teacher")["answered"]["k"] == 48
    choice = report(home, "evaluate-choice")
    assert choice["accuracy"]["student"]["n"] == 12
    assert choice["accuracy"]["teacher"]["tag"] == "unavailable"
    origin = next((home / ".kcompiler/store").rglob("training.json"))
    assert origin.is_file()
    kcompiler("audit", "letters.yaml", cwd=home).ended(0, "")
    again = kcompiler("apply", "letters.yaml", cwd=home).ended(0, "")
    assert set(again.steps().values()) == {"reused"}
    # a record that lacks a row is refused while compiling, before anything runs
    (home / "answers.jsonl").write_text(recorded(0, 47), encoding="utf-8")
    refused = kcompiler("apply", "letters.yaml", cwd=home).ended(1, "invalid")
    assert "KC4213" in refused.err


def letter_of(prompt: str, _count: int) -> Any:
    return 200, {}, completion(prompt.partition("letter is ")[2][:1])


def hosted(url: str, **more: Any) -> dict[str, Any]:
    pace = {"requests_per_minute": 100_000, "usd_per_million_input": 100.0, "usd_per_million_output": 100.0}
    return {"source": "openai", "base_url": url, **pace, "signals": ["text"], **more}


def edited(home: Path, **changes: Any) -> None:
    """The spec with other values, by dotted path."""
    path = home / "letters.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        place = data
        for section in sections:
            place = place[section]
        place[key] = value
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


@pytest.mark.slow
def test_a_server_teaches_at_the_first_apply_and_no_edit_pays_twice(tmp_path: Path) -> None:
    """The whole of it: exit codes, the key nowhere, and after each edit the server hears of new rows alone."""
    canary = "canary-8d21"
    env = {"TEACHER_KEY": canary}
    with serving(letter_of) as server:
        teacher = hosted(server.url, api_key="env:TEACHER_KEY", max_tokens=4)
        home = project(tmp_path / "project", spec(teacher, [{"term": "sequence_kd", "weight": 1.0}]))
        edited(home, **{"budgets.usd": 1})
        missing = kcompiler("apply", "letters.yaml", cwd=home, timeout=300).ended(6, "step-failed")
        assert "env:TEACHER_KEY is not set" in missing.err
        assert not server.asked
        first = kcompiler("apply", "letters.yaml", cwd=home, env=env, timeout=400)
        assert first.ended(0, "").out, first.text
        assert len(server.asked) == 48
        kcompiler("audit", "letters.yaml", cwd=home).ended(0, "")
        assert report(home, "train-kd")["terms"]["sequence_kd"]["curve"][-1]["value"]["value"] < 1.0
        for change in (
            {"budgets.usd": 2},
            {"teacher.concurrency": 9},
            {"teacher.requests_per_minute": 90_000},
            {"teacher.timeout_s": 30.0},
            {"teacher.usd_per_million_input": 50.0},
            {"teacher.attempts": 2},
        ):
            edited(home, **change)
            again = kcompiler("apply", "letters.yaml", cwd=home, env=env, timeout=400)
            assert (again.code, set(again.steps().values())) == (0, {"reused"}), again.text
        edited(home, **{"execution.seed": 7})
        kcompiler("apply", "letters.yaml", "--only", "teacher", cwd=home, env=env, timeout=400).ended(0, "")
        assert len(server.asked) == 48, "an answer was paid for twice"
        (home / "train.jsonl").write_text(rows(0, 49), encoding="utf-8")
        kcompiler("apply", "letters.yaml", "--only", "teacher", cwd=home, env=env, timeout=400).ended(0, "")
        assert len(server.asked) == 49
    assert {one["Authorization"] for one in server.headers} == {f"Bearer {canary}"}
    written = [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path in written if canary.encode() in path.read_bytes()]
    lock = json.loads((home / "generated/letters/plan.lock").read_text(encoding="utf-8"))
    asked = next(step for step in lock["steps"] if step["id"] == "teacher")
    assert asked["params"]["api_key"] == "env:TEACHER_KEY"


def asks(home: Path, code: int = 0, outcome: str = "", **options: Any) -> Result:
    """Applies what leads to the teacher's answers and no more."""
    return kcompiler("apply", "letters.yaml", "--only", "teacher", cwd=home, timeout=300, **options).ended(
        code, outcome
    )


def prices(most: int = 4) -> dict[str, Any]:
    """An answer costs 0.0013 US dollars; one of 4 tokens may cost about 0.01."""
    return {"max_tokens": most, "concurrency": 1}


@pytest.mark.slow
@longer
def test_money_is_the_projects_across_attempts_cells_and_specs(tmp_path: Path) -> None:
    with serving(letter_of) as server:
        home = project(
            tmp_path / "project", spec(hosted(server.url, **prices()), [{"term": "sequence_kd", "weight": 1.0}])
        )
        edited(home, **{"budgets.usd": 0.2, "budgets.teacher_calls": 3})
        asks(home, 6, "step-failed")
        assert len(server.asked) == 3
        told = kcompiler("status", "letters.yaml", cwd=home).ended(0, "").out
        assert re.search(r"teacher_calls +3 spent +0 set aside +0 left of 3", told)
        assert re.search(r"usd +0\.0039 spent +0 set aside +0\.196 left of 0\.2", told)
        edited(home, **{"budgets.usd": 0.03, "budgets.teacher_calls": 48})
        spent = asks(home, 6, "step-failed")
        assert "KR0112" in spent.err
        assert "raise budgets.usd" in spent.err
        assert spent.last["next"] == "mend what was refused, then kcompiler apply letters.yaml"
        some = len(server.asked)
        assert 10 < some < 24
        # again, and in every cell of a sweep: the money is gone
        asks(home, 6, "step-failed")
        edited(home, matrix={"execution.seed": [1, 2, 3]})
        plan = kcompiler("plan", "letters.yaml", cwd=home).ended(0, "")
        names = [step["id"] for step in json.loads((home / "generated/letters/plan.lock").read_text())["steps"]]
        teachers = [name for name in names if name.partition("@")[0].startswith("teacher")]
        assert len(teachers) == 3, plan.text
        only = [word for name in teachers for word in ("--only", name)]
        kcompiler("apply", "letters.yaml", *only, cwd=home, timeout=300).ended(6, "step-failed")
        assert len(server.asked) == some
        # the advice, followed: every question is asked once for all three cells
        edited(home, **{"budgets.usd": 0.2})
        kcompiler("apply", "letters.yaml", *only, cwd=home, timeout=300).ended(0, "")
        assert len(server.asked) == 48
        told = [report(home, name) for name in teachers]
        assert [one["usd_of_purse"]["value"] for one in told] == [pytest.approx(48 * 0.0013)] * 3
        # another spec of the project asks for nothing, and pays nothing
        data = yaml.safe_load((home / "letters.yaml").read_text())
        del data["matrix"]
        data["metadata"]["name"], data["budgets"]["usd"] = "other", 0.1
        (home / "other.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
        kcompiler("apply", "other.yaml", "--only", "teacher", cwd=home, timeout=300).ended(0, "")
        assert len(server.asked) == 48


@pytest.mark.slow
@longer
def test_kills_anywhere_pay_for_nothing_that_is_not_counted(tmp_path: Path) -> None:
    """SIGKILL before the n-th file of the store or of the spending is opened (49 are, before the first question), again
    and again: every request that the server heard is in the sum at what it cost or may have cost, and no acknowledged
    answer is asked for again."""
    with serving(letter_of) as server:
        home = project(
            tmp_path / "project", spec(hosted(server.url, **prices()), [{"term": "sequence_kd", "weight": 1.0}])
        )
        edited(home, **{"budgets.usd": 2})
        kcompiler("apply", "letters.yaml", "--only", "data", cwd=home, timeout=300).ended(0, "")
        kept: set[str] = set()
        for count in (1, 25, 50, 51, 52, 54, 56, 59, 62, 66, 75):
            hit = signals(signal.SIGKILL, "open", "/paid/", count)
            died = kcompiler(
                "apply", "letters.yaml", "--only", "teacher", cwd=home, code=SIGNALLED, env=hit, timeout=300
            )
            assert died.code == -signal.SIGKILL, died.text
            now = {path.stem for path in (home / ".kcompiler/paid/answers").rglob("[0-9a-f]*.json")}
            assert kept <= now
            kept = now
        heard = len(server.asked)
        assert heard >= len(kept) > 3
        asks(home)
        assert len(server.asked) == heard + 48 - len(kept)
    told = report(home, "teacher")
    charged = 0.0013 * len(server.asked)
    assert charged - 1e-9 <= told["usd_of_purse"]["value"] <= charged + 11 * 0.015
    assert len(server.asked) - 48 <= told["requests_lost"]["value"] <= 11


@pytest.mark.slow
def test_a_damaged_store_is_said_and_never_a_crash(tmp_path: Path) -> None:
    with serving(letter_of) as server:
        home = project(
            tmp_path / "project", spec(hosted(server.url, **prices()), [{"term": "sequence_kd", "weight": 1.0}])
        )
        edited(home, **{"budgets.usd": 1})
        asks(home)
        kept = sorted((home / ".kcompiler/paid/answers").rglob("*.json"))
        kept[0].write_bytes(b"")
        kept[1].write_text(kept[1].read_text().replace('"content":"', '"content":"HACKED '))
        edited(home, **{"execution.seed": 5})
        again = asks(home)
        assert len(server.asked) == 50
        for path in kept[:2]:
            assert path.relative_to(home).as_posix() in again.err
        assert not [path for path in home.rglob("answers.jsonl") if "HACKED" in path.read_text()]
        # what was spent cannot be known from a record that was edited: nothing more is asked
        spending = home / ".kcompiler/paid/spend.jsonl"
        spending.write_text(spending.read_text().replace("0.0013", "0.0000", 1))
        edited(home, **{"execution.seed": 6})
        refused = asks(home, 3, "evidence-broken")
        assert "paid/spend.jsonl:2" in refused.err
        assert len(server.asked) == 50
        # the advice, followed
        spending.unlink()
        asks(home)
        assert len(server.asked) == 50


@longer
@pytest.mark.slow
def test_the_shipped_spec_of_a_hosted_teacher_passes_in_small(tmp_path: Path) -> None:
    """specs/phi-cmmlu.yaml with its profile `mini`, on a tiny phi, questions of one line and a server that is fairly
    sure: teacher, losses, suite, packs and budgets are those of the file."""

    def answer(prompt: str, _count: int) -> Any:
        letter = prompt.partition("letter is ")[2][:1]
        return 200, {}, completion(letter, logprobs={one: -0.2 if one == letter else -2.8 for one in LETTERS}, tokens=1)

    with serving(answer) as server:
        data = yaml.safe_load((ROOT / "specs/phi-cmmlu.yaml").read_text(encoding="utf-8"))
        small = spec({}, [{"term": "choice_kl"}])
        data["teacher"] |= {"base_url": server.url, "requests_per_minute": 100_000}
        data["student"] |= {name: small["student"][name] for name in ("architecture", "checkpoint")}
        del data["student"]["parameters"]
        data["tokenizer"]["vocab_size"] = 320
        data["data"]["sources"] = small["data"]["sources"]
        data["shapes"] |= small["shapes"]
        stage = data["training"]["stages"][0]
        stage["batch_size"], stage["optimizer"] = 8, small["training"]["stages"][0]["optimizer"]
        data["hardware"] = small["hardware"]
        data["execution"]["threads"] = 1
        mini = data["profiles"]["mini"]
        # the rows are other ones here, and none is too many
        data["profiles"]["mini"] = {key: value for key, value in mini.items() if not key.startswith("data.sources.")}
        data["profiles"]["mini"] |= {"training.stages.kd.steps": 150}
        # what was decided about the large form is of no use here
        del data["decisions"]
        data["metadata"]["name"] = "letters"
        home = project(tmp_path / "project", data)
        (home / "test.jsonl").write_text(rows(100, 60), encoding="utf-8")
        done = kcompiler("apply", "letters.yaml", "--profile", "mini", cwd=home, timeout=500).ended(0, "")
        assert "caws/core/answers-complete" in done.out
        assert len(server.asked) == 48
    assert all(one["logprobs"] is True and one["top_logprobs"] == 20 and one["max_tokens"] == 4 for one in server.asked)


def test_the_real_questions_of_cmmlu_make_the_pinned_files(tmp_path: Path) -> None:
    source = ROOT.parent / "shared/data/cmmlu"
    if not source.is_dir():
        pytest.skip("CMMLU may not be shipped and is not here")
    from runtime.data.cmmlu import convert

    pinned = yaml.safe_load((ROOT / "specs/phi-cmmlu.yaml").read_text(encoding="utf-8"))["data"]["sources"]
    for entry, split in zip(pinned, ("dev", "test"), strict=True):
        _, found = convert(source / split, tmp_path / f"{split}.jsonl")
        assert found == entry["sha256"]
        assert (tmp_path / f"{split}.jsonl").stat().st_size == entry["bytes"]
