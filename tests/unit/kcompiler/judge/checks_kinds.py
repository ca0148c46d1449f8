"""What the kinds that look back promise beside their judgement: what they read, pin and demand of rates."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime import digest
from runtime.contract import report as facts
from tests.unit.kcompiler.judge import claims_regression, claims_trend
from tests.unit.kcompiler.judge.samples import report

HEX_PLAN = "sha256:" + "1" * 64


def _kind(name: str) -> Any:
    return importlib.import_module("kcompiler.policy.kinds").load(name)


def _params(name: str, said: dict[str, Any]) -> Any:
    return _kind(name).params.model_validate(said)


def later_kinds_say_what_they_read() -> None:
    def reads(name: str, said: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...], str]]:
        return [(one.key, one.text, one.leaves, one.unit) for one in _kind(name).reads(_params(name, said))]

    numbers = ("number", "datum")
    assert reads("trend", dict(claims_trend.PARAMS)) == [
        ("value", "curve[*].loss", numbers, "nat"),
        ("at", "curve[*].step", numbers, ""),
    ]
    two = {**claims_regression.PARAMS, "metric": ["a", "b"]}
    assert reads("regression", two) == [("metric", "a", numbers, "ratio"), ("metric", "b", numbers, "ratio")]
    assert reads("presence", {"at": ["a", "b"]}) == [
        ("at", "a", ("datum", "number", "flag"), ""),
        ("at", "b", ("datum", "number", "flag"), ""),
    ]
    shares = {"metric": "a", "to": "b", "by": "quotient", "op": ">=", "threshold": "0.5", "chance": "c"}
    assert reads("relative", {**shares, "unit": "ratio"})[2:] == [("chance", "c", numbers, "1")]
    assert reads("relative", {**shares, "unit": "s"})[2:] == [("chance", "c", numbers, "s")]


def rates_have_a_floor_where_nothing_is_said() -> None:
    def least(name: str, said: dict[str, Any]) -> tuple[Any, Any]:
        made = _kind(name).floored(_params(name, said), 20)
        return made.need.min_n, getattr(made, "rates_min_n", None)

    bound = {"metric": "a", "op": ">=", "threshold": "0"}
    rated: dict[str, dict[str, Any]] = {
        "bound": bound,
        "relative": {**bound, "to": "b"},
        "regression": dict(claims_regression.PARAMS),
        "trend": dict(claims_trend.PARAMS),
    }
    for name, said in rated.items():
        assert least(name, {**said, "unit": "ratio"}) == (20, None)
        assert least(name, {**said, "unit": "s"}) == (None, None)
        assert least(name, {**said, "unit": "ratio", "need": {"min_n": 3}}) == (3, None)
    for name, said in {"presence": {"at": "a"}, "assert": {"that": "x"}}.items():
        assert least(name, said) == (None, 20)
        assert least(name, {**said, "rates_min_n": 3}) == (None, 3)
        assert least(name, {**said, "need": {"min_n": 3}}) == (3, None)
    unfloored = _params("covers", {"identifiers": "a"})
    assert _kind("covers").floored(unfloored, 20) is unfloored


def _refused(params: Any, folder: Path, kind: str = "sample") -> str:
    try:
        _kind("regression").pinned(params, folder, kind)
    except ValueError as error:
        return str(error)
    return ""


def a_baseline_is_what_its_rule_pins() -> None:
    """The very bytes, a report of the rule's kind that somebody measured, with numbers where the rule looks."""
    right = facts.rate(9, 10)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "rule"
        (folder / "baseline").mkdir(parents=True)
        file = folder / "baseline" / "measure.json"

        def params(**changes: Any) -> Any:
            pin = digest.of_bytes(file.read_bytes()) if file.is_file() else "sha256:" + "0" * 64
            pinned = {"file": "baseline/measure.json", "digest": pin}
            return _params("regression", {**claims_regression.PARAMS, "baseline": pinned, **changes})

        pinned = _kind("regression").pinned
        assert pinned(params(), folder, "sample") == {
            "missing": "no baseline `baseline/measure.json` lies beside the rule"
        }
        good = report({"right": right, "shapes": [{"right": right}, {}]})
        file.write_text(json.dumps(good))
        made = params()
        assert pinned(made, folder, "sample") == {
            "report": made.baseline.digest,
            "fingerprints": good["fingerprints"],
            "data": {"/data/right": right},
        }
        run = folder / "baseline" / "run.json"
        of = {"file": "baseline/measure.json", "run": "baseline/run.json", "digest": made.baseline.digest}
        assert "no report on its run" in _refused(params(baseline=of), folder)
        subject = {"plan": HEX_PLAN, "b.report": digest.of_one_file("report.json", file.read_bytes())}
        around = {"backend": "machine", "forged": False}
        run.write_text(
            json.dumps(
                facts.envelope(kind="run", step="apply", subject=subject, fingerprints={}, environment=around, data={})
            )
        )
        assert pinned(params(baseline=of), folder, "sample")["plan"] == HEX_PLAN
        run.write_text(run.read_text().replace("b.report", "plan.other").replace("1111", "2222"))
        assert pinned(params(baseline=of), folder, "sample")["plan"] != HEX_PLAN
        assert pinned(params(metric="shapes[*].right"), folder, "sample")["data"] == {"/data/shapes/0/right": right}
        assert "is a report `sample`, and the rule is about `eval.gold`" in _refused(made, folder, "eval.gold")
        assert "has nothing at left" in _refused(params(metric="left"), folder)
        file.write_text(json.dumps(good, indent=1))
        assert f"has the digest {digest.of_bytes(file.read_bytes())}" in _refused(made, folder)
        for content, said in (
            ("[]", "is no report"),
            ('{"data": {}}', "is no report"),
            ('{"data": {}, "fingerprints": {}, "environment": []}', "is no report"),
            ('{"data": NaN}', "NaN"),
            (json.dumps({**good, "environment": {"forged": True}}), "is forged"),
            (json.dumps({**good, "environment": {}}), "is forged"),
        ):
            file.write_text(content)
            assert said in _refused(params(), folder), content
        file.unlink()
        elsewhere = Path(place) / "elsewhere.json"
        elsewhere.write_text(json.dumps(good))
        file.symlink_to(elsewhere)
        assert "missing" in pinned(params(), folder, "sample")


CHECKS: list[Callable[[], None]] = [
    later_kinds_say_what_they_read,
    rates_have_a_floor_where_nothing_is_said,
    a_baseline_is_what_its_rule_pins,
]
