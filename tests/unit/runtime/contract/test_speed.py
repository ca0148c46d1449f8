"""Reports of speed: what their figures are, whose machine they are of, and what may be compared with what."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import regression, speed
from runtime.contract import report as facts
from tests.unit.runtime.contract import speeds

HERE = {"processor": "Apple M1 Max", "memory": str(64 << 30), "usable": "10"}
MEANT = speed.Target(profile="m1-max-64gb", chip="Apple M1 Max", memory_bytes=64 << 30)
PRICE = speed.Price(usd_per_hour=0.36, assumption="a small server, always busy")
MS = 10**6


def runner(
    first_ms: int = 100, rest_ms: int = 310, n: int = 30, *, name: str = "torch", new: int = 32, **conditions: str
) -> dict[str, Any]:
    times = [(first_ms * MS + i, rest_ms * MS + i) for i in range(n)]
    told = {"torch": "2.13.0", "model": "a", **conditions}
    return speeds.runner(name, {**HERE, **told}, {64: times}, new=new)


def data(**runners: dict[str, Any]) -> dict[str, Any]:
    """Of a machine of which nothing is said beside the conditions of each runner."""
    return speeds.data(runners, {})


def quotients(now: dict[str, Any], before: dict[str, Any], name: str = "torch") -> dict[str, Any]:
    found: dict[str, Any] = regression.regression(now, before)["runners"][name]["shapes"]["prompt_64"]
    return found


def test_figures_are_those_of_the_nanoseconds() -> None:
    found = speed.shape([(100 * MS, 310 * MS)] * 40, 64, 32, PRICE)
    assert found["first_token"]["p50"]["value"] == 0.1
    assert found["decode"]["p50"]["value"] == pytest.approx(100.0)
    assert found["answer"]["p95"]["value"] == 0.41
    assert found["first_token"]["p99"]["tag"] == "unavailable"
    assert "100" in found["first_token"]["p99"]["reason"]


def test_a_cost_is_estimated_and_names_its_assumption() -> None:
    cost = speed.shape([(100 * MS, 900 * MS)] * 40, 64, 32, PRICE)["cost"]
    # a second each at 0.36 dollars an hour
    assert cost["value"] == pytest.approx(100.0)
    assert cost["tag"] == "estimated"
    assert "a small server, always busy" in cost["by"]


def test_a_clock_that_is_too_coarse_gives_no_speed() -> None:
    found = speed.shape([(MS, 0)] * 40, 64, 32, None)
    assert found["decode"]["p50"]["tag"] == "unavailable"


def test_a_runner_that_is_not_here_has_every_figure_unavailable() -> None:
    found = speed.no_shape("Core ML runs on a Mac alone", 64, 32, PRICE)
    assert found["repetitions"]["value"] == 0
    tags = {one["tag"] for part in ("first_token", "answer", "decode") for one in found[part].values()}
    assert tags == {"unavailable"}
    assert found["cost"]["tag"] == "unavailable"


class TestTarget:
    def test_on_the_machine_that_is_meant_the_package_says_it(self) -> None:
        found = speed.target(MEANT, HERE, {"coreml": runner()})
        assert found["shapes"]["prompt_64"]["decode"]["p50"]["value"] == pytest.approx(100.0)
        assert found["peak_memory"]["value"] == 5

    @pytest.mark.parametrize(
        "here",
        [{**HERE, "processor": "AMD EPYC"}, {**HERE, "memory": str(32 << 30)}, {**HERE, "memory": str(96 << 30)}],
    )
    def test_a_time_of_another_machine_does_not_stand_there(self, here: dict[str, str]) -> None:
        found = speed.target(MEANT, here, {"coreml": runner()})
        assert found["peak_memory"]["tag"] == "unavailable"
        assert {one["tag"] for one in found["shapes"]["prompt_64"]["answer"].values()} == {"unavailable"}

    @pytest.mark.parametrize("name", ["mil", "torch"])
    def test_nor_one_of_the_interpreter_or_of_the_checkpoint(self, name: str) -> None:
        found = speed.target(MEANT, HERE, {name: runner()})
        assert found["shapes"]["prompt_64"]["decode"]["p50"]["tag"] == "unavailable"
        assert "coreml" in found["peak_memory"]["reason"]

    def test_a_machine_that_no_table_knows_has_no_target(self) -> None:
        assert speed.target(None, HERE, {"coreml": runner()}) == {"profile": "none", "shapes": {}}


class TestRegression:
    def test_the_quotients_are_of_the_medians_between_their_ends(self) -> None:
        found = quotients(data(torch=runner(120, 310)), data(torch=runner(100, 620)))
        assert found["first_token"]["value"] == pytest.approx(1.2, rel=1e-6)
        assert found["decode"]["value"] == pytest.approx(2.0, rel=1e-6)
        for one in found.values():
            assert one["low"] <= one["value"] <= one["high"]

    def test_noise_widens_the_unfavourable_end(self) -> None:
        times = [(100 * MS + (i % 10) * 20 * MS, 310 * MS) for i in range(30)]
        noisy = data(torch=speeds.runner("torch", HERE, {64: times}, new=32))
        found = quotients(noisy, noisy)["first_token"]
        assert found["value"] == 1.0
        assert found["high"] > 1.2

    def test_six_repetitions_have_no_interval(self) -> None:
        few = data(torch=runner(n=6))
        assert "high" not in quotients(few, few)["first_token"]
        seven = data(torch=runner(n=7))
        assert "high" in quotients(seven, seven)["first_token"]

    @pytest.mark.parametrize(
        "other", [{"processor": "AMD EPYC"}, {"torch": "2.14.0"}, {"model": "b"}, {"threads": "4"}]
    )
    def test_what_was_measured_otherwise_is_not_compared(self, other: dict[str, str]) -> None:
        found = quotients(data(torch=runner()), data(torch=runner(**other)))
        assert {one["tag"] for one in found.values()} == {"unavailable"}
        assert next(iter(other)) in found["decode"]["reason"]
        assert next(iter(other.values())) in found["decode"]["reason"]

    def test_answers_of_another_length_are_not_compared(self) -> None:
        found = quotients(data(torch=runner()), data(torch=runner(new=8)))
        assert "new_tokens 8, here 32" in found["decode"]["reason"]

    def test_a_runner_that_is_new_or_gone_is_said_and_not_passed_over(self) -> None:
        both = regression.regression(data(torch=runner()), data(mil=runner(name="mil")))
        assert both["compared"]["k"] == 0
        assert both["compared"]["n"] == 2
        reasons = {name: one["shapes"]["prompt_64"]["decode"]["reason"] for name, one in both["runners"].items()}
        assert "not measured any more" in reasons["mil"]
        assert "has no prompt_64" in reasons["torch"]

    def test_what_was_not_available_is_not_compared(self) -> None:
        absent = runner(n=0)
        assert "not available here" in quotients(data(torch=absent), data(torch=runner()))["decode"]["reason"]
        assert "in the baseline" in quotients(data(torch=runner()), data(torch=absent))["decode"]["reason"]


class TestPinned:
    def file(self, folder: Path, **changed: Any) -> Path:
        report = facts.envelope(
            kind="benchmark",
            step="benchmark-speed",
            subject={},
            fingerprints={},
            environment={"backend": "torch", "forged": False},
            data=data(torch=runner()),
        )
        path = folder / "report.json"
        path.write_text(json.dumps({**copy.deepcopy(report), **changed}))
        return path

    def test_a_report_that_was_measured_is_read(self, tmp_path: Path) -> None:
        assert list(regression.pinned(self.file(tmp_path))["runners"]) == ["torch"]

    @pytest.mark.parametrize(
        "changed",
        [
            {"kind": "run"},
            {"environment": {"backend": "null", "forged": True}},
            {"environment": {}},
            {"data": {}},
            {"data": []},
        ],
    )
    def test_anything_else_is_refused(self, tmp_path: Path, changed: dict[str, Any]) -> None:
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            regression.pinned(self.file(tmp_path, **changed))

    @pytest.mark.parametrize("part", ["first_token", "decode", "answer", "repetitions"])
    def test_a_figure_that_the_nanoseconds_do_not_give_is_refused(self, tmp_path: Path, part: str) -> None:
        found = data(torch=runner())
        place = found["runners"]["torch"]["shapes"]["prompt_64"][part]
        place = place if part == "repetitions" else place["p50"]
        place["value"] *= 2
        with pytest.raises(ValueError, match=part):
            regression.pinned(self.file(tmp_path, data=found))

    def test_what_it_was_measured_under_is_said_in_words_and_is_of_these_answers(self, tmp_path: Path) -> None:
        for wrong in ({"new_tokens": "31"}, {"threads": 2}):
            found = data(torch=runner())
            found["runners"]["torch"]["conditions"] |= wrong
            with pytest.raises(ValueError, match=r"no such times|in words"):
                regression.pinned(self.file(tmp_path, data=found))

    @pytest.mark.parametrize("first", [True, -1, 1.5, "1", 2**53 - 1])
    def test_nanoseconds_are_whole_numbers_from_zero_on(self, tmp_path: Path, first: object) -> None:
        found = data(torch=runner())
        found["runners"]["torch"]["shapes"]["prompt_64"]["ns"]["first"][0] = first
        with pytest.raises(ValueError, match="no such times"):
            regression.pinned(self.file(tmp_path, data=found))
