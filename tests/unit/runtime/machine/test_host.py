"""The words for a machine tell processors apart that compute other bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.contract import keys
from runtime.machine import host

WIDE = "fma avx2 avx512f avx512vl avx512bw avx512dq"


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> str:
    (folder / "cpuinfo").write_text(text, encoding="utf-8")
    monkeypatch.setattr(host, "_CPUINFO", folder / "cpuinfo")
    return host.kernels()


@pytest.fixture(autouse=True)
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in host._CHOOSING:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "kernels"),
    [
        (
            f"processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nflags\t: sse2 {WIDE}\n",
            "AuthenticAMD avx512",
        ),
        (f"vendor_id\t: GenuineIntel\nflags\t: {WIDE}\n\nvendor_id\t: Second\nflags\t: sse2\n", "GenuineIntel avx512"),
        ("vendor_id\t: GenuineIntel\nflags\t: fma avx2 avx512f\n", "GenuineIntel avx2"),
        ("vendor_id\t: GenuineIntel\nflags\t: avx2\n", "GenuineIntel"),
        ("CPU implementer\t: 0x41\nFeatures\t: fp asimd\n", "0x41"),
    ],
)
def test_kernels_are_named_by_maker_and_vectors(
    text: str, kernels: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert told(monkeypatch, tmp_path, text) == kernels


def test_where_nothing_is_known_there_is_still_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "_CPUINFO", tmp_path / "none")
    assert host.kernels()
    assert host.hardware()["processor"] == "unknown"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: EPYC\n", "26.2"),
        ("CPU implementer\t: 0x41\nCPU part\t: 0xd40\n", "0xd40"),
    ],
)
def test_processors_of_one_maker_are_told_apart(
    text: str, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told(monkeypatch, tmp_path, text)
    assert host.model() == model
    monkeypatch.setattr(host, "_CPUINFO", tmp_path / "none")
    assert host.model()


def test_a_variable_that_chooses_kernels_makes_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    step = {"id": "s", "kind": "k", "backend": "b", "code": "c", "seed": 1, "params": {}, "gives": {}, "takes": {}}

    def key() -> str:
        return keys.action_key(keys.components(step, {}, keys.environment({}, [], host.words())))

    before = key()
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert key() == before
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert key() != before
    assert host.words()["kernels"].endswith("ATEN_CPU_CAPABILITY=avx2")
