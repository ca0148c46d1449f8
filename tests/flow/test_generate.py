"""`kcompiler generate` on what an apply made: checkpoint and package, prompts and chats, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompiler.cli import _main
from runtime.generate import models, opening, words
from runtime.generate.engine import Ask, Engine
from runtime.models import build, runners, tokenizer
from tests.flow import world
from tests.flow.world import Home, Result
from tests.longer import also

SPEC = f"specs/{world.NAME}.yaml"


@pytest.fixture(scope="module")
def home(applied: tuple[Home, Result]) -> Home:
    """The project in which everything was done; nothing here changes it."""
    return applied[0]


def parts(home: Home) -> opening.Sources:
    return opening.Sources(
        name=world.NAME,
        model=home.stored("train-kd", "checkpoint"),
        words=home.stored("tokenizer", "tokenizer"),
        packages=home.stored("convert", "package"),
    )


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = _main(["generate", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err, err
    return code, out, err


def test_the_student_of_a_spec_answers_as_its_runner_does(home: Home, capsys, monkeypatch):
    monkeypatch.chdir(home.root)
    known = tokenizer.load(parts(home).words)
    runner = runners.checkpoint("student", parts(home).model, known)
    for prompt in ("Will it rain?", "Is the bridge safe?"):
        code, out, err = told(capsys, SPEC, "--prompt", prompt)
        assert code == 0
        assert out == runner.generate([prompt], 256)[0] + "\n"
        assert "the verdict on tiny is FAIL" in err


def test_the_package_of_a_spec_continues_as_its_checkpoint(home: Home):
    """What no answer of a student of twelve steps would show: it is asked to go on past the end."""
    sources = parts(home)
    known = words.load(sources.words, sources.model)
    endless = words.Words(known.backend, known.manner, frozenset([-1]))
    found = {}
    for name, variant in (("torch", ""), ("mil", "fp16"), ("mil", "quantized")):
        model = models.opened(name, sources.model, sources.packages, variant)
        assert model.context == 48
        engine = Engine(model, endless)
        lines = []
        # the last is longer than the shortest prefill, 32, and nearly as long as the context
        for prompt in (
            "Will it rain?",
            "Is the bridge safe?",
            "Will the sun shine when we all go home again, and who knows?",
        ):
            ids = known.encode([{"role": "user", "content": prompt}])
            writing = engine.write(Ask(ids=ids[:46], max_tokens=10))
            while not writing.finish:
                writing.advance()
            lines.append(writing.ids)
        found[name + variant] = lines
    assert found["torch"] == found["milfp16"]
    assert [len(line) for line in found["torch"][:2]] == [10, 10]
    assert [len(line) for line in found["milquantized"]] == [len(line) for line in found["torch"]]


def test_a_prompt_longer_than_every_prefill_is_read_by_decode(passed: Home):
    """The longest prefill reads its beginning; the same ids as with a prefill that holds it."""
    sources = parts(passed)
    model = models.opened("mil", sources.model, sources.packages, "fp16")
    ids = [7 + number % 40 for number in range(40)]
    whole = model.begin(ids)[1]
    model._prefills = [pair for pair in model._prefills if pair[1] == 32]
    cut = model.begin(ids)[1]
    assert abs(whole - cut).max() < 0.02 * abs(whole).max()
    assert int(whole.argmax()) == int(cut.argmax())


def test_the_command_runs_the_package(home: Home, capsys, monkeypatch):
    monkeypatch.chdir(home.root)
    code, out, _ = told(capsys, SPEC, "--prompt", "Will it rain?", "--runner", "mil", "--max-tokens", "5")
    assert (code, out.count("\n")) == (0, 1)


def test_a_chat_answers_each_line_of_a_pipe(home: Home):
    """As a process of its own: stdin is a pipe, and its end is the end."""
    done = subprocess.run(
        world.command("generate", SPEC, "--chat", "--max-tokens", "6"),
        cwd=home.root, env=world.environment({}), input="Will it rain?\n\nAnd then?\n", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 2
    assert "one question at a time" in done.stderr
    assert ">" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["--prompt", b"caf\xe9"], b""),
        (["--prompt", "Hi", "--stop", b"\xff"], b""),
        also(["--chat"], b"Hi\n\xff\xfe\n"),
    ],
)
def test_bytes_that_are_no_text_are_said_to_be_none(home: Home, arguments, given):
    done = subprocess.run(
        [*world.command("generate", str(parts(home).model), "--max-tokens", "3"), *arguments],
        cwd=home.root, env=world.environment({"PYTHONUTF8": "1"}), input=given, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert b"UTF-8" in done.stderr
    assert b"outcome=unreadable" in done.stderr


def test_a_delivery_is_served_by_its_package(delivered: Path, capsys):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (the extra `serve`)")
    from tests.tensor.serve import serving

    code, out, _ = told(capsys, str(delivered), "--prompt", "Will it rain?", "--runner", "mil")
    assert code == 0
    with serving.command("serve", str(delivered), "--port", "0", "--runner", "mil") as server:
        body = {**server.ask("Will it rain?"), "model": world.NAME, "max_tokens": 256}
        with server.client() as client:
            found = client.post("/chat/completions", json=body)
    assert found.status_code == 200, found.text
    assert found.json()["choices"][0]["message"]["content"] + "\n" == out


def test_what_was_not_applied_is_not_asked(home: Home, tmp_path: Path, capsys, monkeypatch):
    fresh = world.make(tmp_path / "fresh")
    monkeypatch.chdir(fresh.root)
    code, out, err = told(capsys, SPEC, "--prompt", "Hi")
    assert (code, out) == (4, "")
    assert f"next=kcompiler apply {SPEC}" in err


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["nowhere", "--prompt", "Hi"], 2, "neither a spec nor a folder"),
        ([".", "--prompt", "Hi"], 2, "KR0200"),
        (["folder", "--prompt", "Hi", "--runner", "mil"], 2, "KR0203"),
        (["folder", "--prompt", "Hi", "--runner", "coreml"], 2, "outcome=unavailable"),
        (["folder", "--prompt", "Hi", "--runner", "gguf"], 2, "outcome=unavailable"),
        (["folder", "--prompt", "Hi", "--chat"], 2, "either --prompt TEXT or --chat"),
        (["folder"], 2, "either --prompt TEXT or --chat"),
        (["folder", "--prompt", "Hi", "--profile", "mini"], 2, "--profile belongs to a spec"),
        (["folder", "--prompt", "x " * 60], 2, "KR0202"),
        (["folder", "--prompt", "Hi", "--schema", "none.json"], 2, "No such file"),
        (["folder", "--prompt", "Hi", "--schema", "folder/half.json"], 2, "cannot be read as JSON"),
        (["folder", "--prompt", "Hi", "--schema", "folder/list.json"], 2, "KR0205"),
        (["folder", "--prompt", "Hi", "--tools", "folder/list.json"], 2, "KR0205"),
        (["folder", "--prompt", "Hi", "--schema", "a", "--tools", "b"], 2, "one or the other"),
        (["folder", "--prompt", "Hi", "--temperature", "-1"], 2, "temperature"),
        (["folder", "--prompt", "Hi", "--top-p", "0"], 2, "top-p"),
        (["folder", "--prompt", "Hi", "--temperature", "nan"], 2, "no finite number"),
        (["folder", "--prompt", "Hi", "--temperature", "inf"], 2, "no finite number"),
        (["folder", "--prompt", "Hi", "--top-p", "nan"], 2, "no finite number"),
    ],
)
def test_a_mistake_is_named(home: Home, tmp_path: Path, capsys, monkeypatch, arguments, code, word):
    folder = tmp_path / "folder"
    shutil.copytree(parts(home).model, folder)
    for path in folder.rglob("*"):
        path.chmod(0o644)
    folder.chmod(0o755)
    (folder / "half.json").write_text('{"type": ')
    (folder / "list.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    found, out, err = told(capsys, *arguments)
    assert (found, out) == (code, "")
    assert word in err
    assert "outcome=" in err.splitlines()[-1]


def test_a_folder_of_weights_of_another_vocabulary_is_refused(home: Home, tmp_path: Path, capsys):
    folder = tmp_path / "folder"
    shutil.copytree(parts(home).words, folder)
    folder.chmod(0o755)
    model = build.load(parts(home).model)
    model.resize_token_embeddings(100)
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink(missing_ok=True)
    build.save(model, folder)
    code, _, err = told(capsys, str(folder), "--prompt", "Hi")
    assert (code, "KR0206" in err) == (2, True), err


def test_without_llguidance_a_schema_says_what_to_install(home: Home, tmp_path: Path, capsys, monkeypatch):
    import sys

    (tmp_path / "s.json").write_text('{"type": "object"}')
    monkeypatch.setitem(sys.modules, "llguidance", None)
    code, out, err = told(capsys, str(parts(home).model), "--prompt", "Hi", "--schema", str(tmp_path / "s.json"))
    assert (code, out) == (2, "")
    assert "pip install 'kcompiler[grammar]'" in err


def test_a_delivery_answers_as_its_spec_does_and_is_verified_before(
    passed: Home, delivered: Path, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(passed.root)
    for runner in ("torch", "mil"):
        code, out, err = told(capsys, SPEC, "--prompt", "Will it rain?", "--runner", runner)
        assert (code, "the verdict" in err) == (0, False)
        assert told(capsys, str(delivered), "--prompt", "Will it rain?", "--runner", runner) == (0, out, err)
    made = tmp_path / "delivery"
    shutil.copytree(delivered, made)
    world.flip(made / "huggingface" / "model.safetensors")
    code, out, err = told(capsys, str(made), "--prompt", "Hi")
    assert (code, out) == (3, "")
    assert "huggingface/model.safetensors" in err
    assert "kcompiler deliver" in err.splitlines()[-1]
    (made / "huggingface" / "model.safetensors").unlink()
    assert "is not there" in told(capsys, str(made), "--prompt", "Hi")[2]
    shutil.rmtree(made)
    shutil.copytree(delivered, made)
    contract = made / "contract.json"
    contract.write_text(contract.read_text("utf-8").replace('"name": "tiny"', '"name": "gpt"'), "utf-8")
    code, out, err = told(capsys, str(made), "--prompt", "Hi")
    assert (code, out) == (3, "")
    assert "contract.json" in err
    (made / "SHA256SUMS").unlink()
    assert told(capsys, str(made), "--prompt", "Hi")[0] == 3


def summed(folder: Path) -> Path:
    """The delivery with the checksums of its files as they are now."""
    files = sorted(one for one in folder.rglob("*") if one.is_file() and one.name != "SHA256SUMS")
    lines = (f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.relative_to(folder).as_posix()}\n" for one in files)
    (folder / "SHA256SUMS").write_text("".join(lines), "utf-8")
    return folder


def _weights(folder: Path) -> None:
    world.flip(folder / "packages/fp16.mlpackage/Data/com.apple.CoreML/weights/weight.bin")


def _tokens(folder: Path) -> None:
    path = folder / "huggingface/tokenizer.json"
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")


def _template(folder: Path) -> None:
    (folder / "huggingface/chat_template.jinja").write_text("{{ messages[0].content }}", "utf-8")


def _elsewhere(folder: Path) -> None:
    contract = folder / "contract.json"
    said = json.loads(contract.read_text("utf-8"))
    said["packages"][0]["path"] = "../delivered/packages/quantized.mlpackage"
    contract.write_text(json.dumps(said), "utf-8")


def _no_piece(folder: Path) -> None:
    contract = folder / "contract.json"
    said = json.loads(contract.read_text("utf-8"))
    said["functions"]["decode"]["pieces"] = [
        {"package": "", "function": "gone", "layers": [0, said["kv_cache"]["layers"]], "inputs": [], "outputs": []}
    ]
    contract.write_text(json.dumps(said), "utf-8")


def _said(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A contract that says something else."""

    def damage(folder: Path) -> None:
        contract = folder / "contract.json"
        said = json.loads(contract.read_text("utf-8"))
        change(said)
        contract.write_text(json.dumps(said), "utf-8")

    return damage


