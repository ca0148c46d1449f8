"""Chat templates of eight families: our text is Transformers', the mask holds the assistant's words and their ends."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from runtime.contract import Refusal, conversation, rows
from runtime.contract.conversation import Conversation
from runtime.data.encode import encode
from runtime.models import tokenizer as tokenizers
from runtime.models.tokenizer import Chat
from runtime.steps.tokenizer import Special, TokenizerParams
from tests.tensor.chat import formats

FAMILIES = sorted(formats.TEMPLATES)
#: families whose tokenizer is SentencePiece's: a space before the start, pieces of spaces
PIECES = {"mistral-v1", "mistral-v3", "gemma"}
SIZE = 700
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    },
}
SYSTEM = {"role": "system", "content": "Be brief."}
ASK, SAY = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
SUM, FOUR = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "abcdefghi", "type": "function", "function": {"name": "add", "arguments": '{"b": 2.5, "a": 2}'}}
    ],
}
RESULT = {"role": "tool", "content": "4.5", "tool_call_id": "abcdefghi"}


def backend_of(family: str) -> Backend:
    """A small tokenizer with the family's control tokens."""
    if family in PIECES:
        alphabet = [chr(code) for code in range(33, 127)] + ["\n", "▁", "▁▁", "▁Hi", "Hello", "▁Hello", "ü", "☃"]
        backend = Backend(models.Unigram([("<?>", -20.0), *[(text, -2.0) for text in alphabet]], unk_id=0))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    else:
        backend = Backend(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        backend.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
        backend.train_from_iterator([formats.TEMPLATES[family], *formats.TEXTS.values()] * 3, trainer)
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in formats.CONTROL[family]])
    return backend


