"""A report of a benchmark → the table that people read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.render.human_run import table as columns

_HEAD = ["runner", "prompt", "first token", "p95", "then", "answer", ""]


def table(data: Mapping[str, Any]) -> str:
    """One line per runner and length; below each runner what it took, and what its times say."""
    machine = data["machine"]
    lines = [
        f"{data['benchmark']}: {machine['processor']}, {machine['usable']} of {machine['processors']} processors, "
        f"{machine['threads']} threads; medians, with 95 % intervals"
    ]
    rows, said = [_HEAD], []
    for name, runner in data["runners"].items():
        for found in sorted(runner["shapes"].values(), key=lambda one: int(one["prompt_tokens"]["value"])):
            first, answer = found["first_token"], found["answer"]
            rows.append(
                [
                    name,
                    f"{found['prompt_tokens']['value']} + {found['new_tokens']['value']}",
                    _seconds(first["p50"]),
                    _seconds(first["p95"]),
                    _rate(found["decode"]["p50"]),
                    _seconds(answer["p50"]),
                    _money(found.get("cost")),
                ]
            )
        took = (
            f"{_bytes(runner['size'])} on disk, loaded in {_seconds(runner['load'])}, {_bytes(runner['peak_memory'])}"
        )
        said.append(f"  {name}: {took} of memory: {runner['says']}")
        said += [f"  {name}, {length}: {one}" for length, found in runner["shapes"].items() for one in _unknown(found)]
    return "\n".join([*lines, *columns(rows), *said]) + "\n"


def _unknown(found: Mapping[str, Any]) -> Iterator[str]:
    """Why a median is not known, and the times that were measured nevertheless."""
    for name, part in (("first token", "first_token"), ("then", "decode")):
        if found[part]["p50"]["value"] is None:
            yield f"{name}: {found[part]['p50']['reason']}"
    firsts, rests = found["ns"]["first"], found["ns"]["rest"]
    if found["first_token"]["p50"]["value"] is None and firsts:
        told = (f"{one / 1e6:.4g} ms, {other / 1e6:.4g} ms more" for one, other in zip(firsts, rests, strict=True))
        yield f"measured: {'; '.join(told)}"


def _between(datum: Mapping[str, Any], scale: float, unit: str) -> str:
    if datum["value"] is None:
        return "-"
    ends = f" [{datum['low'] * scale:.4g}, {datum['high'] * scale:.4g}]" if "low" in datum and "high" in datum else ""
    return f"{datum['value'] * scale:.4g} {unit}{ends}"


def _seconds(datum: Mapping[str, Any]) -> str:
    return _between(datum, 1000, "ms")


def _rate(datum: Mapping[str, Any]) -> str:
    return _between(datum, 1, "token/s")


def _bytes(datum: Mapping[str, Any]) -> str:
    return "-" if datum["value"] is None else f"{datum['value'] / 1e6:.4g} MB"


def _money(datum: Mapping[str, Any] | None) -> str:
    return "" if datum is None or datum["value"] is None else f"{datum['value']:.4g} {datum['unit']}, estimated"
