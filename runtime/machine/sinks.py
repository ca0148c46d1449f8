"""What a step measures while it runs → tools in which people look at curves: TensorBoard, MLflow.

The journal and the reports are the truth; a sink is a window. So a sink is in no spec, lock or key, and one that fails,
or does not keep up, loses its curves and never a run: what went wrong with it is said once. Each sink is written to by
a thread of its own. One more is a class here that opens it, and an extra in pyproject.toml.
"""

from __future__ import annotations

import importlib
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from runtime.contract import Refusal

#: points that wait for a sink at most, and seconds that it gets at the end
WAITING, PATIENCE_S = 20_000, 20.0


class Sink(Protocol):
    """An opened tool."""

    def write(self, step: str, at: int, numbers: Mapping[str, float]) -> None:
        """The numbers that a step measured after so much work."""

    def close(self) -> None:
        """All that was written is there."""


def _library(module: str, extra: str) -> Any:
    """Raises Refusal where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Refusal(
            f"the sink `{extra}` needs what is not installed: {module.partition('.')[0]}",
            place="--sink",
            action=f"pip install 'kcompiler[{extra}]', or leave the sink out",
        ) from None


class _TensorBoard:
    """One folder of event files for each step, below DIR/<run>."""

    def __init__(self, target: str, run: str) -> None:
        self._files = _library("tensorboard.summary.writer.event_file_writer", "tensorboard").EventFileWriter
        self._event = _library("tensorboard.compat.proto.event_pb2", "tensorboard").Event
        self._summary = _library("tensorboard.compat.proto.summary_pb2", "tensorboard").Summary
        self._folder, self._open = f"{target}/{run}", dict[str, Any]()

    def write(self, step: str, at: int, numbers: Mapping[str, float]) -> None:
        if step not in self._open:
            self._open[step] = self._files(f"{self._folder}/{step}")
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        event = self._event(wall_time=time.time(), step=at, summary=self._summary(value=values))
        self._open[step].add_event(event)

    def close(self) -> None:
        for file in self._open.values():
            file.close()


class _MLflow:
    """One run for each step, in the experiment of the spec's name; the target is a tracking URI or a folder."""

    def __init__(self, target: str, run: str) -> None:
        # it would tell its makers that it is used, and since 3.17 refuses a folder unless it is told to take one
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self._entities = _library("mlflow.entities", "mlflow")
        client = _library("mlflow.tracking", "mlflow").MlflowClient
        self._client, self._name, self._open = client(tracking_uri=target), run, dict[str, str]()

    def _run(self, step: str) -> str:
        if step not in self._open:
            known = self._client.get_experiment_by_name(self._name)
            experiment = known.experiment_id if known else self._client.create_experiment(self._name)
            self._open[step] = self._client.create_run(experiment, run_name=step).info.run_id
        return self._open[step]

    def write(self, step: str, at: int, numbers: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._entities.Metric(name, value, now, at) for name, value in numbers.items()]
        self._client.log_batch(self._run(step), metrics=metrics)

    def close(self) -> None:
        for run in self._open.values():
            self._client.set_terminated(run)


class _Trackio:
    """One run for each step, in the project of the spec's name, in the database of a folder of this machine.

    It is written by the library's own storage, as its importers do. `trackio.init` would ask the Hub who is logged in,
    send all to a Space or a server where the environment names one, and print to the standard output.
    """

    def __init__(self, target: str, run: str) -> None:
        folder = Path(target).absolute()
        # read once, when the library is imported
        os.environ["TRACKIO_DIR"] = str(folder)
        self._store = _library("trackio.sqlite_storage", "trackio").SQLiteStorage
        there = Path(_library("trackio.utils", "trackio").TRACKIO_DIR)
        if there != folder:
            raise Refusal(
                f"the sink `trackio` writes into one folder of a process, and that is {there}",
                place="--sink",
                action="name one folder only",
            )
        self._store.validate_project_name(run)
        self._project, self._open = run, dict[str, str]()

    def write(self, step: str, at: int, numbers: Mapping[str, float]) -> None:
        known = self._open.setdefault(step, uuid.uuid4().hex)
        self._store.bulk_log(self._project, step, [dict(numbers)], steps=[at], run_id=known)

    def close(self) -> None:
        """Each point was written when it came."""


#: name → what opens it: (target, name of the run) → the sink. Raises Refusal where its library is not installed
KINDS: Mapping[str, Callable[[str, str], Sink]] = {
    "mlflow": _MLflow,
    "tensorboard": _TensorBoard,
    "trackio": _Trackio,
}


class Window:
    """One sink and the thread that writes to it. `say` hears what goes wrong, once."""

    def __init__(self, name: str, sink: Sink, say: Callable[[str], None]) -> None:
        self._name, self._sink, self._say = name, sink, say
        self._waiting: queue.Queue[tuple[str, int, dict[str, float]] | None] = queue.Queue(WAITING)
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"sink {name}", daemon=True)
        self._thread.start()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Takes the numbers of an event of kind `measured`; never waits and never raises."""
        if event["event"] != "measured" or self._failed:
            return
        try:
            self._waiting.put_nowait((event["step"], event["at"], event["numbers"]))
        except queue.Full:
            self._fail(f"does not keep up: {WAITING} points wait")

    def close(self) -> None:
        """Wait for what was handed in, but not for ever."""
        if self._failed:
            return
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self._fail(f"does not keep up: {WAITING} points wait")
            return
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self._fail(f"was not done {PATIENCE_S:g} s after the last step")

    def _work(self) -> None:
        try:
            while (item := self._waiting.get()) is not None and not self._failed:
                self._sink.write(*item)
            self._sink.close()
        except Exception as error:
            first = str(error).splitlines()[0] if str(error) else "no message"
            self._fail(f"failed with {type(error).__name__}: {first[:160]}")

    def _fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self._say(f"sink {self._name} {why}; it gets no more points, the run goes on")


def opened(text: str, run: str, say: Callable[[str], None]) -> Window:
    """`tensorboard:DIR` → that sink, opened for a run of this name. Raises Refusal for a sink that nobody knows, one
    without a target, and one whose library is not installed."""
    name, _, target = text.partition(":")
    if name not in KINDS or not target:
        known = ", ".join(f"{one}:…" for one in sorted(KINDS))
        raise Refusal(f"`{text}` names no sink", place="--sink", action=f"write one of {known}")
    try:
        sink = KINDS[name](target, run)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(
            f"sink `{text}` cannot be opened: {type(error).__name__}: {error}",
            place="--sink",
            action="correct its target, or leave it out",
        ) from error
    return Window(text, sink, say)
