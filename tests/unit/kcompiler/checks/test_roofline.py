"""Roofline: ceilings by hand, both sides of every border, and the seeds' infeasible targets by name.

A token of the good spec's student reads 37,184 B of weights and 64 × 128 B of cache: 45,376 B. A bus of 4.5376e-3 GB/s
therefore allows 100 tok/s. A prompt of 64 tokens costs 2 × 34,976 × 64 = 4,476,928 operations.
"""

from __future__ import annotations

import importlib
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompiler import tables
from kcompiler.facts import models
from runtime.contract.recipe import Recipe
from tests.unit.kcompiler.checks.claims import Claim, disagrees, hardware, machine, section, several, student
from tests.unit.kcompiler.checks.test_memory import nine

BUS = 4.5376e-3
#: 2 × (18,592 of the layers × 64 tokens + 16,384 of the head)
PEAK = 2.412544e-6
HUNDRED = machine(bandwidth=BUS)
#: reads so many GB/s at 2.5 tok/s: twice that, 5 tok/s, is believed
SLOW = machine(bandwidth=BUS, ane=(10.0, 45_376 * 2.5 / 1e9))


def wants(**more: Any) -> Any:
    return hardware(targets=more)


SECOND = machine(gpu=(PEAK, PEAK / 2), ane=(PEAK / 4, 30.0))
FP16 = section("quantization", default={"weights": "fp16"})

