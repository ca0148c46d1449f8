"""Section `readiness`: what the tests and scans of the code around the student say, in files that CI makes anyway."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from kcompiler.spec.base import Section

_File = Annotated[str, Field(min_length=1, max_length=1000)]


class Readiness(Section):
    """Each a file, relative to the spec; pack `release` has a rule for each. At least one."""

    tests: _File | None = Field(
        default=None,
        description="JUnit XML of the tests: `pytest --junit-xml FILE`, and what Maven, Gradle or Jest write.",
        examples=["ci/junit.xml"],
    )
    coverage: _File | None = Field(
        default=None,
        description="Cobertura XML of what the tests reached: `coverage xml`, with branches where they were measured.",
        examples=["ci/coverage.xml"],
    )
    lint: _File | None = Field(
        default=None,
        description="SARIF 2.1.0 of a linter: `ruff check --output-format sarif`.",
        examples=["ci/ruff.sarif"],
    )
    security: _File | None = Field(
        default=None,
        description="SARIF 2.1.0 of a security scan: `bandit -f sarif`, CodeQL.",
        examples=["ci/bandit.sarif"],
    )
    placeholders: _File | None = Field(
        default=None,
        description="SARIF 2.1.0 of what looks for TODO and the like: `ruff check --select FIX --output-format sarif`.",
        examples=["ci/placeholders.sarif"],
    )
    docs: _File | None = Field(
        default=None,
        description="SARIF 2.1.0 of what compares documents with the code: an unknown name, a dead link.",
        examples=["ci/docs.sarif"],
    )
    revision: str = Field(
        default="",
        pattern=r"^([0-9a-f]{7,64})?$",
        description="The commit that all of these must name as theirs; empty: not asked.",
        examples=["4f5e6d7c"],
    )

    @model_validator(mode="after")
    def _something(self) -> Readiness:
        if not self.files():
            raise ValueError("name at least one file")
        return self

    def files(self) -> dict[str, str]:
        """What it is about → the file, of those that are named."""
        names = ("coverage", "docs", "lint", "placeholders", "security", "tests")
        return {name: file for name in names if (file := getattr(self, name)) is not None}
