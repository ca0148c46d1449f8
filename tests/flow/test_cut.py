"""The real command line and a student cut from its teacher, over fewer ids, trained or not: from spec to verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from runtime import digest
from tests.flow.world import QUALITY, ROOT, Home
from tests.longer import longer

#: far more ids than the answers of the eight ball use
VOCABULARY = 900
SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
CONTROL = ["<pad>", "<s>", "<end>", "<tool>"]


def folder(root: Path, known: Sequence[str] = ()) -> None:
    """A tiny Llama with a byte-level tokenizer that was trained on English about something else; its own weights are
    random, or know these texts a little."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(text, special=True) for text in CONTROL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    pages = [page.read_text(encoding="utf-8") for page in sorted((ROOT / "kcompiler/codes").glob("KC4*.md"))]
    backend.train_from_iterator([*pages, *ANSWERS], trainer)
    assert backend.get_vocab_size() == VOCABULARY
    root.mkdir(parents=True)
    backend.save(str(root / "tokenizer.json"))
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, **SIZES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for start in range(0, 3 * len(known), 16):
        ids = [[*backend.encode(known[place % len(known)]).ids, 2] for place in range(start, start + 16)]
        wide = max(map(len, ids))
        given = torch.tensor([[*row, *[0] * (wide - len(row))] for row in ids])
        model(input_ids=given, labels=given.where(given != 0, -100)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(root)


ANSWERS = ["It is certain", "Without a doubt", "Most likely", "Ask again later", "Outlook not so good", "Very doubtful"]


def cut_from_it(home: Home, cut: dict[str, Any], known: Sequence[str] = (), **more: Any) -> None:
    """The tiny spec with a teacher in a folder and a student cut from it."""
    folder(home.root / "specs/teacher", known)

    def edit(data: dict[str, Any]) -> None:
        data["teacher"] = {
            "source": "hf", "model": "./teacher", "revision": digest.of_folder(home.root / "specs/teacher"),
            "license": "Apache-2.0", "signals": ["logits"],
        }  # fmt: skip
        data["tokenizer"] = {
            "source": "teacher", "template": data["tokenizer"]["template"],
            "special": {"pad": "<pad>", "bos": "<s>", "eos": "<end>"},
        }  # fmt: skip
        data["student"] = {"role": "toy", "architecture": "from cut", "cut": cut}
        data["shapes"] |= {"prefill": [48, 64], "decode": {"context": 64}}
        data |= more

    home.change(edit)


@longer
def test_a_student_is_cut_over_fewer_ids_and_trained(fresh: Home) -> None:
    cut_from_it(
        fresh,
        {
            "layers": {"by": "importance", "count": 2},
            "heads": {"by": "list", "ids": [1]},
            "neurons": {"by": "even", "count": 48},
            "vocabulary": {"size": 820},
            "rows": 8,
        },
    )
    fresh.apply().ended(1, "fail")
    reports = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["data"]
        for path in (fresh.evidence / "reports").glob("*.json")
    }
    # a student of twelve steps answers nothing, and is worse than its baseline or not by chance; everything else holds
    verdict = json.loads((fresh.evidence / "verdict.json").read_text(encoding="utf-8"))
    chance = {"caws/tier-3/answers-no-worse"}
    assert {one["rule"] for one in verdict["outcomes"] if one["blocks"]} - chance == QUALITY
    cut, reduction = reports["student"], reports["tokenizer"]["reduction"]
    assert {one["part"]: one["kept"]["value"] for one in cut["parts"]} == {
        "layers": 2, "heads": 1, "neurons": 48, "channels": 32
    }  # fmt: skip
    influence = {one["layer"]: one["influence"]["value"] for one in cut["layers"]}
    kept = {one["layer"] for one in cut["layers"] if one["kept"]}
    assert len(kept) == 2
    assert min(influence[one] for one in kept) >= max(influence[one] for one in influence if one not in kept)
    assert reduction["ids"]["value"] == 820
    assert reduction["ids_before"]["value"] == VOCABULARY
    # a teacher of random weights means every id alike
    mass = reports["teacher-restricted"]["mass_kept"]
    assert all(abs(mass[split]["value"] - 820 / VOCABULARY) < 0.01 for split in ("train", "test"))
    # Transformers opens both, and they speak of one vocabulary
    student = fresh.stored("train-kd", "checkpoint")
    words, model = AutoTokenizer.from_pretrained(student), AutoModelForCausalLM.from_pretrained(student)
    assert len(words) == model.config.vocab_size == 820
    for text in ("It is certain", "Ünïcödé ☃ \x00 never seen", "<tool>"):
        assert words.decode(words(text, add_special_tokens=False).input_ids) == text
    fresh.audit().ended(0, "")


