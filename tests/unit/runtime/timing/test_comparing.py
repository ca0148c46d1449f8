"""A baseline that was changed after the spec was compiled is refused by the machine, too."""

from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal, report
from runtime.steps.regression import RegressionParams
from runtime.timing.comparing import compare
from tests.unit.runtime.contract import speeds


class Told:
    def __init__(self) -> None:
        self.data: dict[str, Any] = {}

    def report(self, port: str, data: dict[str, Any], *, fingerprints: dict[str, str]) -> None:
        assert (port, fingerprints) == ("report", {})
        self.data = data


def written(path: Path, value: float | None = None) -> Path:
    data = speeds.data({"torch": speeds.runner("torch", {}, {8: [(1000, 2000)] * 20}, new=4)}, {})
    if value is not None:
        data["runners"]["torch"]["shapes"]["prompt_8"]["decode"]["p50"]["value"] = value
    around = {"backend": "torch", "forged": False}
    made = report.envelope(kind="benchmark", step="b", subject={}, fingerprints={}, environment=around, data=data)
    path.parent.mkdir(exist_ok=True)
    path.write_text(report.dump(made))
    path.with_name("baseline.json").write_text(speeds.pinned(made))
    return path


def test_the_same_is_as_fast_as_itself(tmp_path: Path) -> None:
    told, now = Told(), written(tmp_path / "now" / "report.json")
    compare({"now": now.parent, "baseline": now.with_name("baseline.json")}, RegressionParams(id="short"), told)  # type: ignore[arg-type]
    assert told.data["benchmark"] == "short"
    assert told.data["runners"]["torch"]["shapes"]["prompt_8"]["decode"]["value"] == 1.0


def test_a_baseline_that_was_touched_is_refused(tmp_path: Path) -> None:
    now, then = written(tmp_path / "now" / "report.json"), written(tmp_path / "then" / "report.json", value=7.0)
    with pytest.raises(Refusal, match="`decode` is not what the nanoseconds give") as refused:
        compare({"now": now.parent, "baseline": then.with_name("baseline.json")}, RegressionParams(id="short"), Told())  # type: ignore[arg-type]
    assert refused.value.code == "KR0260"
