"""What a recipe is calibrated on: rows of declared sources. Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit

_ROWS = unit("row")
#: of the report that says what was read, and what was chosen by it
KIND = "quantization.calibration"


class Calibration(Params):
    """Texts whose values, inside the student, decide how its weights are rounded."""

    sources: dict[
        str,
        Annotated[int, Field(ge=1, le=100_000, json_schema_extra=_ROWS)],
    ] = Field(
        min_length=1,
        max_length=100,
        description="Name of a source of `data` → how many of its rows, evenly spaced over those of the split.",
        examples=[{"gsm8k-train": 64}],
    )
    split: Literal["train", "validation"] = Field(
        default="train", description="Where the rows are taken from: never `test`, which judges what is made of them."
    )
    max_length: int = Field(
        default=256,
        ge=8,
        le=1 << 20,
        description="Tokens of each row that are read, from its beginning.",
        examples=[256],
        json_schema_extra=unit("token"),
    )


def unlike(asked: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    """In what a report is not what the parameters of its step asked for, as sentences."""
    if data["split"] != asked["split"]:
        yield f"split: asked for {asked['split']}, read {data['split']}"
    wanted = sorted(asked["sources"].items())
    read = sorted((one["source"], one["rows"]["n"]) for one in data["sources"])
    if read != wanted:
        yield f"sources: asked for {_counts(wanted)}, read {_counts(read)}"
    layers = asked.get("activations", [])
    rounded = data.get("activations", {"rounded": {"n": 0}, "layers": []})
    found = sorted(one["layer"] for one in rounded["layers"])
    if found != sorted(layers) or rounded["rounded"]["n"] != len(layers):
        count = rounded["rounded"]["n"]
        yield f"layers that read integers: asked for {len(layers)}, scales of {len(found)} of {count} are there"


def _counts(sources: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} rows of {name}" for name, count in sources)
