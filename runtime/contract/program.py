"""contract.json of a program or package ↔ one checked value: functions, cache, masks, specials, tensors. No tensors.

`schemas/contract.schema.json` is this model's own JSON Schema; a test keeps the two equal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, ValidationError, model_validator

from runtime.contract import BrokenEvidence, Params
from runtime.contract.authoring import Authoring
from runtime.contract.heads import MEANING
from runtime.contract.targets import TARGETS, ComputeUnits, Deployment, Strategy

SCHEMA_VERSION: Literal["1.0"] = "1.0"
Sha256 = Field(pattern=r"^[0-9a-f]{64}$")
#: kind of function → cache → the output that holds what is to be written into it
WRITTEN: Mapping[str, Mapping[str, str]] = {
    "prefill": {"key_cache": "keys", "value_cache": "values"},
    "decode": {"key_cache": "new_key", "value_cache": "new_value"},
}

#: the package that decode has for itself where a package has one function, and the name of such a function
DECODE, ONLY = "decode", "main"


class Value(Params):
    """One input or output of a function."""

    name: str
    shape: list[int] = Field(description="Static extents; there is no flexible axis.")
    dtype: Literal["int32", "float16", "float32"]
    shapes: list[list[int]] = Field(
        default_factory=list,
        exclude_if=lambda several: not several,
        description="Of a function that a package has for several lengths: its shape at each, the default first.",
    )


class Piece(Params):
    """A function of a saved package that runs a function of the contract, or some of its layers.

    What it takes are inputs of that function by their names, caches of its own layers only, and else outputs of the
    pieces before it.
    """

    package: str = Field(
        default="", pattern=r"^[a-z0-9_]*$", description="Which package of a variant; the first has no name."
    )
    function: str = Field(description="Its name in that package.")
    layers: tuple[int, int] = Field(description="First of its layers, and the one after its last.")
    inputs: list[Value]
    outputs: list[Value]
    states: list[Value] | None = None
    parameters: dict[str, str] = Field(
        default_factory=dict,
        exclude_if=lambda said: not said,
        description="As of a function, of this piece; absent where it is the whole function's.",
    )
    modules: dict[str, dict[str, list[str]]] = Field(
        default_factory=dict,
        exclude_if=lambda said: not said,
        description="As of a function, of this piece; absent where it is the whole function's.",
    )


class Function(Params):
    kind: Literal["prefill", "decode"]
    length: int = Field(ge=1, description="Tokens per call: T of a prefill, 1 of a decode.")
    inputs: list[Value]
    outputs: list[Value]
    states: list[Value] | None = Field(
        default=None, description="Buffers that Core ML keeps between calls; absent where the host keeps them."
    )
    parameters: dict[str, str] = Field(description="Graph input that holds a weight → the checkpoint's tensor name.")
    modules: dict[str, dict[str, list[str]]] = Field(
        description="Kind (rms_norm, layer_norm, residual, softmax, logits) → module path → graph nodes whose "
        "arithmetic an island keeps in float32."
    )
    pieces: list[Piece] | None = Field(
        default=None,
        min_length=1,
        description="What runs it, one after the other; absent where the function of its own name in the one package "
        "does.",
    )


class Cache(Params):
    layout: Literal["LHCD"] = "LHCD"
    keys: Literal["post_rope"] = "post_rope"
    written_by: Literal["host", "graph"] = Field(
        default="host",
        description="host: the caches are inputs, and new keys and values outputs that the host copies into them. "
        "graph: the caches are states, and every function writes its own.",
    )
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    context: int = Field(ge=1, description="Slots of the cache, in tokens.")


class Rotation(Params):
    """How positions turn queries and keys. Every function holds the same angles of the same positions."""

    parameters: dict[str, Any] = Field(description="`rope_parameters` of the checkpoint's config.json.")
    exact_to: int = Field(ge=1, description="Longest text, in tokens, whose angles no length of it changes.")


class Special(Params):
    text: str
    id: int = Field(ge=0)


class Stored(Params):
    """One weight tensor of the checkpoint. Tied weights are one tensor with aliases."""

    name: str
    aliases: list[str] = Field(default_factory=list)
    shape: list[int]


class Lint(Params):
    """What the graph linter found; a package is made only from a program without violations."""

    violations: int = Field(ge=0)


class Packaged(Params):
    """What conversion decided; absent in a program."""

    deployment: Deployment
    compute_units: ComputeUnits = Field(default="all", description="Where a host lets Core ML compute.")
    strategy: Strategy
    islands: list[str]
    activations: list[str] = Field(
        default_factory=list,
        exclude_if=lambda layers: not layers,
        description="Linear layers of the quantized package that read int8 (W8A8).",
    )
    recipe_sha256: str = Sha256
    toolchain: dict[str, str]


class Contract(Params):
    schema_version: Literal["1.0"] = SCHEMA_VERSION
    stage: Literal["program", "package"]
    model_type: str
    vocab_size: int = Field(ge=1)
    functions: dict[str, Function]
    kv_cache: Cache
    mask_value: float
    mask: Literal["1 = real token, right padding"] = "1 = real token, right padding"
    position: Literal["absolute, 0-based"] = "absolute, 0-based"
    rotations: dict[str, Rotation] = Field(
        default_factory=dict, description="Type of layers, or `all`, → how they are turned."
    )
    special: dict[str, Special]
    template_sha256: str = Sha256
    tokenizer_sha256: str = Sha256
    model_sha256: str = Sha256
    tensors: list[Stored]
    lint: Lint
    authoring: Authoring | None = Field(
        default=None,
        description="How what runs the functions is written, where it is fed by more than they are called.",
    )
    package: Packaged | None = None

    @model_validator(mode="after")
    def _whole(self) -> Contract:
        join(self)
        return self

    def prefills(self) -> list[tuple[str, int]]:
        """(function, length) of every prefill, shortest first."""
        found = [(name, item.length) for name, item in self.functions.items() if item.kind == "prefill"]
        return sorted(found, key=lambda pair: pair[1])


def filename(variant: str, package: str = "") -> str:
    """Name of a saved package's folder: `fp16.mlpackage`, or `fp16.decode.mlpackage` of a package that has a name."""
    return f"{variant}.{package}.mlpackage" if package else f"{variant}.mlpackage"


