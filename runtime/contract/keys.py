"""Steps, pins and the journal's committed records → keys, and for each step: run, reuse or blocked, and why. Pure.

A step has two keys over the same components. The *derivation* (known when planning, the same on every machine) stands
for its inputs by their derivations and pins, and for its toolchain by the versions the lock pins. The *action* (known
when its inputs exist) stands for its inputs by their digests and adds the machine: Python's minor version, system and
instruction set. Equal actions may share a result, so a step that runs again and gives the same bytes stops the change
there (early cut-off).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from runtime import digest

KEY_SCHEME = "k2"

#: reason code → what it says. A step with several reasons to run is given the first of this order.
REASONS: Mapping[str, str] = {
    "unchanged": "same key, and every artifact is in the store",
    "forced": "asked for by name",
    "never_run": "no committed result for this spec",
    "artifact_corrupt": "a stored artifact no longer has its digest",
    "artifact_missing": "a stored artifact is gone",
    "param_changed": "a parameter differs",
    "code_changed": "the code of the step differs",
    "environment_changed": "the toolchain or the machine differs",
    "input_changed": "an input of the project differs",
    "upstream_changed": "a step before it gives, or may give, something else",
    "upstream_failed": "a step before it failed or is blocked itself",
    "over_budget": "a budget of the run is used up",
    "gate_blocked": "a blocking rule did not pass on a step before it",
    "held_back": "a rule of phase pre-step does not let it begin",
    "not_selected": "not among the steps that were asked for, nor needed by them",
    "stopped": "the run was stopped before its turn",
}
_ORDER = {reason: place for place, reason in enumerate(REASONS)}

Present = Callable[[str], bool | Literal["corrupt"]]
Components = Mapping[str, str | None]
#: a step of a lock → the words of this machine that may decide its result
Host = Callable[[Mapping[str, Any]], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference between the last committed result and what is asked now. Empty text: absent on that side."""

    reason: str
    name: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.name}: {self.old or '(absent)'} → {self.new or '(absent)'}"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What happens to one step. `key` is its action key ("" while an input is unknown); `record` is what is reused."""

    step: str
    action: Literal["run", "reuse", "blocked"]
    reason: str
    detail: str
    changes: Sequence[Change] = ()
    key: str = ""
    record: Mapping[str, Any] | None = field(default=None, compare=False)


