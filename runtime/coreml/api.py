"""The part of coremltools' API that is used, typed; `drift` says where the real one is another.

coremltools has no types. What stands here is read from coremltools 9.0; a test compares it with the classes of the
installed version, and `found` does so before anything is predicted.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    # asked by a probe, which must not load it
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"


class State(Protocol):
    """`MLState`: the buffers that Core ML keeps between calls."""

    def read_state(self, name: str) -> Array:
        """A copy of a buffer."""


class Model(Protocol):
    """`MLModel`: one function of a package, compiled and loaded."""

    def predict(self, data: Mapping[str, Array], state: State | None = None) -> Mapping[str, Array]:
        """Outputs by name."""

    def make_state(self) -> State:
        """Zeroed buffers."""

    def get_compiled_model_path(self) -> str:
        """The `.mlmodelc` folder, there as long as the model is."""


class Models(Protocol):
    """`MLModel` as what makes one. Loading compiles; where that fails coremltools warns, and `predict` raises."""

    def __call__(self, model: str, *, compute_units: Any, function_name: str) -> Model: ...


class NamedType(Protocol):
    """`MLModelStructureProgramNamedValueType`."""

    @property
    def name(self) -> str: ...


class Operation(Protocol):
    """`MLModelStructureProgramOperation`."""

    @property
    def operator_name(self) -> str: ...
    @property
    def outputs(self) -> Sequence[NamedType]: ...
    @property
    def blocks(self) -> Sequence[Block]: ...


class Block(Protocol):
    """`MLModelStructureProgramBlock`."""

    @property
    def operations(self) -> Sequence[Operation]: ...


class Function(Protocol):
    """`MLModelStructureProgramFunction`."""

    @property
    def block(self) -> Block: ...


class Program(Protocol):
    """`MLModelStructureProgram`."""

    @property
    def functions(self) -> Mapping[str, Function]: ...


class Structure(Protocol):
    """`MLModelStructure`; `program` is None of what is no ML Program."""

    @property
    def program(self) -> Program | None: ...


class Usage(Protocol):
    """`MLComputePlanDeviceUsage`. A device says by its class what it is."""

    @property
    def preferred_compute_device(self) -> object: ...
    @property
    def supported_compute_devices(self) -> Sequence[object]: ...


class Cost(Protocol):
    """`MLComputePlanCost`: the share of the whole model's estimated work."""

    @property
    def weight(self) -> float: ...


class Plan(Protocol):
    """`MLComputePlan` of a compiled model."""

    @property
    def model_structure(self) -> Structure: ...

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Operation) -> Usage | None:
        """None where it could not be determined."""

    def get_estimated_cost_for_mlprogram_operation(self, operation: Operation) -> Cost | None:
        """None where it could not be determined."""


class Plans(Protocol):
    """`MLComputePlan` as what makes one."""

    def load_from_path(self, path: str, compute_units: Any = ...) -> Plan: ...


@dataclasses.dataclass(frozen=True)
class CoreML:
    """coremltools where Core ML is. `no_plans` says why there are no plans, "" where there are; `units` are the members
    of `ComputeUnit` by their names in lower case; `versions` of coremltools and of Core ML."""

    models: Models
    plans: Plans
    units: Mapping[str, Any]
    versions: Mapping[str, str]
    no_plans: str = ""


#: class of a device → its word in reports
DEVICES = {
    "MLCPUComputeDevice": "cpu",
    "MLGPUComputeDevice": "gpu",
    "MLNeuralEngineComputeDevice": "neural_engine",
}
#: class of coremltools → (its module, what is typed here)
USED: Mapping[str, tuple[str, type]] = {
    "MLModel": ("coremltools.models", Model),
    "MLState": ("coremltools.models.model", State),
    "MLModelStructureProgramNamedValueType": ("coremltools.models.compute_plan", NamedType),
    "MLModelStructureProgramOperation": ("coremltools.models.compute_plan", Operation),
    "MLModelStructureProgramBlock": ("coremltools.models.compute_plan", Block),
    "MLModelStructureProgramFunction": ("coremltools.models.compute_plan", Function),
    "MLModelStructureProgram": ("coremltools.models.compute_plan", Program),
    "MLModelStructure": ("coremltools.models.compute_plan", Structure),
    "MLComputePlanDeviceUsage": ("coremltools.models.compute_plan", Usage),
    "MLComputePlanCost": ("coremltools.models.compute_plan", Cost),
    "MLComputePlan": ("coremltools.models.compute_plan", Plan),
}
#: class → (how it is made, what is typed here)
MADE_BY: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "MLModel": ("__init__", Models.__call__),
    "MLComputePlan": ("load_from_path", Plans.load_from_path),
}
UNITS = ("ALL", "CPU_AND_GPU", "CPU_AND_NE", "CPU_ONLY")


def drift(classes: Mapping[str, type]) -> list[str]:
    """Where classes of coremltools are not as they are typed here, in words; `classes` by their own names."""
    found: list[str] = []
    for name, (_, typed) in USED.items():
        real = classes.get(name)
        if real is None:
            found.append(f"there is no {name}")
            continue
        found += [f"{name} {word}" for word in _members(real, typed)]
        if name in MADE_BY:
            how, wanted = MADE_BY[name]
            found += [f"{name}.{how} {word}" for word in _parameters(getattr(real, how, None), wanted)]
    found += [f"there is no {name}" for name in DEVICES if name not in classes]
    units = classes.get("ComputeUnit")
    return found + [f"ComputeUnit has no {name}" for name in UNITS if not hasattr(units, name)]


def _members(real: type, typed: type) -> Iterator[str]:
    fields = {one.name for one in dataclasses.fields(real)} if dataclasses.is_dataclass(real) else set()
    for name, wanted in vars(typed).items():
        if name.startswith("_"):
            continue
        if isinstance(wanted, property):
            if name not in fields and not isinstance(getattr(real, name, None), property):
                yield f"has no `{name}`"
        elif callable(wanted):
            yield from (f"{word}" for word in _named(name, _parameters(getattr(real, name, None), wanted)))


def _named(name: str, words: Iterator[str]) -> Iterator[str]:
    yield from (f"`{name}` {word}" for word in words)


def _parameters(real: Any, wanted: Callable[..., Any]) -> Iterator[str]:
    """What keeps `real` from being called as `wanted` is."""
    if not callable(real):
        yield "is not there"
        return
    has = {name: one for name, one in inspect.signature(real).parameters.items() if name not in ("self", "cls")}
    asks = {name: one for name, one in inspect.signature(wanted).parameters.items() if name not in ("self", "cls")}
    places = [one for one in asks.values() if one.kind is not one.KEYWORD_ONLY]
    for place, one in enumerate(places):
        if list(has)[place : place + 1] != [one.name]:
            yield f"takes no `{one.name}` at place {place + 1}"
    for one in asks.values():
        if one.kind is one.KEYWORD_ONLY and one.name not in has:
            yield f"takes no `{one.name}`"
    for name, other in has.items():
        if (
            name not in asks
            and other.default is other.empty
            and other.kind in (other.POSITIONAL_ONLY, other.POSITIONAL_OR_KEYWORD, other.KEYWORD_ONLY)
        ):
            yield f"needs `{name}`"
