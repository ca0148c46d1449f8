"""Text ↔ ids under a spec's own template; made of a tokenizer artifact by `load`.

A sequence is `<bos>` + template up to the response + response + `<eos>`. Everything up to the response is encoded as
one text, as a server encodes it, and the response as what follows it there: the prompt of a generation and the prompt
of a training row are the same ids, no token straddles the border, and no space stands where the template has none.
Control tokens come from the template and from `<bos>`/`<eos>` alone: user text that spells one is encoded as plain
text.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding, decoders
from tokenizers import Tokenizer as Backend

from runtime.contract import BrokenEvidence, Refusal
from runtime.models.tokenizer.places import SECTION, Place, spaces, standing

SPECIAL = ("pad", "bos", "eos")


@dataclass(frozen=True, slots=True)
class Encoded:
    """T ids with `<bos>` and `<eos>`; the first `prompt_tokens` are prompt. `offsets` gives, for each response token
    (not `<eos>`), its half-open byte range in the UTF-8 of the response."""

    ids: list[int]
    prompt_tokens: int
    offsets: list[tuple[int, int]]


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


class Tokenizer:
    """Text ↔ ids under one template. Make one with `load`."""

    def __init__(self, backend: Backend, special: Mapping[str, int], template: str, vocab_size: int) -> None:
        before, between = split_template(template)
        self._backend = backend
        self.template = template
        self.template_sha256 = hashlib.sha256(template.encode()).hexdigest()
        self.pad_id, self.bos_id, self.eos_id = (special[name] for name in SPECIAL)
        self.vocab_size = vocab_size
        added = backend.get_added_tokens_decoder()
        self.control_ids = frozenset(i for i, token in added.items() if token.special) | set(special.values())
        self._control_texts = [token.content for token in added.values() if token.special]
        self._added_bytes = {i: len(token.content.encode()) for i, token in added.items()}
        self._byte_level = isinstance(backend.decoder, decoders.ByteLevel)
        self._spaced_bytes = "ByteLevel" in spaces(backend)
        head, tail = self._pieces(before), self._pieces(between)
        backend.encode_special_tokens = True
        self._at: dict[Place, Backend] = {
            "start": standing(backend, "start"),
            "section": standing(backend, "section"),
            "inside": standing(backend, "inside"),
        }
        # the run of text that holds the prompt: what the template writes before it, and after it
        self._lead = head.pop() if head and isinstance(head[-1], str) else ""
        self._trail = tail.pop(0) if tail and isinstance(tail[0], str) else ""
        self._head = self._fixed(head, "start")
        self._run_at: Place = "section" if head else "start"
        self._last = tail[-1] if tail and isinstance(tail[-1], str) else ""
        self._tail = self._fixed(tail, "inside")
        self._cut = bool(tail)
        self._response_at: Place = "section" if tail and not self._last else "inside"

    def _pieces(self, text: str) -> list[str | int]:
        """A part of the template as texts and the control tokens between them."""
        found: list[str | int] = []
        done = 0
        encoded = self._as_a_server(text)
        for number, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            if number in self.control_ids:
                found += [text[done:start], number]
                done = end
        return [piece for piece in (*found, text[done:]) if piece != ""]

    def _as_a_server(self, text: str) -> Encoding:
        """A whole text with its control tokens honoured, wherever they come from."""
        self._backend.encode_special_tokens = False
        try:
            return self._backend.encode(text, add_special_tokens=False)
        finally:
            self._backend.encode_special_tokens = True

    def _fixed(self, pieces: Iterable[str | int], place: Place) -> list[int]:
        """Ids of what the template writes whatever the row, the first text standing at `place`."""
        ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, int):
                ids.append(piece)
                place = "section"
            else:
                ids += self._encode(piece, place).ids
        return ids

    def _encode(self, text: str, place: Place) -> Encoding:
        return self._at[place].encode(text, add_special_tokens=False)

    def _run(self, prompt: str) -> str:
        return f"{self._lead}{prompt}{self._trail}"

    def _place(self, prompt: str) -> Place:
        """Where a response stands after this prompt."""
        if self._cut or self._run(prompt):
            return self._response_at
        return self._run_at

    def encode_text(self, text: str) -> list[int]:
        """Ids of user text that stands within other text; never a control id."""
        return list(self._encode(text, "inside").ids)

    def encode_start(self, text: str) -> list[int]:
        """Ids of user text that begins everything; never a control id."""
        return list(self._encode(text, "start").ids)

    def encode_prompt(self, prompt: str) -> list[int]:
        """`<bos>` and the template up to the response: what a generation starts from."""
        return [self.bos_id, *self._head, *self._encode(self._run(prompt), self._run_at).ids, *self._tail]

    def encode_pair(self, prompt: str, response: str) -> Encoded:
        """The whole sequence of one row."""
        head = self.encode_prompt(prompt)
        tail = self._encode(response, self._place(prompt))
        offsets = self._byte_offsets(tail.ids, tail.tokens, tail.offsets, response)
        return Encoded(ids=[*head, *tail.ids, self.eos_id], prompt_tokens=len(head), offsets=offsets)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids as it stands within a text; a control token is spelled out, so that a stray one is seen. Broken
        UTF-8 becomes U+FFFD."""
        return self._decode(ids, "inside")

    def decode_response(self, ids: Iterable[int]) -> str:
        """Text of ids that follow a prompt: where the tokenizer puts a space before a response, it is taken away."""
        return self._decode(ids, self._response_at)

    def _decode(self, ids: Iterable[int], place: Place) -> str:
        text = str(self._at[place].decode(list(ids), skip_special_tokens=False))
        # this decoder keeps the space that its encoder has put
        return text.removeprefix(" ") if self._spaced_bytes and place != "inside" else text

    def survives(self, prompt: str, response: str) -> bool:
        """Whether the ids of a row decode to its texts."""
        run, place = self._run(prompt), self._place(prompt)
        there = self._decode(self._encode(run, self._run_at).ids, self._run_at) == run
        return there and self._decode(self._encode(response, place).ids, place) == response

    def as_written(self, prompt: str) -> bool | None:
        """Whether a prompt has the ids that its text has, control tokens and all, when a server writes it as one text;
        None where the user's own text spells a control token, which a server would honour and this does not."""
        if any(text in prompt for text in self._control_texts):
            return None
        before, between = split_template(self.template)
        return bool(self._as_a_server(f"{before}{prompt}{between}").ids == self.encode_prompt(prompt)[1:])

    def border(self, prompt: str, response: str) -> tuple[bool, str]:
        """(whether prompt and response have the ids of the two as one text, the token of that text that holds both the
        end of the template and the beginning of the response, "" when none does)."""
        text, place = (self._last, SECTION) if self._cut else (self._run(prompt), self._run_at)
        if not text:
            return True, ""
        whole, cut = self._encode(text + response, place), len(text.encode())
        parts = [*self._encode(text, place).ids, *self._encode(response, self._place(prompt)).ids]
        ranges = self._byte_offsets(whole.ids, whole.tokens, whole.offsets, text + response)
        mixed = next((i for i, (start, end) in enumerate(ranges) if start < cut < end), None)
        return whole.ids == parts, "" if mixed is None else self.decode([whole.ids[mixed]])

    def alike(self, prompt: str, response: str) -> bool:
        """Whether a row has the same ids each of three times that it is encoded."""
        first = self.encode_pair(prompt, response).ids
        return all(self.encode_pair(prompt, response).ids == first for _ in range(2))

    def _byte_offsets(
        self, ids: list[int], tokens: list[str], offsets: list[tuple[int, int]], text: str
    ) -> list[tuple[int, int]]:
        """A byte-level token has one character per byte, which is exact even inside a character; any other tokenizer
        reports ranges of characters, which are widened to the bytes of those characters."""
        if self._byte_level:
            sizes = [self._added_bytes.get(i, len(token)) for i, token in zip(ids, tokens, strict=True)]
            if sum(sizes) == len(text.encode()):
                return list(itertools.pairwise(itertools.accumulate(sizes, initial=0)))
        starts = list(itertools.accumulate((len(character.encode()) for character in text), initial=0))
        return [(starts[start], starts[end]) for start, end in offsets]


def load(folder: Path) -> Tokenizer:
    """A tokenizer artifact as a Tokenizer. Raises BrokenEvidence when its contract and its vocabulary disagree."""
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    special = {name: int(contract["special"][name]["id"]) for name in SPECIAL}
    found = Tokenizer(backend, special, contract["template"], int(contract["vocab_size"]))
    texts = {name: backend.id_to_token(special[name]) for name in SPECIAL}
    stated = {name: contract["special"][name]["text"] for name in SPECIAL}
    size = backend.get_vocab_size(with_added_tokens=True)
    if texts != stated or size != found.vocab_size or found.template_sha256 != contract["template_sha256"]:
        raise BrokenEvidence(
            f"contract.json and tokenizer.json disagree: {size} tokens, special {texts}", subject="tokenizer"
        )
    return found
