"""False sentences beside evidence that does not bear them out, and the true sentence next to each."""

import json
import time

import pytest
from click.testing import CliRunner

from kcompiler.cli import cli

REPORT = {
    "environment": {"forged": False},
    "data": {
        "f1": {"value": 0.63, "unit": "ratio", "tag": "measured", "k": 63, "n": 100, "low": 0.52, "high": 0.72},
        "lie": {"value": 0.99, "unit": "ratio", "tag": "measured", "k": 1, "n": 100},
        "none": {"value": 0.99, "unit": "ratio", "tag": "measured", "k": 0, "n": 0},
        "out": {"value": 0.99, "unit": "s", "tag": "measured", "n": 5, "low": 0.1, "high": 0.2},
        "almost": {"value": 0.996, "unit": "ratio", "tag": "measured", "k": 996, "n": 1000},
        "hardly": {"value": 0.004, "unit": "ratio", "tag": "measured", "k": 4, "n": 1000},
        "all": {"value": 1.0, "unit": "ratio", "tag": "measured", "k": 9, "n": 9},
        "sixty": {"value": 0.6, "unit": "ratio", "tag": "measured", "k": 6, "n": 10},
        "t": {"value": 0.9, "unit": "s", "tag": "measured", "n": 10},
        "slow": {"value": 2.0, "unit": "s", "tag": "measured", "n": 10},
        "fast": {"value": 1.0, "unit": "s", "tag": "measured", "n": 10},
        "slowly": {"value": 10.0, "unit": "token/s", "tag": "measured", "n": 10},
        "quickly": {"value": 20.0, "unit": "token/s", "tag": "measured", "n": 10},
        "gain": {"value": 0.03, "unit": "item/item", "tag": "measured", "n": 100, "interval": "paired Wald"},
        "raw": 5000000000,
        "rows": 7,
    },
}
VERDICT = {"verdict": "PASS", "exit_code": 0, "obligations": [], "counts": {"pass": 0}}
RULE = 'id: x\nparams:\n  op: "<="\n  threshold: "0.1"\n  unit: nat/token\n'


