"""Device and precision of a step → what carrying it out again promises. Words that compiler and machine share.

On a processor in float32 the same step on the same kind of machine gives the same bytes. An accelerator adds numbers in
an order of its own, and half precision rounds each of them to two or three digits: what is promised there is that the
figures of a repetition lie within a tolerance, which stands beside the promise in the lock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from runtime.contract import UNCOMPARED, strict_json

Device = Literal["cpu", "cuda", "mps"]
#: one of several cards of a machine by its number
Card = Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:[0-9]{1,2})?)$")]
Precision = Literal["fp32", "bf16", "fp16-mixed"]

#: supervised tokens of a chunk where nobody says, at most: below, products are of too few rows to be fast, above,
#: nothing is gained (tests/bench/chunks.py); a card is busy with many alone, and reads the whole head for each chunk
CHUNK_TOKENS: Mapping[str, int] = {"cpu": 128, "cuda": 1024, "mps": 1024}
#: bytes of one model's logits in it, at most: what the vocabularies of 128 k take, and wider ones must keep to
CHUNK_BYTES: Mapping[str, int] = {"cpu": 64 << 20, "cuda": 512 << 20, "mps": 512 << 20}
#: fewest tokens of a chunk
LEAST_CHUNK = 16

BITWISE, STATISTICAL = "bitwise", "statistical"


def promise(device: str, precision: str = "fp32", *others: str | None) -> str:
    """`others` are further devices that take part."""
    exact = precision == "fp32" and all(name in (None, "cpu") for name in (device, *others))
    return BITWISE if exact else STATISTICAL


def chunk_tokens(device: str, vocabulary: int) -> int:
    """Supervised tokens whose logits exist at one time, where nobody says."""
    fit = CHUNK_BYTES[device] // (4 * vocabulary)
    return max(LEAST_CHUNK, min(CHUNK_TOKENS[device], fit))


def devices_of(params: Mapping[str, Any]) -> list[str]:
    """The accelerators that a step asks for, by its parameters `device` and `teacher_device`, each once."""
    asked = [params.get(name) for name in ("device", "teacher_device")]
    return sorted({str(name) for name in asked if name not in (None, "cpu")})


def chooses_kernels(params: Mapping[str, Any]) -> bool:
    """Whether a step with these parameters chooses among kernels by the processor's model: whatever trains, or reads a
    teacher to train by it, on the processor."""
    return params.get("device") == "cpu" and "precision" in params


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far the figures of a repetition may lie from those recorded: `absolute` + `relative` · |recorded|.

    `of` are places in the data of the step's report, `*` for any name of a mapping.
    """

    absolute: float
    relative: float
    of: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        return {"absolute": self.absolute, "relative": self.relative, "of": list(self.of)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Tolerance:
        return Tolerance(absolute=value["absolute"], relative=value["relative"], of=tuple(value["of"]))

    def apart(self, recorded: Mapping[str, Any], repeated: Mapping[str, Any]) -> list[str]:
        """Why the figures of two reports' data are not the same within the tolerance; empty when they are.

        A figure that only one of them has, or that is no finite number in one of them, is never the same; nor are two
        reports without a figure: nothing was compared.
        """
        found: list[str] = []
        compared = 0
        for pattern in self.of:
            old, new = dict(_figures(recorded, pattern)), dict(_figures(repeated, pattern))
            for place in sorted({*old, *new}):
                compared += 1
                one, other = old.get(place), new.get(place)
                allowed = math.nan if one is None else self.absolute + self.relative * abs(one)
                if one is None or other is None or not abs(one - other) <= allowed:
                    found.append(f"{place} {_shown(one)}, then {_shown(other)}; {_shown(allowed)} apart are allowed")
        return found if compared else [f"neither report has a figure at {', '.join(self.of)}"]


def data_of(report: bytes) -> Mapping[str, Any] | None:
    """The data of a report's text; None where it is none."""
    try:
        found = strict_json.loads(report)
    except ValueError:
        return None
    data = found.get("data") if isinstance(found, dict) else None
    return data if isinstance(data, dict) else None


def unlike(
    step: Mapping[str, Any],
    recorded: Mapping[str, Mapping[str, Any]],
    repeated: Mapping[str, Mapping[str, Any]],
    reports: Callable[[str], Mapping[str, Any] | None],
) -> list[str]:
    """Why a locked step that was carried out again did not give what it promises; empty when it did.

    `recorded` and `repeated` are what two committed lines give, port → {"digest", …}; `reports` reads the data of a
    report by its digest, None where it is gone: what cannot be read is not compared.
    """
    changed = sorted(
        port
        for port in recorded
        if recorded[port].get("kind") not in UNCOMPARED
        and recorded[port]["digest"] != repeated.get(port, {}).get("digest")
    )
    if step["promise"] == BITWISE:
        return [f"other bytes on port `{port}`" for port in changed]
    if step["promise"] != STATISTICAL or not step.get("tolerance"):
        return []
    tolerance, found = Tolerance.from_json(step["tolerance"]), list[str]()
    for port in changed:
        if recorded[port].get("kind") == "report":
            old, new = reports(recorded[port]["digest"]), reports(repeated[port]["digest"])
            found += tolerance.apart(old, new) if old is not None and new is not None else []
    return found


def _figures(data: Any, pattern: str) -> Iterator[tuple[str, float | None]]:
    """(place, value) of each datum that a pattern leads to; None for one that is no finite number."""
    found: list[tuple[tuple[str, ...], Any]] = [((), data)]
    for word in pattern.split("."):
        found = [
            ((*at, name), inner)
            for at, value in found
            if isinstance(value, Mapping)
            for name, inner in value.items()
            if word in ("*", name)
        ]
    for at, datum in found:
        value = datum.get("value") if isinstance(datum, Mapping) else datum
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            value = None
        yield ".".join(at), None if value is None else float(value)


def _shown(value: float | None) -> str:
    return "no number" if value is None or not math.isfinite(value) else f"{value:.4g}"
