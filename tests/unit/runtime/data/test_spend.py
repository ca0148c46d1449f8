"""Money of a project: reserved before, settled after, and never less than a server may have charged."""

from __future__ import annotations

import errno
import json
import os
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import BrokenEvidence
from runtime.data.kept import Kept, Reply
from runtime.machine import durable
from runtime.machine.durable import Disk, StorageFailed
from runtime.machine.purse import FILE, Amount, Bounds, BudgetReached, Spend

CENT = Decimal("0.01")


class Killed(BaseException):
    """Stands for SIGKILL: what was announced to the disk did not happen, and nothing after it."""


class Dying(Disk):
    """Dies at its n-th elementary operation, or lets that and every later one fail."""

    def __init__(self, at: int, error: OSError | None = None) -> None:
        self.left, self.error = at, error

    def boundary(self, operation: str, path: Path) -> None:
        self.left -= 1
        if self.left < 0 and self.error is not None:
            raise self.error
        if self.left == -1:
            raise Killed


def test_a_purse_is_bounded_by_what_is_spent_and_what_may_still_be(tmp_path: Path) -> None:
    spend = Spend(tmp_path, "p", 3 * CENT)
    first = spend.reserve(2 * CENT)
    spend.settle(first, CENT)
    second = spend.reserve(2 * CENT)
    # exactly as much as there is: decimals, not floats
    spend.settle(second, 2 * CENT)
    with pytest.raises(BudgetReached) as reached:
        spend.reserve(Decimal("1e-9"))
    assert reached.value.most == Decimal("1e-9")
    assert (spend.settled, spend.unknown, spend.lost) == (3 * CENT, 0, 0)
    spend.reserve(Decimal(0))


def test_tenths_add_up_exactly(tmp_path: Path) -> None:
    spend = Spend(tmp_path, "p", Decimal("0.3"))
    for usd in ("0.1", "0.2"):
        spend.settle(spend.reserve(Decimal(usd)), Decimal(usd))
    assert spend.settled == Decimal("0.3")


def test_what_is_lost_stays_spent_and_another_purse_is_another(tmp_path: Path) -> None:
    spend = Spend(tmp_path, "p", 3 * CENT)
    spend.lose(spend.reserve(2 * CENT))
    assert (spend.settled, spend.unknown, spend.lost) == (0, 2 * CENT, 1)
    again = Spend(tmp_path, "p", 3 * CENT)
    assert (again.settled, again.unknown, again.lost) == (0, 2 * CENT, 1)
    with pytest.raises(BudgetReached):
        again.reserve(2 * CENT)
    other = Spend(tmp_path, "q", 3 * CENT)
    assert (other.settled, other.unknown) == (0, 0)
    other.settle(other.reserve(3 * CENT), 3 * CENT)
    assert Spend(tmp_path, "q", 3 * CENT).settled == 3 * CENT
    assert Spend(tmp_path, "p", 9 * CENT).unknown == 2 * CENT


def test_who_waits_gets_what_another_gives_back(tmp_path: Path) -> None:
    spend = Spend(tmp_path, "p", 2 * CENT)
    first = spend.reserve(2 * CENT)
    got: list[str] = []
    waiter = threading.Thread(target=lambda: got.append(spend.reserve(CENT)))
    waiter.start()
    waiter.join(0.05)
    assert waiter.is_alive()
    spend.settle(first, CENT)
    waiter.join(5)
    assert len(got) == 1
    spend.settle(got[0], CENT)
    assert spend.settled == 2 * CENT


def test_who_waits_for_nothing_is_told(tmp_path: Path) -> None:
    spend = Spend(tmp_path, "p", 2 * CENT)
    first = spend.reserve(2 * CENT)
    told: list[BaseException] = []

    def wait() -> None:
        try:
            spend.reserve(CENT)
        except BudgetReached as error:
            told.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    spend.lose(first)
    waiter.join(5)
    assert len(told) == 1


