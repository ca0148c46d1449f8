"""Small Transformers folders with a chat template of their own, for what generates."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from runtime.contract.architecture import Architecture
from runtime.models import build
from runtime.models.tokenizer import SPLIT

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "What is the capital of France? The capital of France is Paris.",
    '{"name": "set_alarm", "arguments": {"hour": 7, "minute": 30, "label": "school"}}',
    "tool.call <tool_call> [1, 2, 3.5e-7] true false null naïve café 日本語 😀 ünïcode",
    "Once upon a time there was a cat who could swim, and nobody knew. Yes! No? Maybe.",
]


def byte_level(vocab_size: int = 420) -> Backend:
    """Byte-level BPE with the control tokens of ChatML first."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in CONTROL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return backend


def spaced() -> Backend:
    """BPE as SentencePiece writes it: ▁ for a space, one before everything, bytes for what no piece spells."""
    pieces = ["<unk>", *CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    pieces += sorted(
        {character for text in TEXTS[:1] for character in text if character not in pieces and character != " "}
    )
    merges = [("▁", "c"), ("a", "p"), ("i", "t"), ("▁c", "ap")]
    pieces += ["".join(pair) for pair in merges]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Backend(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in CONTROL])
    return backend


def write_words(folder: Path, backend: Backend, template: str = CHATML) -> Path:
    """Tokenizer, template and generation config as Transformers saves them."""
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": {"__type": "AddedToken", "content": "<|im_end|>", "special": True},
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    ends = [backend.token_to_id("<|im_end|>"), backend.token_to_id("<|endoftext|>")]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}), encoding="utf-8")
    return folder


def llama(folder: Path, template: str = CHATML, seed: int = 5, context: int = 128) -> Path:
    """A Llama of two layers with weights large enough that its answers differ, and its tokenizer."""
    backend = byte_level()
    architecture = Architecture(
        family="llama",
        vocab_size=backend.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
    )
    model = build.build(architecture, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    folder.mkdir(parents=True, exist_ok=True)
    build.save(model, folder)
    return write_words(folder, backend, template)