@pytest.fixture(autouse=True)
def files(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    (tmp_path / "v.json").write_text(json.dumps(VERDICT))
    (tmp_path / "rec.txt").write_text("data committed 4.1 s, 7 of 9, 95 % in [0.1, 0.9]\nweight 4.1 s\nrows 12\n")
    (tmp_path / "rule.yaml").write_text(RULE)
    (tmp_path / "other.md").write_text("The F1 is 0.99\n")


@pytest.mark.parametrize(
    "text",
    [
        "The F1 is 0.99 <!-- evidence: d.md#The F1 is -->",
        "The F1 is 0.99 <!-- evidence: other.md#The F1 is -->",
        "<!-- evidence: d.md -->\n```text\nThe F1 is 0.99\n```",
    ],
)
def test_a_document_is_no_evidence(ended, text):
    assert ended(text) == 1


def test_a_checked_document_of_any_name_is_no_evidence(ended, tmp_path):
    assert ended("The F1 is 0.99 <!-- evidence: d.txt#The F1 is -->", "d.txt") == 1
    (tmp_path / "linked.txt").hardlink_to(tmp_path / "d.txt")
    assert ended("The F1 is 0.99 <!-- evidence: linked.txt#The F1 is -->", "d.txt") == 1


def test_documents_of_one_call_do_not_bear_each_other_out(ended, tmp_path):
    (tmp_path / "a.txt").write_text("It is 0.99 <!-- evidence: b.txt#It is -->")
    (tmp_path / "b.txt").write_text("It is 0.99\n")
    done = CliRunner().invoke(cli, ["claims", "a.txt", "b.txt"])
    assert getattr(done.exception, "code", None) == 1
    assert "a.txt: 0 anchored, 0 told, 0 without, 1 wrong" in done.output


@pytest.mark.parametrize(
    "text",
    [
        "F1 is 99 % <!-- evidence: r.json#data.lie -->",
        "F1 is 0.99 <!-- evidence: r.json#data.lie.value -->",
        "F1 is 99 % <!-- evidence: r.json#data.none -->",
        "It is 0.99 s <!-- evidence: r.json#data.out -->",
    ],
)
def test_a_datum_that_contradicts_itself_is_no_evidence(ended, text):
    assert ended(text) == 1


@pytest.mark.parametrize(
    ("words", "key", "code"),
    [
        ("no more than 0.5 s", "t", 1),
        ("no more than 1 s", "t", 0),
        ("never above 0.5 s", "t", 1),
        ("never above 1 s", "t", 0),
        ("not below 0.9", "f1", 1),
        ("not below 0.6", "f1", 0),
        ("no less than 0.9", "f1", 1),
        ("not at least 0.6", "f1", 1),
        ("not at least 0.9", "f1", 0),
        ("never at most 0.9", "f1", 1),
        ("isn't above 0.6", "f1", 1),
        ("isn't above 0.9", "f1", 0),
        ("not really above 0.6", "f1", 1),
        ("not really above 0.9", "f1", 1),
        ("higher than 0.9", "f1", 1),
        ("under 0.5 s", "t", 1),
    ],
)
def test_a_denied_comparison_is_the_other_one(ended, words, key, code):
    assert ended(f"It is {words} <!-- evidence: r.json#data.{key} -->") == code


@pytest.mark.parametrize(
    ("words", "relation", "code"),
    [
        ("faster than", "slow > r.json#data.fast", 1),
        ("faster than", "fast < r.json#data.slow", 0),
        ("slower than", "slow > r.json#data.fast", 0),
        ("faster than", "quickly > r.json#data.slowly", 0),
        ("faster than", "slowly < r.json#data.quickly", 1),
        ("better than", "slow > r.json#data.fast", 1),
        ("beats", "quickly > r.json#data.slowly", 0),
        ("worse than", "fast < r.json#data.slow", 1),
        ("better than", "f1 > r.json#data.sixty", 1),
        ("higher than", "f1 > r.json#data.sixty", 0),
    ],
)
def test_which_end_is_the_better_one_depends_on_the_unit(ended, words, relation, code):
    """Of a share nothing says whether more of it is better: an error rate is one as well."""
    assert ended(f"This one is {words} that one <!-- evidence: r.json#data.{relation} -->") == code


@pytest.mark.parametrize(
    ("words", "key", "code"),
    [
        ("0.63 percent", "f1", 1),
        ("63 percent", "f1", 0),
        ("63 per cent", "f1", 0),
        ("0.9 µs", "t", 1),
        ("900000 µs", "t", 0),
        ("0.9 days", "t", 1),
        ("0.9 weeks", "t", 1),
        ("0.9", "t", 1),
        ("900 ms", "t", 0),
        ("5 GB", "raw", 1),
        ("7", "rows", 0),
        ("7 s", "rows", 1),
        ("1e2 %", "sixty", 1),
        ("6e1 %", "sixty", 0),
        ("100 %", "almost", 1),
        ("99.6 %", "almost", 0),
        ("100 %", "all", 0),
        ("0 %", "hardly", 1),
        ("1.0", "almost", 1),
        ("0 s", "t", 1),
        ("1e999999999", "f1", 1),
        ("1e99999999999999999999999", "f1", 1),
    ],
)
def test_a_number_is_compared_in_its_unit_and_by_its_digits(ended, words, key, code):
    assert ended(f"It is {words} <!-- evidence: r.json#data.{key} -->") == code


@pytest.mark.parametrize(
    ("words", "line", "code"),
    [
        ("4.1 s", "committed", 0),
        ("4.1 hours", "committed", 1),
        ("4.1 GB", "committed", 1),
        ("4.1", "committed", 1),
        ("7 of 9", "committed", 0),
        ("9 of 7", "committed", 1),
        ("95 % in [0.1, 0.9]", "committed", 0),
        ("99 % in [0.1, 0.9]", "committed", 1),
        ("[0.9, 0.1]", "committed", 1),
        ("at most 5 s", "weight", 0),
        ("at most 5 ms", "weight", 1),
        ("at most 1 min", "weight", 0),
        ("12", "rows", 0),
        ("12 s", "rows", 1),
    ],
)
def test_a_record_is_read_with_its_units_and_in_its_order(ended, words, line, code):
    assert ended(f"It is {words} <!-- evidence: rec.txt#{line} -->") == code


@pytest.mark.parametrize(
    ("words", "evidence", "code"),
    [
        ("at most 0.1 nat/token", "= rule.yaml#params.threshold", 0),
        ("more than 0.1 nat/token", "= rule.yaml#params.threshold", 0),
        ("0.1 nat/token", "= rule.yaml#params.threshold", 0),
        ("at most 0.10 nat/token", "= rule.yaml#params.threshold", 0),
        ("1 nat/token of 10", "= rule.yaml#params.threshold", 1),
        ("at least 0.1 nat/token", "= rule.yaml#params.threshold", 1),
        ("less than 0.1 nat/token", "= rule.yaml#params.threshold", 1),
        ("at most 38 nat/token", "= rule.yaml#params.threshold", 1),
        ("at most 0.11 nat/token", "= rule.yaml#params.threshold", 1),
        ("at most 0.1 s", "= rule.yaml#params.threshold", 1),
        ("at most 0.1", "= rule.yaml#params.threshold", 1),
        ("at most 38 nat/token", "rule.yaml#params.threshold", 1),
        ("at most 0.1 nat/token", "rule.yaml#params.threshold", 1),
        ("at most 38", "rule.yaml#threshold:", 1),
        ("at most 0.1 nat/token", "= rule.yaml#threshold:", 1),
        ("at most 0.1 nat/token", "= rule.yaml#params.absent", 1),
        ("at least 0.95", "= lock.json#gates.threshold", 0),
        ("at least 0.9", "lock.json#gates.threshold", 1),
        ("at least 19 of 20", "= lock.json#gates.threshold", 0),
        ("below 19 right answers of 20", "= lock.json#gates.threshold", 0),
        ("at least 18 of 20", "= lock.json#gates.threshold", 1),
        ("at least 63 of 100", "r.json#data.f1", 0),
        ("at least 64 of 100", "r.json#data.f1", 1),
        ("more than 63 of 100", "r.json#data.f1", 1),
        ("at least 6 of 10", "r.json#data.f1", 1),
        ("0.6", "= r.json#data.f1", 1),
        ("0.63", "= r.json#data.f1", 0),
    ],
)
def test_what_a_rule_asks_is_quoted_as_it_stands(ended, tmp_path, words, evidence, code):
    """`at most 38` is true of 0.1 as well, and is not what the rule asks."""
    (tmp_path / "lock.json").write_text(json.dumps({"gates": {"threshold": 0.95}}))
    assert ended(f"Gates ask {words} <!-- evidence: {evidence} -->") == code


@pytest.mark.parametrize(
    ("sentence", "relation", "code"),
    [
        ("The teacher is higher than the student", "data.student > #data.teacher", 1),
        ("The student is higher than the teacher", "data.student > #data.teacher", 0),
        ("The teacher is lower than the student", "data.teacher < #data.student", 0),
        ("The student exceeds the teacher", "data.student > #data.teacher", 0),
        ("The teacher surpasses the student", "data.student > #data.teacher", 1),
        ("The student is above the teacher", "data.student > #data.teacher", 0),
        ("The student is below the teacher", "data.student > #data.teacher", 1),
        ("The teacher is higher than the student", "data.f1 > #data.sixty", 1),
        ("The new way is higher than the old way", "data.new > #data.old", 0),
        ("The old way is higher than the new way", "data.new > #data.old", 1),
        ("The new way is higher than before", "data.new > #data.old", 0),
        ("It is higher than that", "data.f1 > #data.sixty", 0),
        ("The student is higher than without the teacher", "data.student > #data.ce_only", 0),
        ("The student is higher than without the teacher", "data.student > #data.teacher", 1),
        ("The teacher knows more. The student is higher than that", "data.student > #data.old", 0),
    ],
)
def test_a_relation_is_of_the_things_that_are_named(ended, tmp_path, sentence, relation, code):
    data = {"student": 0.9, "teacher": 0.8, "ce_only": 0.7, "new": 0.9, "old": 0.5}
    data = {name: {"value": value, "unit": "s", "tag": "measured", "n": 9} for name, value in data.items()}
    report = {**REPORT, "data": REPORT["data"] | data}
    (tmp_path / "r.json").write_text(json.dumps(report))
    assert ended(f"{sentence} <!-- evidence: r.json#{relation} -->.") == code


@pytest.mark.parametrize(
    "text",
    [
        "F1=0.99", "acc=97 %", "accuracy:0.98", "F1>=0.9", "_0.99_", "0.**99**", "0.<!-- x -->99", "&#48;.99", "it is .99",
        "97.5-98.1 %", "97–98 %", "0,97", "97,5 %", "1.234,5 rows", "3x", "$0.99$", "`0.99`", "`97 %`", "![F1 of 0.99](r.json)",
        "In this section 97 % of calls are right.", "In this version 0.97 is reached.", "<p>0.99</p>", "<!--> 0.99 -->",
        "| a |\n| - |\n| 0.99 |", "    0.99", "> 0.99", "```results\n0.99\n```", "7 right answers of 9", "98 PERCENT",
    ],
)  # fmt: skip
def test_every_numeral_that_a_reader_sees_is_a_claim(ended, text):
    assert ended(text + "\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "coremltools==9.0, 2024-12-19, 12:30, 1.2.3, section 7.7, v0.5, 640 x 480, int8, localhost:8000, a/0.5, #1.5",
        "Python 3.8-3.11, ids 1,2,3 and `x=0.5`, [link](r.json#0.5), <https://example.org/0.5>",
    ],
)
def test_names_are_no_claims(ended, text):
    assert ended(text) == 0


