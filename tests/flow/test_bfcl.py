"""The leaderboard's rows, from its files to a verdict: what its own answers say is judged by its own suite alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kcompiler.cli import _main
from runtime.data import bfcl
from tests.flow import test_talks

FOLDER = Path(__file__).resolve().parents[1] / "data" / "bfcl"
SPEC = (
    test_talks.SPEC.replace("name: talk", "name: bfcl")
    .replace("name: test, kind: jsonl, path: test.jsonl", "name: bfcl, kind: jsonl, path: rows.jsonl")
    .replace("max_position_embeddings: 256", "max_position_embeddings: 8192")
    .replace("max_length: 128", "max_length: 3584")
    .replace("prefill: [128], decode: {context: 128}", "prefill: [3584], decode: {context: 3584}")
    .replace("{use: language_model, split: test, coreml_limit: 4}", "{use: bfcl, max_new_tokens: 8, coreml_limit: 30}")
    .replace("wall_s: 600", "wall_s: 3600")
    .replace("[caws/core]", "[caws/core, quality/bfcl]")
)


def project(root: Path, folder: Path) -> tuple[Path, int]:
    """A spec over the rows of a folder, and how many there are."""
    tool = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    rows = (
        {
            "messages": [
                {"role": "user", "content": f"Add one to {n}."},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"type": "function", "function": {"name": "next", "arguments": {"a": n}}}],
                },
            ],
            "tools": [{"type": "function", "function": {"name": "next", "parameters": tool}}],
        }
        for n in range(60)
    )
    test_talks.teacher(root / "teacher", context=8192)
    (root / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    count, _ = bfcl.convert(folder, root / "rows.jsonl")
    spec = root / "spec.yaml"
    spec.write_text(SPEC, encoding="utf-8")
    (root / ".kcompiler").mkdir()
    return spec, count


def test_rows_of_the_leaderboard_are_valid_and_its_own_answers_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # its four answers that do not fit its schemas are not among those beside the tests: here is one more
    folder = tmp_path / "published"
    folder.mkdir()
    for path in FOLDER.glob("BFCL_v4_simple_python*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    parameters = {"type": "dict", "properties": {"items": {"type": "array", "items": {"type": "integer"}}}}
    question = {"id": "simple_python_x", "question": [[{"role": "user", "content": "Sort them."}]]}
    with (folder / "BFCL_v4_simple_python.json").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**question, "function": [{"name": "sort", "parameters": parameters}]}) + "\n")
    with (folder / "BFCL_v4_simple_python.answers.json").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": question["id"], "ground_truth": [{"sort": {"items": [["apple"]]}}]}) + "\n")
    spec, count = project(tmp_path, folder)
    assert count == 17
    # seventeen rows are too few for the pack, which the compiler says
    spec.write_text(SPEC.replace(", quality/bfcl", ""), encoding="utf-8")
    assert _main(["pin", str(spec)]) == 0
    assert _main(["validate", str(spec)]) == 0
    assert "KC4508" not in capsys.readouterr().err
    assert _main(["evaluate", str(spec), "--runner", "verification_only", "--to", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out/bfcl-verification_only.report.json").read_text(encoding="utf-8"))
    assert (report["data"]["right"]["k"], report["data"]["right"]["n"]) == (17, 17)


@pytest.mark.slow
@pytest.mark.skipif("KCOMPILER_BFCL" not in os.environ, reason="four CPU minutes: KCOMPILER_BFCL=FOLDER")
def test_a_student_is_judged_by_all_of_it(tmp_path: Path) -> None:
    """Twenty steps teach no function: what is sound passes, and what asks for right answers does not."""
    spec, count = project(tmp_path, Path(os.environ["KCOMPILER_BFCL"]))
    assert _main(["pin", str(spec)]) == 0
    assert _main(["apply", str(spec)]) == 1
    evidence = tmp_path / "generated/bfcl/evidence"
    data = json.loads((evidence / "reports/evaluate-bfcl.json").read_text(encoding="utf-8"))["data"]
    assert (data["zoo"]["gold"]["k"], data["zoo"]["gold"]["n"], data["rows"]["value"]) == (count, count, count)
    verdict = json.loads((evidence / "verdict.json").read_text(encoding="utf-8"))
    words = {one["rule"]: one["outcome"] for one in verdict["outcomes"]}
    assert words["quality/bfcl/bfcl-sound"] == "pass"
    assert words["quality/bfcl/bfcl-accuracy"] == "fail"
    assert words["quality/bfcl/bfcl-above-trivial"] == "fail"
    assert _main(["audit", str(spec)]) == 0