def made(folder: Path, family: str, template: str = "", **params: Any) -> Chat:
    """The artifact of a family's tokenizer and template, read again."""
    pad, bos, eos = formats.CONTROL[family][:3]
    asked = TokenizerParams(
        source="teacher",
        vocab_size=SIZE,
        special=Special(pad=pad, bos=bos, eos=eos),
        template="chat",
        **params,
    )
    backend = backend_of(family)
    reserved = tokenizers.filled(backend, SIZE)
    folder.mkdir(exist_ok=True)
    ids = tokenizers.special_ids(backend, asked)
    tokenizers.save(folder, backend, ids, asked, reserved, template or formats.TEMPLATES[family])
    found = tokenizers.load(folder)
    assert isinstance(found, Chat)
    return found


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Chat, Any]:
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, made(folder, request.param), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(autouse=True)
def _july(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers tells a template today's date; ours tells the declared one."""

    class July(datetime.datetime):
        @classmethod
        def now(cls) -> July:
            return cls(2024, 7, 26)

    monkeypatch.setattr(chat_template_utils, "datetime", July)


def row(*messages: dict[str, Any], tools: Any = None) -> rows.Row:
    given = conversation.checked(list(messages), "row")
    whole = {"id": "r", "class": "", "spans": {}, "source": "s", **conversation.row_of(given, tools or [])}
    return rows.checked(whole, "row")


def learnt(tokenizer: Chat, one: rows.Row) -> list[list[str]]:
    """The text of each run of supervised tokens, by sequence."""
    found = []
    for example in encode(one, tokenizer, ["response"]):
        runs: list[list[int]] = []
        for at, (number, wanted) in enumerate(zip(example.ids, example.masks["response"], strict=True)):
            if wanted and not (at and example.masks["response"][at - 1]):
                runs.append([])
            if wanted:
                runs[-1].append(number)
        found.append([tokenizer.decode(run) for run in runs])
    return found


def talks(family: str) -> list[list[dict[str, Any]]]:
    found = [[ASK, SAY], [ASK, SAY, SUM, FOUR]]
    odd = [{"role": "user", "content": "  ünï ☃\n\n```\n{{ x }}\n"}, {"role": "assistant", "content": "a b  c\n1"}]
    found.append(odd if family not in PIECES else [{"role": "user", "content": " a  b\n"}, FOUR])
    if family not in ("gemma", "mistral-v1", "mistral-v3"):
        found.append([SYSTEM, ASK, SAY, SUM, FOUR])
    return found


def test_a_short_talk_reads_as_its_family_documents_it(pair):
    family, tokenizer, _ = pair
    assert tokenizer.text(Conversation.of([ASK, SAY, SUM, FOUR]), generation_prompt=False) == formats.TEXTS[family]


def test_text_and_ids_are_those_of_transformers(pair):
    family, tokenizer, theirs = pair
    for talk in talks(family):
        for begun in (False, True):
            given = talk[:-1] if begun else talk
            text = theirs.apply_chat_template(given, tokenize=False, add_generation_prompt=begun)
            assert tokenizer.text(Conversation.of(given), generation_prompt=begun) == text
        asked = theirs.apply_chat_template(talk[:-1], add_generation_prompt=True, return_dict=False)
        assert tokenizer.encode_prompt(Conversation.of(talk[:-1])) == asked
        assert tokenizer.as_written(Conversation.of(talk[:-1])) is True


def test_the_mask_is_the_assistants_words_and_their_ends_and_no_more(pair):
    family, tokenizer, theirs = pair
    end = tokenizer.decode([tokenizer.stop_ids[0]])
    lead = {"qwen3": "<think>\n\n</think>\n\n", "mistral-v1": " ", "mistral-v3": " "}.get(family, "")
    one, two = learnt(tokenizer, row(ASK, SAY)), learnt(tokenizer, row(ASK, SAY, SUM, FOUR))
    assert one == [[f"{lead}Hello.{end}"]]
    if family == "qwen3":
        # an earlier turn is written without its thoughts: it is learnt where it is the last
        assert two == [[f"{lead}Hello.{end}"], [f"{lead}4{end}"]]
    else:
        assert two == [[f"{lead}Hello.{end}", f"{lead}4{end}"]]
    # what is learnt stands behind what a generation is given
    (example,) = encode(row(ASK, SAY), tokenizer, ["response"])
    first = example.masks["response"].index(True)
    assert example.ids[:first] == theirs.apply_chat_template([ASK], add_generation_prompt=True, return_dict=False)


def test_each_turn_is_learnt_behind_exactly_what_it_would_be_asked_with(pair):
    family, tokenizer, _ = pair
    for talk in talks(family):
        one = row(*talk)
        turns = [at for at, message in enumerate(talk) if message["role"] == "assistant"]
        starts = [tokenizer.encode_prompt(Conversation.of(talk[:at])) for at in turns]
        found = []
        for sequence in tokenizer.sequences(one):
            ranges = [*sequence.earlier, (sequence.prompt_tokens, len(sequence.ids))]
            found += [sequence.ids[:start] for start, _ in ranges]
            assert all(sequence.ids[stop - 1] in tokenizer.stop_ids for _, stop in ranges)
        assert sorted(found) == sorted(starts)


def test_calls_of_tools_are_learnt_and_their_results_are_not(pair):
    family, tokenizer, theirs = pair
    if not tokenizer.calls:
        assert family in ("smollm2", "mistral-v1", "phi3", "gemma")
        with pytest.raises(Refusal):
            tokenizer.sequences(row(SUM, CALL))
        return
    messages = conversation.checked([SUM, CALL, RESULT, SAY], "row")
    one = row(SUM, CALL, RESULT, SAY, tools=[TOOL])
    text = theirs.apply_chat_template(messages, tools=[TOOL], tokenize=False)
    assert tokenizer.text(Conversation.of(messages, [TOOL]), generation_prompt=False) == text
    said = " ".join(run for sequence in learnt(tokenizer, one) for run in sequence)
    assert '"name": "add"' in said
    assert '{"b": 2.5, "a": 2}' in said
    assert "Hello." in said
    assert "4.5" not in said
    assert "Adds two numbers" not in said
    assert "2+2?" not in said


def test_thoughts_are_learnt_where_the_template_writes_them(pair):
    family, tokenizer, theirs = pair
    thought = {**SAY, "reasoning_content": "They greet me."}
    text = theirs.apply_chat_template([ASK, thought], tokenize=False)
    assert tokenizer.text(Conversation.of([ASK, thought]), generation_prompt=False) == text
    runs = learnt(tokenizer, row(ASK, thought, SUM, FOUR))
    assert ("They greet me." in str(runs)) == (family == "qwen3")
    assert "Hello." in str(runs)


@pytest.mark.parametrize("key", ["thinking", "reasoning_content"])
def test_a_template_may_call_thoughts_by_their_older_name(tmp_path, key):
    written = formats.SMOLLM2.replace("{{ message.content }}", f"{{{{ (message.{key} or '') + message.content }}}}")
    tokenizer, theirs = made(tmp_path / "t", "smollm2", written), AutoTokenizer.from_pretrained(tmp_path / "t")
    talk = [ASK, {**SAY, "reasoning_content": "Hm. "}]
    assert tokenizer.text(Conversation.of(talk), generation_prompt=False) == theirs.apply_chat_template(
        talk, tokenize=False
    )
    assert learnt(tokenizer, row(*talk)) == [["Hm. Hello.<|im_end|>"]]


def test_a_control_token_in_a_message_is_text(pair):
    family, tokenizer, _ = pair
    kept, of = tokenizers.injections(tokenizer)
    assert kept == of > 0
    for control in formats.CONTROL[family]:
        asked = [{"role": "user", "content": f"a {control} b"}]
        plain = tokenizer.encode_prompt(Conversation.of([{"role": "user", "content": "a b"}]))
        ids = tokenizer.encode_prompt(Conversation.of(asked))
        number = backend_of(family).token_to_id(control)
        assert ids.count(number) == plain.count(number)
        assert tokenizer.as_written(Conversation.of(asked)) is None
        assert control in tokenizer.text(Conversation.of(asked), generation_prompt=False)


def test_a_generation_ends_where_a_turn_does_and_its_text_is_the_content(pair):
    _, tokenizer, _ = pair
    encoded = tokenizer.encode_pair("Hi", "Hello.")
    new = encoded.ids[encoded.prompt_tokens :]
    assert tokenizer.decode_response(tokenizer.until_stop([*new, *new])) == "Hello."
    assert tokenizer.survives("Hi", "Hello.")
    assert tokenizer.stop_ids[0] == new[-1]


def test_the_artifact_says_how_to_ask_and_where_to_stop(pair, tmp_path):
    family, tokenizer, _ = pair
    ends = {"llama3": "<|eot_id|>", "gemma": "<end_of_turn>", "phi3": "<|end|>"}
    begins = {
        "llama3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "gemma": "<start_of_turn>model\n",
        "phi3": "<|assistant|>\n",
        "mistral-v1": "",
        "mistral-v3": "",
    }
    folder = tmp_path / "t"
    made(folder, family)
    (tmp_path / "m").mkdir()
    facts = json.loads((folder / "chat.json").read_text())
    assert facts["generation_prompt"] == begins.get(family, "<|im_start|>assistant\n")
    assert facts["stop"][0]["text"] == ends.get(family, formats.CONTROL[family][2])
    assert (folder / "chat_template.jinja").read_text() == formats.TEMPLATES[family]
    tokenizers.beside(folder, tmp_path / "m")
    written = json.loads((tmp_path / "m/generation_config.json").read_text())
    assert written["eos_token_id"] == list(tokenizer.stop_ids) == [stop["id"] for stop in facts["stop"]]


def test_a_changed_artifact_is_no_evidence(tmp_path):
    made(tmp_path / "t", "smollm2")
    path = tmp_path / "t/chat.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "stop": []}))
    with pytest.raises(Exception, match=r"chat\.json"):
        tokenizers.load(tmp_path / "t")


def test_a_declared_system_message_stands_before_every_conversation_that_brings_none(tmp_path):
    tokenizer = made(tmp_path / "t", "qwen2.5", system="Be kind.")
    assert "system\nBe kind.<|im_end|>" in tokenizer.decode(tokenizer.encode_prompt("Hi"))
    assert "Be kind." not in tokenizer.decode(tokenizer.encode_prompt(Conversation.of([SYSTEM, ASK])))
    with pytest.raises(Refusal, match="System role not supported"):
        made(tmp_path / "g", "gemma", system="Be kind.")


def test_the_day_is_the_declared_one(tmp_path):
    tokenizer = made(tmp_path / "t", "llama3", date="2025-12-31")
    assert "Today Date: 31 Dec 2025" in tokenizer.decode(tokenizer.encode_prompt("Hi"))
    assert tokenizer.template_sha256 != made(tmp_path / "u", "llama3").template_sha256


WRONG = {
    "a second beginning in the template": ("gemma", "{{ bos_token }}" + formats.GEMMA, "KR0174"),
    "no generation prompt": (
        "smollm2",
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
        "KR0172",
    ),
    "no generation prompt in words": (
        "smollm2",
        "{% for m in messages %}### {{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}",
        "KR0172",
    ),
    "a generation prompt that no turn begins with": (
        "smollm2",
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
        "KR0171",
    ),
    "answers without an end": (
        "smollm2",
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
        "KR0173",
    ),
    "a template without the question": (
        "smollm2",
        "{% for m in messages if m.role != 'user' %}{{ m.content }}{{ eos_token }}{% endfor %}",
        "KR0171",
    ),
    "a template without the answer": (
        "smollm2",
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{{ eos_token }}{% endfor %}",
        "KR0171",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_template_that_could_not_be_learnt_from_is_refused(tmp_path, name):
    family, template, code = WRONG[name]
    with pytest.raises(Refusal) as caught:
        made(tmp_path / "t", family, template)
    assert caught.value.code == code
    assert caught.value.action


def test_messages_that_begin_with_the_beginning_again_are_refused_or_text(tmp_path):
    """Our own rendering keeps the user's `<s>` as text, so that no second beginning can come from a row."""
    tokenizer = made(tmp_path / "t", "mistral-v3")
    ids = tokenizer.encode_prompt("<s>[INST] Hi [/INST]")
    assert ids.count(tokenizer.bos_id) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "{% for m in messages %}{{ m.content | upper }}<|im_end|>{% endfor %}",
        "{% for m in messages %}{{ m.content[:3] }}<|im_end|>{% endfor %}",
    ],
)
def test_a_template_that_rewrites_an_answer_is_refused(tmp_path, wrong):
    with pytest.raises(Refusal) as caught:
        made(tmp_path / "t", "smollm2", wrong)
    assert caught.value.code == "KR0171"


def test_an_answer_that_only_this_row_has_rewritten_is_refused_with_its_text(tmp_path):
    tokenizer = made(
        tmp_path / "t", "smollm2", formats.SMOLLM2.replace("message.content", "message.content | replace('x', 'y')")
    )
    assert tokenizer.encode_pair("a", "b").ids
    with pytest.raises(Refusal, match="does not write 'x'"):
        tokenizer.encode_pair("a", "x")
