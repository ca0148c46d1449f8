"""Courts of the flow tests: a tiny project whose answers a judge compares, one of a folder or one behind a server."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from runtime.contract import items, zoo
from runtime.contract.verdicts import FIRST, SECOND, TIE, Pair, pair, read
from tests.flow.world import ROOT, Home
from tests.unit.runtime.asking.test_hosted_judge import KEY, gold, telling
from tests.unit.runtime.data.teaching import Reply, Server

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
    """Pairs with an outcome, of which the longer answer wins as often as it loses."""
    rows = []
    for n in range(90):
        one, two = (n % 7, n % 5) if n % 7 != n % 5 or n % 3 else (n % 7 + 1, n % 5)
        longer = (one > two) == bool(n % 2)
        made = pair(f"{n} more?", f"{one} of them" if longer else str(one), str(two) if longer else f"{two} of them")
        rows.append({"prompt": made.prompt, "response": gold(made)})
    return "".join(json.dumps(row) + "\n" for row in rows)


#: rows whose answers are compared
TASKS = 64


def tasks() -> str:
    return "".join(
        json.dumps({"prompt": f"Will my plan {n} work?", "response": f"gold {n}"}) + "\n" for n in range(TASKS)
    )


def court(home: Home) -> Home:
    def edit(data: dict[str, Any]) -> None:
        data["data"]["sources"] += [
            {"name": name, "kind": "jsonl", "path": f"{name}.jsonl", "split": "test", "license": "MIT"}
            for name in ("pairs", "tasks")
        ]
        data["data"]["held_out"] = 0.1
        # one shape and little training: who is compared need know nothing, but must say something, since silence is
        # worth nothing
        data["shapes"] |= {"prefill": [96], "decode": {"context": 96}}
        for trained in (data["teacher"], data["training"]["stages"][0]):
            trained["steps"] = 60
            trained["optimizer"]["warmup_steps"] = 1
        data["training"]["stages"][0]["optimizer"]["learning_rate"] = 5.0e-3
        for who in ("teacher", "student"):
            data[who]["architecture"]["max_position_embeddings"] = 96
        part = {"source": "tasks"}
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
    (home.spec.parent / "tasks.jsonl").write_text(tasks())
    folder(home.spec.parent / "judge", pairs())
    return home


def outcomes(home: Home) -> dict[tuple[str, str], dict[str, Any]]:
    verdict = json.loads((home.evidence / "verdict.json").read_text())
    return {(one["step"], one["rule"].rpartition("/")[2]): one for one in verdict["outcomes"]}


#: how sure the judges here are, and right so often
SURE = 0.97
Verdict = Callable[[Pair], str]


def knows(asked: Pair) -> bool:
    """Whether it is one of the pairs with an outcome, and not of two models' answers."""
    return re.fullmatch(r"\d+ more\?", asked.task) is not None


def prefers(better: Callable[[str], bool]) -> Verdict:
    """Who knows which number is more, sees an answer's own words, and of two models prefers answers that are `better`;
    beside a row's own answer any is as good but for what is said by whom has not read the task."""

    def unread(asked: Pair, text: str, own: str) -> bool:
        return text in ("", asked.task, zoo.REFUSAL) or (re.fullmatch(r"gold \d+", text) is not None and text != own)

    def says(asked: Pair) -> str:
        if knows(asked):
            return gold(asked)
        own = f"gold {asked.task.split()[3]}"
        answers = (asked.first, asked.second)
        one, two = (not unread(asked, text, own) if own in answers else better(text) for text in answers)
        return TIE if one == two else FIRST if one else SECOND

    return says


#: who finds any two models' answers equally good
EVEN = prefers(lambda _: True)


@contextmanager
def there(home: Home, says: Verdict, **more: Any) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server that judges so, as the judge of the spec; `reply` of the state replaces what it answers to a pair."""
    state: dict[str, Any] = {"model": "judge-1", "reply": lambda _, value: value}

    def answer(prompt: str, _: int) -> Reply:
        asked = read(prompt)
        value = state["reply"](asked, telling(says(asked), SURE, model=state["model"]))
        return value if isinstance(value, tuple) else (200, {}, value)

    server = Server(answer)
    where = {"base_url": server.url, "model": "judge-1", "top_logprobs": 20, "api_key": "env:TEACHER_KEY"}
    pace = {"requests_per_minute": 1_000_000, "attempts": 1, "concurrency": 8}
    judge = {"server": {**where, **pace, **more}, "rows": {"source": "pairs"}}
    home.change(lambda data: data["evaluation"].update(judge=judge))
    try:
        yield server, state
    finally:
        server.close()


def apply(home: Home) -> Any:
    return home.apply(env={"TEACHER_KEY": KEY})


def of_the_court(home: Home) -> set[str]:
    return {one["outcome"] for (step, _), one in outcomes(home).items() if step == COURT}


def lines(home: Home) -> list[items.Line]:
    return items.read((home.stored(COURT, "items") / items.FILE).read_bytes())
