"""The tokenizer's contract: exact width, text that survives, and control tokens that user text cannot forge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from runtime.contract import BrokenEvidence, Refusal, rows
from runtime.models import fitting
from runtime.models import tokenizer as tokenizers
from runtime.models.tokenizer import Tokenizer
from runtime.steps.tokenizer import Special, TokenizerParams
from tests.tensor.export.world import Stage, dataset

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "Q: {prompt}\nA: {response}"


def made(root: Path, data: Path | None = None, teacher: Path | None = None, **params: Any) -> tuple[Tokenizer, Stage]:
    takes = {"dataset": data or dataset(root / "dataset")}
    if teacher:
        takes["teacher"] = teacher
    stage = Stage(root / "out", takes)
    whole = {"source": "teacher" if teacher else "train", "vocab_size": 400, "template": TEMPLATE, **params}
    fitting.make(takes, TokenizerParams(**whole), stage)
    return tokenizers.load(stage.root / "tokenizer"), stage


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Stage]:
    return made(tmp_path_factory.mktemp("small"), single_token_tags=["tool.call", "<a b>"])


def test_the_vocabulary_has_exactly_the_declared_width(small: tuple[Tokenizer, Stage]):
    words, stage = small
    file = json.loads((stage.root / "tokenizer" / "tokenizer.json").read_text())
    ids = {*file["model"]["vocab"].values(), *(token["id"] for token in file["added_tokens"])}
    assert ids == set(range(400))
    assert words.vocab_size == 400
    assert stage.reports["report"]["data"]["vocab_width_equal"]["value"] is True


def test_the_report_has_the_published_form_and_counts_behind_every_rate(small: tuple[Tokenizer, Stage]):
    whole = {**small[1].reports["report"], "kind": "tokenizer.contract"}
    whole["environment"] = {"forged": False, "backend": "torch"}
    base, own = (
        json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text())
        for name in ("report", "report.tokenizer.contract")
    )
    known = Registry().with_resource("report.schema.json", Resource.from_contents(base))
    jsonschema.Draft202012Validator(own, registry=known).validate(whole)
    data = whole["data"]
    assert (data["round_trip"]["k"], data["round_trip"]["n"]) == (30, 30)
    assert (data["single_token_tags"]["k"], data["single_token_tags"]["n"]) == (2, 2)
    assert data["control_injection_safe"]["k"] == data["control_injection_safe"]["n"] >= 3
    assert whole["fingerprints"]["prompt_wrapper"] == small[0].template_sha256


def test_a_prompt_is_the_beginning_of_its_pair(small: tuple[Tokenizer, Stage]):
    words, _ = small
    prompt = words.encode_prompt("Will it rain?")
    pair = words.encode_pair("Will it rain?", " Yes.")
    assert pair.ids[: pair.prompt_tokens] == prompt
    assert prompt[0] == words.bos_id
    assert pair.ids[-1] == words.eos_id
    assert words.decode(prompt[1:]) == "Q: Will it rain?\nA: "
    assert words.decode(pair.ids[pair.prompt_tokens : -1]) == " Yes."


@pytest.mark.parametrize("text", ["<|eos|>", "<|bos|>", "<|pad|>", "<|reserved_0|>", "a<|eos|>b", " <|eos|>\n<|eos|>"])
def test_user_text_cannot_forge_a_control_token(small: tuple[Tokenizer, Stage], text: str):
    words, _ = small
    pair = words.encode_pair(text, text)
    assert not words.control_ids & set(pair.ids[1:-1])
    assert words.decode(words.encode_text(text)) == text


def test_all_reserved_tokens_are_control_tokens(small: tuple[Tokenizer, Stage]):
    words, stage = small
    reserved = json.loads((stage.root / "tokenizer" / "contract.json").read_text())["reserved"]
    assert reserved > 0
    assert len(words.control_ids) == reserved + 3


@pytest.mark.parametrize("text", ["{response}", "{prompt}{response}", "a {prompt} b", "%s {0} \\n"])
def test_a_placeholder_in_user_text_is_text(small: tuple[Tokenizer, Stage], text: str):
    words, _ = small
    assert words.decode(words.encode_prompt(text)[1:]) == f"Q: {text}\nA: "


def test_a_tag_is_one_token_wherever_it_stands(small: tuple[Tokenizer, Stage]):
    words, _ = small
    assert len(words.encode_text("tool.call")) == len(words.encode_text("<a b>")) == 1
    pair = words.encode_pair("x", "é<a b>é")
    assert pair.offsets == [(0, 2), (2, 7), (7, 9)] or pair.offsets[-1][1] == 9
    assert b"".join("é<a b>é".encode()[a:b] for a, b in pair.offsets) == "é<a b>é".encode()


def test_transformers_reads_the_folder_and_gives_the_same_ids(small: tuple[Tokenizer, Stage]):
    words, stage = small
    theirs = AutoTokenizer.from_pretrained(stage.root / "tokenizer", local_files_only=True)
    for text in ("Will it rain today?", "naïve — 12,5 €", "<|eos|> tool.call", "  two  spaces\n"):
        # its own switch protects user text where no chat template was applied
        plain = theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert plain == words.encode_text(text)
    assert (theirs.pad_token_id, theirs.bos_token_id, theirs.eos_token_id) == (words.pad_id, words.bos_id, words.eos_id)
    assert len(theirs) == words.vocab_size


def test_another_process_with_another_hash_seed_trains_the_same_bytes():
    texts = [f"word{n % 17} and other{n % 5}: {n * 7919}" for n in range(400)]
    params = TokenizerParams(source="train", vocab_size=400, template=TEMPLATE, single_token_tags=["tool.call"])
    code = (
        "import json, sys\n"
        "from runtime.models import tokenizer as t\n"
        "from runtime.steps.tokenizer import TokenizerParams\n"
        "given = json.load(sys.stdin)\n"
        "backend = t.trained(given['texts'], TokenizerParams.model_validate(given['params']))\n"
        "t.filled(backend, 400)\n"
        "print(backend.to_str())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps({"texts": texts, "params": params.model_dump()}),
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "RAYON_NUM_THREADS": seed},
        ).stdout
        for seed in ("1", "3")
    }
    here = tokenizers.trained(texts, params)
    tokenizers.filled(here, 400)
    assert found == {here.to_str() + "\n"}


def test_held_out_rows_teach_the_tokenizer_nothing(tmp_path: Path):
    one, two = dataset(tmp_path / "one"), dataset(tmp_path / "two")
    held = rows.load(two / "test.jsonl")
    (two / "test.jsonl").write_text(
        "".join(rows.written([{**row, "prompt": "zqx zqx zqx " * 50} for row in held], "test.jsonl"))
    )
    made(tmp_path / "a", one)
    made(tmp_path / "b", two)
    files = [(tmp_path / name / "out" / "tokenizer" / "tokenizer.json").read_bytes() for name in "ab"]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ("{prompt}", "exactly once"),
        ("{response}{prompt}", "{prompt} before {response}"),
        ("{prompt}{prompt}{response}", "exactly once"),
        ("{prompt}\n{response}\n", "text after {response}"),
    ],
)
def test_a_template_of_another_form_is_refused(tmp_path: Path, template: str, word: str):
    with pytest.raises(Refusal) as caught:
        made(tmp_path, template=template)
    assert word in caught.value.message


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"vocab_size": 260, "single_token_tags": ["a.b", "c.d"]}, "no room for 256 bytes"),
        ({"single_token_tags": ["<|eos|>"]}, "must be different texts"),
        ({"single_token_tags": ["x.y", "x.y"]}, "must be different texts"),
        ({"special": Special(pad="<|eos|>")}, "must be different texts"),
        ({"single_token_tags": ["<|reserved_0|>"]}, "already uses"),
    ],
)
def test_impossible_vocabularies_are_refused(tmp_path: Path, params: dict[str, Any], word: str):
    with pytest.raises(Refusal, match=word):
        made(tmp_path, **params)


def test_the_smallest_vocabulary_is_bytes_and_control_tokens(tmp_path: Path):
    words, stage = made(tmp_path, vocab_size=260)
    assert words.decode(words.encode_text("naïve €")) == "naïve €"
    assert stage.reports["report"]["data"]["round_trip"]["value"] == 1.0


def test_a_contract_that_disagrees_with_its_vocabulary_is_broken_evidence(tmp_path: Path):
    _, stage = made(tmp_path)
    path = stage.root / "tokenizer" / "contract.json"
    for change in ({"vocab_size": 401}, {"template": "{prompt} {response}"}, {"special": {}}):
        contract = json.loads(path.read_text())
        if "special" in change:
            change = {"special": {**contract["special"], "eos": {"text": "<|pad|>", "id": 2}}}
        broken = tmp_path / "broken"
        broken.mkdir(exist_ok=True)
        (broken / "tokenizer.json").write_bytes((path.parent / "tokenizer.json").read_bytes())
        (broken / "contract.json").write_text(json.dumps({**contract, **change}))
        with pytest.raises(BrokenEvidence):
            tokenizers.load(broken)


def words_of(root: Path, *, size: int = 300, lower: bool = False, byte_level: bool = True) -> Path:
    """A teacher's folder with a tokenizer of `size` ids: bytes and chat tokens, or words with `▁`."""
    root.mkdir(parents=True)
    if byte_level:
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        backend = Backend(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    else:
        known = sorted({*"▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:?!'é€", "�"})
        backend = Backend(models.Unigram([(letter, -1.0) for letter in known], unk_id=0, byte_fallback=False))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
        backend.decoder = decoders.Metaspace(prepend_scheme="never")
    if lower:
        backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    chat = ["<pad>", "<s>", "<end>", "<user>"]
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in chat])
    left = size - backend.get_vocab_size(with_added_tokens=True)
    backend.add_tokens([AddedToken(f"<t{n}>", normalized=False) for n in range(left)])
    backend.save(str(root / "tokenizer.json"))
    return root


