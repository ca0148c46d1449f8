"""Toolchain: what is pinned is known to work, and each erratum reaches exactly the specs it concerns."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from kcompiler import tables
from kcompiler.facts import sizes
from kcompiler.spec import Spec
from kcompiler.tables import Applies
from runtime import catalog
from runtime.contract import Backend
from tests.unit.kcompiler.checks.claims import Claim, _parsed, disagrees, hardware, section, several, student

ROOT = Path(__file__).resolve().parents[4]
ANE = hardware(targets={"compute_unit": "ane"})
FP16 = section("quantization", default={"weights": "fp16"})
ISLAND = section("quantization", islands=["rms_norm"])

PALETTE = section("quantization", default={"weights": "lut4", "granularity": "per_tensor"})


def tier(number: int) -> Any:
    return lambda data: data.update(risk_tier=number)


def vocabulary(size: int) -> Any:
    return several(section("tokenizer", vocab_size=size), student())


def large(data: dict[str, Any]) -> None:
    student(hidden_size=2048, intermediate_size=8192, num_hidden_layers=32, tie_word_embeddings=False)(data)


def states(data: dict[str, Any]) -> None:
    data["shapes"]["decode"].update(cache="state")


CLAIMS = [
    Claim("the good spec", lambda _: None),
    Claim("a toy needs no island", tier(3)),
    Claim("what ships does", several(tier(1), FP16), ("KC4814",), ("rms-norm-overflow", "declare the island", "coremltools 9.0"),
          severity="error"),
    Claim("what spends does", several(tier(2), FP16), ("KC4814",)),
    Claim("with the island it ships", several(tier(1), FP16, ISLAND)),
    Claim("phi has no RMS norm", several(tier(1), FP16, student(family="phi", head_dim=8))),
    Claim("qwen3 has", several(tier(1), FP16, student(family="qwen3")), ("KC4814",)),
    Claim("the Neural Engine and INT8", ANE, ("KC4813",), ("blockwise-scale-on-ane", "not reproduced by us"),
          severity="warning"),
    Claim("the Neural Engine and float16", several(ANE, FP16)),
    Claim("INT8 that ships", several(hardware(targets={"compute_unit": "gpu"}), ISLAND, tier(2)), ("KC4813",),
          ("int8-wrong-on-accelerator",)),
    Claim("INT8 that ships, without a target", several(ISLAND, tier(2)), ("KC4813",),
          ("int8-wrong-on-accelerator", "export: {compute_units: cpu_only}")),
    Claim("INT8 by a rule", several(FP16, ISLAND, tier(2), lambda data: data["quantization"].update(
        rules=[{"match": "*q_proj", "weights": "int8"}])), ("KC4813",), ("int8-wrong-on-accelerator",)),
    Claim("INT8 where a CPU alone computes", several(lambda data: data.update(export={"compute_units": "cpu_only"}), ISLAND, tier(2))),
    Claim("INT8 where no GPU computes", several(lambda data: data.update(export={"compute_units": "cpu_and_ne"}), ISLAND), ("KC4813",),
          ("blockwise-scale-on-ane",)),
    Claim("INT8 on a CPU", several(hardware(targets={"compute_unit": "cpu"}), ISLAND, tier(2))),
    Claim("float16 that ships", several(hardware(targets={"compute_unit": "gpu"}), ISLAND, tier(2), FP16,
                                        section("quantization", islands=["rms_norm"]))),
    Claim("a vocabulary on the border", several(ANE, FP16, vocabulary(16384))),
    Claim("a vocabulary beyond it", several(ANE, FP16, vocabulary(16385)), ("KC4813",), ("ane-vocabulary",)),
    Claim("ids of 16 bits on the border", several(ANE, FP16, vocabulary(32767)), ("KC4813",)),
    Claim("ids beyond 16 bits", several(ANE, FP16, vocabulary(32768)), ("KC4813", "KC4813"), ("ane-embedding-ids",)),
    Claim("a large file", several(ANE, FP16, large), ("KC4813",), ("ane-file-size",)),
    Claim("a large file in chunks", several(ANE, FP16, large, section("export", chunks=4))),
    Claim("in chunks that are large still", several(ANE, FP16, large, section("export", chunks=2)), ("KC4813",),
          ("ane-file-size", "export: {chunks: N}")),
    Claim("enumerated lengths there", several(ANE, FP16, section("export", strategy="enumerated")), ("KC4813",) * 2,
          ("enumerated-not-run", "enumerated-unsteady")),
    Claim("of one length nothing is enumerated", several(ANE, FP16, section("export", strategy="enumerated"),
                                                         section("shapes", prefill=[64]))),
    Claim("states on the Neural Engine", several(ANE, FP16, states), ("KC4813",), ("state-on-ane",)),
    Claim("four bits in a palette, too", several(ANE, PALETTE, states), ("KC4813",) * 2, ("lut4-stateful-crash",)),
    Claim("the host's cache there", several(ANE, PALETTE)),
    Claim("states on a GPU", several(hardware(targets={"compute_unit": "gpu"}), PALETTE, states)),
    Claim("a large file on a GPU", several(hardware(targets={"compute_unit": "gpu"}), FP16, large)),
]  # fmt: skip


def spec(change: Any = lambda _: None) -> Spec:
    return _parsed(change)[0]


GOOD = spec()


def matches(**when: Any) -> bool:
    toolchain = importlib.import_module("kcompiler.checks.toolchain")
    found: bool = toolchain.applies(Applies.model_validate(when), GOOD)
    return found


def conditions() -> None:
    """Each condition alone, met and not met; the good spec: llama, tied, int8, 512 ids, tier 3, no target."""
    weights = sum(sizes.weights(GOOD.student.architecture, GOOD.quantization).values())
    met = [
        {},
        {"family": ["llama"]},
        {"weights": ["int8"]},
        {"tied": True},
        {"risk_tier": [3]},
        {"vocab_over": 511},
        {"weights_bytes_over": weights - 1},
        {"without_island": "rms_norm"},
        {"compute_unit": ["gpu"]},
        {"cache": ["outputs"]},
    ]
    unmet = [
        {"family": ["phi", "qwen3"]},
        {"weights": ["fp16"]},
        {"tied": False},
        {"risk_tier": [1, 2]},
        {"vocab_over": 512},
        {"weights_bytes_over": weights},
        {"compute_unit": ["ane", "cpu"]},
        {"cache": ["state"]},
        {"family": ["llama"], "tied": False},
    ]
    assert [matches(**when) for when in met] == [True] * len(met)
    assert [matches(**when) for when in unmet] == [False] * len(unmet)


def versions() -> None:
    """Ranges of versions, on both sides of each end."""
    toolchain = importlib.import_module("kcompiler.checks.toolchain")
    inside = [
        ("9.0", ">=9.0"), ("9.0", ">=9.0,<9.1"), ("9.0.1", ">=9.0,<9.1"), ("9.1.dev1", ">=9.0,<9.1"), ("9.0", "==9"),
        ("2.13.0", ">=2.9"), ("2.4.6", ">2.4,<=2.4.6"), ("10.0", ">9.9"), ("9.0", "<=9.0.0"),
    ]  # fmt: skip
    outside = [
        ("9.1", ">=9.0,<9.1"), ("8.3", ">=9.0"), ("9.0.dev1", ">=9.0"), ("9.0", ">9.0"), ("9.0", "<9.0"),
        ("9.0", "==9.1"), ("9.1", "<=9.0"), ("9.0", "~=9.0"), ("unknown", ">=0"), ("2.9", ">2.10"),
    ]  # fmt: skip
    assert [pair for pair in inside if not toolchain.within(*pair)] == []
    assert [pair for pair in outside if toolchain.within(*pair)] == []


def concerned() -> None:
    """An erratum needs all of its distributions, in range."""
    toolchain = importlib.import_module("kcompiler.checks.toolchain")
    ships = spec(tier(1))
    ids = lambda pins: [one.id for one in toolchain.concerned(ships, pins)]  # noqa: E731
    assert ids({"coremltools": "9.0"}) == ["rms-norm-overflow", "int8-wrong-on-accelerator"]
    assert ids({"coremltools": "8.3"}) == []
    assert ids({}) == []


def used_backends() -> None:
    """Each backend once, where it is first used."""
    toolchain = importlib.import_module("kcompiler.checks.toolchain")
    assert [backend.name for _, backend in toolchain.backends(GOOD)] == ["python", "torch", "coreml"]

    def further(**way: str) -> list[tuple[str, str]]:
        made = spec(lambda data: data["evaluation"].update(runners=[way]))
        return [(where, backend.name) for where, backend in toolchain.backends(made)][3:]

    def judged(**which: object) -> list[tuple[str, str]]:
        judge = {"rows": {"source": "answers"}, **which}
        made = spec(lambda data: data["evaluation"].update(suites=[{"use": "judged"}], judge=judge))
        return [(where, backend.name) for where, backend in toolchain.backends(made)][3:]

    server = {"base_url": "http://127.0.0.1:8000/v1", "model": "m", "top_logprobs": 3}
    at = "/evaluation/judge/server"
    assert judged(server=server) == [(at, "http"), (at, "torch_http")]
    assert judged(model="judge") == []
    there = "/evaluation/runners/0/use"
    assert further(use="torch") == []
    assert further(use="gguf") == [(there, "gguf"), (there, "llama")]
    assert further(use="gguf", path="m.gguf") == [(there, "llama")]


def of_a_conversion() -> None:
    """Which errata a conversion is asked to record: avoided ones of its coremltools."""
    errata = importlib.import_module("kcompiler.facts.errata")
    found = errata.avoided({"coremltools": "9.0", "torch": "2.13.0"})
    assert {"rms-norm-eps", "alpha-ignored", "training-dialect", "island-weights"} <= set(found)
    assert not {"rms-norm-overflow", "ane-vocabulary", "enumerated-shapes"} & set(found)
    assert set(found) - set(errata.avoided({"coremltools": "9.0"})) == {"training-dialect", "quantizer-import"}
    assert "alpha-ignored" not in errata.avoided({"coremltools": "9.1", "torch": "2.13.0"})
    assert errata.avoided({"torch": "2.13.0"}) == []


def places() -> None:
    """Where an erratum is shown."""
    toolchain = importlib.import_module("kcompiler.checks.toolchain")
    at = lambda **when: toolchain._place(Applies.model_validate(when))  # noqa: E731
    assert at(without_island="rms_norm") == "/quantization"
    assert at(vocab_over=1) == "/tokenizer/vocab_size"
    assert at(cache=["state"], compute_unit=["ane"]) == "/shapes/decode/cache"
    assert at(tied=True) == "/hardware/targets/compute_unit"
    assert toolchain._place(None) == "/hardware/targets/compute_unit"


ARITHMETIC = (of_a_conversion, places, conditions, versions, concerned, used_backends)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_toolchain_says(claim, tmp_path):
    assert disagrees("toolchain", claim, tmp_path) == ""


@pytest.mark.parametrize("check", ARITHMETIC, ids=lambda check: check.__name__)
def test_parts(check):
    check()


@pytest.mark.parametrize("name", catalog.names("backends"))
def test_every_pin_of_a_shipped_backend_is_known_good(name):
    """A new pin needs a row in the table, and the row the tests that passed with it."""
    backend: Backend = catalog.load("backends", name)
    known = tables.toolchain().distributions
    for distribution, version in backend.requires.items():
        assert version in [one.version for one in known[distribution]]


def test_known_good_rows_name_tests_that_exist():
    for rows in tables.toolchain().distributions.values():
        for row in rows:
            for folder in row.verified:
                assert list((ROOT / folder).rglob("test_*.py")), folder


@pytest.mark.parametrize("erratum", tables.errata().errata, ids=lambda one: one.id)
def test_what_is_said_to_be_avoided_is(erratum):
    """The file exists; where a lint rule is named, it is in the linter; the island is what the packages read back."""
    lint = (ROOT / "runtime/models/fxlint.py").read_text()
    if erratum.avoided_by:
        assert (ROOT / erratum.avoided_by).is_file()
    for word in erratum.detected_by.replace(";", " ").replace(",", " ").split():
        if word.startswith("FX-"):
            assert f'"{word}"' in lint


def test_the_code_that_avoids_a_defect_says_so():
    """What the table claims of the exporter, the wrapper and the linter, by their text: kcompiler imports none."""
    text = {name: (ROOT / f"runtime/models/{name}.py").read_text() for name in ("fxlint", "wrapper", "export")}
    for denied in ("aten.rms_norm", "aten._fused_rms_norm", "aten.triu", "aten.tril", "aten.where.ScalarSelf"):
        assert f'Denied("{denied}"' in text["fxlint"]
    assert 'Denied(\n        "aten.scaled_dot_product_attention"' in text["fxlint"]
    assert "mask_value: float = -1e4" in text["wrapper"]
    assert "torch.softmax(scores + attention_mask" in text["wrapper"]
    assert "program.run_decompositions({" in text["export"]
