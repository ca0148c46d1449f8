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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from runtime import digest
from runtime.contract import BrokenEvidence, Params
from runtime.contract.authoring import Authoring
from runtime.contract.ondevice import Tolerances
from runtime.contract.program import Cache, Piece, Sha256, Special, Value
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
    """Whether a folder looks like a delivery; `load` says whether it is one."""
    return (folder / CONTRACT).is_file() and (folder / PACKAGES).is_dir() and (folder / HUGGINGFACE).is_dir()


def load(folder: Path) -> Contract:
    """contract.json of a delivery. Raises BrokenEvidence when it is not what `kcompiler deliver` writes."""
    try:
        return Contract.model_validate_json((folder / CONTRACT).read_bytes())
    except (OSError, ValidationError) as error:
        raise BrokenEvidence(f"{CONTRACT} is not that of a delivery: {error}", subject=CONTRACT) from error


def schema() -> dict[str, Any]:
    """The published JSON Schema (2020-12) of a delivery's contract.json."""
    made = Contract.model_json_schema(mode="serialization")
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "contract.json of a delivery"
    return made