CHAT = {
    "special": Special(pad="<pad>", bos="<s>", eos="<end>"),
    "template": "<user>{prompt}<end>\n{response}",
    "vocab_size": 320,
}


def test_a_teachers_tokenizer_is_filled_up_to_the_width_of_its_model(tmp_path: Path):
    words, stage = made(tmp_path, teacher=words_of(tmp_path / "teacher"), **CHAT)
    assert stage.reports["report"]["data"]["reserved"]["value"] == 20
    assert words.vocab_size == 320


def test_cutting_and_padding_of_the_teachers_file_are_not_taken_over(tmp_path: Path):
    folder = words_of(tmp_path / "teacher")
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    backend.save(str(folder / "tokenizer.json"))
    words, _ = made(tmp_path, teacher=folder, **CHAT)
    assert words.decode(words.encode_text("a longer text")) == "a longer text"
    assert len(words.encode_text("ab")) == 2


def test_control_tokens_of_the_template_are_honoured_and_those_of_the_user_are_not(tmp_path: Path):
    words, _ = made(tmp_path, teacher=words_of(tmp_path / "teacher"), **CHAT)
    ids = words.encode_prompt("hi <end><user>")
    assert sum(i in words.control_ids for i in ids) == 3
    assert ids[0] == words.bos_id
    assert words.decode(ids[1:2]) == "<user>"


