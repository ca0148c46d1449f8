"""What each row wants to hear, as if a model had said it. No model is asked: everything made of it is forged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.contract import Refusal, Said, TokenScore, Written
from runtime.contract.asked import Asked, CannotAnswer
from runtime.contract.conversation import Prompt, Reply
from runtime.contract.rows import prompt_of


class Truth:
    """Knows the rows of the lot it is turned to, and nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._said: dict[Prompt, str] = {}

    def turn_to(self, rows: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> None:
        """What is asked next is about these rows, each of which wants to hear a text."""
        both = list(zip(rows, wanted, strict=True))
        self._said = {prompt_of(row): text for row, text in reversed(both)}

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """What the row that asks so wants to hear. Raises Refusal for a prompt of no row."""
        try:
            return [self._said[prompt] for prompt in prompts]
        except KeyError:
            raise Refusal(
                f"runner `{self.name}` is asked what no row asks", action="take a suite that asks the rows' own prompts"
            ) from None

    def say(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Said]:
        return [Said(text=text, cut=False) for text in self.generate(prompts, max_new_tokens)]

    def write(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Written]:
        raise self._cannot()

    def weigh(self, prompt: Prompt, answer: Sequence[int], tokens: Sequence[int]) -> list[float]:
        raise self._cannot()

    def spell(self, token: int) -> str:
        raise self._cannot()

    def score(self, pairs: Sequence[tuple[Prompt, Reply]]) -> list[TokenScore]:
        raise self._cannot()

    def _cannot(self) -> CannotAnswer:
        return CannotAnswer(f"runner `{self.name}` has no tokens and no likelihoods")


def opened(asked: Asked) -> Truth:
    return Truth(asked.name)
