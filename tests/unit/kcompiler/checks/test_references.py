"""What a spec names lies inside the project, exists, and cannot run code."""

import importlib.util
import json
import os
import re
from pathlib import Path

import pytest
import yaml

from kcompiler.cli import _main
from runtime import digest

_spec = importlib.util.spec_from_file_location("checks_laboratory", Path(__file__).with_name("laboratory.py"))
laboratory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laboratory)

#: one row for each split
ROW = '{"prompt": "a", "response": "r"}\n{"prompt": "q12", "response": "r"}\n'
TENSORS = (2).to_bytes(8, "little") + b"{}"


def rows(path, **more):
    def change(data):
        data["evaluation"] = {"suites": [{"use": "language_model"}], "baselines": ["ce_only"]}
        data["data"]["sources"] = [{"name": "rows", "kind": "jsonl", "path": path, "license": "MIT", **more}]

    return change


@pytest.mark.parametrize(
    "path", ["rows.jsonl", "./rows.jsonl", "deep/../rows.jsonl", "deep/rows.jsonl", "ro ws%2e#.jsonl"]
)
def test_a_path_inside_the_project_is_accepted(tmp_path, path):
    (tmp_path / "deep").mkdir()
    for name in ("rows.jsonl", "deep/rows.jsonl", "ro ws%2e#.jsonl"):
        (tmp_path / name).write_text(ROW)
    assert laboratory.codes(tmp_path, rows(path)) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/etc/passwd", "KC4403"),
        ("~/rows.jsonl", "KC4403"),
        ("C:/rows.jsonl", "KC4403"),
        ("C:rows.jsonl", "KC4403"),
        ("a\\b.jsonl", "KC4403"),
        ("\\\\host\\share", "KC4403"),
        ("../rows.jsonl", "KC4402"),
        ("a/../../rows.jsonl", "KC4402"),
        ("..", "KC4402"),
        ("deep/../../x/rows.jsonl", "KC4402"),
        ("nothing.jsonl", "KC4401"),
        ("deep/nothing.jsonl", "KC4401"),
        ("%2e%2e/rows.jsonl", "KC4401"),
        ("．．/rows.jsonl", "KC4401"),
        ("a" * 300, "KC4401"),
        (".", "KC4404"),
        ("deep", "KC4404"),
        ("rows.jsonl/x", "KC4401"),
    ],
)
def test_any_other_path_is_refused_for_what_it_is(tmp_path, path, code):
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    (home / "rows.jsonl").write_text(ROW)
    (tmp_path / "rows.jsonl").write_text(ROW)
    assert laboratory.codes(home, rows(path)) == [code]
    assert code in laboratory.codes(home, lambda data: data["data"].update(tools=path))


def test_a_link_that_leads_outside_is_refused_and_one_inside_is_not(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "outside.jsonl").write_text(ROW)
    (home / "real.jsonl").write_text(ROW)
    (home / "out.jsonl").symlink_to("../outside.jsonl")
    (home / "in.jsonl").symlink_to("real.jsonl")
    (home / "loop.jsonl").symlink_to("loop.jsonl")
    (home / "up").symlink_to("..")
    assert laboratory.codes(home, rows("out.jsonl")) == ["KC4402"]
    assert laboratory.codes(home, rows("up/outside.jsonl")) == ["KC4402"]
    assert laboratory.codes(home, rows("loop.jsonl")) == ["KC4402"]
    assert laboratory.codes(home, rows("in.jsonl")) == []


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "rows.jsonl")
    assert laboratory.codes(tmp_path, rows("rows.jsonl")) == ["KC4404"]


def test_the_same_bytes_may_not_train_and_test(tmp_path):
    (tmp_path / "a.jsonl").write_text(ROW)
    (tmp_path / "b.jsonl").write_text(ROW)
    (tmp_path / "c.jsonl").write_text(ROW.replace('{"prompt": "', '{"prompt": "Otherwise: '))

    def two(first, second, splits):
        def change(data):
            rows(first, split=splits[0])(data)
            data["data"]["sources"].append(
                {**data["data"]["sources"][0], "name": "more", "path": second, "split": splits[1]}
            )

        return change

    assert laboratory.codes(tmp_path, two("a.jsonl", "b.jsonl", ("train", "test"))) == ["KC4501"]
    assert laboratory.codes(tmp_path, two("a.jsonl", "a.jsonl", ("auto", "test"))) == ["KC4501"]
    assert laboratory.codes(tmp_path, two("a.jsonl", "c.jsonl", ("train", "test"))) == []
    assert laboratory.codes(tmp_path, two("a.jsonl", "b.jsonl", ("auto", "auto"))) == []


