"""Device and precision × machine × what is trained → what cannot be carried out, or would change nothing."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler import tables
from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.layers import reads_weights
from kcompiler.facts.placing import device, device_of_machine
from kcompiler.facts.rounding import rounded
from kcompiler.facts.teacher import folder_of
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract.rounding import DEVICES, GROUP


def _scaled(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    where = device(spec)
    if spec.execution.precision == "fp16-mixed" and where != "cuda":
        yield tree.diagnostic(
            "KC4721",
            "/execution/precision",
            "float16 with a scaled loss is for CUDA cards alone",
            label=f"the models run on `{where}`",
            detail="float16 has no range for gradients below 6e-8; the loss scaler that keeps them is CUDA's. bfloat16 "
            "has the range of float32 and needs none",
            help="write `precision: bf16`, or `device: cuda` where the machine that trains has such a card",
        )


def _there(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A device that the machine which is said to train does not have."""
    name = spec.hardware.training_profile
    machine = None if name is None else tables.hardware().profiles.get(name)
    if machine is None:
        return
    has, asked = device_of_machine(name), spec.execution.device
    if asked not in ("auto", "cpu", has):
        yield tree.diagnostic(
            "KC4727",
            "/execution/device",
            f"the machine that trains has no `{asked}`",
            label=f"{machine.title} has `{has}`",
            help=f"write `device: {has}` or `auto`, or name the machine that trains as hardware.training_profile",
            related=(tree.related("/hardware/training_profile", "this machine trains"),),
        )


def _idle(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Settings that nothing would read."""
    execution, stages = spec.execution, spec.training.stages
    trains = bool(stages) or catalog.load("teachers", spec.teacher.source).step == "bootstrap"
    if execution.precision != "fp32" and not trains:
        yield tree.diagnostic(
            "KC4733",
            "/execution/precision",
            "nothing is trained, and a precision is chosen",
            label="only training reads it",
            help="leave it out",
        )
    if execution.teacher_device is None:
        return
    asks = any(reads_weights(stage) for stage in stages)
    own = device(spec)
    if not asks:
        what, label = "no stage runs a teacher", "no loss reads a teacher's logits or layers"
    elif execution.teacher_device not in ("cpu", own) and execution.teacher_device.partition(":")[0] != own:
        what = "teacher and student would run on GPUs of two kinds"
        label = f"the student runs on `{own}`"
    elif execution.teacher_device == own:
        what, label = "the teacher is where it would be anyway", f"the student runs on `{own}`"
    else:
        return
    yield tree.diagnostic(
        "KC4733",
        "/execution/teacher_device",
        what,
        label=label,
        help="leave it out, or name `cpu` or another card of the student's kind, such as `cuda:1`",
    )


def _rounded(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Weights of the teacher in a form that nothing computes with."""
    weights = rounded(spec)
    if weights is None:
        return
    if not any(reads_weights(stage) for stage in spec.training.stages):
        yield tree.diagnostic(
            "KC4733",
            "/teacher/dtype",
            "no stage runs the teacher whose weights are to be rounded",
            label="no loss reads a teacher's logits or layers",
            help="write `dtype: bf16`, or leave it out",
        )
        return
    where = (spec.execution.teacher_device or device(spec)).partition(":")[0]
    folder, group = folder_of(spec, world), GROUP[weights]
    widths = [] if folder is None else [folder.number(key) for key in ("hidden_size", "intermediate_size")]
    odd = [width for width in widths if width is not None and width % group]
    if where not in DEVICES:
        why, way = f"the teacher runs on `{where}`, for which torchao has no kernels", "`teacher_device: cpu`, or "
    elif spec.execution.precision == "fp16-mixed":
        why, way = "its kernels compute in bfloat16, and the models in float16", "`precision: bf16`, or "
    elif odd:
        why, way = f"{group} inputs of a layer share a scale, and there are layers of {odd[0]:,}", "`dtype: int8`, or "
    else:
        return
    yield tree.diagnostic(
        "KC4734",
        "/teacher/dtype",
        f"nothing computes with a teacher in {weights} here",
        label=why,
        help=f"write {way}`dtype: bf16`",
    )


CHECKS = (
    Check(_scaled, "execution", "hardware"),
    Check(_there, "execution", "hardware"),
    Check(_idle, "execution", "hardware", "training", "teacher"),
    Check(_rounded, "execution", "hardware", "training", "teacher"),
)
