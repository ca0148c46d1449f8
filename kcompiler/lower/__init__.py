"""Spec → nodes and inputs. The only place that knows which section makes which steps."""

from __future__ import annotations

from pathlib import Path

from kcompiler.graph import Input, Node
from kcompiler.lower.delivery import Delivery
from kcompiler.lower.evaluation import Evaluation
from kcompiler.lower.models import Models
from kcompiler.lower.training import Training
from kcompiler.spec import Spec
from kcompiler.spec.verification import on_device


class Lowering(Models, Training, Delivery, Evaluation):
    """Every section, and those that make one step each."""

    def readiness(self) -> None:
        """What files of a team's CI say of the code around the student."""
        asked = self.spec.readiness
        if asked is None:
            return
        files = asked.files()
        takes = {
            name: self.add_input(f"readiness-{name}", "file", file, "", f"/readiness/{name}")
            for name, file in files.items()
        }
        params = {"files": list(files), "revision": asked.revision}
        self.add("readiness", "readiness", params, takes, origin="/readiness")

    def attest(self) -> None:
        """What a Mac measured of the package, held to the package that this plan makes."""
        asked = self.spec.device
        if asked is None:
            return
        bounds = on_device(self.spec.verification.tolerances, asked.precision)
        units = asked.units or self.spec.export.compute_units
        params = {
            "precision": asked.precision,
            "units": units,
            "tolerances": bounds.model_dump(mode="json"),
            **self.covering(),
        }
        takes = {
            "report": self.add_input("device-report", "file", asked.report, "", "/device/report"),
            "package": "step:convert#package",
            "goldens": "step:export#goldens",
        }
        self.add("attest", "attest", params, takes, origin="/device")

    def extra(self) -> None:
        """Steps of third parties, named in the spec's own `steps` section."""
        for i, step in enumerate(self.spec.steps):
            takes = {
                port: reference if reference.startswith("input:") else f"step:{reference.removeprefix('step:')}"
                for port, reference in step.takes.items()
            }
            self.add(step.id, step.use, step.params.model_dump(mode="json"), takes, origin=f"/steps/{i}")


def lower(spec: Spec, root: Path, folder: Path, backend: str | None = None) -> tuple[list[Node], list[Input]]:
    """Every step and every pinned input that a valid spec asks for. `folder` is where the spec lies: its relative
    references start there. `backend` replaces every step's backend (only `null` carries out them all)."""
    lowering = Lowering(spec, root, folder, backend)
    lowering.data()
    lowering.teacher()
    lowering.student()
    lowering.tokenizer()
    lowering.training()
    lowering.delivery()
    lowering.evaluation()
    lowering.benchmarks()
    lowering.readiness()
    lowering.attest()
    lowering.extra()
    return lowering.nodes, lowering.inputs
