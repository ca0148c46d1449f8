"""Runners without tensors: what they say and how likely they find it is written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from runtime.contract import TokenScore


class Scripted:
    """Answers from `says`; scores from `likes` (probability of a response), one token per word and one for the end."""

    def __init__(
        self,
        says: Callable[[str], str] = lambda _: "",
        likes: Callable[[str, str], float] = lambda *_: 1.0,
        name: str = "scripted",
    ) -> None:
        self.name, self._says, self._likes = name, says, likes
        self.asked: list[str] = []

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        self.asked += prompts
        return [" ".join(self._says(prompt).split(" ")[:max_new_tokens]) for prompt in prompts]

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
