"""What is a claim and what is none, and which claim an anchor bears out."""

import json
from decimal import Decimal

import pytest
from click.testing import CliRunner

from kcompiler.claims import check_answers, check_document, shipped
from kcompiler.claims.extract import document
from kcompiler.cli import cli

REPORT = {
    "environment": {"forged": False, "backend": "python"},
    "data": {
        "f1": {"value": 0.628, "unit": "ratio", "tag": "measured", "k": 314, "n": 500},
        "old": {"value": 0.5, "unit": "ratio", "tag": "measured", "k": 250, "n": 500},
        "guess": {"value": 0.7, "unit": "ratio", "tag": "estimated"},
    },
}
VERDICT = {"verdict": "PASS", "exit_code": 0, "obligations": "sha256:0", "counts": {"pass": 73}}


@pytest.fixture
def judged(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    (tmp_path / "forged.json").write_text(json.dumps({**REPORT, "environment": {"forged": True}}))
    (tmp_path / "v.json").write_text(json.dumps(VERDICT))
    (tmp_path / "failed.json").write_text(json.dumps({**VERDICT, "verdict": "FAIL", "exit_code": 1}))
    (tmp_path / "log.txt").write_text("all 73 pass\nwall 3.2 s\n")

    def check(text: str):
        return check_document("d.md", text, folder=tmp_path, root=tmp_path, policy=shipped())

    return check


def kinds(text: str) -> list[str]:
    counted = set(shipped().required)
    return [claim.kind for block in document(text, shipped()).blocks for claim in block.claims if claim.kind in counted]


@pytest.mark.parametrize(
    "text",
    [
        "Python 3.11 or newer, coremltools==9.0, v1.2.3, RFC 4180, 2026-01-31, section 7.7",
        "twelve rows, 20 answers, KC2104, int8, #17",
        "`x = 0.63` and ``sleep 3 s``",
        "[see](https://example.org/0.63/5 s) https://example.org/a?b=0.5",
        "<!-- 0.63 in a remark -->",
        "```sh\nsleep 3.5 s\n```",
    ],
)
def test_names_versions_dates_code_and_links_are_no_claims(text):
    assert kinds(text) == []


def test_every_kind_is_told_from_the_others():
    text = "0.63, 5 s, 3 of 4, 95 % in [0.1, 0.2], at least 0.9, more often than that, 7 rows"
    assert kinds(text) == ["decimal", "number", "share", "interval", "comparison", "relation"]
    assert kinds("```text\nF1 0.63\n```") == ["decimal"]


def test_an_anchor_bears_out_what_stands_before_it_and_nothing_else(judged):
    assert judged("0.63 <!-- evidence: r.json#data.f1 --> and 0.70 <!-- evidence: r.json#data.guess -->").anchored == 2
    assert judged("0.63 and 0.70 <!-- evidence: r.json#data.f1; #data.guess -->").anchored == 2
    assert judged("0.63 and 0.5 <!-- evidence: r.json#data.f1 -->").wrong == 1
    assert judged("| a | b |\n| - | - |\n| 0.63 | x <!-- evidence: r.json#data.f1 --> |").bare == 1


def test_a_relation_is_evaluated(judged):
    assert judged("higher than before [evidence: r.json#data.f1 > #data.old]").anchored == 1
    assert judged("lower than before [evidence: r.json#data.old < r.json#data.f1]").anchored == 1
    for wrong in ("r.json#data.old > #data.f1", "r.json#data.f1 < #data.old", "r.json#data.old < #data.f1"):
        found = judged(f"higher than before [evidence: {wrong}]")
        assert [one.code for one in found.diagnostics] == ["KC5607"], wrong
        assert found.wrong == 1


@pytest.mark.parametrize(
    ("words", "evidence", "code"),
    [
        ("is verified", "v.json", ""),
        ("is verified", "failed.json", "KC5606"),
        ("is verified", "r.json#data.f1", "KC5606"),
        ("was measured at", "r.json#data.f1", ""),
        ("was measured at", "r.json#data.guess", "KC5606"),
        ("was measured at", "forged.json#data.f1", "KC5606"),
        ("is estimated at", "r.json#data.guess", ""),
        ("tested", "log.txt", ""),
        ("tested", "failed.json", "KC5606"),
        ("implemented", "r.json", ""),
        ("production ready", "v.json", "KC5606"),
    ],
)
def test_a_status_does_not_stand_above_its_evidence(judged, words, evidence, code):
    found = judged(f"It {words} here <!-- evidence: {evidence} -->")
    assert [one.code for one in found.diagnostics] == ([code] if code else [])


def test_the_coverage_counts_what_is_told_and_what_is_wrong(judged):
    # what is said once more of the same evidence is no further claim that has some
    good = ("0.63", "0.628", "0.6", "62.8 %", "63 %", "314 of 500", "more than 0.5", "less than 0.7")
    good = [f"{text} <!-- evidence: r.json#data.f1 -->\n\n" for text in good]
    many, fewer = "".join(good[:7]), "".join(good[:6])
    told = "0.63 <!-- evidence: none, by hand -->\n\n"
    off = "0.64 <!-- evidence: r.json#data.f1 -->\n\n"
    assert judged(many + told * 3).diagnostics == ()
    assert [one.code for one in judged(fewer + told * 3).diagnostics] == ["KC5612"]
    assert judged(fewer + told * 3 + off).coverage == judged(fewer + told * 4).coverage
    assert {one.severity for one in judged(many + "0.6\n\n" * 3).diagnostics} == {"warning"}
    assert {one.severity for one in judged(fewer + "0.6\n\n" * 3).diagnostics} == {"error"}
    assert judged(good[0] * 7).coverage == 1
    assert judged(good[0] * 7 + told).coverage < Decimal("0.6")


def test_a_recorded_line_bears_out_its_numbers(judged):
    assert judged("it took 3.2 s <!-- evidence: log.txt#wall -->").anchored == 1
    assert judged("it took 3.3 s <!-- evidence: log.txt#wall -->").wrong == 1
    assert judged("less than 4 s <!-- evidence: log.txt#wall -->").anchored == 1
    assert judged("less than 3 s <!-- evidence: log.txt#wall -->").wrong == 1
    assert judged("it took 3.2 s <!-- evidence: log.txt#a -->").diagnostics[0].code == "KC5602"


def test_an_answer_with_an_anchor_is_compared_with_that_tool_alone():
    row = {"output": "21.5 [evidence: weather#t] and 3", "evidence": {"weather": {"t": 21.5}, "other": [3]}}
    assert check_answers("a.jsonl", json.dumps(row), policy=shipped()).anchored == 2
    row["output"] = "3 [evidence: weather#t]"
    assert [one.code for one in check_answers("a.jsonl", json.dumps(row), policy=shipped()).diagnostics] == ["KC5603"]
    row["output"] = "3 [evidence: absent#t]"
    assert [one.code for one in check_answers("a.jsonl", json.dumps(row), policy=shipped()).diagnostics] == ["KC5602"]


@pytest.mark.parametrize("line", ['{"output": 3}', "[]", '{"output": "a", "evidence": []}', '{"output": NaN}', "{"])
def test_a_line_that_is_no_answer_is_named(line):
    found = check_answers("a.jsonl", line, policy=shipped())
    assert [(one.code, one.line) for one in found.diagnostics] == [("KC5611", 1)]


def run(tmp_path, monkeypatch, *arguments):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["claims", *arguments])
    return getattr(done.exception, "code", done.exit_code), done.output


