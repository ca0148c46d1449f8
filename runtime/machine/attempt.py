"""One step and its decision to run → committed artifacts, or why not. The order of writes is the crash safety.

claimed line → operation fills scratch/out → all outputs durable and named → staged line → rename into the store →
committed line → scratch removed. A kill between any two leaves a state from which the next apply goes on: before the
staged line with the operation's own checkpoints in scratch/work, after it with the finished outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from runtime import catalog
from runtime.contract import ASIDE, MachineError, Refusal, Stopped
from runtime.contract.forecast import WORK, Forecast
from runtime.contract.peak import PEAK, Peak, higher, peak_of
from runtime.contract.places import NoPlace
from runtime.machine import scarce
from runtime.machine.budget import UNLIMITED, Budget, aside, rest
from runtime.machine.context import REPORT, Call, StepContext, Watch
from runtime.machine.durable import StorageFailed, erase, is_storage_trouble
from runtime.machine.journal import Attempts, name_of
from runtime.machine.ledger import Ledger, record
from runtime.machine.locked import params_of
from runtime.machine.meter import NOTHING, Meter, Spent, spent_of
from runtime.machine.resumed import resumes
from runtime.machine.stale import digest_of, installed, place_of
from runtime.machine.starting import START, Gate
from runtime.machine.state import READ, State
from runtime.machine.store import Staged


class StepCrashed(Exception):
    """A step ended with an error that is nobody's input: a defect of the step or of the machine. `step` names it."""

    def __init__(self, step: str, error: BaseException) -> None:
        super().__init__(f"step `{step}` crashed: {type(error).__name__}: {error}")
        self.step = step


@dataclass(frozen=True, kw_only=True)
class Task:
    """One step of the lock whose key is known."""

    entry: Mapping[str, Any]
    spec: str
    key: str
    components: Mapping[str, str]
    #: port → digest of what is taken
    digests: Mapping[str, str]
    #: port → path in the project, for what is an input
    inputs: Mapping[str, Mapping[str, Any]]
    executor: str
    #: whether anything that is taken was forged
    forged: bool
    #: operations of a training, in units of 10^9
    work: int | None
    #: how long it will take, where that can be said
    forecast: Forecast | None
    #: those of the run, as the lock names them
    budgets: Mapping[str, Any]
    #: what it takes from its beginning to its end, as far as that can be said
    takes: Spent = NOTHING

    @property
    def id(self) -> str:
        return str(self.entry["id"])


