"""What the report on a run says of budgets is counted again from the journal and the record of what was bought: after
kills, other forms, other specs; and every number that somebody makes smaller is noticed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kcompiler.audit import records
from kcompiler.verifier import ledger
from runtime import digest
from runtime.machine import meter
from runtime.machine.apply import apply
from runtime.machine.journal import Past, load
from runtime.machine.purse import FILE, Spend
from tests.unit.runtime import machinery
from tests.unit.runtime.machinery import approve, chain, quick_folder

BOUNDS = {
    "usd": 2.0,
    "gpu_hours": 1.0,
    "training_tokens": 10_000,
    "teacher_tokens": 10_000,
    "teacher_calls": 9,
    "wall_s": 1e6,
    "cpu_s": 1e6,
}


@pytest.fixture(autouse=True, scope="module")
def _toy() -> Iterator[None]:
    machinery.install()
    yield
    machinery.remove()


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def plan(root: Path, rounds: int, name: str = "toy", **bounds: float) -> dict[str, Any]:
    content = chain(root, rounds=rounds)
    return {**content, "asked": {**content["asked"], "name": name}, "budgets": {**BOUNDS, **bounds}}


def killed(root: Path, content: dict[str, Any], *, sign: bool) -> None:
    def kill(event: Any) -> None:
        if event["event"] == "progress":
            for name in () if sign else (meter.FILE, meter.LATEST):
                for path in (root / ".kcompiler/scratch").glob(f"*/{name}"):
                    path.unlink()
            raise Killed

    with pytest.raises(Killed):
        apply(content, root=root, judge=approve, watch=kill)


class Told:
    """What an auditor has of one plan."""

    def __init__(self, root: Path, content: dict[str, Any]) -> None:
        self.root, self.plan = root, content
        evidence = root / "generated" / content["asked"]["name"] / "evidence"
        self.report = json.loads((evidence / "run.json").read_text())
        self.lines, found = records.state_journal(root)
        assert found == []
        self.used, found = records.in_use(evidence / records.JOURNAL, "journal", self.lines)
        assert found == []

    def wrong(self, report: Any = None, *, lines: bool = True, purse: bytes | None = None) -> list[str]:
        return list(
            ledger.wrong(
                self.report if report is None else report,
                self.plan,
                self.used,
                digest.of_plan(dict(self.plan)),
                self.lines if lines else None,
                records.purse(self.root) if purse is None else purse,
            )
        )

    def spent(self) -> dict[str, float]:
        return {name: one["spent"]["value"] for name, one in self.report["data"]["budgets"].items()}


@pytest.fixture(scope="module")
def story() -> Iterator[tuple[Told, dict[str, float]]]:
    """One plan, made with a kill; then another form with a kill of which there is no sign, another spec, and the first
    plan again, which runs nothing. And what the plan had spent when it was made."""
    with quick_folder() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter, "accelerators", lambda: 1)
        bought = Spend(root / ".kcompiler/paid", "toy", Decimal(9))
        bought.settle(bought.reserve(Decimal("0.5"), 900), Decimal("0.125"), 300)
        bought.lose(bought.reserve(Decimal("0.25"), 50))
        other = Spend(root / ".kcompiler/paid", "another", Decimal(9))
        other.settle(other.reserve(Decimal("5")), Decimal("5"))
        first = plan(root, 5)
        killed(root, first, sign=True)
        assert apply(first, root=root, judge=approve).outcome == "done"
        before = Told(root, first)
        assert before.wrong() == []
        killed(root, plan(root, 6), sign=False)
        assert apply(plan(root, 7, "another"), root=root, judge=approve).outcome == "done"
        assert apply(first, root=root, judge=approve).counts == {"reused": 4}
        yield Told(root, first), before.spent()


def test_it_is_counted_again_as_it_was_counted(story: tuple[Told, dict[str, float]]) -> None:
    told, before = story
    assert told.wrong() == []
    spent = told.spent()
    assert (spent["usd"], spent["teacher_calls"]) == (0.375, 2)
    # what was set aside for the attempt of which nobody knows: as much as was taken the last time, kills and all
    assert spent["gpu_hours"] > before["gpu_hours"]
    assert spent["training_tokens"] == before["training_tokens"] + 60
    assert spent["wall_s"] == before["wall_s"], "of this plan nothing was done since"
    kept = told.report["data"]["budgets_kept"]
    assert (kept["k"], kept["n"]) == (6, 6)


def test_applied_again_the_report_is_the_same_byte_for_byte(story: tuple[Told, dict[str, float]]) -> None:
    told, _ = story
    path = told.root / "generated/toy/evidence/run.json"
    text = path.read_bytes()
    apply(told.plan, root=told.root, judge=approve)
    assert path.read_bytes() == text
    assert Told(told.root, told.plan).wrong() == []


@pytest.mark.parametrize("budget", sorted(set(BOUNDS) - {"cpu_s"}))
def test_no_budget_is_said_to_have_spent_less(story: tuple[Told, dict[str, float]], budget: str) -> None:
    """Nor more; and what is left must be what is not spent."""
    told, _ = story
    for by in (-0.01, 0.01):
        report = copy.deepcopy(told.report)
        one = report["data"]["budgets"][budget]
        one["spent"]["value"] += by
        assert told.wrong(report) == [f"/data/budgets/{budget}/left", f"/data/budgets/{budget}/spent"]
        one["left"]["value"] -= by
        assert told.wrong(report) == [f"/data/budgets/{budget}/spent"]
        report["data"]["budgets"][budget].pop("left")
        assert f"/data/budgets/{budget}/left" in told.wrong(report)


def test_the_count_cannot_be_moved_back(story: tuple[Told, dict[str, float]]) -> None:
    """To where less was spent: that line was no end of a run of this lock since it was carried out."""
    told, _ = story
    assert told.lines is not None
    names = [line.content["data"].get("spec") for line in told.lines]
    for mark in (0, 1, names.index("toy") + 1, len(names)):
        report = copy.deepcopy(told.report)
        report["data"]["counted"]["journal"]["value"] = mark
        assert told.wrong(report), mark
    report = copy.deepcopy(told.report)
    for mark in (0, 1, 2, 5):
        report["data"]["counted"]["purse"]["value"] = mark
        assert told.wrong(report) == ["/data/budgets/usd/spent", "/data/budgets/teacher_calls/spent"]


@pytest.mark.parametrize("kept", [{"k": 5}, {"n": 5, "k": 5}, {"k": 7, "n": 7}])
def test_how_many_are_kept_follows_from_them(story: tuple[Told, dict[str, float]], kept: dict[str, int]) -> None:
    told, _ = story
    report = copy.deepcopy(told.report)
    report["data"]["budgets_kept"] |= kept
    assert told.wrong(report) == ["/data/budgets_kept"]


def test_a_budget_that_is_left_out_or_made_up_is_noticed(story: tuple[Told, dict[str, float]]) -> None:
    told, _ = story
    for change in (
        lambda budgets: budgets.pop("usd"),
        lambda budgets: budgets.update(cpu_s=budgets["wall_s"]),
        lambda budgets: budgets["usd"].update(spent="none"),
        lambda budgets: budgets["usd"]["spent"].update(value=True),
        lambda budgets: budgets["usd"]["spent"].update(value=None),
    ):
        report = copy.deepcopy(told.report)
        change(report["data"]["budgets"])
        assert told.wrong(report) == ["/data/budgets"]
    report = copy.deepcopy(told.report)
    del report["data"]["budgets"]
    assert told.wrong(report) == ["/data/budgets"]
    del report["data"]["budgets_kept"]
    assert told.wrong(report) == [], "of a version that counted none: no gate passes on it"


def test_a_record_of_what_was_bought_that_is_gone_cut_or_changed_is_noticed(
    story: tuple[Told, dict[str, float]],
) -> None:
    told, _ = story
    text = (told.root / ".kcompiler/paid" / FILE).read_bytes()
    lines = text.splitlines(keepends=True)
    for changed in (b"", lines[0], b"".join(lines[1:]), text.replace(b"0.125", b"0.025"), b"[]\n" + text, b"\xff"):
        assert told.wrong(purse=changed) == ["/data/budgets/usd/spent", "/data/budgets/teacher_calls/spent"]
    assert told.wrong(purse=text + b'{"torn') == []


def test_without_the_journal_only_what_stands_in_the_report_is_compared(story: tuple[Told, dict[str, float]]) -> None:
    told, _ = story
    report = copy.deepcopy(told.report)
    assert told.wrong(lines=False) == []
    report["data"]["budgets"]["usd"]["spent"]["value"] = 0
    assert told.wrong(report, lines=False) == ["/data/budgets/usd/left"]
    report["data"]["budgets"]["wall_s"]["spent"]["value"] = 0
    assert "/data/budgets/wall_s/spent" in told.wrong(report, lines=False)


def test_auditor_and_machine_count_alike_after_every_line(story: tuple[Told, dict[str, float]]) -> None:
    told, _ = story
    chained, _ = load(told.root / ".kcompiler")
    past, contents = Past(), []
    for line in chained.lines:
        past.add(line)
        contents.append({"type": line.type, "data": line.data})
        for name in ("toy", "another"):
            machine, found = past.paid(name), ledger.paid(contents, name)
            assert found == pytest.approx({one: getattr(machine, one) for one in ledger.NAMES}), line.seq
    assert past.paid("toy").gpu_s > 0


def test_what_is_overdrawn_is_not_kept(story: tuple[Told, dict[str, float]]) -> None:
    """A lower bound than what is spent, and a plan that runs nothing: the report says so, and a rule blocks on it."""
    told, _ = story
    run = apply(plan(told.root, 5, usd=0.3), root=told.root, judge=approve)
    kept, budgets = run.reports["apply"]["data"]["budgets_kept"], run.reports["apply"]["data"]["budgets"]
    assert (kept["k"], kept["n"], budgets["usd"]["left"]["value"]) == (5, 6, 0)