CLAIMS = [
    Claim("no target, nothing to say", lambda _: None, table=HUNDRED),
    Claim("targets without a speed", wants(compute_unit="ane"), table=HUNDRED),
    Claim("an unknown machine", several(hardware(profile="none"), wants(decode_tok_s=1e6, ttft_s=1e-6)), table=HUNDRED),
    Claim("a bus nobody knows", wants(decode_tok_s=1e6), table=machine(bandwidth=None)),
    Claim("on the ceiling", wants(decode_tok_s=100), ("KC4715",), ("about 65.0", "65%"), HUNDRED, severity="warning"),
    Claim("beyond the ceiling", wants(decode_tok_s=100.001), ("KC4711",), ("the ceiling is 100.0", "lower it to 100,",
          "37.18 kB of weights and 8.192 kB of cache", "45.38 kB"), HUNDRED, severity="error"),
    Claim("on what was reached", wants(decode_tok_s=65), table=HUNDRED),
    Claim("above what was reached", wants(decode_tok_s=65.001), ("KC4715",), table=HUNDRED, severity="warning"),
    Claim("a shorter cache is faster", wants(decode_tok_s=110, at_context=1), ("KC4715",), ("(1 tokens",), HUNDRED),
    Claim("an untied embedding is not read", several(student(tie_word_embeddings=False), wants(decode_tok_s=1000)),
          ("KC4711",), ("37.22 kB of weights",), HUNDRED),
    Claim("a context on the border", wants(at_context=64), table=HUNDRED),
    Claim("a context beyond it", wants(at_context=65), ("KC4717",), ("65 tokens, the cache holds 64",), HUNDRED),
    Claim("the Neural Engine as far as it is believed", wants(decode_tok_s=5, compute_unit="ane"), table=SLOW),
    Claim("the Neural Engine beyond", wants(decode_tok_s=5.001, compute_unit="ane"), ("KC4715",),
          ("about 5.0 is credible", "a source"), SLOW, severity="error"),
    Claim("a Neural Engine nobody measured", wants(decode_tok_s=1, compute_unit="ane"), ("KC4716",), ("ANE",),
          machine(ane=(10.0, None)), severity="warning"),
    Claim("no Neural Engine", wants(decode_tok_s=1, compute_unit="ane"), ("KC4716",), table=machine(ane=None)),
    Claim("a GPU of another maker", wants(decode_tok_s=1), ("KC4716",), ("GPU",), machine(ane=None)),
    Claim("no share known", wants(decode_tok_s=1), ("KC4716",), table=machine(share=None)),
    Claim("a CPU", wants(decode_tok_s=1, ttft_s=1, compute_unit="cpu"), ("KC4716", "KC4716"), ("CPU",), HUNDRED),
    Claim("the first token on the floor", wants(ttft_s=1), table=SECOND),
    Claim("the first token too soon", wants(ttft_s=0.999), ("KC4712",), ("1.0 s is the least", "raise it to 1,",
          "2 × 34,976 parameters × 64 tokens"), SECOND, severity="error"),
    Claim("half the prompt, half the layers' time", wants(ttft_s=0.507, at_context=32), table=SECOND),
    Claim("and no less", wants(ttft_s=0.506, at_context=32), ("KC4712",), table=SECOND),
    Claim("a longer prompt is padded", wants(ttft_s=0.999, at_context=33), ("KC4712",), ("prefill of 64 tokens",),
          SECOND),
    Claim("weights are read at least once", wants(ttft_s=0.001), ("KC4712",), ("0.0082 s is the least",),
          machine(bandwidth=BUS, gpu=(10.0, 5.0))),
    Claim("no bus known", wants(ttft_s=1), table=machine(bandwidth=None, gpu=(PEAK, None))),
    Claim("an untied embedding is looked up", several(student(tie_word_embeddings=False), wants(ttft_s=1)),
          table=SECOND),
    Claim("a prompt that no prefill takes", several(section("shapes", prefill=[32]), wants(ttft_s=9)), ("KC4719",),
          ("64 tokens, the longest prefill takes 32",), SECOND),
    Claim("one that the longest takes", several(section("shapes", prefill=[32]), wants(ttft_s=9, at_context=32)),
          table=SECOND),
    Claim("one token more", several(section("shapes", prefill=[32]), wants(ttft_s=9, at_context=33)), ("KC4719",),
          ("33 tokens",), SECOND),
    Claim("a speed alone needs no prefill of the context", several(section("shapes", prefill=[32]),
          wants(decode_tok_s=60)), table=HUNDRED),
    Claim("the faster type counts", wants(ttft_s=1), table=machine(gpu=(PEAK / 2, PEAK))),
    Claim("one type is enough", wants(ttft_s=1), table=machine(gpu=(None, PEAK))),
    Claim("no peak known", wants(ttft_s=1), ("KC4716",), table=machine(gpu=(None, None))),
    Claim("no GPU", wants(ttft_s=1), ("KC4716",), table=machine(gpu=None)),
    Claim("the Neural Engine's own peak", wants(ttft_s=4, compute_unit="ane"), table=SECOND),
    Claim("and below it", wants(ttft_s=3.9, compute_unit="ane"), ("KC4712",), ("4.0 s is the least",), SECOND),
    Claim("no Neural Engine to read with", wants(ttft_s=4, compute_unit="ane"), ("KC4716",), table=machine(ane=None)),
    Claim("a CPU's own peak", wants(ttft_s=1, compute_unit="cpu"), table=machine(cpu=PEAK)),
    Claim("and beyond it", wants(ttft_s=0.9, compute_unit="cpu"), ("KC4712",), table=machine(cpu=PEAK)),
    Claim("a CPU does not stand in", wants(ttft_s=1, compute_unit="ane"), ("KC4716",), table=machine(ane=None, cpu=9.0)),
]  # fmt: skip


def arithmetic() -> None:
    """What the formulas give by hand."""
    sizes = importlib.import_module("kcompiler.facts.sizes")
    assert round(float(sizes.ceiling(400, 9 * 10**9)), 1) == 44.4
    assert round(float(sizes.ceiling(400, 4 * 10**9)), 1) == 100.0
    assert round(sizes.operations(9_020_149_760, 16_384) / 3.0 / 1e12, 1) == 98.5
    assert round(sizes.operations(9_020_149_760, 4_096) / 2.0 / 1e12, 1) == 36.9


ARITHMETIC = (arithmetic,)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_roofline_says(claim, tmp_path):
    assert disagrees("roofline", claim, tmp_path) == ""


def test_bus_of_400_gigabytes_allows_44_tokens_of_9_gigabytes():
    """BEN-25 and BEN-26 of the capabilities."""
    arithmetic()