def vocabulary(size=512, **more):
    tokens = {f"t{number}": number for number in range(3, size)}
    added = [{"id": number, "content": text} for number, text in enumerate(("<|pad|>", "<|bos|>", "<|eos|>"))]
    return {"model": {"type": "BPE", "vocab": tokens, **more}, "added_tokens": added}


def with_teacher(home, change=lambda _data: None, revision=None):
    def whole(data):
        pin = revision or digest.of_folder(home / "teacher")
        data["teacher"] = {"source": "hf", "model": "teacher", "revision": pin}
        data["tokenizer"]["source"] = "teacher"
        change(data)

    return laboratory.codes(home, whole)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "teacher"
    folder.mkdir()
    config = {"model_type": "llama", "vocab_size": 512, "max_position_embeddings": 128}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(TENSORS)
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary()))
    return tmp_path


def test_a_whole_teacher_is_accepted(home):
    assert with_teacher(home) == []


def test_a_changed_byte_is_another_teacher(home):
    pin = digest.of_folder(home / "teacher")
    (home / "teacher/config.json").write_text((home / "teacher/config.json").read_text() + " ")
    assert with_teacher(home, revision=pin) == ["KC4408"]
    actual = digest.of_folder(home / "teacher")
    front = laboratory.compiled(
        home, lambda data: data.update(teacher={"source": "hf", "model": "teacher", "revision": pin})
    )
    (found,) = [item for item in front.diagnostics if item.code == "KC4408"]
    assert actual in found.help


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("config.json", None, "KC4405"),
        ("config.json", b"{", "KC4413"),
        ("config.json", b"[]", "KC4413"),
        ("config.json", b'{"vocab_size": 512}', "KC4413"),
        ("config.json", b'{"model_type": "llama", "auto_map": {}}', "KC4413"),
        ("config.json", b'{"model_type": "llama", "quantization_config": {}}', "KC4413"),
        ("config.json", b'{"model_type": "llama", "vocab_size": 511}', "KC4302"),
        ("config.json", b'{"model_type": "x", "text_config": {"vocab_size": 511}}', "KC4302"),
        ("config.json", b'{"model_type": "llama", "vocab_size": 512, "n_positions": 63}', "KC4106"),
        ("model.safetensors", None, "KC4406"),
        ("model.safetensors", b"", "KC4412"),
        ("model.safetensors", b"PK\x03\x04" + b"\0" * 60, "KC4412"),
        ("model.safetensors", (99).to_bytes(8, "little") + b"{}", "KC4412"),
        ("model.safetensors", (2).to_bytes(8, "little") + b"[]", "KC4412"),
        ("model.safetensors", (4).to_bytes(8, "little") + b"\x80\x04\x95.", "KC4412"),
        ("model.safetensors", (2).to_bytes(8, "little") + b"{}cut", "KC4412"),
        ("model.safetensors.index.json", b'{"weight_map": {"w": "../model.safetensors"}}', "KC4423"),
        ("pytorch_model.bin", b"x", "KC4407"),
        ("deep/optimizer.PT", b"x", "KC4407"),
        ("tokenizer.json", None, "KC4304"),
        ("tokenizer.json", b"{}", "KC4303"),
        ("tokenizer.json", b"nonsense", "KC4303"),
        ("tokenizer.json", json.dumps(vocabulary(513)).encode(), "KC4303"),
        ("tokenizer.json", json.dumps({**vocabulary(), "added_tokens": []}).encode(), "KC4308"),
    ],
)
def test_a_teacher_that_cannot_be_trusted_is_refused(home, name, content, code):
    path = home / "teacher" / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    assert code in with_teacher(home)


def test_a_smaller_tokenizer_leaves_reserved_rows(home):
    (home / "teacher/tokenizer.json").write_text(json.dumps(vocabulary(400)))
    assert with_teacher(home) == []


