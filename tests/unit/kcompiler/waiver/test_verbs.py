"""`waiver check`, `list`, `new` and `revoke` as people and pipelines run them: every form, every exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing

from kcompiler import assets, waiver
from kcompiler.cli import _main
from kcompiler.cli.answer import FORMS
from kcompiler.policy.obligation import Waivable
from kcompiler.waiver import draft
from kcompiler.waiver.load import parsed
from runtime.machine.state import State
from tests.unit.kcompiler.waiver.world import NOW, TERMS, WAIVER, asked, envelope, judged, missed, project

SCHEMAS = {
    path.name: referencing.Resource.from_contents(json.loads(path.read_text(encoding="utf-8")))
    for path in assets.folder("schemas").glob("[rv]e*.schema.json")
}
PUBLISHED = jsonschema.Draft202012Validator(
    SCHEMAS["result.schema.json"].contents, registry=referencing.Registry().with_resources(SCHEMAS.items())
)
WIDE = WAIVER.replace("expires: 2026-12-20", "expires: 2026-12-05")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return project(tmp_path)


CASES = [
    (WAIVER, [], 0),
    (WIDE, [], 0),
    (WIDE, ["--strict"], 1),
    (WAIVER.replace("author: dee", "author: ana"), [], 1),
    (WAIVER + "# one\n", [], 7),
    (WAIVER + "colour: red\n", [], 1),
]


@pytest.mark.parametrize(
    ("text", "arguments", "code", "form"),
    [*((*case, "json") for case in CASES), *((*case, form) for case in CASES[3:5] for form in FORMS if form != "json")],
)
def test_every_form_says_the_same(
    home: Path, capsys: pytest.CaptureFixture[str], text: str, arguments: list[str], code: int, form: str
) -> None:
    project(home, text, signed={"ana": "2026-11-21"} if code == 7 else None)
    if code == 7:
        (home / "waivers" / "WV-0001" / "bo.dsse.json").unlink()
    assert _main(["waiver", "check", "--as-of", NOW, "--format", form, *arguments]) == code
    said = capsys.readouterr()
    if form == "json":
        found = json.loads(said.out)
        PUBLISHED.validate(found)
        assert (found["verb"], found["code"]) == ("waiver check", code)
    elif form == "sarif":
        assert "error" in {one["level"] for one in json.loads(said.out)["runs"][0]["results"]}
    else:
        assert {"junit": "<failure", "html": "WV-0001", "github": "::error", "markdown": "mistakes", "human": "error["}[
            form
        ] in (said.out + said.err)


def test_a_list_is_data_and_foretells_the_end(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(home, WIDE)
    assert _main(["waiver", "list", "--as-of", NOW, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    PUBLISHED.validate(found)
    (one,) = found["data"]["waivers"]
    assert (one["status"], one["days_left"], found["data"]["soon"]) == ("active", 7, ["WV-0001"])
    assert _main(["waiver", "list", "--as-of", NOW]) == 0
    assert "WV-0001 ends in 7 days" in capsys.readouterr().out
    assert _main(["waiver", "list", "--as-of", "2026-12-05T00:00:00Z"]) == 0
    assert "expired (ended on 2026-12-05)" in capsys.readouterr().out


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_list_names_each_waiver_and_how_it_stands(
    home: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """One that is not approved yet is no case that passed."""
    project(home, WAIVER)
    (home / "waivers" / "WV-0001" / "bo.dsse.json").unlink()
    assert _main(["waiver", "list", "--as-of", NOW, "--format", form]) == 0
    said = capsys.readouterr().out
    assert "WV-0001" in said
    assert "pending" in said
    if form == "junit":
        assert 'classname="waiver WV-0001"' in said
        assert '<skipped message="note: pending' in said
    if form == "json":
        PUBLISHED.validate(json.loads(said))


def test_a_list_says_where_uses_cannot_be_known(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the journal no use is known: that is not the same as none."""
    assert _main(["waiver", "list", "--as-of", NOW]) == 0
    said = capsys.readouterr().out
    assert "at least 0 used" in said
    assert ".kcompiler/journal.jsonl cannot be read here" in said
    with State(home) as state:
        state.journal.append("waiver_used", {"waiver": "WV-0001", "use": "a"})
    assert _main(["waiver", "list", "--as-of", NOW]) == 0
    said = capsys.readouterr().out
    assert "  1 used" in said
    assert "cannot be read" not in said
    (home / "generated/lab/evidence").mkdir(parents=True, exist_ok=True)
    (home / "generated/lab/evidence/verdict.json").write_text("{")
    assert _main(["waiver", "list", "--as-of", NOW, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    PUBLISHED.validate(found)
    assert found["data"]["unseen"] == ["generated/lab/evidence/verdict.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["check", "elsewhere"], 2, "no folder of waivers"),
        (["check", "--as-of", "yesterday"], 2, "is not a UTC time"),
        (["list", "--as-of", "2026-11-28"], 2, "is not a UTC time"),
        (["new", "generated/lab/plan.lock", "--rule", "many"], 2, "does not exist"),
        (["new", "specs/none.yaml", "--rule", "many"], 2, ""),
        (["revoke", "waivers/WV-0009.yaml", "--by", "ana", "--reason", "it is mended"], 2, "cannot be read"),
        (["revoke", "waivers/WV-0001.yaml", "--by", "all of us", "--reason", "it is mended"], 2, "do not fit"),
        (["revoke", "waivers/WV-0001.yaml", "--by", "ana", "--reason", "done"], 2, "do not fit"),
    ],
)
def test_what_is_asked_wrongly(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert _main(["waiver", *arguments]) == code
    assert said in capsys.readouterr().err


def test_without_waivers_nothing_is_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "waivers" / "WV-0001.yaml").unlink()
    assert _main(["waiver", "check"]) == 0
    assert _main(["waiver", "list"]) == 0
    assert "no waivers" in capsys.readouterr().out


def test_a_list_of_what_cannot_be_read_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "waivers" / "WV-0001.yaml").write_text(WAIVER + "colour: red\n")
    assert _main(["waiver", "list", "--as-of", NOW]) == 1
    assert "no waiver can be read: waivers/WV-0001.yaml" in capsys.readouterr().out


