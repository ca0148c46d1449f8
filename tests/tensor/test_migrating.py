"""A student that is migrated to another vocabulary is the same student over every token that both have."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend
from transformers import LlamaTokenizer

from runtime.contract import Refusal
from runtime.models import build, fitting
from runtime.models import migrating as weights
from runtime.models.tokenizer import migrating
from runtime.models.tokenizer.migrating import KEPT, Migration, Token, Vocabulary
from runtime.steps.migrate_student import MigrateStudentParams
from runtime.steps.tokenizer import Special, TokenizerParams
from tests.longer import longer
from tests.tensor.train.world import Stage, architecture, dataset

MISTRAL = Path(__file__).resolve().parents[3] / "shared/data/tokenizers"
SPOKEN = {"v1": "mistral_tokenizer.model.v1", "v3": "mistral_mistral_instruct_tokenizer_240323.model.v3"}


def pieces(words: list[str], control: list[str]) -> Backend:
    """A SentencePiece-like BPE: control tokens, bytes to fall back on, letters, and these words with their merges."""
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz▁"))
    vocabulary = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    model = models.BPE({text: i for i, text in enumerate(vocabulary)}, merges, byte_fallback=True, fuse_unk=True)
    backend = Backend(model)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in control])
    return backend


def byte_level(words: list[str], control: list[str]) -> Backend:
    """A byte-level BPE with the same words, a space before each."""
    alphabet = sorted(migrating.byte_level())
    vocabulary, merges = [*alphabet], []
    for word in words:
        spelled = word.replace("▁", "Ġ")
        for end in range(2, len(spelled) + 1):
            if spelled[:end] not in vocabulary:
                vocabulary.append(spelled[:end])
                merges.append((spelled[: end - 1], spelled[end - 1]))
    backend = Backend(models.BPE({text: i for i, text in enumerate(vocabulary)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in control])
    return backend


def folder(root: Path, backend: Backend, family: str = "llama", **changes: Any) -> Path:
    """Somebody's weights beside their tokenizer; its first control token pads, the next begin and end."""
    width = backend.get_vocab_size(with_added_tokens=True)
    named = {name: backend.token_to_id(text) for name, text in (("pad", "<pad>"), ("bos", "<s>"), ("eos", "</s>"))}
    ids = {name: number for name, number in named.items() if number is not None}
    model = build.build(architecture(family=family, vocab_size=width, **changes), 3, ids)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    root.mkdir(parents=True)
    build.save(model, root)
    backend.save(str(root / "tokenizer.json"))
    return root


CONTROL = ["<pad>", "<s>", "</s>", "[OLD]"]
OLD = pieces(["▁turn", "▁it", "▁on", "▁make", "stop"], CONTROL)
NEW = byte_level(["▁turn", "▁it", "▁louder"], ["<|end|>", "<|begin|>", "<|fill|>", "<tool>"])


def step(
    root: Path, old: Path, new: Backend, special: Special, size: int, expand: tuple[str, ...] = (), **params: Any
) -> tuple[Stage, Migration]:
    """The step over a small dataset and this tokenizer of the spec's, with ids up to `size`."""
    data = dataset(root / "data")
    shutil.copy(data / "train.jsonl", data / "test.jsonl")
    (root / "spec").mkdir()
    new.save(str(root / "spec/tokenizer.json"))
    asked = TokenizerParams(
        source="teacher", vocab_size=size, special=special, template="{prompt}\n{response}", expand=list(expand)
    )
    made = Stage(root / "tokenizer-stage", {"dataset": data, "teacher": root / "spec"})
    fitting.make({"dataset": data, "teacher": root / "spec"}, asked, made)
    takes = {"original": old, "folder": old, "tokenizer": made.root / "tokenizer", "dataset": data}
    stage = Stage(root / "stage", takes)
    asked_of_step = MigrateStudentParams(threads=1, rows=8, **params)
    weights.migrate_student(takes, asked_of_step, stage)
    return stage, weights.plan(takes, asked_of_step)[2]


def value(stage: Stage, *names: str) -> Any:
    found: Any = stage.reports["report"]["data"]
    for name in names:
        found = found[name]
    return found["value"]


ROLES = Special(pad="<|fill|>", bos="<|begin|>", eos="<|end|>")


