"""Files of waivers that are wrong: each a diagnostic at its place, and none excuses anything."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kcompiler import assets, policy, waiver
from kcompiler.waiver import check, draft, published
from kcompiler.waiver.file import REASONS
from tests.unit.kcompiler.waiver.world import NOW, PACK, RULES, WAIVER, project

MANY = "team/rows/many"


def found(root: Path, as_of: str = NOW, used: int = 0, **told: Any) -> list[tuple[str, str, int, str]]:
    """(code, severity, line, summary) of everything that is said of the one waiver."""
    loaded, problems = waiver.load(root / "waivers")
    packs = policy.load(["team/rows"], [root / "policies", assets.folder("policies")])
    assert packs.problems == ()
    more = [
        each for one in loaded for each in check.findings(one, check.of_packs(packs.packs), as_of, used, {}, **told)
    ]
    return [(one.code, one.severity, one.line, one.summary) for one in [*problems, *more]]


def changed(old: str, new: str) -> str:
    assert WAIVER.count(old) == 1
    return WAIVER.replace(old, new)


#: no key of anybody
KEY = "0a1b2c3d4e5f6a7b8c9d0e1f"
#: claim, text, code, line, part of the summary
WRONG = [
    ("an unknown key", WAIVER + "status: active\n", "KC6102", 14, "unknown key `status`"),
    ("nothing in it", "", "KC1018", 1, "the file is empty"),
    ("a misspelt key", changed("magnitude:", "magnitud:"), "KC6102", 5, "unknown key `magnitud`"),
    ("no owner", changed("owner: eli\n", ""), "KC6102", 1, "the key `owner` is missing"),
    ("an id of another form", changed("WV-0001", "W-1"), "KC6102", 1, "`id`: "),
    ("an id that is not the file's", changed("WV-0001", "WV-0002"), "KC6102", 1, "lies in a file of another name"),
    ("no rule", changed(f"[{MANY}]", "[]"), "KC6102", 3, "`rules`: "),
    ("every rule", changed(f"[{MANY}]", '["team/rows/*"]'), "KC6102", 3, "is not the full name of a rule"),
    ("a rule without its pack", changed(f"[{MANY}]", "[many]"), "KC6102", 3, "is not the full name of a rule"),
    ("a rule twice", changed(f"[{MANY}]", f"[{MANY}, {MANY}]"), "KC6102", 3, "stands twice"),
    ("a subject that is everything", changed("{spec: lab, steps: [measure]}", "{}"), "KC6102", 4, "for everything is none"),
    ("a digest that is none", changed("spec: lab", "report: sha256:12"), "KC6102", 4, "`subject.report`: "),
    ("a magnitude below zero", changed('"0.05"', '"-1"'), "KC6102", 5, "from 0 on"),
    ("a magnitude that is no number", changed('"0.05"', "all"), "KC6102", 5, "`magnitude`: "),
    ("a magnitude without end", changed('"0.05"', ".inf"), "KC1020", 5, "finite"),
    ("a magnitude with an exponent", changed('"0.05"', '"1e308"'), "KC6102", 5, "`magnitude`: write decimal digits"),
    ("a magnitude beyond all digits", changed('"0.05"', f'"{"9" * 41}"'), "KC6102", 5, "`magnitude`: write decimal digits"),
    ("a magnitude beyond the doubles", changed('"0.05"', "1e400"), "KC1020", 5, "finite"),
    ("a magnitude as large as a double", changed('"0.05"', "1e308"), "KC6102", 5, "`magnitude`: write decimal digits"),
    ("a magnitude that would be 0", changed('"0.05"', "1e-400"), "KC1021", 5, "too small to be kept"),
    ("an author as a mention", changed("author: dee", 'author: "@dee"'), "KC6102", 9, "`author`: write a handle or an address"),
    ("an author without a name", changed("author: dee", 'author: ""'), "KC6102", 9, "`author`: write a handle or an address"),
    ("an owner without a name", changed("owner: eli", 'owner: " "'), "KC6102", 10, "`owner`: write a handle or an address"),
    ("a reason of nobody's list", changed("third_party_constraint", "because"), "KC6102", 6, "`reason`: "),
    ("a blank description", changed("description: The", 'description: ""  # The'), "KC6102", 7, "still blank"),
    ("a description of one word", changed("The crawl that gives us the other half of the rows is down until the provider mends it.", "later"), "KC6102", 7, "still blank"),
    ("a blank mitigation", changed("mitigation: The", 'mitigation: ""  # The'), "KC6102", 8, "still blank"),
    ("an author who is a sentence", changed("author: dee", "author: all of us"), "KC6102", 9, "`author`: "),
    ("a day that is none", changed("created: 2026-11-20", "created: 2026-02-30"), "KC6102", 11, "no day of the calendar"),
    ("a time of day", changed("expires: 2026-12-20", 'expires: "2026-12-20T00:00:00Z"'), "KC6102", 12, "`expires`: "),
    ("an end before the beginning", changed("expires: 2026-12-20", "expires: 2026-11-20"), "KC6102", 1, "it ends on 2026-11-20"),
    ("names as approvals", WAIVER + "approvals: [{by: ana, on: 2026-11-21}]\n", "KC6102", 14, "count as nobody: who approves a waiver signs it"),
    ("no use", changed("max_uses: 2", "max_uses: 0"), "KC6102", 13, "`max_uses`: "),
    ("a revocation without reason", WAIVER + "revoked: {by: ana, on: 2026-11-27, reason: done}\n", "KC6102", 14, "`revoked.reason`: "),
    ("a key in its title", changed("title: ", f"title: sk-{KEY} "), "KC4209", 2, "looks like a key"),
    ("a key in a comment", WAIVER + f"# AKIA{'Q' * 16}\n", "KC4209", 14, "looks like a key"),
    ("a key twice", WAIVER + "expires: 2027-12-20\n", "KC1011", 14, "expires"),
    ("no mapping", "- WV-0001\n", "KC6102", 1, "this file"),
    ("a misspelt rule", changed("rows/many", "rows/manny"), "KC6103", 3, "no rule is called"),
    ("a rule that nobody may waive", changed("rows/many", "rows/strict"), "KC6104", 3, "has no key `waivable`"),
    ("a rule that blocks nothing", changed("rows/many", "rows/told"), "KC6104", 3, "has mode warn"),
    ("approved by the author", changed("author: dee", "author: ana"), "KC6105", 0, "`ana` wrote the waiver"),
    ("approved by the owner", changed("owner: eli", "owner: Bo"), "KC6105", 0, "`bo` owns the waiver"),
    ("longer than the pack allows", changed("expires: 2026-12-20", "expires: 2027-02-20"), "KC6106", 12, "lasts 92 days"),
    ("no magnitude where one is measured", changed('magnitude: "0.05"\n', ""), "KC6108", 3, "does not say how far"),
    ("a magnitude where none is measured", changed("rows/many", "rows/held"), "KC6108", 5, "measures no distance"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "line", "summary"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_a_wrong_file_is_an_error_at_its_line(tmp_path: Path, text: str, code: str, line: int, summary: str) -> None:
    said = found(project(tmp_path, text))
    assert [one for one in said if one[:3] == (code, "error", line) and summary in one[3]], said


def test_a_waiver_that_is_right_has_nothing_to_be_said_of(tmp_path: Path) -> None:
    assert found(project(tmp_path)) == []


@pytest.mark.parametrize(
    ("as_of", "used", "code", "severity", "summary"),
    [
        ("2026-12-06T00:00:00Z", 0, "KC6110", "warning", "it ends in 14 days, on 2026-12-20"),
        ("2026-12-19T23:00:00Z", 0, "KC6110", "warning", "it ends in 1 day, on 2026-12-20"),
        ("2026-12-20T00:00:00Z", 0, "KC6106", "error", "it ended on 2026-12-20"),
        (NOW, 2, "KC6106", "error", "all of its 2 uses are used"),
        ("2026-11-21T12:00:00Z", 0, "KC6109", "error", "it has 1 of 2 approvals"),
    ],
)
def test_what_the_day_makes_of_it(
    tmp_path: Path, as_of: str, used: int, code: str, severity: str, summary: str
) -> None:
    (said,) = found(project(tmp_path), as_of, used)
    assert (said[0], said[1], said[3]) == (code, severity, summary)
    assert found(project(tmp_path), "2026-12-05T23:59:59Z") == []


def test_a_revoked_waiver_is_a_record_and_no_mistake(tmp_path: Path) -> None:
    text = draft.revoked(WAIVER, "ana", "2026-11-28", "the crawl is back")
    assert found(project(tmp_path, text)) == []


def test_a_waiver_that_lies_elsewhere_is_told(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "waivers" / "old").mkdir()
    (root / "waivers" / "old" / "WV-0002.yaml").write_text(WAIVER)
    (root / "waivers" / "WV-0003.yml").write_text(WAIVER)
    assert [one[0] for one in found(root)] == ["KC6102", "KC6102"]


@pytest.mark.parametrize(
    ("pack", "summary"),
    [
        (PACK.replace("name: bo", "name: Ana"), "has the name `ana` twice"),
        (PACK.replace("{min: 2", "{min: 4"), "4 must approve a waiver, and there are 3"),
        (PACK.partition("approval:")[0], "belong together"),
        (PACK.replace("AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAC3NzaC1lZDI1NTE5AAAA"), "id_ed25519.pub"),
        (PACK.replace("key: ssh-ed25519", "key: ssh-rsa", 1), "id_ed25519.pub"),
        (PACK.replace("max_days: 60", "max_days: 400"), "max_days"),
    ],
)
def test_who_may_approve_is_said_strictly(tmp_path: Path, pack: str, summary: str) -> None:
    root = project(tmp_path, pack=pack)
    (problem, *_) = policy.load(["team/rows"], [root / "policies"]).problems
    assert problem.code == "KC6002"
    assert summary in problem.summary


def test_one_key_under_two_names_is_one_person(tmp_path: Path) -> None:
    keys = [line for line in PACK.splitlines() if "key:" in line]
    twice = PACK.replace(keys[1], keys[0].replace("ana", "eve"))
    (problem, *_) = policy.load(["team/rows"], [project(tmp_path, pack=twice) / "policies"]).problems
    assert "twice" in problem.summary


@pytest.mark.parametrize(
    ("rule", "code", "summary"),
    [
        (RULES["many"].replace("true", "[]"), "KC6002", "names each outcome"),
        (RULES["many"].replace("true", "[error]"), "KC6002", "waivable"),
        (RULES["many"].replace("true", "[fail, fail]"), "KC6002", "names each outcome"),
        (RULES["many"].replace("on:", "mode: warn\non:"), "KC6002", "is about what blocks"),
    ],
)
def test_what_may_be_excused_is_said_strictly(tmp_path: Path, rule: str, code: str, summary: str) -> None:
    root = project(tmp_path, many=rule)
    problems = policy.load(["team/rows"], [root / "policies"]).problems
    assert [one for one in problems if one.code == code and summary in one.summary]


def test_the_published_schema_is_that_of_the_model() -> None:
    schema = assets.folder("schemas") / "waiver.schema.json"
    assert json.loads(schema.read_text(encoding="utf-8")) == published.document()


@pytest.mark.parametrize(
    ("distance", "wanted"),
    [("-0.05", "0.05"), ("-12", "12"), ("~-0.03333333333", "0.0333334"), ("", ""), ("0", "0")],
)
def test_a_draft_covers_what_is_missed_and_no_more(distance: str, wanted: str) -> None:
    assert draft.magnitude(distance) == wanted


def test_ids_go_on_behind_the_highest() -> None:
    assert draft.next_id([]) == "WV-0001"
    assert draft.next_id(["WV-0007.yaml", "WV-0003.yaml", "notes.txt"]) == "WV-0008"
    assert "emergency_hotfix" in REASONS


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        (b"note.dsse.json", b'{"note": "sk-proj-0a0a0a0a0a0a0a0a0a0a0a0a0a0a"}', "KC4209"),
        (b"n\377.dsse.json", b"{}", "KC6102"),
    ],
)
def test_a_signature_that_cannot_be_copied_is_told_at_its_file(
    tmp_path: Path, name: bytes, data: bytes, code: str
) -> None:
    project(tmp_path, WAIVER)
    beside = tmp_path / "waivers" / "WV-0001"
    beside.mkdir(exist_ok=True)
    (beside / os.fsdecode(name)).write_bytes(data)
    loaded, [wrong] = waiver.load(tmp_path / "waivers")
    assert loaded == []
    shown = os.fsdecode(name).encode("utf-8", "backslashreplace").decode()
    assert (wrong.code, wrong.file) == (code, f"waivers/WV-0001/{shown}")