@pytest.mark.parametrize(
    ("quoted", "code"),
    [
        ("a 1 s\nb 2 s\nverdict FAIL 3 of 9", 0),
        ("a 1 s\n…\nverdict FAIL 3 of 9", 0),
        ("…\nb 2 s\n…", 0),
        ("a 1 s  # first\n…", 0),
        ("a …\n…", 0),
        ("a 1 s\nb 2 s\nverdict", 1),
        ("a 1 s\nb 2 s", 1),
        ("a 1 s\na 1 s\nb 2 s\nverdict FAIL 3 of 9", 1),
        ("b 2 s\na 1 s\n…", 1),
        ("…\nverdict FAIL 3 of 9\na 1 s\n…", 1),
        ("a 1 s\nverdict FAIL 3 of 9", 1),
        ("b 2 s\nverdict FAIL 3 of 9", 1),
    ],
)
def test_a_transcript_is_whole_lines_in_their_order(ended, tmp_path, quoted, code):
    (tmp_path / "rec.txt").write_text("a 1 s\n\nb 2 s\nverdict FAIL 3 of 9\n")
    assert ended(f"<!-- evidence: rec.txt -->\n```text\n{quoted}\n```\n") == code


def test_what_is_quoted_covers_nothing_else(ended, tmp_path):
    (tmp_path / "rec.txt").write_text("0.9 s\n" * 9)
    assert ended("<!-- evidence: rec.txt -->\n```text\n" + "0.9 s\n" * 9 + "```\n\n99.9 % right.") == 1
    assert ended("0.63 <!-- evidence: r.json#data.f1 -->\n\n" * 9 + "99.9 % right.") == 1


