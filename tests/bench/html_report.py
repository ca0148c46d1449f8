"""The HTML report of a run of 10,000 steps, and of a training of 10,000 steps → what it costs, and how large it is.

    python tests/bench/html_report.py [--steps 10000]

CPU seconds of this process; the whole from files to text, packs, digests and schemas of reports included. Asked: 3 s,
and a page that a browser opens at once, 2 MB.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

ASKED_S, ASKED_MB = 3.0, 2.0


def page(root: Path) -> str:
    """As `kcompiler show run generated/long --format html` makes it."""
    from kcompiler import lock
    from kcompiler.project import Project
    from kcompiler.render.html.page import result
    from kcompiler.render.html.run import look
    from kcompiler.result import Result
    from tests.bench.long_run import NAME

    home = Project(root)
    subject = f"generated/{NAME}"
    run = look(home, lock.read(home.lock(NAME)))
    assert run.troubles == [], run.troubles[:3]
    return result(Result(verb="show", subject=subject, code=0, word="ok"), {subject: run})


def trained(points: int) -> str:
    """The curves of a training of so many steps, every one of them logged."""
    from kcompiler.project import Project
    from kcompiler.render.html.page import result
    from kcompiler.render.html.run import Run
    from kcompiler.result import Result
    from runtime.contract.report import measured

    def curve(shift: float) -> list[dict[str, object]]:
        values = (5 * math.exp(-step / 2000) + shift + 0.1 * math.sin(step) for step in range(points))
        return [
            {"step": measured(step, "step"), "value": measured(value, "nat/token")} for step, value in enumerate(values)
        ]

    data = {"total": curve(1.0), "terms": {name: {"curve": curve(nth / 9)} for nth, name in enumerate(("kl", "ce"))}}
    reports = {"train": {"kind": "training", "environment": {"forged": False}, "data": data}}
    plan = {"asked": {"name": "trained"}, "steps": [], "budgets": {}}
    run = Run(home=Project(Path()), plan=plan, digest="", reports=reports)
    return result(Result(verb="show", subject="trained", code=0, word="ok"), {"trained": run})


def main() -> None:
    from tests.bench.long_run import EVERY, project, seconds

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    steps = parser.parse_args().steps // EVERY * EVERY
    said: list[str] = []
    took = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (EVERY, steps // 10 // EVERY * EVERY, steps):
            root = Path(folder) / str(size)
            root.mkdir()
            project(root, size)
            took[size] = seconds(lambda root=root: said.append(page(root)))
            print(f"run of {size:>6} steps: {took[size]:5.2f} CPU s, {len(said[-1]) / 1e6:.3f} MB", flush=True)
    large = len(said[-1]) / 1e6
    curve = seconds(lambda: said.append(trained(steps)))
    print(
        f"training of {steps:>6} steps: {curve:5.2f} CPU s, {len(said[-1]) / 1e6:.3f} MB (asked {ASKED_S} s, {ASKED_MB} MB)"
    )
    sys.exit(max(took[steps], curve) > ASKED_S or large > ASKED_MB)


if __name__ == "__main__":
    main()