def test_a_unigram_vocabulary_counts_by_position(home):
    made = {"model": {"type": "Unigram", "vocab": [["<|pad|>", 0.0], ["<|bos|>", 0.0], ["<|eos|>", 0.0], ["a", -1.0]]}}
    (home / "teacher/tokenizer.json").write_text(json.dumps(made))
    assert with_teacher(home) == []
    made["model"]["vocab"] = [[f"t{number}", 0.0] for number in range(513)]
    (home / "teacher/tokenizer.json").write_text(json.dumps(made))
    assert "KC4303" in with_teacher(home)


def test_a_tag_may_be_an_added_token_or_one_of_the_vocabulary(home):
    tokens = vocabulary(400)
    tokens["model"]["vocab"]["Ġcallé".encode().decode()] = 400
    tokens["model"]["vocab"]["ĠcallÃ©"] = 401
    (home / "teacher/tokenizer.json").write_text(json.dumps(tokens))
    tags = lambda *texts: lambda data: data["tokenizer"].update(single_token_tags=list(texts))  # noqa: E731
    assert with_teacher(home, tags("t7", " callé")) == []
    assert with_teacher(home, tags(" call")) == ["KC4306"]


def test_a_teacher_of_links_is_refused(home):
    (home / "blob").write_bytes(TENSORS)
    (home / "teacher/model.safetensors").unlink()
    (home / "teacher/model.safetensors").symlink_to("../blob")
    assert with_teacher(home, revision="sha256:" + "0" * 64) == ["KC4409"]


def test_a_teacher_outside_is_not_even_looked_at(home):
    (home / "project").mkdir()

    def change(data):
        data["teacher"] = {"source": "hf", "model": "../teacher", "revision": digest.of_folder(home / "teacher")}
        data["tokenizer"]["source"] = "teacher"

    assert laboratory.codes(home / "project", change) == ["KC4402"]


def test_logits_of_another_vocabulary_are_refused(home):
    def change(data):
        data["teacher"] = {"source": "hf", "model": "teacher", "revision": digest.of_folder(home / "teacher")}

    def text_only(data):
        change(data)
        data["training"]["stages"][0]["losses"] = [{"term": "ce_truth", "weight": 1}]

    assert laboratory.codes(home, change) == ["KC4203"]
    assert laboratory.codes(home, text_only) == ["KC4326"]


def test_a_pack_is_a_folder_with_a_pack_file(tmp_path):
    assert laboratory.codes(tmp_path, lambda data: data.update(policies=["caws/nothing"])) == ["KC6001"]
    assert laboratory.codes(tmp_path, lambda data: data.update(policies=["caws"])) == ["KC6001"]


def test_a_pack_below_another_root_is_told_with_what_makes_it_the_root(tmp_path, monkeypatch, capsys):
    """As in a clone: `.kcompiler` is not committed, and the nearest `.git` lies above the project."""
    monkeypatch.chdir(tmp_path)
    for name in (".git", "lab/specs", "lab/policies/acme"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lab/policies/acme/pack.yaml").write_text("name: acme\nversion: 1\ntitle: Rules of the lab\n")
    (tmp_path / "lab/specs/a.yaml").write_text(
        yaml.safe_dump({**yaml.safe_load(laboratory.GOOD), "policies": ["acme", "zzz/quux"]})
    )
    assert _main(["validate", "lab/specs/a.yaml"]) == 1
    told = capsys.readouterr().err
    (advice,) = re.findall(r"it lies in lab/policies/acme: `([^`]+)` makes `lab` the project's root", told)
    assert f"policies/ of the project's root: the folder `{tmp_path.name}`, the nearest above the spec with" in told
    verb, _, folder = advice.partition(" ")
    assert verb == "mkdir"
    (tmp_path / folder).mkdir()
    assert _main(["validate", "lab/specs/a.yaml"]) == 1
    assert "`acme`" not in capsys.readouterr().err


@pytest.mark.parametrize(("start", "label"), [("kd", "itself"), ("second", "comes later"), ("third", "no such stage")])
def test_a_wrong_start_of_a_stage_says_how_it_is_wrong(tmp_path, start, label):
    def change(data):
        stages = data["training"]["stages"]
        stages.append({**stages[0], "name": "second", "from": "kd"})
        stages[0]["from"] = start

    (found,) = laboratory.compiled(tmp_path, change).diagnostics
    assert (found.code, found.label) == ("KC4410", label)
