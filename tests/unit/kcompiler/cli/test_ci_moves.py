"""`ci --base` against random moves: whatever is renamed, copied, merged, linked or left as a stub, what asks less than
the base and stands nowhere else is told; and what is only moved goes on.

`KCOMPILER_MOVES=2000 python -m pytest tests/unit/kcompiler/cli/test_ci_moves.py` draws that many; a failure names its seed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kcompiler.cli import change, since
from kcompiler.cli.answer import Answer
from kcompiler.cli.outcome import Outcome
from kcompiler.plan import meaning, said
from tests.unit.kcompiler.cli.test_ci_specs import BUDGETS, LAX, STRICT, git, planned

__all__ = ["planned"]
MANY = int(os.environ.get("KCOMPILER_MOVES", "0"))
FOLDERS = ("specs", "generated", "policies", "waivers")
RULE = 'id: {id}\ntitle: The student is in time\non: run\nkind: bound\nparams: {{metric: cpu, op: "<=", threshold: "60", unit: s}}\nremedy: train less\n'
END = {"by": "cy", "on": "2026-02-03", "reason": "it was mended sooner"}


class World:
    """A repository with projects under roots; `at` and `spec` are what a pipeline asks about."""

    def __init__(self, home: Path, plans: Mapping[str, dict[str, Any]], dice: Random) -> None:
        self.home, self.plans, self.dice = home, plans, dice
        self.at, self.spec, self.count, self.waiver = ".", "specs/a.yaml", 0, "WV-0001"

    def path(self, *parts: str) -> Path:
        return self.home.joinpath(self.at, *parts)

    def fresh(self) -> str:
        self.count += 1
        return f"new{self.count}"

    def said(self) -> dict[str, Any]:
        return dict(json.loads(self.path(self.spec).read_text()))

    def say(self, data: Mapping[str, Any], spec: str = "") -> None:
        """Write the spec, and the lock that `plan` would."""
        spec = spec or self.spec
        self.path(spec).parent.mkdir(parents=True, exist_ok=True)
        self.path(spec).write_text(json.dumps(data))
        root = self.path().resolve()
        tree = change.composed(root, root / spec, "")
        assert tree is not None
        plan = self.plans[STRICT if "data" in data["policies"] else LAX]
        source = {**plan["sources"][0], "path": spec, "meaning": meaning(said(tree))}
        name = data["metadata"]["name"]
        plan = plan | {"asked": {**plan["asked"], "name": name, "spec": spec}, "budgets": BUDGETS, "sources": [source]}
        lock = self.path("generated", name, "plan.lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text(json.dumps(plan))

    def project(self, name: str) -> None:
        """A project that asks much of one spec."""
        if self.at != ".":
            self.path(".kcompiler").mkdir(parents=True)
        budgets = {"wall_s": 60, "files": 3, "lines": 40}
        self.spec = f"specs/{name}.yaml"
        self.say({"metadata": {"name": name}, "policies": ["caws/core", "data"], "budgets": budgets, "origin": name})
        for rule in ("few", "more"):
            self.path("policies/acme/lab", rule).mkdir(parents=True)
            self.path("policies/acme/lab", rule, "rule.yaml").write_text(RULE.format(id=rule))
        self.path("policies/acme/lab/pack.yaml").write_text(
            "name: acme/lab\nversion: 1\ntitle: Rules of the lab\nmin_n: 20\n"
        )
        self.path("waivers").mkdir()
        self.waiver = f"WV-000{1 + 'ab'.index(name)}"
        self.path(f"waivers/{self.waiver}.yaml").write_text(json.dumps({"id": self.waiver, "of": name, "revoked": END}))
        told = {"waivers": [{"id": self.waiver, "used": [], "revoked": END}]}
        if self.dice.random() < 0.5:
            self.path("generated", name, "evidence").mkdir(parents=True)
            self.path("generated", name, "evidence/verdict.json").write_text(json.dumps(told))

    # what changes no strength, and is plain

    def rename_file(self) -> None:
        old, self.spec = self.spec, f"specs/{self.fresh()}.{self.dice.choice(('yaml', 'json'))}"
        data = json.loads(self.path(old).read_text())
        self.path(old).unlink()
        self.say(data)

    def rename(self) -> None:
        data = self.said()
        shutil.rmtree(self.path("generated", data["metadata"]["name"]))
        data["metadata"]["name"] = self.fresh()
        self.say(data)

    def move_root(self) -> None:
        new = self.fresh()
        self.home.joinpath(new, ".kcompiler").mkdir(parents=True)
        for folder in FOLDERS:
            if self.path(folder).exists():
                shutil.move(self.path(folder), self.home / new / folder)
        self.at = new

    def ask_more(self) -> None:
        data = self.said()
        data["budgets"]["files"] = min(2, data["budgets"].get("files", 9))
        self.say(data)

    def another_beside(self) -> None:
        name = self.fresh()
        self.say({"metadata": {"name": name}, "policies": ["caws/core"]}, f"specs/{name}.yaml")

    def neighbour(self) -> None:
        if (self.home / "lab").is_dir() and self.at != "lab":
            shutil.move(self.home / "lab", self.home / self.fresh())

    # what is not plain

    def stub(self) -> None:
        old = self.spec
        self.spec = f"specs/{self.fresh()}.yaml"
        data = json.loads(self.path(old).read_text())
        if self.dice.random() < 0.5:
            data["metadata"]["name"] = self.fresh()
        self.path(old).write_text(self.dice.choice(("{}", "metadata: [", '{"metadata": {"name": "other"}}')))
        self.say(data)

    def copy_root(self) -> None:
        new = self.fresh()
        self.home.joinpath(new, ".kcompiler").mkdir(parents=True)
        for folder in FOLDERS:
            if self.path(folder).exists():
                shutil.copytree(self.path(folder), self.home / new / folder)
        if self.dice.random() < 0.5 and self.path(self.spec).exists():
            self.path(self.spec).write_text("{}")
        self.at = new

    def into_another(self) -> None:
        for other in ("lab", "."):
            to = self.home / other
            if other != self.at and (to / "specs").is_dir():
                for folder in FOLDERS:
                    if self.path(folder).exists():
                        shutil.copytree(self.path(folder), to / folder, dirs_exist_ok=self.dice.random() < 0.9)
                        shutil.rmtree(self.path(folder))
                self.at = other
                return

    def part(self) -> None:
        folder = self.dice.choice(("policies", "waivers"))
        if self.path(folder).exists():
            shutil.move(self.path(folder), self.home / self.fresh())

    def link(self) -> None:
        place = self.path(
            self.dice.choice(("specs", "generated", "policies", "waivers", "waivers/WV-0001.yaml", self.spec))
        )
        if place.exists() and not place.is_symlink():
            to = self.home / self.fresh()
            shutil.move(place, to)
            place.symlink_to(os.path.relpath(to, place.parent.resolve()))

    def lose_evidence(self) -> None:
        for path in self.path("generated").glob("*/evidence"):
            shutil.rmtree(path)

    def lose_mark(self) -> None:
        if self.at != "." and self.path(".kcompiler").is_dir():
            self.path(".kcompiler").rmdir()

    def other_case(self) -> None:
        folder = self.dice.choice(FOLDERS)
        if self.path(folder).is_dir():
            shutil.move(self.path(folder), self.path(folder.capitalize()))

    # what asks less

    def obligations(self) -> None:
        self.say(self.said() | {"policies": ["caws/core"]})

    def bound(self) -> None:
        data = self.said()
        key = self.dice.choice(("files", "lines"))
        data["budgets"] = {**data["budgets"], key: 99} if self.dice.random() < 0.5 else {
            name: value for name, value in data["budgets"].items() if name != key}  # fmt: skip
        self.say(data)

    def min_n(self) -> None:
        pack = self.path("policies/acme/lab/pack.yaml")
        pack.write_text(pack.read_text().replace("20", "1"))

    def rule(self) -> None:
        shutil.rmtree(self.path("policies/acme/lab/more"))

    def revocation(self) -> None:
        self.lose_evidence()
        file = self.path("waivers/WV-0001.yaml")
        data = json.loads(file.read_text())
        if self.dice.random() < 0.3:
            data["revoked"]["on"] = "2026-03-03"
        else:
            del data["revoked"]
        file.write_text(json.dumps(data))

    def record(self) -> None:
        self.lose_evidence()
        self.path("waivers/WV-0001.yaml").unlink()

    def gone(self) -> None:
        data = self.said()
        self.path(self.spec).unlink()
        shutil.rmtree(self.path("generated", data["metadata"]["name"]))
        self.another_beside()
        self.spec = f"specs/new{self.count}.yaml"

    # what is asked

    def ci(self, base: str) -> Outcome | None:
        answer = Answer(since.VERB, base, "", self.path(self.spec))
        try:
            since.held_to(answer, base, {}, [self.path(self.spec)])
        except Outcome as ended:
            return ended
        return None

    def commit(self) -> str:
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", "so")
        return git("rev-parse", "HEAD")


PLAIN = (World.rename_file, World.rename, World.move_root, World.ask_more, World.another_beside, World.neighbour)
SLY = (World.stub, World.copy_root, World.into_another, World.part, World.link, World.lose_evidence, World.lose_mark,
       World.other_case)  # fmt: skip
LESS = (World.obligations, World.bound, World.min_n, World.rule, World.revocation, World.record, World.gone)


def world(home: Path, plans: Mapping[str, dict[str, Any]], seed: int) -> World:
    made = World(home, plans, Random(seed))
    (home / ".kcompiler").mkdir()
    git("init", "-q")
    if made.dice.random() < 0.5:
        made.at = "lab"
        made.project("b")
        made.at = "."
    made.project("a")
    return made


def drawn(dice: Random, most: int, *kinds: tuple[Callable[[World], None], ...]) -> list[Callable[[World], None]]:
    return [dice.choice([one for kind in kinds for one in kind]) for _ in range(dice.randint(1, most))]


@pytest.mark.parametrize("seed", range(MANY or 3))
def test_what_asks_less_is_told_however_it_was_moved(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: Mapping[str, dict[str, Any]]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = world(tmp_path, planned, seed)
    dice, base, done, told = made.dice, made.commit(), [], False
    steps = [*drawn(dice, 3, PLAIN, SLY)]
    # what stands beside what asks as much as before may ask less: it is told when that goes
    steps.insert(dice.randrange(len(steps) + 1), dice.choice(LESS))
    for step in steps:
        try:
            step(made)
        except (OSError, KeyError, shutil.Error):
            return  # there was nothing to move or to make less
        done.append(step.__name__)
        if dice.random() < 0.3:
            told = told or made.ci(base) is not None
            base = made.commit()
    assert told or made.ci(base) is not None or stands(made), (seed, done)


def stands(made: World) -> bool:
    """Whether somewhere what was asked first still is: its obligations, bounds, pack and revocation."""
    for root in {path.parent.parent for path in made.home.rglob("specs/*") if ".git" not in path.parts}:
        for spec in root.glob("specs/*"):
            try:
                data = json.loads(spec.read_text())
                name = data["metadata"]["name"]
                lock = json.loads((root / "generated" / name / "plan.lock").read_text())
                pack = (root / "policies/acme/lab/pack.yaml").read_text()
            except (OSError, ValueError, LookupError, TypeError):
                continue
            if data.get("origin") == "a" and any(one["pack"].startswith("data") for one in lock["obligations"]) \
                    and data["budgets"].get("files", 9) <= 3 and data["budgets"].get("lines", 99) <= 40 and "20" in pack \
                    and (root / "policies/acme/lab/more").is_dir():  # fmt: skip
                copies = [json.loads(path.read_text()) for path in made.home.rglob("waivers/WV-0001.yaml")]
                ends = [one.get("revoked") for one in copies if one.get("of") == "a"]
                return bool(ends) and all(one == END for one in ends)
    return False


@pytest.mark.parametrize("seed", range(MANY or 3))
def test_what_is_only_moved_goes_on(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: Mapping[str, dict[str, Any]]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = world(tmp_path, planned, seed)
    base = made.commit()
    done = []
    for step in drawn(made.dice, 4, PLAIN):
        step(made)
        done.append(step.__name__)
    ended = made.ci(base)
    assert ended is None, (seed, done, ended.word, ended.message)
