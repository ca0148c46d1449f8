"""Names of tables of facts → the facts, typed: hardware, toolchain, errata, roles, gates, placement. Data decides.

Each table is one YAML file beside this one, read by the same strict loader as specs and typed by a closed model, so
that a misspelt key or a number without a source never becomes a silent default. The published JSON Schemas
(`schemas/{errata,gates,hardware,placement,roles,toolchain}.schema.json`) are the models' own.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kcompiler import source
from runtime.contract.architecture import Architecture
from runtime.contract.targets import Strategy

_HERE = Path(__file__).resolve().parent
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAME = r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"
_DATE = r"^20[0-9]{2}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$"
_RANGE = r"^(==|>=|<=|<|>)[0-9]+(\.[0-9]+)*(,(==|>=|<=|<|>)[0-9]+(\.[0-9]+)*)*$"

Unit = Literal["gpu", "ane", "cpu"]
Table = TypeVar("Table", bound=BaseModel)


class Row(BaseModel):
    """Base of every part of a table: unknown keys refused, immutable, nothing coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Source(Row):
    """Where a number or a claim was read."""

    title: str = Field(min_length=5)
    url: str = Field(pattern=r"^https://")
    date: str = Field(pattern=_DATE, description="Date of the source, as exactly as it gives one.")
    kind: Literal["vendor", "measured", "collected"] = Field(
        description="The maker's own figure, somebody's measurement, or a collection of such."
    )


class Figure(Row):
    """One number and its source; `value` is absent when nobody publishes one, and `note` then says so."""

    value: float | int | None = Field(default=None, gt=0)
    source: str = Field(default="", description="Name of a source of this table.")
    note: str = ""

    @model_validator(mode="after")
    def _told(self) -> Figure:
        if self.value is None and not self.note:
            raise ValueError("a number nobody has needs a note that says why")
        if self.value is not None and not self.source:
            raise ValueError("a number needs a source")
        return self


class Gpu(Row):
    """Peak arithmetic of the GPU, in 10^12 operations a second."""

    fp16_tflops: Figure
    fp32_tflops: Figure


class Ane(Row):
    """The Neural Engine: its advertised operations, and the fastest published reading of weights while decoding."""

    tops: Figure
    reached_gb_s: Figure


class Cpu(Row):
    """Peak arithmetic of the CPU."""

    fp32_tflops: Figure


class Machine(Row):
    """One machine. Bytes are bytes, a GB/s is 10^9 bytes a second."""

    title: str = Field(min_length=5)
    system: Literal["macos", "linux"] = Field(description="What runs on it; Core ML is a part of macOS.")
    memory_bytes: Figure = Field(description="All of its memory.")
    model_bytes: Figure = Field(description="What the system lets a model keep resident without a changed setting.")
    bandwidth_gb_s: Figure = Field(description="Peak of the memory bus.")
    gpu: Gpu | None = None
    ane: Ane | None = None
    cpu: Cpu | None = None


class Hardware(Row):
    """Table `hardware`: what machines can do."""

    sources: dict[str, Source]
    gpu_share: Figure = Field(description="Part of the bus that decoding on an Apple GPU was seen to reach.")
    profiles: dict[str, Machine]

    @model_validator(mode="after")
    def _cited(self) -> Hardware:
        _cites(self, self.sources)
        return self


class Known(Row):
    """A version that is known to work, and which tests say so."""

    version: str = Field(pattern=r"^[0-9]+(\.[0-9]+)*(\.?(dev|rc|a|b)[0-9]+)?$")
    verified: list[str] = Field(min_length=1, description="Folders of tests that passed with it.")
    note: str = ""


class Toolchain(Row):
    """Table `toolchain`: distribution → its known-good versions; nothing else is known."""

    distributions: dict[str, list[Known]]


class Applies(Row):
    """When an erratum concerns a spec: every condition that is given must hold."""

    family: (
        list[Literal["llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gemma", "gemma2", "gemma3_text"]] | None
    ) = None
    weights: list[Literal["fp16", "int8", "lut4"]] | None = Field(
        default=None, description="Any of them in the recipe, by default or by a rule."
    )
    without_island: str | None = None
    tied: bool | None = None
    compute_unit: list[Unit] | None = Field(default=None, description="Of `hardware.targets`; absent there: no match.")
    cache: list[Literal["outputs", "state"]] | None = Field(default=None, description="Of `shapes.decode`.")
    strategy: list[Strategy] | None = Field(default=None, description="Of `export`.")
    risk_tier: list[Literal[1, 2, 3]] | None = None
    vocab_over: int | None = None
    weights_bytes_over: int | None = None


