"""Spec → nodes and inputs: what every section adds to, and the references that several sections share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompiler.facts.placing import device
from kcompiler.facts.rounding import rounded
from kcompiler.facts.teacher import of_teacher
from kcompiler.graph import Input, Node
from kcompiler.spec import Spec
from runtime import catalog, digest
from runtime.contract import Step, places, unkeyed
from runtime.contract.weights import Weights


class Nodes:
    """Collects nodes; each method of the other rooms lowers one section."""

    def __init__(self, spec: Spec, root: Path, folder: Path, backend: str | None = None) -> None:
        self.spec, self.root, self.folder, self.backend = spec, root, folder, backend
        self.nodes: list[Node] = []
        self.inputs: list[Input] = []
        #: "teacher", "student" → the folder of the weights that somebody else made
        self.folders: dict[str, str] = {}
        #: the teacher that is asked for logits
        self._teacher = "step:teacher#checkpoint"
        #: where models run
        self._device = device(spec)
        #: to how few bits the teacher's weights are rounded while it teaches
        self._weights = rounded(spec)

    def add(
        self,
        step_id: str,
        step_name: str,
        params: Mapping[str, Any],
        takes: Mapping[str, str],
        *,
        origin: str,
        after: Sequence[str] = (),
        backend: str = "",
    ) -> str:
        """One node, with every default of its step visible; returns its id."""
        step: Step = catalog.load("steps", step_name)
        resolved = step.params.model_validate(params)
        self.nodes.append(
            Node(
                id=step_id,
                step=step.name,
                version=step.version,
                backend=self.backend or backend or step.backend,
                params=resolved.model_dump(mode="json"),
                ports=step.takes_of(resolved),
                takes=dict(takes),
                gives=step.gives_of(resolved),
                code=catalog.code_of(step, resolved),
                promise=step.promise_of(resolved),
                tolerance=None if (allowed := step.tolerance_of(resolved)) is None else allowed.to_json(),
                seed=self.spec.execution.seed,
                origin=origin,
                after=tuple(after),
                unkeyed=tuple(unkeyed(step.params)),
            )
        )
        return step_id

    def add_input(
        self, name: str, kind: str, path: str, license: str, origin: str, stated: tuple[str, int] | None = None
    ) -> str:
        """One pinned file or folder, referred to from the spec's own folder; returns its reference.

        `stated` are digest and size by the spec, of a file that need not be here: the plan is then the same without it.
        """
        elsewhere = places.elsewhere(path)
        target = places.place_of(self.root, path) if elsewhere else (self.folder / path).resolve()
        if stated is not None:
            pin, size = stated
        elif kind == "file":
            pin, size = digest.of_file(target), target.stat().st_size
        else:
            entries = digest.manifest(target)
            pin, size = digest.of_folder(target), sum(int(entry["bytes"]) for entry in entries)
        relative = path if elsewhere else target.relative_to(self.root.resolve()).as_posix()
        self.inputs.append(
            Input(name=name, kind=kind, path=relative, digest=pin, bytes=size, license=license, origin=origin)
        )
        return f"input:{name}"

    def _rows(self) -> str:
        """The rows that are read: all of the data, or those that fit, when others are dropped."""
        return "step:tokenizer#dataset" if self.spec.data.too_long == "drop" else "step:data#dataset"

    def _student(self) -> str:
        stages = self.spec.training.stages
        return f"step:train-{stages[-1].name}#checkpoint" if stages else self._start()

    def _recipe(self) -> dict[str, Any]:
        """How weights are stored, as steps take it."""
        quantization = self.spec.quantization
        return {
            "default": quantization.default.model_dump(),
            "rules": [rule.model_dump() for rule in quantization.rules],
        }

    def _start(self) -> str:
        """The weights that the student has before anything is trained."""
        checkpoint = self.spec.student.checkpoint
        same = checkpoint is not None and self.spec.student.migrate is None and self._is_teachers(checkpoint)
        return "step:teacher#checkpoint" if same else "step:student#checkpoint"

    def _is_teachers(self, checkpoint: Weights) -> bool:
        """Whether the student starts from the very weights of the teacher, which are then loaded and proven once.

        A teacher that is rounded is another: a student learns in float32, whatever it starts from.
        """
        teacher = of_teacher(self.spec)
        if teacher is None or getattr(teacher, "dtype", "fp32") != "fp32":
            return False
        return (teacher.place, teacher.revision) == (checkpoint.place, checkpoint.revision)

    def _longest(self) -> int:
        return max(self.spec.shapes.prefill)

    def _heads(self) -> dict[str, Any]:
        """What the student says beside words, where it says any of it."""
        return {"heads": list(self.spec.student.heads)} if self.spec.student.heads else {}

    def _architecture(self, architecture: Any) -> dict[str, Any]:
        return dict(architecture.model_dump())

    def _money(self) -> dict[str, Any]:
        """One purse for all steps and cells of a sweep, all attempts and all later forms of the spec."""
        budgets = self.spec.budgets
        return {
            "usd": budgets.usd,
            "purse": self.spec.metadata.name,
            "teacher_calls": budgets.teacher_calls,
            "teacher_tokens": budgets.teacher_tokens,
        }
