"""The words of a folder that somebody else made, for a runner: its own chat template, or plain text without one.

A response is what follows the prompt as text of its own, and ends where the folder says that answers end.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from runtime.contract import Refusal
from runtime.contract.asked import CannotAnswer
from runtime.contract.conversation import Prompt, Reply, messages_of, sent, tools_of
from runtime.generate import words
from runtime.models.tokenizer import Encoded


class Folder:
    """What a runner needs of a tokenizer (`runtime.models.tokenizer.Tokenizer`), by the files of a folder."""

    def __init__(self, folder: Path, width: int) -> None:
        """`width`: logits per position of the model. Raises Refusal for words that cannot be read, or too many."""
        self._words = words.load(folder, folder)
        if self._words.size > width:
            raise Refusal(
                f"the tokenizer has {self._words.size} tokens, the model {width}",
                place=folder.name,
                action="take the tokenizer that belongs to these weights",
            )
        self.vocab_size = width
        self.stop_ids = tuple(sorted(self._words.stops))
        self.pad_id = self.stop_ids[0]

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """The chat up to where the answer begins; without a chat template the text, to be continued. Raises Refusal."""
        if not self._words.template and isinstance(prompt, str):
            return self._words.continued(prompt)
        try:
            ids = self._words.encode(sent(messages_of(prompt)), tools_of(prompt))
        except words.BadChat as error:
            raise Refusal(
                f"a row cannot be written by the model's chat template: {error}",
                action="take rows that are one question each, or another model",
            ) from None
        self._tell(prompt, ids)
        return ids

    def _tell(self, prompt: Prompt, ids: list[int]) -> None:
        """Raises CannotAnswer where a row offers tools that the text does not name: who is not told of a tool cannot
        call it, and is right wherever none is to be called."""
        names = [str(one["function"]["name"]) for one in tools_of(prompt)]
        text = self._words.decode(ids) if names else ""
        untold = [name for name in names if name not in text]
        if untold:
            raise CannotAnswer(
                f"the model's chat template does not say which tools a row offers (`{untold[0]}`): say it in the row's "
                "messages, as rows of `python -m runtime.data.bfcl … --prompted` do, or take another model"
            )

    def encode_pair(self, prompt: Prompt, response: Reply) -> Encoded:
        """Prompt, answer and end. Raises Refusal for an answer that is more than a text."""
        if not isinstance(response, str):
            raise Refusal(
                "an answer that calls tools cannot be scored by a model with words of its own",
                action="take rows whose answers are text",
            )
        asked = self.encode_prompt(prompt)
        said = self._words.following(response)
        return Encoded(ids=[*asked, *said, self.stop_ids[0]], prompt_tokens=len(asked), offsets=[])

    def until_stop(self, ids: list[int]) -> list[int]:
        """The ids before the first that ends an answer."""
        end = next((at for at, one in enumerate(ids) if one in self.stop_ids), len(ids))
        return ids[:end]

    def decode(self, ids: Iterable[int]) -> str:
        return self._words.decode(list(ids))

    def decode_response(self, ids: Iterable[int]) -> str:
        """The answer's text without what the template writes around one."""
        text, (before, after) = self._words.decode(list(ids)), self._words.around
        return text.removeprefix(before).removesuffix(after) if before or after else text
