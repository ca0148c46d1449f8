"""Whose number it is, which part of a distribution, and what is said in words: false sentences, and the true one beside each."""

import json

import pytest

REPORT = {
    "environment": {"forged": False},
    "data": {
        "teacher": {"f1": {"value": 0.95, "unit": "ratio", "tag": "measured", "n": 1000, "k": 950}},
        "student": {
            "f1": {"value": 0.61, "unit": "ratio", "tag": "measured", "n": 1000, "k": 610},
            "latency": {"value": 1.1, "unit": "s", "tag": "measured", "n": 100},
        },
        "ce_only": {"f1": {"value": 0.7, "unit": "ratio", "tag": "measured", "n": 1000, "k": 700}},
        "p50": {"value": 0.012, "unit": "s", "tag": "measured", "n": 100},
        "p99": {"value": 0.9, "unit": "s", "tag": "measured", "n": 100},
        "twenty": {"value": 0.95, "unit": "ratio", "tag": "measured", "n": 20, "k": 19},
        "ten": {"value": 10.0, "unit": "1", "tag": "measured", "n": 9},
        "half": {"value": 0.5, "unit": "1", "tag": "measured", "n": 9},
    },
}


@pytest.fixture
def report(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(REPORT))


T, S, C = ("<!-- evidence: r.json#data.{}.f1 -->".format(name) for name in ("teacher", "student", "ce_only"))  # noqa: UP032


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"The student gets an F1 of 0.95 {T}", 1),
        (f"The student gets an F1 of 0.61 {S}", 0),
        (f"Student: 950 of 1000 right {T}", 1),
        (f"Student: 610 of 1000 right {S}", 0),
        (f"Without the teacher it gets 0.61 {S}", 1),
        (f"Without the teacher it gets 0.70 {C}", 0),
        (f"0.61 without the teacher {S}", 1),
        (f"0.70 without the teacher {C}", 0),
        ("The student gets 0.95, its teacher gets 0.61 <!-- evidence: r.json#data.teacher.f1; #data.student.f1 -->", 1),
        ("The student gets 0.61, its teacher gets 0.95 <!-- evidence: r.json#data.student.f1; #data.teacher.f1 -->", 0),
        (f"Student 0.61 {S}, more than its teacher with 0.61 {S}", 1),
        # what it is compared with is not whose it is
        (f"Not better than the teacher: 0.61 {S}", 0),
        (f"Half a teacher it is not. It gets 0.61 {S}", 0),
        (f"| model | F1 |\n|---|---|\n| student | 0.95 {T} |\n", 1),
        (f"| model | F1 |\n|---|---|\n| student | 0.61 {S} |\n", 0),
        (f"| rows | student |\n|---|---|\n| new | 0.95 {T} |\n", 1),
        (f"| rows | student | teacher |\n|---|---|---|\n| new | 0.61 {S} | 0.95 {T} |\n", 0),
        (f"| rows | recall |\n|---|---|\n| new | 0.61 {S} |\n", 1),
    ],
)
def test_a_number_is_of_the_one_who_is_named(ended, report, text, code):
    assert ended(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("p99 latency is 0.012 s <!-- evidence: r.json#data.p50 -->", 1),
        ("p99 latency is 0.9 s <!-- evidence: r.json#data.p99 -->", 0),
        ("At worst 12 ms <!-- evidence: r.json#data.p50 -->", 1),
        ("The median is 12 ms <!-- evidence: r.json#data.p50 -->", 0),
        ("The median is 0.9 s <!-- evidence: r.json#data.p99 -->", 1),
        ("On average 0.9 s <!-- evidence: r.json#data.p99 -->", 1),
        (f"The win rate is 0.61 {S}", 1),
        (f"AUC 0.61 {S}", 1),
        (f"Exact match 0.61 {S}", 1),
        (f"Coverage 0.61 {S}", 1),
        ("Throughput: 1.1 s <!-- evidence: r.json#data.student.latency -->", 1),
        ("Training took 1.1 s <!-- evidence: r.json#data.student.latency -->", 1),
        ("Latency: 1.1 s <!-- evidence: r.json#data.student.latency -->", 0),
        (f"F1 is never 0.61 {S}", 1),
        (f"F1 ± 0.61 {S}", 1),
        (f"F1 is 0.61 per row {S}", 1),
        (f"F1 is exactly 0.6 {S}", 1),
        (f"F1 is exactly 0.61 {S}", 0),
        (f"F1 is 0.6 {S}", 0),
    ],
)
def test_a_number_is_of_the_part_and_the_quantity_that_are_named(ended, report, text, code):
    assert ended(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "The student is right in ninety-nine percent of all cases.",
        "The student answers ninety nine of a hundred questions rightly.",
        "F1 is zero point nine nine.",
        "Nineteen of twenty answers are right.",
        "Nine out of ten rows are right.",
        "It is ten-fold faster.",
        "It is 10-fold faster.",
        "It is tenfold cheaper.",
        "It doubles the speed.",
        "It halves the memory.",
        "It makes no mistakes.",
        "It is flawless.",
        "It is always right.",
        "It is error-free.",
        "It is more accurate than GPT-4.",
        "It rivals GPT-4.",
        "It is comparable to its teacher.",
        "It is as accurate as the teacher.",
        "It passes every test.",
        "99:1 odds",
        "Two hundred and five of three hundred rows are right.",
    ],
)
def test_what_is_said_in_words_is_said(ended, text):
    assert ended(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "There are two kinds of rule, and one of the twenty answers is longer.",
        "One of two ways is enough. It is manifold.",
        "A 10-fold cross-validation is a name. It opens at 12:30.",
        "Point nine is the ninth. One hundred lines stand there.",
        "Nineteen of twenty answers are right <!-- evidence: r.json#data.twenty -->.",
        "Ninety-five percent of all are right <!-- evidence: r.json#data.twenty -->.",
        "It is tenfold larger <!-- evidence: r.json#data.ten -->.",
        "It halves the memory <!-- evidence: r.json#data.half -->.",
        "It is not flawless.",
    ],
)
def test_words_that_measure_nothing_or_are_borne_out(ended, report, text):
    assert ended(text) == 0