@torch.inference_mode()
@pytest.mark.parametrize(("family", "tied"), [("llama", True), ("llama", False), ("phi", False), ("gemma", True)])
def test_a_migrated_student_is_the_same_over_kept_tokens(tmp_path, family, tied):
    size = NEW.get_vocab_size(with_added_tokens=True) + 5
    old = folder(tmp_path / "old", OLD, family, tie_word_embeddings=tied)
    stage, migration = step(tmp_path, old, NEW, ROLES, size, gone=["[OLD]"])
    before, after = build.load(old), build.load(stage.root / "checkpoint")
    for name in ("accounted", "kept_equal", "rows_as_declared", "others_equal", "specials_kept"):
        assert value(stage, name) == 1.0, name
    assert value(stage, "logits_difference") <= 1e-5
    assert value(stage, "vocab_size") == size == after.config.vocab_size
    # the law, by its words and not by the step's: a text of kept tokens, with the rows of the old one
    kept = migration.kept
    text = [i for i in NEW.encode(" turn it on, turn it on").ids if i in kept]
    assert len(text) >= 8
    here = after(input_ids=torch.tensor([text])).logits[0][:, list(kept)]
    there = before(input_ids=torch.tensor([[kept[i] for i in text]])).logits[0][:, list(kept.values())]
    assert torch.allclose(here, there, rtol=1e-5, atol=1e-5 * float(there.abs().max()))
    # of one text of both languages the ids are the same tokens
    assert [OLD.decode([kept[i]]) for i in text[:2]] == ["turn", "it"]
    names = {"lm_head.weight", "model.embed_tokens.weight", *(["lm_head.bias"] if family == "phi" else [])}
    assert set(weights.by_id(before)) == names
    assert after.config.tie_word_embeddings is tied
    assert (after.lm_head.weight is after.model.embed_tokens.weight) is tied


def test_each_new_id_says_where_its_row_comes_from(tmp_path):
    size = NEW.get_vocab_size(with_added_tokens=True) + 5
    stage, migration = step(tmp_path, folder(tmp_path / "old", OLD), NEW, ROLES, size)
    how = {migration.after.tokens[i].text: one for i, one in enumerate(migration.origins)}
    text_of = {i: token.text for i, token in migration.before.tokens.items()}
    # bytes: `Ġturn` is `▁turn`, `a` is `a`, and the byte that no letter is, is the fallback of it
    assert how["Ġturn"].how == "bytes"
    assert text_of[how["Ġturn"].old[0]] == "▁turn"
    assert text_of[how["a"].old[0]] == "a"
    assert text_of[how["\u0120"].old[0]] == "▁"
    assert text_of[how["\u00e2"].old[0]] == "<0xE2>"
    # roles: other texts, the same places in a sequence
    assert [text_of[how[one].old[0]] for one in ("<|fill|>", "<|begin|>", "<|end|>")] == ["<pad>", "<s>", "</s>"]
    assert {how[one].how for one in ("<|fill|>", "<|begin|>", "<|end|>")} == {"role"}
    # pieces: as the old tokenizer spells it inside a text, without the space that it puts before one
    assert how["<tool>"].how == "pieces"
    spelled = "".join(text_of[i] for i in how["<tool>"].old)
    assert spelled == "<0x3C>tool<0x3E>"
    assert how["Ġlou"].how == "pieces"
    assert [text_of[i] for i in how["Ġlou"].old] == ["▁", "l", "o", "u"]
    assert how["<|reserved_0|>"].how == "mean"
    # the record says the same, and the report counts it
    record = json.loads((stage.root / "record" / weights.RECORD).read_text(encoding="utf-8"))
    assert [(one["how"], tuple(one["old"])) for one in record["origins"]] == list(migration.origins)
    assert {one["token"] for one in record["dropped"]} >= {"[OLD]", "stop", "▁make"}
    counts = Counter(one.how for one in migration.origins)
    assert value(stage, "kept") == counts["bytes"] + counts["role"]
    assert value(stage, "new") == counts["pieces"] + counts["mean"] == len(record["new"])
    assert value(stage, "kept") + value(stage, "dropped") == OLD.get_vocab_size(with_added_tokens=True)
    assert value(stage, "by_role") == 3
    sample = record["samples"][0]
    assert "".join(sample["before"]["tokens"]) == sample["text"] == "".join(sample["after"]["tokens"])
    # a control token that the spec does not let go blocks by name
    assert stage.reports["report"]["data"]["specials_lost"] == ["[OLD]"]
    assert value(stage, "specials_kept") == 3 / 4


