"""An audit recomputes everything: whatever is spoilt is named, and its exit code says whether evidence is broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from runtime import digest
from tests.longer import LONG
from tests.unit.kcompiler.audit.conftest import Bundle, carry_out


def test_untouched_evidence_is_sound(bundle: Bundle) -> None:
    """Also when the verdict is no: an audit is about the evidence."""
    found = bundle.audit()
    assert found.findings == []
    assert (found.exit_code, found.word, found.verdict) == (0, "sound", "FAIL")
    assert found.checked["steps"] == len(bundle.records())
    assert found.checked["artifacts"] == sum(len(record["gives"]) for record in bundle.records().values())
    assert found.checked["reports"] == found.checked["steps"] + 1
    assert {what for what, count in found.checked.items() if not count} == {"items"}, "those of null are forged"


def test_an_audit_writes_nothing(bundle: Bundle) -> None:
    before = digest.of_folder(bundle.root)
    bundle.audit()
    assert digest.of_folder(bundle.root) == before


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_one_flipped_byte_of_any_artifact_is_named(bundle: Bundle) -> None:
    """Every file of the store, one after the other: the finding names its artifact, and the exit code is 3."""
    used = {give["digest"] for record in bundle.records().values() for give in record["gives"].values()}
    stored = [path for path in sorted((bundle.state / "store").rglob("*")) if path.is_file()]
    assert len(stored) >= len(used)
    for path in stored:
        data = path.read_bytes()
        flip(path, len(data) // 2)
        artifact = path.relative_to(bundle.root).as_posix().split("/")[:5]
        found = bundle.audit()
        assert "/".join(artifact) in {finding.subject for finding in found.findings if finding.code == "KA21"}, path
        assert found.exit_code == 3
        path.write_bytes(data)


def test_one_flipped_byte_of_any_report_is_named(bundle: Bundle) -> None:
    reports = sorted((bundle.evidence / "reports").glob("*.json"))
    assert len(reports) == len(bundle.records())
    for path in reports:
        data = path.read_bytes()
        flip(path, len(data) // 2)
        found = bundle.audit()
        assert path.relative_to(bundle.root).as_posix() in {one.subject for one in found.findings if one.code == "KA22"}
        assert found.exit_code == 3
        path.write_bytes(data)


def test_one_flipped_byte_anywhere_in_the_journal_is_noticed(bundle: Bundle) -> None:
    path = bundle.state / "journal.jsonl"
    data = path.read_bytes()
    for at in range(0, len(data), 997 if LONG else 4999):
        flip(path, at)
        found = bundle.audit()
        assert found.exit_code == 3, at
        assert any(one.code == "KA11" and one.subject.startswith(".kcompiler/journal.jsonl:") for one in found.findings)
        path.write_bytes(data)


def remove_line(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number]
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_line_cut_out_of_the_journal_is_noticed(bundle: Bundle, number: int) -> None:
    remove_line(bundle.state / "journal.jsonl", number)
    assert "KA11" in bundle.codes()


def test_reordered_lines_are_noticed(bundle: Bundle) -> None:
    path = bundle.state / "journal.jsonl"
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))
    assert "KA11" in bundle.codes()


def test_a_journal_without_its_anchor_is_noticed(bundle: Bundle) -> None:
    (bundle.state / "head").unlink()
    assert bundle.audit().exit_code == 3


@pytest.mark.parametrize(
    "head", ["", "{}", '{"seq": 0, "hash": ""}', '{"seq": true, "hash": ""}', '{"seq": 9999, "hash": ""}']
)
def test_a_broken_anchor_is_noticed(bundle: Bundle, head: str) -> None:
    (bundle.state / "head").write_text(head)
    assert bundle.audit().exit_code == 3


def test_a_torn_last_line_is_only_a_note(bundle: Bundle) -> None:
    """It was never acknowledged: a crash may leave one."""
    with (bundle.state / "journal.jsonl").open("ab") as file:
        file.write(b'{"seq": 99')
    found = bundle.audit()
    assert [one.severity for one in found.findings] == ["note"]
    assert found.exit_code == 0


def test_a_lost_artifact_is_named(bundle: Bundle) -> None:
    give = bundle.records()["export"]["gives"]["program"]["digest"].removeprefix("sha256:")
    shutil.rmtree(bundle.state / "store" / "sha256" / give[:2] / give)
    found = bundle.audit()
    assert [one.subject for one in found.findings] == [f".kcompiler/store/sha256/{give[:2]}/{give}"]
    assert "is gone" in found.findings[0].message
    assert found.exit_code == 3


def test_an_artifact_with_a_link_in_it_is_not_what_was_stored(bundle: Bundle) -> None:
    give = bundle.records()["export"]["gives"]["program"]["digest"].removeprefix("sha256:")
    (bundle.state / "store" / "sha256" / give[:2] / give / "extra").symlink_to("/etc/hostname")
    assert bundle.codes() == ["KA21"]


def test_without_a_store_reports_and_verdict_are_still_recomputed(bundle: Bundle) -> None:
    """An auditor has the repository, not the machine: a note says what was not looked at."""
    shutil.rmtree(bundle.state)
    found = bundle.audit()
    assert [(one.code, one.severity) for one in found.findings] == [("KA90", "note")]
    assert (found.exit_code, found.checked["artifacts"]) == (0, 0)
    flip(bundle.evidence / "reports" / "data.json", 100)
    assert bundle.audit().exit_code == 3


@pytest.mark.parametrize("name", ["reports/data.json", "run.json", "verdict.json", "journal.jsonl"])
def test_missing_evidence_is_named(bundle: Bundle, name: str) -> None:
    (bundle.evidence / name).unlink()
    found = bundle.audit()
    assert f"generated/eight-ball/evidence/{name}" in {one.subject for one in found.findings}
    assert found.exit_code == 3


def test_a_report_nobody_made_is_noticed(bundle: Bundle) -> None:
    shutil.copy(bundle.evidence / "reports" / "data.json", bundle.evidence / "reports" / "extra.json")
    found = bundle.audit()
    assert [(one.code, one.subject) for one in found.findings] == [
        ("KA23", "generated/eight-ball/evidence/reports/extra.json")
    ]
    assert found.exit_code == 1


def verdict_edits() -> dict[str, Any]:
    def outcome(content: dict[str, Any]) -> None:
        content["outcomes"][0] |= {"outcome": "pass", "blocks": False}

    return {
        "the word": lambda content: content.update(verdict="PASS", exit_code=0),
        "an outcome": outcome,
        "a count": lambda content: content["counts"].update({"pass": 99}),
        "an outcome left out": lambda content: content["outcomes"].pop(),
        "an outcome twice": lambda content: content["outcomes"].append(content["outcomes"][0]),
        "the lock": lambda content: content.update(lock="sha256:" + "0" * 64),
        "the time": lambda content: content.update(as_of="2030-01-01T00:00:00Z"),
        "a report's digest": lambda content: content["reports"].update(data="sha256:" + "0" * 64),
        "no obligations": lambda content: content.update(outcomes=[], obligations="sha256:" + "0" * 64),
    }


@pytest.mark.parametrize("what", sorted(verdict_edits()))
def test_an_edited_verdict_disagrees(bundle: Bundle, what: str) -> None:
    bundle.edit(bundle.evidence / "verdict.json", verdict_edits()[what])
    found = bundle.audit()
    assert {one.code for one in found.findings} == {"KA32"}, found.findings
    assert found.exit_code == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"verdict": NaN}'])
def test_a_verdict_that_cannot_be_read_is_broken_evidence(bundle: Bundle, text: str) -> None:
    (bundle.evidence / "verdict.json").write_text(text)
    assert bundle.codes() == ["KA31"]
    assert bundle.audit().exit_code == 3


def test_another_layout_of_the_verdict_is_noticed(bundle: Bundle) -> None:
    path = bundle.evidence / "verdict.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert bundle.codes() == ["KA32"]


def test_line_ends_that_git_changed_are_named_as_such(bundle: Bundle) -> None:
    for path in (bundle.evidence / "reports").glob("*.json"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    found = bundle.audit()
    messages = {one.message for one in found.findings if one.code == "KA22"}
    assert messages
    assert all("only its line ends differ" in message for message in messages)
    assert found.exit_code == 3


def test_committed_lines_in_another_order_disagree(bundle: Bundle) -> None:
    """Each line's own hash holds; the order of the copy is asked as well."""
    path = bundle.evidence / "journal.jsonl"
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))
    found = bundle.audit()
    assert [(one.code, one.message) for one in found.findings] == [
        ("KA13", "the lines do not stand in the order of the lock's steps")
    ]
    assert found.exit_code == 1


