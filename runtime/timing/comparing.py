"""A benchmark's report and a pinned earlier one → the report that compares them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.contract import Context, Refusal, regression
from runtime.steps.regression import RegressionParams


def compare(takes: Mapping[str, Path], params: RegressionParams, ctx: Context) -> None:
    """Operation `regression`. Raises Refusal (KR0260) as `quotients` does."""
    ctx.report("report", quotients(takes, params), fingerprints={})


def quotients(takes: Mapping[str, Path], params: RegressionParams) -> dict[str, Any]:
    """The data of the report. Raises Refusal (KR0260) for a baseline that is no report of a benchmark, or one whose
    figures are not those of its own nanoseconds."""
    now = regression.pinned(takes["now"] / "report.json")
    try:
        data = regression.regression(now, regression.baseline(takes["baseline"]))
    except regression.NO_REPORT as error:
        raise Refusal(
            f"the baseline of benchmark `{params.id}` cannot be compared with: {error}",
            place="evaluation.benchmarks",
            action="pin a report that was measured: kcompiler bench SPEC --pin PATH",
            code="KR0260",
        ) from error
    return {**data, "benchmark": params.id}