class Called(Protocol):
    """A contract, of a package or of a delivery, as far as it says what runs a function."""

    @property
    def functions(self) -> Mapping[str, Any]: ...
    @property
    def kv_cache(self) -> Cache: ...
    @property
    def authoring(self) -> Authoring | None: ...


def pieces(contract: Called, name: str) -> list[Piece]:
    """What runs a function: the pieces that the contract names, or the function of its own name."""
    function = contract.functions[name]
    held: dict[str, Any] = {key: getattr(function, key, {}) for key in ("parameters", "modules")}
    if function.pieces is not None:
        return [
            piece.model_copy(update={key: getattr(piece, key) or of for key, of in held.items()})
            for piece in function.pieces
        ]
    return [
        Piece(
            function=name,
            layers=(0, contract.kv_cache.layers),
            inputs=function.inputs,
            outputs=function.outputs,
            states=function.states,
            **held,
        )
    ]


def join(contract: Called) -> None:
    """Raises ValueError unless every decode has the caches as they are declared, and the pieces of each function hold
    every layer once, in order, take what the function takes or a piece before gave (or is fed: `authoring`), and give
    what it gives."""
    for name, function in contract.functions.items():
        if function.kind == "decode":
            _cached(name, function, contract.kv_cache)
        at, there = 0, {value.name for value in function.inputs}
        for piece in function.pieces or ():
            if piece.layers[0] != at or piece.layers[1] < at:
                raise ValueError(f"piece {piece.function} of {name} does not begin at layer {at}")
            lacking = sorted({value.name for value in piece.inputs} - there)
            if lacking and contract.authoring is None:
                raise ValueError(f"piece {piece.function} of {name} takes {lacking[0]}, which nothing before it gives")
            at, there = piece.layers[1], there | {value.name for value in piece.outputs}
        if not function.pieces:
            continue
        if at != contract.kv_cache.layers:
            raise ValueError(f"the pieces of {name} end at layer {at} of {contract.kv_cache.layers}")
        lacking = sorted({value.name for value in function.outputs} - there)
        if lacking:
            raise ValueError(f"no piece of {name} gives {lacking[0]}")


def _cached(name: str, function: Any, cache: Cache) -> None:
    """Raises ValueError unless a decode takes, or keeps, both caches whole."""
    does, held = ("takes", function.inputs) if cache.written_by == "host" else ("keeps", function.states or ())
    shapes = {value.name: value.shape for value in held}
    for wanted in WRITTEN["decode"]:
        if shapes.get(wanted) != [cache.layers, cache.heads, cache.context, cache.head_dim]:
            raise ValueError(f"{name} {does} no {wanted} of {cache.layers} layers and {cache.context} slots")


