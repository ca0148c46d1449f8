"""Section `student`: the model that is made."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from kcompiler.spec.base import FORM, Distinct, Section
from runtime.contract.architecture import Architecture
from runtime.contract.cut import Cut
from runtime.contract.heads import Name
from runtime.contract.migration import Migration
from runtime.contract.units import unit
from runtime.contract.weights import FileWeights, FolderWeights, PackagedWeights

_NUMBER = r"(?:[1-9][0-9]{0,2}(?:_[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:[eE]\+?[0-9]{1,2})?"
_TARGET = re.compile(rf"^\s*({_NUMBER})\s*(?:(?:±|\+-|\+/-)\s*([0-9]{{1,3}}(?:\.[0-9]+)?)\s*%)?\s*$")
_LARGEST = 10**15
#: what `architecture` says to take that of the weights the student starts from
FROM_CHECKPOINT = "from checkpoint"
#: and what it says to take what a cut leaves of the teacher's
FROM_CUT = "from cut"


class ParameterTarget(Section):
    """A declared number of parameters and how far the computed one may be from it."""

    count: int = Field(ge=1, description="Declared number of parameters.")
    percent: float = Field(default=0.0, ge=0, le=100, description="Allowed distance, in percent of `count`.")

    def allows(self, actual: int) -> bool:
        """Whether `actual` is within the tolerance, compared exactly."""
        return abs(actual - self.count) * 100 <= Decimal(str(self.percent)) * self.count

    def __str__(self) -> str:
        return f"{self.count:,}" + (f" ± {self.percent:g} %" if self.percent else "")


def _target(value: Any) -> Any:
    if isinstance(value, bool | ParameterTarget | dict):
        return value
    match = _TARGET.match(value) if isinstance(value, str) else None
    if match is not None:
        count, percent = Decimal(match[1].replace("_", "")), float(match[2] or 0)
    elif isinstance(value, int | float):
        count, percent = Decimal(value), 0.0
    else:
        raise ValueError("write a number of parameters, such as 623_000±10%")
    if count != count.to_integral_value() or not 1 <= count <= _LARGEST:
        raise ValueError(f"{value} is not a whole number of parameters")
    return ParameterTarget(count=int(count), percent=percent)


Target = Annotated[
    ParameterTarget,
    BeforeValidator(_target),
    WithJsonSchema(
        {
            "type": ["number", "string"],
            "pattern": _TARGET.pattern,
            "minimum": 1,
            "multipleOf": 1,
            "maximum": _LARGEST,
            FORM: "a number of parameters, such as 623_000±10% or 623_000",
        }
    ),
]


_License = Annotated[
    str,
    Field(min_length=1, max_length=200, description="SPDX expression of these weights' own licence.", examples=["MIT"]),
]


class FolderCheckpoint(FolderWeights):
    """Weights in a Transformers folder, here or on the Hub, that the student starts from."""

    source: Literal["hf"] = Field(default="hf", description="A Transformers folder.")
    license: _License


class FileCheckpoint(FileWeights):
    """Weights in a GGUF file that the student starts from."""

    source: Literal["gguf"] = Field(description="A GGUF file.")
    license: _License


class PackagedCheckpoint(PackagedWeights):
    """Weights in a GGUF file of an installed distribution that the student starts from."""

    source: Literal["package"] = Field(description="A GGUF file that a Python distribution ships.")
    license: _License


def _source(value: Any) -> Any:
    """The form of a checkpoint; a folder where it does not say."""
    return value.get("source", "hf") if isinstance(value, dict) else getattr(value, "source", None)


Checkpoint = Annotated[
    Annotated[FolderCheckpoint, Tag("hf")]
    | Annotated[FileCheckpoint, Tag("gguf")]
    | Annotated[PackagedCheckpoint, Tag("package")],
    Discriminator(_source),
]
#: form → the name of its model
CHECKPOINTS = {"gguf": "FileCheckpoint", "hf": "FolderCheckpoint", "package": "PackagedCheckpoint"}


class Student(Section):
    """Role and shape of the student. The width of its vocabulary is the tokenizer's."""

    role: Literal["worker", "judge", "drafter", "toy"] = Field(description="What the student is used for.")
    architecture: Architecture = Field(
        description="Transformers config; `vocab_size` comes from the tokenizer. Left out beside a checkpoint in a "
        "folder: what its config.json says; beside a cut: what that leaves of the teacher's."
    )
    parameters: Target | None = Field(
        default=None,
        description="Declared number of parameters with a tolerance: `623_000±10%`, or a plain number.",
        examples=["9_000_000_000±5%"],
        json_schema_extra=unit("parameter"),
    )
    checkpoint: Checkpoint | None = Field(
        default=None, description="Weights to start from; the architecture must be theirs. Absent: random weights."
    )
    migrate: Migration | None = Field(
        default=None,
        description="Give embedding and head of the checkpoint, whose tokenizer is another, the ids of the spec's.",
    )
    cut: Cut | None = Field(
        default=None, description="Make the student of the teacher's own weights: which parts of them are kept."
    )
    heads: Annotated[list[Name], Distinct] = Field(
        default_factory=list,
        description="What the student says of each position beside the next token, as log-odds: `halt`, that the "
        "answer ends with the next token; `self_eval`, that the answer so far is right. Functions give them as outputs "
        "of these names. The hidden_size + 1 numbers of each are not counted among `parameters`.",
        examples=[["halt"]],
    )
    drafts_for: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Spec of the worker whose tokens a drafter guesses, relative to this spec's folder.",
        examples=["worker-9b.yaml"],
    )
