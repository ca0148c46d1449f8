"""A declared number of parameters: what it may look like, and what it allows."""

import pytest
from pydantic import ValidationError

from kcompiler.spec.student import ParameterTarget, Student

ARCHITECTURE = {
    "family": "llama",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "vocab_size": 512,
}


def target(written) -> ParameterTarget | None:
    return Student.model_validate({"role": "toy", "architecture": ARCHITECTURE, "parameters": written}).parameters


@pytest.mark.parametrize(
    ("written", "count", "percent"),
    [
        ("623_000±10%", 623_000, 10.0),
        ("623000 ± 2.5 %", 623_000, 2.5),
        ("9.0e9±5%", 9_000_000_000, 5.0),
        ("8_000_000_000 +-5%", 8_000_000_000, 5.0),
        ("4e9 +/- 10%", 4_000_000_000, 10.0),
        ("1.59E+9±0%", 1_590_000_000, 0.0),
        ("623_000", 623_000, 0.0),
        (623_000, 623_000, 0.0),
        (9.0e9, 9_000_000_000, 0.0),
    ],
)
def test_a_number_with_or_without_a_tolerance(written, count, percent):
    assert target(written) == ParameterTarget(count=count, percent=percent)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "x",
        "±10%",
        "623_000±10",
        "623_00±10%",
        "62_3000",
        "-5",
        0,
        -1,
        0.5,
        "0.5",
        "1e-3",
        True,
        [1],
        "9e99",
        "1±101%",
        "1±-1%",
        "1 000",
    ],
)
def test_anything_else_is_refused(written):
    with pytest.raises(ValidationError):
        target(written)


@pytest.mark.parametrize(
    ("declared", "actual", "allowed"),
    [
        ("1000±10%", 900, True),
        ("1000±10%", 899, False),
        ("1000±10%", 1100, True),
        ("1000±10%", 1101, False),
        ("1000", 1000, True),
        ("1000", 1001, False),
        ("1000±0.1%", 1001, True),
        ("1000±0.1%", 1002, False),
        ("3±33.3%", 2, False),
        ("3±33.4%", 2, True),
    ],
)
def test_the_tolerance_is_compared_exactly(declared, actual, allowed):
    found = target(declared)
    assert found is not None
    assert found.allows(actual) is allowed


def test_it_says_itself_as_people_write_it():
    assert str(ParameterTarget(count=623_000, percent=10.0)) == "623,000 ± 10 %"
    assert str(ParameterTarget(count=623_000)) == "623,000"