class Attempt:
    """Carries out one task in the state of a project."""

    def __init__(
        self,
        task: Task,
        state: State,
        root: Path,
        *,
        watch: Watch,
        stop_requested: Callable[[], bool],
        budget: Budget = UNLIMITED,
        gate: Gate | None = None,
    ) -> None:
        self._task, self._state, self._root = task, state, root
        self._watch, self._stop_requested, self._budget = watch, stop_requested, budget
        #: what a rule lets pass, or does not, before any work
        self._gate = gate
        self._folder = state.scratch(task.key)
        self._meter: Meter | None = None
        self._paid = NOTHING

    def finish_staged(self) -> Mapping[str, Any] | None:
        """Commit what an earlier attempt had staged, if every output is still what it was; else None."""
        staged = self._known().staged
        if staged is None:
            return None
        found: list[Staged] = []
        for port, give in staged["gives"].items():
            folder = self._folder / "out" / port
            if self._state.store.present(give["digest"]) is True:
                continue
            if digest_of(folder, "folder") != give["digest"]:
                return None
            found.append(Staged(folder=folder, digest=give["digest"], size_bytes=give["bytes"]))
        for output in found:
            self._state.store.publish(output)
        return self._commit(staged["gives"], spent_of(staged), staged["resumes"], peak_of(staged))

    def run(self, *, fresh: bool) -> Mapping[str, Any]:
        """One attempt to its end: the committed record. `fresh` forgets checkpoints of earlier attempts.

        Raises Refusal and Unavailable (the step's own refusals, journaled), Stopped, OverBudget, NotBegun and
        KeyboardInterrupt (journaled as interrupted), BrokenEvidence, StorageFailed, StepCrashed for everything else.
        """
        call = self._prepare()
        self._state.count_killed(self._task.key, staged=True)
        self._paid = self._state.journal.past.paid(name_of(self._task.spec))
        self._check_budget()
        # of work that another version of the machine left nobody knows what was read: it starts anew
        fresh = fresh or not (self._folder / READ).is_file()
        reserved = self._task.takes if fresh else rest(self._task.takes, self._known())
        self._budget.afford(self._task.id, reserved, self._known().counted, self._paid)
        erase(self._folder if fresh else self._folder / "out")
        number = self._known().claimed + 1
        # before the claim, so that there is no claimed attempt without a sign of life
        self._meter = Meter(self._folder, number, self._state.disk)
        try:
            return self._metered(call, number, reserved)
        finally:
            self._end()

    def _metered(self, call: Call, number: int, reserved: Spent) -> Mapping[str, Any]:
        meter = self._running()
        task = self._task
        claim = {
            "attempt": number,
            "params": task.entry["params"],
            "components": dict(task.components),
            "budgets": dict(task.budgets),
            "reserved": aside(reserved),
        }
        start = {} if self._gate is None else {START: self._gate.facts(number, reserved)}
        self._state.journal.append("step_claimed", {**self._name(), **claim, **start})
        try:
            if self._gate is not None:
                self._gate.ask(start[START])
            gives = self._carried_out(call)
        except (Stopped, KeyboardInterrupt):
            self._state.journal.append("step_interrupted", {**self._name(), **meter.data()})
            raise
        except StorageFailed:
            raise
        except MachineError as error:
            self._failed(str(error), getattr(error, "action", ""))
            raise
        except OSError as error:
            if is_storage_trouble(error):
                raise StorageFailed("carry out step", Path(self._task.id), error) from error
            self._crashed(error)
        except Exception as error:
            self._crashed(error)
        spent, again = self._known().spent + meter.spent(), resumes(self._known(), meter.way())
        named = {port: _give(call, port, staged) for port, staged in gives.items()}
        peak = higher(self._known().peak, meter.peak())
        line = {**self._name(), "gives": named, "resumes": again, **spent.data(), **_memory(peak)}
        self._state.journal.append("step_staged", line)
        for staged in gives.values():
            self._state.store.publish(staged)
        self._end()
        return self._commit(named, spent, again, peak)

    def _carried_out(self, call: Call) -> dict[str, Staged]:
        """All that the step gives. Raises Refusal (KR0133) for want of memory, wherever and in whatever words it was
        met; everything else as it comes."""
        spare = bytearray()
        try:
            spare = bytearray(scarce.SPARE_BYTES)
            return self._outputs(call)
        except StorageFailed:
            raise
        except Exception as error:
            # first: even to look at what is left takes memory
            given = len(spare)
            spare.clear()
            lacking = scarce.behind(error)
            if lacking is None:
                raise
            refused = _out_of_memory(call, error, lacking, given)
        # outside of the handler: what the step held goes with its frames
        raise refused

    def _prepare(self) -> Call:
        """Declaration, backend and params of the task. Raises Refusal when the lock does not fit them."""
        entry = self._task.entry
        step = catalog.load("steps", entry["kind"].partition("@")[0])
        backend = catalog.load("backends", entry["backend"])
        params = params_of(step, entry)
        return Call(
            step_id=self._task.id,
            step=step,
            backend=backend,
            params=params,
            gives=step.gives_of(params),
            takes={port: self._path(port) for port in entry["takes"]},
            digests=self._task.digests,
            seed=int(entry["seed"]),
            versions={name: installed(name) for name in sorted(backend.requires)},
            forged=self._forged(),
        )

    def _path(self, port: str) -> Path:
        if port in self._task.inputs:
            path = self._task.inputs[port]["path"]
            try:
                return place_of(self._root, path)
            except NoPlace as reason:
                raise self._refusal(
                    f"input `{path}` went away while the plan was carried out: {reason}", "KR0107"
                ) from None
        return self._state.store.read(self._task.digests[port])

    def _outputs(self, call: Call) -> dict[str, Staged]:
        """Run the operation and stage all it gives: reports last, because they name the others."""
        self._check_declaration(call)
        ctx = StepContext(
            call,
            self._folder,
            paid=self._state.paid,
            watch=self._watch,
            safe_point=self._safe_point,
            meter=self._running(),
            disk=self._state.disk,
        )
        ledger = self._ledger()
        params = record(call.params, ledger)
        run = ctx.perform if call.backend.forges else lambda takes, given: call.step.run(takes, given, ctx)
        catalog.load("executors", self._task.executor).execute(lambda: run(call.takes, params))
        if not call.backend.forges:
            # The declaration may read params too, to say which ports there are.
            call.step.takes_of(params)
            call.step.gives_of(params)
            self._check_ledger(call, ledger)
        self._check_takes()
        others = {
            # of many who divide the work one may have nobody to ask
            port: self._stage(port, bare=give.kind in ASIDE)
            for port, give in call.gives.items()
            if give.kind != "report"
        }
        ports = {port for port, give in call.gives.items() if give.kind == "report"}
        for port in sorted(ports):
            if port not in ctx.reported or (self._folder / "out" / port / REPORT).exists():
                raise self._refusal(f"report port `{port}` was not filled through `ctx.report`", "KR0105")
        ctx.write_reports({port: staged.digest for port, staged in others.items()})
        return others | {port: self._stage(port, report=True) for port in sorted(ports)}

    def _ledger(self) -> Ledger:
        """What was read so far. Work that is done already need not read its settings again, so that the reads of an
        earlier attempt count as long as its work is there."""
        path, read = self._folder / READ, list[str]()
        if path.is_file() and any((self._folder / "work").glob("*")):
            # a line that a power cut tore was never handed out
            read = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        self._state.disk.write(path, "".join(f"{name}\n" for name in read).encode())
        return Ledger(read, lambda name: self._state.disk.append(path, f"{name}\n".encode()))

    def _stage(self, port: str, *, report: bool = False, bare: bool = False) -> Staged:
        folder = self._folder / "out" / port
        if report and str(self._folder) in (folder / REPORT).read_text(encoding="utf-8"):
            raise self._refusal(f"the report on port `{port}` contains a path of this machine", "KR0105")
        try:
            staged = self._state.store.stage(folder) if folder.is_dir() else None
        except ValueError as error:
            raise self._refusal(f"output port `{port}`: {error}", "KR0105") from error
        if staged is None or (staged.size_bytes == 0 and not bare):
            raise self._refusal(f"output port `{port}` was left empty", "KR0105")
        return staged

    def _check_declaration(self, call: Call) -> None:
        declared = {port: {"kind": give.kind, "report": give.report} for port, give in call.gives.items()}
        locked = {port: {"report": "", **give} for port, give in self._task.entry["gives"].items()}
        if declared != locked:
            raise self._refusal("what the lock says it gives is not what the step declares", "KR0104")
        takes = call.step.takes_of(call.params)
        missing = {port for port, take in takes.items() if not take.optional} - set(call.takes)
        strange = set(call.takes) - set(takes)
        if missing or strange:
            raise self._refusal(f"ports {sorted(missing | strange)} do not fit what the step takes", "KR0104")

    def _check_ledger(self, call: Call, ledger: Ledger) -> None:
        if unread := ledger.unread():
            raise Refusal(
                f"step `{self._task.id}` ({call.step.name}) never read: {', '.join(unread)}",
                place=f"step {self._task.id}",
                action="remove the setting, or make the operation use it: a parameter without effect is not accepted",
                code="KR0106",
            )

    def _check_takes(self) -> None:
        """What the step took is still what it was: no step may write into its inputs, no input change meanwhile."""
        for port, value in self._task.digests.items():
            if port in self._task.inputs:
                given = self._task.inputs[port]
                if digest_of(self._path(port), given["kind"]) != value:
                    raise self._refusal(f"input `{given['path']}` changed while the step ran", "KR0107")
                continue
            self._state.store.forget(value)
            if self._state.store.present(value) is not True:
                raise self._refusal(f"the artifact on port `{port}` was changed while the step ran", "KR0107")

    def _commit(
        self, gives: Mapping[str, Any], spent: Spent, again: Sequence[Mapping[str, Any]], peak: Peak | None
    ) -> Mapping[str, Any]:
        entry, known = self._task.entry, self._known()
        data = {
            **self._name(),
            "kind": entry["kind"],
            "backend": entry["backend"],
            "forged": self._forged(),
            **({} if known.start is None else {START: known.start}),
            "promise": entry["promise"],
            "derivation": entry["derivation"],
            "components": dict(self._task.components),
            "params": entry["params"],
            "gives": dict(gives),
            **spent.data(),
            **({} if known.held == NOTHING else {"held": aside(known.held)}),
            **_memory(peak),
            "resumes": list(again),
            **({} if self._task.work is None else {WORK: self._task.work}),
            "forecast": None if self._task.forecast is None else self._task.forecast.data(),
            "attempts": known.claimed,
            # Killed attempts that left no sign of how long they worked: the seconds are then a lower bound.
            "lost_attempts": known.claimed - known.ended - 1,
        }
        line = self._state.journal.append("step_committed", data)
        self._state.history.add(line.data)
        erase(self._folder)
        return line.data

    def _safe_point(self) -> None:
        if self._stop_requested():
            raise Stopped
        self._check_budget()

    def _forged(self) -> bool:
        """Whether what this step gives was computed by nobody: what it takes, its backend or a plug-in that its params
        name forges."""
        entry = self._task.entry
        step = catalog.load("steps", entry["kind"].partition("@")[0])
        named = [("backends", entry["backend"]), *step.plugs(params_of(step, entry))]
        return self._task.forged or any(getattr(catalog.load(room, name), "forges", False) for room, name in named)

    def _known(self) -> Attempts:
        return self._state.journal.past.attempts.get(self._task.key, Attempts())

    def _name(self) -> dict[str, Any]:
        return {"spec": self._task.spec, "step": self._task.id, "action": self._task.key}

    def _check_budget(self) -> None:
        known = self._known()
        if self._meter is None:
            self._budget.check(known.counted, self._paid)
            return
        # what was set aside for it has become what it takes
        now = self._meter.spent()
        self._budget.check(known.spent + known.held + now, self._paid + now)

    def _running(self) -> Meter:
        assert self._meter is not None, "the meter runs from before the claim"
        return self._meter

    def _end(self) -> None:
        """Before the scratch folder goes: the meter writes into it."""
        if self._meter is not None:
            self._meter.close()

    def _failed(self, message: str, mended_by: str = "") -> None:
        asked = {"mended_by": mended_by} if mended_by else {}
        self._state.journal.append(
            "step_failed", {**self._name(), "message": message, **asked, **self._running().data()}
        )

    def _crashed(self, error: Exception) -> NoReturn:
        self._failed(f"{type(error).__name__}: {error}")
        raise StepCrashed(self._task.id, error) from error

    def _refusal(self, message: str, code: str) -> Refusal:
        name = self._task.id
        return Refusal(f"step `{name}`: {message}", place=f"step {name}", action=_ACTIONS[code], code=code)