def test_the_mean_of_all_rows_is_of_those_that_tokens_name(tmp_path):
    size = NEW.get_vocab_size(with_added_tokens=True)
    stage, migration = step(tmp_path, folder(tmp_path / "old", OLD), NEW, ROLES, size, new_rows="mean")
    assert {one.how for one in migration.origins} == {"bytes", "role", "mean"}
    old = build.load(tmp_path / "old").get_input_embeddings().weight
    made = build.load(stage.root / "checkpoint").get_input_embeddings().weight
    tool = NEW.token_to_id("<tool>")
    assert torch.allclose(made[tool], old.mean(0), atol=1e-6)
    assert value(stage, "rows_as_declared") == 1.0


def test_what_is_not_as_the_record_says_is_counted(tmp_path):
    """The audit reads the written model and the written record, and believes neither."""
    size = NEW.get_vocab_size(with_added_tokens=True)
    old = folder(tmp_path / "old", OLD, tie_word_embeddings=False)
    stage, migration = step(tmp_path, old, NEW, ROLES, size)
    before, after = build.load(old), build.load(stage.root / "checkpoint")
    origins = [{"how": one.how, "old": list(one.old)} for one in migration.origins]

    def said(model: Any, origins: list[dict[str, Any]]) -> list[tuple[int, int]]:
        data = weights.audit(before, model, origins, migration)
        names = ("accounted", "kept_equal", "rows_as_declared", "others_equal")
        return [(data[name]["k"], data[name]["n"]) for name in names]

    kept, others = len(migration.kept), len(before.state_dict()) - 2
    whole = [(size, size), (2 * kept, 2 * kept), (2 * size, 2 * size), (others, others)]
    assert said(after, origins) == whole
    rows = [i for i, one in enumerate(migration.origins) if one.how in KEPT][:2]
    with torch.no_grad():
        after.get_output_embeddings().weight[rows] = after.get_output_embeddings().weight[rows[::-1]]
    assert said(after, origins) == [whole[0], (2 * kept - 2, 2 * kept), (2 * size - 2, 2 * size), whole[3]]
    apart = weights.difference(before, after, migration.kept, [(rows * 3, [True] * 6)])
    assert apart["value"] > 1e-3
    after = build.load(stage.root / "checkpoint")
    with torch.no_grad():
        after.get_input_embeddings().weight[migration.new[0], 0] += 1e-6
        after.model.norm.weight[0] += 1e-6
    assert said(after, origins) == [whole[0], whole[1], (2 * size - 1, 2 * size), (others - 1, others)]
    # one old row for two ids: both are no longer accounted for
    twice = [dict(one) for one in origins]
    twice[rows[0]] = dict(origins[rows[1]])
    after = build.load(stage.root / "checkpoint")
    assert said(after, twice)[0] == (size - 2, size)
    assert said(after, twice)[1] == (2 * kept - 2, 2 * kept)
    # an id that is left out: nothing is accounted for
    assert said(after, origins[:-1])[0] == (0, size)


