"""The report of a Mac that the spec names: there, whole, and of what the spec asks for."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.paths import located, wrong_path
from kcompiler.policy import evidence
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract import ondevice

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


CHECKS = (Check(_report, "device"),)
