"""A suite's rows × runners → its lines, lot by lot. A lot that was answered is durable, and is never asked again.

One runner after the other is opened, and only where something is left to ask it; where a suite compares two answers,
all are open at the end. Of several shards each asks its own lots; what they leave is put together by `lots.whole`.
"""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from runtime.contract import Context, Params, Runner, Suite, items, lots, spool
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


class Gathered:
    """Lines that come lot by lot, kept beyond memory until they stand in the order of their rows."""

    def __init__(self, folder: Path, asked: Mapping[str, int]) -> None:
        self._texts = spool.Spool(folder)
        #: runner → number of a row → which of the texts its line is, -1 where it has none
        self._of = {name: array("q", [-1]) * rows for name, rows in asked.items()}

    def take(self, lines: Sequence[items.Line], rows: Sequence[int]) -> None:
        """One runner's lines of the rows of these numbers."""
        for row, one in zip(rows, lines, strict=True):
            self._of[one["runner"]][row] = len(self._texts)
            self._texts.append(items.text(one))

    def lines(self) -> items.Lines:
        """All of them, runner by runner."""
        places, count = dict[str, Sequence[int]](), 0
        for name, mine in self._of.items():
            mine = self._of[name] = array("q", (one for one in mine if one >= 0))
            if mine:
                places[name] = range(count, count + len(mine))
                count += len(mine)
        self._texts.order(itertools.chain.from_iterable(self._of.values()))
        return items.Lines(self._texts, places)


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
        #: runner → number of a lot → the numbers of its rows
        self._lots: dict[str, dict[int, array[int]]] = {}
        for name, mine in self._asked.items():
            made = lots.of(mine)
            self._lots[name] = {at: made[at] for at in lots.shared(len(made), *shard) if made[at]}
        self._total = sum(len(lot) for several in self._lots.values() for lot in several.values())
        self._runners: dict[str, Runner] = {}
        self._policies: Mapping[str, Sequence[Any]] | None = None
        self._folder = ctx.scratch / LOTS
        #: lines that are there, and rows of the lot that is being asked
        self._done = self._lot = 0
        #: (runner, number of a lot) → how many rows it has, and how many seconds it took
        self._took: dict[tuple[str, int], tuple[int, float]] = {}

    def lines(self) -> items.Lines:
        """Every line, runner by runner, in the order of each one's rows. Of all lots one is in memory."""
        durable.DISK.folder(self._folder)
        durable.sweep(self._folder)
        gathered = Gathered(self._ctx.scratch, {name: len(mine) for name, mine in self._asked.items()})
        there = [(name, at) for name, several in self._lots.items() for at in several]
        # what is compared is gathered afterwards
        take = gathered.take if self._suite.compare is None else lambda _, __: None
        waiting = set[tuple[str, int]]()
        for name, at in there:
            if found := self._kept(name, at):
                take(found, self._lots[name][at])
                self._done += len(found)
            else:
                waiting.add((name, at))
        self._ctx.kept(self._done)
        for name, at in there:
            if (name, at) in waiting:
                found = self._ask(name, at)
                take(found, self._lots[name][at])
                self._done += len(found)
                self._ctx.kept(self._done)
            if self._suite.compare is None and at == max(self._lots[name]):
                self._runners.pop(name, None)
        if self._suite.compare is not None:
            for at in sorted({at for _, at in there}):
                names = [name for name, other in there if other == at]
                for name, mine in items.by_runner(self._compared(names, at)).items():
                    gathered.take(mine, self._lots[name][at])
        return gathered.lines()

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

    def _rows(self, name: str, at: int) -> list[lots.Row]:
        return [self._asked[name][row] for row in self._lots[name][at]]

    def _ask(self, name: str, at: int) -> list[items.Line]:
        rows = self._rows(name, at)
        self._lot = len(rows)
        runner = self._runner(name)
        began = perf_counter()
        found = self._suite.ask(name, runner, rows, self._tools, self._params, self._ctx.seed)
        seconds = perf_counter() - began
        if [one["row"] for one in found] != [str(row["id"]) for row in rows]:
            raise ValueError(f"suite `{self._suite.name}` gave other lines than it was asked for")
        return self._keep(name, at, found, seconds)

    def _compared(self, names: Sequence[str], at: int) -> list[items.Line]:
        assert self._suite.compare is not None
        self._lot = 0
        lines = self._kept(COMPARED, at)
        if lines:
            return lines
        runners = {name: self._runner(name) for name in (*names, *([] if self._suite.judge is None else [JUDGE]))}
        before = {name: self._kept(name, at) for name in names}
        trivial = {
            policy: [outputs[row] for row in self._lots[names[0]][at]]
            for policy, outputs in self._trivial(names[0]).items()
        }
        began = perf_counter()
        after = self._suite.compare(runners, self._rows(names[0], at), before, trivial, self._params)
        seconds = perf_counter() - began
        return self._keep(COMPARED, at, [one for name in names for one in after[name]], seconds)

    def _trivial(self, name: str) -> Mapping[str, Sequence[Any]]:
        """What understands nothing puts out for each row that is compared: the same, whichever lots are asked here."""
        if self._policies is None:
            zoo = self._suite.zoo
            self._policies = {} if zoo is None else zoo(self._asked[name], self._tools, self._params)
        return self._policies

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
