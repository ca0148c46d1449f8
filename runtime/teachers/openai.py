"""A model behind an OpenAI-compatible HTTP interface, hosted or on this machine: it answers, its weights stay there."""

from __future__ import annotations

from runtime.contract import Teacher
from runtime.contract.hosted import Hosted, gives

TEACHER = Teacher(
    name="openai", version=1, params=Hosted, signals=frozenset({"text", "choices"}), step="harvest", gives=gives
)
