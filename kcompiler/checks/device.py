"""The report of a Mac that the spec names: there, whole, and of what the spec asks for; and where Core ML computes."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.paths import located, wrong_path
from kcompiler.policy import evidence
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract import ondevice
from runtime.contract.targets import UNITS

_POINTER = "/device/report"


def _report(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    if spec.device is None:
        return
    wrong = list(wrong_path(tree, world, _POINTER, spec.device.report, folder=False))
    yield from wrong
    path = located(spec.device.report, world)
    if wrong or path is None:
        return
    read = evidence.read(path.read_bytes())
    if read.report is None:
        why = read.problem
    elif read.report["kind"] != ondevice.KIND:
        why = f"it is a report `{read.report['kind']}`, not `{ondevice.KIND}`"
    elif read.report["environment"]["forged"]:
        why = "nothing of it was computed: it is forged"
    else:
        return
    yield tree.diagnostic(
        "KC4897",
        _POINTER,
        f"the file is no report of a Mac: {why}",
        label="nothing can be said of the package by it",
        help="let `kcompiler verify --on-device DIR --to FILE` write it again, whole",
    )


def _elsewhere(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Where the student must be fast, and where a Mac measured it, Core ML may compute."""
    allowed, targets, device = spec.export.compute_units, spec.hardware.targets, spec.device
    said = tree.related("/export/compute_units", "where Core ML may compute")
    if targets is not None and targets.compute_unit not in UNITS[allowed]:
        yield tree.diagnostic(
            "KC4898",
            "/hardware/targets/compute_unit",
            f"the targets are of a unit on which `{allowed}` lets nothing compute",
            label=f"`{allowed}` allows {' and '.join(UNITS[allowed])}",
            help="aim at a unit that is allowed, or allow this one by export.compute_units",
            related=(said,),
        )
    measured = device and (device.units or allowed)
    if measured and measured != allowed:
        yield tree.diagnostic(
            "KC4898",
            "/device/units",
            f"`{measured}` was measured, and hosts let `{allowed}` compute",
            label="says nothing of how the package runs",
            help="leave it out: it is then what export.compute_units says",
            related=(said,),
        )
    elif measured == "cpu_only":
        yield tree.diagnostic(
            "KC4898",
            "/device",
            "a Mac measures accelerators, and `cpu_only` lets none compute",
            on="key",
            label="no level above 3 speaks of the CPU alone",
            help="allow the GPU or the Neural Engine by export.compute_units, or remove this section",
            related=(said,),
        )


CHECKS = (Check(_report, "device"), Check(_elsewhere, "device", "hardware", "export"))
