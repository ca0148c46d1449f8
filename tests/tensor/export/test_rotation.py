"""Angles are those of Transformers' own functions, and no shape of an exported function changes one of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from runtime.contract import Refusal
from runtime.contract.rotation import exact_to
from runtime.models import build, rotation
from runtime.models.wrapper import Decode, Prefill, RopeTable, check_shapes, rotations_of
from tests.tensor.export.world import MIXED, ROTATIONS, architecture

WIDTH, CONTEXT = 64, 4096
LLAMA3, YARN = ROTATIONS["llama3"], ROTATIONS["yarn"]
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0 + i / 50 for i in range(WIDTH // 2)],
    "long_factor": [1.0 + i for i in range(WIDTH // 2)],
    "original_max_position_embeddings": 1024,
}
KINDS: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 3.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "llama3": {**LLAMA3, "original_max_position_embeddings": 1024},
    "llama3 that touches no channel": {**LLAMA3, "original_max_position_embeddings": 4096, "factor": 1.0},
    "yarn": {**YARN, "original_max_position_embeddings": 1024},
    "yarn as it is stated": {**YARN, "attention_factor": 1.3, "beta_fast": 20.0, "beta_slow": 2.0},
    "yarn whose ramp is no wider than a channel": {**YARN, "beta_fast": 1.01, "beta_slow": 1.0},
    "longrope": LONG,
    "longrope as it is stated": {**LONG, "attention_factor": 1.2},
}


@pytest.mark.parametrize("theta", [1e4, 5e5])
@pytest.mark.parametrize("kind", KINDS)
def test_frequencies_are_those_of_transformers_to_the_last_bit(kind: str, theta: float) -> None:
    parameters = {**KINDS[kind], "rope_theta": theta}
    config = LlamaConfig(
        hidden_size=2 * WIDTH, num_attention_heads=2, max_position_embeddings=CONTEXT, rope_parameters=dict(parameters)
    )
    wanted, attention = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config)
    found, ours = rotation.frequencies(parameters, WIDTH, CONTEXT)
    assert torch.equal(found, wanted)
    assert ours == attention


@pytest.mark.parametrize("kind", ["linear", "llama3", "yarn", "longrope"])
def test_a_scaled_rotation_is_another_than_the_plain_one(kind: str) -> None:
    """The comparison above is able to fail."""
    scaled, plain = ({**one, "rope_theta": 1e4} for one in (KINDS[kind], {"rope_type": "default"}))
    one, other = (rotation.table(p, WIDTH, CONTEXT, 512)[0] for p in (scaled, plain))
    assert not torch.allclose(one, other, atol=0.1)


@pytest.mark.parametrize("scaling", [{"rope_type": "linear", "factor": 4.0}, KINDS["dynamic"], LLAMA3, YARN])
def test_every_function_has_the_same_angles_at_the_same_positions(scaling: dict[str, Any]) -> None:
    """Defect D7 of the origin: what a token means depended on the bucket that its prompt was padded to."""
    model = build.build(architecture(rope_scaling=scaling), seed=1)
    tables: list[RopeTable] = [
        function.model.get_decoder().rotary_emb
        for function in (Prefill(model, 16), Prefill(model, 200), Decode(model, 256))
    ]
    for table in tables:
        assert torch.equal(table.cos[:16], tables[0].cos)
        assert torch.equal(table.sin[:16], tables[0].sin)
    assert len(tables[1].cos) == 200


def test_positions_whose_angles_would_change_with_the_text_are_refused() -> None:
    dynamic = {**KINDS["dynamic"], "rope_theta": 1e4}
    assert len(rotation.table(dynamic, WIDTH, 128, 128)[0]) == 128
    with pytest.raises(Refusal, match=r"`dynamic` changes the angles of a text of more than 128 tokens"):
        rotation.table(dynamic, WIDTH, 128, 129)
    longrope = {**LONG, "rope_theta": 1e4}
    assert len(rotation.table(longrope, WIDTH, CONTEXT, 1024)[0]) == 1024
    with pytest.raises(Refusal, match=r"more than 1024 tokens \(original_max_position_embeddings\)"):
        rotation.table(longrope, WIDTH, CONTEXT, 1025)
    with pytest.raises(Refusal, match="`spiral` is not known here"):
        rotation.table({"rope_type": "spiral", "rope_theta": 1e4}, WIDTH, 128, 8)


def test_what_a_contract_says_of_each_type_of_layers() -> None:
    phi3 = build.build(architecture("phi3", rope_scaling=ROTATIONS["longrope"]), seed=1)
    ((kind, said),) = rotations_of(phi3).items()
    assert (kind, said["rope_type"], exact_to(said, 256)) == ("", "longrope", 64)
    shape = architecture("gemma3_text", sliding_window=9, **MIXED, rope_scaling=ROTATIONS["dynamic"], rope_theta=1e6)
    found = rotations_of(build.build(shape, seed=1))
    assert {kind: (one["rope_type"], one["rope_theta"], exact_to(one, 256)) for kind, one in found.items()} == {
        "full_attention": ("dynamic", 1e6, 256),
        "sliding_attention": ("default", 1e4, 256),
    }


def test_dynamic_beyond_its_context_is_another_function_in_transformers_too() -> None:
    """What is refused has a reason: a longer text turns its first tokens otherwise."""
    config = build.config(architecture(rope_scaling=KINDS["dynamic"]))
    short, long = (ROPE_INIT_FUNCTIONS["dynamic"](config, seq_len=length)[0] for length in (256, 257))
    assert not torch.equal(short, long)
    model = build.build(architecture(rope_scaling=KINDS["dynamic"]), seed=1)
    check_shapes(model, [64], 256, 512)
    with pytest.raises(Refusal, match="256 positions"):
        check_shapes(model, [64], 257, 512)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rope_type": "yarn", "factor": 2.0}, "yarn needs original_max_position_embeddings"),
        ({"rope_type": "linear", "factor": 2.0, "beta_fast": 1.0}, "linear has no beta_fast"),
        ({**LONG, "short_factor": [1.0]}, "a llama has no rotation of kind longrope"),
    ],
)
def test_a_rotation_that_cannot_be_built_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        build.build(architecture(rope_scaling=changes), seed=1)