def test_the_verb_ends_as_the_others_do(tmp_path, monkeypatch):
    (tmp_path / "good.md").write_text("Nothing is claimed.\n")
    (tmp_path / "bad.md").write_text("It takes 3 s.\n")
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe")
    (tmp_path / "policy.yaml").write_text("coverage_minimum: 2\n")
    assert run(tmp_path, monkeypatch, "good.md")[0] == 0
    assert run(tmp_path, monkeypatch, "good.md", "bad.md")[0] == 1
    assert run(tmp_path, monkeypatch, "absent.md")[0] == 2
    assert run(tmp_path, monkeypatch, "binary.md")[0] == 2
    code, text = run(tmp_path, monkeypatch, "good.md", "--policy", "policy.yaml")
    assert (code, "policy.yaml" in text) == (2, True)
    code, text = run(tmp_path, monkeypatch, "bad.md", "--format", "json")
    first, last = (json.loads(line) for line in text.splitlines()[:2])
    assert (first["code"], first["line"], first["column"]) == ("KC5604", 1, 10)
    assert last == {"file": "bad.md", "coverage": "0.0000", "anchored": 0, "told": 0, "without": 1, "wrong": 0}


@pytest.mark.parametrize(
    "text",
    [
        "Perfect accuracy.",
        "Every message is routed rightly.",
        "It never makes a mistake.",
        "Zero hallucinations.",
        "GDPR compliant and certified.",
        "It is certified.",
    ],
)
def test_an_absolute_without_evidence_is_found(judged, text):
    assert {one.code for one in judged(text).diagnostics} <= {"KC5604", "KC5605", "KC5606"}
    assert judged(text).diagnostics


@pytest.mark.parametrize("unit", ["token/s", "tok/s", "tokens/s", "tokens/sec", "tokens per second", "tokens a second"])
def test_a_rate_of_tokens_is_read_in_every_way_that_it_is_written(tmp_path, unit):
    datum = {"value": 613, "unit": "token/s", "tag": "measured"}
    (tmp_path / "speed.json").write_text(json.dumps({**REPORT, "data": {"decode": datum}}))
    for number, codes in ((613, []), (614, ["KC5603"])):
        text = f"It writes {number} {unit} <!-- evidence: speed.json#data.decode -->."
        found = check_document("d.md", text, folder=tmp_path, root=tmp_path, policy=shipped())
        assert [one.code for one in found.diagnostics] == codes


@pytest.mark.parametrize(
    "text", ["A gate never passes on nothing.", "No error is thrown away.", "An answer may be perfect or not."]
)
def test_honest_prose_with_never_and_no_is_no_claim(judged, text):
    assert judged(text).diagnostics == ()
