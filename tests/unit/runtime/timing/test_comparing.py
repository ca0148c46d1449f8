"""A baseline that was changed after the spec was compiled is refused by the machine, too."""

from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal, report, speed
from runtime.steps.regression import RegressionParams
from runtime.timing.comparing import compare


class Told:
    def __init__(self) -> None:
        self.data: dict[str, Any] = {}

    def report(self, port: str, data: dict[str, Any], *, fingerprints: dict[str, str]) -> None:
        assert (port, fingerprints) == ("report", {})
        self.data = data


def written(path: Path, value: float | None = None) -> Path:
    shape = speed.shape([(1000, 2000)] * 20, 8, 4, None)
    if value is not None:
        shape["decode"]["p50"]["value"] = value
    data = {
        "benchmark": "speed",
        "runners": {"torch": {"conditions": {"new_tokens": "4"}, "shapes": {"prompt_8": shape}}},
    }
    around = {"backend": "torch", "forged": False}
    made = report.envelope(kind="benchmark", step="b", subject={}, fingerprints={}, environment=around, data=data)
    path.parent.mkdir(exist_ok=True)
    path.write_text(report.dump(made))
    return path


def test_the_same_is_as_fast_as_itself(tmp_path: Path) -> None:
    told, now = Told(), written(tmp_path / "now" / "report.json")
    compare({"now": now.parent, "baseline": now}, RegressionParams(id="short"), told)  # type: ignore[arg-type]
    assert told.data["benchmark"] == "short"
    assert told.data["runners"]["torch"]["shapes"]["prompt_8"]["decode"]["value"] == 1.0


def test_a_baseline_that_was_touched_is_refused(tmp_path: Path) -> None:
    now, then = written(tmp_path / "now" / "report.json"), written(tmp_path / "then.json", value=7.0)
    with pytest.raises(Refusal, match="`decode` is not what the nanoseconds give") as refused:
        compare({"now": now.parent, "baseline": then}, RegressionParams(id="short"), Told())  # type: ignore[arg-type]
    assert refused.value.code == "KR0260"
