"""One claimed step → what its operation may use, and the reports it hands in. Implements runtime.contract.Context.

Reports are kept in memory until the step ends: only then are the digests of its other outputs known, and they belong to
the subject of a report. Nothing here puts a clock or a path into a report, so equal runs give equal reports.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runtime.contract import ASIDE, Backend, Params, Port, Ports, Refusal, Step, Used, strict_json
from runtime.contract.peak import Peak
from runtime.contract.report import dump, envelope
from runtime.machine import host
from runtime.machine.durable import DISK, Disk
from runtime.machine.meter import Meter

Watch = Callable[[Mapping[str, Any]], None]
REPORT = "report.json"
#: seconds between two progress events of a step, at least
_PROGRESS_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Call:
    """One step, ready to be carried out: its declaration, its validated params, and what its ports stand for."""

    step_id: str
    step: Step
    backend: Backend
    params: Params
    gives: Ports
    takes: Mapping[str, Path]
    digests: Mapping[str, str]
    seed: int
    versions: Mapping[str, str]
    #: whether the backend forges, or anything that is taken was forged
    forged: bool


class StepContext:
    """Context of one attempt. `folder` is the scratch folder of the action key: `work` stays, `out` starts empty.
    `paid` is the project's own, and stays."""

    def __init__(
        self,
        call: Call,
        folder: Path,
        *,
        paid: Path,
        watch: Watch,
        safe_point: Callable[[], None],
        meter: Meter,
        disk: Disk = DISK,
    ) -> None:
        """`safe_point` raises to unwind the step; it is asked whenever the step says something or how far it is."""
        self.step_id, self.seed = call.step_id, call.seed
        self.digests: Mapping[str, str] = dict(call.digests)
        self.versions: Mapping[str, str] = dict(call.versions)
        #: port name → what must be given there
        self.gives = call.gives
        self.scratch, self.paid = folder / "work", paid
        self._call, self._out, self._watch, self._safe_point = call, folder / "out", watch, safe_point
        self._meter, self._disk = meter, disk
        self._reports: dict[str, tuple[Mapping[str, Any], Mapping[str, str], Mapping[str, Any]]] = {}
        self._next_progress = 0.0
        disk.folder(self.scratch)

    def out(self, port: str) -> Path:
        """The folder of an output port. Raises ValueError for a port the step does not declare."""
        self._port(port)
        folder = self._out / port
        self._disk.folder(folder)
        return folder

    def say(self, message: str) -> None:
        """One plain line for the person watching. A safe point: unwinds when a stop was asked for."""
        self._watch({"event": "said", "step": self.step_id, "message": message})
        self._safe_point()

    def progress(self, done: int, total: int, note: str = "") -> None:
        """How far the step is. A safe point: unwinds when a stop was asked for."""
        self._meter.did(done)
        now = time.monotonic()
        if now >= self._next_progress or done >= total:
            self._next_progress = now + _PROGRESS_S
            event = {"event": "progress", "step": self.step_id, "done": done, "total": total, "note": note}
            self._watch(event)
        self._safe_point()

    def shows(self, at: int, numbers: Mapping[str, float]) -> None:
        """Numbers for whoever looks on; nothing of them is kept here."""
        self._watch({"event": "measured", "step": self.step_id, "at": at, "numbers": dict(numbers)})

    def kept(self, done: int) -> None:
        """So much of the work is durable in `scratch`; the first call says where this attempt goes on."""
        self._meter.keep(done)

    def used(self, what: Used, amount: int) -> None:
        """So much more was used up."""
        self._meter.use(what, amount)

    def underway(self, what: Used, amount: int) -> None:
        """At most so much more is being used just now."""
        self._meter.expect(what, amount)

    def measures(self, peak: Callable[[], Peak]) -> None:
        """How to learn what was taken of memory so far; asked from another thread."""
        self._meter.peak = peak

    def report(
        self,
        port: str,
        data: Mapping[str, Any],
        *,
        fingerprints: Mapping[str, str],
        environment: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Hand in the data of a report port, and what its environment says besides.

        Raises ValueError for another port, a fingerprint that is none, or data that strict JSON cannot hold.
        """
        if self._port(port).kind != "report":
            raise ValueError(f"step `{self.step_id}` declares no report on port `{port}`")
        # Built now, so that what is wrong is raised where it is handed in, and again with the full subject.
        strict_json.loads(dump(self._envelope(port, data, fingerprints, {}, environment)))
        self._reports[port] = (data, fingerprints, environment)

    def perform(self, takes: Mapping[str, Path], params: Any) -> None:
        """Import the backend's operation for this step and call it. Raises Refusal when it has none."""
        operations, name = self._call.backend.operations, self._call.step.name
        target = operations.get(name) or operations.get("*")
        if target is None:
            raise Refusal(
                f"backend `{self._call.backend.name}` has no operation for step `{name}`",
                place=f"step {self.step_id}",
                action="let the step do its work in its own `run`, or add the operation to the backend",
                code="KR0104",
            )
        module, _, function = target.partition(":")
        getattr(importlib.import_module(module), function)(takes, params, self)

    def write_reports(self, gives: Mapping[str, str]) -> None:
        """Write report.json of every report handed in; `gives` holds the digests of the other outputs. A report is
        not about how the work was divided and how long it took."""
        takes = self._call.step.takes_of(self._call.params)
        subject = {f"takes.{port}": one for port, one in self.digests.items() if takes[port].kind not in ASIDE}
        subject |= {f"gives.{port}": one for port, one in gives.items() if self.gives[port].kind not in ASIDE}
        for port, (data, fingerprints, more) in self._reports.items():
            text = dump(self._envelope(port, data, fingerprints, subject, more))
            self._disk.write(self.out(port) / REPORT, text.encode())

    @property
    def reported(self) -> set[str]:
        """Report ports that were handed in."""
        return set(self._reports)

    def _envelope(
        self,
        port: str,
        data: Mapping[str, Any],
        fingerprints: Mapping[str, str],
        subject: Mapping[str, str],
        more: Mapping[str, Any],
    ) -> dict[str, Any]:
        own = environment(self._call.backend.name, self.versions, forged=self._call.forged)
        return envelope(
            kind=self.gives[port].report,
            step=self.step_id,
            subject=subject,
            fingerprints=fingerprints,
            environment={**more, **own},
            data=data,
        )

    def _port(self, port: str) -> Port:
        if port not in self.gives:
            raise ValueError(f"step `{self.step_id}` declares no output `{port}`")
        return self.gives[port]


def environment(backend: str, versions: Mapping[str, str], *, forged: bool) -> dict[str, Any]:
    """The environment of a report: hardware, Python, versions of what the backend requires, whether it is forged."""
    return {
        "hardware": host.hardware(),
        "python": host.python(),
        "versions": dict(versions),
        "backend": backend,
        "forged": forged,
    }
