"""However many share the work, and wherever an attempt is killed, the lines are those of one that asks everything."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import catalog
from runtime.contract import Refusal, Suite, items, lots
from runtime.models.asking import TIMES, Asking
from tests.unit.runtime.suites.models import Scripted, row

ROWS = [row(f"{n} ?", f"#### {n}", name=f"r{n}") for n in range(300)]
GOLD: Suite = catalog.load("suites", "gold")
SAME: Suite = catalog.load("suites", "same_text")
PARAMS = {
    GOLD.name: GOLD.params(match="numeric", numeric={"after": "####"}, limit=290, coreml_limit=100),  # type: ignore[arg-type]
    SAME.name: SAME.params(limit=200),  # type: ignore[call-arg]
}
NAMES = ("teacher", "student", "coreml")


class Stage:
    """As much of a context as asking takes."""

    seed = 7

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.kept_at: list[int] = []

    def kept(self, done: int) -> None:
        self.kept_at.append(done)

    def progress(self, done: int, total: int, note: str = "") -> None:
        assert 0 <= done <= total, note


class Counted(Scripted):
    """Tells how many were asked at once, and how often: a number that depended on either would show."""

    def __init__(self, name: str, ends: Callable[[], None] = lambda: None) -> None:
        super().__init__(name=name)
        self._ends = ends

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        self._ends()
        self.asked += prompts
        return [f"#### {len(self.name) % 2 and prompt.split()[0]}, one of {len(prompts)}" for prompt in prompts]


class Killed(BaseException):
    """In the place of a signal."""


def asking(
    suite: Suite, folder: Path, shard: tuple[int, int] = (0, 1), ends: Callable[[], None] = lambda: None
) -> tuple[Asking, Stage, dict[str, Counted]]:
    stage, opened = Stage(folder), dict[str, Counted]()

    def open_(name: str, _told: Any) -> Any:
        return opened.setdefault(name, Counted(name, ends))

    made = Asking(suite, PARAMS[suite.name], ROWS, [], NAMES, open_, stage, shard)  # type: ignore[arg-type]
    return made, stage, opened


@functools.cache
def parts(suite_name: str, shards: int, root: Path) -> tuple[list[items.Line], ...]:
    suite = catalog.load("suites", suite_name)
    return tuple(
        asking(suite, root / f"{suite_name}-{shards}-{one}", (one, shards))[0].lines() for one in range(shards)
    )


def asked(suite: Suite) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    return {name: suite.select(ROWS, name, PARAMS[suite.name]) for name in NAMES}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lots")


@pytest.mark.parametrize("suite", [GOLD, SAME], ids=lambda suite: suite.name)
@given(shards=st.integers(2, 9) | st.just(64))
@settings(max_examples=8, deadline=None)
def test_how_many_share_the_work_changes_no_byte(root: Path, suite: Suite, shards: int) -> None:
    (alone,) = parts(suite.name, 1, root)
    shared = parts(suite.name, shards, root)
    assert items.written(lots.whole(shared, asked(suite))) == items.written(alone)
    assert sum(map(len, shared)) == len(alone)


def damaged(shares: Sequence[Sequence[items.Line]], how: str) -> list[list[items.Line]]:
    made = [list(one) for one in shares]
    if how == "lost":
        made[1].pop(3)
    elif how == "twice":
        made[1].append(made[0][0])
    elif how == "moved":
        made[2].append(made[0].pop(0))
    elif how == "foreign":
        made[0].append({**made[0][0], "row": "r295"})
    elif how == "another runner":
        made[0].append({**made[0][0], "runner": "rival"})
    return made


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("lost", r"no shard has a line of row `r\d+` by runner `teacher`: shard 1 was to ask it"),
        ("twice", r"row `r\d+` by runner `teacher` has two lines, in shards 0 and 1"),
        ("moved", r"shard 2 has the line of row `r\d+` by runner `teacher`, which belongs to shard 0"),
        ("foreign", r"shard 0 has a line of row `r295` by runner `teacher`, which nobody was to ask"),
        ("another runner", r"shard 0 has a line of row `r\d+` by runner `rival`, which nobody was to ask"),
    ],
)
def test_shards_that_are_no_whole_are_refused_by_name(root: Path, how: str, words: str) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        lots.whole(damaged(parts(GOLD.name, 3, root), how), asked(GOLD))
    assert caught.value.code == "KR0212"


@pytest.mark.parametrize("suite", [GOLD, SAME], ids=lambda suite: suite.name)
def test_what_was_answered_before_a_kill_is_not_asked_again(root: Path, tmp_path: Path, suite: Suite) -> None:
    """Ended at every lot in turn, by what nothing catches; the real signal is sent in tests/flow/test_lots.py."""
    (alone,) = parts(suite.name, 1, root)
    times: list[str] = []
    for _ in range(40):
        left = 2

        def ends() -> None:
            nonlocal left
            left -= 1
            if not left:
                raise Killed

        made, stage, opened = asking(suite, tmp_path, ends=ends)
        try:
            lines = made.lines()
        except Killed:
            times += [prompt for one in opened.values() for prompt in one.asked]
            continue
        break
    times += [prompt for one in opened.values() for prompt in one.asked]
    assert items.written(lines) == items.written(alone)
    assert len(times) == len(alone), "each row was answered once by each runner"
    assert stage.kept_at[0] > 0, "it says first where it goes on"
    told = [json.loads(one) for one in made.times().splitlines()]
    compared = sum(one["rows"] for one in told if one["runner"] == "compared")
    assert sum(one["rows"] for one in told) - compared == len(alone)
    assert (compared > 0) == (suite is SAME)
    assert all(one["seconds"] >= 0 for one in told)
    assert TIMES == "times.jsonl"


def test_a_lot_that_was_damaged_on_the_way_is_asked_again(root: Path, tmp_path: Path) -> None:
    (alone,) = parts(GOLD.name, 1, root)
    asking(GOLD, tmp_path)[0].lines()
    kept = sorted((tmp_path / "lots").iterdir())
    drawn = random.Random(1)
    for path in (kept[0], kept[-1]):
        data = bytearray(path.read_bytes())
        data[drawn.randrange(100, len(data))] ^= 1
        path.write_bytes(bytes(data))
    kept[1].write_bytes(b"")
    made, stage, opened = asking(GOLD, tmp_path)
    assert items.written(made.lines()) == items.written(alone)
    assert sum(len(one.asked) for one in opened.values()) == len(alone) - stage.kept_at[0] > 0