def heads(functions: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the outputs that say something of each position beside the next word (`runtime.contract.heads`)."""
    given = {value.name for function in functions.values() for value in function.outputs}
    return tuple(name for name in MEANING if name in given)


def parts(contract: Called) -> list[str]:
    """The packages that one variant has, by name, in the order of what they run."""
    return list(dict.fromkeys(piece.package for name in contract.functions for piece in pieces(contract, name)))


def part(contract: Contract, package: str) -> Contract:
    """The contract of one package alone: the functions in it, with what they themselves take and give, the tensors that
    they hold and the cache of their layers. Of one that runs everything it is the contract itself."""
    if all(function.pieces is None for function in contract.functions.values()):
        return contract
    runs: dict[str, list[tuple[Function, Piece]]] = {}
    for name, function in contract.functions.items():
        for piece in pieces(contract, name):
            if piece.package == package:
                runs.setdefault(piece.function, []).append((function, piece))
    functions = {name: _physical(sorted(found, key=lambda one: one[0].length)) for name, found in runs.items()}
    held = {tensor for function in functions.values() for tensor in function.parameters.values()}
    tensors = [tensor for tensor in contract.tensors if tensor.name in held]
    first, end = next(
        piece.layers for name in contract.functions for piece in pieces(contract, name) if piece.package == package
    )
    cache = contract.kv_cache.model_copy(update={"layers": end - first})
    return contract.model_copy(update={"functions": functions, "tensors": tensors, "kv_cache": cache})


def strategy(contract: Contract) -> Strategy:
    """Whether each prefill of an exported program has a function of its own name, or one stands for all of them."""
    runs = [(name, piece.function) for name, _ in contract.prefills() for piece in pieces(contract, name)]
    return "multifunction" if all(name == function for name, function in runs) else "enumerated"


def _physical(runs: Sequence[tuple[Function, Piece]]) -> Function:
    """What a package has for pieces of one name, shortest first: the first of them, with the shapes of all."""
    function, piece = runs[0]
    others = [other for _, other in runs]
    return Function(
        kind=function.kind,
        length=function.length,
        inputs=_several([other.inputs for other in others]),
        outputs=_several([other.outputs for other in others]),
        states=piece.states,
        parameters=piece.parameters,
        modules=piece.modules,
    )


def _several(sides: Sequence[Sequence[Value]]) -> list[Value]:
    """The values of one side, each with its shapes where they are not the same in all."""
    found = []
    for value in sides[0]:
        shapes = {tuple(other.shape): None for side in sides for other in side if other.name == value.name}
        found.append(value.model_copy(update={"shapes": list(map(list, shapes)) if len(shapes) > 1 else []}))
    return found


def apart(contract: Contract, deployment: Deployment) -> Contract:
    """The same functions where packages for this target have them: before iOS 18 a package has one function, and decode
    a package of its own."""
    if TARGETS[deployment].several:
        return contract
    functions = {
        name: function.model_copy(
            update={
                "pieces": [
                    piece.model_copy(update={"package": DECODE if function.kind == "decode" else "", "function": ONLY})
                    for piece in pieces(contract, name)
                ]
            }
        )
        for name, function in contract.functions.items()
    }
    return contract.model_copy(update={"functions": functions})


def stateful(contract: Contract) -> Contract:
    """The same functions with both caches in states that they write themselves: what `runtime.mil.stateful` makes."""
    cache = contract.kv_cache

    def placed(inputs: list[Value], kind: str, layers: int) -> list[Value]:
        """Without the caches, and with the slot to write where a piece that writes was not told."""
        left = [value for value in inputs if value.name not in WRITTEN[kind]]
        if kind == "decode" and layers and all(value.name != "position" for value in left):
            left.append(Value(name="position", shape=[1], dtype="int32"))
        return left

    def kept_inside(one: Any, kind: str, layers: int) -> Any:
        written, shape = WRITTEN[kind], [layers, cache.heads, cache.context, cache.head_dim]
        return one.model_copy(
            update={
                "inputs": placed(one.inputs, kind, layers),
                "outputs": [value for value in one.outputs if value.name not in written.values()],
                "states": [Value(name=state, shape=shape, dtype="float16") for state in written] if layers else None,
            }
        )

    functions = {}
    for name, function in contract.functions.items():
        made = kept_inside(function, function.kind, cache.layers)
        if function.pieces is not None:
            held = [kept_inside(one, function.kind, one.layers[1] - one.layers[0]) for one in function.pieces]
            made = made.model_copy(update={"pieces": held})
        functions[name] = made
    kept = cache.model_copy(update={"written_by": "graph"})
    return contract.model_copy(update={"functions": functions, "kv_cache": kept})


def dump(contract: Contract) -> str:
    """Stable text: sorted keys, LF."""
    value = contract.model_dump(mode="json", exclude_none=True)
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def load(folder: Path) -> Contract:
    """contract.json of an artifact. Raises BrokenEvidence when it is not what an export or conversion writes."""
    try:
        return Contract.model_validate_json((folder / "contract.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise BrokenEvidence(f"contract.json cannot be read: {error}", subject="contract.json") from error


def schema() -> dict[str, Any]:
    """The published JSON Schema (2020-12) of contract.json."""
    made = Contract.model_json_schema(mode="serialization")
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "contract.json of a program or package"
    return made
