"""The folders of tokenizer and student, opened by Transformers itself, give the ids of our own runner."""

import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from runtime.contract import Refusal
from runtime.contract.architecture import Architecture
from runtime.models import build, tokenizer
from runtime.models.runners import HFRunner
from runtime.steps.tokenizer import TokenizerParams

TEMPLATES = [
    "{prompt}\n{response}",
    "Q: {prompt}\nA: {response}",
    'user\n{prompt}<|eos|>\nassistant: "it\'s" {response}',
    "{prompt}{response}",
]
PROMPTS = ["Hi", "two words?", 'a "quote" and \\ and {{ braces }}', "ünïcode ☃ 12"]


def made(folder, template, special=None):
    params = TokenizerParams(source="train", vocab_size=400, template=template, **(special or {}))
    backend = tokenizer.trained([*PROMPTS, template], params)
    reserved = tokenizer.filled(backend, params.vocab_size)
    folder.mkdir()
    tokenizer.save(folder, backend, tokenizer.special_ids(backend, params), params, reserved)
    return tokenizer.load(folder)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_chat_template_gives_the_ids_of_our_runner(tmp_path, template):
    ours = made(tmp_path / "t", template)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "t")
    for prompt in PROMPTS:
        asked = [{"role": "user", "content": prompt}]
        assert theirs.apply_chat_template(asked, return_dict=False) == ours.encode_prompt(prompt)
        assert theirs.apply_chat_template(asked, add_generation_prompt=True, return_dict=False) == ours.encode_prompt(
            prompt
        )
        whole = [*asked, {"role": "assistant", "content": "Yes, 1."}]
        assert theirs.apply_chat_template(whole, return_dict=False) == ours.encode_pair(prompt, "Yes, 1.").ids
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (ours.bos_id, ours.eos_id, ours.pad_id)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "a"}],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": "a"}] * 3,
    ],
)
def test_a_chat_that_was_never_trained_is_refused(tmp_path, messages):
    made(tmp_path / "t", TEMPLATES[0])
    with pytest.raises(Exception, match="one question"):
        AutoTokenizer.from_pretrained(tmp_path / "t").apply_chat_template(messages)


def test_a_students_folder_opens_and_answers_as_our_runner_does(tmp_path):
    ours = made(tmp_path / "t", TEMPLATES[0])
    shape = Architecture(
        family="llama",
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        vocab_size=400,
    )
    model = build.build(shape, 3, {"pad": ours.pad_id, "bos": ours.bos_id, "eos": ours.eos_id})
    (tmp_path / "m").mkdir()
    build.save(model, tmp_path / "m")
    tokenizer.beside(tmp_path / "t", tmp_path / "m")
    words, loaded = AutoTokenizer.from_pretrained(tmp_path / "m"), AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    stated = GenerationConfig.from_pretrained(tmp_path / "m")
    assert (stated.eos_token_id, stated.pad_token_id, stated.bos_token_id) == (ours.eos_id, ours.pad_id, ours.bos_id)
    asked = words.apply_chat_template([{"role": "user", "content": "Hi"}], return_tensors="pt", return_dict=True)
    answer = loaded.generate(**asked, max_new_tokens=8)[0, asked["input_ids"].shape[1] :].tolist()
    end = answer.index(ours.eos_id) if ours.eos_id in answer else len(answer)
    assert [ours.decode_response(answer[:end])] == HFRunner("student", build.load(tmp_path / "m"), ours).generate(
        ["Hi"], 8
    )


def test_a_tokenizer_that_is_trained_here_shares_no_control_token(tmp_path):
    with pytest.raises(Refusal, match="different"):
        made(tmp_path / "t", TEMPLATES[0], {"special": {"pad": "<|eos|>"}})


def test_padding_with_the_end_keeps_the_true_end(tmp_path):
    """pad = eos, as many folders have it: what is supervised and compared goes by length, so that it is the same."""
    from runtime.data.encode import encode
    from runtime.train.batches import Corpus

    ours = made(tmp_path / "t", TEMPLATES[0])
    contract = json.loads((tmp_path / "t/contract.json").read_text())
    contract["special"]["pad"] = contract["special"]["eos"]
    (tmp_path / "t/contract.json").write_text(json.dumps(contract))
    shared = tokenizer.load(tmp_path / "t")
    assert shared.pad_id == shared.eos_id
    rows = [{"id": str(i), "prompt": p, "response": "ok" * (i + 1), "spans": {}} for i, p in enumerate(PROMPTS)]
    found = []
    for words in (ours, shared):
        corpus = Corpus(
            [row["id"] for row in rows], [encode(row, words, ["response"])[0] for row in rows], 64, words.pad_id
        )
        batch = corpus.batch(range(len(rows)))
        found.append((batch.target_N.tolist(), {k: v.tolist() for k, v in batch.masks_N.items()}))
        assert batch.target_N.tolist().count(words.eos_id) == len(rows)
    assert found[0] == found[1]
