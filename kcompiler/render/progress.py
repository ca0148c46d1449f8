"""Events of a run → lines as they happen: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TextIO

from kcompiler.render.human import shortened

#: seconds that a rate is taken over, and those below which it would be chance
_OVER_S, _LEAST_S = 20.0, 1.0


class Watch(Protocol):
    """What the command line hands to apply."""

    def __call__(self, event: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class Several:
    """A person's view, and windows that are given the same events."""

    def __init__(self, view: Watch, windows: Sequence[Watch]) -> None:
        self._all = (view, *windows)

    def __call__(self, event: Mapping[str, Any]) -> None:
        for one in self._all:
            one(event)

    def close(self) -> None:
        for one in self._all:
            one.close()


class Pace:
    """How fast a step goes, over the last seconds: tokens a second where it says how many there were, and what is left.

    The only clock of a training is here, beside the person who looks on; nothing of it is kept.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._done: deque[tuple[float, float]] = deque()
        self._tokens: deque[tuple[float, float]] = deque()
        self._total = self._memory = 0.0
        self._validated = ""

    def begin(self) -> None:
        """Another step."""
        self._done.clear()
        self._tokens.clear()
        self._total = self._memory = 0.0
        self._validated = ""

    def saw(self, event: Mapping[str, Any]) -> None:
        """An event of kind `progress` or `measured`."""
        if event["event"] == "progress":
            self._total = event["total"]
            self._add(self._done, event["done"])
        elif event["event"] == "measured":
            numbers = event["numbers"]
            self._memory = numbers.get("memory", self._memory)
            if "tokens" in numbers:
                self._add(self._tokens, numbers["tokens"])
            if "validation/metric" in numbers:
                self._validated = _validated(numbers)

    def _add(self, marks: deque[tuple[float, float]], value: float) -> None:
        now = self._clock()
        if (marks and value < marks[-1][1]) or (len(marks) == 1 and value == marks[0][1]):
            # it went back, to a state before, or has not begun: the time until now says nothing of its pace
            marks.clear()
        marks.append((now, value))
        while len(marks) > 2 and now - marks[1][0] >= _OVER_S:
            marks.popleft()

    @property
    def words(self) -> str:
        """ "validation 0.431, best 0.412 after 120, patience 3, 12,300 tokens/s, 0:41 left, 1.2 GB"; less where less is
        known."""
        tokens, done = _rate(self._tokens), _rate(self._done)
        parts = [self._validated] if self._validated else []
        parts += [f"{tokens:,.0f} tokens/s"] if tokens else []
        if done and self._done[-1][1] < self._total:
            parts.append(f"{_duration((self._total - self._done[-1][1]) / done)} left")
        if self._memory:
            parts.append(f"{self._memory / 1e9:.1f} GB")
        return ", ".join(parts)


def _validated(numbers: Mapping[str, float]) -> str:
    """What the last validation found of the metric that decides, beside the best so far and what is left to wait."""
    best, after = numbers["validation/best"], numbers["validation/best_step"]
    left = numbers.get("validation/patience_left")
    waits = "" if left is None else f", patience {left:.0f}"
    return f"validation {numbers['validation/metric']:.3f}, best {best:.3f} after {after:.0f}{waits}"


def _rate(marks: Sequence[tuple[float, float]]) -> float:
    """Units a second between the first mark and the last; 0 while that is too short to say."""
    if len(marks) < 2 or marks[-1][0] - marks[0][0] < _LEAST_S:
        return 0.0
    return (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Plain:
    """One line when a step begins, reports now and then, and ends. For CI logs: no carriage returns."""

    def __init__(
        self,
        write: Callable[[str], None],
        total: int,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.write, self.total, self.every_s, self.clock = write, total, every_s, clock
        self.count, self.shown_at, self.begun, self.pace = 0, 0.0, "", Pace(clock)

    def __call__(self, event: Mapping[str, Any]) -> None:
        line = self._line(event)
        if line:
            self.write(line)

    def _line(self, event: Mapping[str, Any]) -> str:
        kind, step = event["event"], event.get("step", "")
        self.pace.saw(event)
        if kind == "step_started":
            self.pace.begin()
            self.shown_at, self.begun = self.clock(), step
            return f"{self._next()} {step}: {shortened(event.get('detail') or event.get('reason', ''))}"
        if kind == "progress":
            if self.clock() - self.shown_at < self.every_s:
                return ""
            self.shown_at = self.clock()
            more = ", ".join(filter(None, (event.get("note", ""), self.pace.words)))
            return f"        {step}: {event['done']}/{event['total']} {more}".rstrip()
        # one that was begun, and held back, is counted already
        first = kind in ("step_reused", "blocked") and step != self.begun
        return f"{self._next() if first else '       '} {ended(event)}" if ended(event) else ""

    def _next(self) -> str:
        self.count += 1
        return f"[{self.count:>2}/{self.total}]"

    def close(self) -> None:
        """Nothing is left open."""


def ended(event: Mapping[str, Any]) -> str:
    """The line of an event that ends or interrupts something, or nothing."""
    kind, step = event["event"], event.get("step", "")
    if kind == "step_committed":
        return f"{step}: done in {event.get('wall_s', 0.0):.1f} s"
    if kind == "step_reused":
        return f"{step}: reused, {shortened(event.get('detail', ''))}"
    if kind == "blocked":
        return f"{step}: blocked, {shortened(event.get('detail', ''))}"
    if kind == "step_failed":
        code, action = event.get("code", ""), event.get("action", "")
        return (
            f"{step}: failed{f' [{code}]' if code else ''}, {event.get('message', '')}{f'; {action}' if action else ''}"
        )
    if kind == "gate" and event["outcome"]["blocks"]:
        outcome = event["outcome"]
        return f"{step}: gate {outcome['rule']} is {outcome['outcome']}: {outcome['reason']}"
    if kind == "not_reproduced":
        return f"{step}: did not give again what it promises ({event['promise']}): {'; '.join(event['apart'])}"
    if kind == "said":
        return f"{step}: {event['message']}"
    return ""


class Live:
    """A bar for the running step; finished steps scroll up as lines."""

    def __init__(self, stream: TextIO, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        # imported here: rich costs 45 ms and is right only on a terminal
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=Console(file=stream),
            transient=True,
            get_time=clock,
        )
        self.total, self.count, self.pace = total, 0, Pace(clock)
        self.bar.start()
        self.task: Any = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        self.pace.saw(event)
        if event["event"] == "step_started":
            self.pace.begin()
            self.count += 1
            self.task = self.bar.add_task(f"[{self.count}/{self.total}] {event['step']}", total=None, note="")
        elif event["event"] == "progress" and self.task is not None:
            note = "  ".join(filter(None, (event.get("note", ""), self.pace.words)))
            self.bar.update(self.task, total=event["total"], completed=event["done"], note=note)
        if event["event"] in ("step_reused", "blocked") and self.task is None:
            self.count += 1
        if event["event"] in ("step_committed", "step_failed", "blocked") and self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None
        line = ended(event)
        if line:
            self.bar.console.print(line, highlight=False, markup=False)

    def close(self) -> None:
        self.bar.stop()