def large(**targets: Any) -> Any:
    """The 9 B worker on an M1 Max."""

    def change(data: dict[str, Any]) -> None:
        a = nine().model_dump(exclude={"vocab_size", "head_dim"})
        data["tokenizer"]["vocab_size"] = 32_000
        data["student"]["architecture"] = a
        data["student"].pop("parameters", None)
        data["shapes"] = {"prefill": [4096, 16384], "decode": {"context": 16384}}
        data["hardware"]["targets"] = targets

    return change


SEEDS = [
    ("BEN-01, X5: worker at 50 tok/s", large(decode_tok_s=50, at_context=4096), ("KC4711",)),
    ("BEN-06: first token after 2.0 s at 4k", large(ttft_s=2.0, at_context=4096), ("KC4712",)),
    ("BEN-06: first token after 3.0 s at 16k", large(ttft_s=3.0, at_context=16384), ("KC4712",)),
    ("BEN-07: 25 tok/s at 4k on the Neural Engine", large(decode_tok_s=25, at_context=4096, compute_unit="ane"),
     ("KC4715",)),
    ("BEN-07: 25 tok/s at 4k on the GPU", large(decode_tok_s=25, at_context=4096), ()),
    ("BEN-07: 15 tok/s at 16k on the GPU", large(decode_tok_s=15, at_context=16384), ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "codes"), SEEDS, ids=[seed[0] for seed in SEEDS])
def test_targets_of_the_seeds(name, change, codes, tmp_path):
    assert disagrees("roofline", Claim(name, change, codes), tmp_path) == ""


@given(st.floats(1, 5000), st.floats(1, 5000), st.integers(1, 10**12), st.integers(0, 10**12))
def test_more_bandwidth_never_lowers_and_more_bytes_never_raise_the_ceiling(one, other, read, more):
    sizes = importlib.import_module("kcompiler.facts.sizes")
    low, high = sorted((one, other))
    assert sizes.ceiling(low, read) <= sizes.ceiling(high, read)
    assert sizes.ceiling(one, read + more) <= sizes.ceiling(one, read)


@given(st.fractions(Fraction(1, 10**6), 10**6), st.booleans())
def test_the_advice_lies_on_the_feasible_side(value, down):
    roofline = importlib.import_module("kcompiler.checks.roofline")
    said = Fraction(roofline._round(value, down=down))
    assert said <= value * Fraction(10**9 + 1, 10**9) if down else said >= value * Fraction(10**9 - 1, 10**9)
    assert abs(said - value) <= value / 99


@pytest.mark.parametrize("role", tables.roles().roles.items(), ids=lambda item: item[0])
def test_targets_of_the_role_table_are_feasible_by_our_own_arithmetic(role):
    """No decoding speed above what was reached, no first token before the peak allows it; and the names are true."""
    sizes = importlib.import_module("kcompiler.facts.sizes")
    recipe = Recipe.model_validate({"default": {"weights": "int8"}})
    by_name = {size.name: size for size in role[1].sizes}
    for size in by_name.values():
        assert models.total(size.architecture) == size.parameters
        stated = size.name.rpartition("-")[2]
        unit = {"b": 10**9, "k": 10**3}[stated[-1]]
        assert abs(size.parameters / (float(stated[:-1]) * unit) - 1) < 0.02
    for target in role[1].targets:
        row, a = tables.hardware().profiles[target.profile], by_name[target.size].architecture
        assert target.at_context <= role[1].context
        read = sizes.read_per_token(a, recipe) + target.at_context * sizes.kv_per_token(a)
        if target.decode_tok_s is not None:
            share = tables.hardware().gpu_share.value
            assert target.decode_tok_s <= float(sizes.ceiling(row.bandwidth_gb_s.value, read)) * share
        if target.ttft_s is not None:
            peak = row.gpu.fp16_tflops.value * 10**12
            assert sizes.operations(by_name[target.size].parameters, target.at_context) / peak <= target.ttft_s
