"""A term that depends on what rows say of themselves is refused unless a row that is trained on says all of it."""

import importlib.util
import json
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("checks_laboratory", Path(__file__).with_name("laboratory.py"))
laboratory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laboratory)

CALL = 'so: {"name": "f", "args": {"x": 1}}'
CALLED = {"spans": {"call": [[4, 35]], "tool_name": [[14, 15]], "json_args": [[25, 33]]}}
RIGHT = {"calls": [{"name": "f", "args": {"x": [1]}}]}
FACT = {"integration": [[0, 9]], "fact": [[6, 9]]}
#: a loss → what a row must have, as fields of the file, and what is told where one of them is not there
NEEDS = {
    "length": (
        {"wanted": {"required": ["km"], "reference_bytes": 4}},
        ["`wanted.reference_bytes`", "`wanted.required`"],
    ),
    "early_tool": ({"response": CALL, **CALLED, "wanted": RIGHT}, ["`wanted.calls`", "spans `call`"]),
    "code_mode": ({"wanted": {"code_mode": True}, "rejected": "direct"}, ["`wanted.code_mode`"]),
    "integration": ({"response": "It is 9km off", "spans": FACT}, ["spans `fact`"]),
    "self_eval": ({"wanted": {"right": True}}, ["`wanted.right`"]),
}


def written(folder, name, *rows):
    """Rows of a file: all of them pairs where one is."""
    lines, paired = [], any("rejected" in one for one in rows)
    for number, one in enumerate(rows):
        made = {"prompt": f"{name} {number}?", "response": f"answer {number}", **one}
        if paired:
            chosen = made.pop("response")
            made = {"rejected": "direct", **made, "chosen": chosen}
        lines.append(json.dumps(made) + "\n")
    (folder / name).write_text("".join(lines))


def spec(loss, *splits):
    def change(data):
        data["evaluation"] = {"suites": [{"use": "language_model"}], "baselines": ["ce_only"]}
        data["data"]["sources"] = [
            {"name": f"s{n}", "kind": "jsonl", "path": path, "split": split, "license": "MIT"}
            for n, (path, split) in enumerate(splits)
        ]
        mask = ["integration"] if loss == "integration" else []
        data["data"]["targets"] = ["response", *mask]
        data["training"]["stages"][0]["losses"] = [{"term": "ce_truth", "weight": 0.9}, {"term": loss, "weight": 0.1}]

    return change


def found(folder, *given):
    return [one for one in laboratory.compiled(folder, spec(*given)).diagnostics if one.code in ("KC4270", "KC4204")]


@pytest.mark.parametrize("loss", NEEDS)
def test_one_row_that_has_all_is_enough(tmp_path, loss):
    written(tmp_path, "a.jsonl", {}, NEEDS[loss][0])
    assert found(tmp_path, loss, ("a.jsonl", "train")) == []


@pytest.mark.parametrize("loss", NEEDS)
def test_without_any_the_term_is_refused_with_what_is_lacking(tmp_path, loss):
    whole, lacking = NEEDS[loss]
    written(tmp_path, "a.jsonl", {}, {})
    written(tmp_path, "b.jsonl", whole)
    (one,) = found(tmp_path, loss, ("a.jsonl", "train"), ("b.jsonl", "test"))
    assert one.code == "KC4270"
    assert all(part in one.help for part in lacking), one.help
    assert f"loss `{loss}`" in one.summary


@pytest.mark.parametrize("loss", ["length", "early_tool"])
def test_half_of_it_in_each_of_two_rows_is_no_row_that_has_it(tmp_path, loss):
    halves = {
        "length": [{"wanted": {"required": ["km"]}}, {"wanted": {"reference_bytes": 4}}],
        "early_tool": [{"response": CALL, **CALLED}, {"response": CALL, "wanted": RIGHT}],
    }[loss]
    written(tmp_path, "a.jsonl", *halves)
    (one,) = found(tmp_path, loss, ("a.jsonl", "train"))
    assert sum(part in one.help for part in NEEDS[loss][1]) == 1
    written(tmp_path, "a.jsonl", NEEDS[loss][0])
    assert found(tmp_path, loss, ("a.jsonl", "train")) == []


def test_code_needs_both_answers(tmp_path):
    """Two files: what may be answered in code has one answer, and the pairs may not."""
    written(tmp_path, "a.jsonl", {"wanted": {"code_mode": True}})
    written(tmp_path, "b.jsonl", {"rejected": "direct"})
    (one,) = found(tmp_path, "code_mode", ("a.jsonl", "train"), ("b.jsonl", "train"))
    assert "a pair of answers" in one.help or "`wanted.code_mode`" in one.help


def test_what_a_generator_makes_says_nothing_of_itself(tmp_path):
    def change(data):
        spec("length")(data)
        data["data"]["sources"] = [
            {"name": "g", "kind": "generator", "generator": "word_sums", "params": {"rows": 40}, "license": "MIT"}
        ]

    codes = [one.code for one in laboratory.compiled(tmp_path, change).diagnostics]
    assert codes.count("KC4270") == 1
