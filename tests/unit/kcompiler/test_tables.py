"""Tables: read strictly, every number with a source, the published schemas fresh, the settled values consistent."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest
import yaml

from kcompiler import tables
from runtime import catalog
from runtime.contract.statistics.power import clean_items

ROOT = Path(__file__).resolve().parents[3]
SOURCE = 'sources: {s: {title: "a source", url: "https://example.org/", date: "2026-01-31", kind: vendor}}\n'
FIGURE = "{value: 1, source: s}"


def hardware(figure: str = FIGURE, sources: str = SOURCE, share: str = FIGURE) -> str:
    return (
        f"{sources}gpu_share: {share}\nprofiles:\n  m:\n    title: a machine\n    system: macos\n    memory_bytes: {figure}\n"
        f"    model_bytes: {FIGURE}\n    bandwidth_gb_s: {FIGURE}\n    gpu: {{fp16_tflops: {FIGURE}, fp32_tflops: {FIGURE}}}\n"
    )


def erratum(**more: str) -> str:
    row = {
        "id": "one", "toolchain": '{coremltools: ">=9.0,<9.1"}', "concerns": "an operator", "defect": "something wrong",
        "workaround": "do it otherwise", "source": "an issue", "verified": "true", "detected_by": "a device",
        "status": "unused", **more,
    }  # fmt: skip
    lines = "\n".join(f"    {key}: {value}" for key, value in row.items())
    return f"errata:\n  -\n{lines}\n"


def refused(model: str, text: str) -> bool:
    module = importlib.import_module("kcompiler.tables")
    try:
        module.read("table.yaml", text.encode(), module.TABLES[model])
    except ValueError:
        return True
    return False


def numbers() -> None:
    """A number needs a source of the table, and no number needs a reason."""
    assert not refused("hardware", hardware())
    assert not refused("hardware", hardware("{note: nobody knows}"))
    assert refused("hardware", hardware("{source: s}"))
    assert refused("hardware", hardware("{value: 1}"))
    assert refused("hardware", hardware("{value: 0, source: s}"))
    assert refused("hardware", hardware("{value: 1, source: t}"))
    assert refused("hardware", hardware(share="{value: 1, source: t}"))
    assert refused("hardware", hardware(FIGURE.replace("}", ", colour: red}")))
    assert refused(
        "hardware", hardware().replace("fp16_tflops: {value: 1, source: s}", "fp16_tflops: {value: 1, source: t}")
    )
    assert refused("hardware", hardware(sources=SOURCE.replace("2026-01-31", "2026-13-31")))
    assert refused("hardware", "")
    assert refused("hardware", "profiles: [\n")


def consistent() -> None:
    """Each status has what it needs and nothing else; only a reproduced, open erratum may refuse."""
    here = {"status": "open", "applies": "{compute_unit: [ane]}"}
    assert not refused("errata", erratum())
    assert not refused("errata", erratum(**here))
    assert not refused("errata", erratum(**here, severity="error"))
    assert not refused("errata", erratum(status="avoided", avoided_by="a/file.py"))
    assert refused("errata", erratum(status="avoided"))
    assert refused("errata", erratum(avoided_by="a/file.py"))
    assert refused("errata", erratum(status="open"))
    assert refused("errata", erratum(applies="{tied: true}"))
    assert refused("errata", erratum(severity="error"))
    assert refused("errata", erratum(**here, severity="error").replace("verified: true", "verified: false"))
    assert refused("errata", erratum(toolchain='{coremltools: "9.0"}'))
    assert refused("errata", erratum(toolchain='{coremltools: "~=9.0"}'))
    assert refused("errata", erratum() + erratum().removeprefix("errata:\n"))
    assert refused("errata", erratum(**here).replace("compute_unit", "compute_units"))


def distinct() -> None:
    """A gate stands in the register once."""
    gate = "  - {id: a.b, title: A gate of ten letters, said: so it is, missing: fail, awaits: a report}\n"
    assert not refused("gates", f"gates:\n{gate}")
    assert not refused("gates", f"gates:\n{gate}{gate.replace('a.b', 'a.c')}")
    assert refused("gates", f"gates:\n{gate}{gate}")


def earned() -> None:
    """What users have reported is no error; a rule stands in the table once."""
    row = (
        "  - {id: rank, units: [ane], severity: error, says: it has too many axes, systems: all, do: fold some of them, "
        "source: a text, kind: vendor}\n"
    )
    assert not refused("placement", f"rules:\n{row}")
    assert not refused("placement", f"rules:\n{row.replace('vendor', 'measured')}")
    assert not refused("placement", f"rules:\n{row.replace('vendor', 'collected').replace('error', 'warning')}")
    assert not refused("placement", f"rules:\n{row}{row.replace('rank', 'other')}")
    assert refused("placement", f"rules:\n{row.replace('vendor', 'collected')}")
    assert refused("placement", f"rules:\n{row}{row}")


CHECKS: tuple[Callable[[], None], ...] = (numbers, consistent, distinct, earned)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_table_is_read_strictly(check):
    check()


@pytest.mark.parametrize("name", tables.TABLES)
def test_the_published_schema_is_fresh_and_accepts_the_table(name):
    """KCOMPILER_REWRITE=1 writes it anew after a deliberate change."""
    path = ROOT / "schemas" / f"{name}.schema.json"
    text = json.dumps(tables.document(name), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("KCOMPILER_REWRITE"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    table = yaml.safe_load((ROOT / "kcompiler" / "tables" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert [error.message for error in jsonschema.Draft202012Validator(json.loads(text)).iter_errors(table)] == []


def test_every_source_is_used():
    text = (ROOT / "kcompiler/tables/hardware.yaml").read_text(encoding="utf-8")
    assert [name for name in tables.hardware().sources if f"source: {name}" not in text] == []


def test_what_a_model_keeps_resident_is_no_more_than_the_memory():
    for machine in tables.hardware().profiles.values():
        assert machine.memory_bytes.value is not None
        assert machine.model_bytes.value is None or machine.model_bytes.value <= machine.memory_bytes.value


@pytest.mark.parametrize("role", tables.roles().roles.items(), ids=lambda item: item[0])
def test_a_role_holds_together(role):
    """Weights add up to 1, terms and suites exist, lengths ascend and fit, gates say how many rows they need."""
    row = role[1]
    assert abs(sum(row.losses.values()) - 1) < 1e-9
    assert set(row.losses) <= set(catalog.names("losses"))
    assert set(row.suites) <= set(catalog.names("suites"))
    assert sorted(set(row.prefill)) == row.prefill
    assert row.prefill[-1] <= row.context
    assert all(size.architecture.max_position_embeddings >= row.context for size in row.sizes)
    assert row.training_profile in tables.hardware().profiles
    for gate in row.gates:
        assert gate.needs_n == clean_items(Fraction(gate.at_least))
