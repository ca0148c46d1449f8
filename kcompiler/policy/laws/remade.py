"""Kinds of reports whose data hold what they were computed from → the same computed again, and compared.

A law of `x-laws` says how sums belong together; a quantile of nanoseconds, a quotient of two medians or an interval of
wins and losses takes the code that made it. That code has no tensors and no clock, and stands in `runtime.contract`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runtime.contract import calibration, lacking, ondevice, parity, qat, regression, speed

Report = Mapping[str, Any]

#: kind → what raises ValueError for data that contradict themselves
_CONSISTENT: Mapping[str, Callable[[Any], None]] = {
    speed.KIND: speed.consistent,
    regression.KIND: regression.consistent,
    parity.KIND: parity.consistent,
    ondevice.KIND: ondevice.consistent,
}
#: kind → in what its data are not what the parameters of a step ask for
UNLIKE: Mapping[str, Callable[[Any, Any], Iterator[str]]] = {
    speed.KIND: speed.unlike,
    parity.KIND: parity.unlike,
    ondevice.KIND: ondevice.unlike,
    calibration.KIND: calibration.unlike,
    qat.KIND: qat.unlike,
    lacking.PARITY: lacking.parity_unlike,
    lacking.LEDGER: lacking.ledger_unlike,
    lacking.ONNX: lacking.onnx_unlike,
}


def contradiction(report: Report) -> str:
    """Why a report that satisfies the schema of its kind cannot be what was measured, or ""."""
    try:
        _CONSISTENT.get(report["kind"], lambda _: None)(report["data"])
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        return str(error)
    if report["kind"] == speed.KIND:
        return _elsewhere(report["data"]["machine"], report["environment"].get("hardware", {}))
    return ""


def _elsewhere(machine: Mapping[str, str], hardware: Any) -> str:
    """Why times are not of the machine on which their report was written, or ""."""
    apart = [name for name in sorted(hardware) if machine.get(name) != str(hardware[name])]
    return f"machine: another `{apart[0]}` than that of the report" if apart else ""


def of_another(report: Report, others: Mapping[str, Report]) -> str:
    """Why a comparison of speeds is not about the benchmark that stands beside it, or ""."""
    if report["kind"] != regression.KIND:
        return ""
    name = report["data"]["benchmark"]
    beside = [one for one in others.values() if one["kind"] == speed.KIND and one["data"]["benchmark"] == name]
    return next((why for one in beside if (why := regression.of_another(report["data"], one["data"]))), "")
