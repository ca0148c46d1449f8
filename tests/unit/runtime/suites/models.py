"""Runners without tensors: what they say and how likely they find it is written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from runtime.contract import TokenScore, Written


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
