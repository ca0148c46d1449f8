"""The verbs about .kcompiler on the command line: wrong uses first, and every advice that is printed is followed."""

import json
import os
import re

import pytest

from kcompiler.cli import _main, answer
from runtime.data.kept import Kept, Reply
from runtime.machine.lease import NOTE, Lease
from runtime.machine.purse import Spend
from tests.unit.kcompiler.cli.conftest import PUBLISHED, SPEC


@pytest.fixture
def run(capsys, monkeypatch):
    """`kcompiler state …` twice, for people and as JSON by the published schema: exit code, stdout, stderr, result."""
    write = answer.rendered

    def every(result, form, runs):
        for other in answer.FORMS[2:]:
            write(result, other)
        return write(result, form, runs)

    monkeypatch.setattr(answer, "rendered", every)

    def run(code, *arguments, changes=False):
        capsys.readouterr()
        if not changes:
            assert _main(["state", *arguments, "--format", "json"]) == code
            found = json.loads(capsys.readouterr().out)
            PUBLISHED.validate(found)
            assert (found["verb"], found["code"]) == (f"state {arguments[0]}", code)
        else:
            found = None
        assert _main(["state", *arguments]) == code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        if code:
            last = said.err.splitlines()[-1]
            assert re.fullmatch(rf"outcome=\S+ code={code} next=.+", last)
            if found:
                assert last.endswith(f"next={found['next']}")
        return said.out, said.err, found

    return run


def artifact(home):
    return next(
        path for path in sorted((home / ".kcompiler/store/sha256").glob("*/*")) if (path / "report.json").exists()
    )


