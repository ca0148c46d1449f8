"""Answers of student and teacher before a judge, from a folder to the gates: a judge who has not passed decides nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from kcompiler import lock
from runtime.contract import items
from runtime.contract.verdicts import FIRST, SECOND, TIE, pair
from tests.flow.world import ROOT, Home, make

REFEREE, COURT = "evaluate-the-judge", "evaluate-judged"


def folder(to: Path, text: str) -> None:
    """A tiny llama with its own tokenizer, which has learnt nothing."""
    to.mkdir()
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    end = [AddedToken("<|endoftext|>", special=True)]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=end, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator([text], trainer)
    backend.save(str(to / "tokenizer.json"))
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=300, max_position_embeddings=512, num_key_value_heads=1, bos_token_id=0, eos_token_id=0, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(to)


def pairs() -> str:
    """Which of two numbers is more, each with its outcome."""
    rows = []
    for number in range(80):
        one, two = number % 7, number % 5
        gold = FIRST if one > two else SECOND if two > one else TIE
        rows.append({"prompt": pair(f"{number} more?", str(one), str(two)).prompt, "response": gold})
    return "".join(json.dumps(row) + "\n" for row in rows)


def court(home: Home) -> Home:
    def edit(data: dict[str, Any]) -> None:
        (known,) = data["data"]["sources"]
        data["data"]["sources"].append(
            {"name": "pairs", "kind": "jsonl", "path": "pairs.jsonl", "split": "test", "license": "MIT"}
        )
        data["data"]["held_out"] = 0.1
        # one shape and hardly any training: who is compared need know nothing
        data["shapes"] |= {"prefill": [96], "decode": {"context": 96}}
        for trained in (data["teacher"], data["training"]["stages"][0]):
            trained["steps"] = 4
            trained["optimizer"]["warmup_steps"] = 1
        for who in ("teacher", "student"):
            data[who]["architecture"]["max_position_embeddings"] = 96
        part = {"source": known["name"]}
        data["evaluation"] = {
            "suites": [{"use": "judged", "rows": part, "max_new_tokens": 8}],
            "judge": {"model": "judge", "rows": {"source": "pairs"}},
        }
        data["policies"] = ["caws/core", "quality/judged"]

    home.change(edit)
    lenient = home.root / "policies/lab/lenient"
    shutil.copytree(ROOT / "policies/quality/judged", lenient)
    pack = lenient / "pack.yaml"
    pack.write_text(pack.read_text().replace("name: quality/judged", "name: lab/lenient"))
    for rule in lenient.glob("judge-*/rule.yaml"):
        if rule.parent.name != "judge-sound":
            rule.write_text(rule.read_text().replace("mode: block", "mode: warn"))
    (home.spec.parent / "pairs.jsonl").write_text(pairs())
    folder(home.spec.parent / "judge", pairs())
    return home


def outcomes(home: Home) -> dict[tuple[str, str], dict[str, Any]]:
    verdict = json.loads((home.evidence / "verdict.json").read_text())
    return {(one["step"], one["rule"].rpartition("/")[2]): one for one in verdict["outcomes"]}


@pytest.mark.slow
def test_what_a_judge_says_counts_for_nothing_until_it_has_passed(tmp_path: Path) -> None:
    home = court(make(tmp_path))
    # a judge that fails is not even asked
    ended = home.apply().ended(1, "fail")
    assert f"{COURT}: blocked, {REFEREE}: quality/judged/judge-" in ended.err
    found = outcomes(home)
    assert found[REFEREE, "judge-beyond-trivial"]["outcome"] == "fail", found[REFEREE, "judge-beyond-trivial"]
    assert {one["outcome"] for (step, _), one in found.items() if step == COURT} == {"not_evaluated"}
    # where a pack lets it speak, nothing that it says is decided
    home.change(lambda data: data.update(policies=["caws/core", "lab/lenient"]))
    home.apply().ended(1, "inconclusive")
    mine = [one for (step, _), one in outcomes(home).items() if step == COURT]
    assert {one["outcome"] for one in mine} == {"inconclusive"}
    assert {one["reason"] for one in mine if one["rule"].startswith("lab/")} == {
        f"no blocking rule bounds the calibration error of the judge in the report of `{REFEREE}`"
    }
    held = items.read((home.stored(COURT, "items") / items.FILE).read_bytes())
    asked = [one for one in held if one["runner"] == "student"]
    assert len(asked) * 2 == len(held) > 120
    assert all(list(one["output"]) == ["text", "asked", "swapped"] for one in asked)
    report = json.loads((home.evidence / f"reports/{COURT}.json").read_text())
    assert report["data"]["items"]["value"] == len(asked)
    # the audit judges the lines of both reports again, and every obligation names the judge
    count = len(held) + len(items.read((home.stored(REFEREE, "items") / items.FILE).read_bytes()))
    assert f"{count} items" in home.audit().ended(0, "").out
    plan = json.loads(home.lock.read_text())
    assert {one.get("judged_by") for one in plan["obligations"] if one["from"] == f"step:{COURT}"} == {
        f"step:{REFEREE}"
    }
    for one in plan["obligations"]:
        one.pop("judged_by", None)
    home.lock.write_text(lock.dump(plan))
    assert "does not name the judge that its report rests on" in home.audit().ended(1, "disagreement").out
