"""Whole data of a benchmark of made-up times, consistent in themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime import digest
from runtime.contract import regression, speed
from runtime.contract import report as facts

Times = Mapping[int, Sequence[tuple[int, int]]]


def runner(
    name: str, here: Mapping[str, str], times: Times, *, new: int, price: speed.Price | None = None, **conditions: str
) -> dict[str, Any]:
    """What stands below a runner: `times` maps a prompt length to its answers, none where it was not available."""
    away = "not here"
    had = any(times.values())
    shapes = [
        speed.shape(one, length, new, price) if one else speed.no_shape(away, length, new, price)
        for length, one in times.items()
    ]
    meaning = speed.RUNNERS[name]  # type: ignore[index]
    return {
        "of": meaning.of,
        "level": meaning.level,
        "says": meaning.says,
        "conditions": {**here, "new_tokens": str(new), "warm_up": "2", **conditions},
        "load": facts.measured(1.0, "s") if had else facts.unavailable(away, "s"),
        "size": facts.measured(1, "B"),
        "peak_memory": facts.measured(5, "B") if had else facts.unavailable(away, "B"),
        "shapes": {speed.named(length): one for length, one in zip(times, shapes, strict=True)},
    }


def data(
    runners: Mapping[str, dict[str, Any]],
    here: Mapping[str, str],
    *,
    meant: speed.Target | None = None,
    price: speed.Price | None = None,
) -> dict[str, Any]:
    """The whole, of the runners above."""
    counts = [len(one["ns"]["first"]) for each in runners.values() for one in each["shapes"].values()]
    return {
        "benchmark": "speed",
        "machine": dict(here),
        "warm_up": facts.measured(2, "answer"),
        "repetitions": facts.measured(max(counts, default=0), "repetition"),
        "runners": dict(runners),
        "target": speed.target(meant, here, runners),
        "energy": facts.unavailable("no meter", "J"),
        "carbon": facts.unavailable("no meter", "g"),
        **({} if price is None else {"price": price.told()}),
    }


def run_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report on the run that made a report."""
    subject = {"plan": "sha256:" + "1" * 64, "b.report": digest.of_one_file("report.json", facts.dump(report).encode())}
    around = {"backend": "machine", "forged": False}
    return facts.envelope(kind="run", step="apply", subject=subject, fingerprints={}, environment=around, data={})


def pinned(report: Mapping[str, Any]) -> str:
    """A baseline of a report, as `bench --pin` writes it."""
    return regression.pin(report, run_of(report))