def test_an_unfinished_run_is_called_so_once(tmp_path: Path) -> None:
    """What there is holds; that more is missing than somebody may want to hear is one finding, not one for each step."""
    found = Bundle(carry_out(tmp_path, ["data", "tokenizer"])).audit()
    (one,) = [one for one in found.findings if one.severity != "note"]
    assert (one.code, one.severity) == ("KA15", "unfinished")
    assert one.message.startswith("the run is unfinished: 9 of 11 steps have no result: teacher, ")
    assert (found.word, found.exit_code) == ("unfinished", 1)
    assert found.checked["steps"] == 2


def test_a_line_that_went_after_its_step_was_committed_is_no_unfinished_run(bundle: Bundle) -> None:
    """The project's own journal knows better."""
    lines = (bundle.evidence / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (bundle.evidence / "journal.jsonl").write_bytes(b"".join(lines[:-1]))
    found = bundle.audit()
    assert "step `evaluate-answers` of the lock has no committed line" in [
        one.message for one in found.findings if one.code == "KA13"
    ]
    assert "KA15" not in bundle.codes()
    assert found.word != "unfinished"


def test_a_disagreement_beside_an_unfinished_run_is_one(tmp_path: Path) -> None:
    bundle = Bundle(carry_out(tmp_path, ["data", "tokenizer"]))
    bundle.edit(bundle.evidence / "verdict.json", lambda content: content.update(verdict="PASS"))
    assert bundle.audit().word in ("disagreement", "evidence-broken")
