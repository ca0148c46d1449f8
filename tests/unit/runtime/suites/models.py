"""Runners without tensors: what they say and how likely they find it is written down."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runtime.contract import Runner, Said, Suite, TokenScore, Written, items
from runtime.contract.questioned import JUDGE


class Scripted:
    """Answers from `says`; scores from `likes` (probability of a response), one token per word and one for the end.
    `weighs` gives the logit of a token after what was asked and answered; in answers a token is a character."""

    def __init__(
        self,
        says: Callable[[str], str] = lambda _: "",
        likes: Callable[[str, str], float] = lambda *_: 1.0,
        name: str = "scripted",
        weighs: Callable[[str, str], float] = lambda *_: 1.0,
    ) -> None:
        self.name, self._says, self._likes, self._weighs = name, says, likes, weighs
        self.asked: list[str] = []

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        self.asked += prompts
        return [" ".join(self._says(prompt).split(" ")[:max_new_tokens]) for prompt in prompts]

    def say(self, prompts: Sequence[str], max_new_tokens: int) -> list[Said]:
        self.asked += prompts
        whole = [self._says(prompt).split(" ") for prompt in prompts]
        return [Said(text=" ".join(one[:max_new_tokens]), cut=len(one) > max_new_tokens) for one in whole]

    def write(self, prompts: Sequence[str], max_new_tokens: int) -> list[Written]:
        said = self.generate(prompts, max_new_tokens)
        return [Written(text=text, ids=[*map(ord, text), 0]) for text in said]

    def weigh(self, prompt: str, answer: Sequence[int], tokens: Sequence[int]) -> list[float]:
        return [self._weighs(prompt + "".join(map(chr, answer)), chr(token)) for token in tokens]

    def spell(self, token: int) -> str:
        return chr(token)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[TokenScore]:
        return [
            TokenScore(log_probability=math.log(self._likes(prompt, response)), tokens=len(response.split()) + 1)
            for prompt, response in pairs
        ]


def row(prompt: str, response: str, subject: str = "", name: str = "") -> Mapping[str, object]:
    return {
        "id": name or prompt,
        "prompt": prompt,
        "response": response,
        "class": subject,
        "spans": {},
        "source": "s",
    }


_SEEN: set[str] = set()


def _empty(suite: Suite, rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], params: Any, seed: int) -> None:
    """Reports on no answers at all, as the step does before it asks anybody; the same rows and parameters once."""
    about = [suite.name, params.model_dump(mode="json"), list(map(dict, rows)), list(tools), seed]
    key = hashlib.sha256(json.dumps(about, default=repr).encode()).hexdigest()
    if key not in _SEEN:
        suite.data_of([], rows, tools, params, seed)
        _SEEN.add(key)


def lines_of(
    suite: Suite,
    runners: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    params: Any,
    seed: int = 0,
    lots: int = 2,
) -> list[items.Line]:
    """The lines that a suite leaves: every runner is asked in so many lots, as `runtime.models.asking` does."""
    _empty(suite, rows, tools, params, seed)
    asked = {name: suite.select(rows, name, params) for name in runners}
    asked = {name: mine for name, mine in asked.items() if mine}
    found: dict[tuple[str, str], items.Line] = {}
    for lot in range(lots):
        parts = {name: mine[lot::lots] for name, mine in asked.items() if mine[lot::lots]}
        made = {name: list(suite.ask(name, runners[name], mine, tools, params, seed)) for name, mine in parts.items()}
        if suite.compare is not None and parts:
            besides = [] if suite.judge is None else [JUDGE]
            compared: dict[str, Runner] = {name: runners[name] for name in (*parts, *besides)}
            policies = {} if suite.zoo is None else suite.zoo(rows, tools, params)
            trivial = {name: list(outputs)[lot::lots] for name, outputs in policies.items()}
            made = {
                name: [dict(one) for one in mine]
                for name, mine in suite.compare(compared, next(iter(parts.values())), made, trivial, params).items()
            }
        found |= {(name, str(one["row"])): dict(one) for name, mine in made.items() for one in mine}
    lines = [found[name, str(row["id"])] for name, mine in asked.items() for row in mine]
    whole = suite.complete(lines, rows, tools, params) if suite.complete is not None else lines
    return items.read(items.written(whole))


def reported(
    suite: Suite,
    runners: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    params: Any,
    seed: int = 0,
) -> dict[str, Any]:
    """The data of a suite's report over these runners."""
    return suite.data_of(lines_of(suite, runners, rows, tools, params, seed), rows, tools, params, seed)