DAMAGE = {
    "an amount": lambda lines: [lines[0].replace(b"0.01", b"0.00"), *lines[1:]],
    "a purse": lambda lines: [lines[0].replace(b'"p"', b'"q"'), *lines[1:]],
    "the last line": lambda lines: [*lines[:-1], lines[-1].replace(b"0.01", b"0.00")],
    "a line less": lambda lines: lines[1:],
    "a line less within": lambda lines: [lines[0], *lines[2:]],
    "a line twice": lambda lines: [lines[0], *lines],
    "two lines exchanged": lambda lines: [lines[1], lines[0], *lines[2:]],
    "not JSON": lambda lines: [b"{\n", *lines],
    "not an object": lambda lines: [b"[]\n", *lines],
    "bytes": lambda lines: [b"\xff\xfe\n", *lines],
    "an empty line": lambda lines: [b"\n", *lines],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_record_that_is_not_what_was_written_is_refused(tmp_path: Path, damage: str) -> None:
    spend = Spend(tmp_path, "p", Decimal(1))
    for _ in range(3):
        spend.settle(spend.reserve(CENT), CENT)
    path = tmp_path / FILE
    path.write_bytes(b"".join(DAMAGE[damage](path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(BrokenEvidence, match=r"restore it from a copy, or remove it and lower budgets\.usd") as caught:
        Spend(tmp_path, "p", Decimal(1))
    assert caught.value.subject.endswith(tuple(f"{FILE}:{number}" for number in range(1, 8)))


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity", "1,5", ""])
def test_no_line_states_an_amount_that_is_none(tmp_path: Path, amount: str) -> None:
    spend = Spend(tmp_path, "p", Decimal(1))
    spend._add({"is": "reserved", "as": "x", "purse": "p", "usd": amount})
    with pytest.raises(BrokenEvidence):
        Spend(tmp_path, "p", Decimal(1))


def test_a_torn_last_line_was_never_acknowledged(tmp_path: Path) -> None:
    spend = Spend(tmp_path, "p", Decimal(1))
    spend.lose(spend.reserve(CENT))
    spend.lose(spend.reserve(CENT))
    path = tmp_path / FILE
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        again = Spend(tmp_path, "p", Decimal(1))
        assert again.lost == 1
        assert path.read_bytes() == whole[:first]
        again.lose(again.reserve(CENT))
        assert Spend(tmp_path, "p", Decimal(1)).lost == 2


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 60), st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_a_kill_anywhere_loses_no_answer_and_no_cent(
    tmp_path_factory: pytest.TempPathFactory, at: int, costs: list[int]
) -> None:
    """The order of a harvest (reserve, send, keep, settle), killed at any elementary operation of the disk: what was
    acknowledged is found again, and what is counted is at least what was charged and at most what could have been."""
    folder = tmp_path_factory.mktemp("paid")
    charged, kept, most = Decimal(0), {}, 5 * CENT

    def question(number: int) -> dict[str, object]:
        return {"url": "u", "body": {"prompt": number}}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "DISK", Dying(at))
        try:
            spend, store = Spend(folder, "p", Decimal(9)), Kept(folder / "answers")
            for number, cents in enumerate(costs):
                name = spend.reserve(most)
                charged += cents * CENT
                reply = Reply(value={"n": number}, usd=cents * CENT, reserved=name)
                store.put(question(number), reply)
                kept[number] = reply
                spend.settle(name, cents * CENT)
        except Killed:
            pass
    spend, store = Spend(folder, "p", Decimal(9)), Kept(folder / "answers")
    for number in range(len(costs)):
        found = store.get(question(number))
        if number in kept:
            assert found == kept[number]
        if found is not None:
            # what an answer says that is there settles what its writer had no time for
            spend.settle(found.reserved, found.usd)
            spend.settle(found.reserved, found.usd)
    assert store.damaged == {}
    assert charged <= spend.settled + spend.unknown <= charged + most
    assert spend.lost <= 1
    assert not list(folder.rglob(".kc-tmp-*"))


@pytest.mark.parametrize("at", range(14))
def test_a_full_disk_is_said_and_what_stood_before_stands(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend, store = Spend(tmp_path, "p", Decimal(9)), Kept(tmp_path / "answers")
    first = spend.reserve(CENT)
    store.put({"q": 1}, Reply(value="a", usd=CENT, reserved=first))
    spend.settle(first, CENT)
    monkeypatch.setattr(durable, "DISK", Dying(at, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))

    def ask() -> None:
        for number in range(2, 9):
            name = spend.reserve(CENT)
            store.put({"q": number}, Reply(value="a", usd=CENT, reserved=name))
            spend.settle(name, CENT)

    with pytest.raises(StorageFailed, match="no space is left"):
        ask()
    # as long as nothing can be written, nothing may be sent
    with pytest.raises(StorageFailed):
        spend.reserve(CENT)
    monkeypatch.undo()
    again = Spend(tmp_path, "p", Decimal(9))
    assert again.settled >= CENT
    assert Kept(tmp_path / "answers").get({"q": 1}) == Reply(value="a", usd=CENT, reserved=first)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_changed_byte_of_a_kept_answer_is_believed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("kept")
    request = {"url": "http://x", "body": {"messages": [{"content": "päge"}]}}
    reply = Reply(value={"choices": [{"message": {"content": "Hällo\n", "n": 1.5}}]}, usd=CENT, reserved="r")
    store = Kept(folder)
    store.put(request, reply)
    (path,) = folder.rglob("*.json")
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    how = data.draw(st.sampled_from(["cut", "byte", "insert"]))
    byte = bytes([data.draw(st.integers(0, 255))])
    rest = b"" if how == "cut" else byte + whole[at + (how == "byte") :]
    path.write_bytes(whole[:at] + rest)
    found = store.get(request)
    if found is None:
        assert list(store.damaged) == [path.relative_to(folder.parents[2]).as_posix()]
    else:
        # only the spelling changed (white space between tokens), or nothing
        assert found == reply
        assert json.loads(path.read_bytes()) == json.loads(whole)


def test_an_answer_under_the_name_of_another_request_is_none(tmp_path: Path) -> None:
    store = Kept(tmp_path)
    store.put({"q": 1}, Reply(value="one", usd=CENT))
    store.put({"q": 2}, Reply(value="two", usd=CENT))
    one, two = sorted(tmp_path.rglob("*.json"))
    for source, target in ((one, two), (two, one)):
        target.write_bytes(source.read_bytes())
    found = [store.get({"q": 1}), store.get({"q": 2})]
    assert found.count(None) == 1
    assert list(store.damaged.values()) == ["the answer to another request"]


def test_calls_and_tokens_are_bounded_as_money_is_and_what_was_never_sent_is_no_call(tmp_path: Path) -> None:
    spend = Spend(tmp_path, "p", Bounds(usd=Decimal(0), calls=3, tokens=100))
    free = Decimal(0)
    spend.settle(spend.reserve(free, 60), free, 20)
    unsent = spend.reserve(free, 60)
    spend.settle(unsent, free, calls=0)
    spend.lose(spend.reserve(free, 50))
    with pytest.raises(BudgetReached) as reached:
        spend.reserve(free, 31)
    assert (reached.value.name, reached.value.needs) == ("teacher_tokens", 31)
    assert "70 tokens were sent" in spend.refusal(reached.value).message
    spend.settle(spend.reserve(free, 30), free, 30)
    with pytest.raises(BudgetReached) as reached:
        spend.reserve(free)
    assert reached.value.name == "teacher_calls"
    refusal = spend.refusal(reached.value)
    assert refusal.message == "3 requests were sent to servers, and 3 may be"
    assert (refusal.place, refusal.code) == ("budgets.teacher_calls", "KR0112")
    again = Spend(tmp_path, "p", Bounds(usd=free, calls=4, tokens=100))
    assert (again.taken, again.aside) == (spend.taken, spend.aside)
    assert (again.taken + again.aside) == Amount(calls=3, tokens=100)
    again.settle(again.reserve(free), free)
    with pytest.raises(BudgetReached):
        Spend(tmp_path, "p", Bounds(usd=free, calls=4)).reserve(free)


def test_a_line_of_an_earlier_version_is_of_one_call_and_of_tokens_that_nobody_counted(tmp_path: Path) -> None:
    spend = Spend(tmp_path, "p", Decimal(1))
    spend._add({"is": "reserved", "as": "x", "purse": "p", "usd": "0.5"})
    spend._add({"is": "reserved", "as": "y", "purse": "p", "usd": "0.25"})
    spend._add({"is": "settled", "as": "x", "usd": "0.125"})
    old = Spend(tmp_path, "p", Decimal(1))
    assert old.taken == Amount(usd=Decimal("0.125"), calls=1)
    assert old.aside == Amount(usd=Decimal("0.25"), calls=1)


@pytest.mark.parametrize("more", [{"calls": -1}, {"calls": 1.5}, {"tokens": -1}, {"tokens": True}, {"tokens": "9"}])
def test_no_line_states_a_count_that_is_none(tmp_path: Path, more: dict[str, object]) -> None:
    spend = Spend(tmp_path, "p", Decimal(1))
    spend._add({"is": "reserved", "as": "x", "purse": "p", "usd": "0", **more})
    with pytest.raises(BrokenEvidence, match="no count"):
        Spend(tmp_path, "p", Decimal(1))
