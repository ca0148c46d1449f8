"""A tokenizer over fewer ids cuts what it was chosen for as before, and still writes every text."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend

from runtime.contract import Refusal, rows
from runtime.models.tokenizer import Plain, Tokenizer, reducing
from tests.tensor.train.world import dataset, row

CONTROL = ["<pad>", "<s>", "<end>", "<tool>"]
TEMPLATE = "{prompt}\n{response}"
TEXTS = [
    "the lamp in the kitchen turns on and off when the cat is asleep, and again",
    "music is louder than the door that opens for the dog and closes behind it",
    *(f"{row(i)['prompt']}\n{row(i)['response']}" for i in range(40)),
    "Ünïcödé wörds ☃☃ and numbers 1234567890 in sentences that nobody asks about",
]


def made(size: int = 460, **model: bool) -> Backend:
    """A byte-level BPE with control tokens, one that is no control token, and a post-processor that adds ids."""
    backend = Backend(models.BPE(**model))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True) for text in CONTROL]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    backend.add_tokens([AddedToken("tool.call", special=False)])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A <end>", special_tokens=[("<s>", 1), ("<end>", 2)]
    )
    return backend


def words_of(backend: Backend) -> Tokenizer:
    return Plain(backend, {"pad": 0, "bos": 1, "eos": 2}, TEMPLATE, backend.get_vocab_size(with_added_tokens=True))


@pytest.fixture(scope="module")
def reduction(tmp_path_factory):
    data = dataset(tmp_path_factory.mktemp("reducing") / "data", 30)
    unseen = {**row(99), "prompt": "the cat is asleep behind the kitchen ☃"}
    (data / "test.jsonl").write_text("".join(rows.written([unseen], "test.jsonl")), encoding="utf-8")
    backend = made()
    # few texts: the control of what may be merged is only sharp where much is gone
    return reducing.reduced(words_of(backend), backend, data, 360), data


def test_training_rows_have_the_tokens_they_had(reduction):
    found, data = reduction
    small = words_of(found.backend)
    for one in rows.load(data / "train.jsonl"):
        before = found.whole.encode_pair(one["prompt"], one["response"])
        after = small.encode_pair(one["prompt"], one["response"])
        assert [found.kept[number] for number in after.ids] == before.ids
        assert after.offsets == before.offsets
    assert found.kept == sorted(set(found.kept))
    assert found.backend.get_vocab_size(with_added_tokens=True) == len(found.kept) == 360


def test_the_audit_counts_what_is_lost(reduction):
    found, data = reduction
    audit = found.audit(words_of(found.backend), data)
    (unseen,) = rows.load(data / "test.jsonl")
    ids = found.whole.encode_pair(unseen["prompt"], unseen["response"]).ids
    lost = Counter(number for number in ids if number not in found.kept)
    assert lost
    assert (audit["lost"]["test"]["k"], audit["lost"]["test"]["n"]) == (sum(lost.values()), len(ids))
    assert (audit["lost"]["train"]["k"], audit["same_ids"]["train"]["value"], audit["same_ids"]["test"]["k"]) == (
        0, 1.0, 0,
    )  # fmt: skip
    for part, count in (("bytes_kept", 256), ("control_kept", 5)):
        assert (audit[part]["k"], audit[part]["n"]) == (count, count)
    assert audit["parts_kept"]["value"] == 1.0
    assert {one["id"]: one["count"]["value"] for one in audit["lost_tokens"]} == {str(i): n for i, n in lost.items()}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_every_text_is_still_written(reduction, text):
    found, _ = reduction
    small = words_of(found.backend)
    assert small.decode(small.encode_text(text)) == found.whole.decode(found.whole.encode_text(text)) == text


def test_what_is_put_around_a_text_has_the_new_ids(reduction):
    found, _ = reduction
    again = Backend.from_str(found.backend.to_str())
    ids = again.encode("the").ids
    assert [again.id_to_token(number) for number in (ids[0], ids[-1])] == ["<s>", "<end>"]
    assert again.token_to_id("tool.call") == found.kept.index(found.whole.vocab_size - 1)


def test_a_size_that_holds_too_little_or_too_much_is_refused_with_the_number_that_works(reduction):
    _, data = reduction
    backend = made()
    for size in (270, 900):
        with pytest.raises(Refusal) as refused:
            reducing.reduced(words_of(backend), backend, data, size)
        assert refused.value.code == "KR0150"
        least = int("".join(filter(str.isdigit, refused.value.action.partition(",")[0])))
        assert len(reducing.reduced(words_of(backend), backend, data, least).kept) == least


def test_without_a_part_the_audit_says_so(reduction):
    """The negative control: a kept token whose parts are gone, a byte and a control token that are gone."""
    found, data = reduction
    whole = json.loads(found.backend.to_str())
    vocabulary = {number: text for text, number in whole["model"]["vocab"].items()}
    longest = max(vocabulary, key=lambda number: len(vocabulary[number]))
    parts = reducing._makers(found._bpe)[vocabulary[longest]][0]
    gone = {found._bpe.ids[parts[0]], found._bpe.ids["!"], 3}
    damaged = reducing.Reduction(
        found.backend,
        [0 if number in gone else number for number in found.kept],
        found.whole,
        found._bpe,
        0,
        found._seen,
    )
    audit = damaged.audit(words_of(found.backend), data)
    assert audit["parts_kept"]["value"] < 1
    assert audit["bytes_kept"]["k"] == 255
    assert audit["control_kept"]["k"] == 4


@pytest.mark.parametrize(
    "backend",
    [Backend(models.WordLevel({"a": 0, "b": 1}, unk_token="a")), Backend(models.BPE({"a": 0, "b": 1}, []))],
    ids=["another kind", "no bytes"],
)
def test_a_tokenizer_that_could_not_write_every_text_is_refused(backend):
    with pytest.raises(Refusal, match=r"reduced|does not spell bytes"):
        reducing.opened(backend)
