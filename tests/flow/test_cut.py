"""The real command line and a student cut from its teacher, over fewer ids, trained or not: from spec to verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from runtime import digest
from tests.flow.world import QUALITY, ROOT, Home

#: far more ids than the answers of the eight ball use
VOCABULARY = 900
SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
CONTROL = ["<pad>", "<s>", "<end>", "<tool>"]


def folder(root: Path) -> None:
    """A tiny Llama with a byte-level tokenizer that was trained on English about something else."""
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
    model.save_pretrained(root)


ANSWERS = ["It is certain", "Without a doubt", "Most likely", "Ask again later", "Outlook not so good", "Very doubtful"]


def cut_from_it(home: Home, cut: dict[str, Any], **more: Any) -> None:
    """The tiny spec with a teacher in a folder and a student cut from it."""
    folder(home.root / "specs/teacher")

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
    # a student of twelve steps answers nothing; everything else holds
    verdict = json.loads((fresh.evidence / "verdict.json").read_text(encoding="utf-8"))
    assert {one["rule"] for one in verdict["outcomes"] if one["outcome"] != "pass"} == QUALITY
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
