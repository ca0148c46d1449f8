"""A suite's rows × runners → its lines, lot by lot. A lot that was answered is durable, and is never asked again.

One runner after the other is opened, and only where something is left to ask it; where a suite compares two answers,
all are open at the end. Of several shards each asks its own lots; what they leave is put together by `lots.whole`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from runtime.contract import Context, Params, Runner, Suite, items, lots
from runtime.contract.questioned import JUDGE
from runtime.contract.strict_json import Json, dumps, loads
from runtime.machine import durable

Told = Callable[[int, int, str], None]
#: the runner of this name, which tells how far it is by the function given
Open = Callable[[str, Told], Runner]
#: in the place of a runner: what the lines of a lot became when they were compared
COMPARED = "compared"
#: where lots that were answered lie, in the scratch folder of a step
LOTS = "lots"
#: in the artifact `times`
TIMES = "times.jsonl"


class Asking:
    """One suite over its rows. `names` are the runners, in the order in which they are asked; of a `shard` (which, of
    how many) only its lots are."""

    def __init__(
        self,
        suite: Suite,
        params: Params,
        rows: Sequence[Mapping[str, Any]],
        tools: Sequence[Any],
        names: Sequence[str],
        open_: Open,
        ctx: Context,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self._suite, self._params, self._tools, self._open, self._ctx = suite, params, tools, open_, ctx
        self._asked = {name: suite.select(rows, name, params) for name in names}
        #: runner → number of a lot → its rows
        self._lots: dict[str, dict[int, list[lots.Row]]] = {}
        for name, mine in self._asked.items():
            made = lots.of(mine)
            self._lots[name] = {at: made[at] for at in lots.shared(len(made), *shard) if made[at]}
        self._total = sum(len(lot) for several in self._lots.values() for lot in several.values())
        self._runners: dict[str, Runner] = {}
        self._folder = ctx.scratch / LOTS
        #: lines that are there, and rows of the lot that is being asked
        self._done = self._lot = 0
        #: (runner, number of a lot) → how many rows it has, and how many seconds it took
        self._took: dict[tuple[str, int], tuple[int, float]] = {}

    def lines(self) -> list[items.Line]:
        """Every line, runner by runner, in the order of each one's rows."""
        durable.DISK.folder(self._folder)
        durable.sweep(self._folder)
        made = {(name, at): self._kept(name, at) for name, several in self._lots.items() for at in several}
        self._done = sum(map(len, made.values()))
        self._ctx.kept(self._done)
        for (name, at), found in made.items():
            if not found:
                made[name, at] = self._ask(name, at)
                self._done += len(made[name, at])
                self._ctx.kept(self._done)
            if self._suite.compare is None and at == max(self._lots[name]):
                self._runners.pop(name, None)
        if self._suite.compare is not None:
            made = self._compared(made)
        by_row = {(name, one["row"]): one for (name, _), found in made.items() for one in found}
        order = [(name, str(row["id"])) for name, mine in self._asked.items() for row in mine]
        return [by_row[place] for place in order if place in by_row]

    def times(self) -> bytes:
        """One line for each lot: its runner, which it is, of how many rows, and how many seconds it took, in whichever
        attempt it was asked."""
        told: Iterator[dict[str, Json]] = (
            {"runner": name, "lot": at, "rows": count, "seconds": seconds}
            for (name, at), (count, seconds) in self._took.items()
        )
        return "".join(dumps(one) + "\n" for one in told).encode()

    def _runner(self, name: str) -> Runner:
        if name not in self._runners:
            self._runners[name] = self._open(name, self._told)
        return self._runners[name]

    def _told(self, done: int, total: int, note: str) -> None:
        """How far a runner is within a lot, as how far all is."""
        self._ctx.progress(self._done + self._lot * done // max(1, total), self._total, note)

    def _ask(self, name: str, at: int) -> list[items.Line]:
        rows = self._lots[name][at]
        self._lot = len(rows)
        runner = self._runner(name)
        began = perf_counter()
        found = self._suite.ask(name, runner, rows, self._tools, self._params, self._ctx.seed)
        seconds = perf_counter() - began
        if [one["row"] for one in found] != [str(row["id"]) for row in rows]:
            raise ValueError(f"suite `{self._suite.name}` gave other lines than it was asked for")
        return self._keep(name, at, found, seconds)

    def _compared(self, made: Mapping[tuple[str, int], list[items.Line]]) -> dict[tuple[str, int], list[items.Line]]:
        assert self._suite.compare is not None
        self._lot = 0
        found: dict[tuple[str, int], list[items.Line]] = {}
        for at in sorted({at for _, at in made}):
            names = [name for name, other in made if other == at]
            lines = self._kept(COMPARED, at)
            if not lines:
                runners = {
                    name: self._runner(name) for name in (*names, *([] if self._suite.judge is None else [JUDGE]))
                }
                began = perf_counter()
                after = self._suite.compare(
                    runners, self._lots[names[0]][at], {name: made[name, at] for name in names}, self._params
                )
                seconds = perf_counter() - began
                lines = self._keep(COMPARED, at, [one for name in names for one in after[name]], seconds)
            found |= {(name, at): mine for name, mine in items.by_runner(lines).items()}
        return found

    def _path(self, name: str, at: int) -> Path:
        return self._folder / f"{name}-{at}.jsonl"

    def _keep(self, name: str, at: int, found: Sequence[Mapping[str, Any]], seconds: float) -> list[items.Line]:
        """The same lines as whoever goes on reads them."""
        data, took = items.written(found), round(seconds, 6)
        head = dumps({"sha256": hashlib.sha256(data).hexdigest(), "seconds": took})
        durable.DISK.write(self._path(name, at), f"{head}\n".encode() + data)
        self._took[name, at] = len(found), took
        return items.read(data)

    def _kept(self, name: str, at: int) -> list[items.Line]:
        """What was kept of a lot; nothing where it is to be asked (again): one that was damaged is."""
        path = self._path(name, at)
        if not path.is_file():
            return []
        text, _, data = path.read_bytes().partition(b"\n")
        try:
            head: Any = loads(text)
            if head["sha256"] != hashlib.sha256(data).hexdigest():
                return []
            found, took = items.read(data), float(head["seconds"])
        except (ValueError, TypeError, KeyError):
            return []
        self._took[name, at] = len(found), took
        return found
