"""Step `attest`: a report of a Mac counts where it is about the package and the golden vectors of this plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime import digest
from runtime.contract import Refusal, ondevice, program
from runtime.contract.report import hex_of
from runtime.data.attested import read
from runtime.steps.attest import AttestParams

ROOT = Path(__file__).resolve().parents[4]
BOUNDS = {"logits": 0.02, "cache": 0.05, "cosine": 0.999, "cache_cosine": 0.999, "kl": 0.01}
PARAMS = AttestParams(
    precision="quantized",
    units="all",
    tolerances=ondevice.Tolerances(**BOUNDS),
    prefill=[64],
    decode_context=64,
    layers=1,
)


def contract() -> str:
    caches = [program.Value(name=name, shape=[1, 1, 64, 4], dtype="float16") for name in ("key_cache", "value_cache")]
    functions = {
        name: program.Function(kind=kind, length=length, inputs=inputs, outputs=[], parameters={}, modules={})
        for name, kind, length, inputs in (("decode", "decode", 1, caches), ("prefill_64", "prefill", 64, []))
    }
    made = program.Contract(
        stage="package",
        model_type="llama",
        vocab_size=8,
        functions=functions,
        kv_cache=program.Cache(layers=1, heads=1, head_dim=4, context=64),
        mask_value=-1e4,
        special={},
        template_sha256="1" * 64,
        tokenizer_sha256="2" * 64,
        model_sha256="3" * 64,
        tensors=[],
        lint=program.Lint(violations=0),
    )
    return program.dump(made)


@pytest.fixture
def takes(tmp_path: Path) -> dict[str, Path]:
    """A package, golden vectors, and the report of a Mac that ran them."""
    package, goldens = tmp_path / "package", tmp_path / "goldens"
    (package / "quantized.mlpackage").mkdir(parents=True)
    (package / "quantized.mlpackage" / "Manifest.json").write_text("{}")
    (package / "contract.json").write_text(contract())
    goldens.mkdir()
    (goldens / "goldens.json").write_text("{}")
    case = json.loads((ROOT / "policies/device/attested/device-level/pass.json").read_text(encoding="utf-8"))["report"]
    ran = hex_of(digest.of_folder(package / "quantized.mlpackage"))
    case["data"]["package"].update(sha256=ran, sha256_after=ran)
    case["data"]["goldens_sha256"] = hex_of(digest.of_folder(goldens))
    (tmp_path / "mac.json").write_text(json.dumps(case))
    return {"package": package, "goldens": goldens, "report": tmp_path / "mac.json"}


def test_what_a_mac_measured_of_this_package_is_given_as_it_is(takes: dict[str, Path]) -> None:
    assert read(takes, PARAMS) == json.loads(takes["report"].read_text())["data"]
    assert read(takes, PARAMS)["level"]["value"] == 5


def on(change: Callable[[Any], Any]) -> Callable[[dict[str, Path]], None]:
    def changed(takes: dict[str, Path]) -> None:
        report = json.loads(takes["report"].read_text())
        change(report)
        takes["report"].write_text(json.dumps(report))

    return changed


def other_functions(takes: dict[str, Path]) -> None:
    text = (takes["package"] / "contract.json").read_text()
    (takes["package"] / "contract.json").write_text(text.replace("prefill_64", "prefill_32"))


WRONG = {
    "another package": (
        lambda one: (one["package"] / "quantized.mlpackage" / "Manifest.json").write_text("{ }"),
        "not about this plan: it ran another package `quantized`",
    ),
    "other golden vectors": (
        lambda one: (one["goldens"] / "goldens.json").write_text("{ }"),
        "not about this plan: it has other golden vectors",
    ),
    "other functions": (other_functions, "not about this plan: it ran the functions prefill_64, decode"),
    "another kind": (
        on(lambda one: one.update(kind="start")),
        "is none: it is no report `coreml.device` that was measured",
    ),
    "forged": (on(lambda one: one["environment"].update(forged=True)), "is none: it is no report"),
    "a level of its own": (
        on(lambda one: one["data"]["level"].update(value=4)),
        "is none: `level` is not what the runs",
    ),
    "no data": (on(lambda one: one.pop("data")), "is none: 'data'"),
    "half a file": (lambda one: one["report"].write_text(one["report"].read_text()[:300]), "is none: "),
    "a list": (lambda one: one["report"].write_text("[]"), "is none: "),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_report_of_something_else_or_of_nothing_fails_the_step(takes: dict[str, Path], wrong: str) -> None:
    change, words = WRONG[wrong]
    change(takes)
    with pytest.raises(Refusal) as refused:
        read(takes, PARAMS)
    assert refused.value.code == "KR0281"
    assert words in refused.value.message
    assert "verify --on-device" in refused.value.action


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"units": "cpu_and_ne"}, "units: asked for cpu_and_ne, measured all"),
        (
            {"tolerances": ondevice.Tolerances(**{**BOUNDS, "kl": 0.005})},
            "tolerances.kl: asked for 0.005, held to 0.01",
        ),
    ],
)
def test_a_report_of_what_was_not_asked_for_fails_the_step(
    takes: dict[str, Path], params: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refusal, match="not about this plan") as refused:
        read(takes, PARAMS.model_copy(update=params))
    assert words in refused.value.message
