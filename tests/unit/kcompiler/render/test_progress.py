"""What a person sees while a training goes on: losses, rate, what is left, memory; a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from kcompiler.render.progress import Live, Pace, Plain, Several


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


def training(clock: Clock, steps: int, *, every_s: float = 0.5, tokens: int = 600) -> Iterator[dict[str, Any]]:
    """Events of a training of 100 steps, as the machine gives them; `every_s` between two."""
    yield {"event": "step_started", "step": "train-kd", "detail": "never run"}
    for done in range(1, steps + 1):
        clock.now += every_s
        yield {
            "event": "measured",
            "step": "train-kd",
            "at": done,
            "numbers": {"tokens": done * tokens, "memory": 1.25e9},
        }
        yield {"event": "progress", "step": "train-kd", "done": done, "total": 100, "note": f"kl {1 / done:.3f}"}


def test_lines_come_now_and_then_and_say_how_fast_it_goes() -> None:
    clock, lines = Clock(), list[str]()
    plain = Plain(lines.append, 12, clock=clock)
    for event in training(clock, 60):
        plain(event)
    assert lines == [
        "[ 1/12] train-kd: never run",
        "        train-kd: 20/100 kl 0.050, 1,200 tokens/s, 0:40 left, 1.2 GB",
        "        train-kd: 40/100 kl 0.025, 1,200 tokens/s, 0:30 left, 1.2 GB",
        "        train-kd: 60/100 kl 0.017, 1,200 tokens/s, 0:20 left, 1.2 GB",
    ]


def test_a_step_without_numbers_is_shown_as_before() -> None:
    clock, lines = Clock(), list[str]()
    plain = Plain(lines.append, 3, every_s=0.0, clock=clock)
    plain({"event": "step_started", "step": "probe", "reason": "never_run"})
    plain({"event": "progress", "step": "probe", "done": 1, "total": 4})
    assert lines[-1] == "        probe: 1/4"


def test_a_terminal_shows_the_same_in_one_line() -> None:
    clock, terminal = Clock(), Terminal()
    live = Live(terminal, 12, clock=clock)
    for event in training(clock, 30):
        live(event)
    live.bar.refresh()
    live({"event": "step_committed", "step": "train-kd", "wall_s": 15.0})
    live.close()
    assert "[1/12] train-kd" in terminal.text
    assert "kl 0.033 1,200 tokens/s, 0:35 left, 1.2 GB" in " ".join(terminal.text.split())
    assert "train-kd: done in 15.0 s" in terminal.text


def test_a_note_is_no_markup() -> None:
    clock, terminal = Clock(), Terminal()
    live = Live(terminal, 1, clock=clock)
    live({"event": "step_started", "step": "data"})
    live({"event": "progress", "step": "data", "done": 1, "total": 2, "note": "[red]x[/green]"})
    live.bar.refresh()
    live.close()
    assert "[red]x[/green]" in terminal.text


def test_a_rate_is_of_the_last_seconds_and_of_one_step() -> None:
    """What was slow at first, or in another step, says nothing of what is left."""
    clock = Clock()
    pace = Pace(clock)
    pace.begin()
    for event in training(clock, 10, every_s=100.0):
        pace.saw(event)
    assert "6 tokens/s" in pace.words
    for event in training(clock, 60, every_s=1.0, tokens=1000):
        pace.saw(event)
    assert pace.words == "1,000 tokens/s, 0:40 left, 1.2 GB"
    pace.begin()
    assert pace.words == ""


def test_what_validation_found_is_shown_until_it_finds_something_else() -> None:
    """The numbers of a step, which come between, neither hide it nor are hidden by it; another step does not have it."""
    clock = Clock()
    pace = Pace(clock)
    pace.begin()
    pace.saw({"event": "measured", "step": "train-kd", "at": 1, "numbers": {"tokens": 10.0, "memory": 1.2e9}})
    found = {"validation/metric": 0.431, "validation/best": 0.4119, "validation/best_step": 20.0}
    pace.saw({"event": "measured", "step": "train-kd", "at": 40, "numbers": {**found, "validation/patience_left": 3.0}})
    assert pace.words == "validation 0.431, best 0.412 after 20, patience 3, 1.2 GB"
    pace.saw({"event": "measured", "step": "train-kd", "at": 41, "numbers": {"tokens": 10.0, "memory": 1.3e9}})
    assert pace.words == "validation 0.431, best 0.412 after 20, patience 3, 1.3 GB"
    pace.saw({"event": "measured", "step": "train-kd", "at": 60, "numbers": {**found, "validation/metric": 0.5}})
    assert pace.words == "validation 0.500, best 0.412 after 20, 1.3 GB"
    pace.begin()
    assert pace.words == ""


def test_what_was_done_before_is_not_the_pace_of_a_resume() -> None:
    """It stands at the state it goes on from while models are loaded, and where that is damaged it goes back."""
    clock = Clock()
    pace = Pace(clock)
    pace.begin()

    def tell(done: int, every_s: float = 0.5) -> None:
        clock.now += every_s
        pace.saw({"event": "progress", "step": "train-kd", "done": done, "total": 900})

    for _ in range(20):
        tell(300)
    for done in range(301, 323):
        tell(done)
    assert pace.words == "4:49 left"
    tell(250)
    assert pace.words == ""
    for done in range(251, 261):
        tell(done, 1.0)
    assert pace.words == "10:40 left"


def test_too_short_a_time_says_nothing() -> None:
    clock = Clock()
    pace = Pace(clock)
    for event in training(clock, 3, every_s=0.1):
        pace.saw(event)
    assert pace.words == "1.2 GB"


def test_hours_are_hours_and_the_end_leaves_nothing() -> None:
    clock = Clock()
    pace = Pace(clock)
    for event in training(clock, 10, every_s=60.0):
        pace.saw(event)
    assert "1:30:00 left" in pace.words
    clock.now += 60
    pace.saw({"event": "progress", "step": "train-kd", "done": 100, "total": 100})
    assert "left" not in pace.words


def test_windows_get_what_the_person_gets() -> None:
    seen: list[str] = []

    class Window:
        def __call__(self, event: Any) -> None:
            seen.append(event["event"])

        def close(self) -> None:
            seen.append("closed")

    lines: list[str] = []
    watch = Several(Plain(lines.append, 1), [Window()])
    watch({"event": "said", "step": "data", "message": "hello"})
    watch.close()
    assert (lines, seen) == (["        data: hello"], ["said", "closed"])
