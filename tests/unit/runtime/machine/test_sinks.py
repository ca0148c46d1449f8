"""Curves go to other tools, and a tool that fails, hangs or is not there never costs a run."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal
from runtime.machine import sinks


def measured(step: str, at: int, **numbers: float) -> dict[str, Any]:
    named = {name.replace("__", "/"): value for name, value in numbers.items()}
    return {"event": "measured", "step": step, "at": at, "numbers": named}


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[str, int, Mapping[str, float]]] = []
        self.closed = False

    def write(self, step: str, at: int, numbers: Mapping[str, float]) -> None:
        self.got.append((step, at, numbers))

    def close(self) -> None:
        self.closed = True


class Failing(Kept):
    def write(self, step: str, at: int, numbers: Mapping[str, float]) -> None:
        super().write(step, at, numbers)
        if at == 3:
            raise ConnectionError("nobody answers\nat all")


class Hanging(Kept):
    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def write(self, step: str, at: int, numbers: Mapping[str, float]) -> None:
        self.free.wait(30)


def test_what_is_measured_is_written_and_nothing_else() -> None:
    said: list[str] = []
    sink = Kept()
    window = sinks.Window("kept", sink, said.append)
    window({"event": "progress", "step": "train", "done": 1, "total": 2})
    window(measured("train", 1, loss__kl=0.5))
    window(measured("train", 2, loss__kl=0.25))
    window.close()
    assert sink.got == [("train", 1, {"loss/kl": 0.5}), ("train", 2, {"loss/kl": 0.25})]
    assert (sink.closed, said) == (True, [])


def test_a_sink_that_fails_is_said_once_and_asked_no_more() -> None:
    said: list[str] = []
    sink = Failing()
    window = sinks.Window("broken", sink, said.append)
    for at in range(1, 4):
        window(measured("train", at, loss=1.0))
    window._thread.join(10)
    for at in range(4, 9):
        window(measured("train", at, loss=1.0))
    window.close()
    assert len(sink.got) == 3
    assert said == ["sink broken failed with ConnectionError: nobody answers; it gets no more points, the run goes on"]


def test_a_sink_that_does_not_keep_up_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "WAITING", 5)
    said: list[str] = []
    sink = Hanging()
    window = sinks.Window("slow", sink, said.append)
    for at in range(50):
        window(measured("train", at, loss=1.0))
    window.close()
    sink.free.set()
    assert said == ["sink slow does not keep up: 5 points wait; it gets no more points, the run goes on"]


def test_at_the_end_a_sink_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "PATIENCE_S", 0.05)
    said: list[str] = []
    sink = Hanging()
    window = sinks.Window("slow", sink, said.append)
    window(measured("train", 1, loss=1.0))
    window.close()
    sink.free.set()
    assert "was not done 0.05 s after the last step" in said[0]


@pytest.mark.parametrize("text", ["wandb:team", "tensorboard", "tensorboard:", ":x", ""])
def test_a_sink_that_nobody_knows_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="names no sink") as caught:
        sinks.opened(text, "toy", print)
    assert caught.value.action == "write one of mlflow:…, tensorboard:…, trackio:…"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "trackio"])
def test_a_sink_that_is_not_installed_is_refused_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Refusal) as caught:
        sinks.opened(f"{name}:somewhere", "toy", print)
    assert f"pip install 'kcompiler[{name}]'" in caught.value.action


def test_a_sink_that_cannot_be_opened_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(_target: str, _run: str) -> sinks.Sink:
        raise PermissionError("not here")

    monkeypatch.setattr(sinks, "KINDS", {"closed": no})
    with pytest.raises(Refusal, match="cannot be opened: PermissionError: not here"):
        sinks.opened("closed:x", "toy", print)


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs pip install '.[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said: list[str] = []
    window = sinks.opened(f"tensorboard:{tmp_path}/board", "toy", said.append)
    for at in range(1, 6):
        window(measured("train-kd", at, loss__kl=1.0 / at, tokens=100.0 * at))
        window(measured("train-ce_only-kd", at, loss__ce_truth=2.0 / at))
    window.close()
    assert said == []
    board = EventAccumulator(str(tmp_path / "board" / "toy" / "train-kd"))
    board.Reload()
    assert sorted(board.Tags()["scalars"]) == ["loss/kl", "tokens"]
    assert [(one.step, one.value) for one in board.Scalars("loss/kl")] == [
        (at, pytest.approx(1.0 / at)) for at in range(1, 6)
    ]
    assert (tmp_path / "board" / "toy" / "train-ce_only-kd").is_dir()


def test_mlflow_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="needs pip install '.[mlflow]'")
    from mlflow.tracking import MlflowClient

    said: list[str] = []
    target = f"file:{tmp_path}/runs"
    window = sinks.opened(f"mlflow:{target}", "toy", said.append)
    for at in range(1, 6):
        window(measured("train-kd", at, loss__kl=1.0 / at))
    window.close()
    assert said == []
    client = MlflowClient(tracking_uri=target)
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("train-kd", "FINISHED")
    history = client.get_metric_history(run.info.run_id, "loss/kl")
    assert [(one.step, one.value) for one in history] == [(at, pytest.approx(1.0 / at)) for at in range(1, 6)]
    # another run of the same spec is another run of the same experiment
    again = sinks.opened(f"mlflow:{target}", "toy", said.append)
    again(measured("train-kd", 1, loss__kl=1.0))
    again.close()
    assert len(client.search_runs([experiment.experiment_id])) == 2


#: written by a process that counts who is called, by a person who is logged in and whose environment names a Space
TRACKED = """
import os, sys
called = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system"):
        called.append(event)
sys.addaudithook(hook)
os.environ |= {"HF_TOKEN": "hf_" + "a" * 34, "TRACKIO_SPACE_ID": "somebody/space", "TRACKIO_SERVER_URL": "http://127.0.0.1:9"}
from runtime.machine import sinks
for _ in range(2):
    window = sinks.opened(f"trackio:{sys.argv[1]}", "toy@mini", print)
    for at in range(1, 6):
        numbers = {"loss/kl": 1.0 / at, "tokens": 100.0 * at}
        window({"event": "measured", "step": "train-kd", "at": at, "numbers": numbers})
    window({"event": "measured", "step": "train-ce_only-kd", "at": 1, "numbers": {"loss/ce_truth": 2.0}})
    window.close()
try:
    sinks.opened(f"trackio:{sys.argv[1]}/elsewhere", "toy@mini", print)
except sinks.Refusal as error:
    assert "one folder of a process" in error.message, error.message
else:
    raise AssertionError("points would go to the first folder")
assert not called, called
"""


def test_trackio_reads_what_was_written_and_nobody_is_called(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="needs pip install '.[trackio]'")
    import os
    import subprocess

    def ran(code: str) -> str:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TRACKIO_DIR": str(tmp_path)}
        command = [sys.executable, "-c", code, str(tmp_path)]
        result = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert ran(TRACKED) == ""
    read = """
import json
from trackio import Api
from trackio.sqlite_storage import SQLiteStorage
found = [[run.name, SQLiteStorage.get_logs("toy@mini", run.name, run_id=run.id)] for run in Api().runs("toy@mini")]
print(json.dumps(sorted(found, key=lambda one: one[0])))
"""
    found = json.loads(ran(read))
    assert [name for name, _ in found] == ["train-ce_only-kd"] * 2 + ["train-kd"] * 2
    for name, points in found:
        if name == "train-kd":
            assert [(one["step"], one["loss/kl"]) for one in points] == [(at, 1.0 / at) for at in range(1, 6)]
