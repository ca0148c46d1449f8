"""Lines of items and lots of rows: what is damaged is named, and a lot depends on the rows alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal, items, lots
from runtime.contract.conversation import Conversation

ROWS: list[dict[str, Any]] = [{"id": f"r{n}", "prompt": f"q{n}", "response": "a"} for n in range(300)]


def judged(runner: str, at: int, output: Any) -> items.Line:
    return items.line(
        ROWS[at], runner, items.text_of(output), {"right": output == "a"}, "" if output == "a" else "wrong"
    )


LINES = [judged(name, at, "a" if at % 2 else "b") for name in "xy" for at in range(4)]


def changed(at: int, **change: Any) -> list[items.Line]:
    return [*LINES[:at], {**LINES[at], **change}, *LINES[at + 1 :]]


def test_sound_lines_are_given_back_by_runner() -> None:
    found = items.by_runner(items.made(LINES))
    assert {name: len(mine) for name, mine in found.items()} == {"x": 4, "y": 4}
    assert [*found["x"], *found["y"]] == LINES
    walked = list(items.walk(items.made(LINES), ROWS, lambda _: 4, judged))
    assert [at for at, _ in walked] == list(range(len(ROWS)))
    assert [line for name in "xy" for _, mine in walked if (line := mine.get(name))] == LINES


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (changed(1, reason="wrong"), "row `r1` by runner `x` is not what its output gives: reason"),
        (changed(5, parts={"right": False}), "row `r1` by runner `y` is not what its output gives: parts"),
        (changed(2, output="a"), "row `r2` by runner `x` is not what its output gives: parts"),
        (changed(2, output=3), "row `r2` by runner `x`: its output is no text"),
        (changed(0, prompt="sha256:0"), "row `r0` by runner `x` is not what its output gives: prompt"),
        (changed(0, row="r9"), "runner `x` has a line for row `r9` where row `r0` is due"),
        ([*LINES[:2], *LINES[3:]], "runner `x` has a line for row `r3` where row `r2` is due"),
        (LINES[:-1], "runner `y` has no line for row `r3`"),
        ([*LINES, LINES[-1]], "runner `y` has a line for row `r3`, which it is not asked"),
        ([LINES[1], LINES[0], *LINES[2:]], "runner `x` has a line for row `r1` where row `r0` is due"),
        (changed(0, seconds=1.0), "a line of runner `x` has not the fields"),
    ],
)
def test_a_line_that_is_not_what_its_output_gives_is_named(lines: list[items.Line], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(items.walk(lines, ROWS[:4], lambda _: 4, judged))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (items.written(LINES)[:-1], "line 8 is incomplete"),
        (b"[]\n", "line 1 is not an object of row"),
        (items.written(LINES[:1]) + b'{"row":"r1"}\n', "line 2 is not an object of row"),
        (items.written(LINES[:1]).replace(b'"a"', b"NaN").replace(b'"b"', b"NaN"), "line 1: NaN is not JSON"),
        (items.written(changed(0, runner=1)), "line 1 is not an object of row"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_line(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        items.read(data)
    (tmp_path / items.FILE).write_bytes(data)
    with pytest.raises(ValueError, match=words):
        items.load(tmp_path / items.FILE)


def test_what_is_asked_is_digested_with_its_tools() -> None:
    turns = [{"role": "user", "content": "q0"}]
    asked = [items.prompt_digest(one) for one in ("q0", Conversation.of(turns), Conversation.of(turns, [{"a": 1}]))]
    assert len(set(asked)) == 3
    assert asked[0] == LINES[0]["prompt"]


def test_a_lot_depends_on_the_rows_alone() -> None:
    made = lots.of(ROWS)
    assert len(made) == lots.number(300) == 5
    assert sorted(at for lot in made for at in lot) == list(range(300))
    assert all(lots.place(ROWS[row]["id"], 5) == at for at, lot in enumerate(made) for row in lot)
    mixed = random.Random(1).sample(ROWS, len(ROWS))
    again = [{mixed[at]["id"] for at in lot} for lot in lots.of(mixed)]
    assert again == [{ROWS[at]["id"] for at in lot} for lot in made]
    # printf r0 | sha256sum begins so
    assert lots.place("r0", 2**64) == 0xDD191696E15E2EE2


def test_two_ids_that_are_one_letter_by_letter_are_refused() -> None:
    lots.distinct(ROWS)
    with pytest.raises(Refusal, match=r"rows 'caf\\xe9' and 'cafe\\u0301' have one id") as caught:
        lots.distinct([{"id": "caf\u00e9"}, {"id": "cafe\u0301"}])
    assert caught.value.code == "KR0211"
