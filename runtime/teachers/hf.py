"""A local Transformers folder, pinned by its content."""

from __future__ import annotations

from pydantic import Field

from runtime.contract import Params, Teacher


class HfTeacher(Params):
    model: str = Field(min_length=1, description="Folder with config.json and *.safetensors, relative to the spec.")
    revision: str = Field(pattern=r"^sha256:[0-9a-f]{64}$", description="Tree digest of the folder.")


TEACHER = Teacher(name="hf", version=1, params=HfTeacher, signals=frozenset({"text", "logits"}), step="import_teacher")
