"""contract.json of a delivery ↔ one checked value: all that a host must know to run the packages in it. No tensors.

A delivery is a folder that stands alone:

    contract.json      this
    packages/          <precision>.mlpackage, or <precision>.<part>.mlpackage of several parts
    huggingface/       config, safetensors, tokenizer, chat template, generation config
    onnx/  gguf/       the same model in other forms, where the plan made and judged them
    evidence/          plan.lock, verdict.json, run.json, reports/
    goldens/           golden vectors, where they were asked for: what a Mac compares the packages with
    hosts/             one short example per language
    README.md  sbom.cdx.json  SHA256SUMS

There is one contract.json: what the machine says of its artifacts apart stands in it.

Protocol 1: tokens are padded on the right; the prompt goes through the shortest prefill that holds it, which takes
`input_ids` and `attention_mask` (1 = a real token) and gives `logits`, `keys` and `values`; the host copies the keys
and values of the real tokens into its two caches (layout LHCD: layer, head, slot, width); then each `decode` takes one
token, its absolute position and both caches, and gives `logits`, `new_key` and `new_value`, which the host writes to
slot `position`. It ends before a token of `stop_ids`, or when prompt and answer have `context` tokens together.

That is `kv_cache.written_by: host`. Where it is `graph`, the caches are states: the host lets any function make one
state a text and hands it to every call, which takes and gives all the rest, but no cache; slots of padding may hold
anything. A host that knows only one of the two refuses the other by that word.

Where a function names `pieces`, the host runs them in their order, each in the package of the precision whose `part` it
names: a piece takes what the function takes by the same name, of caches only its `layers`, and else what a piece
before it gave; keys and values of the pieces are put together along the layers, and each package has its own state.
Where there is `authoring`, a piece takes masks and angles besides, which the host makes of what it calls the function
by (`runtime/contract/authoring.py`).

`schemas/delivery.schema.json` is this model's own JSON Schema; a test keeps the two equal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from runtime import digest
from runtime.contract import BrokenEvidence, Params
from runtime.contract.authoring import Authoring
from runtime.contract.ondevice import Tolerances
from runtime.contract.program import Cache, Piece, Sha256, Special, Value, join
from runtime.contract.targets import ComputeUnits

SCHEMA_VERSION: Literal["1.0"] = "1.0"
PROTOCOL: Literal[1] = 1
#: what a delivery calls the parts of itself
CONTRACT, PACKAGES, HUGGINGFACE, EVIDENCE, SUMS = "contract.json", "packages", "huggingface", "evidence", "SHA256SUMS"
GOLDENS = "goldens"
Precision = Literal["fp16", "quantized"]
#: by how much a package is to be delivered first
PRECISIONS: tuple[Precision, ...] = ("quantized", "fp16")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file of a delivery before it is written: its content or where to copy it from, and its SHA-256 in hex."""

    source: bytes | Path
    sha256: str


class Function(Params):
    """One function, as the saved packages declare it."""

    kind: Literal["prefill", "decode"]
    length: int = Field(ge=1, description="Tokens per call: T of a prefill, 1 of a decode.")
    inputs: list[Value]
    outputs: list[Value]
    states: list[Value] = Field(description="Buffers that Core ML keeps between calls; none where the host keeps them.")
    pieces: list[Piece] | None = Field(
        default=None,
        min_length=1,
        description="What runs it, one after the other; absent where the function of its own name in the one package "
        "does.",
    )


class Package(Params):
    """One saved package. Those of every precision have the same functions."""

    precision: Precision
    part: str = Field(
        default="", exclude_if=lambda said: not said, description="Its name among the packages of its precision."
    )
    path: str
    sha256: str = Sha256
    bytes: int = Field(ge=1)
    specification_version: int
    stored: dict[str, int] = Field(
        description="Element type → how many elements of weights and tables the package stores in it."
    )


class File(Params):
    """A file of the delivery."""

    path: str
    sha256: str = Sha256


class Golden(Params):
    """Golden vectors of the checkpoint over held-out rows, and how far a package may be from them."""

    path: Literal["goldens"] = "goldens"
    sha256: str = Sha256
    golden_prompts: int = Field(ge=1, description="Prompts of each function that they cover.")
    decode_steps: int = Field(ge=1, description="Cached steps of every golden decode.")
    tolerances: dict[Precision, Tolerances]


