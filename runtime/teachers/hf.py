"""A Transformers model whose weights are loaded here: a local folder, or a repository of the Hugging Face Hub."""

from __future__ import annotations

from runtime.contract import Teacher
from runtime.contract.layers import OF_WEIGHTS
from runtime.contract.weights import FolderWeights, Held


class HfTeacher(FolderWeights):
    """Where the weights lie, and what they must be."""

    dtype: Held = "fp32"


TEACHER = Teacher(name="hf", version=1, params=HfTeacher, signals=OF_WEIGHTS | {"text"}, step="import_teacher")