class Erratum(Row):
    """A known defect of a toolchain, who it concerns and what to do."""

    id: str = Field(pattern=_NAME)
    toolchain: dict[str, str] = Field(description="Distribution → range of versions, such as `>=9.0,<9.1`.")
    concerns: str = Field(min_length=2, description="The operator or way of writing that is hit.")
    defect: str = Field(min_length=10)
    workaround: str = Field(min_length=10)
    source: str = Field(min_length=5)
    verified: bool = Field(description="Reproduced by this project's authors, or only reported elsewhere.")
    detected_by: str = Field(min_length=3, description="What would notice it: a lint rule, a report, a device.")
    status: Literal["avoided", "unused", "open"] = Field(
        description="`avoided`: our code never meets it. `unused`: no plan contains it. `open`: it can bite."
    )
    avoided_by: str = Field(default="", description="File of the code that avoids it.")
    severity: Literal["warning", "error"] = "warning"
    applies: Applies | None = Field(default=None, description="Specs it concerns; only for an open one.")

    @model_validator(mode="after")
    def _consistent(self) -> Erratum:
        if (self.status == "avoided") != bool(self.avoided_by):
            raise ValueError("`avoided_by` belongs to an avoided erratum, and it needs one")
        if (self.status == "open") != (self.applies is not None):
            raise ValueError("`applies` belongs to an open erratum, and it needs one")
        if self.severity == "error" and not (self.verified and self.status == "open"):
            raise ValueError("only an open erratum that was reproduced may refuse a spec")
        for text in self.toolchain.values():
            if not re.fullmatch(_RANGE, text):
                raise ValueError(f"not a range of versions: {text!r}")
        return self


class Errata(Row):
    """Table `errata`."""

    errata: list[Erratum]

    @model_validator(mode="after")
    def _distinct(self) -> Errata:
        names = [one.id for one in self.errata]
        if len(set(names)) != len(names):
            raise ValueError("an id stands twice")
        return self


class Size(Row):
    """One size of a role: the architecture that really has so many parameters."""

    name: str = Field(pattern=_NAME)
    architecture: Architecture
    parameters: int = Field(ge=1, description="Computed, not a round name.")
    settled: str = Field(min_length=10, description="What the sources said, and why this is the value.")


class Target(Row):
    """A speed that is wanted on a machine at a context, in the terms of `hardware.targets`."""

    profile: str
    size: str
    compute_unit: Unit
    at_context: int = Field(ge=1)
    decode_tok_s: float | None = Field(default=None, gt=0)
    ttft_s: float | None = Field(default=None, gt=0)
    asked: str = Field(default="", description="What the sources asked for, when it was not feasible.")


class Gate(Row):
    """A quality floor on a rate over held-out rows."""

    metric: str = Field(min_length=2)
    at_least: str = Field(pattern=r"^0\.[0-9]+$")
    needs_n: int = Field(ge=1, description="Rows that, all right, prove it at one-sided 95 %.")


class Role(Row):
    """What a kind of student is for: sizes, lengths, objective and gates."""

    purpose: str = Field(min_length=10)
    sizes: list[Size] = Field(min_length=1)
    context: int = Field(ge=8)
    prefill: list[int] = Field(min_length=1)
    losses: dict[str, float] = Field(min_length=1, description="Term → weight; they add up to 1.")
    suites: list[str] = Field(min_length=1)
    gates: list[Gate] = Field(default_factory=list)
    targets: list[Target] = Field(default_factory=list)
    training_profile: str = Field(description="Machine whose memory holds the training.")


class Limit(Row):
    """What the texts ask of a gate, as a number in the unit of the rules."""

    op: Literal[">=", "<=", ">", "<", "=="]
    value: str = Field(pattern=r"^(0|[1-9][0-9]*)(\.[0-9]+)?$")


class Ruling(Row):
    """A rule of a shipped pack that decides a gate."""

    rule: str = Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)+$")
    why: str = Field(default="", description="Why it asks something else; absent where it asks the same.")


