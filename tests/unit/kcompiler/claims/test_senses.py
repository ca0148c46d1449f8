"""Right or wrong, a quantile or all of it, an amount in words: false sentences, and the true one beside each."""

import json

import pytest

from kcompiler.claims import check_document, shipped


def _rate(k: int) -> dict[str, object]:
    return {"value": k / 200, "unit": "ratio", "tag": "measured", "n": 200, "k": k}


def _time(value: float) -> dict[str, object]:
    return {"value": value, "unit": "s", "tag": "measured", "n": 100}


FIRST = {"p50": _time(0.0046), "p95": _time(0.01), "mean": _time(0.005), "max": _time(0.02)}
REPORT = {
    "environment": {"forged": False},
    "data": {
        "right": {"student": _rate(200), "teacher": _rate(174)},
        "errors": {"student": _rate(26), "teacher": _rate(20)},
        "validity": _rate(174),
        "pass_rate": _rate(174),
        "answered": _rate(174),
        "first_token": FIRST,
        "decode": {"p50": {"value": 613, "unit": "token/s", "tag": "measured", "n": 100}},
        "tiny": _time(0.0009),
        "size": {"value": 2_000_000, "unit": "B", "tag": "measured", "n": 1},
    },
}


@pytest.fixture
def codes(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    (tmp_path / "log.txt").write_text("200 of 200 rows right\n")

    def check(text: str) -> list[str]:
        found = check_document("d.md", text, folder=tmp_path, root=tmp_path, policy=shipped()).diagnostics
        return [one.code for one in found]

    return check


def _of(*keys: str) -> str:
    return f"<!-- evidence: {'; '.join(f'r.json#data.{key}' for key in keys)} -->"


ALL, SOME = _of("right.student"), _of("right.teacher")
P50, P95, MEAN, MAX, RATE = (
    _of(key) for key in ("first_token.p50", "first_token.p95", "first_token.mean", "first_token.max", "decode.p50")
)


@pytest.mark.parametrize(
    "text",
    [
        f"The student is wrong in 200 of 200 {ALL}.",
        f"200 of 200 answers of the student are wrong {ALL}.",
        f"Incorrect: 200 of 200 {ALL}.",
        f"The student is not right in 200 of 200 {ALL}.",
        f"200 of 200 are never right {ALL}.",
        f"200 of 200 are not correct {ALL}.",
        f"The teacher fails in 87 % {SOME}.",
        f"It is wrong in more than 100 of 200 {SOME}.",
        f"It gets 200 of 200 wrong {ALL}.",
        f"It errs in 200 of 200 {ALL}.",
        f"174 of 200 are invalid {_of('validity')}.",
        f"174 of 200 rows fail {_of('pass_rate')}.",
        f"The student is right in 26 of 200 {_of('errors.student')}.",
        f"| rows | wrong |\n|---|---|\n| new | 200 of 200 {ALL} |\n",
        f"| what | rows |\n|---|---|\n| failed | 200 of 200 {ALL} |\n",
        f"200 of 200 right and 26 of 200 right {_of('right.student', 'errors.student')}.",
        "The student is wrong in 200 of 200 <!-- evidence: log.txt#rows right -->.",
    ],
)
def test_what_is_said_to_be_wrong_is_not_borne_out_by_what_was_right(codes, text):
    assert codes(text) in (["KC5603"], ["KC5607"])


def test_one_wrong_more_often_is_not_one_right_more_often(codes):
    text = "The student is {0} more often than the teacher <!-- evidence: {1} > {2} -->."
    for said, key, expected in [
        ("right", "right", []),
        ("wrong", "errors", []),
        ("wrong", "right", ["KC5607"]),
        ("right", "errors", ["KC5607"]),
    ]:
        student, teacher = (f"r.json#data.{key}.{name}" for name in ("student", "teacher"))
        assert codes(text.format(said, student, teacher)) == expected


@pytest.mark.parametrize(
    "text",
    [
        f"The student is right in 200 of 200 {ALL}.",
        f"The student is not wrong in 200 of 200 {ALL}.",
        f"It is wrong in 26 of 200 {_of('errors.student')}.",
        f"Errors: 26 of 200 {_of('errors.student')}.",
        f"174 of 200 are not valid, or wrong {_of('answered')}.",
        f"200 of 200 right and 26 of 200 wrong {_of('right.student', 'errors.student')}.",
        f"Wrong in 26 of 200 and right in 200 of 200 {_of('errors.student', 'right.student')}.",
        f"Nothing is wrong: 200 of 200 are right {ALL}.",
        f"What is wrong is shown. The student is right in 200 of 200 {ALL}.",
        f"174 of 200 rows pass {_of('pass_rate')}.",
        f"| right or wrong | rows |\n|---|---|\n| new | 200 of 200 {ALL} |\n",
        f"It is wrong after 0.9 ms {_of('tiny')}.",
        "The student is right in 200 of 200 <!-- evidence: log.txt#rows right -->.",
    ],
)
def test_what_was_right_is_said_to_be_right(codes, text):
    assert codes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        f"The first token comes after at most 4.6 ms {P50}.",
        f"The worst first token comes after 4.6 ms {P50}.",
        f"It takes never more than 4.6 ms {P50}.",
        f"A maximum of 4.6 ms {P50}.",
        f"Maximum: 4.6 ms {P50}.",
        f"It is always under 5 ms {P50}.",
        f"It is always under 5.1 ms {MEAN}.",
        f"It takes 4.6 ms at most {P50}.",
        f"It takes 4.6 ms or less {P50}.",
        f"It takes up to 4.6 ms {P50}.",
        f"It comes within 4.6 ms {P50}.",
        f"In the worst case, 4.6 ms {P50}.",
        f"It does not exceed 4.6 ms {P50}.",
        f"It never takes longer than 4.6 ms {P50}.",
        f"Every first token comes after 4.6 ms {P50}.",
        f"The slowest takes 4.6 ms {P50}.",
        f"The worst takes 10 ms {P95}.",
        f"It takes at most 10 ms {P95}.",
        f"It writes at least 613 token/s {RATE}.",
    ],
)
def test_a_bound_of_all_is_not_borne_out_by_a_quantile(codes, text):
    assert codes(text) in (["KC5603"], ["KC5607"])


