"""Codes, suggestions, places, and what the machine refuses as a diagnostic."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from kcompiler import diagnostic
from kcompiler.diagnostic import Diagnostic, did_you_mean, from_refusal, has_errors, ordered, suggest
from tests.unit.kcompiler.checks.laboratory import compiled

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("word", "candidates", "expected"),
    [
        ("temprature", ["temperature", "term", "weight"], ["temperature"]),
        ("lr", ["learning_rate", "steps"], []),
        ("wieght", ["weight", "height"], ["weight"]),
        ("ce-truth", ["ce_truth", "ce_teacher"], ["ce_truth"]),
        ("Steps", ["steps"], ["steps"]),
        ("kd", ["kl", "ce"], []),
        ("lk", ["kl", "ce"], ["kl"]),
        ("usd", ["used", "use", "sud", "us", "usb"], ["sud", "us", "usb"]),
        ("completely_else", ["steps", "name"], []),
        ("", ["steps"], []),
    ],
)
def test_a_suggestion_is_near_or_absent(word, candidates, expected):
    assert suggest(word, candidates) == expected


UNITS = ["all", "cpu_and_gpu", "cpu_and_ne", "cpu_only"]


@pytest.mark.parametrize(
    "word", ["npu", "NPU", "neural_engine", "Neural Engine", "neural-engine", "apple", "ne", "ANE"]
)
def test_the_neural_engine_by_any_name_is_ane(word):
    assert suggest(word, ["gpu", "ane"]) == ["ane"]
    assert suggest(word, ["gpu", "ane", "cpu"]) == ["ane"]
    assert suggest(word, UNITS) == ["cpu_and_ne"]


def test_a_spec_for_an_npu_is_told_of_ane(tmp_path):
    (found,) = compiled(tmp_path, lambda data: data.update(export={"profile": "npu"})).diagnostics
    assert (found.code, found.help) == ("KC2103", "did you mean `ane`?")


@pytest.mark.parametrize(
    ("word", "of_one", "of_several"),
    [
        ("metal", ["gpu"], ["cpu_and_gpu"]),
        ("cpuAndNeuralEngine", ["ane"], ["cpu_and_ne"]),
        ("CPU_AND_NE", ["ane"], ["cpu_and_ne"]),
        ("cpuAndGPU", ["gpu"], ["cpu_and_gpu"]),
        ("cpuOnly", ["cpu"], ["cpu_only"]),
        ("gpuu", ["gpu"], []),
    ],
)
def test_units_may_be_called_as_others_call_them(word, of_one, of_several):
    assert suggest(word, ["gpu", "ane", "cpu"]) == of_one
    assert suggest(word, UNITS) == of_several


def test_where_no_unit_is_meant_they_are_words_like_others():
    assert suggest("apple", ["apples", "pears"]) == ["apples"]
    assert suggest("npu", ["input", "cpu"]) == ["cpu"]
    # what is known by that name is meant by it
    assert suggest("Metal", ["metal", "gpu"]) == ["metal"]


def test_a_swap_of_neighbours_costs_one():
    assert diagnostic._distance("abcdef", "abdcef") == 1
    assert diagnostic._distance("abcdef", "badcfe") == 3
    assert diagnostic._distance("", "abc") == 3


def test_without_a_near_word_all_choices_are_listed():
    assert did_you_mean("zzz", ["b", "a"]) == "known here: a, b"
    assert did_you_mean("zzz", []) == ""


def test_diagnostics_come_by_place_once_each_with_errors_first():
    early = Diagnostic(code="KC2101", summary="b", file="a.yaml", line=1, column=5)
    late = Diagnostic(code="KC2101", summary="a", file="a.yaml", line=9, column=1)
    note = Diagnostic(code="KC4604", severity="note", summary="n", file="a.yaml", line=1, column=5)
    assert ordered([late, note, early, late]) == [early, note, late]
    assert has_errors([note, early])
    assert not has_errors([note])


@dataclass
class Refused:
    code: str = "KR0001"
    message: str = "the line is empty"
    place: str = "data/rows.jsonl:12:3"
    action: str = "remove it"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("data/rows.jsonl:12:3", ("data/rows.jsonl", 12, 3)),
        ("data/rows.jsonl:12", ("data/rows.jsonl", 12, 0)),
        ("quantization.islands", ("quantization.islands", 0, 0)),
        ("", ("", 0, 0)),
    ],
)
def test_a_refusal_of_the_machine_keeps_its_place(place, expected):
    made = from_refusal(Refused(place=place))
    assert (made.file, made.line, made.column) == expected
    assert (made.code, made.summary, made.help) == ("KR0001", "the line is empty", "remove it")


def test_a_place_names_what_is_known():
    assert Diagnostic(code="", summary="", file="a.yaml", line=3, column=7).place == "a.yaml:3:7"
    assert Diagnostic(code="", summary="", file="a.yaml").place == "a.yaml"
    assert Diagnostic(code="", summary="").place == ""


@pytest.mark.parametrize("number", ["KC9999", "KC210", "../../etc/passwd", "KC2101.md", ""])
def test_an_unknown_code_has_no_page(number):
    with pytest.raises(KeyError):
        diagnostic.explain(number)


def test_a_code_is_explained_in_any_case():
    assert diagnostic.explain("kc2104").title == "an unknown key"
    assert "Wrong:" in diagnostic.explain("KC2104").page


def test_diagnostics_are_light_to_import():
    """--help and explain stay fast: no pydantic, YAML, schema or terminal library behind this module."""
    heavy = {"pydantic", "yaml", "jsonschema", "rich"}
    code = f"import sys, kcompiler.diagnostic; print([m for m in sys.modules if m in {heavy}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