def _without(name: str) -> Callable[[Path], None]:
    """A decode that is not called by one of its inputs."""

    def change(said: dict[str, Any]) -> None:
        decode = said["functions"]["decode"]
        decode["inputs"] = [one for one in decode["inputs"] if one["name"] != name]

    return _said(change)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_weights, "packages/fp16.mlpackage: it is not the one that contract.json names"),
        (lambda one: shutil.rmtree(one / "packages/fp16.mlpackage"), "packages/fp16.mlpackage: contract.json names it"),
        (_tokens, "huggingface/tokenizer.json: it is not the one"),
        (_template, "huggingface/chat_template.jinja: it is not the one"),
        (_elsewhere, "does not lie in the delivery"),
        (lambda one: (one / "contract.json").write_text("{}"), "contract.json is not that of a delivery"),
        (_no_piece, "no piece of decode gives logits"),
        (_without("key_cache"), "decode takes no key_cache of"),
        (_without("position"), "decode is not that of its package: it takes position (1)"),
        (_said(lambda said: said.update(context=10**9)), "a context of 1000000000 does not fit a cache of"),
        (_said(lambda said: said["kv_cache"].update(context=10**9)), "decode takes no key_cache of"),
    ],
)
def test_checksums_that_were_written_anew_hide_nothing(damage, named: str, delivered: Path, tmp_path: Path, capsys):
    made = shutil.copytree(delivered, tmp_path / "delivery")
    damage(made)
    code, out, err = told(capsys, str(summed(made)), "--prompt", "Hi", "--runner", "mil")
    assert (code, out) == (3, "")
    assert named in err
    # whoever was given a delivery has no spec to audit
    assert "audit" not in err
    assert err.splitlines()[-1].endswith("next=copy the delivery again, or have it made again: kcompiler deliver")


def test_a_delivery_without_its_contract_is_still_one(delivered: Path, tmp_path: Path, capsys):
    made = shutil.copytree(delivered, tmp_path / "delivery")
    (made / "contract.json").unlink()
    code, out, err = told(capsys, str(made), "--prompt", "Hi")
    assert (code, out) == (3, "")
    assert "contract.json: it was delivered and is not there" in err
