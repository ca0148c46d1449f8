"""`kcompiler quantize`: what fewer bits cost the student of a spec, and a recipe to paste that keeps a budget."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from tests.flow import world
from tests.flow.world import Home, Result
from tests.longer import longer

SPEC = f"specs/{world.NAME}.yaml"
QUICK = ("--rows", "2", "--tokens", "40", "--form", "int8", "--form", "int4-32")


def test_the_profile_is_measured_on_the_student_that_is_there(done: Home) -> None:
    found = done.run("quantize", SPEC, *QUICK, "--format", "json").ended(0, "")
    data = json.loads(found.out)
    assert (data["split"], data["rows"], data["suggested"], data["refused"]) == ("train", 2, None, "")
    assert {row["group"] for row in data["profile"]} >= {"embed_tokens", "q_proj", "down_proj"}
    for row in data["profile"]:
        assert [one["form"] for one in row["forms"]] == ["int8", "int4-32"]
        assert row["bytes"] > row["forms"][0]["bytes"] > row["forms"][1]["bytes"] > 0
        assert 0 < row["forms"][0]["kl"] < row["forms"][1]["kl"]
    matrices = sum(row["bytes"] for row in data["profile"])
    # vectors on top
    assert data["current"]["bytes"] < matrices < data["float16"]["bytes"] < 1.01 * matrices
    assert "train-kd: reused" in found.err
    text = done.run("quantize", SPEC, *QUICK).ended(0, "").out
    assert re.search(r"^down_proj +\d+ +[\d,]+ +\d\.\d\de-\d\d -\d\d% +\d\.\d\de-\d\d -\d\d%$", text, re.M), text
    assert "suggested" not in text


def pasted(home: Home, section: str) -> None:
    """The spec with this section in the place of its own, as a person would paste it."""
    home.change(lambda data: data.pop("quantization"))
    home.spec.write_text(home.spec.read_text(encoding="utf-8") + section, encoding="utf-8")


def test_a_suggestion_is_pasted_validates_and_is_then_the_recipe_of_the_spec(done: Home) -> None:
    before = json.loads(done.run("quantize", SPEC, *QUICK, "--format", "json").ended(0, "").out)
    most = (before["least_bytes"] + before["current"]["bytes"]) // 2
    command = ("quantize", SPEC, *QUICK, "--suggest", "--max-bytes", str(most))
    one = json.loads(done.run(*command, "--format", "json").ended(0, "").out)["suggested"]
    assert before["least_bytes"] <= one["bytes"] <= most
    text = done.run(*command).ended(0, "").out
    section = text[text.index("\nquantization:") + 1 :]
    assert section == one["text"]
    pasted(done, section)
    done.run("validate", SPEC).ended(0, "")
    after = json.loads(done.run("quantize", SPEC, *QUICK, "--format", "json").ended(0, "").out)
    # what was said of it is what the spec's own recipe now takes and costs
    assert (after["current"]["bytes"], after["current"]["kl"]) == (one["bytes"], one["kl"])


@longer
def test_where_nothing_keeps_the_budget_the_next_command_says_what_would(done: Home) -> None:
    asked = ("quantize", SPEC, *QUICK, "--suggest", "--max-bytes", "1000")
    refused = done.run(*asked).ended(1, "no-recipe")
    assert re.search(r"^these forms take at least [\d,]+ bytes, more than 1,000$", refused.err, re.M), refused.text
    assert "quantization:" not in refused.out
    least = re.search(r"--max-bytes (\d+)", refused.last["next"])
    assert least, refused.text
    again = done.run("quantize", SPEC, *QUICK, "--suggest", "--max-bytes", least[1], "--format", "json").ended(0, "")
    assert json.loads(again.out)["suggested"]["bytes"] == int(least[1])
    costly = done.run("quantize", SPEC, *QUICK, "--suggest", "--max-kl", "1e-12").ended(1, "no-recipe")
    assert "float16 itself costs" in costly.err


@pytest.mark.parametrize(
    ("arguments", "outcome", "said"),
    [
        ("--suggest", "usage", "--suggest needs a budget"),
        ("--max-bytes 10", "usage", "are the budget of --suggest"),
        ("--max-kl 0 --suggest", "usage", "0"),
        ("--max-kl nan --suggest", "usage", "--max-kl is a number"),
        ("--max-bytes 10 --suggest --split test", "test-rows", "is not chosen by the rows that judge"),
        ("--form int5", "usage", "int5"),
        ("--split validation", "no-such-split", "no source of"),
    ],
)
def test_what_cannot_be_asked_is_said(arguments: str, outcome: str, said: str, applied: tuple[Home, Result]) -> None:
    found = applied[0].run("quantize", SPEC, *shlex.split(arguments)).ended(2, outcome)
    assert said in found.err


def test_the_students_of_a_sweep_are_not_measured_together(fresh: Home) -> None:
    fresh.change(lambda data: data.update(matrix={"training.stages.kd.batch_size": [4, 8]}))
    found = fresh.run("quantize", SPEC).ended(2, "several-students")
    assert "has 2 students" in found.err
