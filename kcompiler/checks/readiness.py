"""Files of tests and scans that the spec names: there, of their form, whole."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.paths import located, wrong_path
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.ready import READ, Unreadable


def _files(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    if spec.readiness is None:
        return
    for about, file in spec.readiness.files().items():
        pointer = f"/readiness/{about}"
        wrong = list(wrong_path(tree, world, pointer, file, folder=False))
        yield from wrong
        path = located(file, world)
        if wrong or path is None:
            continue
        try:
            READ[about](path.read_bytes())
        except Unreadable as reason:
            yield tree.diagnostic(
                "KC4896",
                pointer,
                f"the file {reason}",
                label="nothing can be said of the code by it",
                help="let CI write it again, whole; `kcompiler explain field:readiness` names the forms",
            )


CHECKS = (Check(_files, "readiness"),)
