"""coremltools' API of Core ML, by the MIL interpreter: the numbers are real, the machine is not. Faults can be planted.

The classes have coremltools' names: `drift` holds them to what is typed, as it holds the real ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from runtime import digest
from runtime.contract import delivery, ondevice, program
from runtime.contract.report import hex_of
from runtime.coreml.api import CoreML
from runtime.mil import package as packages
from runtime.mil.describe import described
from runtime.mil.interpreter import Interpreter
from runtime.mil.program import Operation

Outputs = dict[str, Any]


@dataclass
class Faults:
    """What is wrong with this Core ML; nothing by default."""

    #: (function, units, outputs) → what predict gives instead
    outputs: Callable[[str, str, Outputs], Outputs] = lambda _function, _units, found: found
    #: raised by predict
    predict: Exception | None = None
    #: raised when a model is loaded
    load: Exception | None = None
    #: type of operation → the class of the device that it is placed on
    devices: Mapping[str, str] = field(default_factory=dict)
    #: types of operations that the plan leaves out, and those of which it cannot say a device
    left_out: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    #: raised when a plan is loaded
    plan: Exception | None = None
    #: predict of these functions does not touch the state; "" is of all
    frozen: tuple[str, ...] = ()
    #: what is made of the buffers of a new state
    state: Callable[[dict[str, Any]], dict[str, Any]] = lambda found: found
    #: functions that were asked for a state, in order
    asked: list[str] = field(default_factory=list)
    #: seen by predict, which may change files
    before: Callable[[], None] = lambda: None


class MLCPUComputeDevice:
    pass


class MLGPUComputeDevice:
    pass


class MLNeuralEngineComputeDevice:
    pass


class ComputeUnit(Enum):
    ALL = 1
    CPU_AND_GPU = 2
    CPU_ONLY = 3
    CPU_AND_NE = 4


@dataclass
class MLState:
    buffers: dict[str, Any]

    def read_state(self, name: str) -> Any:
        return self.buffers[name].copy()


@dataclass(frozen=True)
class MLModelStructureProgramNamedValueType:
    name: str
    type: Any


@dataclass(frozen=True)
class MLModelStructureProgramOperation:
    inputs: Any
    operator_name: str
    outputs: list[Any]
    blocks: list[Any]


@dataclass(frozen=True)
class MLModelStructureProgramBlock:
    inputs: Any
    operations: list[Any]
    output_names: list[str]


@dataclass(frozen=True)
class MLModelStructureProgramFunction:
    inputs: Any
    block: Any


@dataclass(frozen=True)
class MLModelStructureProgram:
    functions: dict[str, Any]


@dataclass(frozen=True)
class MLModelStructure:
    neuralnetwork: Any
    program: Any
    pipeline: Any


@dataclass(frozen=True)
class MLComputePlanDeviceUsage:
    preferred_compute_device: Any
    supported_compute_devices: list[Any]


@dataclass(frozen=True)
class MLComputePlanCost:
    weight: float


@cache
def _opened(path: Path) -> packages.Package:
    return packages.open(path)


@cache
def _interpreter(path: Path, function: str) -> Interpreter:
    return Interpreter(_opened(path), function, check=False)


def made(faults: Faults) -> dict[str, type]:
    """The classes that execute and plan, with these faults; `MLModel` and `MLComputePlan` among them."""

    class MLModel:
        def __init__(
            self, model: str, *, compute_units: ComputeUnit = ComputeUnit.ALL, function_name: str = ""
        ) -> None:
            if faults.load:
                raise faults.load
            self._path, self._units, self._name = Path(model), compute_units, function_name
            self._interpreter = _interpreter(self._path, function_name)

        def predict(self, data: Mapping[str, Any], state: MLState | None = None) -> Outputs:
            faults.before()
            if faults.predict:
                raise faults.predict
            frozen = "" in faults.frozen or self._name in faults.frozen
            buffers = None if state is None else (dict(state.buffers) if frozen else state.buffers)
            found = dict(self._interpreter.run(data, state=buffers).outputs)
            # Core ML gives what the package declares
            types = {name: dtype for name, _, dtype in self._interpreter.function.outputs}
            typed = {name: one.astype(types[name]) for name, one in found.items()}
            return faults.outputs(self._name, self._units.name.lower(), typed)

        def make_state(self) -> MLState:
            faults.asked.append(self._name)
            return MLState(faults.state(self._interpreter.make_state()))

        def get_compiled_model_path(self) -> str:
            # what a real one compiles; here the path is all that the plan needs
            return str(self._path)

    class MLComputePlan:
        def __init__(self, path: Path, units: ComputeUnit) -> None:
            functions = _opened(path).functions
            self._units = units
            self.structure = MLModelStructure(
                None,
                MLModelStructureProgram(
                    {
                        name: MLModelStructureProgramFunction(None, _block(one.operations, faults))
                        for name, one in functions.items()
                    }
                ),
                None,
            )

        @property
        def model_structure(self) -> MLModelStructure:
            return self.structure

        def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> MLComputePlanDeviceUsage | None:
            kind = operation.operator_name.rpartition(".")[2]
            if kind == "const" or kind in faults.unsaid:
                return None
            usual = "MLGPUComputeDevice" if self._units is ComputeUnit.CPU_AND_GPU else "MLNeuralEngineComputeDevice"
            device = DEVICES[faults.devices.get(kind, usual)]()
            return MLComputePlanDeviceUsage(device, [MLCPUComputeDevice(), device])

        def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> MLComputePlanCost | None:
            return None if operation.operator_name.endswith("const") else MLComputePlanCost(0.01)

        @classmethod
        def load_from_path(cls, path: str, compute_units: ComputeUnit = ComputeUnit.ALL) -> MLComputePlan:
            if faults.plan:
                raise faults.plan
            return cls(Path(path), compute_units)

    return {one.__name__: one for one in (*PLAIN, MLModel, MLComputePlan)}


def _block(operations: tuple[Operation, ...], faults: Faults) -> MLModelStructureProgramBlock:
    constant = MLModelStructureProgramOperation(None, "const", [_named("a_constant")], [])
    found = [
        MLModelStructureProgramOperation(
            None,
            f"ios18.{one.type}",
            [_named(name) for name, _ in one.outputs],
            [_block(block.operations, faults) for block in one.blocks],
        )
        for one in operations
        if one.type not in faults.left_out
    ]
    return MLModelStructureProgramBlock(None, [constant, *found], [])


def _named(name: str) -> MLModelStructureProgramNamedValueType:
    return MLModelStructureProgramNamedValueType(name, None)


DEVICES = {one.__name__: one for one in (MLCPUComputeDevice, MLGPUComputeDevice, MLNeuralEngineComputeDevice)}
PLAIN: tuple[type, ...] = (
    *DEVICES.values(),
    ComputeUnit,
    MLState,
    MLModelStructureProgramNamedValueType,
    MLModelStructureProgramOperation,
    MLModelStructureProgramBlock,
    MLModelStructureProgramFunction,
    MLModelStructureProgram,
    MLModelStructure,
    MLComputePlanDeviceUsage,
    MLComputePlanCost,
)


def stand_in(faults: Faults | None = None, **changes: Any) -> CoreML:
    """Core ML as `found.coreml` gives it on a Mac."""
    classes: dict[str, Any] = made(faults or Faults())
    fields: dict[str, Any] = {
        "models": classes["MLModel"],
        "plans": classes["MLComputePlan"],
        "units": {one.name.lower(): one for one in ComputeUnit},
        "versions": {"coremltools": "9.0", "coreml": "3500.32.1"},
    }
    return CoreML(**{**fields, **changes})


#: the words of a Mac
MAC = {"system": "Darwin", "release": "26.1", "machine": "arm64", "processor": "Apple M4 Max"}


def clock(step: int = 1_000_000) -> Callable[[], int]:
    """Nanoseconds that grow by so much at each look."""
    now = iter(range(0, 10**15, step))
    return lambda: next(now)


def fewer(goldens: Path, into: Path) -> None:
    """The golden vectors of prefill_16 and of decodes of one step that start from it: what a test has time for."""
    from safetensors.numpy import load_file, save_file

    index = json.loads((goldens / "goldens.json").read_text())["functions"]
    tensors = load_file(goldens / "goldens.safetensors")
    decodes = [one for one in index["decode"] if one["start"] == "prefill_16"]
    kept = {name: one for name, one in tensors.items() if name.startswith("prefill_16/")}
    for case in decodes:
        at, prompt = f"decode/{case['case']}", case["prompt_tokens"]
        kept[f"{at}/prompt"] = tensors[f"{at}/prompt"]
        kept |= {f"{at}/{name}": tensors[f"{at}/{name}"][:2] for name in ("tokens", "logits")}
        kept |= {f"{at}/{name}": tensors[f"{at}/{name}"][:, :, : prompt + 1].copy() for name in ("keys", "values")}
        case.update(steps=1, tokens=case["tokens"][:2])
    into.mkdir()
    save_file(kept, into / "goldens.safetensors")
    functions = {"prefill_16": index["prefill_16"], "decode": decodes}
    (into / "goldens.json").write_text(json.dumps({"schema_version": "1.0", "functions": functions}))


def delivered(folder: Path, package: Path, goldens: Path) -> Path:
    """A delivery of a converted package with few of its golden vectors; what no device needs is left out."""
    exported, said = program.load(package), described(package, ["quantized"])
    names = {part: program.filename("quantized", part) for part in program.parts(exported)}
    for name in names.values():
        shutil.copytree(package / name, folder / "packages" / name)
    fewer(goldens, folder / "goldens")
    (folder / "huggingface").mkdir()
    file = delivery.File(path="huggingface/tokenizer.json", sha256="0" * 64)
    bounds = ondevice.Tolerances(logits=0.05, cache=0.05, cosine=0.999, cache_cosine=0.999, kl=0.01)
    contract = delivery.Contract(
        name="toy",
        model_type=exported.model_type,
        vocab_size=exported.vocab_size,
        context=exported.kv_cache.context,
        functions={
            name: delivery.Function(
                kind=one.kind,
                length=one.length,
                inputs=one.inputs,
                outputs=one.outputs,
                states=one.states or [],
                pieces=one.pieces,
            )
            for name, one in exported.functions.items()
            if name != "prefill_32"
        },
        kv_cache=exported.kv_cache,
        special=exported.special,
        stop_ids=[0],
        tokenizer=file,
        chat_template=file,
        packages=[
            delivery.Package(
                precision="quantized",
                part=part,
                path=f"packages/{name}",
                sha256=hex_of(digest.of_folder(folder / "packages" / name)),
                bytes=1,
                **said["quantized"][part],
            )
            for part, name in names.items()
        ],
        plan_sha256="1" * 64,
        golden=delivery.Golden(
            sha256=hex_of(digest.of_folder(folder / "goldens")),
            golden_prompts=1,
            decode_steps=1,
            tolerances={"quantized": bounds},
        ),
    )
    (folder / "contract.json").write_text(delivery.dump(contract))
    return folder


def spoilt(name: str, how: Callable[[Any], Any], *, of: str = "", units: str = "") -> Callable[..., Outputs]:
    """Outputs with one changed, of one function and on one set of units where they are named."""

    def change(function: str, at: str, found: Outputs) -> Outputs:
        if name not in found or of not in ("", function) or units not in ("", at):
            return found
        return {**found, name: how(found[name])}

    return change


def with_nan(value: Any) -> Any:
    changed = np.array(value)
    changed.reshape(-1)[0] = np.nan
    return changed
