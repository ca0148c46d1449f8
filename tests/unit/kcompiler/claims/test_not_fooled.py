"""False sentences beside evidence that does not bear them out, and the true sentence next to each."""

import json

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
        "raw": 5000000000,
        "rows": 7,
    },
}
VERDICT = {"verdict": "PASS", "exit_code": 0, "obligations": [], "counts": {"pass": 0}}
RULE = 'id: x\nparams:\n  op: "<="\n  threshold: "0.1"\n  unit: nat/token\n'


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """The exit code of `kcompiler claims` for a document of this text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    (tmp_path / "v.json").write_text(json.dumps(VERDICT))
    (tmp_path / "rec.txt").write_text("data committed 4.1 s, 7 of 9, 95 % in [0.1, 0.9]\nweight 4.1 s\nrows 12\n")
    (tmp_path / "rule.yaml").write_text(RULE)
    (tmp_path / "other.md").write_text("The F1 is 0.99\n")

    def run(text: str, name: str = "d.md") -> int:
        (tmp_path / name).write_text(text)
        done = CliRunner().invoke(cli, ["claims", name])
        assert "itself failed" not in done.output
        return getattr(done.exception, "code", done.exit_code)

    return run


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
    assert ended(f"The student is {words} the teacher <!-- evidence: r.json#data.{relation} -->") == code


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


def test_the_threshold_of_a_rule_is_read_with_its_unit(ended):
    assert ended("at most 0.1 nat/token <!-- evidence: rule.yaml#params.threshold -->") == 0
    assert ended("at most 0.1 s <!-- evidence: rule.yaml#params.threshold -->") == 1
    assert ended("at most 0.1 nat/token <!-- evidence: rule.yaml#params.absent -->") == 1


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
