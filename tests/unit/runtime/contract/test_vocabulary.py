"""Two tokenizer.json mean the same exactly when every text becomes the same ids under both."""

import copy
import json

import pytest

from runtime.contract.vocabulary import differences, meaning

BPE = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {"id": 4, "content": "<s>", "special": True, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    ],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel"},
    "model": {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {"a": 0, "b": 1, "ab": 2, "ba": 3},
        "merges": [["a", "b"], ["b", "a"]],
    },
}  # fmt: skip
UNIGRAM = {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.0]]}}


def changed(path, value, base=BPE):
    made = copy.deepcopy(base)
    *parents, last = path.split("/")
    at = made
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if value is ...:
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return made


def told(one, other):
    return differences(meaning(one), meaning(other), ("teacher", "student"))


@pytest.mark.parametrize(
    "other",
    [
        changed("padding", {"strategy": "BatchLongest"}),
        changed("truncation", {"max_length": 4}),
        changed("post_processor", {"type": "TemplateProcessing"}),
        changed("decoder", None),
        changed("version", "2.0"),
        changed("model/merges", ["a b", "b a"]),
        changed("model/type", ...),
        changed("model/fuse_unk", ...),
        changed("model/byte_fallback", ...),
        changed("model/ignore_merges", ...),
        changed("model/continuing_subword_prefix", None),
        changed("model/dropout", 0.1),
        changed("pre_tokenizer/use_regex", ...),
        changed("pre_tokenizer/trim_offsets", False),
        changed("pre_tokenizer", {"type": "Sequence", "pretokenizers": [BPE["pre_tokenizer"]]}),
        changed("normalizer", {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [{"type": "NFC"}]}]}),
        changed("added_tokens/0/lstrip", ...),
        changed("model/vocab", {"ba": 3, "ab": 2, "b": 1, "a": 0}),
        json.loads(json.dumps(BPE, sort_keys=True)),
    ],
)  # fmt: skip
def test_what_changes_no_id_makes_no_difference(other):
    assert told(BPE, other) == []
    assert meaning(BPE).digest == meaning(other).digest


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (changed("model/vocab", {"a": 1, "b": 0, "ab": 2, "ba": 3}), "id 0 is `a` in the teacher's and `b` in the student's"),
        (changed("model/vocab", {"a": 0, "b": 1, "ab": 2}), "id 3 is `ba` in the teacher's, and the student's has no such id"),
        (changed("model/vocab", {**BPE["model"]["vocab"], "c": 5}), "id 5 is `c` in the student's, and the teacher's has no"),
        (changed("model/merges", [["b", "a"], ["a", "b"]]), "merge 0 is `a b` in the teacher's and `b a` in the student's"),
        (changed("model/merges", [["a", "b"]]), "the teacher's has 2 merges, the student's 1"),
        (changed("model/type", "WordLevel"), "the teacher's is of type BPE, the student's of type WordLevel"),
        (changed("model/byte_fallback", True), 'settings of the model: none in the teacher\'s, {"byte_fallback": true}'),
        (changed("model/unk_token", "a"), "settings of the model"),
        (changed("normalizer", None), 'normalizer: {"type": "NFC"} in the teacher\'s, none in the student\'s'),
        (changed("normalizer/type", "NFKC"), "normalizer"),
        (changed("pre_tokenizer/add_prefix_space", True), "pre_tokenizer"),
        (changed("pre_tokenizer/use_regex", False), "pre_tokenizer"),
        (changed("pre_tokenizer", {"type": "Sequence", "pretokenizers": [BPE["pre_tokenizer"], {"type": "Digits"}]}), "pre_tokenizer"),
        (changed("added_tokens/0/content", "<t>"), "id 4 is `<s>` in the teacher's and `<t>` in the student's"),
        (changed("added_tokens/0/special", False), "added token `<s>` is special in the teacher's alone"),
        (changed("added_tokens/0/rstrip", True), "added token `<s>` is rstrip in the student's alone"),
        (changed("added_tokens", []), "id 4 is `<s>` in the teacher's, and the student's has no such id"),
        (changed("added_tokens", [*BPE["added_tokens"], {"id": 0, "content": "a"}]),
         "`a` is an added token in the student's alone, and an ordinary one in the teacher's"),
    ],
)  # fmt: skip
def test_what_changes_an_id_is_told(other, says):
    assert any(says in line for line in told(BPE, other)), told(BPE, other)
    assert meaning(BPE).digest != meaning(other).digest


def test_scores_and_pieces_of_unigram_decide():
    assert told(UNIGRAM, copy.deepcopy(UNIGRAM)) == []
    assert told(UNIGRAM, changed("model/vocab/1", ["a", -1.5], UNIGRAM)) == ["their pieces have other scores"]
    assert told(UNIGRAM, changed("model/vocab/1", ["c", -1.5], UNIGRAM))[0].startswith("id 1 is `a`")
    assert told(UNIGRAM, changed("model/type", ..., UNIGRAM)) == []
    assert told(UNIGRAM, changed("model/unk_id", 1, UNIGRAM)) != []


def test_a_space_before_the_first_word_is_one_thing_in_two_spellings():
    old = {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}}
    new = {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}}
    assert told({**BPE, **old}, {**BPE, **new}) == []
    first = {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}}
    assert told({**BPE, **old}, {**BPE, **first}) != []


@pytest.mark.parametrize(
    "value", [{}, {"model": 3}, {"model": {"type": "BPE"}}, {"model": {"vocab": {}}}, {"model": {"vocab": 7}}]
)
def test_a_file_without_a_vocabulary_means_nothing(value):
    assert meaning(value) is None


def test_long_texts_are_cut():
    line = told(BPE, changed("model/vocab", {"a" * 99: 0, "b": 1, "ab": 2, "ba": 3}))[0]
    assert "a" * 39 + "…" in line
    assert "a" * 41 not in line
    whole = told(BPE, changed("model/vocab", {"a" * 40: 0, "b": 1, "ab": 2, "ba": 3}))[0]
    assert "`" + "a" * 40 + "`" in whole