def test_a_path_does_not_lead_out_of_the_project(ended, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "rootlink").symlink_to("/")
    for path in ("rootlink/etc/passwd", "../../../../../../../../../etc/passwd", "/etc/passwd", "absent.json"):
        assert ended(f"See [x]({path}).") == 1, path
    assert ended("See [x](r.json), [y](./r.json#data), [z](#above), [w](https://example.org/absent).") == 0


@pytest.mark.parametrize("unit", ["1 of 2 ", "<!-- evidence: ", "[evidence: ", "0.5 ", "a > 0.5 % ", "[x](r.json) "])
def test_hostile_text_takes_time_in_proportion(unit, tmp_path):
    from kcompiler.claims import check_document, shipped

    def seconds(size: int) -> float:
        begun = time.process_time()
        check_document("d.md", unit * (size // len(unit)), folder=tmp_path, root=tmp_path, policy=shipped())
        return time.process_time() - begun

    def least(size: int) -> float:
        """Of three: who computes beside it only ever adds."""
        return min(seconds(size) for _ in range(3))

    seconds(1_000)
    assert least(32_000) < 0.02 + 8 * max(least(8_000), 0.005)  # sixteen, where it is quadratic


@pytest.mark.parametrize(
    "words",
    [
        "without doubt production-ready",
        "without a doubt production-ready",
        "no doubt production-ready",
        "never before production-ready",
        "not only validated",
        "not slow. Validated",
    ],
)
def test_what_is_beyond_doubt_is_not_denied(ended, words):
    assert ended(f"The model is {words}.") == 1


@pytest.mark.parametrize("words", ["not production-ready", "not yet validated", "no longer production-ready"])
def test_what_is_denied_is_not_claimed(ended, words):
    assert ended(f"The model is {words}.") == 0


def test_a_verdict_over_nothing_verifies_nothing(ended, tmp_path):
    text = "The model is verified <!-- evidence: v.json -->"
    assert ended(text) == 1
    (tmp_path / "v.json").write_text(json.dumps({**VERDICT, "counts": {"pass": 3}}))
    assert ended(text) == 1
    (tmp_path / "v.json").write_text(json.dumps({**VERDICT, "obligations": "sha256:0", "counts": {"pass": 3}}))
    assert ended(text) == 0


@pytest.mark.parametrize(
    "text",
    [
        "<!--\n```python\n-->\nF1 is 0.99 and it is verified. state-of-the-art",
        "```python``` is our language.\n\nF1 is 0.99 and it is verified. state-of-the-art",
        "Write `<!--` first. F1 is 0.99 and it is verified, state-of-the-art. Then `-->`.",
        "Write <!-- first.\n\nF1 is 0.99 and it is verified, state-of-the-art.\n\nThen -->.",
        "A ` stands here.\n\nF1 is 0.99 and it is verified, state-of-the-art.\n\nAnother ` there.",
    ],
)
def test_what_a_reader_sees_is_looked_at(ended, text):
    assert ended(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "<!-- a remark\n\nF1 is 0.99, state-of-the-art -->\n",
        "```python\nx = 0.99\n```\n",
        "- a list\n\n  ```python\n  x = 0.99\n  ```\n",
        "`<!-- evidence: r.json#data.f1 -->` is how evidence is named",
    ],
)
def test_what_no_reader_takes_for_a_claim_is_none(ended, text):
    assert ended(text) == 0


def test_answers_are_answers_by_any_case_of_their_name_and_end_with_a_line_feed(ended):
    false, true = ({"output": f"\u2028It is {number}.0", "evidence": {"w": 21}} for number in (99, 21))
    assert ended(json.dumps(false), "f.JSONL") == 1
    assert ended(json.dumps(true, ensure_ascii=False) + "\r\n", "f.JSONL") == 0
    assert ended("\n", "empty.jsonl") == 3


@pytest.mark.parametrize(
    ("output", "evidence", "code"),
    [
        ("It is `99` degrees.", {"t": 21}, 1),
        ("It is `21` degrees.", {"t": 21}, 0),
        ("x=98", {"t": 21}, 1),
        ("It is 97,5 C.", {"t": 21}, 1),
        ("It is 97,5 C.", {"t": 97.5}, 0),
        ("```python\nprint(77)\n```", {"t": 21}, 1),
        ("The first is higher than the second.", {"t": 21}, 1),
        ("It was verified.", {"t": 21}, 1),
        ("It takes 3 hours.", {"minutes": 3}, 1),
        ("It takes 3 hours.", {"minutes": 180}, 0),
        ("It takes 3 hours.", {"time_ms": 3}, 1),
        ("It takes 3 minutes.", {"minutes": 3}, 0),
        ("It takes 3.", {"minutes": 3}, 0),
        ("It takes 3 hours.", {"min": 3}, 0),
        ("It is 21 degrees.", {"t": "21 C"}, 0),
        ("It is 22 degrees.", {"t": "21 C"}, 1),
        ("It takes 3 hours.", {"t": "3 minutes"}, 1),
        ("On May 6, 2024.", {"day": "2024-05-06"}, 0),
        ("On May 7, 2024.", {"day": "2024-05-06"}, 1),
    ],
)
def test_an_answer_says_nothing_besides_what_its_tools_gave(ended, output, evidence, code):
    assert ended(json.dumps({"output": output, "evidence": {"w": evidence}}), "a.jsonl") == code


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("It is twice as fast.", 1),
        ("It is three times better.", 1),
        ("Half of all rows are right.", 1),
        ("All gates pass.", 1),
        ("There are zero errors.", 1),
        ("It has no failures.", 1),
        ("Not all gates pass.", 0),
        ("It runs twice, three times a day, with half of it.", 0),
        ("It is twice as large <!-- evidence: r.json#data.two -->", 0),
        ("It is three times as large <!-- evidence: r.json#data.two -->", 1),
    ],
)
def test_words_claim_as_numerals_do(ended, tmp_path, words, code):
    two = {"value": 2.0, "unit": "1", "tag": "measured", "n": 9}
    (tmp_path / "r.json").write_text(json.dumps({**REPORT, "data": {"two": two}}))
    assert ended(words) == code


