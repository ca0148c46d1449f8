"""Plan ↔ the text of plan.lock: sorted keys, one block per step, LF, no clock, host, path outside the root or secret.

The lock's identity is `plan_digest`: RFC 8785 over its content, so that an equivalent file in another layout is the
same plan. The digest is not in the file: two branches that change different steps then merge without a conflict on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime import digest
from runtime.contract import strict_json

FORMAT = "1.0"


class UnreadableLock(Exception):
    """Text that is no lock of a format this compiler reads; the message says why."""


def dump(plan: Mapping[str, Any]) -> str:
    """The canonical text of a plan: exactly json.dumps(indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    and a line end. Raises ValueError for NaN and infinities."""
    return _pretty(plan, "\n") + "\n"


_text = json.encoder.encode_basestring
_scalar = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _pretty(value: Any, end: str) -> str:
    """A value with `end` (line end and indentation) before its closing bracket.

    The C encoder of `json` cannot indent, and the one in Python takes four times as long as this on a large plan.
    """
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is dict or isinstance(value, Mapping):
        if not value:
            return "{}"
        inner = end + "  "
        parts = [f"{_text(name)}: {_pretty(value[name], inner)}" for name in sorted(value)]
        return f"{{{inner}{f',{inner}'.join(parts)}{end}}}"
    if kind is list or kind is tuple:
        if not value:
            return "[]"
        inner = end + "  "
        return f"[{inner}{f',{inner}'.join([_pretty(item, inner) for item in value])}{end}]"
    return _scalar(value)


def load(text: str) -> dict[str, Any]:
    """The plan in a lock's text. Raises UnreadableLock."""
    try:
        plan = strict_json.loads(text)
    except ValueError as reason:
        raise UnreadableLock(f"not JSON: {reason}") from None
    header = plan.get("lock") if isinstance(plan, dict) else None
    if not isinstance(plan, dict) or not isinstance(header, dict):
        raise UnreadableLock("no `lock` section: this is not a plan.lock")
    if header.get("format") != FORMAT:
        raise UnreadableLock(f"format {header.get('format')!r}; this compiler reads {FORMAT}")
    if problem := _misshapen(plan):
        raise UnreadableLock(problem)
    return plan


#: what readers walk without asking again: mappings, lists of mappings with the texts in each, and inside a step
_MAPPINGS = ("asked", "budgets", "toolchain")
_LISTS: Mapping[str, Sequence[str]] = {
    "steps": ("id", "kind", "backend", "code"),
    "sources": ("path",),
    "schemas": ("id", "digest"),
    "policies": ("pack",),
    "inputs": ("name", "kind", "path", "digest"),
    "plugins": ("room", "name"),
    "obligations": ("rule", "from", "report"),
}
_OF_STEP: Mapping[str, type] = {"takes": dict, "gives": dict, "params": dict, "after": list}


def _misshapen(plan: Mapping[str, Any]) -> str:
    """Why this cannot be walked like a plan, or "". The whole truth is schemas/plan.schema.json, which costs 0.2 s."""
    for section, texts in _LISTS.items():
        entries = plan.get(section)
        if not isinstance(entries, list):
            return f"no list of {section}"
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict):
                return f"{section}[{number}] is not an object"
            if wrong := [name for name in texts if not isinstance(entry.get(name), str)]:
                return f"{section}[{number}] has no text `{wrong[0]}`"
    for step in plan["steps"]:
        if wrong := [name for name, kind in _OF_STEP.items() if not isinstance(step.get(name), kind)]:
            return f"step `{step['id']}` has no proper `{wrong[0]}`"
    if missing := [name for name in _MAPPINGS if not isinstance(plan.get(name), dict)]:
        return f"no section `{missing[0]}`"
    if wrong := [name for name in ("name", "spec") if not isinstance(plan["asked"].get(name), str)]:
        return f"`asked` has no text `{wrong[0]}`"
    paths = [plan["asked"]["spec"], *(entry["path"] for entry in (*plan["sources"], *plan["inputs"]))]
    if outside := [path for path in paths if path.startswith("/") or ".." in path.split("/")]:
        return f"it names `{outside[0][:80]}`, which is outside the project"
    return ""


def read(path: Path) -> dict[str, Any]:
    """The plan in a lock file. Raises UnreadableLock."""
    try:
        return load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as reason:
        raise UnreadableLock(str(reason)) from None


def plan_digest(plan: Mapping[str, Any]) -> str:
    """ "sha256:…" of what the plan says, whatever its layout."""
    return digest.of_plan(plan)


def unwaived_digest(plan: Mapping[str, Any]) -> str:
    """The same of the plan as it was before any waiver: what a waiver for one plan names."""
    asked = {key: value for key, value in plan["asked"].items() if key != "policy_as_of"}
    return digest.of_plan({**{key: value for key, value in plan.items() if key != "waivers"}, "asked": asked})


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two plans, one line per thing: sections, then steps by id with the changed params."""
    lines = []
    for section in sorted((set(old) | set(new)) - {"steps"}):
        if section == "asked":
            lines += [
                f"~ {path} {was!r} → {now!r}" for path, was, now in changed(old.get(section), new.get(section), section)
            ]
        elif old.get(section) != new.get(section):
            lines.append(f"~ {section}")
    before = {step["id"]: step for step in old.get("steps", [])}
    after = {step["id"]: step for step in new.get("steps", [])}
    lines += [f"- step {step_id}" for step_id in sorted(set(before) - set(after))]
    lines += [f"+ step {step_id}" for step_id in sorted(set(after) - set(before))]
    for step_id in sorted(set(before) & set(after)):
        parts = _step_difference(before[step_id], after[step_id])
        if parts:
            lines.append(f"~ step {step_id}: {', '.join(parts)}")
    return lines


def _step_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    parts = []
    for key in sorted((set(old) | set(new)) - {"derivation", "params"}):
        if old.get(key) != new.get(key):
            parts.append(key)
    parts += [f"{path} {was!r} → {now!r}" for path, was, now in changed(old.get("params"), new.get("params"))]
    return parts


class _Absent:
    """Stands on the side of a difference where there is no such key; null is a value."""

    def __repr__(self) -> str:
        return "(absent)"


ABSENT = _Absent()


def changed(old: Any, new: Any, path: str = "params") -> list[tuple[str, Any, Any]]:
    """(dotted path, old, new) of every leaf that differs between two JSON values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = []
        for key in sorted(set(old) | set(new)):
            found += changed(old.get(key, ABSENT), new.get(key, ABSENT), f"{path}.{key}")
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [item for i, pair in enumerate(zip(old, new, strict=True)) for item in changed(*pair, f"{path}[{i}]")]
    return [] if old == new else [(path, old, new)]
