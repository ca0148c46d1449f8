"""Which parts of a model another one keeps: the declared map, and what it makes of an architecture. No tensors.

A part is counted as the architecture counts it. A kept key/value head keeps the query heads that read it; a kept
channel stands in the embedding, every norm and both ends of every layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit

#: part → the field of an architecture that counts it
COUNTED: Mapping[str, str] = {
    "layers": "num_hidden_layers",
    "heads": "num_key_value_heads",
    "neurons": "intermediate_size",
    "channels": "hidden_size",
}


class Choice(Params):
    """Which of a part are kept."""

    by: Literal["even", "first_last", "importance", "list"] = Field(
        description="`even`: evenly spaced, both ends among them; `first_last`: the first half of them and the last; "
        "`importance`: those that do most to the training rows, as measured; `list`: these."
    )
    count: int | None = Field(
        default=None,
        ge=1,
        le=1 << 22,
        description="How many are kept; `list` counts its own.",
        examples=[15],
        json_schema_extra=unit("1"),
    )
    ids: list[int] | None = Field(
        default=None,
        max_length=1 << 16,
        description="The ones that are kept, from 0, ascending.",
        examples=[[0, 1, 5]],
        json_schema_extra=unit("1"),
    )

    def kept(self) -> int:
        """How many are kept, when `fault` finds nothing wrong."""
        return len(self.ids or ()) if self.by == "list" else self.count or 0

    def fault(self, there: int) -> str:
        """Why this is no choice among `there`; "" when it is one."""
        if self.by == "list":
            if not self.ids or self.count is not None:
                return "`by: list` takes `ids` and no `count`"
            if any(one >= two for one, two in zip(self.ids, self.ids[1:], strict=False)):
                return "`ids` must ascend, each once"
            if not (self.ids[0] >= 0 and self.ids[-1] < there):
                return f"`ids` are 0 to {there - 1}"
            return ""
        if self.count is None or self.ids is not None:
            return f"`by: {self.by}` takes `count` and no `ids`"
        return f"there are {there}" if self.count > there else ""

    def fixed(self, there: int) -> list[int] | None:
        """The ids that are kept, ascending; None when they are measured."""
        if self.by == "list":
            return list(self.ids or ())
        count = self.count or 0
        if self.by == "importance" and count < there:
            return None
        if self.by == "first_last":
            return [*range((count + 1) // 2), *range(there - count // 2, there)]
        # rounded to the nearest, halves up: distinct, since the steps are at least 1 wide
        gaps = max(1, count - 1)
        return [(2 * i * (there - 1) + gaps) // (2 * gaps) for i in range(count)] if count < there else [*range(there)]


class Vocabulary(Params):
    """The ids that the training rows use, with what is needed to spell every text, filled up to `size`."""

    size: int = Field(
        ge=260,
        le=1_000_000,
        description="Ids that are kept = tokenizer.vocab_size. Those that the rows use, every byte, control token and "
        "part of a kept token must fit; the most general others fill it up.",
        examples=[8192],
        json_schema_extra=unit("id"),
    )
    lost: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Largest share of the held-out rows' tokens that may be lost. A lost token is spelled by others.",
        examples=[0.01],
        json_schema_extra=unit("1"),
    )


class Parts(Params):
    """What is kept of each part; a part without a choice is kept whole."""

    layers: Choice | None = Field(default=None, description="Decoder layers. By importance: block influence.")
    heads: Choice | None = Field(
        default=None, description="Key/value heads, each with its query heads. By importance: size of their output."
    )
    neurons: Choice | None = Field(
        default=None, description="Channels inside the MLP. By importance: mean size of their activation."
    )
    channels: Choice | None = Field(
        default=None, description="Channels of the residual stream. By importance: mean size after each norm."
    )

    def choices(self) -> dict[str, Choice]:
        """Part → its choice, of the parts that have one."""
        every = {"layers": self.layers, "heads": self.heads, "neurons": self.neurons, "channels": self.channels}
        return {name: choice for name, choice in every.items() if choice is not None}


class Cut(Parts):
    """A student made of the teacher's own weights."""

    vocabulary: Vocabulary | None = Field(
        default=None, description="Reduce embedding and tokenizer to the used ids. Absent: both are the teacher's."
    )
    rows: int = Field(
        default=64,
        ge=1,
        le=100_000,
        description="Training rows, evenly spaced, on which importance is measured and the cut is judged.",
        examples=[64],
        json_schema_extra=unit("row"),
    )


def shape(original: Mapping[str, Any], parts: Parts) -> dict[str, Any]:
    """The fields of an architecture after the cut, from those before it. Choices must be without fault."""
    made = dict(original)
    choices = parts.choices()
    for name, choice in choices.items():
        made[COUNTED[name]] = choice.kept()
    heads, pairs = int(original["num_attention_heads"]), int(original["num_key_value_heads"])
    made["num_attention_heads"] = heads // pairs * int(made["num_key_value_heads"])
    # the width of a head is never cut: it is written out where it is no longer width / heads
    width = int(original.get("head_dim") or int(original["hidden_size"]) // heads)
    made.pop("head_dim", None)
    if made["num_attention_heads"] * width != made["hidden_size"]:
        made["head_dim"] = width
    return made
