"""A training in a process that gets no more than so many further bytes of memory: for tests that have it refused."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

from runtime.contract import Refusal
from runtime.train.distill import train
from tests.tensor.train import world
from tests.tensor.train.world import Stage

#: the exit code of a refusal, and that of any other end than a trained student
REFUSED = 3


def run(takes: dict[str, Path], out: Path, room: int, ways: dict[str, Any]) -> None:
    """Exits with 0 or REFUSED; what the refusal says stands in `refused` beside the results."""
    out.mkdir(parents=True)
    held = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmData:")
    )
    resource.setrlimit(resource.RLIMIT_DATA, (held + room, held + room))
    shape = world.architecture(hidden_size=128, intermediate_size=512, num_hidden_layers=6)
    try:
        train(takes, world.params(architecture=shape, steps=2, batch_size=600, **ways), Stage(out, takes))
    except Refusal as refused:
        (out / "refused").write_text(f"{refused.code}\n{refused.message}\n{refused.action}", encoding="utf-8")
        sys.exit(REFUSED)
