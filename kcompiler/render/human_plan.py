"""A plan and its delta → text for people: trust first, then steps, gates, spend, and the next command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompiler.delta import Entry
from kcompiler.lock import difference

_SIGN = {"run": "~", "reuse": "=", "blocked": "!"}


def plan(
    new: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    entries: Sequence[Entry],
    *,
    where: str,
    digest: str,
    next_command: str,
    full: bool = False,
) -> str:
    """What a person must know before apply. Unchanged things are counted, not listed, unless `full`."""
    name = new["asked"]["name"]
    state = "new" if old is None else ("unchanged" if old == new else "changed")
    lines = [f"{name}   {where}   {short(digest)}   {len(new['steps'])} steps, {state}", ""]
    lines += section("inputs", [_input(entry) for entry in new["inputs"]])
    if old is not None and old != new:
        lines += section("lock", difference(old, new))
    lines += section("steps", _delta(entries, full))
    lines += section("gates", _gates(new["obligations"]))
    lines += section("budget", [_budget(new["budgets"])])
    lines += section("next", [next_command])
    return "\n".join(lines) + "\n"


def section(title: str, lines: Sequence[str]) -> list[str]:
    """A titled block: the title stands on its first line only."""
    return [f"{title if i == 0 else '':<8}{line}" for i, line in enumerate(lines)]


def short(digest: str) -> str:
    """The first and last digits of a digest, enough to tell two apart by eye."""
    digits = digest.removeprefix("sha256:")
    return f"{digits[:8]}…{digits[-4:]}"


def _input(entry: Mapping[str, Any]) -> str:
    licence = f"  {entry['license']}" if entry["license"] else ""
    return f"{entry['name']}  {entry['path']}  {short(entry['digest'])}  {size(entry['bytes'])}{licence}"


def size(count: int) -> str:
    """Bytes in the largest unit that keeps the number above one."""
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def _delta(entries: Sequence[Entry], full: bool) -> list[str]:
    lines = [
        f"{_SIGN[entry.action]} {entry.step:<24} {entry.action:<8}{entry.why}"
        for entry in entries
        if full or entry.action != "reuse"
    ]
    kept = [entry.step for entry in entries if entry.action == "reuse"]
    if kept and not full:
        lines.append(f"= {', '.join(kept)}   reuse")
    return lines


def _gates(obligations: Sequence[Mapping[str, Any]]) -> list[str]:
    blocking = sum(1 for item in obligations if item["mode"] == "block")
    packs = sorted({item["pack"] for item in obligations})
    return [f"{len(obligations)} obligations, {blocking} block ({', '.join(packs)})"]


def _budget(budgets: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(budgets.items())) or "none declared"
