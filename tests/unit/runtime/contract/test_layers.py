"""Which layers are held against which, and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from runtime import catalog
from runtime.contract.layers import Layers, Mapped, Pair, Shape, fault, pairs

STUDENT = Shape(layers=2, width=16, heads=4, windows=(None, None))
TEACHER = Shape(layers=4, width=24, heads=4, windows=(8, None, 8, None))


def numbers(found: list[Pair]) -> list[tuple[int, int]]:
    return [(one.student, one.teacher) for one in found]


@pytest.mark.parametrize(
    ("given", "student", "teacher", "found"),
    [
        ({}, 2, 4, [(1, 2), (2, 4)]),
        ({"map": "uniform"}, 3, 3, [(1, 1), (2, 2), (3, 3)]),
        ({"map": "uniform"}, 3, 4, [(1, 1), (2, 3), (3, 4)]),
        # a teacher that is not so deep: no layer is none
        ({"map": "uniform"}, 4, 1, [(1, 1), (2, 1), (3, 1), (4, 1)]),
        ({"map": "last"}, 2, 4, [(2, 4)]),
        ({"layers": [{"student": 0, "teacher": 3}]}, 2, 4, [(0, 3)]),
    ],
)
def test_pairs(given: dict[str, object], student: int, teacher: int, found: list[tuple[int, int]]) -> None:
    params = Mapped.model_validate(given)
    assert numbers(pairs(params, student, teacher)) == found
    # as the lock has it and the step reads it again
    assert Mapped.model_validate(params.model_dump(mode="json")) == params


@pytest.mark.parametrize(
    ("loss", "given", "words"),
    [
        ("hidden", {"layers": [{"student": 1, "teacher": 2}], "map": "last"}, "one of the two"),
        ("hidden", {"layers": [{"student": 1, "teacher": 2}] * 2}, "twice"),
        ("hidden", {"layers": []}, "at least 1 item"),
        ("hidden", {"layers": [{"student": -1, "teacher": 2}]}, "greater than or equal to 0"),
        ("hidden", {"map": "first"}, "'uniform' or 'last'"),
        ("hidden", {"distance": "cosine", "normalise": True}, "no effect on a cosine"),
        ("attention", {"distance": "mse"}, "Extra inputs"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(loss: str, given: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        catalog.load("losses", loss).params.model_validate(given)


@pytest.mark.parametrize(
    ("loss", "given", "teacher", "kind"),
    [
        ("hidden", {}, TEACHER, None),
        ("hidden", {"layers": [{"student": 0, "teacher": 4}]}, TEACHER, None),
        ("hidden", {"layers": [{"student": 2, "teacher": 5}]}, TEACHER, "depth"),
        ("hidden", {"layers": [{"student": 3, "teacher": 4}]}, TEACHER, "depth"),
        # of a teacher that nobody has looked at the student's layers alone are asked for
        ("hidden", {"layers": [{"student": 2, "teacher": 50}]}, None, None),
        ("hidden", {"layers": [{"student": 3, "teacher": 50}]}, None, "depth"),
        ("attention", {}, TEACHER, None),
        ("attention", {"layers": [{"student": 0, "teacher": 2}]}, TEACHER, "depth"),
        ("attention", {"layers": [{"student": 1, "teacher": 1}]}, TEACHER, "window"),
        ("attention", {}, replace(TEACHER, heads=8), "heads"),
        ("attention", {}, None, None),
    ],
)
def test_what_cannot_be_compared_is_named(
    loss: str, given: dict[str, object], teacher: Shape | None, kind: str | None
) -> None:
    found = catalog.load("losses", loss)
    why = fault(found.layers, found.params.model_validate(given), STUDENT, teacher)
    assert (why and why[0]) == kind
    assert why is None or all(why)


def test_a_loss_without_a_matrix_needs_equal_widths() -> None:
    plain = Layers(signal="states")
    why = fault(plain, Mapped(), STUDENT, TEACHER)
    assert why is not None
    assert why[0] == "width"
    assert fault(plain, Mapped(), STUDENT, replace(TEACHER, width=16)) is None
