"""Bad input on the real command line: exit 1 or 2, a place, an action, a last line for programs, never a traceback."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flow.world import LIGHT, NAME, Home, Result, make, tiny
from tests.longer import some

SPEC = f"specs/{NAME}.yaml"


def edited(old: str, new: str) -> Callable[[Home], None]:
    """The spec with one piece of its text replaced."""

    def change(home: Home) -> None:
        text = home.spec.read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        home.spec.write_text(text.replace(old, new), encoding="utf-8")

    return change


def changed(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Home], None]:
    """The spec with its content edited."""
    return lambda home: home.change(edit)


def appended(data: bytes) -> Callable[[Home], None]:
    def change(home: Home) -> None:
        home.spec.write_bytes(home.spec.read_bytes() + data)

    return change


def a_folder_for_a_spec(home: Home) -> None:
    home.spec.unlink()
    home.spec.mkdir()


def a_source(path: str) -> Callable[[dict[str, Any]], None]:
    def edit(data: dict[str, Any]) -> None:
        source = {"name": "mine", "kind": "jsonl", "path": path, "split": "auto", "license": "CC0-1.0"}
        data["data"]["sources"] = [source]

    return edit


def a_teacher(files: tuple[str, ...], **config: Any) -> Callable[[Home], None]:
    """A local Transformers folder as the teacher, with these files beside config.json."""

    def change(home: Home) -> None:
        folder = home.root / "specs" / "teacher"
        folder.mkdir()
        content = {"model_type": "llama", "vocab_size": 512, "max_position_embeddings": 48, **config}
        (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
        for name in files:
            # an empty safetensors file: eight bytes of length, then an empty header
            (folder / name).write_bytes((2).to_bytes(8, "little") + b"{}")
        home.change(
            lambda data: data.update(
                teacher={"source": "hf", "model": "./teacher", "revision": "sha256:" + "0" * 64, "license": "MIT"}
            )
        )

    return change


BOMB = (
    "\nbomb: {a: &a [1,1,1,1,1,1,1,1,1,1], b: &b [" + ",".join(["*a"] * 40) + "], c: [" + ",".join(["*b"] * 400) + "]}"
)

#: what is wrong → how, exit code, code of the diagnostic, what the message must say
CASES: dict[str, tuple[Callable[[Home], None], int, str, str]] = {
    "unknown key": (edited("checkpoint_every: 4", "checkpoint_evry: 4"), 1, "KC2104", "`checkpoint_every`"),
    "unknown section": (edited("\nbudgets:", "\nbudget:"), 1, "KC2104", "did you mean `budgets`"),
    "duplicate key": (appended(b"risk_tier: 2\n"), 2, "KC1011", "risk_tier"),
    "tab": (edited("\n  name: tiny", "\n\tname: tiny"), 2, "KC1009", "spaces"),
    "wrong type": (edited("risk_tier: 3", "risk_tier: three"), 1, "KC2101", "risk_tier"),
    "text for a number": (edited("held_out: 0.05", 'held_out: "0.05"'), 1, "KC2101", "held_out"),
    "not UTF-8": (appended(b"# caf\xe9\n"), 2, "KC1005", "UTF-8"),
    "YAML tag": (edited("risk_tier: 3", "risk_tier: !!python/object/apply:os.getpid []"), 2, "KC1012", "tag"),
    "alias bomb": (appended(BOMB.encode()), 2, "KC1014", "alias"),
    "broken YAML": (edited("risk_tier: 3", "risk_tier: [3"), 2, "KC1010", "YAML"),
    "not finite": (edited("held_out: 0.05", "held_out: .nan"), 2, "KC1020", "finite"),
    "empty": (lambda home: home.spec.write_text("", encoding="utf-8") and None, 2, "KC1018", "empty"),
    "missing spec": (
        lambda home: home.spec.rename(home.spec.with_name("tinny.yaml")) and None,
        2,
        "KC1001",
        "tinny.yaml",
    ),
    "folder for a file": (a_folder_for_a_spec, 2, "KC1002", "not a file"),
    "missing source": (changed(a_source("data/gsm8k/trian.jsonl")), 1, "KC4401", "train.jsonl"),
    "folder for a source": (changed(a_source("data/gsm8k")), 1, "KC4404", "data/gsm8k"),
    "path that leaves the project": (changed(a_source("../../outside.jsonl")), 1, "KC4402", "project"),
    "absolute path": (changed(a_source("/etc/hostname")), 1, "KC4403", "/etc/hostname"),
    "teacher without weights": (a_teacher(()), 1, "KC4406", "weights"),
    "teacher with pickled weights": (a_teacher(("pytorch_model.bin",)), 1, "KC4407", "safetensors"),
    "teacher of another vocabulary": (
        a_teacher(("model.safetensors",), vocab_size=500),
        1,
        "KC4203",
        "the teacher has another",
    ),
    "shape longer than the context": (
        changed(lambda data: data["shapes"].update(prefill=[32, 64], decode={"context": 48})),
        1,
        "KC4102",
        "64",
    ),
    "cache longer than the context": (
        changed(lambda data: data["shapes"].update(decode={"context": 96})),
        1,
        "KC4104",
        "96",
    ),
    "unknown loss": (
        changed(lambda data: data["training"]["stages"][0]["losses"][0].update(term="kll")),
        1,
        "KC2106",
        "`kl`",
    ),
    "unknown policy": (changed(lambda data: data.update(policies=["caws/cor"])), 1, "KC6001", "`caws/core`"),
    "step that nothing feeds": (
        changed(
            lambda data: data.update(steps=[{"id": "more", "use": "probe", "takes": {"dataset": "step:dat#dataset"}}])
        ),
        1,
        "",
        "more",
    ),
}


def refused(result: Result, exit_code: int, code: str, said: str) -> None:
    assert result.code == exit_code, result.text
    assert "Traceback" not in result.text
    assert "kcompiler itself failed" not in result.err, result.text
    assert f"error[{code or 'KC'}" in result.err, result.text
    assert said in result.err, result.text
    assert re.search(r"help: \S+", result.err), f"nothing to do\n{result.text}"
    assert result.last["code"] == str(exit_code)
    assert result.last["outcome"] == {1: "invalid", 2: "unreadable"}[exit_code]
    assert result.last["next"].startswith("kcompiler ")


@pytest.mark.parametrize("case", some(CASES, 2))
def test_validate_and_apply_refuse(fresh: Home, case: str) -> None:
    """Both verbs, so that nothing is computed from a spec that `validate` would have refused."""
    make_wrong, exit_code, code, said = CASES[case]
    make_wrong(fresh)
    result = fresh.run("validate", SPEC, code=LIGHT)
    refused(result, exit_code, code, said)
    place = "" if exit_code == 2 and code in ("KC1001", "KC1002") else r":\d+:\d+"
    assert re.search(rf"--> specs/{NAME}\.yaml{place}", result.err), f"no place\n{result.text}"
    refused(fresh.apply(code=LIGHT), exit_code, code, said)
    assert not (fresh.root / "generated").exists(), "nothing may be written for a spec that is wrong"


def test_every_mistake_is_reported_at_once(fresh: Home) -> None:
    edited("risk_tier: 3", "risk_tier: three")(fresh)
    edited("\nbudgets:", "\nbudget:")(fresh)
    edited("held_out: 0.05", "held_out: 7")(fresh)
    err = fresh.run("validate", SPEC, code=LIGHT).ended(1, "invalid").err
    assert err.count("error[") >= 3


LOCK = f"generated/{NAME}/plan.lock"
BAD_LOCKS = {
    "not JSON": lambda text: text[:-20],
    "another thing": lambda _: "{}",
    "a later format": lambda text: text.replace('"format": "1.0"', '"format": "9.0"'),
    "no steps": lambda text: json.dumps({**json.loads(text), "steps": None}),
    "no obligations": lambda text: json.dumps({**json.loads(text), "obligations": 5}),
    "nothing asked": lambda text: json.dumps({key: part for key, part in json.loads(text).items() if key != "asked"}),
    "steps that are none": lambda text: json.dumps({**json.loads(text), "steps": [1]}),
    "a spec outside": lambda text: json.dumps({**json.loads(text), "asked": {"name": NAME, "spec": "../../outside"}}),
    "binary": lambda _: "\x00\x01",
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = make(tmp_path_factory.mktemp("planned") / "project")
    home.run("plan", SPEC, code=LIGHT).ended(0, "")
    return home


@pytest.mark.parametrize("case", some(BAD_LOCKS, 2))
@pytest.mark.parametrize(
    "arguments", [("apply", LOCK), ("audit", LOCK), ("show", "lock", LOCK), ("gate", SPEC, "--lock", LOCK)]
)
def test_a_lock_that_cannot_be_read_is_refused(
    planned: Home, tmp_path: Path, arguments: tuple[str, ...], case: str
) -> None:
    home = planned.copy(tmp_path / "project")
    text = home.lock.read_text(encoding="utf-8")
    damaged = BAD_LOCKS[case](text)
    assert damaged != text
    home.lock.write_text(damaged, encoding="utf-8")
    result = home.run(*arguments, code=LIGHT).ended(2, "unreadable")
    assert LOCK in result.err
    assert result.last["next"].startswith("kcompiler plan")


def test_apply_of_a_spec_writes_an_unreadable_lock_anew_and_says_so(planned: Home, tmp_path: Path) -> None:
    home = planned.copy(tmp_path / "project")
    before = home.lock.read_bytes()
    home.lock.write_text("{}", encoding="utf-8")
    result = home.run("plan", SPEC, code=LIGHT).ended(0, "")
    assert "cannot be read and is written anew" in result.err
    assert home.lock.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("apply", SPEC, "--only", "train"), "train-kd"),
        (("apply", SPEC, "--force", "nothing"), "train-kd"),
        (("aply", SPEC), "did you mean `apply`"),
        (("apply",), "TARGET"),
        (("apply", SPEC, "--fast"), "--fast"),
        (("show", "report", SPEC), "none yet"),
        (("show", "verdict", LOCK), "does not exist"),
        (("audit", "nowhere"), "nowhere"),
        (("gate", "nowhere.json", "--lock", LOCK), "nowhere.json"),
        (("explain", "KC9999"), "KC9999"),
        (("init", "--template", "eightball"), "eight-ball"),
        (("graph", "specs/nowhere.yaml"), "specs/nowhere.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_command_says_what_would_be_right(
    planned: Home, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    home = planned.copy(tmp_path / "project")
    result = home.run(*arguments, code=LIGHT)
    assert result.code == 2, result.text
    assert "Traceback" not in result.text
    assert said in result.err, result.text
    assert result.last["code"] == "2"


def test_the_tiny_spec_itself_is_valid(fresh: Home) -> None:
    """Else the cases above would be refused for another reason."""
    result = fresh.run("validate", SPEC, code=LIGHT).ended(0, "")
    assert "error[" not in result.err
    assert tiny()["metadata"]["name"] == NAME


def test_a_lock_that_is_a_link_to_itself_is_refused(planned: Home, tmp_path: Path) -> None:
    home = planned.copy(tmp_path / "project")
    home.lock.unlink()
    home.lock.symlink_to(home.lock.name)
    for verb in ("plan", "apply"):
        assert "plan.lock" in home.run(verb, SPEC, code=LIGHT).ended(2, "unusable-path").err
