"""A file of evidence × the plan that is committed beside it → whether an apply of today would still give it.

    generated/NAME/plan.lock          the plan that is committed
    generated/NAME/quoted/run.json    the report on the run that the evidence is of; it names its plan and artifacts
    generated/NAME/quoted/plan.lock   the plan of that run
    generated/NAME/quoted/STEP.json   a report of that run; every other file there is a record of the whole run

`quoted` may have any name; in `evidence`, which `apply` keeps up to date, reports lie one folder deeper and the lock
above is the run's. A file that has neither is of no plan, and only its form is looked at.

What a plan asks of a step is its params, its seed, its kind and what it takes, and the same of all steps before it.
Where that is another than in the run, the number is *stale*: it is no evidence. Where only the code of a step is
another (its digest changes with every comment), the number may be the same, and nobody knows: it is *earlier*. It is
compared, told, and shows no more than that something was tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompiler import lock
from kcompiler.policy import evidence
from runtime.contract import strict_json

RUN, LOCK = "run.json", "plan.lock"
#: of a step, what says how it is carried out and not what it is asked
_CODE = ("code", "derivation", "after")


@dataclass(frozen=True)
class Standing:
    """Why evidence is stale, or since when the code is another; at most one of both. `spec` is what would renew it."""

    stale: str = ""
    earlier: str = ""
    spec: str = ""


def standing(path: Path, root: Path) -> Standing:
    """Of a file of evidence that can be read; `path` is resolved and inside `root`."""
    data = path.read_bytes()
    whole = _json(path, data)
    report = isinstance(whole, dict) and isinstance(whole.get("kind"), str) and "environment" in whole
    read = evidence.read(data) if report else None
    if read is not None and read.problem:
        home = next((one for one in _homes(path) if (one.parent / LOCK).is_file()), None)
        return Standing(stale=f"no gate would read it: {read.problem}", spec=_spec(home))
    home = home_of(path, root)
    if home is None:
        return Standing()
    committed = _plan(home.parent / LOCK)
    try:
        run: Any = strict_json.loads((home / RUN).read_bytes())
        subject = {str(name): str(found) for name, found in run["subject"].items()}
        plan = subject["plan"]
    except OSError:
        return Standing(stale=f"no `{RUN}` lies beside it that says of which run it is", spec=_spec(home))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Standing(stale=f"the `{RUN}` beside it names no plan", spec=_spec(home))
    if read is not None and path != home / RUN and read.artifact not in subject.values():
        return Standing(stale=f"the `{RUN}` beside it names no such report: it is of another run", spec=_spec(home))
    if isinstance(whole, dict) and "verdict" in whole and "obligations" in whole and whole.get("lock") != plan:
        return Standing(stale=f"it judged another plan than the one of the `{RUN}` beside it", spec=_spec(home))
    if committed is None:
        return Standing(earlier="no plan is committed for it, so that nobody knows what an apply would give")
    if lock.plan_digest(committed) == plan:
        return Standing()
    made = _plan(home / LOCK)
    if made is None or lock.plan_digest(made) != plan:
        also = f", and the `{LOCK}` beside it is not the plan that `{RUN}` names" if made else ""
        return Standing(stale=f"it is of another plan than the committed one{also}", spec=_spec(home))
    step = str(whole["step"]) if report and isinstance(whole, dict) and path != home / RUN else ""
    return _compared(made, committed, step, records=not report, spec=_spec(home))


def home_of(path: Path, root: Path) -> Path | None:
    """The folder of the run that a file is of, or None: its own or the one above, where a plan lies above that, or a
    report on a run in it. A plan is itself no evidence of a run."""
    inside = [one for one in _homes(path) if one != root.resolve() and one.is_relative_to(root.resolve())]
    return next((one for one in inside if (one.parent / LOCK).is_file() or (one / RUN).is_file()), None)


def _homes(path: Path) -> tuple[Path, Path]:
    return path.parent, path.parent.parent


def _json(path: Path, data: bytes) -> Any:
    if path.suffix != ".json":
        return None
    try:
        return strict_json.loads(data)
    except ValueError:
        return None


def _plan(path: Path) -> dict[str, Any] | None:
    try:
        return lock.read(path)
    except lock.UnreadableLock:
        return None


def _spec(home: Path | None) -> str:
    """The spec whose apply renews what lies in a folder."""
    plans = (_plan(path) for path in (home.parent / LOCK, home / LOCK)) if home else ()
    return next((str(plan["asked"]["spec"]) for plan in plans if plan), "")


def _compared(made: Mapping[str, Any], now: Mapping[str, Any], step: str, *, records: bool, spec: str) -> Standing:
    """A run's plan beside the committed one: of one step and those before it, or of all; of a record also the rules."""
    old, new = (_before(plan, [step] if step else None) for plan in (made, now))
    parts = [
        {"steps": [_asked(one) for one in found], "inputs": _inputs(plan, found)}
        | ({"obligations": plan["obligations"]} if records else {})
        for plan, found in ((made, old), (now, new))
    ]
    if parts[0] != parts[1]:
        told = "; ".join(lock.difference(*parts)[:3])
        return Standing(stale=f"the committed plan asks something else than its run was asked ({told})", spec=spec)
    if made["toolchain"] != now["toolchain"]:
        return Standing(earlier="the libraries were others", spec=spec)
    then = {one["id"]: one.get("derivation", one["code"]) for one in old}
    other = [one["id"] for one in new if one.get("derivation", one["code"]) != then[one["id"]]]
    if not other:
        return Standing()
    return Standing(earlier=f"the code of {', '.join(other[:4])}{' …' if other[4:] else ''} was another", spec=spec)


def _asked(step: Mapping[str, Any]) -> dict[str, Any]:
    """Params that no key of a result holds change no result."""
    params = {name: value for name, value in step["params"].items() if name not in step.get("unkeyed", ())}
    return {name: value for name, value in step.items() if name not in _CODE} | {"params": params}


def _before(plan: Mapping[str, Any], steps: Iterable[str] | None) -> list[Mapping[str, Any]]:
    """Steps and all that they take something from; all of a plan where none is named."""
    if steps is None:
        return list(plan["steps"])
    by_id = {one["id"]: one for one in plan["steps"]}
    wanted, waiting = set[str](), list(steps)
    while waiting:
        name = waiting.pop()
        if name not in wanted and name in by_id:
            wanted.add(name)
            waiting += [_source(text) for text in by_id[name]["takes"].values() if str(text).startswith("step:")]
    return [one for one in plan["steps"] if one["id"] in wanted]


def _source(reference: object) -> str:
    return str(reference).partition(":")[2].partition("#")[0]


def _inputs(plan: Mapping[str, Any], steps: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    taken = {_source(text) for one in steps for text in one["takes"].values() if str(text).startswith("input:")}
    return [one for one in plan["inputs"] if one["name"] in taken]
