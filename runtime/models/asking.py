"""A suite's rows × runners → its lines, lot by lot. A lot that was answered is durable, and is never asked again.

One runner after the other is opened, and only where something is left to ask it; where a suite compares two answers,
all are open at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runtime.contract import Context, Params, Runner, Suite, items, lots
from runtime.contract.strict_json import dumps, loads
from runtime.machine import durable

Told = Callable[[int, int, str], None]
#: the runner of this name, which tells how far it is by the function given
Open = Callable[[str, Told], Runner]
#: in a name of the scratch folder, in the place of a runner: what a lot's lines became when they were compared
COMPARED = "compared"


class Asking:
    """One suite over its rows. `names` are the runners, in the order in which they are asked."""

    def __init__(
        self,
        suite: Suite,
        params: Params,
        rows: Sequence[Mapping[str, Any]],
        tools: Sequence[Any],
        names: Sequence[str],
        open_: Open,
        ctx: Context,
    ) -> None:
        self._suite, self._params, self._rows, self._tools, self._ctx = suite, params, rows, tools, ctx
        self._open = open_
        self._lots = {name: lots.of(suite.select(rows, name, params)) for name in names}
        self._total = sum(len(lot) for several in self._lots.values() for lot in several)
        self._runners: dict[str, Runner] = {}
        self._folder = ctx.scratch / "lots"
        #: lines that are there, and rows of the lot that is being asked
        self._done = self._lot = 0

    def lines(self) -> list[items.Line]:
        """Every line, runner by runner, in the order of each one's rows."""
        durable.DISK.folder(self._folder)
        durable.sweep(self._folder)
        kept = {(name, at): self._kept(name, at) for name, at in self._places()}
        self._ctx.kept(sum(len(found) for found in kept.values() if found is not None))
        for name, at in self._places():
            found = kept[name, at]
            if found is None:
                found = self._ask(name, at)
                self._keep(name, at, found)
            kept[name, at] = found
            self._done += len(found)
            self._ctx.kept(self._done)
            if not self._suite.compare and at == len(self._lots[name]) - 1:
                self._runners.pop(name, None)
        made = {place: cast(list[items.Line], found) for place, found in kept.items()}
        if self._suite.compare:
            made = dict(self._compared(made))
        return self._ordered(made)

    def _places(self) -> Iterator[tuple[str, int]]:
        return ((name, at) for name, several in self._lots.items() for at, lot in enumerate(several) if lot)

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
        found = self._suite.ask(name, runner, rows, self._tools, self._params, self._ctx.seed)
        if [one["row"] for one in found] != [str(row["id"]) for row in rows]:
            raise ValueError(f"suite `{self._suite.name}` gave other lines than it was asked for")
        # what is kept and what is read again are the same values
        return items.read(items.written(found))

    def _compared(
        self, made: Mapping[tuple[str, int], list[items.Line]]
    ) -> Iterator[tuple[tuple[str, int], list[items.Line]]]:
        assert self._suite.compare is not None
        names = sorted({name for name, _ in made})
        for at in sorted({at for _, at in made}):
            mine = {name: made[name, at] for name in names}
            found = self._kept(COMPARED, at)
            if found is None:
                rows = self._lots[names[0]][at]
                self._lot = 0
                runners = {name: self._runner(name) for name in names}
                after = self._suite.compare(runners, rows, mine, self._params)
                found = items.read(items.written([one for name in names for one in after[name]]))
                self._keep(COMPARED, at, found)
            yield from (((name, at), one) for name, one in items.by_runner(found).items())

    def _ordered(self, made: Mapping[tuple[str, int], list[items.Line]]) -> list[items.Line]:
        by_row = {(name, one["row"]): one for (name, _), found in made.items() for one in found}
        return [
            by_row[name, str(row["id"])]
            for name in self._lots
            for row in self._suite.select(self._rows, name, self._params)
        ]

    def _path(self, name: str, at: int) -> Path:
        return self._folder / f"{name}-{at}.jsonl"

    def _keep(self, name: str, at: int, found: Sequence[items.Line]) -> None:
        data = items.written(found)
        head = dumps({"sha256": hashlib.sha256(data).hexdigest()}).encode() + b"\n"
        durable.DISK.write(self._path(name, at), head + data)

    def _kept(self, name: str, at: int) -> list[items.Line] | None:
        """What was kept of a lot; None where it is to be asked (again): one that was damaged is."""
        path = self._path(name, at)
        if not path.is_file():
            return None
        head, _, data = path.read_bytes().partition(b"\n")
        try:
            whole = loads(head) == {"sha256": hashlib.sha256(data).hexdigest()}
            return items.read(data) if whole else None
        except ValueError:
            return None
