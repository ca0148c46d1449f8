"""Text ↔ ids under a template that a spec writes itself: `<bos>` + template up to the response + response + `<eos>`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import Tokenizer as Backend

from runtime.contract import Refusal, rows
from runtime.contract.conversation import Prompt, Reply
from runtime.models.tokenizer.places import SECTION, Place
from runtime.models.tokenizer.text import Encoded, Tokenizer


def split_template(template: str) -> tuple[str, str]:
    """The texts before the prompt and between prompt and response. Raises Refusal for any other form."""
    if template.count("{prompt}") != 1 or template.count("{response}") != 1:
        raise Refusal(
            "the template must hold {prompt} and {response} exactly once", action='for example "{prompt}\\n{response}"'
        )
    before, rest = template.split("{prompt}") if template.index("{prompt}") < template.index("{response}") else ("", "")
    if not rest:
        raise Refusal("the template must hold {prompt} before {response}", action="exchange the two")
    between, after = rest.split("{response}")
    if after:
        raise Refusal(
            f"the template has text after {{response}}: {after!r}",
            action="end the template with {response}; the end token closes every response",
        )
    return before, between


def _text(value: Prompt | Reply) -> str:
    """Raises Refusal for what has no place in one question and its answer."""
    if isinstance(value, str):
        return value
    raise Refusal(
        f"a conversation does not fit a template of one question and its answer: {str(value)[:60]!r}",
        action="write `tokenizer.template: chat`, or map prompt and response of the data source",
    )


class Plain(Tokenizer):
    """The tokenizer of a spec whose template is a text with {prompt} and {response}."""

    def __init__(self, backend: Backend, special: Mapping[str, int], template: str, vocab_size: int) -> None:
        super().__init__(backend, special, vocab_size)
        before, between = split_template(template)
        self.template = template
        self.template_sha256 = hashlib.sha256(template.encode()).hexdigest()
        self.stop_ids = (self.eos_id,)
        head, tail = self._pieces(before), self._pieces(between)
        # the run of text that holds the prompt: what the template writes before it, and after it
        self._lead = head.pop() if head and isinstance(head[-1], str) else ""
        self._trail = tail.pop(0) if tail and isinstance(tail[0], str) else ""
        self._head = self._fixed(head, "start")
        self._run_at: Place = "section" if head else "start"
        self._last = tail[-1] if tail and isinstance(tail[-1], str) else ""
        self._tail = self._fixed(tail, "inside")
        self._cut = bool(tail)
        self._response_at: Place = "section" if tail and not self._last else "inside"

    def _run(self, prompt: str) -> str:
        return f"{self._lead}{prompt}{self._trail}"

    def _place(self, prompt: str) -> Place:
        """Where a response stands after this prompt."""
        if self._cut or self._run(prompt):
            return self._response_at
        return self._run_at

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        text = _text(prompt)
        return [self.bos_id, *self._head, *self._encode(self._run(text), self._run_at).ids, *self._tail]

    def encode_pair(self, prompt: Prompt, response: Reply) -> Encoded:
        head, text = self.encode_prompt(prompt), _text(response)
        tail = self._encode(text, self._place(_text(prompt)))
        offsets = self._byte_offsets(tail.ids, tail.tokens, tail.offsets, text)
        return Encoded(ids=[*head, *tail.ids, self.eos_id], prompt_tokens=len(head), offsets=offsets)

    def sequences(self, row: Mapping[str, Any]) -> list[Encoded]:
        return [self.encode_pair(rows.prompt_of(row), rows.reply_of(row))]

    def decode_response(self, ids: Iterable[int]) -> str:
        """Where the tokenizer puts a space before a response, it is taken away."""
        return self._decode(ids, self._response_at)

    def survives(self, prompt: Prompt, response: Reply) -> bool:
        asked, answer = _text(prompt), _text(response)
        run, place = self._run(asked), self._place(asked)
        there = self._decode(self._encode(run, self._run_at).ids, self._run_at) == run
        return there and self._decode(self._encode(answer, place).ids, place) == answer

    def as_written(self, prompt: Prompt) -> bool | None:
        asked = _text(prompt)
        if any(text in asked for text in self._control_texts):
            return None
        before, between = split_template(self.template)
        return bool(self._as_a_server(f"{before}{asked}{between}").ids == self.encode_prompt(asked)[1:])

    def border(self, prompt: Prompt, response: Reply) -> tuple[bool, str]:
        asked, answer = _text(prompt), _text(response)
        text, place = (self._last, SECTION) if self._cut else (self._run(asked), self._run_at)
        return self._straddling(text, place, answer, self._place(asked))
