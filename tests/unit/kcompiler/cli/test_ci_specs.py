"""`ci --base`: what a spec was asked stays asked when its file and its name are others, or it is gone; its budgets too."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kcompiler import assets
from kcompiler.cli import _main

CASE = Path(__file__).resolve().parents[3] / "golden" / "plan" / "a-good-spec-is-planned-without-a-word"
BUDGETS = {"usd": 0.0, "gpu_hours": 0.0, "wall_s": 60.0, "cpu_s": 60.0}
STRICT, LAX = "caws/core, data", "caws/core"


def git(*words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict[str, Any]]:
    """Packs → the lock of a spec that names them."""
    home = tmp_path_factory.mktemp("planned")
    (home / ".kcompiler").mkdir()
    (home / "specs").mkdir()
    (home / "specs/a.yaml").write_text((CASE / "spec.yaml").read_text().replace("[caws/core]", f"[{STRICT}]"))
    assert _main(["plan", str(home / "specs/a.yaml")]) == 0
    plan = json.loads((home / "generated/answers/plan.lock").read_text())
    core = [one for one in plan["obligations"] if not one["pack"].startswith("data@")]
    packs = [one for one in plan["policies"] if one["pack"] != "data"]
    assert len(core) < len(plan["obligations"])
    return {STRICT: plan, LAX: plan | {"obligations": core, "policies": packs}}


class Repository:
    """A project under git, whose locks are written as `plan` writes them."""

    def __init__(self, home: Path, planned: Mapping[str, dict[str, Any]]) -> None:
        self.home, self.planned = home, planned

    def spec(self, file: str, name: str, packs: str = STRICT, **budgets: float) -> None:
        """A spec and its lock."""
        plan = self.planned[packs]
        plan = plan | {"asked": {**plan["asked"], "name": name, "spec": file}, "budgets": BUDGETS | budgets}
        (self.home / file).parent.mkdir(parents=True, exist_ok=True)
        (self.home / file).write_text(f"metadata: {{name: {name}}}\n")
        lock = self.home / "generated" / name / "plan.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text(json.dumps(plan))

    def gone(self, file: str, name: str = "") -> None:
        (self.home / file).unlink()
        if name:
            shutil.rmtree(self.home / "generated" / name)

    def commit(self) -> None:
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", "so")

    def ci(self, code: int, *specs: str, allow: tuple[str, ...] = ()) -> dict[str, Any]:
        """What `policy diff` says. It ends with `code`, and everything after it is not asked or, as no spec here is
        one, refused."""
        words = [word for rule in allow for word in ("--allow-weaker", rule, "for a reason")]
        assert _main(["ci", *specs, "--to", "out", "--base", "HEAD", *words]) == (code or 1)
        found = json.loads(Path("out/result.json").read_text())
        jsonschema.validate(found, json.loads((assets.folder("schemas") / "result.schema.json").read_text()))
        part: dict[str, Any] = found["parts"][0]
        assert (part["verb"], part["code"]) == ("policy diff", code)
        assert (found["parts"][1]["outcome"] == "not-run") == bool(code)
        return part


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: Mapping[str, dict[str, Any]]) -> Repository:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".kcompiler").mkdir()
    git("init", "-q")
    made = Repository(tmp_path, planned)
    made.spec("specs/a.yaml", "a")
    made.commit()
    return made


def weaker(part: dict[str, Any]) -> dict[str, str]:
    return {one["rule"]: one["way"] for one in part["data"]["asked"] if one["weakens"]}


def test_another_file_and_another_name_are_held_to_what_the_old_ones_were_asked(
    home: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    home.gone("specs/a.yaml")
    home.spec("specs/b.yaml", "b", LAX)
    part = home.ci(1, "specs/b.yaml")
    lost = weaker(part)
    assert set(lost.values()) == {"removed"}
    assert all(rule.startswith("data/") for rule in lost)
    assert {one["lock"] for one in part["data"]["asked"]} == {"generated/b/plan.lock"}
    # the lock that nobody plans again is named, where it was and by whom
    assert part["data"]["left_behind"] == ["generated/a/plan.lock"]
    assert "generated/a/plan.lock is of specs/a.yaml, which is not there" in Path("out/summary.md").read_text()
    advice = capsys.readouterr().err.splitlines()[-1].partition("next=kcompiler ")[2]
    assert advice == "diff --exit-code HEAD:./generated/a/plan.lock generated/b/plan.lock"
    assert _main(advice.split()) == 1
    assert home.ci(0, "specs/b.yaml", allow=tuple(lost))["outcome"] == "ok"


def test_what_is_only_called_otherwise_goes_on(home: Repository) -> None:
    home.gone("specs/a.yaml", "a")
    home.spec("other/b.yaml", "b")
    part = home.ci(0, "other/b.yaml")
    assert (part["data"]["asked"], part["data"]["left_behind"]) == ([], [])


def test_a_name_for_which_money_was_counted_is_kept(home: Repository) -> None:
    home.spec("specs/a.yaml", "a", usd=100.0)
    home.commit()
    home.gone("specs/a.yaml", "a")
    home.spec("specs/b.yaml", "b", usd=100.0)
    (row,) = home.ci(1, "specs/b.yaml")["data"]["asked"]
    assert (row["rule"], row["way"]) == ("b/name", "weaker")
    assert row["what"] == "a → b: usd that were spent for the old name count no more"
    assert home.ci(0, "specs/b.yaml", allow=("b/name",))["data"]["asked"][0]["allowed"] == "for a reason"


def test_a_spec_that_is_gone_is_weaker(home: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    home.spec("specs/old.yaml", "old")
    home.commit()
    home.gone("specs/a.yaml", "a")
    part = home.ci(1, "specs/old.yaml")
    assert weaker(part) == {"a/spec": "removed"}
    assert part["data"]["asked"][0]["lock"] == "generated/a/plan.lock"
    assert capsys.readouterr().err.splitlines()[-1].endswith("next=git show HEAD:./specs/a.yaml")
    assert git("show", "HEAD:./specs/a.yaml") == "metadata: {name: a}"
    assert home.ci(0, "specs/old.yaml", allow=("a/spec",))["outcome"] == "ok"


@pytest.mark.parametrize("way", ["takes the name of a laxer one", "hides behind one that is not asked", "two for one"])
def test_no_other_spec_stands_in_for_it(home: Repository, way: str) -> None:
    home.spec("specs/lax.yaml", "lax", LAX)
    home.commit()
    if way == "takes the name of a laxer one":
        home.gone("specs/lax.yaml")
        home.gone("specs/a.yaml", "a")
        home.spec("specs/a.yaml", "lax", LAX)
        lost = weaker(home.ci(1, "specs/a.yaml"))
        assert {rule.partition("/")[0] for rule in lost} == {"data"}
    elif way == "hides behind one that is not asked":
        home.gone("specs/a.yaml", "a")
        home.spec("specs/b.yaml", "b")
        assert weaker(home.ci(1, "specs/lax.yaml")) == {"a/spec": "removed"}
    else:
        home.gone("specs/a.yaml", "a")
        home.gone("specs/lax.yaml", "lax")
        home.spec("specs/b.yaml", "b")
        # the one that is most like it takes the place of the one, and the other is gone
        assert weaker(home.ci(1, "specs/b.yaml")) == {"lax/spec": "removed"}


def test_two_that_change_their_names_are_told_apart(home: Repository) -> None:
    home.spec("specs/lax.yaml", "lax", LAX)
    home.commit()
    home.gone("specs/a.yaml", "a")
    home.gone("specs/lax.yaml", "lax")
    home.spec("specs/y.yaml", "y")
    home.spec("specs/x.yaml", "x", LAX)
    assert home.ci(0, "specs/x.yaml", "specs/y.yaml")["data"]["asked"] == []


@pytest.mark.parametrize(
    ("budget", "was", "now", "way"),
    [
        ("usd", 0.0, 100_000.0, "weaker"),
        ("gpu_hours", 0.0, 9_999.0, "weaker"),
        ("wall_s", 60.0, 6_000.0, "weaker"),
        ("teacher_calls", 10, None, "weaker"),
        ("usd", 10.0, 5.0, "stronger"),
        ("teacher_calls", None, 10, "stronger"),
    ],
)
def test_a_higher_budget_is_weaker(home: Repository, budget: str, was: Any, now: Any, way: str) -> None:
    for value in (was, now):
        home.spec("specs/a.yaml", "a", **({} if value is None else {budget: value}))
        if value == was:
            home.commit()
    worse = way == "weaker"
    (row,) = home.ci(int(worse), "specs/a.yaml")["data"]["asked"]
    assert (row["rule"], row["way"], row["weakens"]) == (f"a/budgets.{budget}", way, worse)
    if worse:
        assert home.ci(0, "specs/a.yaml", allow=(f"a/budgets.{budget}",))["outcome"] == "ok"


def own_lock(home: Repository) -> str:
    home.spec("specs/a.yaml", "b", LAX)
    return "specs/a.yaml"


def a_file_that_is_no_spec(home: Repository) -> str:
    home.spec("specs/b.yaml", "b", LAX)
    Path("specs/a.yaml").write_text("{}\n")
    shutil.rmtree("generated/a")
    return "specs/b.yaml"


def a_file_of_another_name_and_the_lock(home: Repository) -> str:
    home.spec("specs/b.yaml", "b", LAX)
    Path("specs/a.yaml").write_text("metadata: {name: other}\n")
    return "specs/b.yaml"


def a_file_that_cannot_be_read(home: Repository) -> str:
    home.spec("specs/b.yaml", "b", LAX)
    Path("specs/a.yaml").write_text("metadata: [\n")
    return "specs/b.yaml"


def a_spec_that_its_lock_is_not_of(home: Repository) -> str:
    home.spec("specs/b.yaml", "b", LAX)
    Path("specs/a.yaml").write_text("metadata: {name: a}\npolicies: []\n")
    return "specs/b.yaml"


def a_spec_without_its_lock(home: Repository) -> str:
    home.spec("specs/b.yaml", "b", LAX)
    shutil.rmtree("generated/a")
    return "specs/b.yaml"


def a_laxer_spec_that_is_not_asked(home: Repository) -> str:
    home.spec("specs/b.yaml", "b", LAX)
    home.spec("specs/a.yaml", "a", LAX)
    return "specs/b.yaml"


def a_root_that_is_another(home: Repository) -> str:
    home.spec("specs/a.yaml", "a", LAX)
    Path("specs/.kcompiler").mkdir()
    shutil.move("generated", "specs/generated")
    place = Path("specs/generated/a/plan.lock")
    place.write_text(place.read_text().replace('"spec": "specs/a.yaml"', '"spec": "a.yaml"'))
    return "specs/a.yaml"


def a_folder_of_another_name(home: Repository) -> str:
    home.spec("specs/a.yaml", "a", LAX)
    Path("lab/.kcompiler").mkdir(parents=True)
    shutil.move("specs", "lab/specs")
    shutil.move("generated", "lab/generated")
    return "lab/specs/a.yaml"


@pytest.mark.parametrize(
    "stays",
    [
        own_lock,
        a_file_that_is_no_spec,
        a_file_of_another_name_and_the_lock,
        a_file_that_cannot_be_read,
        a_spec_that_its_lock_is_not_of,
        a_spec_without_its_lock,
        a_laxer_spec_that_is_not_asked,
        a_root_that_is_another,
        a_folder_of_another_name,
    ],
)
def test_what_stays_behind_hides_nothing(home: Repository, stays: Any) -> None:
    spec = stays(home)
    lost = weaker(home.ci(1, spec))
    assert lost
    assert all(rule.startswith("data/") for rule in lost)


def test_a_profile_that_is_called_otherwise_is_held_to_what_it_was_asked(home: Repository) -> None:
    def profiles(name: str) -> None:
        Path("specs/a.yaml").write_text(f"metadata: {{name: a}}\nprofiles: {{{name}: {{}}}}\n")

    home.spec("specs/a.yaml", "a@full")
    profiles("full")
    home.commit()
    home.spec("specs/a.yaml", "a@whole", LAX)
    profiles("whole")
    lost = weaker(home.ci(1, "specs/a.yaml"))
    assert lost
    assert all(rule.startswith("data/") for rule in lost)
    # without another it is gone
    shutil.rmtree("generated/a@whole")
    assert weaker(home.ci(1, "specs/a.yaml")) == {"a@full/spec": "removed"}


def test_what_had_stayed_behind_asks_nothing(home: Repository) -> None:
    home.spec("specs/a.yaml", "b")
    home.commit()
    assert home.ci(0, "specs/a.yaml")["data"]["left_behind"] == ["generated/a/plan.lock"]
    assert "is of specs/a.yaml, which makes no plan called a: remove it" in Path("out/summary.md").read_text()
    shutil.rmtree("generated/a")
    assert home.ci(0, "specs/a.yaml")["data"] | {"base": ""} == {
        "base": "",
        "rules": [],
        "left_behind": [],
        "asked": [],
    }
    # another project of the repository, that is there as it was, is none of ours
    Path("lab/.kcompiler").mkdir(parents=True)
    home.spec("lab/specs/a.yaml", "a", LAX)
    shutil.move("generated/a", "lab/generated/a")
    place = Path("lab/generated/a/plan.lock")
    place.write_text(place.read_text().replace("lab/specs/a.yaml", "specs/a.yaml"))
    assert home.ci(0, "lab/specs/a.yaml")["data"]["asked"] == []
    assert _main(["ci", "specs/a.yaml", "lab/specs/a.yaml", "--to", "out", "--base", "HEAD"]) == 2
    assert json.loads(Path("out/packs.json").read_text())["outcome"] == "usage"


def test_a_root_that_a_clone_takes_from_git_is_told(home: Repository) -> None:
    Path("lab/.kcompiler").mkdir(parents=True)
    home.spec("lab/specs/c.yaml", "c")
    shutil.move("generated/c", "lab/generated/c")
    place = Path("lab/generated/c/plan.lock")
    place.write_text(place.read_text().replace("lab/specs/c.yaml", "specs/c.yaml"))
    home.commit()
    assert home.ci(0, "lab/specs/c.yaml")["data"]["asked"] == []
    Path("lab/.kcompiler").rmdir()
    (row,) = home.ci(1, "lab/specs/c.yaml")["data"]["asked"]
    assert (row["rule"], row["way"]) == ("c/spec", "removed")
    assert "`mkdir lab/.kcompiler`" in row["what"]


REVOKED = 'revoked: {by: cy, on: "2026-02-03", reason: "it was mended sooner"}\n'


def told(on: str) -> None:
    """A verdict that tells of the waiver, and of its end."""
    end = {"by": "cy", "on": on, "reason": "it was mended sooner"}
    Path("generated/a/evidence").mkdir(exist_ok=True)
    Path("generated/a/evidence/verdict.json").write_text(
        json.dumps({"waivers": [{"id": "WV-0001", "used": [], "revoked": end}]})
    )


@pytest.mark.parametrize("record", ["the file", "the verdict"])
def test_a_commit_undoes_no_revocation(home: Repository, record: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path("waivers/WV-0001.yaml")
    file.parent.mkdir()
    file.write_text(f"id: WV-0001\n{REVOKED if record == 'the file' else ''}")
    if record == "the verdict":
        told("2026-02-03")
    home.commit()
    assert home.ci(0, "specs/a.yaml")["data"]["asked"] == []
    # the line, or what told of it, is taken away
    file.write_text("id: WV-0001\n")
    shutil.rmtree("generated/a/evidence", ignore_errors=True)
    capsys.readouterr()
    part = home.ci(1, "specs/a.yaml")
    (row,) = part["data"]["asked"]
    assert (row["rule"], row["way"]) == ("waivers/WV-0001", "weaker")
    assert row["what"] == "revoked on 2026-02-03 → no longer revoked"
    assert [one["file"] for one in part["diagnostics"]] == ["waivers/WV-0001.yaml"]
    assert capsys.readouterr().err.splitlines()[-1].endswith("next=git diff HEAD -- waivers/WV-0001.yaml")
    # or says a later day
    told("2026-02-04")
    assert weaker(home.ci(1, "specs/a.yaml")) == {"waivers/WV-0001": "weaker"}
    # or the record goes
    shutil.rmtree("generated/a/evidence")
    file.unlink()
    assert weaker(home.ci(1, "specs/a.yaml")) == {"waivers/WV-0001": "removed"}
    assert home.ci(0, "specs/a.yaml", allow=("waivers/WV-0001",))["outcome"] == "ok"
    # what tells of it elsewhere is enough
    told("2026-02-03")
    assert home.ci(0, "specs/a.yaml")["data"]["asked"] == []
