"""The quantization recipe: which named tensors get which weights. Pure data and the matching rule."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field, model_serializer, model_validator

from runtime.contract import Params
from runtime.contract.heads import PREFIX
from runtime.contract.units import unit

Stored = Literal["fp16", "int8", "int4", "lut1", "lut2", "lut3", "lut4", "lut6", "lut8", "sparse"]
Granularity = Literal["per_channel", "per_tensor", "per_block", "per_grouped_channel"]
#: bytes of a number
FLOAT16, FLOAT32 = 2, 4
#: the tensor that gives the logits
HEAD = "lm_head.weight"
#: bits of one stored element
BITS: Mapping[str, int] = {"fp16": 16, "sparse": 16, "int8": 8, "int4": 4} | {
    f"lut{bits}": bits for bits in (1, 2, 3, 4, 6, 8)
}
#: scaled integers, each with the granularities it is offered in; palettes have others
SCALED: Mapping[str, tuple[Granularity, ...]] = {
    "int8": ("per_channel", "per_tensor", "per_block"),
    "int4": ("per_channel", "per_tensor", "per_block"),
}
PALETTE: tuple[Granularity, ...] = ("per_tensor", "per_grouped_channel")
#: what moves every number of a model, less than eight bits or zeros, is judged by what it makes of the next token
COARSE = frozenset(form for form, bits in BITS.items() if bits < 8) | {"sparse"}
#: granularity → the number that belongs to it
SIZED: Mapping[str, str] = {"per_block": "block", "per_grouped_channel": "group"}
#: forms and granularities that Core ML learnt with iOS 18, in words
NEWER: Mapping[str, str] = {
    "int4": "integers of four bits",
    "lut3": "palettes of eight values",
    "per_block": "scales of blocks",
    "per_grouped_channel": "palettes of groups of channels",
}
#: keys that are written only where they belong
OPTIONAL = (*SIZED.values(), "density")


class Weights(Params):
    """How one tensor's weights are stored."""

    weights: Stored = Field(
        description="Stored type: floats, integers with scales, or indices of so many bits into a palette (`lut4`: 16 "
        "values, the best there are for the tensor); or float16 of the largest alone, and zero (`sparse`)."
    )
    granularity: Granularity = Field(
        default="per_channel",
        description="One scale per output channel, per tensor, or per `block` of the inputs of one channel; for a "
        "palette one per tensor, or one per `group` of output channels.",
    )
    block: int | None = Field(
        default=None,
        ge=2,
        le=4096,
        description="Neighbouring inputs of one output channel that share a scale; it divides the tensor's inputs.",
        examples=[32],
        json_schema_extra=unit("channel"),
    )
    group: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Neighbouring output channels that share a palette; it divides the tensor's output channels.",
        examples=[16],
        json_schema_extra=unit("channel"),
    )

    density: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Part of the tensor's weights that `sparse` keeps, the largest ones; the others are zero.",
        examples=[0.5],
        json_schema_extra=unit("1"),
    )

    @model_validator(mode="after")
    def _fitting(self) -> Weights:
        offered = ("per_tensor",) if self.weights == "sparse" else SCALED.get(self.weights, PALETTE)
        if self.weights != "fp16" and self.granularity not in offered:
            raise ValueError(
                f"{self.weights} is stored {' or '.join(offered)}, not {self.granularity}: write `granularity`"
            )
        if (self.density is not None) != (self.weights == "sparse"):
            raise ValueError("`weights: sparse` and a `density` belong together")
        for granularity, key in SIZED.items():
            given = getattr(self, key) is not None
            if given and (self.granularity != granularity or self.weights == "fp16"):
                raise ValueError(f"`{key}` belongs to `granularity: {granularity}`")
            if self.granularity == granularity and self.weights != "fp16" and not given:
                raise ValueError(f"`granularity: {granularity}` needs a `{key}`")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: Any) -> dict[str, Any]:
        """Without the numbers that belong to another form."""
        dumped: dict[str, Any] = handler(self)
        return {key: value for key, value in dumped.items() if key not in OPTIONAL or value is not None}

    @property
    def plain(self) -> Weights:
        """The same without what a rule adds."""
        return Weights(**{key: getattr(self, key) for key in Weights.model_fields})

    @property
    def said(self) -> str:
        """In words: `int4 per_block 32`."""
        size = self.density if self.density is not None else getattr(self, SIZED.get(self.granularity, ""), None)
        return f"{self.weights} {self.granularity}" + (f" {size}" if size is not None else "")

    def kept(self, elements: int) -> int:
        """How many of a tensor's weights are not set to zero."""
        return elements if self.density is None else math.ceil(self.density * elements)

    def stored_bytes(self, shape: Sequence[int], width: int = FLOAT16) -> int:
        """Bytes of a tensor of this shape in a package: elements, masks, and scales or palettes of `width` bytes a
        number. Vectors stay float16."""
        elements = math.prod(shape)
        if self.weights == "fp16" or len(shape) < 2:
            return FLOAT16 * elements
        if self.weights == "sparse":
            # the mask has a bit for each
            return -(-elements // 8) + FLOAT16 * self.kept(elements)
        bits = BITS[self.weights]
        # one stream of bits, its last byte filled up
        data = -(-elements * bits // 8)
        parts = {"per_tensor": 1, "per_channel": shape[0]}.get(self.granularity, 0)
        parts = parts or (elements // self.block if self.block else shape[0] // (self.group or 1))
        return data + width * parts * (1 if self.weights in SCALED else 1 << bits)

    @property
    def newer(self) -> str:
        """What of this form Core ML learnt with iOS 18, in words, or ""."""
        granularity = "" if self.weights == "fp16" else self.granularity
        return NEWER.get(self.weights) or NEWER.get(granularity) or ""

    def misfit(self, shape: tuple[int, ...]) -> str:
        """Why a matrix of this shape cannot be stored so, or ""."""
        if len(shape) < 2 or self.weights == "fp16":
            return ""
        if self.block is not None and shape[-1] % self.block:
            return f"a block of {self.block} does not divide its {shape[-1]} inputs"
        if self.group is not None and shape[0] % self.group:
            return f"a group of {self.group} does not divide its {shape[0]} output channels"
        return ""


class Rule(Weights):
    """Tensors whose dotted name matches the pattern. The last matching rule wins."""

    match: str = Field(
        description="Shell pattern over the checkpoint's tensor name without `.weight`, e.g. `*.norm`.",
        examples=["*norm*"],
    )


class Recipe(Params):
    """A default and exceptions by name."""

    default: Weights = Field(description="What every tensor gets that no rule matches.")
    rules: list[Rule] = Field(default_factory=list, description="Exceptions; the last match wins.")

    def of(self, tensor: str) -> Weights:
        """What the recipe asks for a tensor, named as in the checkpoint (`model.layers.0.mlp.up_proj.weight`). The one
        row of a head that says a number stays float16: nothing is saved by less."""
        if tensor.startswith(PREFIX):
            return Weights(weights="fp16")
        name = tensor.removesuffix(".weight")
        chosen = self.default
        for rule in self.rules:
            if fnmatchcase(name, rule.match):
                chosen = rule.plain
        return chosen

    @property
    def coarse(self) -> bool:
        """Whether any tensor may be stored in a form that is."""
        return any(one.weights in COARSE for one in (self.default, *self.rules))


def scale_width(names: Sequence[str], islands: Collection[str]) -> int:
    """Bytes that each scale or palette entry of a tensor of these names takes. A head that is computed in float32 has
    float32 ones, beside those of the embedding that it is tied to."""
    if "logits" not in islands or HEAD not in names:
        return FLOAT16
    return FLOAT32 if names[0] == HEAD else FLOAT16 + FLOAT32