class History:
    """Committed records (`data` of step_committed lines, oldest first), indexed by key and by (spec, step)."""

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._by_key: dict[str, list[Mapping[str, Any]]] = {}
        self._last: dict[tuple[str, str], Mapping[str, Any]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        self._by_key.setdefault(record["action"], []).append(record)
        self._last[record["spec"], record["step"]] = record

    def of_key(self, key: str) -> Sequence[Mapping[str, Any]]:
        """Every record of an action key, newest first."""
        return self._by_key.get(key, [])[::-1]

    def last(self, spec: str, step: str) -> Mapping[str, Any] | None:
        return self._last.get((spec, step))

    def digests(self) -> set[str]:
        """Every artifact that some committed record names."""
        records = [record for several in self._by_key.values() for record in several]
        return {give["digest"] for record in records for give in record["gives"].values()}


def environment(
    toolchain: Mapping[str, str], requires: Iterable[str], host: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The pinned versions of what a backend requires and, for an action key, the `host` words of the machine."""
    pins = {name: toolchain.get(name, "unpinned") for name in requires}
    return {**pins, **(host or {})}


def components(
    step: Mapping[str, Any],
    inputs: Mapping[str, str | None],
    environment: Mapping[str, str],
    plugins: Sequence[Mapping[str, str]] = (),
) -> dict[str, str | None]:
    """Everything a step's result may depend on, by name. `inputs`: port → digest, None while it is unknown.

    Parameters without effect on the result (`unkeyed` of the step) are left out. A third party's plug-in counts by the
    digest of its code: always when it is the step or its backend, else when a parameter of the step has its name as a
    value.
    """
    parts: dict[str, str | None] = {
        "scheme": KEY_SCHEME,
        "step": str(step["id"]),
        "kind": str(step["kind"]),
        "backend": str(step["backend"]),
        "code": str(step["code"]),
        "seed": str(step["seed"]),
        "params": digest.of_value(keyed(step), "kc.params.v1"),
        "gives": digest.of_value(step["gives"], "kc.gives.v1"),
    }
    parts.update({f"input.{port}": value for port, value in inputs.items()})
    parts.update({f"environment.{name}": version for name, version in environment.items()})
    parts.update(plugin_parts(step, plugins))
    return parts


def plugin_parts(step: Mapping[str, Any], plugins: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The components that stand for the third parties' plug-ins which a step uses."""
    if not plugins:
        return {}
    names = {str(step["kind"]).partition("@")[0], str(step["backend"]), *_texts(step["params"])}
    return {f"plugin.{one['room']}.{one['name']}": one["code"] for one in plugins if one["name"] in names}


def keyed(step: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The parameters of a locked step (or other `params` of it) that have an effect on its result."""
    return {
        name: value
        for name, value in (step["params"] if params is None else params).items()
        if name not in step.get("unkeyed", ())
    }


def action_key(parts: Components) -> str:
    """The action key of complete components. Raises ValueError while an input is unknown."""
    unknown = [name for name, value in parts.items() if value is None]
    if unknown:
        raise ValueError(f"no key while {', '.join(unknown)} is unknown")
    return digest.of_value(dict(parts), "kc.action.v1")


def derivation(
    step: Mapping[str, Any],
    *,
    pins: Mapping[str, str],
    derivations: Mapping[str, str],
    environment: Mapping[str, str],
    plugins: Sequence[Mapping[str, str]] = (),
) -> str:
    """The derivation key: `pins` maps an input's name to its digest, `derivations` a step's id to its derivation."""
    inputs: dict[str, str | None] = {}
    for port, reference in step["takes"].items():
        room, name, give = parse_reference(reference)
        inputs[port] = pins[name] if room == "input" else f"{derivations[name]}#{give}"
    return digest.of_value(components(step, inputs, environment, plugins), "kc.derivation.v1")


def parse_reference(reference: str) -> tuple[str, str, str]:
    """ "step:data#dataset" → ("step", "data", "dataset"); "input:x" → ("input", "x", ""). Raises ValueError."""
    room, _, rest = reference.partition(":")
    name, _, port = rest.partition("#")
    if not name or (room == "step") != bool(port) or room not in ("step", "input"):
        raise ValueError(f"not a reference to an input or to a step's output: {reference!r}")
    return room, name, port


def producers(step: Mapping[str, Any]) -> list[str]:
    """Ids of the steps whose outputs a step takes, then those it must only come after; each once."""
    taken = [parse_reference(reference) for reference in step["takes"].values()]
    return list(dict.fromkeys([name for room, name, _ in taken if room == "step"] + list(step.get("after", []))))


def needed(steps: Sequence[Mapping[str, Any]], only: Iterable[str] | None) -> set[str]:
    """Ids of the steps in `only` and of everything they need; every id when `only` is None. KeyError: no such step."""
    by_id = {step["id"]: step for step in steps}
    if only is None:
        return set(by_id)
    found: set[str] = set()
    waiting = list(only)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(producers(by_id[name]))
    return found


def decide(
    step: Mapping[str, Any],
    parts: Components,
    history: History,
    *,
    spec: str,
    present: Present,
    forced: bool = False,
) -> Decision:
    """Run or reuse one step, and why. `parts` with an unknown input can only be run."""
    known = all(value is not None for value in parts.values())
    key = action_key(parts) if known else ""
    records = history.of_key(key) if known else []
    if records and not forced:
        whole = next((record for record in records if not _damage(record, present)), None)
        if whole is not None:
            return _decision(step, "reuse", key, [], record=whole)
        return _decision(step, "run", key, _damage(records[0], present))
    if forced:
        return _decision(step, "run", key, [Change(reason="forced", name=step["id"], old="", new="")])
    last = history.last(spec, step["id"])
    if last is None:
        return _decision(step, "run", key, [Change(reason="never_run", name=step["id"], old="", new="")])
    return _decision(step, "run", key, changes(step, parts, last))


def blocked(step: str, reason: str, detail: str) -> Decision:
    """A step that must not or need not run now."""
    return Decision(step=step, action="blocked", reason=reason, detail=detail)


def inputs_of(
    step: Mapping[str, Any], pins: Mapping[str, str], gives: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, str | None]:
    """Port → digest of what a step takes. `gives`: step id → its committed gives, None (or absent) while unknown."""
    found: dict[str, str | None] = {}
    for port, reference in step["takes"].items():
        room, name, give = parse_reference(reference)
        made = gives.get(name)
        found[port] = pins[name] if room == "input" else None if made is None else str(made[give]["digest"])
    return found


def predict(
    lock: Mapping[str, Any],
    *,
    requires: Mapping[str, Iterable[str]],
    host: Host,
    history: History,
    present: Present,
    only: Iterable[str] | None = None,
    force: Iterable[str] = (),
) -> list[Decision]:
    """Lock × local state → one decision per step, in order: what `apply` would do if nothing upstream surprises it.

    `requires`: backend name → distributions it requires. `host`: the words of the machine for a step. A step that
    follows one that runs is predicted to run; apply may still reuse it when the inputs turn out the same. A step
    outside `only` is never predicted to run.
    """
    pins = {entry["name"]: entry["digest"] for entry in lock["inputs"]}
    wanted, forced = needed(lock["steps"], only), set(force)
    gives: dict[str, Mapping[str, Any] | None] = {}
    decisions: list[Decision] = []
    for step in lock["steps"]:
        around = environment(lock["toolchain"], requires[step["backend"]], host(step))
        parts = components(step, inputs_of(step, pins, gives), around, lock.get("plugins", []))
        decision = decide(
            step, parts, history, spec=lock["asked"]["name"], present=present, forced=step["id"] in forced & wanted
        )
        if decision.action == "run" and step["id"] not in wanted:
            decision = blocked(step["id"], "not_selected", REASONS["not_selected"])
        gives[step["id"]] = decision.record["gives"] if decision.record else None
        decisions.append(decision)
    return decisions


def param_changes(old: Any, new: Any, path: str = "") -> Iterator[Change]:
    """Each value that differs between two JSON values, by dotted path; list items by their index."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            yield from param_changes(old.get(name, _ABSENT), new.get(name, _ABSENT), f"{path}.{name}" if path else name)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else _ABSENT
            after = new[index] if index < len(new) else _ABSENT
            yield from param_changes(before, after, f"{path}.{index}" if path else str(index))
    elif type(old) is bool or type(new) is bool:
        if old is not new:
            yield Change(reason="param_changed", name=path, old=_show(old), new=_show(new))
    elif old != new:
        yield Change(reason="param_changed", name=path, old=_show(old), new=_show(new))


_ABSENT = object()


def _show(value: Any) -> str:
    if value is _ABSENT:
        return ""
    text = digest.canonical(value).decode()
    return text if len(text) <= 60 else f"{text[:59]}…"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _damage(record: Mapping[str, Any], present: Present) -> list[Change]:
    found = []
    for port, give in record["gives"].items():
        state = present(give["digest"])
        if state is not True:
            reason = "artifact_corrupt" if state == "corrupt" else "artifact_missing"
            found.append(Change(reason=reason, name=port, old=give["digest"], new=""))
    return found


def changes(step: Mapping[str, Any], parts: Components, last: Mapping[str, Any]) -> list[Change]:
    """Every difference between the parts now and those (`components`, `params`) of a record, or of an attempt."""
    before: Mapping[str, str] = last["components"]
    found: list[Change] = []
    for name in sorted({*before, *parts}):
        old, new = before.get(name, ""), parts.get(name, "")
        if old == new:
            continue
        if name == "params":
            found.extend(param_changes(keyed(step, last["params"]), keyed(step)))
        elif name.startswith("input."):
            found.append(_input_change(step, name.removeprefix("input."), old, new))
        else:
            found.append(Change(reason=_reason_of(name), name=name, old=old, new=new or ""))
    return found


def _input_change(step: Mapping[str, Any], port: str, old: str, new: str | None) -> Change:
    reference = step["takes"].get(port, "")
    reason = "upstream_changed" if reference.startswith("step:") else "input_changed"
    return Change(reason=reason, name=reference or port, old=old, new="not yet known" if new is None else new)


def _reason_of(component: str) -> str:
    if component == "seed":
        return "param_changed"
    return "environment_changed" if component.startswith("environment.") else "code_changed"


def _decision(
    step: Mapping[str, Any],
    action: Literal["run", "reuse"],
    key: str,
    changes: list[Change],
    record: Mapping[str, Any] | None = None,
) -> Decision:
    ordered = sorted(changes, key=lambda change: _ORDER[change.reason])
    reason = ordered[0].reason if ordered else "unchanged"
    plain = reason in ("unchanged", "forced", "never_run")
    detail = REASONS[reason] if plain else "; ".join(str(change) for change in ordered)
    return Decision(
        step=step["id"], action=action, reason=reason, detail=detail, changes=tuple(ordered), key=key, record=record
    )
