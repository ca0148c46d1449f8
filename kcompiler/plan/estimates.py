"""What a plan will take, as far as the spec tells it: work and hours, bytes that are kept, and what rows can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompiler import assets, checks
from kcompiler.checks.memory import trainer
from kcompiler.checks.statistics import margins, rows_of
from kcompiler.compose import variants
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import chunks, stored
from kcompiler.facts.time import of_step
from kcompiler.front import Front
from kcompiler.project import Project
from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource
from runtime.contract.formats import TABLES
from runtime.contract.splits import VALIDATION


def undecidable(front: Front, project: Project) -> list[Diagnostic]:
    """Warnings of the statistics family: gates that the declared evaluation cannot decide."""
    if front.spec is None or "statistics" not in checks.families():
        return []
    folder = front.path.resolve().parent
    world = checks.World(project.root, folder, (project.root / "policies", assets.folder("policies")))
    asked = [check.ask(form.spec, form.tree, world) for form in front.forms for check in checks.checks_of("statistics")]
    return list(dict.fromkeys(item for found in asked for item in found if item.severity == "warning"))


def told(front: Front, project: Project) -> list[str]:
    """Of each margin between two models over the same rows, how small a difference so many rows can tell."""
    if "statistics" not in checks.families():
        return []
    world = checks.World(
        project.root, front.path.resolve().parent, (project.root / "policies", assets.folder("policies"))
    )
    return list(dict.fromkeys(one.said for form in front.forms if form.spec for one in margins(form.spec, world)))


def estimates(front: Front, project: Project, steps: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each step that trains how much work that is, and how long for the machine that is named for it."""
    assert front.spec is not None
    hardware = front.spec.hardware
    machine = None if hardware.training_profile is None else trainer(front.spec)[0]
    rows = _validated(front.spec, checks.World(project.root, front.path.resolve().parent))
    found = {step["id"]: of_step(step, machine, rows) for step in steps}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def kept(front: Front, project: Project, made: Mapping[str, Any]) -> dict[str, str]:
    """Step → the bytes that its artifact takes, with the arithmetic: at most, of steps that record a teacher; of
    every chunk, of a student that is split."""
    world = checks.World(project.root, front.path.resolve().parent)
    found: dict[str, str] = {}
    for form in front.forms:
        size, count = stored.size(form.spec, world), form.spec.export.chunks
        for step in made["steps"]:
            if not variants.belongs(step["id"], form.labels):
                continue
            if size is not None and step["kind"].startswith("record_signals@"):
                found[step["id"]] = f"at most {size.text}"
            if count > 1 and step["kind"].startswith("convert@"):
                recipe = form.spec.quantization
                found[step["id"]] = chunks.told(form.spec.student.architecture, count, recipe, recipe.islands)
    return found


def _validated(spec: Spec, world: checks.World) -> int:
    """Rows that each validation reads, where every machine that plans counts the same: a file that is kept elsewhere,
    and tables without the library that reads them, would give another plan."""
    if not any(stage.validation for stage in spec.training.stages):
        return 0
    if any(isinstance(one, FileSource) and (one.sha256 or one.kind in TABLES) for one in spec.data.sources):
        return 0
    counted = rows_of(spec, world, VALIDATION)
    return counted.expected if counted is not None else 0
