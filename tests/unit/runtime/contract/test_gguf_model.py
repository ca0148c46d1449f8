"""What a GGUF file means is said exactly, or it is refused: nothing of it is dropped."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import gguf, gguf_model, gguf_words
from runtime.contract.gguf_words import CUTS, Unsupported
from runtime.contract.vocabulary import differences, meaning
from tests import gguf_files as made


def model(tmp_path: Path, data: bytes) -> gguf_model.Model:
    (tmp_path / "it.gguf").write_bytes(data)
    return gguf_model.of(gguf.read(tmp_path / "it.gguf"))


def refused(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(Unsupported) as caught:
        model(tmp_path, data)
    assert caught.value.action
    return caught.value.message


def test_the_files_of_a_small_llama(tmp_path):
    found = model(tmp_path, made.small())
    config = found.documents["config.json"]
    assert {key: config[key] for key in (
        "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_parameters",
        "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")} == {
        "model_type": "llama", "vocab_size": 267, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
    words = found.documents["tokenizer_config.json"]
    assert (words["bos_token"], words["eos_token"], words["pad_token"]) == tuple(made.CONTROL[i] for i in (1, 2, 0))
    assert found.documents["generation_config.json"] == {"bos_token_id": 1, "pad_token_id": 0, "eos_token_id": 2}
    assert found.chat_template == made.TEMPLATE
    assert found.parameters == 267 * 32 + 32 + 2 * (2 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32)
    added = found.documents["tokenizer.json"]["added_tokens"]
    assert [(one["content"], one["special"]) for one in added] == [
        *((t, True) for t in made.CONTROL),
        ("<tool>", False),
    ]


def test_a_head_of_its_own_and_wider_heads(tmp_path):
    shapes = {**made.shapes(), "output.weight": (267, 32)}
    found = model(tmp_path, made.written(made.keys(), shapes))
    assert found.documents["config.json"]["tie_word_embeddings"] is False
    assert "lm_head.weight" in {weight.name for weight in found.weights}
    wide = {name: tuple(2 * n if n in (32, 16) and i == (1 if "output" in name else 0) else n for i, n in enumerate(shape))
            if "attn_" in name and "norm" not in name else shape for name, shape in made.shapes().items()}  # fmt: skip
    keys = made.keys(
        llama__attention__key_length=16, llama__attention__value_length=16, llama__rope__dimension_count=16
    )
    assert model(tmp_path, made.written(keys, wide)).documents["config.json"]["head_dim"] == 16


@pytest.mark.parametrize(("architecture", "turned"), [("llama", {4, 2, 0}), ("qwen2", {0}), ("qwen3", {0})])
def test_only_the_rows_of_a_llama_are_stored_in_pairs(architecture, turned, tmp_path):
    found = model(tmp_path, made.small(architecture))
    assert {weight.heads for weight in found.weights} == turned
    assert found.documents["config.json"]["architectures"] == [gguf_model.FAMILIES[architecture]]


def test_all_that_ends_an_answer_is_named(tmp_path):
    more = {"tokenizer.ggml.eot_token_id": 2, "tokenizer.ggml.eom_token_id": 0}
    found = model(tmp_path, made.written(made.keys() | more, made.shapes()))
    assert found.documents["generation_config.json"]["eos_token_id"] == [2, 0]


def test_what_a_file_asks_to_be_put_around_a_text(tmp_path):
    keys = made.keys(tokenizer__ggml__add_bos_token=True, tokenizer__ggml__add_eos_token=True)
    around = model(tmp_path, made.written(keys, made.shapes())).documents["tokenizer.json"]["post_processor"]
    assert [next(iter(part.values()))["id"] for part in around["single"]] == ["<|im_start|>", "A", "<|im_end|>"]
    assert around["special_tokens"]["<|im_end|>"]["ids"] == [2]
    plain = model(tmp_path, made.small()).documents["tokenizer.json"]
    assert plain["post_processor"] is None


def test_unused_ids_at_the_end_only_fill_the_embedding(tmp_path):
    tokens, types = [*made.TOKENS, "[PAD267]", "[PAD268]"], [*made.TYPES, 5, 5]
    keys = made.keys(tokenizer__ggml__tokens=tokens, tokenizer__ggml__token_type=types)
    found = model(tmp_path, made.written(keys, made.shapes(vocab=269)))
    assert found.documents["config.json"]["vocab_size"] == 269
    assert len(found.documents["tokenizer.json"]["model"]["vocab"]) == 267


def test_without_types_the_control_tokens_are_those_that_are_named(tmp_path):
    found = model(tmp_path, made.small(tokenizer__ggml__token_type=None))
    assert [one["id"] for one in found.documents["tokenizer.json"]["added_tokens"]] == [0, 1, 2]


@pytest.mark.parametrize("cut", CUTS)
def test_files_that_cut_alike_mean_the_same_and_others_do_not(cut, tmp_path):
    one, other = (
        meaning(model(tmp_path, made.small(tokenizer__ggml__pre=name)).documents["tokenizer.json"])
        for name in (cut, "smollm")
    )
    assert one is not None
    assert other is not None
    # words of Llama 3's vocabulary are not put together from pieces
    assert one.settings.get("ignore_merges", False) == (cut == "llama-bpe")
    assert (differences(one, other, ("a", "b")) == []) == (cut == "smollm")


def test_a_sentencepiece_tokenizer_puts_the_best_piece_together_first(tmp_path):
    words = model(tmp_path, made.pieced()).documents["tokenizer.json"]
    assert words["model"]["merges"] == [
        ["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["▁", "hello"], ["▁", "▁"],
    ]  # fmt: skip
    assert words["model"]["byte_fallback"] is True
    assert [one["content"] for one in words["added_tokens"]] == ["<unk>", "<s>", "</s>", "[INST]"]
    # llama.cpp begins every text with <s> and a space, unless a file says otherwise
    assert words["post_processor"]["special_tokens"]["<s>"]["ids"] == [1]
    assert words["normalizer"]["normalizers"][0] == {"type": "Prepend", "prepend": "▁"}
    plain = {"tokenizer__ggml__add_bos_token": False, "tokenizer__ggml__add_space_prefix": False}
    words = model(tmp_path, made.pieced(**plain)).documents["tokenizer.json"]
    assert words["post_processor"] is None
    assert len(words["normalizer"]["normalizers"]) == 1
    assert "Strip" not in {rule["type"] for rule in words["decoder"]["decoders"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokenizer__ggml__scores": None}, "271 pieces and 0 scores"),
        ({"tokenizer__ggml__scores": made.SCORES[:-1]}, "271 pieces and 270 scores"),
        ({"tokenizer__ggml__scores": [*made.SCORES[:-1], float("nan")]}, "a score that is no number"),
        ({"tokenizer__ggml__tokens": [*made.PIECES[:3], "x", *made.PIECES[4:]]}, "no piece for the byte <0x00>"),
        ({"tokenizer__ggml__tokens": [*made.PIECES[:269], "x" * 65, "[INST]"]}, "has 65 characters"),
        ({"tokenizer__ggml__add_bos_token": 1}, "add_bos_token is 1, neither true nor false"),
    ],
)
def test_a_sentencepiece_tokenizer_that_is_not_whole_is_refused(change, says, tmp_path):
    assert says in refused(tmp_path, made.pieced(**change))


def test_pieces_up_to_a_length_and_ways_up_to_a_number_are_read(tmp_path, monkeypatch):
    longest = [*made.PIECES[:269], "x" * 64, "[INST]"]
    assert model(tmp_path, made.pieced(tokenizer__ggml__tokens=longest)).documents["tokenizer.json"]
    monkeypatch.setattr(gguf_words, "_MOST_WAYS", 6)
    assert len(model(tmp_path, made.pieced()).documents["tokenizer.json"]["model"]["merges"]) == 6
    monkeypatch.setattr(gguf_words, "_MOST_WAYS", 5)
    assert "more than 5 ways" in refused(tmp_path, made.pieced())


def less(name: str) -> bytes:
    return made.written(made.keys(), {key: shape for key, shape in made.shapes().items() if key != name})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"general__architecture": "mamba"}, "the model is a `mamba`"),
        ({"general__architecture": None}, "does not say what it is"),
        ({"split__count": 3}, "one of several parts"),
        ({"llama__rope__scaling__type": "spiral"}, "scaled by `spiral`"),
        ({"llama__rope__scaling__type": 3}, "llama.rope.scaling.type is 3, no word"),
        ({"llama__rope__scaling__type": "yarn"}, "scaled by `yarn`, and it states no original context"),
        ({"llama__rope__scaling__type": "longrope"}, "its longrope lacks its original context or its numbers"),
        ({"llama__rope__scaling__alpha": 2.0}, "llama.rope.scaling.alpha is 2.0"),
        ({"llama__expert_count": 8}, "llama.expert_count is 8"),
        ({"llama__attention__sliding_window": 4096}, "sliding_window is 4096"),
        ({"llama__attention__head_count": None}, "does not state llama.attention.head_count"),
        ({"llama__attention__head_count": 0}, "head_count is 0, no count"),
        ({"llama__attention__head_count_kv": [2, 2]}, "head_count_kv is [2, 2], no count"),
        ({"llama__block_count": struct.pack("<IQ", 10, 2**40)}, "no count"),
        ({"llama__block_count": 2**31}, "states 2,147,483,648 layers and holds 20 tensors"),
        ({"llama__block_count": 21}, "states 21 layers and holds 20 tensors"),
        ({"llama__block_count": 20}, "tensor `blk.2.attn_norm.weight` is not in it"),
        ({"llama__block_count": 3}, "tensor `blk.2.attn_norm.weight` is not in it"),
        ({"llama__feed_forward_length": 65}, "is 32×64, and by its keys 32×65"),
        ({"llama__attention__layer_norm_rms_epsilon": float("nan")}, "is nan, no number above zero"),
        ({"llama__attention__layer_norm_rms_epsilon": 0.0}, "is 0.0, no number above zero"),
        ({"llama__rope__freq_base": "x"}, "is x, no number above zero"),
        ({"llama__rope__dimension_count": 4}, "rope.dimension_count is 4, and its heads are 8 wide"),
        ({"llama__vocab_size": 300}, "its embedding has 267 rows, for 300 tokens"),
        ({"tokenizer__ggml__model": "t5"}, "its tokenizer is of kind `t5`; read are `gpt2` (byte-level BPE) and `llama`"),
        ({"tokenizer__ggml__model": None}, "its tokenizer has no kind"),
        ({"tokenizer__ggml__pre": "default"}, "cuts text by rule `default`"),
        ({"tokenizer__ggml__pre": None}, "does not say how it cuts text"),
        ({"tokenizer__ggml__tokens": [*made.TOKENS, "more"]}, "268 tokens and 267 types"),
        ({"tokenizer__ggml__tokens": [*made.TOKENS, "more"], "tokenizer__ggml__token_type": [*made.TYPES, 1]},
         "its embedding has 267 rows, for 268 tokens"),
        ({"tokenizer__ggml__tokens": [*made.TOKENS[:-1], "a"]}, "token 'a' has two ids"),
        ({"tokenizer__ggml__tokens": [1, 2]}, "no list of tokens"),
        ({"tokenizer__ggml__token_type": [*made.TYPES[:-1], 7]}, "a token is of type 7"),
        ({"tokenizer__ggml__token_type": [*made.TYPES[:-1], 0]}, "a token is of type 0"),
        ({"tokenizer__ggml__bos_token_id": struct.pack("<Ii", 5, -1)}, "its bos token is -1, which is no id"),
        ({"tokenizer__ggml__merges": None}, "no list of merges"),
        ({"tokenizer__ggml__merges": ["h e", "q q"]}, "merge 1, 'q q', is not made of its tokens"),
        ({"tokenizer__ggml__merges": ["he"]}, "merge 0, 'he'"),
        ({"tokenizer__ggml__eos_token_id": 267}, "its eos token is 267, which is no id"),
        ({"tokenizer__chat_template": 5}, "its chat template is no text"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_refused(change: dict[str, Any], says, tmp_path):
    architecture = change.get("general__architecture", "llama") or "llama"
    keys = made.keys(**change) if architecture == "llama" else made.keys() | {"general.architecture": architecture}
    assert says in refused(tmp_path, made.written(keys, made.shapes()))


def test_no_tensor_is_dropped_and_none_is_made_up(tmp_path):
    more = {**made.shapes(), "rope_freqs.weight": (4,)}
    assert "tensor `rope_freqs.weight` has no place" in refused(tmp_path, made.written(made.keys(), more))
    assert "no embedding" in refused(tmp_path, less("token_embd.weight"))
    assert "tensor `output_norm.weight` is not in it" in refused(tmp_path, less("output_norm.weight"))
    turned = {**made.shapes(), "blk.0.ffn_up.weight": (32, 64)}
    assert "blk.0.ffn_up.weight` is 32×64, and by its keys 64×32" in refused(
        tmp_path, made.written(made.keys(), turned)
    )


def scaled(tmp_path: Path, numbers: list[float], **changes: Any) -> gguf_model.Model:
    shapes = {**made.shapes(), "rope_freqs.weight": (len(numbers),)}
    stored = {"rope_freqs.weight": struct.pack(f"<{len(numbers)}f", *numbers)}
    (tmp_path / "it.gguf").write_bytes(
        made.written(made.keys(llama__rope__freq_base=5e5, **changes), shapes, contents=stored)
    )
    return gguf_model.read(tmp_path / "it.gguf")


#: Llama 3.2's, for heads eight wide, by `_compute_llama3_parameters` of Transformers 5.23 (see tests/tensor/unpacking)
LLAMA3 = [1.0, 1.0, 3.2922628, 32.0]


def test_the_scaled_rotation_of_llama_3_is_known_by_its_numbers(tmp_path):
    found = scaled(tmp_path, LLAMA3)
    assert found.documents["config.json"]["rope_parameters"] == {
        "rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }  # fmt: skip
    assert not any("rope" in weight.name for weight in found.weights)


def test_numbers_that_change_nothing_and_numbers_that_are_too_many(tmp_path, monkeypatch):
    assert scaled(tmp_path, [1.0] * 4).documents["config.json"]["rope_parameters"]["factor"] == 1.0
    monkeypatch.setattr(gguf_model, "_MOST_FREQUENCIES", 4)
    assert scaled(tmp_path, LLAMA3, general__name="a").documents["config.json"]["rope_parameters"]["factor"] == 32.0
    monkeypatch.setattr(gguf_model, "_MOST_FREQUENCIES", 3)
    with pytest.raises(Unsupported, match="no short list of floats"):
        scaled(tmp_path, LLAMA3, general__name="another")


@pytest.mark.parametrize("numbers", [[1.0, 1.0, 3.3, 32.0], [1.0, 1.0, 3.2922628], [32.0] * 4, [float("nan")] * 4, [0.5] * 4,
                                     [float("inf")] * 4, [*LLAMA3, 32.0]])  # fmt: skip
def test_other_numbers_are_refused(numbers, tmp_path):
    with pytest.raises(Unsupported, match="not those of Llama"):
        scaled(tmp_path, numbers)


def test_numbers_that_are_no_floats_are_refused(tmp_path):
    shapes = {**made.shapes(), "rope_freqs.weight": (32,)}
    half = {"rope_freqs.weight": made.entry("rope_freqs.weight", (32,), 1, 0)}
    (tmp_path / "it.gguf").write_bytes(made.written(made.keys(), {"rope_freqs.weight": (32,), **shapes}, entries=half))
    with pytest.raises(Unsupported, match="no short list of floats"):
        gguf_model.read(tmp_path / "it.gguf")


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "it.gguf"
    path.write_bytes(made.small())
    assert gguf_model.read(path).documents["config.json"]["max_position_embeddings"] == 128
    path.write_bytes(made.small(llama__context_length=256, general__name="another"))
    assert gguf_model.read(path).documents["config.json"]["max_position_embeddings"] == 256