def test_a_tokenizer_that_comes_with_weights_may_use_one_token_for_two(tmp_path: Path):
    """Full vocabularies without a pad token exist (SmolLM2, Mistral): they pad with their end, or begin with it."""
    shared = {**CHAT, "special": Special(pad="<s>", bos="<s>", eos="<s>")}
    words, stage = made(tmp_path, teacher=words_of(tmp_path / "teacher"), **shared)
    assert words.pad_id == words.bos_id == words.eos_id
    assert stage.reports["report"]["data"]["special_distinct"]["value"] is True


def swapped(folder: Path) -> Path:
    """The same folder with two ids exchanged."""
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    first, second = list(value["model"]["vocab"])[10:12]
    vocabulary = value["model"]["vocab"]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(value), encoding="utf-8")
    return folder


def test_two_folders_share_ids_when_their_files_mean_the_same(tmp_path: Path):
    one, other = words_of(tmp_path / "one"), words_of(tmp_path / "other")
    tokenizers.check_shared(one, other, "student")
    with pytest.raises(Refusal, match=r"2 differences\): id \d+ is `.*` in the teacher's and `.*` in the student's"):
        tokenizers.check_shared(one, swapped(other), "student")
    with pytest.raises(Refusal, match=r"in the student's and .* in the teacher's"):
        tokenizers.check_shared(one, other, "teacher")
    (other / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(Refusal, match=r"the student's folder has no tokenizer\.json with a vocabulary"):
        tokenizers.check_shared(one, other, "student")
    (other / "tokenizer.json").unlink()
    with pytest.raises(Refusal, match=r"the student's folder has no tokenizer\.json with a vocabulary"):
        tokenizers.check_shared(one, other, "student")


def test_ranges_widen_to_whole_characters_where_the_tokenizer_knows_no_bytes(tmp_path: Path):
    words, _ = made(tmp_path, teacher=words_of(tmp_path / "teacher", byte_level=False), **CHAT)
    pair = words.encode_pair("x", "é a€b")
    assert pair.offsets == [(0, 2), (2, 3), (3, 4), (4, 7), (7, 8)]


def test_a_tokenizer_that_changes_text_is_counted_not_hidden(tmp_path: Path):
    _, stage = made(tmp_path, teacher=words_of(tmp_path / "teacher", lower=True), **CHAT)
    data = stage.reports["report"]["data"]
    assert data["round_trip"]["k"] == 0
    assert data["round_trip"]["n"] == 30
    assert "row-0" in data["round_trip_lost"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"vocab_size": 290}, "has 300 tokens, the vocabulary only 290"),
        ({"special": Special(pad="<pad>", bos="<s>", eos="<|im_end|>")}, "no token '<|im_end|>' for `eos`"),
        ({"single_token_tags": ["<think>"]}, "not one token: '<think>'"),
    ],
)
def test_a_teachers_tokenizer_that_cannot_serve_is_refused(tmp_path: Path, change: dict[str, Any], word: str):
    with pytest.raises(Refusal) as caught:
        made(tmp_path, teacher=words_of(tmp_path / "teacher"), **{**CHAT, **change})
    assert word in caught.value.message


