"""What a suite judges is what a person is shown: the runners of evaluations and the engine of `generate` and `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.contract.architecture import Architecture
from runtime.contract.conversation import Conversation
from runtime.generate import opening, words
from runtime.generate.engine import Ask, Engine
from runtime.models import build, runners
from tests.tensor.chat.test_chat_templates import ASK, FAMILIES, FOUR, PIECES, SAY, SIZE, SUM, SYSTEM, made

TALKS: list[list[dict[str, Any]]] = [
    [ASK],
    [SUM],
    [{"role": "user", "content": "  \u00fcn\u00ef \u2603\n\n```\n{{ x }}\n"}],
    [ASK, SAY, SUM],
    [SYSTEM, ASK],
    [SUM, FOUR, ASK],
]


@pytest.mark.parametrize("family", ["llama3", "mistral-v3", "qwen3", "smollm2"])
def test_a_suite_judges_the_text_that_is_shown(family: str, tmp_path: Path) -> None:
    tokenizer = made(tmp_path, family)
    architecture = Architecture(
        family="llama", vocab_size=SIZE, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=2048,
    )  # fmt: skip
    model = build.build(architecture, 11)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
        # some answers end by themselves
        model.get_output_embeddings().weight[list(tokenizer.stop_ids)] *= 1.5
    build.save(model, tmp_path)
    engine = opening.engine(opening.of_folder(tmp_path), "torch")
    runner = runners.checkpoint("student", tmp_path, tokenizer)
    assert set(tokenizer.stop_ids) == set(engine.words.stops)
    ended = 0
    for talk in TALKS:
        if family == "mistral-v3" and talk[0] is SYSTEM:
            continue
        asked = Conversation.of(talk)
        writing = engine.write(Ask(ids=engine.words.encode(talk), max_tokens=16))
        while not writing.finish:
            writing.advance()
        ended += writing.finish == "stop"
        assert engine.words.encode(talk) == tokenizer.encode_prompt(asked)
        assert [writing.text] == runner.generate([asked], 16)
    assert ended < len(TALKS)


class Scripted:
    """A model that writes these ids, and is a place of itself."""

    name, context = "scripted", 4096

    def __init__(self, ids: list[int]) -> None:
        self.width, self._ids = SIZE, ids

    def begin(self, ids: Any) -> tuple[Any, Any]:
        self._next = iter(self._ids)
        return self, self.step(0)

    def step(self, token: int) -> Any:
        logits_V = np.zeros(SIZE, np.float32)
        logits_V[next(self._next)] = 1.0
        return logits_V


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_as_it_was_learnt_is_shown_as_it_is_judged(family: str, tmp_path: Path) -> None:
    """A template may write more into a turn than was said: Qwen 3 an empty thought, Mistral a space."""
    tokenizer = made(tmp_path, family)
    known = words.load(tmp_path, tmp_path)
    asked = Conversation.of([ASK])
    for reply in ("  Hi\n\n", "\u2603 \u00fc"):
        pair = tokenizer.encode_pair(asked, reply)
        ids = list(pair.ids[pair.prompt_tokens :])
        engine = Engine(Scripted(ids), known)
        shown, told = "", list[bytes]()
        writing = engine.write(Ask(ids=known.encode([ASK]), max_tokens=60, top=0))
        while not writing.finish:
            piece = writing.advance()
            shown += piece.text
            told += [one.spelling for one in piece.chosen]
        if family not in PIECES:
            assert b"".join(told).decode() in (shown, shown + known.around[1])
        assert shown == writing.text == tokenizer.decode_response(tokenizer.until_stop(ids))
        assert writing.finish == "stop"
        # cut in the middle of what the template writes
        for most in range(1, len(ids)):
            writing = engine.write(Ask(ids=known.encode([ASK]), max_tokens=most))
            while not writing.finish:
                writing.advance()
            assert writing.text == tokenizer.decode_response(ids[:most])
