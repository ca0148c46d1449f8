"""Where a text stands decides whether a tokenizer puts a space before it: rows have the ids that a server gives the same
text, one text has one encoding, and what cannot be so is refused by name.

The small tokenizers here have the rules of real ones (Llama 2, Mistral, RoBERTa); the real ones are asked where they lie.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend
from transformers import LlamaTokenizer

from runtime.contract import Refusal, rows
from runtime.models import fitting
from runtime.models import tokenizer as tokenizers
from runtime.models.tokenizer import Tokenizer
from runtime.steps.tokenizer import Special, TokenizerParams
from tests.tensor.export.world import Stage, dataset

#: real data of other people, where a folder of it lies beside the checkout
REAL = Path(__file__).resolve().parents[3] / "shared/data/tokenizers/mistral_mistral_instruct_tokenizer_240323.model.v3"
WORDS = [
    "▁",
    "▁Hi",
    "▁Hello",
    "Hello",
    "Hi",
    "▁Hi▁",
    "\n",
    "▁▁",
    "[",
    "]",
    *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:?!'-_/<>|(){}\"",
]
CONTROL = {"pad": 0, "bos": 1, "eos": 2}
DECODER = [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]


def small(rule: str) -> Backend:
    """A tokenizer that puts a space before a text by this rule."""
    if rule == "ByteLevel":
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {letter: n for n, letter in enumerate(letters)}
        vocabulary |= {text: 256 + n for n, text in enumerate(["He", "ll", "Hell", "Hello", "ĠHello", "Hi", "ĠHi"])}
        merges = [("H", "e"), ("l", "l"), ("He", "ll"), ("Hell", "o"), ("Ġ", "Hello"), ("H", "i"), ("Ġ", "Hi")]
        backend = Backend(models.BPE(vocabulary, merges))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        backend.decoder = decoders.ByteLevel()
    else:
        pieces = [("<unk>", -20.0), *[(f"<{n}>", -30.0) for n in range(3)], *[(word, -2.0) for word in WORDS]]
        backend = Backend(models.Unigram(pieces, unk_id=0, byte_fallback=False))
        if rule == "Prepend":
            backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=rule, split=False)
        backend.decoder = decoders.Sequence(DECODER)
    controls = ["<pad>", "<s>", "<end>", "[INST]"]
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in controls])
    return backend


def words(rule: str, template: str) -> Tokenizer:
    backend = small(rule)
    ids = {name: backend.token_to_id(text) for name, text in zip(CONTROL, ("<pad>", "<s>", "<end>"), strict=True)}
    return tokenizers.Plain(backend, ids, template, backend.get_vocab_size())


def whole(rule: str, text: str) -> list[int]:
    """What a server makes of a text."""
    found: list[int] = small(rule).encode(text, add_special_tokens=False).ids
    return found


RULES = ("first", "always", "Prepend", "ByteLevel", "never")
TEMPLATES = (
    "{prompt}\n{response}",
    "[INST]{prompt}[INST]{response}",
    "{prompt}[INST] {response}",
    "a [INST]\n{prompt}:{response}",
)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(("prompt", "response"), [("Hi", "Hello"), ("Hi", " Hello"), ("Hi  Hi", "Hello\n Hi")])
def test_a_row_has_the_ids_of_its_whole_text(rule: str, template: str, prompt: str, response: str) -> None:
    made = words(rule, template)
    pair = made.encode_pair(prompt, response)
    same, mixed = made.border(prompt, response)
    if not mixed:
        text = template.format(prompt=prompt, response=response)
        assert pair.ids[1:-1] == whole(rule, text), Backend.decode(small(rule), pair.ids)
        assert same
    head = template.partition("{response}")[0].format(prompt=prompt)
    assert made.encode_prompt(prompt)[1:] == whole(rule, head)
    assert made.as_written(prompt) is True
    assert made.decode_response(pair.ids[pair.prompt_tokens : -1]) == response or (rule, template) in LOSSY
    assert made.survives(prompt, response) or (rule, template) in LOSSY


#: these put a space before a response that has none, and before one that has one they do not: the two are one
LOSSY = {
    (rule, template)
    for rule in ("always", "ByteLevel")
    for template in TEMPLATES
    if template.endswith("[INST]{response}")
}


def test_the_space_of_a_mistral_tokenizer_stands_once() -> None:
    """Before: it stood before each of the three pieces, and each piece lost it again when it was decoded alone."""
    made = words("first", "{prompt}\n{response}")
    texts = [made.decode([number]) for number in made.encode_pair("Hi", "Hello").ids]
    assert texts == ["<s>", " Hi", "\n", "Hello", "<end>"]
    assert [made.decode([number]) for number in made.encode_pair("Hi", " Hello").ids][3] == " Hello"


def test_what_is_lost_is_counted_where_a_rule_makes_two_texts_one() -> None:
    made = words("always", "[INST]{prompt}[INST]{response}")
    assert made.encode_pair("Hi", "Hello").ids == made.encode_pair("Hi", " Hello").ids
    assert made.survives("Hi", "Hello")
    assert not made.survives("Hi", " Hello")


def test_a_control_token_of_the_user_is_text_and_is_not_compared_with_a_server() -> None:
    made = words("first", "[INST]{prompt}[INST]{response}")
    assert made.as_written("[INST]") is None
    pair = made.encode_pair("a [INST] b", "[INST]")
    inst = made.encode_prompt("")[1]
    assert pair.ids.count(inst) == 2


def made(root: Path, folder: Path, template: str, data: Path | None = None, size: int = 300, **special: str) -> Stage:
    takes = {"dataset": data or dataset(root / "dataset"), "teacher": folder}
    stage = Stage(root / "out", takes)
    named = Special(**(special or {"pad": "<pad>", "bos": "<s>", "eos": "<end>"}))
    params = TokenizerParams(source="teacher", vocab_size=size, special=named, template=template)
    fitting.make(takes, params, stage)
    return stage


def saved(root: Path, rule: str, **model: Any) -> Path:
    root.mkdir()
    whole = json.loads(small(rule).to_str())
    whole["model"] |= model
    (root / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    return root


SIZE = small("ByteLevel").get_vocab_size()


def hello(folder: Path, response: str = "Hello", prompt: str = "Hi") -> Path:
    """A dataset whose every row has this response."""
    made = dataset(folder)
    for path in made.glob("*.jsonl"):
        changed = [{**row, "prompt": f"{prompt} {n}", "response": response} for n, row in enumerate(rows.load(path))]
        path.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")
    return made


def test_a_template_that_ends_inside_a_token_is_refused_and_the_advice_helps(tmp_path: Path) -> None:
    folder = saved(tmp_path / "teacher", "ByteLevel")
    with pytest.raises(Refusal) as caught:
        made(tmp_path, folder, "{prompt}: {response}", hello(tmp_path / "data"), SIZE)
    assert "the token ' Hello' would hold the end of the template" in caught.value.message
    assert "move its last space to the beginning of each response" in caught.value.action
    stage = made(tmp_path / "b", folder, "{prompt}:{response}", hello(tmp_path / "moved", " Hello"), SIZE)
    data = stage.reports["report"]["data"]
    assert (data["one_text"]["k"], data["one_text"]["n"]) == (30, 30)
    assert (data["as_written"]["k"], data["as_written"]["n"]) == (30, 30)


def test_what_is_random_is_switched_off_and_said(tmp_path: Path) -> None:
    """huggingface/tokenizers 644: BPE dropout is left on when a file is loaded, and one text had 19 encodings."""
    chancy = saved(tmp_path / "chancy", "ByteLevel", dropout=0.5)
    backend = Backend.from_file(str(chancy / "tokenizer.json"))
    assert len({tuple(backend.encode("Hello Hello Hello").ids) for _ in range(20)}) > 1, "it is random"
    stage = made(tmp_path / "a", chancy, "{prompt}\n{response}", hello(tmp_path / "data"), SIZE)
    data = stage.reports["report"]["data"]
    assert data["switched_off"] == ["merges dropped with probability 0.5"]
    assert (data["repeats"]["k"], data["repeats"]["n"]) == (30, 30)
    plain = saved(tmp_path / "plain", "ByteLevel")
    other = made(tmp_path / "b", plain, "{prompt}\n{response}", hello(tmp_path / "same"), SIZE)
    assert other.reports["report"]["data"]["switched_off"] == []
    files = [(one.root / "tokenizer" / "tokenizer.json").read_bytes() for one in (stage, other)]
    assert files[0] == files[1]


def test_a_row_is_encoded_more_than_once_so_that_chance_shows(tmp_path: Path) -> None:
    """Whatever should ever be random in a tokenizer that this code does not know of."""
    backend = small("ByteLevel")
    backend.model.dropout = 0.5
    ids = {name: backend.token_to_id(text) for name, text in zip(CONTROL, ("<pad>", "<s>", "<end>"), strict=True)}
    chancy = tokenizers.Plain(backend, ids, "{prompt}\n{response}", SIZE)
    seen = tokenizers.round_trips(chancy, hello(tmp_path / "data", "Hello" * 20))
    assert seen.asked == 30
    assert seen.alike < 30


def test_a_folder_with_a_sentencepiece_model_alone_is_told_what_helps(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher/tokenizer.model").write_bytes(b"\n\x00")
    with pytest.raises(Refusal, match=r"has tokenizer\.model and no tokenizer\.json") as caught:
        made(tmp_path, tmp_path / "teacher", "{prompt}\n{response}")
    assert "that its authors publish" in caught.value.action
    assert "save" not in caught.value.action


def pieces(folder: Path, texts: list[str]) -> Path:
    """A folder with a small SentencePiece model, as it is converted for Transformers by its own rules."""
    folder.mkdir()
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 3),
        model_writer=written,
        vocab_size=90,
        required_chars="<>/|_abcdefghijklmnopqrstuvwxyz0123456789",
        model_type="bpe",
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        pad_id=3,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(written.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    vocabulary = {model.id_to_piece(n): n for n in range(model.get_piece_size())}
    merges = [
        (text[:cut], text[cut:])
        for text, _ in sorted(vocabulary.items(), key=lambda item: item[1])
        for cut in range(1, len(text))
        if not model.is_control(vocabulary[text]) and text[:cut] in vocabulary and text[cut:] in vocabulary
    ]
    backend = Backend(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(DECODER)
    backend.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in ("<unk>", "<s>", "</s>", "<pad>")]
    )
    backend.save(str(folder / "tokenizer.json"))
    return folder


def test_a_conversion_that_gives_other_ids_than_the_model_beside_it_is_refused(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    texts = [text for row in rows.load(data / "train.jsonl") for text in (row["prompt"], row["response"])]
    folder = pieces(tmp_path / "teacher", texts)
    size, special = 300, {"pad": "<pad>", "bos": "<s>", "eos": "</s>"}
    stage = made(tmp_path / "a", folder, "{prompt}\n{response}", data, size, **special)
    assert stage.reports["report"]["data"]["sentencepiece"]["value"] == len(rows.load(data / "train.jsonl"))
    whole = json.loads((folder / "tokenizer.json").read_text())
    whole["normalizer"] = whole["normalizer"]["normalizers"][1]
    (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(Refusal, match=r"tokenizer\.json and tokenizer\.model of one folder give row .* different ids"):
        made(tmp_path / "b", folder, "{prompt}\n{response}", data, size, **special)
    (folder / "tokenizer.model").write_bytes(b"nothing of the kind")
    with pytest.raises(Refusal, match=r"tokenizer\.model cannot be read"):
        made(tmp_path / "c", folder, "{prompt}\n{response}", data, size, **special)


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not REAL.is_file():
        pytest.skip(f"the Mistral v3 tokenizer does not lie at {REAL}")
    root = tmp_path_factory.mktemp("mistral")
    shutil.copy(REAL, root / "tokenizer.model")
    LlamaTokenizer.from_pretrained(str(root)).save_pretrained(str(root / "saved"))
    return root / "saved" / "tokenizer.json"


def test_the_real_mistral_tokenizer_writes_what_sentencepiece_writes(mistral: Path) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(REAL))
    made = tokenizers.Plain(Backend.from_file(str(mistral)), CONTROL, "{prompt}\n{response}", 32768)
    assert made.encode_pair("Hi", "Hello").ids == [1, 16127, 781, 16998, 2]
    for prompt, response in [("Hi", "Hello"), ("Hi", " Hello"), ("naïve 12,5 €", "Ja.\nNein"), ("a\nb", "x y")]:
        pair = made.encode_pair(prompt, response)
        assert pair.ids[1:-1] == theirs.encode(f"{prompt}\n{response}")
        assert made.decode_response(pair.ids[pair.prompt_tokens : -1]) == response
        assert made.survives(prompt, response)
    chat = tokenizers.Plain(Backend.from_file(str(mistral)), CONTROL, "[INST] {prompt}[/INST]{response}", 32768)
    assert chat.encode_pair("Hi", " Hello").ids == [1, 3, 16127, 4, 23325, 2]
    assert chat.as_written("Hi") is True
