"""A repository of weights from a hub of our own: one commit, configuration and safetensors only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.contract import Refusal, Unavailable
from runtime.data.fetch import fetch
from runtime.steps.fetch import FetchParams
from tests.unit.runtime.data.hub import COMMIT, Hub, serving
from tests.unit.runtime.data.teaching import Stage

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "model-00001-of-00002.safetensors": b"\x01" * 5000,
    "model-00002-of-00002.safetensors": b"\x02" * 5000,
    "pytorch_model.bin": b"a pickle",
    "modeling_evil.py": b"import os",
    "consolidated.safetensors": b"\x03" * 5000,
    "onnx/config.json": b"{}",
    "README.md": b"# a model",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(FILES) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def test_configuration_tokenizer_and_safetensors_of_the_commit_come_and_nothing_else(tmp_path: Path, hub: Hub) -> None:
    stage = Stage(tmp_path)
    fetch({}, FetchParams(repository="org/name", revision=COMMIT), stage)
    found = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    wanted = (
        "config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    )
    assert found == {name: FILES[name] for name in wanted}
    assert not [path for path in hub.asked if path.endswith((".bin", ".py", "consolidated.safetensors"))]
    assert stage.data["report"]["files"]["value"] == 5
    assert stage.data["report"]["revision"] == COMMIT


@pytest.mark.parametrize(("repository", "revision"), [("org/name", "d" * 40), ("org/other", COMMIT)])
def test_what_the_hub_does_not_have_is_refused(tmp_path: Path, hub: Hub, repository: str, revision: str) -> None:
    with pytest.raises(Refusal, match=r"no such commit|does not exist") as caught:
        fetch({}, FetchParams(repository=repository, revision=revision), Stage(tmp_path))
    assert caught.value.code == "KR0114"


def test_a_hub_that_cannot_be_reached_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)  # the library asks five times, 23 s in all
    with pytest.raises(Unavailable, match="cannot be fetched"):
        fetch({}, FetchParams(repository="org/name", revision=COMMIT), Stage(tmp_path))


@pytest.mark.parametrize("repository", ["name", "../../etc", "org/name/x", "org/..", "-o/x", "https://x/y"])
def test_a_repository_is_an_organisation_and_a_name(repository: str) -> None:
    with pytest.raises(ValueError, match="repository"):
        FetchParams(repository=repository, revision=COMMIT)