@pytest.mark.parametrize(
    "text",
    [
        "7 million rows <!-- evidence: r.json#data.rows -->",
        "7 dozen rows <!-- evidence: r.json#data.rows -->",
        "F1 is not 0.63 <!-- evidence: r.json#data.f1 -->",
        "F1 is minus 0.63 <!-- evidence: r.json#data.f1 -->",
        "F1 is twice 0.63 <!-- evidence: r.json#data.f1 -->",
        "F1 rose by 0.63 <!-- evidence: r.json#data.f1 -->",
        "F1 is 63 % less <!-- evidence: r.json#data.f1 -->",
        "not 63 of 100 <!-- evidence: r.json#data.f1 -->",
        "rows 12 million <!-- evidence: rec.txt#rows 12 -->",
    ],
)
def test_a_word_that_makes_it_another_number_is_no_decoration(ended, text):
    assert ended(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "7 rows, a million words <!-- evidence: r.json#data.rows -->",
        "F1 is 0.63, not less <!-- evidence: r.json#data.f1 -->",
        "It is 0.03 less <!-- evidence: r.json#data.gain -->",
        "It rose by 0.03 <!-- evidence: r.json#data.gain -->",
    ],
)
def test_the_same_words_where_they_say_nothing_of_the_number_or_a_difference_stands_there(ended, text):
    assert ended(text) == 0


