"""Weights that somebody else made: where they lie, and the pin that says which ones they are."""

from __future__ import annotations

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit

REMOTE = "hf:"


class Weights(Params):
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
    def repository(self) -> str:
        """ "ORG/NAME", or "" for a local folder."""
        return self.model.removeprefix(REMOTE) if self.model.startswith(REMOTE) else ""
