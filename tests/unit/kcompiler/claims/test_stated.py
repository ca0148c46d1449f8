"""How a number was had, how sure it is, and signs right before it: false sentences, and the true one beside each."""

import json
import re
from pathlib import Path

import pytest

from kcompiler.claims import shipped

ROOT = Path(__file__).resolve().parents[4]
GAIN = {"unit": "item/item", "tag": "measured", "n": 1000, "interval": "paired Wald", "confidence": 0.95}
TEST = {"unit": "probability", "tag": "measured", "n": 1000, "test": "exact McNemar", "alpha": 0.05}
REPORT = {
    "environment": {"forged": False},
    "data": {
        "f1": {"value": 0.61, "unit": "ratio", "tag": "measured", "n": 1000, "k": 610, "low": 0.58, "high": 0.64},
        "lost": {"value": 0.4, "unit": "ratio", "tag": "measured", "n": 1000, "k": 400, "low": 0.37, "high": 0.43},
        "near": {"value": 0.6, "unit": "ratio", "tag": "measured", "n": 1000, "k": 600, "low": 0.57, "high": 0.63},
        "unsure": {"value": 0.02, "low": -0.01, "high": 0.05, **GAIN},
        "sure": {"value": 0.02, "low": 0.01, "high": 0.03, **GAIN},
        "p": {"value": 0.03, "adjusted": 0.03, "significant": True, **TEST},
        "p_no": {"value": 0.3, "adjusted": 0.3, "significant": False, **TEST},
        "est": {"value": 12.5, "unit": "USD", "tag": "estimated", "assumption": "x"},
        "slow": {"value": 20.0, "unit": "s", "tag": "estimated", "assumption": "x"},
        "wall": {"value": 12.5, "unit": "s", "tag": "measured", "n": 3},
        "size": {"value": 1170000, "unit": "byte", "tag": "measured"},
        "sure_of": {"value": 0.25, "unit": "probability", "tag": "measured"},
    },
}


@pytest.fixture(autouse=True)
def report(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    (tmp_path / "rec.txt").write_text("gain 0.02, significant\nloss 0.03, not significant\n")


def at(text):
    """`{key}` is an anchor of that datum."""
    return re.sub(r"\{([^{}]+)\}", r"<!-- evidence: r.json#data.\1 -->", text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("~99% of calls valid", 1),
        ("F1 ~0.99", 1),
        ("| ~99 % | valid |\n|--|--|\n| ≈ 0.9 | b |", 1),
        ("F1 is ~0.61 {f1}", 0),
        ("F1 is ~60 % {f1}", 0),
        ("F1 is ~0.65 {f1}", 1),
        ("F1 is ≈0.61 {f1}", 0),
        ("accuracy,0.99 and more", 1),
        ("Valid calls--99 %", 1),
        ("F1==0.99", 1),
        ("Calls valid: #99 %, @98 %", 1),
        ("F1...0.99", 1),
        ("See #12, a/0.5, @0.5, name==9.0, name~=1.5, ids 1,2,3, km^2, top-5, GPT-4, a 9B model and 1.2.3", 0),
    ],
)
def test_a_sign_before_a_number_hides_it_only_where_it_makes_a_name(ended, text, code):
    assert ended(at(text)) == code


