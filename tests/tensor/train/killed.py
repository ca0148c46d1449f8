"""One training run that tells each finished step through a pipe, so that a test can kill its process at a step."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from runtime.contract.validation import Validation
from runtime.steps.train import TrainParams
from runtime.train.distill import train
from tests.tensor.train import world
from tests.tensor.train.world import Stage


class Telling(Stage):
    """A Context that sends the number of every finished step."""

    pipe: Connection | None = None

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, note)
        if self.pipe is not None:
            self.pipe.send(done)


def params() -> TrainParams:
    """A state after every step: most of the run is spent writing one, so that most kills fall into a write. Every
    third step is validated, and states are kept."""
    losses = world.terms(kl=0.6, ce_teacher=0.1, ce_truth=0.2, json_args=0.1)
    return world.params(
        losses=losses,
        needs_teacher=True,
        steps=60,
        checkpoint_every=1,
        gradient_norms_every=7,
        validation=Validation(every=3),
        keeps_states=True,
    )


def run(takes: dict[str, Path], scratch: Path, out: Path, pipe: Connection | None) -> None:
    stage = Telling(out, takes)
    stage.scratch, stage.pipe = scratch, pipe
    train(takes, params(), stage)
