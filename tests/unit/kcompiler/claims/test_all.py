"""Shares, parts, multiples, all and none, in the words of a sentence: false or bare ones, and the true one beside each."""

import json
import re

import pytest

REPORT = {
    "environment": {"forged": False},
    "data": {
        "f1": {"value": 0.61, "unit": "ratio", "tag": "measured", "n": 1000, "k": 610},
        "most": {"value": 0.99, "unit": "ratio", "tag": "measured", "n": 1000, "k": 990},
        "lost": {"value": 0.4, "unit": "ratio", "tag": "measured", "n": 1000, "k": 400},
        "many": {"value": 0.61, "unit": "ratio", "tag": "measured", "n": 10000, "k": 6100},
        "all": {"value": 1.0, "unit": "ratio", "tag": "measured", "n": 9, "k": 9},
        "half": {"value": 0.5, "unit": "ratio", "tag": "measured", "n": 8, "k": 4},
        "five": {"value": 5.0, "unit": "1", "tag": "measured", "n": 9},
        "ok": 72,
        "errors": 0,
        "failed": 0,
        "warnings": 0,
        "regressions": 1,
    },
}
PASS = {"verdict": "PASS", "exit_code": 0, "obligations": "sha256:0", "counts": {"pass": 72}}


@pytest.fixture(autouse=True)
def files(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    (tmp_path / "pass.json").write_text(json.dumps(PASS))
    (tmp_path / "fail.json").write_text(json.dumps({**PASS, "verdict": "FAIL", "counts": {"pass": 72, "fail": 1}}))
    (tmp_path / "rec.txt").write_text("verdict PASS 72 pass\nverdict FAIL 71 pass, 1 fail\n")


def at(text):
    """`{key}` is an anchor of that datum, `{FILE#key}` of that place."""
    text = re.sub(r"\{([^{}#]+)\}", r"<!-- evidence: r.json#data.\1 -->", text)
    return re.sub(r"\{([^{}]+)\}", r"<!-- evidence: \1 -->", text)


@pytest.mark.parametrize(
    "text",
    [
        "valid calls (990 / 1000)", "990 calls in 1000 are valid", "990 valid calls in every 1000.", "99 pct of calls",
        "99pct", "ninety-nine pct", "half of the answers are right", "Half the answers are right", "two thirds of wrong calls",
        "a majority of the answers is right", "The vast majority of calls is right", "Most answers are right",
        "It needs a tenth of the memory", "It answers 5 times as fast.", "It is 2.5 times faster", "It cut errors by half.",
        "Memory fell by a third", "No errors.", "Zero regressions", "No known bugs", "Errors: none", "Not a single failure",
        "All 72 rules pass", "All of the 72 rules passed", "Every one of 72 answers is right",
    ],
)  # fmt: skip
def test_it_is_a_claim(ended, text):
    assert ended(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "It has 3 steps in 10 runs, and half of it is code, it needs VS 2017 / 2019, a third answer, most rules of it, a majority.",
        "It runs 3 times a day, and falls by hand. Not all 72 rules pass. All 72 rules are read, on all 8 held-out rows.",
        "One of two ways is enough, on two rows. It is not without errors.",
    ],
)
def test_it_is_none(ended, text):
    assert ended(text) == 0, ended.output


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("valid calls (990 / 1000) {most}", 0),
        ("valid calls (99 / 100) {most}", 1),
        ("990 calls in 1000 {most} are valid", 0),
        ("99 pct of calls are valid {most}", 0),
        ("half of the answers are right {half}", 0),
        ("half of the answers are right {most}", 1),
        ("a majority of answers is right {f1}", 0),
        ("a majority of answers is right {lost}", 1),
        ("It answers 5 times as fast {five}", 0),
        ("It answers 4 times as fast {five}", 1),
        ("It answers more than 4 times as fast {five}", 0),
        ("It cut errors by half {half}", 0),
        ("It cut errors by half {f1}", 1),
        ("No errors {errors}", 0),
        ("No errors {warnings}", 1),
        ("No regressions {regressions}", 1),
        ("No errors {pass.json#}", 0),
        ("No errors {fail.json#}", 1),
        ("All 72 rules pass {pass.json#counts.pass}", 0),
        ("All 72 rules pass {fail.json#counts.pass}", 1),
        ("All 72 rules pass {ok}", 1),
        ("All 72 rules pass {ok}, and 0 failed {failed}", 0),
        ("All 9 of 9 answers are right {all}", 0),
        ("All 72 rules pass {rec.txt#PASS}", 0),
        ("All 71 rules pass {rec.txt#FAIL}", 1),
        ("72 rules pass {fail.json#counts.pass}", 0),
        ("F1 0.61 over ten thousand rows {f1}", 1),
        ("F1 0.61 over ten thousand rows {many}", 0),
        ("F1 0.61 over one thousand held-out rows {f1}", 0),
    ],
)
def test_it_is_what_the_evidence_says(ended, text, code):
    assert ended(at(text)) == code, ended.output


@pytest.mark.parametrize(
    ("output", "given", "code"),
    [
        ("There are no errors.", {"errors": 0}, 0),
        ("There are no errors.", {"errors": []}, 0),
        ("There are no errors.", {"errors": 3}, 1),
        ("It is 5 times as fast.", {"times": 5}, 0),
        ("It is 5 times as fast.", {"times": 4}, 1),
        ("Most items are sold, half of the items today.", {"sold": 12}, 0),
    ],
)
def test_an_answer_says_none_where_a_tool_gave_none(ended, output, given, code):
    assert ended(json.dumps({"output": output, "evidence": {"w": given}}), "a.jsonl") == code, ended.output