def test_padding_with_the_end_and_rows_without_a_token(tmp_path):
    """The old one pads with its end and has rows that no token names (Qwen); the new one has a padding of its own."""
    old = pieces(["▁turn"], ["<s>", "</s>"])
    named = old.get_vocab_size(with_added_tokens=True)
    width = named + 7
    place = folder(tmp_path / "old", old)
    model = build.build(architecture(vocab_size=width), 3, {"bos": 0, "eos": 1})
    build.save(model, place)
    config = {"pad_token": "</s>", "bos_token": "<s>", "eos_token": {"content": "</s>"}}
    (place / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    new = pieces(["▁turn"], ["<s>", "</s>"])
    new.add_special_tokens([AddedToken("<pad>", special=True, normalized=False)])
    stage, migration = step(tmp_path, place, new, Special(pad="<pad>", bos="<s>", eos="</s>"), width)
    assert migration.origins[new.token_to_id("<pad>")] == ("copied", (1,))
    assert Counter(one.how for one in migration.origins) == {"bytes": named, "copied": 1, "unnamed": 6}
    assert migration.dropped == [named]
    assert value(stage, "moved") == 0
    assert value(stage, "specials_kept") == 1.0
    assert migration.named == list(range(named))


OWN = Special(pad="<pad>", bos="<s>", eos="</s>")


@pytest.mark.parametrize("tied", [True, False])
def test_an_expanded_vocabulary_moves_nothing_and_says_what_it_costs(tmp_path: Path, tied: bool) -> None:
    """Two tokens more are two rows of 32 numbers more in each table, at the end."""
    width = OLD.get_vocab_size(with_added_tokens=True)
    old = folder(tmp_path / "old", OLD, tie_word_embeddings=tied)
    stage, migration = step(tmp_path, old, OLD, OWN, width + 2, ("<call>", "</call>"))
    assert migration.kept == {i: i for i in range(width)}
    assert [migration.after.tokens[i] for i in migration.new] == [
        Token(text, text.encode(), "added") for text in ("<call>", "</call>")
    ]
    assert (value(stage, "moved"), value(stage, "dropped"), value(stage, "specials_kept")) == (0, 0, 1.0)
    cost, tables = stage.reports["report"]["data"]["cost"], 1 if tied else 2
    assert cost["parameters"]["value"] - cost["parameters_before"]["value"] == 2 * 32 * tables
    assert cost["parameters"]["value"] == (width + 2) * 32 * tables
    assert value(stage, "parameters") - value(stage, "parameters_before") == 2 * 32 * tables
    grown = {form: cost[form]["after"]["value"] - cost[form]["before"]["value"] for form in ("fp32", "fp16", "int8")}
    assert grown == {"fp32": 256 * tables, "fp16": 128 * tables, "int8": 2 * (32 + 2) * tables}


def test_an_expansion_that_is_no_new_token_is_refused(tmp_path: Path) -> None:
    width = OLD.get_vocab_size(with_added_tokens=True)
    with pytest.raises(Refusal, match="has the token '<s>' already") as caught:
        step(tmp_path, folder(tmp_path / "old", OLD), OLD, OWN, width + 1, ("<s>",))
    assert caught.value.action == "remove `<s>` from tokenizer.expand"


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"), "of kind WordPiece"),
        (models.WordLevel({"a": 0}, unk_token="a"), "of kind WordLevel"),
        (
            models.BPE({"a": 0, "b": 1, "ab</w>": 2, "b</w>": 3}, [("a", "b</w>")], end_of_word_suffix="</w>"),
            "with end",
        ),
    ],
)
def test_tokens_that_are_no_bytes_are_refused(tmp_path, model, what):
    Backend(model).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(Refusal, match=f"a tokenizer {what}.* is not migrated") as caught:
        migrating.opened(tmp_path)
    assert "BPE or Unigram" in caught.value.action


@pytest.mark.parametrize("text", [None, "{", "[]", '{"model": null}', '{"model": {"type": "BPE", "vocab": {"a": 0}}}'])
def test_a_folder_without_a_tokenizer_that_can_be_read_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(Refusal, match=r"tokenizer\.json") as caught:
        migrating.opened(tmp_path)
    assert caught.value.action


def test_a_family_that_holds_rows_by_id_elsewhere_is_refused(tmp_path):
    model = build.build(architecture(), 3)
    migration = Migration(
        Vocabulary({}, {}), Vocabulary({}, {}), 288, [migrating.Origin("bytes", (i,)) for i in range(9)]
    )
    migration = replace(migration, before=Vocabulary({i: Token("", b"", "ordinary") for i in range(288)}, {}))
    assert weights.migrated(model, migration, {}).config.vocab_size == 9
    model.register_parameter("by_layer", torch.nn.Parameter(torch.zeros(288, 2)))
    with pytest.raises(Refusal, match="tensor by_layer of a `llama` model") as caught:
        weights.migrated(model, migration, {})
    assert "embedding and its head alone" in caught.value.action


TOKENS = st.builds(
    Token,
    text=st.text("abc<>", min_size=1, max_size=3),
    written=st.binary(min_size=1, max_size=1),
    kind=st.sampled_from(["ordinary", "byte", "added"]),
    special=st.booleans(),
)
VOCABULARIES = st.lists(TOKENS, min_size=1, max_size=12).flatmap(
    lambda tokens: st.builds(
        Vocabulary,
        tokens=st.just(dict(enumerate(tokens))),
        roles=st.dictionaries(st.sampled_from(migrating.ROLES), st.integers(0, len(tokens) - 1)),
    )
)


