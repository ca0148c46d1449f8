"""Text ↔ ids, whatever the template: what `plain` (a spec's own) and `chat` (the tokenizer's own) have in common.

Everything up to a response is encoded as one text, as a server encodes it, and the response as what follows it there:
the prompt of a generation and the prompt of a training row are the same ids, no token straddles the border, and no
space stands where the template has none. Control tokens come from the template alone: user text that spells one is
encoded as plain text.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding, decoders
from tokenizers import Tokenizer as Backend

from runtime.contract.conversation import Prompt, Reply
from runtime.models.tokenizer.places import Place, spaces, standing

SPECIAL = ("pad", "bos", "eos")


@dataclass(frozen=True, slots=True)
class Encoded:
    """T ids, control tokens included; the first `prompt_tokens` are prompt. `offsets` gives, for each response token
    (not the end token), its half-open byte range in the UTF-8 of the response. `earlier` are the half-open token ranges
    of earlier turns in the prompt that the model is to learn as well, each with its end token."""

    ids: list[int]
    prompt_tokens: int
    offsets: list[tuple[int, int]]
    earlier: tuple[tuple[int, int], ...] = ()


class Tokenizer(ABC):
    """Text ↔ ids under one template. Make one with `load`."""

    #: the template by the spec's word for it, and what stands for all that decides how a prompt is written
    template: str
    template_sha256: str
    #: ids at which a generation ends, the template's own first
    stop_ids: tuple[int, ...]

    def __init__(self, backend: Backend, special: Mapping[str, int], vocab_size: int) -> None:
        self._backend = backend
        self.pad_id, self.bos_id, self.eos_id = (special[name] for name in SPECIAL)
        self.vocab_size = vocab_size
        added = backend.get_added_tokens_decoder()
        self.control_ids = frozenset(i for i, token in added.items() if token.special) | set(special.values())
        self._control_texts = [token.content for token in added.values() if token.special]
        self._added_bytes = {i: len(token.content.encode()) for i, token in added.items()}
        self._byte_level = isinstance(backend.decoder, decoders.ByteLevel)
        self._spaced_bytes = "ByteLevel" in spaces(backend)
        backend.encode_special_tokens = True
        self._at: dict[Place, Backend] = {
            "start": standing(backend, "start"),
            "section": standing(backend, "section"),
            "inside": standing(backend, "inside"),
        }

    @abstractmethod
    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """What a generation starts from: the template up to the response."""

    @abstractmethod
    def encode_pair(self, prompt: Prompt, response: Reply) -> Encoded:
        """The whole sequence of one question and its answer, the end token last."""

    @abstractmethod
    def sequences(self, row: Mapping[str, Any]) -> list[Encoded]:
        """What is learnt from one dataset row: each turn of the model's once, with exactly what stands before it when
        it is asked."""

    @abstractmethod
    def decode_response(self, ids: Iterable[int]) -> str:
        """Text of ids that follow a prompt, without what the template puts around a response."""

    @abstractmethod
    def survives(self, prompt: Prompt, response: Reply) -> bool:
        """Whether the ids of a row decode to its texts."""

    @abstractmethod
    def as_written(self, prompt: Prompt) -> bool | None:
        """Whether a prompt has the ids that its text has, control tokens and all, when a server writes it as one text;
        None where the user's own text spells a control token, which a server would honour and this does not."""

    @abstractmethod
    def border(self, prompt: Prompt, response: Reply) -> tuple[bool, str]:
        """(whether prompt and response have the ids of the two as one text, the token of that text that holds both the
        end of the template and the beginning of the response, "" when none does)."""

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

    def encode_text(self, text: str) -> list[int]:
        """Ids of user text that stands within other text; never a control id."""
        return list(self._encode(text, "inside").ids)

    def encode_start(self, text: str) -> list[int]:
        """Ids of user text that begins everything; never a control id."""
        return list(self._encode(text, "start").ids)

    def until_stop(self, ids: list[int]) -> list[int]:
        """Ids of a generation up to the first that ends it."""
        end = next((at for at, number in enumerate(ids) if number in self.stop_ids), len(ids))
        return ids[:end]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids as it stands within a text; a control token is spelled out, so that a stray one is seen. Broken
        UTF-8 becomes U+FFFD."""
        return self._decode(ids, "inside")

    def _decode(self, ids: Iterable[int], place: Place) -> str:
        text = str(self._at[place].decode(list(ids), skip_special_tokens=False))
        # this decoder keeps the space that its encoder has put
        return text.removeprefix(" ") if self._spaced_bytes and place != "inside" else text

    def alike(self, prompt: Prompt, response: Reply) -> bool:
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

    def _straddling(self, text: str, place: Place, response: str, response_place: Place) -> tuple[bool, str]:
        """What `border` says of two texts that no control token parts."""
        if not text or not response:
            return True, ""
        whole, cut = self._encode(text + response, place), len(text.encode())
        parts = [*self._encode(text, place).ids, *self._encode(response, response_place).ids]
        ranges = self._byte_offsets(whole.ids, whole.tokens, whole.offsets, text + response)
        mixed = next((i for i, (start, end) in enumerate(ranges) if start < cut < end), None)
        return whole.ids == parts, "" if mixed is None else self.decode([whole.ids[mixed]])