@pytest.mark.parametrize(
    ("output", "given", "code"),
    [
        ("It is ~90 degrees.", 12, 1),
        ("It is ~12 degrees.", 12.3, 0),
        ("It is ~90 degrees.", 91.4, 0),
        ("It is #4000, @4000 or /4000", 12, 1),
        ("The balance is in section 4000.", 12, 1),
        ("It is in section 40 of version 3.11.", "section 40, version 3.11", 0),
        ("Your order is #4000.", 4000, 0),
        ("Your order is #4000.", "#4000", 0),
        ("It has 100 km^2.", 100, 0),
        ("The part is ORD-4000.", "ORD-4000", 0),
    ],
)
def test_no_sign_hides_a_number_of_an_answer(ended, output, given, code):
    assert ended(json.dumps({"output": output, "evidence": {"w": {"t": given}}}), "a.jsonl") == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("We measured 12.5 USD {est}", 1),
        ("It costs 12.5 USD, measured {est}", 1),
        ("Measured: 12.5 USD {est}", 1),
        ("It costs 12.5 USD (measured) {est}", 1),
        ("It costs 12.5 USD {est}", 1),
        ("It is not estimated, 12.5 USD {est}", 1),
        ("It was timed: at most 30 s {slow}", 1),
        ("An estimate stands above. It costs 12.5 USD {est}", 1),
        ("This is slower than that, as measured <!-- evidence: r.json#data.slow > #data.wall -->", 1),
        ("This is slower than that, as estimated <!-- evidence: r.json#data.slow > #data.wall -->", 0),
        ("| measured |\n|---|\n| 12.5 USD {est} |", 1),
        ("| estimated |\n|---|\n| 12.5 USD {est} |", 0),
        ("It costs an estimated 12.5 USD {est}", 0),
        ("It costs 12.5 USD by estimate, not measured {est}", 0),
        ("Measured were 12.5 s {wall}, and estimated 20 s {slow}", 0),
        ("It was measured at 12.5 USD {est}", 1),
        ("It was measured at 12.5 s {wall}", 0),
        ("It is estimated at 12.5 USD {est}", 0),
        ("An estimate: at most 30 s {slow}", 0),
        ("We measured 12.5 s {wall}", 0),
    ],
)
def test_an_estimate_is_called_one_and_never_measured(ended, text, code):
    assert ended(at(text)) == code, ended.output


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("A statistically significant gain of 0.02 {unsure}", 1),
        ("The gain is 0.02, which is significant {unsure}", 1),
        ("It is significantly better: 0.02 {unsure}", 1),
        ("It is statistically better: 0.02 {unsure}", 1),
        ("A significant F1 of 0.61 {f1}", 1),
        ("The gain is statistically significant.", 1),
        ("It is significantly faster.", 1),
        ("It has a couple of significant changes.", 0),
        ("The gain of 0.02 {sure} is not significant.", 1),
        ("No significant loss: F1 0.61 {f1}", 1),
        ("The gain is significant, p = 0.3 {p_no}", 1),
        ("The gain is 0.02 {sure}, p < 0.05 {sure}", 1),
        ("This is significantly higher than that <!-- evidence: r.json#data.f1 > #data.near -->", 1),
        ("This is significantly higher than that <!-- evidence: r.json#data.f1 > #data.lost -->", 0),
        ("A statistically significant gain of 0.02 {sure}", 0),
        ("The gain of 0.02 {sure} is significant.", 0),
        ("The gain of 0.02 {unsure} is not significant.", 0),
        ("The gain is significant, p = 0.03 {p}", 0),
        ("The gain is 0.02 {sure}, p < 0.05 {p}", 0),
        ("A significant gain of 0.02 <!-- evidence: rec.txt#gain -->", 0),
        ("A significant loss of 0.03 <!-- evidence: rec.txt#loss -->", 1),
        ("Four significant digits, the least significant bit; it says when a gain is significant.", 0),
    ],
)
def test_what_is_significant_is_so_by_a_test_or_an_interval(ended, text, code):
    assert ended(at(text)) == code, ended.output


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("It is 1.17 MB {size}", 0),
        ("It is 1,170,000 bytes {size}", 0),
        ("It is 1.17 GB {size}", 1),
        ("It is 1.17 {size}", 1),
        ("It is 25 % {sure_of}", 0),
        ("It is 25 s {sure_of}", 1),
    ],
)
def test_a_size_in_bytes_and_a_probability_have_units(ended, text, code):
    assert ended(at(text)) == code, ended.output


#: what is counted, or named by its own word, needs no unit behind its number
COUNTED = {
    "USD", "USD/h", "answer", "bin", "bool", "call", "channel", "constant", "cosine", "count", "element", "fact", "file", "finding", "function", "id", "item", "layer", "left", "level", "line", "logit", "node",
    "operation", "operator", "place", "question", "repetition", "request", "row", "shard", "step", "tensor", "test", "thread", "token", "tool", "value", "vector",
}  # fmt: skip


def test_every_unit_that_a_report_is_written_in_is_known_or_counts():
    pattern = re.compile(r"\b(?:measured|estimated)\(\s*[^\"\n]*?, \"([^\"\s]+)\"")
    found = {unit for path in (ROOT / "runtime").rglob("*.py") for unit in pattern.findall(path.read_text())}
    assert {"B", "byte", "nat/token"} <= found
    assert sorted(found - shipped().data_units.keys() - COUNTED) == []