def tables(first: int, last: int) -> list[dict[str, str]]:
    """Rows of arithmetic that go on as they begin."""
    return [
        {"prompt": f"Count by {step} from {start}.", "response": " ".join(str(start + n * step) for n in range(8))}
        for start in range(first, last)
        for step in range(1, 9)
    ]


@longer
def test_the_weights_that_are_kept_are_compared_with_random_ones(fresh: Home) -> None:
    """A teacher that knows its rows, a student cut from it, and the same student from random weights."""
    home, taught = fresh.root / "specs", tables(0, 60)
    for name, rows in (("train", tables(0, 12)), ("test", tables(60, 65))):
        (home / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    part = {"kind": "jsonl", "license": "CC0-1.0"}
    cut_from_it(
        fresh,
        {"layers": {"by": "list", "ids": [0, 1, 3]}},
        [f"<s>{row['prompt']}\n{row['response']}" for row in taught],
        data={
            "sources": [{"name": name, "path": f"{name}.jsonl", "split": name, **part} for name in ("train", "test")]
        },
        evaluation={"suites": [{"use": "language_model"}], "baselines": ["ce_only", "random_init"]},
        shapes={"prefill": [64], "decode": {"context": 64}},
        policies=["caws/core", "quality/transfer"],
    )
    result = fresh.apply().ended(0, "")
    assert result.steps()["train-random_init-kd"] == "committed"
    data = json.loads((fresh.evidence / "reports/evaluate-language_model.json").read_text(encoding="utf-8"))["data"]
    gained, nll = data["init_gain"], {name: one["nll_by_item"]["value"] for name, one in data["runners"].items()}
    assert gained["n"] == data["items"]["value"] == 40
    assert gained["value"] == pytest.approx(nll["random_init"] - nll["student"])
    assert gained["low"] > 0.1
    outcomes = json.loads((fresh.evidence / "verdict.json").read_text(encoding="utf-8"))["outcomes"]
    gates = {one["rule"]: one["outcome"] for one in outcomes if one["rule"].startswith("quality/")}
    assert gates == {"quality/transfer/init-gain": "pass", "quality/transfer/kd-gain": "pass"}
    fresh.audit().ended(0, "")


@longer
def test_nothing_is_trained_and_the_package_is_judged_against_the_original(fresh: Home) -> None:
    original = fresh.root / "specs/teacher"
    folder(original)
    pin = digest.of_folder(original)
    weights = {"model": "./teacher", "revision": pin, "license": "Apache-2.0"}

    def edit(data: dict[str, Any]) -> None:
        data["teacher"] = {"source": "hf", "signals": ["logits"], **weights}
        data["tokenizer"] = {
            "source": "teacher", "template": data["tokenizer"]["template"],
            "special": {"pad": "<pad>", "bos": "<s>", "eos": "<end>"},
        }  # fmt: skip
        data["student"] = {"role": "toy", "architecture": "from checkpoint", "checkpoint": weights}
        data["training"] = {"stages": []}
        data["risk_tier"] = 2
        data["data"]["sources"][0]["split"] = "test"
        data["data"]["sources"][0]["params"]["rows"] = 60
        data["evaluation"] = {
            "suites": [{"use": "language_model"}, {"use": "same_text", "limit": 20, "max_new_tokens": 8}]
        }
        data["policies"] = ["caws/core", "quality/original"]
        data["shapes"] |= {"prefill": [48, 64], "decode": {"context": 64}}

    fresh.change(edit)
    result = fresh.apply().ended(0, "")
    # the original is loaded and examined once, and no row is learnt from
    assert list(result.steps()) == [
        "data", "teacher", "tokenizer", "probe", "export", "convert", "verify",
        "evaluate-language_model", "evaluate-same_text",
    ]  # fmt: skip
    texts = json.loads((fresh.evidence / "reports/evaluate-same_text.json").read_text(encoding="utf-8"))["data"]
    assert texts["same"]["student"]["k"] == texts["items"]["value"] == 20
    scores = json.loads((fresh.evidence / "reports/evaluate-language_model.json").read_text(encoding="utf-8"))["data"]
    assert scores["original_gain"]["n"] >= 20
    assert scores["original_gain"]["value"] == scores["package_gain"]["value"]
    assert scores["kd_gain"]["value"] is None
    fresh.audit().ended(0, "")
