"""The compiler's arithmetic counts what Transformers builds."""

import pytest

from kcompiler.facts.models import parameters, total
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES

transformers = pytest.importorskip("transformers")
build = pytest.importorskip("runtime.models.build")

SHAPES = [
    {
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    {
        "hidden_size": 64,
        "intermediate_size": 100,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 1,
    },
]


#: what families need that others lack
WINDOWED: dict[str, dict[str, int]] = {
    "gemma": {},
    "gemma2": {"sliding_window": 8, "num_hidden_layers": 2},
    "gemma3_text": {"sliding_window": 8, "sliding_window_pattern": 3, "num_hidden_layers": 4},
}


@pytest.mark.tensor
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape["hidden_size"]))
@pytest.mark.parametrize(
    ("family", "head_dim"),
    [
        ("llama", None),
        ("llama", 24),
        ("mistral", 24),
        ("qwen2", None),
        ("qwen3", None),
        ("qwen3", 24),
        ("phi", None),
        ("phi3", None),
        *((family, 24) for family in WINDOWED),
    ],
)
def test_the_computed_number_is_the_number_of_tensors_elements(family, head_dim, shape, tied):
    architecture = Architecture(
        family=family,
        head_dim=head_dim,
        tie_word_embeddings=tied,
        vocab_size=300,
        max_position_embeddings=64,
        **shape | WINDOWED.get(family, {}),
    )
    assert total(architecture) == build.count(build.build(architecture, seed=1))


@pytest.mark.parametrize("tied", [True, False])
def test_every_formula_computes_the_count_beside_it(tied):
    """What people read is the same arithmetic: the shown formulas, evaluated, give the shown numbers."""
    for family in FAMILIES:
        architecture = Architecture(
            family=family,
            tie_word_embeddings=tied,
            vocab_size=300,
            max_position_embeddings=64,
            **SHAPES[0] | WINDOWED.get(family, {}),
        )
        for part in parameters(architecture):
            digits = "".join(
                character for character in part.formula.replace("×", "*") if character in "0123456789*+() "
            )
            numbers = digits.replace("(  (", "((").strip()
            assert eval(_without_names(numbers)) == part.count, part.formula


def _without_names(formula: str) -> str:
    return " ".join(formula.split())
