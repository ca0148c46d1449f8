"""How the rotary embedding of a model is scaled to texts longer than it was first trained on: fields, and what is wrong
with them. Pure data, no tensors; `runtime.models.rotation` computes the angles.

Names and meaning are those of `rope_parameters` in Transformers 5.23 (`modeling_rope_utils.py`). Sources: linear
(arXiv 2306.15595), dynamic NTK (emozilla, LocalLLaMA 2023), yarn (arXiv 2309.00071), llama3 (Llama 3.1), longrope
(arXiv 2402.13753).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit

#: every kind: the fields that it must have, and those that it may have
KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "linear": (frozenset({"factor"}), frozenset()),
    "dynamic": (frozenset({"factor"}), frozenset()),
    "llama3": (
        frozenset({"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}),
        frozenset(),
    ),
    "yarn": (
        frozenset({"factor", "original_max_position_embeddings"}),
        frozenset({"attention_factor", "beta_fast", "beta_slow"}),
    ),
    "longrope": (
        frozenset({"short_factor", "long_factor", "original_max_position_embeddings"}),
        frozenset({"attention_factor"}),
    ),
}
#: what of the fields a rotation has that leaves them out
BETA_FAST, BETA_SLOW = 32.0, 1.0
_ORIGINAL = "original_max_position_embeddings"
_LISTS = ("short_factor", "long_factor")
#: most channels of a head that are turned in pairs
_PAIRS = 32_768


class RopeScaling(Params):
    """A scaled rotation. Which fields a kind has: KINDS."""

    rope_type: Literal["linear", "dynamic", "llama3", "yarn", "longrope"] = Field(
        description="How angles are scaled. `dynamic` and `longrope` change them with the length of the text: "
        "exact are lengths up to `max_position_embeddings`, and up to `original_max_position_embeddings`."
    )
    factor: float | None = Field(
        default=None,
        ge=1,
        le=1e4,
        description="How many times longer texts become. Not of longrope: max_position_embeddings by the original.",
        examples=[8.0],
        json_schema_extra=unit("1"),
    )
    original_max_position_embeddings: int | None = Field(
        default=None,
        ge=8,
        le=10_000_000,
        description="Context before scaling, of llama3, yarn and longrope.",
        examples=[8192],
        json_schema_extra=unit("token"),
    )
    low_freq_factor: float | None = Field(
        default=None,
        gt=0,
        le=1e4,
        description="llama3: channels of fewer turns within the original context are slowed by `factor`.",
        examples=[1.0],
        json_schema_extra=unit("1"),
    )
    high_freq_factor: float | None = Field(
        default=None,
        gt=0,
        le=1e4,
        description="llama3: channels of more turns within the original context stay as they are.",
        examples=[4.0],
        json_schema_extra=unit("1"),
    )
    attention_factor: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="yarn, longrope: what sine and cosine are multiplied by; absent: what its paper advises.",
        examples=[1.0],
        json_schema_extra=unit("1"),
    )
    beta_fast: float | None = Field(
        default=None,
        gt=0,
        le=1e4,
        description="yarn: channels of more turns within the original context stay as they are; absent: 32.",
        examples=[32.0],
        json_schema_extra=unit("1"),
    )
    beta_slow: float | None = Field(
        default=None,
        gt=0,
        le=1e4,
        description="yarn: channels of fewer turns within the original context are slowed by `factor`; absent: 1.",
        examples=[1.0],
        json_schema_extra=unit("1"),
    )
    short_factor: list[float] | None = Field(
        default=None,
        min_length=1,
        max_length=_PAIRS,
        description="longrope: what each pair of channels is slowed by in texts of the original context.",
        examples=[[1.0, 1.05]],
        json_schema_extra=unit("1"),
    )
    long_factor: list[float] | None = Field(
        default=None,
        min_length=1,
        max_length=_PAIRS,
        description="longrope: what each pair of channels is slowed by in longer texts.",
        examples=[[1.1, 8.0]],
        json_schema_extra=unit("1"),
    )

    def parameters(self) -> dict[str, Any]:
        """`rope_parameters` of a config.json without the base."""
        every = {
            "rope_type": self.rope_type,
            "factor": self.factor,
            "original_max_position_embeddings": self.original_max_position_embeddings,
            "low_freq_factor": self.low_freq_factor,
            "high_freq_factor": self.high_freq_factor,
            "attention_factor": self.attention_factor,
            "beta_fast": self.beta_fast,
            "beta_slow": self.beta_slow,
            "short_factor": self.short_factor,
            "long_factor": self.long_factor,
        }
        return {name: value for name, value in every.items() if value is not None}


def faults(scaling: RopeScaling, rotated: int, context: int) -> Iterator[tuple[str, str, str]]:
    """(field, what is wrong, what to do) for a model that turns `rotated` channels of each head and reads `context`
    tokens."""
    kind = scaling.rope_type
    must, may = KINDS[kind]
    written = scaling.parameters().keys() - {"rope_type"}
    for name in sorted(must - written):
        yield "", f"{kind} needs {name}", f"write {name}, as the weights' config.json or the paper has it"
    for name in sorted(written - must - may):
        has = ", ".join(sorted(must | may))
        yield name, f"{kind} has no {name}", f"remove it; {kind} has {has}"
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    if kind == "llama3" and low is not None and high is not None and high <= low:
        yield "high_freq_factor", f"{high:g} is not above low_freq_factor {low:g}", "write 1 and 4, as Llama 3.1 has"
    if kind == "yarn" and (fast := scaling.beta_fast or BETA_FAST) <= (slow := scaling.beta_slow or BETA_SLOW):
        name = "beta_fast" if scaling.beta_fast is not None else "beta_slow"
        yield name, f"beta_fast {fast:g} is not above beta_slow {slow:g}", "leave both out: they are 32 and 1 then"
    original = scaling.original_max_position_embeddings
    if _ORIGINAL in must and original is not None and original > context:
        yield _ORIGINAL, f"{original} is more than max_position_embeddings {context}", f"write at most {context}"
    for name in _LISTS if kind == "longrope" else ():
        divisors = getattr(scaling, name) or []
        if divisors and len(divisors) != rotated // 2:
            yield name, f"{len(divisors)} numbers for {rotated // 2} pairs of channels", f"write {rotated // 2} numbers"
        elif not all(value > 0 for value in divisors):
            yield name, "not every number is above zero", "write numbers above zero"


def exact_to(parameters: Mapping[str, Any], context: int) -> int:
    """Longest text, in tokens, whose angles no length changes: beyond it `dynamic` and `longrope` turn the same token
    otherwise when more text follows, which no fixed table does."""
    if parameters.get("rope_type") == "longrope":
        return min(context, int(parameters[_ORIGINAL]))
    return context
