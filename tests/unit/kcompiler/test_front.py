"""Compiling a file: whatever lies at the path, the answer is data."""

import os
from pathlib import Path

import pytest

from kcompiler.front import compile_spec
from kcompiler.source import Limits

ROOT = Path(__file__).resolve().parents[3]
GOOD = ROOT / "tests/golden/validate/a-good-spec-has-no-diagnostics/spec.yaml"


@pytest.mark.parametrize("path", sorted((ROOT / "specs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_spec_compiles(path):
    """The toys without a word; the roles with what is known of their toolchain, files and licences, and nothing else."""
    front = compile_spec(path, ROOT)
    said = {item.code for item in front.diagnostics}
    assert said <= (
        {"KC4813", "KC4420", "KC4512"} if front.spec.metadata.use == "internal" or path.stem == "phi-cmmlu" else set()
    )
    assert not [item for item in front.diagnostics if item.severity == "error"]
    assert front.spec is not None
    assert front.spec.metadata.name == path.stem
    assert front.tree.file == f"specs/{path.name}"
    assert front.source == path.read_bytes()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda _path: None, "KC1001"),
        (lambda path: path.mkdir(), "KC1002"),
        (lambda path: os.mkfifo(path), "KC1002"),
        (lambda path: path.symlink_to(path), "KC1003"),
        (lambda path: path.symlink_to("nowhere"), "KC1001"),
        (lambda path: path.write_bytes(b""), "KC1018"),
        (lambda path: path.write_bytes(b"\xff"), "KC1005"),
        (lambda path: path.write_bytes(b"[]"), "KC2101"),
        (lambda path: path.write_bytes(b"text"), "KC2101"),
        (lambda path: path.write_bytes(b"{}"), "KC2102"),
    ],
)
def test_whatever_lies_at_the_path_is_a_diagnostic(tmp_path, make, code):
    path = tmp_path / "spec.yaml"
    make(path)
    front = compile_spec(path, tmp_path)
    assert front.spec is None
    assert {item.code for item in front.diagnostics} == {code}
    assert {item.file for item in front.diagnostics} <= {"spec.yaml", "nowhere"}


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "/proc/self/mem", "/dev/full", ""])
def test_a_path_that_no_file_can_have_is_a_diagnostic(path):
    front = compile_spec(Path(path), ROOT)
    assert front.spec is None
    assert front.diagnostics[0].code in {"KC1001", "KC1002", "KC1003"}


def test_a_neighbour_is_suggested_for_a_missing_spec():
    front = compile_spec(ROOT / "specs/eight_bal.yaml", ROOT)
    assert front.diagnostics[0].help == "did you mean `eight-ball.yaml`?"


def test_no_more_than_the_cap_is_read(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"x" * 1000)
    assert len(compile_spec(path, tmp_path, limits=Limits(bytes=10)).source) == 11


def test_a_warning_or_note_leaves_a_spec(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD.read_text(encoding="utf-8").replace("weight: 0.4", "weight: 0.7"), encoding="utf-8")
    front = compile_spec(path, tmp_path, packs=[ROOT / "policies"])
    assert [(item.code, item.severity) for item in front.diagnostics] == [("KC4604", "note")]
    assert front.spec is not None


def test_a_mistake_in_the_text_does_not_hide_those_in_the_meaning(tmp_path):
    path = tmp_path / "spec.yaml"
    text = GOOD.read_text(encoding="utf-8").replace("[32, 64]", "[64, 32]").replace("usd: 0", "usd: .nan")
    path.write_text(text.replace("risk_tier: 3", "risk_tier: 3\nrisk_tier: 9\ncolour: blue"), encoding="utf-8")
    front = compile_spec(path, tmp_path, packs=[ROOT / "policies"])
    assert [item.code for item in front.diagnostics] == ["KC1011", "KC2104", "KC4101", "KC1020"]


def test_what_had_to_be_guessed_is_not_complained_about(tmp_path):
    """0 stands in for the wall clock that was .inf: it is out of bounds, and nobody wrote it."""
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD.read_text(encoding="utf-8").replace("wall_s: 60", "wall_s: .inf"), encoding="utf-8")
    assert [item.code for item in compile_spec(path, tmp_path, packs=[ROOT / "policies"]).diagnostics] == ["KC1020"]


def test_a_misspelt_key_does_not_make_its_section_look_wrong(tmp_path):
    """With `hed_dim` read as absent, heads would be 8 wide: no arithmetic is done on what was not meant."""
    path = tmp_path / "spec.yaml"
    text = GOOD.read_text(encoding="utf-8").replace("  parameters:", "    hed_dim: 16\n  parameters:")
    path.write_text(text.replace("35_000±5%", "9_000±5%"), encoding="utf-8")
    front = compile_spec(path, tmp_path, packs=[ROOT / "policies"])
    assert [item.code for item in front.diagnostics] == ["KC2104"]


def test_a_foreign_key_does_not_hide_what_else_is_wrong(tmp_path):
    path = tmp_path / "spec.yaml"
    text = GOOD.read_text(encoding="utf-8").replace("  parameters:", "  colour: blue\n  parameters:")
    path.write_text(text.replace("35_000±5%", "9_000±5%"), encoding="utf-8")
    front = compile_spec(path, tmp_path, packs=[ROOT / "policies"])
    assert [item.code for item in front.diagnostics] == ["KC2104", "KC4004"]
