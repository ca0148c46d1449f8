"""A model in a GGUF file, as llama.cpp and Ollama keep it: weights, tokenizer and chat template are read from it."""

from __future__ import annotations

from runtime.contract import Teacher
from runtime.contract.layers import OF_WEIGHTS
from runtime.contract.weights import FileWeights, Held


class GgufTeacher(FileWeights):
    """Where the file lies, and what it must be."""

    dtype: Held = "fp32"


TEACHER = Teacher(name="gguf", version=1, params=GgufTeacher, signals=OF_WEIGHTS | {"text"}, step="import_teacher")