@pytest.mark.parametrize(
    "text",
    [
        "99 out of every 100 were right",
        "F1 of 99 in 100",
        "F1 = 0\u00b799",
        "F1 = \u0660\u066b\u0669\u0669",
        "F1 = \uff10\uff0e\uff19\uff19",
        "F1 = 0 . 99",
        "It matches the teacher",
        "It is as good as its teacher",
        "It outranks the teacher",
        "It halves the error",
        "Every item is right",
        "It never fails",
    ],
)
def test_a_share_a_decimal_and_a_relation_in_another_dress_are_claims(ended, text):
    assert ended(text) == 1


@pytest.mark.parametrize("text", ["chapter 3 in 4 parts", "it holds 2\u00b73 = 6", "In 2024 . 12 people came"])
def test_what_only_looks_like_one_is_none(ended, text):
    assert ended(text) == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("error rate 0.63 <!-- evidence: r.json#data.f1 -->", 1),
        ("The error rate is 63 % <!-- evidence: r.json#data.f1 -->", 1),
        ("It has a recall of 0.63 <!-- evidence: r.json#data.f1 -->", 1),
        ("63 % precision <!-- evidence: r.json#data.f1 -->", 1),
        ("F1 0.63 <!-- evidence: r.json#data.f1 -->", 0),
        ("F1 and recall are 0.63 <!-- evidence: r.json#data.f1 -->", 0),
        ("An error rate is no F1. It is 0.63 <!-- evidence: r.json#data.f1 -->", 0),
        # a key that names no quantity may be of any
        ("The accuracy is 0.6 <!-- evidence: r.json#data.sixty -->", 0),
    ],
)
def test_the_quantity_that_is_named_is_the_one_of_the_evidence(ended, text, code):
    assert ended(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("n = 5000, F1 0.63 <!-- evidence: r.json#data.f1 -->", 1),
        ("F1 (N=5,000) is 0.63 <!-- evidence: r.json#data.f1 -->", 1),
        ("Over 5000 held-out rows the F1 is 0.63 <!-- evidence: r.json#data.f1 -->", 1),
        ("F1 is 0.63 <!-- evidence: r.json#data.f1 --> (n = 5000)", 1),
        ("At n = 13, rows are 12 <!-- evidence: rec.txt#rows -->", 1),
        ("n = 100, F1 0.63 <!-- evidence: r.json#data.f1 -->", 0),
        ("Over 100 rows the F1 is 0.63 <!-- evidence: r.json#data.f1 -->", 0),
        ("It learnt from n = 5000. Its F1 is 0.63 <!-- evidence: r.json#data.f1 -->", 0),
        # with evidence of its own it is of something else
        ("On 7 <!-- evidence: r.json#data.rows --> rows the F1 is 0.63 <!-- evidence: r.json#data.f1 -->", 0),
        ("On 7 rows <!-- evidence: r.json#data.rows --> the F1 is 0.63 <!-- evidence: r.json#data.f1 -->", 0),
    ],
)
def test_the_number_of_items_is_that_of_the_evidence(ended, text, code):
    assert ended(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "F1 is 99",
        "The F1 score reaches 99.",
        "F1=99",
        "Accuracy: **99**",
        "accuracy at 99 on all rows",
        "```mermaid\ngraph TD\n  A[F1 0.99] --> B\n```",
        '```mermaid\npie\n  "F1" : 99\n```',
        '<p title="F1 0.99">It is good.</p>',
        'It is <abbr title="F1 0.99">good</abbr>.',
        '<img src="r.json" alt="F1 0.99">',
        "<img src='r.json' alt='F1 of 99 %'>",
        "It is <img src=r.json alt=0.99> good.",
        '<div aria-label="it is production-ready">x</div>',
        '[It](r.json "F1 0.99") is good.',
        '![It](r.json "F1 0.99") is good.',
        "It matches the original",
        "It is on par with the teacher",
        "It is as good as the teacher",
    ],
)
def test_what_is_drawn_shown_over_something_or_whole_is_a_claim(ended, text):
    assert ended(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "We recall 3 rows, and an accuracy of 2 digits",
        '<img src="r.json" alt="a drawing" width="0.99">',
        '<!-- <p title="F1 0.99"> -->',
        '[It](r.json "a report") is good.',
        '<p title="F1 0.63">It <!-- evidence: r.json#data.f1 --></p>',
    ],
)
def test_what_is_neither_drawn_nor_said_of_a_quantity_is_none(ended, text):
    assert ended(text) == 0
