"""Steps in the order of the lock → each reused, carried out or held back, and the judge asked after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime import digest
from runtime.contract import BrokenEvidence, MachineError, Refusal, Stopped, Unavailable, placing
from runtime.contract.forecast import WORK, Forecast, forecast
from runtime.contract.keys import (
    REASONS,
    Decision,
    action_key,
    blocked,
    changes,
    components,
    decide,
    environment,
    inputs_of,
    needed,
    parse_reference,
    predict,
    producers,
)
from runtime.contract.report import dump
from runtime.machine import devices, evidence, purse, stale, starting
from runtime.machine.account import accounts
from runtime.machine.attempt import Attempt, Task
from runtime.machine.budget import NOT_BEGUN, OverBudget, budget_of, spent_on, taken, total, whole
from runtime.machine.context import REPORT, Watch
from runtime.machine.durable import StorageFailed
from runtime.machine.journal import Attempts, name_of
from runtime.machine.locked import RUN
from runtime.machine.meter import Spent
from runtime.machine.run import Judge, Outcome, Run, Status, StepResult, blocks, counted, tally, word
from runtime.machine.state import State, steps_of, unfinished_of


class Walk:
    """The steps of a lock, one after the other."""

    def __init__(
        self,
        lock: Mapping[str, Any],
        root: Path,
        state: State,
        *,
        judge: Judge,
        watch: Watch,
        stop_requested: Callable[[], bool],
        verdict: Callable[[], str] = lambda: "",
    ) -> None:
        self._lock, self._root, self._state = lock, root, state
        self._judge, self._watch, self._stop_requested = judge, watch, stop_requested
        self._verdict = verdict
        self._spec = str(lock["asked"]["name"])
        self._inputs = {entry["name"]: entry for entry in lock["inputs"]}
        self._pins = {name: entry["digest"] for name, entry in self._inputs.items()}
        self._requires = stale.requirements(lock)
        self._host = devices.words()
        self._results: dict[str, StepResult] = {}
        self._gated: dict[str, str] = {}
        #: step that waits → the step whose failure, or lack of a result, it waits for
        self._roots: dict[str, str] = {}
        self._texts: dict[str, bytes] = {}
        self._reports: dict[str, dict[str, Any]] = {}
        self._budget = budget_of(lock)
        self._spent: dict[str, Spent] = {}
        #: step → its action key, as far as it is known
        self._keys: dict[str, str] = {}
        #: step that is to run → what it will take, as far as that is known
        self._foreseen: dict[str, Spent] = {}
        #: reports about steps that are about to begin, which rules ask for
        self._starts = starting.asked(lock)
        self._stopped = False
        self._exhausted = ""
        self._opened = False

    def open(self, only: list[str] | None, force: set[str]) -> None:
        """Check the toolchain of what will run, then say in the journal that work begins."""
        expected = predict(
            self._lock,
            requires=self._requires,
            host=self._host,
            history=self._state.history,
            present=self._state.store.present,
            only=only,
            force=force,
        )
        backend = {step["id"]: step["backend"] for step in self._lock["steps"]}
        stale.require_toolchain(self._lock, (backend[one.step] for one in expected if one.action == "run"))
        running = {one.step for one in expected if one.action == "run"}
        devices.require(step for step in self._lock["steps"] if step["id"] in running)
        self._wanted, self._forced = needed(self._lock["steps"], only), force
        self._keys = {one.step: one.key for one in expected}
        self._spent = spent_on(self._state.journal.past, expected)
        self._foreseen = {step["id"]: self._takes(step)[1] for step in self._lock["steps"] if step["id"] in running}
        plan = digest.of_plan(dict(self._lock))
        asked = {"spec": self._spec, "plan": plan, "only": only, "force": sorted(force)}
        self._state.journal.append("run_opened", asked)
        self._opened = True
        self._tell(
            "run_started",
            None,
            run=self._state.journal.run,
            spec=self._spec,
            plan=plan,
            steps=[step["id"] for step in self._lock["steps"]],
        )

    def steps(self) -> None:
        """Walk every step once, in the order of the lock."""
        for step in self._lock["steps"]:
            self._stopped = self._stopped or self._stop_requested()
            result = self._blocked(step) or self._step(step)
            self._results[step["id"]] = result
            if result.record is not None:
                self._spent[step["id"]] = taken(result.record)
                self._gate(step["id"], result.record)

    def close(self, began: float, kept: bool = True) -> Run:
        """Judge everything, write the evidence (unless it is not to be kept), close the run in the journal."""
        records = {name: result.record for name, result in self._results.items() if result.record is not None}
        past, name = self._state.journal.past, name_of(self._spec)
        bought = purse.look(self._state.paid, name)
        waiting = [key for step, key in self._keys.items() if step not in records]
        upto = {"journal": past.counted(name), "purse": bought.mark}
        spent = accounts(self._lock, past, bought, records.values(), waiting)
        own = evidence.run_report(self._lock, records, spent, upto)
        reports = {**self._reports, RUN: own}
        texts = {**self._texts, RUN: dump(own).encode()}
        outcomes = self._judge(texts, None)
        said = self._verdict() if kept else ""
        self._state.journal.append("gate_evaluated", {**tally(outcomes, ""), **({"verdict": said} if said else {})})
        self._count_uses(outcomes)
        lines = [self._state.journal.past.line_of(record) for record in records.values()]
        folder = self._root / "generated" / self._spec / "evidence"
        if kept:
            evidence.write(folder, evidence.Evidence(reports=self._texts, run=own, lines=lines), self._state.disk)
        run = Run(
            outcome=word(list(self._results.values()), outcomes, stopped=self._stopped),
            steps=list(self._results.values()),
            outcomes=outcomes,
            digests={
                f"{name}#{port}": give["digest"]
                for name, record in records.items()
                for port, give in record["gives"].items()
            },
            reports=reports,
            texts=texts,
            counts=counted(list(self._results.values())),
            wall_s=time.perf_counter() - began,
            evidence=folder,
        )
        self._state.journal.append(
            "run_closed", {**self._closing(run.outcome), **({"bought": bought.mark} if kept else {})}
        )
        self._tell("finished", None, outcome=run.outcome, counts=run.counts, wall_s=run.wall_s, outcomes=list(outcomes))
        return run

    def abandon(self, error: BaseException) -> None:
        """Close the run in the journal after an exception, if the journal can still be written."""
        if self._opened and self._state.journal.usable and not isinstance(error, StorageFailed | BrokenEvidence):
            stopped = isinstance(error, KeyboardInterrupt)
            self._state.journal.append("run_closed", self._closing("interrupted" if stopped else "crashed"))

    def _closing(self, outcome: str) -> dict[str, Any]:
        steps = {name: result.status for name, result in self._results.items()}
        return {"spec": self._spec, "outcome": outcome, "steps": steps, "head": self._state.journal.head}

    def _blocked(self, step: Mapping[str, Any]) -> StepResult | None:
        """Why a step must not go on because of those before it, or because the run was stopped."""
        if self._stopped:
            return self._leave(blocked(step["id"], "stopped", REASONS["stopped"]))
        for name in producers(step):
            before = self._results[name]
            if name in self._gated:
                return self._leave(blocked(step["id"], "gate_blocked", f"{name}: {self._gated[name]}"))
            if before.record is None:
                reason = before.reason if before.status == "skipped" else "upstream_failed"
                # the step where it began, which alone says why
                root = self._roots.get(name, name)
                self._roots[step["id"]] = root
                why = f": {before.detail}" if root == name else ""
                return self._leave(blocked(step["id"], reason, f"{root} has no result{why}"))
        return None

    def _leave(self, decision: Decision) -> StepResult:
        skipped = decision.reason in ("stopped", "not_selected")
        status: Status = "skipped" if skipped else "blocked"
        self._tell(status, decision.step, reason=decision.reason, detail=decision.detail)
        return StepResult(step=decision.step, status=status, reason=decision.reason, detail=decision.detail)

    def _step(self, step: Mapping[str, Any]) -> StepResult:
        """Decide one step whose inputs are known, and carry it out when it must run."""
        given, parts = self._components(step)
        forced = step["id"] in self._forced and step["id"] in self._wanted
        decision = decide(
            step, parts, self._state.history, spec=self._spec, present=self._state.store.present, forced=forced
        )
        if decision.record is not None:
            self._tell(
                "step_reused",
                step["id"],
                reason=decision.reason,
                detail=decision.detail,
                wall_s=decision.record["wall_s"],
            )
            return self._result(decision, "reused", decision.record)
        if step["id"] not in self._wanted:
            return self._leave(blocked(step["id"], "not_selected", REASONS["not_selected"]))
        if self._exhausted:
            return self._leave(blocked(step["id"], "over_budget", self._exhausted))
        self._quarantine(decision)
        self._say_unused(step, parts)
        task = self._task(step, parts, given)
        return self._carry_out(task, decision, fresh=forced)

    def _takes(self, step: Mapping[str, Any]) -> tuple[Forecast | None, Spent]:
        """How long a step takes, where that can be said, and what else."""
        last = self._state.history.last(self._spec, step["id"])
        made = forecast(self._lock.get("estimates", {}).get(step["id"]), last)
        return made, whole(made, last, str(step["params"].get("device", "cpu")))

    def _task(self, step: Mapping[str, Any], parts: Mapping[str, str | None], given: Mapping[str, str | None]) -> Task:
        estimate = self._lock.get("estimates", {}).get(step["id"])
        made, takes = self._takes(step)
        return Task(
            entry=step,
            spec=self._spec,
            key=action_key(parts),
            components={name: value for name, value in parts.items() if value is not None},
            digests={port: value for port, value in given.items() if value is not None},
            inputs={
                port: self._inputs[parse_reference(reference)[1]]
                for port, reference in step["takes"].items()
                if parse_reference(reference)[0] == "input"
            },
            executor=stale.executor_of(self._lock),
            forged=any(self._is_forged(name) for name in producers({**step, "after": []})),
            work=None if estimate is None else estimate[WORK],
            forecast=made,
            budgets=self._lock.get("budgets", {}),
            takes=takes,
        )

    def _components(self, step: Mapping[str, Any]) -> tuple[dict[str, str | None], dict[str, str | None]]:
        """What a step takes, by port, and what its key is made of; None for what has no result."""
        gives = {name: result.record["gives"] if result.record else None for name, result in self._results.items()}
        taken = inputs_of(step, self._pins, gives)
        around = environment(self._lock["toolchain"], self._requires[step["backend"]], self._host(step))
        return taken, components(step, taken, around, self._lock.get("plugins", []))

    def settle(self, name: str, action: str) -> Mapping[str, Any] | None:
        """Commit what an attempt at step `name` under the key `action` had staged: the record, or None when its outputs
        are not what they were. Runs nothing. Raises LookupError when the lock asks for another form of the step.
        """
        self._wanted, self._forced = set(), set()
        for step in self._lock["steps"]:
            if step["id"] == name:
                given, parts = self._components(step)
                if None in parts.values() or action_key(parts) != action:
                    break
                return self._attempt(self._task(step, parts, given)).finish_staged()
            self._results[step["id"]] = self._blocked(step) or self._step(step)
        raise LookupError(f"the lock asks for another form of step `{name}`, or what it takes has no result here")

    def _attempt(self, task: Task) -> Attempt:
        return Attempt(
            task,
            self._state,
            self._root,
            watch=self._watch,
            stop_requested=self._stop_requested,
            gate=self._before(task),
            budget=self._budget.beside(
                total(spent for name, spent in self._spent.items() if name != task.id),
                total(spent for name, spent in self._foreseen.items() if name not in self._results and name != task.id),
            ),
        )

    def _before(self, task: Task) -> starting.Gate:
        """What is known before a step begins, which is written down for rules that are yet to come, and the rules of
        phase pre-step that decide on it."""

        def facts(attempt: int, reserved: Spent) -> Mapping[str, Any]:
            past, name = self._state.journal.past, name_of(self._spec)
            bought = purse.look(self._state.paid, name)
            done = {one: found.record for one, found in self._results.items() if found.record is not None}
            waiting = [key for step, key in self._keys.items() if step not in done]
            spent = accounts(self._lock, past, bought, done.values(), waiting)
            there = [
                (self._root / task.inputs[port]["path"]).exists()
                if port in task.inputs
                else self._state.store.present(task.digests.get(port, "")) is True
                for port in task.entry["takes"]
            ]
            return starting.facts(task.entry, task.executor, attempt, there, spent, reserved, bought.mark)

        def ask(data: Mapping[str, Any]) -> None:
            key = starting.key_of(task.id)
            if key not in self._starts:
                return
            given = {**self._texts, key: starting.text(task.id, data)}
            outcomes = [one for one in self._judge(given, {key}) if one["step"] == key]
            for outcome in outcomes:
                self._tell("gate", task.id, outcome=dict(outcome))
            if stopping := [one for one in outcomes if blocks(one)]:
                self._state.journal.append("gate_evaluated", tally(outcomes, task.id))
                raise starting.NotBegun("; ".join(f"{one['rule']}: {one.get('remedy', '')}" for one in stopping))

        return starting.Gate(facts, ask)

    def _say_unused(self, step: Mapping[str, Any], parts: Mapping[str, str | None]) -> None:
        """A state that another form of this very step has saved is not gone on with; by what they differ is said."""
        key, found = action_key(parts), None
        for action, known in self._state.journal.past.attempts.items():
            if known.of == (self._spec, step["id"]) and action != key and known.components:
                left = unfinished_of(self._state.folder, action, known)
                found = (left.step, known) if left.step else found
        if found is not None:
            at, known = found
            last = {"components": known.components, "params": known.params[known.claimed]}
            differing = "; ".join(str(change) for change in changes(step, parts, last))
            message = f"the state saved at step {at} is not used, it would not lead to the same result: {differing}"
            self._tell("said", step["id"], message=message)

    def _is_forged(self, name: str) -> bool:
        record = self._results[name].record
        return record is not None and bool(record["forged"])

    def _carry_out(self, task: Task, decision: Decision, *, fresh: bool) -> StepResult:
        attempt = self._attempt(task)
        self._keys[task.id] = task.key
        earlier = self._state.history.of_key(task.key)
        known = self._state.journal.past.attempts.get(task.key)
        self._tell(
            "step_started",
            task.id,
            kind=task.entry["kind"],
            backend=task.entry["backend"],
            reason=decision.reason,
            detail=decision.detail,
            attempt=1 + (known.claimed if known else 0),
        )
        try:
            record = (None if fresh else attempt.finish_staged()) or attempt.run(fresh=fresh)
        except OverBudget as over:
            self._spend(task)
            if over.refusal.code != NOT_BEGUN:
                self._exhausted = over.refusal.message
            return self._refused(decision, over.refusal)
        except starting.NotBegun as held:
            self._spend(task)
            return self._leave(blocked(task.id, "held_back", str(held)))
        except Stopped:
            self._stopped = True
            self._tell("interrupted", task.id)
            return self._result(decision, "interrupted", None, detail=self._left(task))
        except (Refusal, Unavailable) as error:
            self._spend(task)
            return self._refused(decision, error)
        apart = placing.unlike(task.entry, earlier[0]["gives"], record["gives"], self._data_of) if earlier else []
        if apart:
            self._tell("not_reproduced", task.id, promise=task.entry["promise"], apart=apart)
        self._tell(
            "step_committed", task.id, gives=record["gives"], wall_s=record["wall_s"], attempts=record["attempts"]
        )
        return self._result(decision, "committed", record)

    def _spend(self, task: Task) -> None:
        """What a step took counts for those after it, whatever became of it."""
        self._spent[task.id] = self._state.journal.past.attempts.get(task.key, Attempts()).counted

    def _data_of(self, report: str) -> Mapping[str, Any] | None:
        """The data of a stored report; None when it is gone."""
        if self._state.store.present(report) is not True:
            return None
        return placing.data_of((self._state.store.read(report) / REPORT).read_bytes())

    def _left(self, task: Task) -> str:
        """What an attempt that was stopped leaves for the next one."""
        left = unfinished_of(self._state.folder, task.key, self._state.journal.past.attempts[task.key])
        return left.words(steps_of(task.entry))

    def _refused(self, decision: Decision, error: Refusal | Unavailable) -> StepResult:
        self._tell(
            "step_failed",
            decision.step,
            message=str(error),
            place=getattr(error, "place", ""),
            action=getattr(error, "action", "") or getattr(error, "needs", ""),
            code=getattr(error, "code", ""),
        )
        return self._result(decision, "failed", None, detail=str(error), error=error)

    def _tell(self, event: str, step: str | None, **more: Any) -> None:
        about = {} if step is None else {"step": step}
        self._watch({"event": event, **about, **more})

    def _result(
        self,
        decision: Decision,
        status: Status,
        record: Mapping[str, Any] | None,
        *,
        detail: str = "",
        error: MachineError | None = None,
    ) -> StepResult:
        return StepResult(
            step=decision.step,
            status=status,
            reason=decision.reason,
            detail=detail or decision.detail,
            record=record,
            error=error,
        )

    def _quarantine(self, decision: Decision) -> None:
        corrupt = {change.old for change in decision.changes if change.reason == "artifact_corrupt"}
        for artifact in sorted(corrupt):
            place = self._state.store.quarantine(artifact)
            data = {"step": decision.step, "digest": artifact, "place": place.name}
            self._state.journal.append("artifact_quarantined", data)
            self._tell("quarantined", decision.step, digest=artifact, place=place.name)

    def _gate(self, step: str, record: Mapping[str, Any]) -> None:
        """Ask the judge about the reports of this step; what blocks on it stops all that comes after it. What it said
        when it began stops nothing now: nothing begins, those that follow are asked themselves, and the verdict counts
        it."""
        texts = evidence.reports_of(record, self._state.store) | starting.texts(self._lock, step, record)
        # a step of which no beginning is written down was never asked, which is no pass
        begun = starting.key_of(step)
        asked = {step, *texts, *({begun} & self._starts)}
        if not texts and len(asked) == 1:
            return
        self._texts.update(texts)
        self._reports.update({key: evidence.parse(text, key) for key, text in texts.items()})
        outcomes = [one for one in self._judge(dict(self._texts), asked) if one["step"] in asked]
        stopping = [outcome["rule"] for outcome in outcomes if blocks(outcome) and outcome["step"] != begun]
        for outcome in outcomes:
            self._tell("gate", step, outcome=dict(outcome))
        self._count_uses(outcomes)
        if stopping:
            self._gated[step] = ", ".join(stopping)
            self._state.journal.append("gate_evaluated", tally(outcomes, step))

    def _count_uses(self, outcomes: Sequence[Outcome]) -> None:
        """What a waiver excuses is written down once, before anything rests on it."""
        for outcome in outcomes:
            used = outcome.get("waiver")
            if used and (used["id"], used["use"]) not in self._state.journal.past.uses:
                said = {
                    "waiver": used["id"],
                    "digest": used["digest"],
                    "approved": used["approved"],
                    "use": used["use"],
                }
                about = {"spec": self._spec, "rule": outcome["rule"], "step": outcome["step"], "was": used["was"]}
                self._state.journal.append("waiver_used", {**said, **about})
