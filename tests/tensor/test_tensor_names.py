"""The compiler's list of tensors is the one of the models that Transformers builds: names, shapes, tied names."""

import pytest

from kcompiler.facts.sizes import tensors
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES

pytest.importorskip("transformers")
build = pytest.importorskip("runtime.models.build")
export = pytest.importorskip("runtime.models.export")


@pytest.mark.tensor
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("family", "head_dim"),
    [
        ("llama", None),
        ("llama", 24),
        ("mistral", 24),
        ("qwen2", None),
        ("qwen3", 24),
        ("phi", None),
        ("phi3", None),
        ("gemma", 24),
        ("gemma2", None),
        ("gemma3_text", 24),
    ],
)
def test_the_tensors_are_those_of_the_built_model(family, head_dim, tied):
    architecture = Architecture(
        family=family,
        head_dim=head_dim,
        hidden_size=64,
        intermediate_size=100,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        vocab_size=300,
        tie_word_embeddings=tied,
        sliding_window=8 if FAMILIES[family].windowed else None,
        sliding_window_pattern=2 if FAMILIES[family].windowed else None,
    )
    model = build.build(architecture, 1, {"pad": 0, "bos": 1, "eos": 2})
    built = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert {tensor.name: tensor.shape for tensor in tensors(architecture)} == built
    assert {tensor.name: list(tensor.aliases) for tensor in tensors(architecture)} == export.aliases_of(model)