def damage(path):
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    "verb",
    [["list"], ["show", "data"], ["verify"], ["gc"], ["lock-info"], ["unlock"], ["resolve", "data", "--as", "failed"]],
    ids=lambda v: v[0],
)
def test_where_nothing_was_applied_each_says_so_and_makes_nothing(verb, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    _, err, found = run(2, *verb)
    assert "has no .kcompiler: nothing was ever applied here" in err
    assert found["outcome"] == "no-state"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resolve", "data"], "Missing option '--as'"),
        (["resolve", "--as", "failed"], "Missing argument 'STEP'"),
        (["resolve", "data", "--as", "perhaps"], "'perhaps' is not one of"),
        (["show"], "Missing argument 'NAME'"),
        (["unlock", "--force"], "requires an argument"),
        (["lists"], "No such command"),
    ],
)
def test_words_that_mean_nothing_are_refused(home, capsys, arguments, said):
    assert _main(["state", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_list_and_show_say_what_lies_there_whose_it_is_and_who_uses_it(home, run):
    out, _, found = run(0, "list")
    items = found["data"]["items"]
    assert {one["room"] for one in items} == {"artifact"}
    assert {f"{by['step']}#{by['port']}" for one in items for by in one["made"]} == {"data#dataset", "data#report"}
    assert all(one["used_by"] == ["eight-ball"] and one["stands"] and one["bytes"] > 0 for one in items)
    assert re.search(r"eight-ball +data#dataset +[\d.]+ [KM]?B +\d+ (s|min) +eight-ball\n", out)
    digest = items[0]["name"]
    for name in (digest, digest.removeprefix("sha256:"), digest[7:19]):
        shown, _, found = run(0, "show", name)
        assert found["data"]["items"][0]["name"] == digest
        assert found["data"]["items"][0]["sound"] is True
        assert "its digest is what it was" in shown
    assert len(run(0, "show", "data")[2]["data"]["items"]) == 2
    assert len(run(0, "show", "eight-ball:data")[2]["data"]["items"]) == 2


@pytest.mark.parametrize("name", ["nothing", "sha256:", "abc", "eight-ball:train", "0" * 64, "../x", "\x1b[2J"])
def test_what_is_not_there_cannot_be_shown(home, run, name):
    _, err, found = run(2, "show", name)
    assert found["outcome"] == "no-such-item"
    assert "\x1b" not in err
    assert found["next"] == "kcompiler state list"
    assert ("of a digest, write 4 digits or more" in err) == (name in ("sha256:", "abc"))


def test_a_damaged_artifact_is_found_put_aside_and_made_again(home, run):
    _, _, found = run(0, "verify")
    assert found["data"] == {
        "lines": found["data"]["lines"],
        "artifacts": 2,
        "bytes": found["data"]["bytes"],
        "paid": 0,
        "mended": 0,
    }
    victim = artifact(home)
    damage(victim / "report.json")
    out, err, found = run(3, "verify")
    assert [(one["code"], one["severity"]) for one in found["findings"]] == [("KA21", "evidence")]
    assert victim.relative_to(home).as_posix() in out
    assert err.splitlines()[-1].endswith("next=kcompiler state verify --repair")
    run(3, "show", victim.name)
    out, err, _ = run(3, "verify", "--repair", changes=True)
    assert out.startswith("damaged ")
    assert err.splitlines()[-1].endswith("next=kcompiler apply SPEC, which makes again what is gone")
    assert f"moved to .kcompiler/quarantine/{victim.name}-1" in out
    _, err, found = run(3, "verify")
    assert found["findings"][0]["message"] == "gone, though the evidence of eight-ball names it"
    assert "GONE" in run(0, "list")[0]
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    out, _, found = run(0, "verify")
    assert [one["code"] for one in found["findings"]] == ["KA42"]
    assert "put aside" in out
    aside = run(0, "list")[2]["data"]["items"][-1]
    assert aside["room"] == "quarantine"
    # by its digest, or the first digits of it, both are shown: what was put aside, and what was made in its place
    for name in (f"sha256:{victim.name}", victim.name, victim.name[:8]):
        items = run(0, "show", name)[2]["data"]["items"]
        assert [(one["room"], one["sound"]) for one in items] == [("artifact", True), ("quarantine", None)]
    assert [one["room"] for one in run(0, "show", aside["name"])[2]["data"]["items"]] == ["quarantine"]


def test_a_damaged_journal_stops_all_but_verify_and_the_advice_works(home, run):
    journal = home / ".kcompiler/journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"attempt":1', b'"attempt":2', 1))
    number = 1 + journal.read_bytes().partition(b'"attempt":2')[0].count(b"\n")
    _, err, found = run(3, "verify")
    assert [(one["code"], one["where"]["line"]) for one in found["findings"]] == [("KA11", number)]
    assert "restore .kcompiler from a copy, or move it away" in err
    for verb in (["list"], ["show", "data"], ["resolve", "data", "--as", "failed"]):
        _, err, _ = run(3, *verb)
        assert f"journal.jsonl:{number}" in err
        assert err.splitlines()[-1].endswith("next=kcompiler state verify")
    (home / ".kcompiler").rename(home / "aside")
    (home / ".kcompiler").mkdir()
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    run(0, "verify")


def test_what_was_paid_for_is_verified_too(home, run):
    paid = home / ".kcompiler/paid"
    kept = Kept(paid / "answers")
    for number in range(3):
        kept.put({"url": "https://x", "body": {"n": number}}, Reply(value={}, usd=0))
    Spend(paid, "eight-ball", 1).reserve(1)
    assert run(0, "verify")[2]["data"]["paid"] == 3
    one, two, _ = sorted((paid / "answers").glob("*/*.json"))
    damage(one)
    one.write_text("{}")
    two.rename(two.with_name(f"{'0' * 64}.json"))
    _, err, found = run(3, "verify")
    assert [(one["code"], one["severity"]) for one in found["findings"]] == [("KA41", "evidence")] * 2
    assert found["data"]["paid"] == 1
    assert "asks again" in err
    for path in (one, two.with_name(f"{'0' * 64}.json")):
        path.unlink()
    run(0, "verify")
    spend = paid / "spend.jsonl"
    spend.write_text(spend.read_text().replace('"usd":"1"', '"usd":"0"'))
    _, _, found = run(3, "verify")
    assert found["findings"][0]["where"] == {
        "file": ".kcompiler/paid/spend.jsonl",
        "line": 1,
        "column": 0,
        "pointer": "",
    }


def test_who_holds_the_lease_is_told_and_kept_unless_by_its_id(home, run):
    assert run(0, "lock-info")[0].startswith("nobody holds the lease")
    assert run(0, "unlock")[0] == "nobody holds the lease\n"
    _, err, found = run(2, "unlock", "--force", "abc")
    assert "nobody holds the lease: `abc` names no holder" in err
    assert (found["outcome"], found["next"]) == ("no-holder", "kcompiler state lock-info")
    with Lease(home / ".kcompiler") as lease:
        lease.sign(100, taken="2026-11-20T00:00:00Z")
        out, _, found = run(0, "lock-info")
        assert found["data"] == {
            "state": "lives",
            "held": True,
            "id": lease.id,
            "silent_s": None,
            "pid": os.getpid(),
            "host": found["data"]["host"],
            "boot": found["data"]["boot"],
            "taken": "2026-11-20T00:00:00Z",
            "fence": 101,
        }
        assert f"kcompiler state unlock --force {lease.id}" in out
        _, err, found = run(5, "unlock")
        assert f"process {os.getpid()} on " in err
        assert found["next"] == f"end process {os.getpid()}, or kcompiler state unlock --force {lease.id}"
        _, _, found = run(2, "unlock", "--force", "0" * 12)
        assert (found["outcome"], found["next"]) == ("another-holder", "kcompiler state lock-info")
        for verb in (["gc"], ["resolve", "data", "--as", "failed"]):
            _, err, _ = run(5, *verb)
            assert "kcompiler state lock-info" in err
        lease.confirm()
        run(0, "unlock", "--force", lease.id, changes=True)
    assert run(0, "lock-info")[0].startswith("nobody holds the lease")
    assert _main(["apply", SPEC, "--only", "data"]) == 0


def test_a_lease_of_another_machine_is_waited_for_and_freed_by_its_id(home, run):
    note = home / ".kcompiler" / NOTE
    owner = {"pid": 7, "host": "other", "boot": "x", "taken": "2026-01-01T00:00:00Z", "fence": 90, "id": "feed"}
    note.write_text(json.dumps(owner))
    assert run(0, "lock-info")[2]["data"]["state"] == "elsewhere"
    assert _main(["apply", SPEC, "--only", "data"]) == 5
    _, err, found = run(5, "unlock")
    assert "another machine, whose last sign of life was " in err
    assert found["next"] == "where it is dead: kcompiler state unlock --force feed"
    run(0, "unlock", "--force", "feed", changes=True)
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    note.write_text(json.dumps(owner))
    os.utime(note, (1, 1))
    out, _, found = run(0, "lock-info")
    assert found["data"]["state"] == "silent"
    assert "the next writer takes it" in out
    assert _main(["apply", SPEC, "--only", "data"]) == 0
    assert run(0, "lock-info")[2]["data"]["state"] == "free"


def test_an_attempt_whose_end_is_known_is_not_settled(home, run):
    _, err, found = run(2, "resolve", "data", "--as", "committed")
    assert (found["outcome"], found["next"]) == ("nothing-in-doubt", "kcompiler state list")
    assert "no attempt at a step `data` is in doubt" in err
    run(2, "resolve", "nothing", "--as", "failed", "--spec", "eight-ball")