class Contract(Params):
    schema_version: Literal["1.0"] = SCHEMA_VERSION
    protocol: Literal[1] = Field(default=PROTOCOL, description="What a host must do; see runtime/contract/delivery.py.")
    name: str
    model_type: str
    vocab_size: int = Field(ge=1)
    context: int = Field(ge=1, description="Tokens of prompt and answer together.")
    functions: dict[str, Function]
    kv_cache: Cache
    mask: Literal["1 = real token, right padding"] = "1 = real token, right padding"
    position: Literal["absolute, 0-based"] = "absolute, 0-based"
    special: dict[str, Special]
    stop_ids: list[int] = Field(min_length=1, description="An answer ends before the first of these.")
    tokenizer: File
    chat_template: File
    packages: list[Package] = Field(min_length=1, description="What the verdict is about first.")
    compute_units: ComputeUnits = Field(
        default="all", description="Where a host lets Core ML compute (`MLModelConfiguration.computeUnits`)."
    )
    authoring: Authoring | None = Field(
        default=None, description="What the pieces are fed beside what a host calls a function by: masks and angles."
    )
    plan_sha256: str = Sha256
    golden: Golden | None = Field(
        default=None, description="Only with `deliver --goldens`: they hold tokens of held-out rows."
    )

    @model_validator(mode="after")
    def _whole(self) -> Contract:
        join(self)
        if self.context > self.kv_cache.context:
            raise ValueError(f"a context of {self.context} does not fit a cache of {self.kv_cache.context} slots")
        return self

    def prefills(self) -> list[tuple[str, int]]:
        """(function, length) of every prefill, shortest first."""
        found = [(name, item.length) for name, item in self.functions.items() if item.kind == "prefill"]
        return sorted(found, key=lambda pair: pair[1])


def whole(digests: Mapping[str, str]) -> str:
    """The SHA-256 that stands for all packages of one precision, by those of each: its own where there is but one."""
    if set(digests) == {""}:
        return digests[""]
    return digest.of_value(dict(digests), "kc.packages.v1").partition(":")[2]


def dump(contract: Contract) -> str:
    """Stable text: sorted keys, LF."""
    value = contract.model_dump(mode="json", exclude_none=True)
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def is_delivery(folder: Path) -> bool:
    """Whether a folder looks like a delivery, or its checksums say that it was one; `load` says whether it is."""
    if (folder / CONTRACT).is_file() and (folder / PACKAGES).is_dir() and (folder / HUGGINGFACE).is_dir():
        return True
    try:
        lines = (folder / SUMS).read_bytes().splitlines()
    except OSError:
        return False
    names = {line.partition(b"  ")[2] for line in lines}
    return {CONTRACT.encode(), f"{HUGGINGFACE}/config.json".encode()} <= names


def load(folder: Path) -> Contract:
    """contract.json of a delivery. Raises BrokenEvidence when it is not what `kcompiler deliver` writes."""
    try:
        return Contract.model_validate_json((folder / CONTRACT).read_bytes())
    except OSError as error:
        raise BrokenEvidence(f"it cannot be read: {error.strerror or error}", subject=CONTRACT) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        why = ": ".join([*([".".join(map(str, first["loc"]))] if first["loc"] else []), first["msg"]])
        raise BrokenEvidence(f"{CONTRACT} is not that of a delivery: {why}", subject=CONTRACT) from error


def kept(folder: Path) -> Contract:
    """The contract of a delivery that holds what it names: checksums that were written anew say nothing of that.

    Raises BrokenEvidence for packages, golden vectors or words that are not those it was made with.
    """
    contract = load(folder)
    measurable(folder, contract)
    for file in (contract.tokenizer, contract.chat_template):
        _same(folder, file.path, digest.of_file, file.sha256)
    return contract


def measurable(folder: Path, contract: Contract) -> None:
    """Raises BrokenEvidence for packages or golden vectors that are not those that the contract names."""
    for one in contract.packages:
        _same(folder, one.path, digest.of_folder, one.sha256)
    if contract.golden is not None:
        _same(folder, contract.golden.path, digest.of_folder, contract.golden.sha256)


def _same(folder: Path, name: str, of: Callable[[Path], str], due: str) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BrokenEvidence(f"`{name}` does not lie in the delivery", subject=CONTRACT)
    if not path.exists():
        raise BrokenEvidence(f"{CONTRACT} names it, and it is not there", subject=name)
    try:
        found = of(path)
    except (OSError, ValueError) as strange:
        raise BrokenEvidence(f"it cannot be read: {strange}", subject=name) from None
    if found != f"sha256:{due}":
        raise BrokenEvidence(f"it is not the one that {CONTRACT} names", subject=name)


def schema() -> dict[str, Any]:
    """The published JSON Schema (2020-12) of a delivery's contract.json."""
    made = Contract.model_json_schema(mode="serialization")
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "contract.json of a delivery"
    return made