_ACTIONS = {
    "KR0104": "plan again: kcompiler plan",
    "KR0105": "this is a defect of the step's operation: report it to whoever wrote it",
    "KR0107": "find what writes there, then apply again",
}


def _memory(peak: Peak | None) -> dict[str, Any]:
    return {} if peak is None else {PEAK: peak.data()}


def _out_of_memory(call: Call, error: Exception, lacking: BaseException, spare: int) -> Refusal:
    """`spare`: bytes that were given back meanwhile."""
    place = f"step {call.step_id}"
    if isinstance(error, Refusal) and error.code == scarce.CODE:
        # the step knows better what to set
        return Refusal(error.message, place=error.place or place, action=error.action, code=error.code)
    held, least = scarce.held(), next(iter(scarce.limits()), None)
    if least is not None:
        least = replace(least, left=max(0, least.left - spare))
    had = ": " + "; ".join(filter(None, (held, str(least or "")))) if held or least else ""
    return Refusal(
        f"there is not enough memory for step `{call.step_id}`{had} ({scarce.wanted(lacking)})",
        place=place,
        action=f"{scarce.more(least)}; or {call.step.lighter}",
        code=scarce.CODE,
    )


def _give(call: Call, port: str, staged: Staged) -> dict[str, Any]:
    declared = call.gives[port]
    named = {"kind": declared.kind, "digest": staged.digest, "bytes": staged.size_bytes}
    return {**named, "report": declared.report} if declared.report else named
