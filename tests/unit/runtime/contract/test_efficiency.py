"""The Context Efficiency Score: by its formula, and what is no score."""

import pytest

from runtime.contract.efficiency import Spent, data, told


def answers(read: int, wrote: int, right: int, n: int = 10) -> Spent:
    """Of eleven rows the first `n` are answered."""
    found = Spent(11)
    for at in range(n):
        found.add(at, read, wrote, at < right)
    return found


def test_it_is_what_a_right_answer_saves_beside_the_reference() -> None:
    found = data({"teacher": answers(20, 20, 10), "student": answers(20, 10, 10)})
    assert found["reference"] == "teacher"
    assert found["runners"]["teacher"]["per_right"]["value"] == 40
    assert found["runners"]["student"]["score"]["value"] == pytest.approx(0.25)
    assert found["runners"]["student"]["read"]["value"] == 200
    assert found["runners"]["student"]["wrote"]["value"] == 100


def test_to_be_short_and_wrong_is_no_merit() -> None:
    """Half of the tokens for half of the answers is as much for each; a mute student has no score at all."""
    found = data({"teacher": answers(20, 20, 10), "half": answers(10, 10, 5), "mute": answers(20, 1, 0)})
    assert found["runners"]["half"]["score"]["value"] == 0
    assert found["runners"]["mute"]["score"]["tag"] == "unavailable"
    assert found["runners"]["mute"]["per_right"]["tag"] == "unavailable"


def test_both_sides_are_of_the_same_rows() -> None:
    """The package is asked fewer rows: the teacher's others do not count beside it."""
    teacher = answers(20, 20, 10)
    teacher.add(10, 1000, 1000, False)
    found = data({"teacher": teacher, "coreml": answers(20, 20, 1, n=1)})
    of = {"tokens": 40, "right": 1, "reference_tokens": 40, "reference_right": 1}
    assert found["runners"]["coreml"]["score"] == {"value": 0.0, "unit": "1", "tag": "measured", "n": 1, **of}


def test_without_a_reference_there_is_no_score() -> None:
    found = data({"student": answers(1, 1, 1)})
    assert found["reference"] == "none"
    assert told(found) == "compared with nobody: no teacher answers here"
    assert found["runners"]["student"]["score"]["tag"] == "unavailable"
    apart = answers(1, 1, 0, n=0)
    apart.add(10, 1, 1, True)
    found = data({"teacher": answers(2, 2, 10), "student": apart})
    assert found["runners"]["student"]["score"]["reason"] == "no reference answered these rows"
    assert found["runners"]["student"]["per_right"]["value"] == 2
    beside = data({"ce_only": answers(2, 2, 10), "student": answers(1, 1, 10)})
    assert told(beside) == "compared with runner `ce_only`: no teacher answers here"
    assert told(data({"teacher": answers(2, 2, 10)})) == "compared with runner `teacher`"
    assert beside["runners"]["ce_only"]["score"]["reason"] == "it is the reference"
    assert beside["runners"]["student"]["score"]["value"] == 0.5
