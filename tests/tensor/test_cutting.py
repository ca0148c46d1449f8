"""A cut leaves out and changes nothing else: what is kept is the teacher's own, and nothing is kept that was not asked."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from runtime.contract import Refusal
from runtime.contract.architecture import Architecture
from runtime.contract.cut import COUNTED, Choice, Parts, shape
from runtime.models import build, cutting

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rope_theta": 50000.0,
}  # fmt: skip
SPECIAL = {"pad": 0, "bos": 1, "eos": 2}
ROWS = [torch.randint(96, (length,), generator=torch.Generator().manual_seed(length)).tolist() for length in (9, 17)]


def architecture(family: str, **changes: Any) -> Architecture:
    return Architecture.model_validate({"family": family, "vocab_size": 96, **SIZES, **changes})


def teacher(family: str, **changes: Any):
    model = build.build(architecture(family, **changes), 3, SPECIAL, attention="sdpa")
    with torch.no_grad():
        # norms of ones are equal whatever is left out of them
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    return model


def quiet(_done: int) -> None:
    """Nobody watches."""


def cut(model, parts: Parts, **changes: Any):
    measured = cutting.measure(model, ROWS, quiet)
    kept = cutting.choose(parts, model.config, measured)
    left = shape(architecture(model.config.model_type, **changes).model_dump(), parts)
    return cutting.cut(model, Architecture.model_validate(left), kept, SPECIAL), kept, measured


@pytest.mark.parametrize(
    ("family", "tied"), [("llama", True), ("llama", False), ("qwen3", True), ("phi", False), ("phi3", False)]
)
def test_to_keep_everything_is_the_same_model(family, tied):
    model = teacher(family, tie_word_embeddings=tied)
    made, _, _ = cut(model, Parts(), tie_word_embeddings=tied)
    ids = torch.tensor([ROWS[0]])
    assert torch.equal(made(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_layer_that_adds_nothing_is_the_one_without_importance_and_is_not_missed(family):
    model = teacher(family)
    with torch.no_grad():
        for name, parameter in model.model.layers[2].named_parameters():
            if name.startswith(("self_attn.o_proj", "mlp.down_proj")):
                parameter.zero_()
    made, kept, measured = cut(model, Parts(layers=Choice(by="importance", count=5)))
    assert kept.layers == [0, 1, 3, 4, 5]
    assert abs(float(measured.mean("layers")[2])) < 1e-12
    assert min(float(value) for i, value in enumerate(measured.mean("layers")) if i != 2) > 1e-6
    ids = torch.tensor([ROWS[0]])
    assert torch.allclose(made(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "part"),
    [
        ("llama", "heads"),
        ("qwen3", "heads"),
        ("llama", "neurons"),
        ("phi", "neurons"),
        ("phi3", "neurons"),
    ],
)
def test_heads_and_neurons_that_say_nothing_are_found_in_each_layer_and_not_missed(family, part):
    model = teacher(family)
    group = 2 * (SIZES["hidden_size"] // SIZES["num_attention_heads"])
    with torch.no_grad():
        for i, layer in enumerate(model.model.layers):
            if part == "heads":
                # the values of one key/value head, another one in each layer
                d = group // 2
                layer.self_attn.v_proj.weight[(i % 2) * d : (i % 2 + 1) * d] = 0
            else:
                names = {"phi": "fc1", "phi3": "gate_up_proj"}
                first = getattr(layer.mlp, names.get(family, "up_proj"))
                first.weight[48 + i if family == "phi3" else i] = 0
                if family == "phi":
                    first.bias[i] = 0
    count = {"heads": 1, "neurons": 47}[part]
    made, kept, _ = cut(model, Parts(**{part: Choice(by="importance", count=count)}))
    for i in range(6):
        gone = set(range({"heads": 2, "neurons": 48}[part])) - set(getattr(kept, part)[i])
        assert gone == {i % 2 if part == "heads" else i}
    ids = torch.tensor([ROWS[1]])
    assert torch.allclose(made(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-5)


def test_channels_are_those_that_are_large_after_the_norms():
    model = teacher("llama")
    small = [3, 11, 30]
    with torch.no_grad():
        for layer in model.model.layers:
            layer.input_layernorm.weight[small] *= 1e-3
            layer.post_attention_layernorm.weight[small] *= 1e-3
    made, kept, _ = cut(model, Parts(channels=Choice(by="importance", count=28)))
    assert len(kept.channels) == 28
    assert not set(small) & set(kept.channels)
    assert made.config.hidden_size == 28
    assert made.config.head_dim == 8
    assert torch.equal(made.model.norm.weight, model.model.norm.weight[kept.channels])
    assert bool(torch.isfinite(made(input_ids=torch.tensor([ROWS[0]])).logits).all())


NEURONS = [3, 5, 8, 13, 21, 34, 40, 47]


def test_joined_projections_are_cut_in_each_of_their_parts():
    """A Phi-3 has its queries, keys and values in one matrix, and gate and up in another."""
    model, channels = teacher("phi3"), list(range(0, 32, 2))
    parts = Parts(
        heads=Choice(by="list", ids=[1]),
        neurons=Choice(by="list", ids=NEURONS),
        channels=Choice(by="list", ids=channels),
    )
    made, _, _ = cut(model, parts)
    for old, new in zip(model.model.layers, made.model.layers, strict=True):
        rows = [*range(16, 32), *range(32 + 8, 32 + 16), *range(48 + 8, 48 + 16)]
        assert torch.equal(new.self_attn.qkv_proj.weight, old.self_attn.qkv_proj.weight[rows][:, channels])
        assert torch.equal(
            new.mlp.gate_up_proj.weight,
            old.mlp.gate_up_proj.weight[[*NEURONS, *(48 + i for i in NEURONS)]][:, channels],
        )
        assert torch.equal(new.mlp.down_proj.weight, old.mlp.down_proj.weight[channels][:, NEURONS])


def test_every_kept_tensor_is_the_originals_own():
    """By hand for each kind of tensor: layers 0, 2, 5, head 1, neurons and channels of a list."""
    model = teacher("llama", tie_word_embeddings=False)
    neurons, channels = list(range(0, 48, 3)), list(range(0, 32, 2))
    parts = Parts(
        layers=Choice(by="list", ids=[0, 2, 5]), heads=Choice(by="list", ids=[1]),
        neurons=Choice(by="list", ids=neurons), channels=Choice(by="list", ids=channels),
    )  # fmt: skip
    made, kept, _ = cut(model, parts, tie_word_embeddings=False)
    old, new = model.state_dict(), made.state_dict()
    for here, there in enumerate([0, 2, 5]):
        a, b = f"model.layers.{there}.", f"model.layers.{here}."
        q, kv = slice(16, 32), slice(8, 16)
        assert torch.equal(new[b + "self_attn.q_proj.weight"], old[a + "self_attn.q_proj.weight"][q][:, channels])
        assert torch.equal(new[b + "self_attn.k_proj.weight"], old[a + "self_attn.k_proj.weight"][kv][:, channels])
        assert torch.equal(new[b + "self_attn.v_proj.weight"], old[a + "self_attn.v_proj.weight"][kv][:, channels])
        assert torch.equal(new[b + "self_attn.o_proj.weight"], old[a + "self_attn.o_proj.weight"][channels][:, q])
        assert torch.equal(new[b + "mlp.up_proj.weight"], old[a + "mlp.up_proj.weight"][neurons][:, channels])
        assert torch.equal(new[b + "mlp.down_proj.weight"], old[a + "mlp.down_proj.weight"][channels][:, neurons])
        assert torch.equal(new[b + "input_layernorm.weight"], old[a + "input_layernorm.weight"][channels])
    assert torch.equal(new["model.embed_tokens.weight"], old["model.embed_tokens.weight"][:, channels])
    assert torch.equal(new["lm_head.weight"], old["lm_head.weight"][:, channels])
    same, count = cutting.equal(made, cutting.pieces(model, kept))
    assert same == count == len(new)
    with torch.no_grad():
        made.model.layers[1].mlp.up_proj.weight[0, 0] += 1
    assert cutting.equal(made, cutting.pieces(model, kept)) == (count - 1, count)


@pytest.mark.parametrize(("key", "value"), [("rope_theta", 10000.0), ("rms_norm_eps", 1e-6)])
def test_a_student_of_another_arithmetic_is_refused(key, value):
    model = teacher("llama")
    kept = cutting.choose(Parts(), model.config, cutting.measure(model, ROWS, quiet))
    with pytest.raises(Refusal, match="the model that is cut has"):
        cutting.cut(model, architecture("llama", **{key: value}), kept, SPECIAL)


def test_an_arithmetic_that_no_spec_states_is_not_advised_to_be_written_out():
    model = teacher("llama")
    kept = cutting.choose(Parts(), model.config, cutting.measure(model, ROWS, quiet))
    model.config.attention_bias = True
    with pytest.raises(Refusal) as caught:
        cutting.cut(model, architecture("llama"), kept, SPECIAL)
    assert "attention_bias = True" in caught.value.message
    assert caught.value.action == "take weights with another attention_bias: student.architecture has no word for it"


def test_sizes_that_the_cut_does_not_leave_are_refused():
    model = teacher("llama")
    kept = cutting.choose(Parts(), model.config, cutting.measure(model, ROWS, quiet))
    with pytest.raises(Refusal, match="does not fill the student"):
        cutting.cut(model, architecture("llama", num_hidden_layers=5), kept, SPECIAL)
    measured = cutting.measure(model, ROWS, quiet)
    with pytest.raises(Refusal, match="layers does not fit"):
        cutting.choose(Parts(layers=Choice(by="even", count=7)), model.config, measured)


def test_importance_does_not_depend_on_the_order_of_rows():
    model = teacher("llama")
    one, other = (cutting.measure(model, rows, quiet) for rows in (ROWS, ROWS[::-1]))
    assert one.tokens == other.tokens == sum(map(len, ROWS))
    for part in COUNTED:
        assert torch.allclose(one.mean(part), other.mean(part), rtol=1e-12)


@pytest.mark.parametrize("there", range(1, 13))
def test_even_ids_are_distinct_ascending_and_hold_both_ends(there):
    for count in range(1, there + 1):
        ids = Choice(by="even", count=count).fixed(there)
        assert len(ids) == count
        assert all(a < b for a, b in itertools.pairwise(ids))
        assert ids[0] == 0
        assert ids[-1] == there - 1 or count == 1
        gaps = [b - a for a, b in itertools.pairwise(ids)]
        assert not gaps or max(gaps) - min(gaps) <= 1
        ends = Choice(by="first_last", count=count).fixed(there)
        assert sorted(set(ends)) == ends
        assert len(ends) == count