@pytest.mark.parametrize(
    "text",
    [
        f"The median first token comes after at most 4.6 ms {P50}.",
        f"The first token comes after at most 5 ms (p50) {P50}.",
        f"On average it comes within 5 ms {MEAN}.",
        f"It takes 4.6 ms {P50}.",
        f"The p95 is under 11 ms {P95}.",
        f"It takes at most 20 ms {MAX}.",
        f"The worst first token comes after 20 ms {MAX}.",
        f"It takes 0.9 ms at most {_of('tiny')}.",
        f"| time | median |\n|---|---|\n| first token | at most 4.6 ms {P50} |\n",
        f"It writes at least 613 token/s at the median {RATE}.",
    ],
)
def test_a_bound_says_of_which_quantile_it_is_or_is_one_of_all(codes, text):
    assert codes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Latency under a millisecond.",
        "The first token comes in less than ten milliseconds.",
        "It answers within a second.",
        "Sub-millisecond latency.",
        "It is a sub-second answer.",
        "Single-digit milliseconds to the first token.",
        "It takes two seconds.",
        "It trains in half an hour.",
        "It needs under five megabytes.",
        "It answers in 5 milliseconds.",
        "More than six hundred tokens per second.",
    ],
)
def test_an_amount_in_words_with_its_unit_needs_evidence(codes, text):
    assert codes(text) == ["KC5604"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"It answers in under a millisecond {_of('tiny')}.", []),
        (f"Sub-millisecond answers {_of('tiny')}.", []),
        (f"It answers within a millisecond {_of('tiny')}.", []),
        (f"It uses two megabytes {_of('size')}.", []),
        (f"The longest takes twenty milliseconds {MAX}.", []),
        (f"The longest takes twenty milliseconds {P50}.", ["KC5603"]),
        (f"It answers in under a millisecond {MAX}.", ["KC5607"]),
        (f"It answers in never under a millisecond {_of('tiny')}.", ["KC5607"]),
        (f"Single-digit milliseconds {MAX}.", ["KC5607"]),
        (f"It takes three milliseconds {MAX}.", ["KC5603"]),
        (f"The first token comes in under ten milliseconds {P50}.", ["KC5607"]),
    ],
)
def test_an_amount_in_words_is_compared(codes, text, expected):
    assert codes(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "In a second step the rows are read, and over a day they change.",
        "It is mounted after two minutes without a sign of life.",
        "Once a day, in one byte order, a second time, second by second, of sub-byte weights.",
    ],
)
def test_words_that_name_no_amount_are_no_claim(codes, text):
    assert codes(text) == []
