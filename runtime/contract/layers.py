"""What losses read of the layers of two models, pair by pair: hidden states and attention maps. No tensors.

Hidden states have the numbers that Transformers gives them (`hidden_states`): 0 is what the embedding gives the first
layer, s what layer s gives the next, and of the last layer it is what the final normalisation makes of that. Attention
maps are those of layer 1 to the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from runtime.contract import Params
from runtime.contract.units import unit

Signal = Literal["states", "attention"]
STATES: Literal["states"] = "states"
ATTENTION: Literal["attention"] = "attention"
#: what a teacher gives whose weights are here
OF_WEIGHTS = frozenset({"logits", STATES, ATTENTION})


class Pair(Params):
    """A layer of the student and the layer of the teacher that it is held against."""

    student: int = Field(
        ge=0, le=1000, description="Layer of the student.", examples=[1], json_schema_extra=unit("layer")
    )
    teacher: int = Field(
        ge=0, le=1000, description="Layer of the teacher.", examples=[2], json_schema_extra=unit("layer")
    )


class Mapped(Params):
    """Which layers are held against which."""

    layers: list[Pair] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Pairs of layers, as Transformers numbers hidden states: 0 the embedding, the last after the final "
        "normalisation. Attention has layers from 1 on.",
        examples=[[{"student": 1, "teacher": 2}]],
    )
    map: Literal["uniform", "last"] | None = Field(
        default=None,
        description="A rule in the place of `layers`. `uniform`: each layer of the student against the one at the same "
        "share of the teacher's depth. `last`: the last of each. Absent without `layers`: uniform.",
        examples=["uniform"],
    )

    @model_validator(mode="after")
    def _one_way(self) -> Mapped:
        if self.layers is not None and self.map is not None:
            raise ValueError("`layers` names the pairs, and `map` is a rule for them: write one of the two")
        if self.layers is not None and len({(one.student, one.teacher) for one in self.layers}) < len(self.layers):
            raise ValueError("`layers` has a pair twice")
        return self


def pairs(params: Mapped, student: int, teacher: int) -> list[Pair]:
    """The pairs of two models of so many layers. `uniform`: layer s of S and round(s·T / S) of T, halves up, at least 1
    (as TinyBERT's uniform strategy where S divides T, Jiao et al., arXiv 1909.10351, 3.2)."""
    if params.layers is not None:
        return list(params.layers)
    if params.map == "last":
        return [Pair(student=student, teacher=teacher)]
    return [
        Pair(student=s, teacher=max(1, (2 * s * teacher + student) // (2 * student))) for s in range(1, student + 1)
    ]


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides which layers may be compared: how many it has, the width of its states, the heads of its
    attention, and the window of each layer, None for one that attends to the whole text."""

    layers: int
    width: int
    heads: int
    windows: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Layers:
    """How a loss reads layers: its `value` is given one pair after the other, and the mean over them is its loss.

    Of signal "states" that is student_NH and teacher_NH; with `projects` a trained matrix without bias brings the
    student's to the teacher's width where the two differ. Of signal "attention" it is student_NAK and teacher_NAK:
    of each token's query, by head, the weights of K keys, 0 at every key that it does not see.
    """

    signal: Signal
    #: params, layers of the student, layers of the teacher → pairs
    pairs: Callable[[Any, int, int], Sequence[Pair]] = pairs
    projects: bool = False

    @property
    def least(self) -> int:
        """The lowest number of a layer: only states have a 0."""
        return 0 if self.signal == STATES else 1


def fault(layers: Layers, params: Any, student: Shape, teacher: Shape | None) -> tuple[str, str, str] | None:
    """(what is wrong: "depth", "heads", "window" or "width"; why; what to do), or None. `teacher`: None where its shape
    is not known yet; what depends on it is asked again when it is."""
    found = list(layers.pairs(params, student.layers, student.layers if teacher is None else teacher.layers))
    for who, shape, numbers in (
        ("student", student, [one.student for one in found]),
        ("teacher", teacher, [one.teacher for one in found]),
    ):
        if shape is None:
            continue
        outside = [number for number in numbers if not layers.least <= number <= shape.layers]
        if outside:
            return (
                "depth",
                f"layer {outside[0]} of the {who} is named, which has {layers.least} to {shape.layers}",
                f"name layers of the {who} from {layers.least} to {shape.layers}, or write `map: uniform`",
            )
    if teacher is None:
        return None
    if layers.signal == ATTENTION:
        return _maps(found, student, teacher)
    if student.width != teacher.width and not layers.projects:
        return (
            "width",
            f"states of {student.width} numbers are held against {teacher.width}",
            "give both models one hidden_size",
        )
    return None


def _maps(found: Sequence[Pair], student: Shape, teacher: Shape) -> tuple[str, str, str] | None:
    if student.heads != teacher.heads:
        return (
            "heads",
            f"the student attends by {student.heads} heads, the teacher by {teacher.heads}",
            "give both num_attention_heads alike, or use the loss hidden, which compares states of any width",
        )
    for one in found:
        mine, other = student.windows[one.student - 1], teacher.windows[one.teacher - 1]
        if mine != other:
            seen = [f"a window of {window}" if window else "the whole text" for window in (mine, other)]
            return (
                "window",
                f"layer {one.student} of the student attends to {seen[0]}, layer {one.teacher} of the teacher to "
                f"{seen[1]}",
                "pair layers that see the same keys, by `layers`",
            )
    return None