@settings(deadline=None, max_examples=150)
@given(VOCABULARIES, VOCABULARIES, st.integers(0, 4), st.integers(0, 3), st.integers(0, 3))
def test_whatever_the_vocabularies_each_id_has_one_origin(before, after, more, hidden, reserved):
    """Rows beyond the tokens, tokens beyond the rows, roles anywhere, one token for two roles."""
    rows = max(1, len(before.tokens) + more - hidden)
    idle = range(max(0, len(after.tokens) - reserved), len(after.tokens))
    made = migrating.mapped(before, after, rows, idle, lambda token: (0,) if token.text == "a" else ())
    assert len(made.origins) == len(after.tokens)
    kept = list(made.kept.values())
    assert len(kept) == len(set(kept)) <= rows
    assert all(0 <= old < rows for one in made.origins for old in one.old)
    assert len(made.kept) + len(made.new) == len(after.tokens)
    assert len(made.kept) + len(made.dropped) == rows
    for i, one in enumerate(made.origins):
        assert len(one.old) == (0 if one.how == "mean" else 1)
        if one.how == "bytes":
            assert before.tokens[one.old[0]].written == after.tokens[i].written
        if one.how == "unnamed":
            assert one.old == (i,)
            assert i not in before.tokens
    # a token stays dropped only where no new token that writes the same bytes was begun anew
    fresh = {after.tokens[i].written for i in made.new}
    assert not fresh & {before.tokens[i].written for i in made.dropped if i in before.tokens}
    lost = made.lost_specials([])
    k, n = made.kept_specials([])
    assert n - k == len(lost)
    assert made.kept_specials(lost) == (n, n)


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, found = tmp_path_factory.mktemp("mistral"), {}
    for name, file in SPOKEN.items():
        if not (MISTRAL / file).is_file():
            pytest.skip(f"{file} does not lie at {MISTRAL}")
        (root / name).mkdir()
        shutil.copy(MISTRAL / file, root / name / "tokenizer.model")
        LlamaTokenizer.from_pretrained(str(root / name)).save_pretrained(str(root / name / "saved"))
        found[name] = root / name / "saved"
    return found


SMALL = {
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1
}  # fmt: skip


@torch.inference_mode()
def test_the_real_migration_of_mistral_keeps_every_row_and_makes_768(mistral):
    """v1 has 32,000 pieces; v3 puts 768 control tokens between `</s>` and the bytes, and changes nothing else."""
    (backend, before), (new, after) = (migrating.opened(mistral[name]) for name in ("v1", "v3"))
    spell = migrating.spelled_by(backend, before, 32000)
    migration = migrating.mapped(before, after, 32000, (), spell)
    assert {number - old for number, old in migration.kept.items() if number <= 2} == {0}
    assert {number - old for number, old in migration.kept.items() if number > 2} == {768}
    assert (len(migration.kept), migration.dropped, migration.new) == (32000, [], [*range(3, 771)])
    assert {migration.origins[i].how for i in migration.new} == {"pieces"}
    assert [before.tokens[i].text for i in migration.origins[3].old] == ["[", "INST", "]"] != after.tokens[3].text
    assert migration.kept_specials([]) == (3, 3)
    text = "The real vocabularies of Mistral: naïve, 12,5 €, and ☃."
    ids, olds = (one.encode(text, add_special_tokens=False).ids for one in (new, backend))
    assert [migration.kept[i] for i in ids] == olds
    model = build.build(architecture(vocab_size=32000, **SMALL), 3, {"bos": 1, "eos": 2})
    made = weights.migrated(model, migration, {"bos": 1, "eos": 2})
    here = made(input_ids=torch.tensor([ids])).logits[0][:, [*range(3), *range(771, 32768)]]
    there = model(input_ids=torch.tensor([olds])).logits[0]
    assert torch.allclose(here, there, rtol=1e-5, atol=1e-6)
    assert made.get_input_embeddings().weight.shape == (32768, 8)


@longer
def test_the_step_migrates_mistral_and_its_record_is_whole(tmp_path, mistral):
    old = folder(tmp_path / "old", Backend.from_file(str(mistral["v1"] / "tokenizer.json")), **SMALL)
    shutil.copy(mistral["v1"] / "tokenizer_config.json", old / "tokenizer_config.json")
    new = Backend.from_file(str(mistral["v3"] / "tokenizer.json"))
    stage, _ = step(tmp_path, old, new, Special(pad="</s>", bos="<s>", eos="</s>"), 32768)
    names = ("vocab_size_before", "vocab_size", "kept", "moved", "new", "dropped")
    assert [value(stage, name) for name in names] == [32000, 32768, 32000, 31997, 768, 0]
    for name in ("accounted", "kept_equal", "rows_as_declared", "others_equal", "specials_kept"):
        assert value(stage, name) == 1.0, name
    assert value(stage, "logits_difference") <= 1e-5
    rows = stage.reports["report"]["data"]["rows"]["train"]
    assert (rows["cut_alike"]["value"], rows["dropped"]["value"], rows["new"]["value"]) == (1.0, 0.0, 0.0)
    record = json.loads((stage.root / "record" / weights.RECORD).read_text(encoding="utf-8"))
    assert [one["token"] for one in record["new"]] == [new.id_to_token(i) for i in range(3, 771)]