class Registered(Row):
    """A gate that the project's founding texts name, and what asks it here."""

    id: str = Field(pattern=r"^[a-z]+\.[a-z0-9_]+$")
    title: str = Field(min_length=10)
    said: str = Field(min_length=3, description="What the texts ask, in words.")
    asks: list[Limit] = Field(default_factory=list, description="The same as numbers, where it is any.")
    missing: str = Field(min_length=4, description="What the texts want where the datum is absent.")
    rules: list[Ruling] = Field(default_factory=list)
    built_in: list[str] = Field(
        default_factory=list, description="Codes of refusals, or files of the code that decides it without a rule."
    )
    awaits: str = Field(default="", description="The report that would decide it, where nothing makes it yet.")

    @model_validator(mode="after")
    def _answered(self) -> Registered:
        if not (self.rules or self.built_in or self.awaits):
            raise ValueError("a gate has a rule, is built in, or waits for a report")
        return self

    @property
    def state(self) -> Literal["rule", "another", "built in", "waits"]:
        """How far the gate is asked here."""
        if self.rules:
            return "another" if all(one.why for one in self.rules) else "rule"
        return "built in" if self.built_in else "waits"


class Gates(Row):
    """Table `gates`: the register."""

    gates: list[Registered]

    @model_validator(mode="after")
    def _distinct(self) -> Gates:
        names = [one.id for one in self.gates]
        if len(set(names)) != len(names):
            raise ValueError("an id stands twice")
        return self


class Placed(Row):
    """A rule about programs of Core ML: what keeps them off a unit, or makes them wrong there."""

    id: str = Field(pattern=_NAME)
    units: list[Unit] = Field(min_length=1)
    severity: Literal["error", "warning", "note"]
    says: str = Field(min_length=10)
    systems: str = Field(min_length=3, description="The systems it was said of.")
    limit: float | int | None = Field(default=None, gt=0, description="The number that it compares with.")
    ops: list[str] = Field(default_factory=list, description="The operators that it names.")
    do: str = Field(min_length=10)
    source: str = Field(min_length=5)
    kind: Literal["vendor", "measured", "collected"]

    @model_validator(mode="after")
    def _earned(self) -> Placed:
        if self.severity == "error" and self.kind == "collected":
            raise ValueError("what users have reported is no error")
        return self


class Placement(Row):
    """Table `placement`: the rules of `kcompiler mil lint`."""

    rules: list[Placed]

    @model_validator(mode="after")
    def _distinct(self) -> Placement:
        names = [one.id for one in self.rules]
        if len(set(names)) != len(names):
            raise ValueError("an id stands twice")
        return self


class Settled(Row):
    """A contradiction of the sources, settled in one value."""

    about: str = Field(min_length=3)
    value: str = Field(min_length=1)
    reason: str = Field(min_length=10)


class Roles(Row):
    """Table `roles`."""

    roles: dict[Literal["worker", "judge", "drafter", "toy"], Role]
    settled: dict[str, Settled]


TABLES: dict[str, type[BaseModel]] = {
    "errata": Errata,
    "gates": Gates,
    "hardware": Hardware,
    "placement": Placement,
    "roles": Roles,
    "toolchain": Toolchain,
}


def _cites(row: BaseModel, sources: dict[str, Source]) -> None:
    for value in dict(row).values():
        for item in value.values() if isinstance(value, dict) else [value]:
            if isinstance(item, Figure) and item.source and item.source not in sources:
                raise ValueError(f"no source is called `{item.source}`")
            if isinstance(item, BaseModel):
                _cites(item, sources)


def read(file: str, data: bytes, model: type[Table]) -> Table:
    """A table's text, typed. Raises ValueError with the first mistake: a shipped table is our own text."""
    tree, found = source.load(file, data)
    if tree is None or found:
        raise ValueError(f"{found[0].place}: {found[0].summary}" if found else f"{file}: empty")
    try:
        return model.model_validate(tree.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{file}: {'/'.join(map(str, first['loc']))}: {first['msg']}") from None


@cache
def hardware() -> Hardware:
    return read("hardware.yaml", (_HERE / "hardware.yaml").read_bytes(), Hardware)


@cache
def toolchain() -> Toolchain:
    return read("toolchain.yaml", (_HERE / "toolchain.yaml").read_bytes(), Toolchain)


@cache
def errata() -> Errata:
    return read("errata.yaml", (_HERE / "errata.yaml").read_bytes(), Errata)


@cache
def roles() -> Roles:
    return read("roles.yaml", (_HERE / "roles.yaml").read_bytes(), Roles)


@cache
def gates() -> Gates:
    return read("gates.yaml", (_HERE / "gates.yaml").read_bytes(), Gates)


@cache
def placement() -> Placement:
    return read("placement.yaml", (_HERE / "placement.yaml").read_bytes(), Placement)


def document(name: str) -> dict[str, Any]:
    """The JSON Schema of one table, as published."""
    schema = TABLES[name].model_json_schema(by_alias=True)
    title = f"kcompiler table: {name}"
    return {"$schema": _DIALECT, "$id": f"{name}.schema.json", **schema, "title": title}
