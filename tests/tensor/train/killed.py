"""A recording of signals that tells through a pipe how far it is, so that a test can kill its process there."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from runtime.contract import signals
from runtime.contract.signals import Likeliest
from runtime.steps.record_signals import RecordSignalsParams
from runtime.train.recording import record_signals
from tests.tensor.train.world import Stage


class Waiting(Stage):
    """A Context that sends how far a recording is, and goes on when it is told to."""

    pipe: Connection

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, note)
        self.pipe.send(note)
        self.pipe.recv()


def recording() -> RecordSignalsParams:
    store = Likeliest(form="top_k", k=16)
    return RecordSignalsParams(store=store, temperatures=[1.0, 2.0], max_length=96, threads=1)


def record(takes: dict[str, Path], scratch: Path, out: Path, pipe: Connection) -> None:
    """In shards of a few dozen tokens."""
    signals.SHARD_BYTES = 1 << 13
    stage = Waiting(out, takes)
    stage.scratch, stage.pipe = scratch, pipe
    record_signals(takes, recording(), stage)
