"""A small real teacher that the pipeline trains itself on the spec's own data."""

from __future__ import annotations

from pydantic import Field

from runtime.contract.architecture import Architecture
from runtime.contract import Params, Teacher
from runtime.contract.optimizer import Optimizer


class BootstrapTeacher(Params):
    architecture: Architecture
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimizer: Optimizer = Field(default_factory=Optimizer)


TEACHER = Teacher(
    name="bootstrap", version=1, params=BootstrapTeacher, signals=frozenset({"text", "logits"}), step="bootstrap"
)