def test_a_revoked_waiver_is_revoked_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    revoke = ["waiver", "revoke", "waivers/WV-0001.yaml", "--by", "ana", "--reason", "the crawl is back"]
    assert _main(revoke) == 0
    text = (home / "waivers" / "WV-0001.yaml").read_text()
    assert text.startswith(WAIVER)
    assert '"reason": "the crawl is back"' in text
    assert _main(revoke) == 1
    assert "was revoked on" in capsys.readouterr().err


@pytest.mark.parametrize("unmeasured", [False, True])
def test_a_draft_is_a_waiver_when_its_blanks_are_filled(unmeasured: bool) -> None:
    """The same text that `new` writes, for a miss that is measured and one that is not."""
    obligation = asked({"at": "y"}, kind="presence@1") if unmeasured else asked()
    verdict = judged(data=missed(), obligations=[obligation]).to_json()
    terms: Any = Waivable.model_validate(TERMS)
    text = draft.text("WV-0001", verdict["outcomes"][0], "lab", verdict["reports"]["measure"], terms, "2026-11-20", 400)
    loaded, problems = parsed(text.encode(), "waivers/WV-0001.yaml")
    assert loaded is None
    assert all(any(f"`{blank}`" in one.summary for one in problems) for blank in draft.BLANKS)
    for blank, value in {
        "reason": "other",
        "description": 60 * "x",
        "mitigation": 30 * "x",
        "author": "dee",
        "owner": "eli",
    }.items():
        text = text.replace(f'\n{blank}: ""', f"\n{blank}: {value}")
    held = {who: envelope(text, who, "2026-11-21") for who in ("ana", "bo")}
    assert "# kcompiler waiver approve waivers/WV-0001.yaml --key FILE" in text
    loaded, problems = parsed(text.encode(), "waivers/WV-0001.yaml", held)
    assert problems == []
    assert loaded is not None
    assert loaded.waiver.days == TERMS["max_days"]
    one = waiver.given(loaded, [obligation], {})
    assert judged(one, data=missed(), obligations=[obligation]).verdict == "WAIVED"
