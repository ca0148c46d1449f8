"""The rules of `kcompiler claims` as data, typed: a misspelt key never becomes a silent default."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from kcompiler import tables
from kcompiler.tables import Row

Relation = Literal["<", "<=", ">", ">=", "="]
#: what is counted by the coverage; statuses, files and banned words are judged wherever they stand
Counted = Literal["number", "decimal", "share", "interval", "comparison", "relation"]
Shown = Literal["file", "record", "report", "estimated", "measured", "verdict"]
_SHIPPED = Path(tables.__file__).parent / "claims.yaml"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Status(Row):
    """A word for how far something is, and the ways in which documents say it."""

    name: str = Field(min_length=3)
    words: list[str] = Field(min_length=1, description="Phrases, in any case.")


class Sense(Row):
    """What says of an item that it is right, or that it is wrong."""

    words: list[str] = Field(min_length=1, description="In text, in any case, beside a number or a relation.")
    keys: list[str] = Field(min_length=1, description="The parts of a key that name it.")


class Bounds(Row):
    """What says of a number that no value is beyond it, as a comparison does: its evidence is no quantile."""

    words: list[str] = Field(default_factory=list, description="Right before or behind a number.")
    keys: list[str] = Field(default_factory=list, description="The parts of a key that name such a bound.")


class Policy(Row):
    """What counts as a claim, and what evidence it needs."""

    coverage_minimum: float = Field(ge=0, le=1, description="Least share of counted claims that have evidence.")
    about: float = Field(ge=0, lt=1, description="What a number after `about` may be off by, as a part of the value.")
    required: list[Counted] = Field(description="Kinds of claim that are to have evidence.")
    units: dict[str, list[str | float | int]] = Field(description="Written unit → its dimension and size in it.")
    data_units: dict[str, list[str | float | int]] = Field(description="A report's unit → its dimension and size.")
    comparisons: dict[str, Relation] = Field(description="What stands before a number → how the value relates to it.")
    names: list[str] = Field(description="A number behind one of these words is a part of a name.")
    relations: dict[str, list[Relation] | dict[str, Relation]] = Field(
        description="Words between two measured things → what they may mean, or dimension → what they mean there."
    )
    subjects: dict[str, list[str]] = Field(
        description="What a thing that is measured is called in text → what it may be called in the name of a place."
    )
    measures: dict[str, list[str]] = Field(
        default_factory=dict,
        description="What a measured quantity is called in text → the parts of a key that name it. A number beside one "
        "is a claim, also without a point or a unit, and its evidence may be of no other.",
    )
    quantiles: dict[str, list[str]] = Field(
        default_factory=dict,
        description="What of a measured quantity is told, such as its median → the parts of a key that name it.",
    )
    bounds: Bounds = Field(
        default_factory=Bounds,
        description="What is said of all values: a quantile does not show it, unless it is named.",
    )
    senses: dict[str, Sense] = Field(
        default_factory=dict,
        description="Senses that exclude each other, such as right and wrong: a number said in one of them has no "
        "evidence whose key names another.",
    )
    estimates: list[str] = Field(
        default_factory=list,
        description="Words that say of a number beside them that it is estimated; one of them stands beside each.",
    )
    measurings: list[str] = Field(
        default_factory=list, description="Words that say that it was measured, which is not said of an estimate."
    )
    statuses: list[Status] = Field(description="Lowest first.")
    shows: dict[Shown, str] = Field(description="Kind of evidence → the highest status that it shows.")
    banned: list[str] = Field(description="Superlatives that no evidence bears out.")
    code: list[str] = Field(description="Info of a fence whose contents are to be typed or read by a machine.")
    paths: list[str] = Field(description="First folders of the paths that a document names as code.")

    @model_validator(mode="after")
    def _consistent(self) -> Policy:
        for table in (self.units, self.data_units):
            for word, entry in table.items():
                if len(entry) != 2 or not isinstance(entry[0], str) or isinstance(entry[1], str) or not entry[1] > 0:
                    raise ValueError(f"unit `{word}` is [dimension, size above 0]")
        names = [status.name for status in self.statuses]
        if len(set(names)) != len(names):
            raise ValueError("a status stands twice")
        strays = sorted(set(self.shows.values()) - set(names))
        if strays:
            raise ValueError(f"no such status: {', '.join(strays)}")
        return self

    def unit(self, word: str) -> tuple[str, Decimal] | None:
        """Dimension and size of a written unit."""
        return _entry(self.units.get(word))

    def data_unit(self, word: str) -> tuple[str, Decimal] | None:
        """Dimension and size of a report's unit."""
        return _entry(self.data_units.get(word))

    def relation(self, word: str, data_unit: str) -> list[Relation]:
        """What a relation may mean between two things measured in a unit; nothing where no direction is known."""
        meant = self.relations[word]
        if isinstance(meant, list):
            return meant
        dimension = (self.data_unit(data_unit) or ("", 0))[0]
        return [meant[dimension]] if dimension in meant else []

    def rank(self, status: str) -> int:
        """Place of a status among all, the lowest 0."""
        return [one.name for one in self.statuses].index(status)


def _entry(entry: list[str | float | int] | None) -> tuple[str, Decimal] | None:
    return None if entry is None else (str(entry[0]), Decimal(str(entry[1])))


def read(file: str, data: bytes) -> Policy:
    """A policy's text, typed. Raises ValueError with the first mistake and its place."""
    return tables.read(file, data, Policy)


@cache
def shipped() -> Policy:
    return read("claims.yaml", _SHIPPED.read_bytes())


def document() -> dict[str, Any]:
    """The JSON Schema of a policy, as published."""
    schema = Policy.model_json_schema()
    return {"$schema": _DIALECT, "$id": "claims.schema.json", **schema, "title": "kcompiler policy of claims"}
