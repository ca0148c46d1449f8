"""`export.chunks`: has the student so many parts, and is nothing asked for that needs it in one piece?"""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree
from kcompiler.spec import Spec

_POINTER = "/export/chunks"


def _parts(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    layers = spec.student.architecture.num_hidden_layers
    if spec.export.chunks > layers + 2:
        yield tree.diagnostic(
            "KC4886",
            _POINTER,
            f"the student has fewer parts than {spec.export.chunks}",
            label=f"{layers} layers, an embedding and a head",
            help=f"ask for at most {layers + 2} chunks",
        )


def _onnx(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if spec.export.chunks > 1 and spec.verification.onnx:
        yield tree.diagnostic(
            "KC4887",
            "/verification/onnx",
            "ONNX files are written of a student in one piece",
            on="key",
            label="each function would be one file",
            help="remove verification.onnx, or export.chunks",
            related=(tree.related(_POINTER, "the student is split here"),),
        )


def _lengths(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if spec.export.chunks > 1 and spec.export.strategy == "enumerated":
        yield tree.diagnostic(
            "KC4888",
            _POINTER,
            "chunks have a function for each length",
            label="one prefill of several lengths is in one piece",
            help="remove the chunks, or write `strategy: multifunction`",
            related=(tree.related("/export/strategy", "one function for every length"),),
        )


CHECKS = (Check(_parts, "export", "student"), Check(_onnx, "export", "verification"), Check(_lengths, "export"))
