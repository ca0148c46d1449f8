"""An exported program → `<function>.onnx` for each of its functions, and `weights.bin` with what they share.

The graph is torch's own translation, not optimised: a third opinion is worth most where it shares least. Weights keep
their names and shapes, and whoever runs a file folds what they like; they are ONNX external data, each stored once.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnx import ModelProto, TensorProto

from runtime.contract import Context, Refusal
from runtime.contract import program as contracts
from runtime.machine import durable
from runtime.mil import archives
from runtime.steps.write_onnx import WriteOnnxParams

#: of ONNX 1.15: torch writes it as it is, and runtimes since the end of 2023 read it
OPSET = 20
WEIGHTS = "weights.bin"
#: smaller ones stay in the file: shapes and axes must be there for whoever infers shapes
_INLINE_BYTES = 1024
#: so that a runtime can map a tensor where it lies
_ALIGNED = 4096
#: of what torch writes beside each node, where it comes from in the model; the rest speaks of torch's own graph
_KEPT = "pkg.torch.onnx.name_scopes"


def write(takes: dict[str, Path], params: WriteOnnxParams, ctx: Context) -> None:
    """Operation `write_onnx`. Raises Refusal (KR0144) for a function that torch does not translate."""
    folder, out = takes["program"], ctx.out("onnx")
    # what runs a function, whatever a host calls it by
    contract = contracts.part(contracts.load(folder), "")
    weights = _Weights()
    for number, (name, function) in enumerate(contract.functions.items()):
        ctx.progress(number, len(contract.functions), name)
        program = archives.load(folder / f"{name}.pt2")
        inputs, outputs = ([value.name for value in side] for side in (function.inputs, function.outputs))
        model = translated(name, program, inputs, outputs)
        _matches(name, model, function)
        weights.take(model)
        durable.write(out / f"{name}.onnx", model.SerializeToString(deterministic=True))
    durable.pour(out / WEIGHTS, weights.pieces, weights.size)
    for name in contract.functions:
        # by path: with external data the checker looks into the file beside it
        onnx.checker.check_model(str(out / f"{name}.onnx"), full_check=True)
    durable.write(out / "contract.json", (folder / "contract.json").read_bytes())
    ctx.say(f"{len(contract.functions)} functions, {weights.size:,} bytes of weights, opset {OPSET}")


def translated(name: str, program: torch.export.ExportedProgram, inputs: list[str], outputs: list[str]) -> ModelProto:
    """One function as an ONNX model, weights inside. Raises Refusal (KR0144)."""
    quiet = logging.getLogger("torch.onnx")
    before = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 warns about its own use of pytrees
            warnings.simplefilter("ignore", FutureWarning)
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                optimize=False,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise _refused(f"torch.onnx cannot translate {name}: {said}") from error
    finally:
        quiet.setLevel(before)
    if made is None:
        raise _refused(f"torch.onnx gave no program for {name}")
    model: ModelProto = made.model_proto
    for node in model.graph.node:
        kept = [one for one in node.metadata_props if one.key == _KEPT]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        node.doc_string = ""
    return model


def _refused(why: str) -> Refusal:
    return Refusal(
        why,
        place="verification.onnx",
        action="remove `verification.onnx`: the package does not need it",
        code="KR0144",
    )


def _matches(name: str, model: ModelProto, function: contracts.Function) -> None:
    """The file asks and gives what the contract says. Raises Refusal (KR0144)."""
    for side, declared in (("input", function.inputs), ("output", function.outputs)):
        found = [
            (one.name, [extent.dim_value for extent in one.type.tensor_type.shape.dim])
            for one in getattr(model.graph, side)
        ]
        wanted = [(one.name, one.shape) for one in declared]
        if found != wanted:
            raise _refused(f"the {side}s of {name} are {found}, the contract says {wanted}")


class _Weights:
    """One file of tensors, each stored once however many functions hold it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self._places: dict[bytes, tuple[int, int]] = {}

    def take(self, model: ModelProto) -> None:
        """Moves the large tensors of a model here, and leaves where they lie."""
        for tensor in model.graph.initializer:
            data = tensor.raw_data
            if len(data) <= _INLINE_BYTES:
                continue
            offset, length = self._place(data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
                tensor.external_data.add(key=key, value=value)

    def _place(self, data: bytes) -> tuple[int, int]:
        key = hashlib.sha256(data).digest()
        if key not in self._places:
            gap = -self.size % _ALIGNED
            self.pieces += [bytes(gap), data]
            self._places[key] = (self.size + gap, len(data))
            self.size += gap + len(data)
        return self._places[key]
