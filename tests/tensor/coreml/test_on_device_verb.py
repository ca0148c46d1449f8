"""`kcompiler verify --on-device` on the real command line, Core ML's place taken by the stand-in: its report, its words
and its exit codes."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kcompiler.cli import _main
from kcompiler.policy import evidence
from runtime.contract import delivery
from runtime.coreml import found
from runtime.machine import host
from tests.tensor.coreml.conftest import Converted
from tests.tensor.coreml.standin import Faults, delivered, spoilt, stand_in

pytestmark = pytest.mark.tensor


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def of(*words: object) -> Ended:
        code = _main(["verify", *map(str, words)])
        return Ended(code, *capsys.readouterr())

    return of


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Callable[[Faults], None]:
    """This machine becomes a Mac with these faults."""

    def becomes(faults: Faults) -> None:
        monkeypatch.setattr(found, "coreml", lambda: stand_in(faults))
        words = {"system": "Darwin", "machine": "arm64", "processor": "Apple M4 Max", "processors": 16}
        monkeypatch.setattr(host, "hardware", lambda: words)
        monkeypatch.setattr(host, "release", lambda: "26.1")

    return becomes


def sums(folder: Path) -> Path:
    """The same delivery with the checksums of its files as they are."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != delivery.SUMS)
    lines = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.relative_to(folder).as_posix()}\n" for one in files]
    (folder / delivery.SUMS).write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def shipped(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped") / "out"
    folder.mkdir()
    (
        delivered(folder, converted.takes["package"], converted.takes["goldens"]) / "huggingface" / "config.json"
    ).write_text("{}")
    return sums(folder)


@pytest.fixture
def copy(shipped: Path, tmp_path: Path) -> Path:
    return shutil.copytree(shipped, tmp_path / "copy")


FEW = ("--repetitions", 1, "--warm-up", 0)


def test_here_it_is_unavailable_and_the_report_is_no_pass(run: Run, shipped: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.json"
    ended = run("--on-device", shipped, "--to", out, *FEW)
    assert ended.code == 4
    why = f"Core ML predicts on a Mac, and this is {sys.platform}"
    assert f"nothing was measured here: {why}" in ended.err
    assert ended.err.splitlines()[-1].startswith("outcome=unavailable code=4 next=")
    report = evidence.read(out.read_bytes()).report
    assert report is not None
    for datum in (
        report["data"]["level"],
        report["data"]["residency"]["on_target"],
        report["data"]["latency"]["decode"],
    ):
        assert (datum["tag"], datum["value"], datum["reason"]) == ("unavailable", None, why)


def test_on_a_mac_it_attests_and_says_so(run: Run, mac: Any, shipped: Path, tmp_path: Path) -> None:
    mac(Faults())
    out = tmp_path / "report.json"
    ended = run("--on-device", shipped, "--to", out, "--units", "cpu_and_ne", *FEW)
    assert ended.code == 0, ended.err
    assert "quantized on Apple M4 Max, Darwin 26.1" in ended.out
    assert "  level      L4" in ended.out
    report = evidence.read(out.read_bytes()).report
    assert report is not None
    contract = delivery.load(shipped)
    assert report["data"]["package"]["sha256"] == contract.packages[0].sha256
    assert report["subject"]["package"] == f"sha256:{contract.packages[0].sha256}"
    assert report["environment"]["versions"] == {"coremltools": "9.0", "coreml": "3500.32.1"}
    printed = run("--on-device", shipped, "--to", out, *FEW, "--format", "json")
    assert (printed.code, json.loads(printed.out)) == (0, json.loads(out.read_text()))


@pytest.mark.parametrize(
    ("faults", "words", "said"),
    [
        (
            Faults(outputs=spoilt("logits", lambda one: one * 0.5)),
            (),
            "  L3: cpu_only: prefill_16: relative_error is 0.",
        ),
        (Faults(), ("--level", 5), "  L5: times of prefill_16: 1 calls of 20 at least"),
        (
            Faults(devices=dict.fromkeys(("matmul", "softmax", "linear"), "MLCPUComputeDevice")),
            (),
            "asked for more than 0.9\n  ",
        ),
        (Faults(devices={"softmax": "MLCPUComputeDevice"}), ("--residency", 1), "  decode: 2 softmax on cpu"),
        (
            Faults(),
            ("--tokens-per-second", 1),
            "decode: 1 repetitions; a quantile of 0.5 takes 2 at least, asked for 1",
        ),
        (Faults(), ("--tokens-per-second", 10**9, "--repetitions", 7), ", asked for 1e+09"),
        (Faults(plan=ValueError("no plan")), (), "level 3 of 4:\n  L4: the compute plan: "),
    ],
)
def test_less_than_was_asked_for_is_told(
    run: Run, mac: Any, shipped: Path, tmp_path: Path, faults: Faults, words: tuple[object, ...], said: str
) -> None:
    mac(faults)
    out = tmp_path / "report.json"
    ended = run("--on-device", shipped, "--to", out, *FEW, *words)
    assert ended.code == 1
    assert said in ended.err
    assert ended.err.splitlines()[-1] == f"outcome=not-attested code=1 next=read {out}"
    assert out.is_file()


def test_level_three_asks_for_no_residency(run: Run, mac: Any, shipped: Path, tmp_path: Path) -> None:
    mac(Faults(plan=ValueError("no plan")))
    assert run("--on-device", shipped, "--to", tmp_path / "r.json", "--level", 3, *FEW).code == 0


def said(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The delivery with another contract, and the checksums of its files as they are then."""
    contract = json.loads((folder / "contract.json").read_text())
    change(contract)
    (folder / "contract.json").write_text(json.dumps(contract))
    return sums(folder)


def split(contract: dict[str, Any], *layers: tuple[int, int], lacks: str = "") -> None:
    """Decode runs in pieces of these layers, the first of which does not give one of the outputs."""
    decode = contract["functions"]["decode"]
    one = {"package": "", "function": "decode", "inputs": decode["inputs"]}
    given = [value for value in decode["outputs"] if value["name"] != lacks]
    decode["pieces"] = [{**one, "layers": list(each), "outputs": given} for each in layers]


def packaged(contract: dict[str, Any], **changes: Any) -> None:
    """One more package, which is not there."""
    contract["packages"].append({**contract["packages"][0], "path": "packages/gone.mlpackage", **changes})


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


DAMAGED = {
    "a package": (
        lambda one: changed(one / "packages/quantized.mlpackage/Manifest.json"),
        "Manifest.json: it is not as",
    ),
    "golden vectors": (lambda one: changed(one / "goldens/goldens.safetensors"), "goldens.safetensors: it is not as"),
    "a file less": (lambda one: (one / "goldens/goldens.json").unlink(), "goldens/goldens.json: it is not there"),
    "a file more": (lambda one: (one / "more").write_text(""), "more: SHA256SUMS does not name it"),
    "a link": (lambda one: (one / "more").symlink_to(one), "SHA256SUMS: symbolic link in an artifact: more"),
    "no checksums": (lambda one: (one / "SHA256SUMS").unlink(), "SHA256SUMS: it cannot be read"),
    "checksums that are no text": (
        lambda one: (one / "SHA256SUMS").write_bytes(b"\xff"),
        "SHA256SUMS: it cannot be read",
    ),
    "a contract of something else": (
        lambda one: ((one / "contract.json").write_text("{}"), sums(one)),
        "contract.json: contract.json is not that of a delivery",
    ),
    "a package of another contract": (
        lambda one: (changed(one / "packages/quantized.mlpackage/Manifest.json"), sums(one)),
        "packages/quantized.mlpackage: it is not the one that contract.json names",
    ),
    # checksums are written anew in all that follow: the contract and what it names speak for themselves
    "a package less": (
        lambda one: (shutil.rmtree(one / "packages/quantized.mlpackage"), sums(one)),
        "packages/quantized.mlpackage: contract.json names it, and it is not there",
    ),
    "a package of another precision less": (
        lambda one: said(one, lambda of: packaged(of, precision="fp16")),
        "packages/gone.mlpackage: contract.json names it, and it is not there",
    ),
    "a chunk less": (
        lambda one: said(one, lambda of: packaged(of, part="chunk_2")),
        "packages/gone.mlpackage: contract.json names it, and it is not there",
    ),
    "a piece less": (
        lambda one: said(one, lambda of: split(of, (0, 1))),
        "the pieces of decode end at layer 1 of 2",
    ),
    "the first piece less": (
        lambda one: said(one, lambda of: split(of, (1, 2))),
        "piece decode of decode does not begin at layer 0",
    ),
    "the head less": (
        lambda one: said(one, lambda of: split(of, (0, 2), lacks="logits")),
        "no piece of decode gives logits",
    ),
    "a piece whose package is not named": (
        lambda one: said(
            one, lambda of: (split(of, (0, 2)), of["functions"]["decode"]["pieces"][0].update(package="x"))
        ),
        "the delivery has no package `x` `quantized`",
    ),
    "a function that no package has": (
        lambda one: said(
            one, lambda of: (split(of, (0, 2)), of["functions"]["decode"]["pieces"][0].update(function="x"))
        ),
        "packages/quantized.mlpackage: it does not run decode as contract.json says: it has no function x",
    ),
    "an output that no package has": (
        lambda one: said(one, lambda of: of["functions"]["decode"]["outputs"][0].update(name="other")),
        "packages/quantized.mlpackage: it does not run decode as contract.json says: it ",
    ),
    "golden vectors less": (
        lambda one: (shutil.rmtree(one / "goldens"), sums(one)),
        "goldens: contract.json names it, and it is not there",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_delivery_that_is_not_as_it_was_made_is_refused(run: Run, copy: Path, tmp_path: Path, damage: str) -> None:
    spoil, words = DAMAGED[damage]
    spoil(copy)
    ended = run("--on-device", copy, "--to", tmp_path / "report.json")
    assert (ended.code, words in ended.err) == (3, True), ended.err
    assert ended.err.splitlines()[-1] == "outcome=evidence-broken code=3 next=copy the delivery again"
    assert not (tmp_path / "report.json").exists()


def test_wrong_words(run: Run, copy: Path, tmp_path: Path) -> None:
    assert run().code == 2
    assert "Missing option '--on-device'" in run().err
    assert run("--on-device", tmp_path / "nowhere").code == 2
    (tmp_path / "empty").mkdir()
    no = run("--on-device", tmp_path / "empty")
    assert (no.code, "is no delivery" in no.err) == (2, True)
    inside = run("--on-device", copy, "--to", copy / "evidence" / "report.json")
    assert (inside.code, "whose checksums it would break" in inside.err) == (2, True)
    none = run("--on-device", copy, "--precision", "fp16")
    assert (none.code, "no package `fp16`, only quantized" in none.err) == (2, True)
    contract = delivery.load(copy)
    (copy / "contract.json").write_text(delivery.dump(contract.model_copy(update={"golden": None})))
    without = run("--on-device", sums(copy))
    assert (without.code, "has no golden vectors" in without.err) == (2, True)
    assert without.err.splitlines()[-1].endswith("next=kcompiler deliver SPEC --goldens --to DIR")


def test_without_what_reads_packages_it_says_what_to_install(
    run: Run, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in the place of a module: it is not there
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for name in ("runtime.mil.lazy", "runtime.mil.golden", "runtime.coreml.attest"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    ended = run("--on-device", shipped, "--to", tmp_path / "report.json")
    assert (ended.code, "no module `safetensors`" in ended.err) == (4, True), ended.err
    assert ended.err.splitlines()[-1] == "outcome=toolchain-differs code=4 next=pip install 'kcompiler[device]'"