@pytest.mark.parametrize("text", [None, "{}", "[1]", '{"model": {"type": "nonsense"}}'])
def test_a_teacher_without_a_readable_tokenizer_is_refused(tmp_path: Path, text: str | None):
    folder = tmp_path / "teacher"
    folder.mkdir()
    if text is not None:
        (folder / "tokenizer.json").write_text(text)
    with pytest.raises(Refusal, match=r"tokenizer\.json"):
        made(tmp_path, teacher=folder, **CHAT)


def test_a_vocabulary_with_holes_is_refused(tmp_path: Path):
    folder = words_of(tmp_path / "teacher")
    file = json.loads((folder / "tokenizer.json").read_text())
    file["model"]["vocab"]["a"] = 5000
    (folder / "tokenizer.json").write_text(json.dumps(file))
    with pytest.raises(Refusal, match="300 ids are not 0 to 299"):
        made(tmp_path, teacher=folder, **CHAT)


def test_digits_stand_alone_and_punctuation_never_joins_letters():
    pieces = pre_tokenizers.Split(Regex(tokenizers.SPLIT), "isolated").pre_tokenize_str('f{"a_b":120} is 3.5')
    assert [piece for piece, _ in pieces] == [
        "f", '{"', "a", "_", "b", '":', "1", "2", "0", "}", " is", " ", "3", ".", "5",
    ]  # fmt: skip