@pytest.mark.parametrize(
    ("output", "evidence", "code"),
    [
        ("It is 12 million degrees.", {"t": 12}, 1),
        ("It is 12 million.", {"t": 12_000_000}, 0),
        ("It is 12 million.", {"t": "12 million"}, 0),
        ("It is not 12 degrees.", {"t": 12}, 1),
        ("It is minus 12 degrees.", {"t": 12}, 1),
        ("It is minus 12 degrees.", {"t": -12}, 0),
        ("It is twice 12.5 degrees.", {"t": 12.5}, 1),
        ("It is twice 12.5 degrees.", {"t": 25}, 0),
        ("It rose by 12.5 %.", {"change_percent": 12.5}, 0),
        ("It is more than 12.5 degrees.", {"t": 12.5}, 1),
        ("It is more than 12 degrees.", {"t": 12.5}, 0),
        ("It is more than 0.1 degrees.", {"t": 12.5}, 1),
        ("It is at least 12.5 s.", {"t": 12.5}, 0),
        ("It is less than 12.5 s.", {"t": 12.5}, 1),
        ("It is less than 3 hours.", {"minutes": 170}, 0),
        ("It is less than 3 hours.", {"minutes": 3}, 1),
        ("It is ninety degrees.", {"t": 12}, 1),
        ("It is ninety degrees.", {"t": 90}, 0),
        ("Your balance is zero.", {"b": 12}, 1),
        ("Your balance is zero.", {"b": 0}, 0),
        ("Here are two options, and one of them is open.", {"b": 12}, 0),
        ("40 of 12 are there.", {"x": 12, "y": 40}, 1),
        ("12 of 40 are there.", {"x": 12, "y": 40}, 0),
        ("It opens at 9:30.", {}, 1),
        ("It opens at 9:30.", {"t": "09:30"}, 0),
        ("It opens at 9:30 pm.", {"t": "2024-05-06T21:30:00"}, 0),
        ("It leaves 2025-03-04.", {}, 1),
        ("It leaves 2025-03-04.", {"t": "2025-03-04T10:00"}, 0),
        ("It is 5.", {"t": "2025-05-12"}, 1),
        ("It is 2025 km.", {"t": "2025-05-12"}, 1),
        ("On May 12 it opens.", {"t": "2025-05-12"}, 0),
        ("It was built in 2025.", {"t": "2025-05-12"}, 0),
        ("It is 1e400.", {"t": 12}, 1),
    ],
)
def test_an_answer_means_what_its_words_make_of_a_number(ended, output, evidence, code):
    assert ended(json.dumps({"output": output, "evidence": {"w": evidence}}), "a.jsonl") == code


def test_a_line_that_cannot_be_read_is_one_finding_and_the_others_are_judged(ended):
    bad = '{"output":"It is 12","evidence":{"w":1e400}}'
    good, false = (json.dumps({"output": f"It is {number}", "evidence": {"w": 12}}) for number in (12, 13))
    assert ended("\n".join((bad, good)), "a.jsonl") == 1
    assert "1 error\n" in ended.output
    assert "KC5611" in ended.output
    assert "a.jsonl:1:1" in ended.output
    assert ended("\n".join((good, bad, false)), "a.jsonl") == 1
    assert "KC5611" in ended.output
    assert "KC5610" in ended.output
    assert ended("\n".join((good, good)), "a.jsonl") == 0
