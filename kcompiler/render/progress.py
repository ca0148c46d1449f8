"""Events of a run → lines as they happen: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

from kcompiler.render.human import shortened


class Watch(Protocol):
    """What the command line hands to apply."""

    def __call__(self, event: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class Plain:
    """One line when a step begins, reports now and then, and ends. For CI logs: no carriage returns."""

    def __init__(self, write: Callable[[str], None], total: int, every_s: float = 10.0) -> None:
        self.write, self.total, self.every_s = write, total, every_s
        self.count, self.shown_at = 0, 0.0

    def __call__(self, event: Mapping[str, Any]) -> None:
        line = self._line(event)
        if line:
            self.write(line)

    def _line(self, event: Mapping[str, Any]) -> str:
        kind, step = event["event"], event.get("step", "")
        if kind == "step_started":
            self.shown_at = time.monotonic()
            return f"{self._next()} {step}: {shortened(event.get('detail') or event.get('reason', ''))}"
        if kind == "progress":
            if time.monotonic() - self.shown_at < self.every_s:
                return ""
            self.shown_at = time.monotonic()
            return f"        {step}: {event['done']}/{event['total']} {event.get('note', '')}".rstrip()
        return (
            f"{self._next() if kind in ('step_reused', 'blocked') else '       '} {ended(event)}"
            if ended(event)
            else ""
        )

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
    if kind == "said":
        return f"{step}: {event['message']}"
    return ""


class Live:
    """A bar for the running step; finished steps scroll up as lines."""

    def __init__(self, stream: TextIO, total: int) -> None:
        # imported here: rich costs 45 ms and is right only on a terminal
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self.total, self.count = total, 0
        self.bar.start()
        self.task: Any = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "step_started":
            self.count += 1
            self.task = self.bar.add_task(f"[{self.count}/{self.total}] {event['step']}", total=None, note="")
        elif event["event"] == "progress" and self.task is not None:
            self.bar.update(self.task, total=event["total"], completed=event["done"], note=event.get("note", ""))
        if event["event"] in ("step_committed", "step_failed") and self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None
        if event["event"] in ("step_reused", "blocked"):
            self.count += 1
        line = ended(event)
        if line:
            self.bar.console.print(line, highlight=False, markup=False)

    def close(self) -> None:
        self.bar.stop()
