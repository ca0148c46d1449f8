"""Two tokenizers → for each id of the new one, the row or rows of the old one that its token begins with.

A token is what it writes: its bytes inside a text. `▁the` of a SentencePiece vocabulary and `Ġthe` of a byte-level one
are the same token. Rules, the first that fits:

    bytes      a token of the old vocabulary writes the same bytes: its row, bit for bit (first among ordinary, byte and
               added tokens each, then among all)
    role       the new pad, begin, end or unknown token: the row of the old one of that role, if no token has it
    unnamed    a reserved id on a row that no old token names: that row
    copied     the new token of a role whose old row another token has: a copy of it
    pieces     the mean of the rows by which the old tokenizer spells the token (FVT, arXiv 2402.09977)
    mean       the mean of all rows that old tokens name: asked for, reserved, or what cannot be spelled

No old row is kept twice. What `kept` lists is moved; the other three are initialised.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tokenizers import Tokenizer as Backend

from runtime.contract import Refusal
from runtime.models.tokenizer.places import standing
from runtime.models.tokenizer.reducing import levels

How = Literal["bytes", "role", "unnamed", "copied", "pieces", "mean"]
KEPT: frozenset[How] = frozenset({"bytes", "role", "unnamed"})
#: roles of control tokens, in the order in which they take rows; the unknown token is no control token of a spec
ROLES = ("eos", "bos", "unk", "pad")
_SPACE = "▁"
#: how a vocabulary names a byte that no other token writes
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_ACTION = "take weights whose tokenizer is BPE or Unigram, or start the student from random weights"


class Token(NamedTuple):
    """One id: its text as the file spells it, the bytes that it writes inside a text, and what kind of token it is."""

    text: str
    written: bytes
    kind: Literal["ordinary", "byte", "added"]
    special: bool = False


class Origin(NamedTuple):
    """Where the row of a new id comes from: one old id where it is kept or copied, those that are averaged for
    `pieces`, none for `mean`."""

    how: How
    old: tuple[int, ...]


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer as ids that write bytes. `roles` are the ids of ROLES, those that it names."""

    tokens: Mapping[int, Token]
    roles: Mapping[str, int]

    @property
    def special(self) -> frozenset[int]:
        """Ids of every control token and every role."""
        return frozenset({i for i, token in self.tokens.items() if token.special} | set(self.roles.values()))


@dataclass(frozen=True)
class Migration:
    """The map of a migration: an origin for each id 0..V-1 of the new vocabulary."""

    before: Vocabulary
    after: Vocabulary
    #: rows of the model before; a row that no token names may be among them
    rows_before: int
    origins: Sequence[Origin]

    @property
    def kept(self) -> dict[int, int]:
        """New id → old id of every row that is moved."""
        return {i: one.old[0] for i, one in enumerate(self.origins) if one.how in KEPT}

    @property
    def new(self) -> list[int]:
        """New ids that no old row stands for."""
        return [i for i, one in enumerate(self.origins) if one.how not in KEPT]

    @property
    def dropped(self) -> list[int]:
        """Old rows that no new id has, ascending."""
        return sorted(set(range(self.rows_before)) - set(self.kept.values()))

    @property
    def named(self) -> list[int]:
        """Old rows that an old token names: what a mean of all rows is taken over."""
        return sorted(i for i in self.before.tokens if i < self.rows_before)

    def _specials(self) -> frozenset[int]:
        return frozenset(i for i in self.before.special if i < self.rows_before)

    def lost_specials(self, gone: Iterable[str]) -> list[str]:
        """Control tokens and tokens of a role whose row nothing has any more, but those that may be gone."""
        passed, allowed = {i for one in self.origins if one.how in KEPT | {"copied"} for i in one.old}, set(gone)
        lost = (self.before.tokens[i].text for i in sorted(self._specials() - passed))
        return [text for text in lost if text not in allowed]

    def kept_specials(self, gone: Iterable[str]) -> tuple[int, int]:
        """How many of the old control tokens and tokens of a role are kept or may be gone, of how many."""
        count = len(self._specials())
        return count - len(self.lost_specials(gone)), count


def byte_level() -> dict[str, int]:
    """Character of a byte-level vocabulary → byte (GPT-2's `bytes_to_unicode`): printable bytes stand for themselves,
    the others for the characters from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    rest = (chr(0x100 + i) for i in range(256))
    return {chr(byte) if byte in printable else next(rest): byte for byte in range(256)}


def vocabulary(whole: Mapping[str, Any], roles: Mapping[str, str | int]) -> Vocabulary:
    """What a tokenizer.json means. `roles` are texts or ids; one that it does not have is left out.

    Raises Refusal for a model whose tokens do not write bytes of their own.
    """
    model = whole["model"]
    kind = model.get("type", "BPE")
    marked = [name for name in ("continuing_subword_prefix", "end_of_word_suffix") if model.get(name)]
    if kind not in ("BPE", "Unigram") or marked:
        what = f"with {marked[0]}" if kind == "BPE" else f"of kind {kind}"
        raise Refusal(f"a tokenizer {what} is not migrated: its tokens are no bytes", action=_ACTION)
    listed = model["vocab"]
    texts = {int(i): text for text, i in listed.items()} if isinstance(listed, dict) else {}
    texts = texts or {i: str(piece[0]) for i, piece in enumerate(listed)}
    rules = [whole.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")]
    characters = byte_level() if levels(whole) else {}
    spaced = _SPACE in json.dumps(rules, ensure_ascii=False)
    tokens = {i: _ordinary(text, characters, spaced, bool(model.get("byte_fallback"))) for i, text in texts.items()}
    for item in whole.get("added_tokens") or ():
        text = str(item["content"])
        tokens[int(item["id"])] = Token(text, text.encode(), "added", bool(item.get("special")))
    ids = {token.text: i for i, token in tokens.items()}
    unknown = model.get("unk_token", model.get("unk_id"))
    named = {**({} if unknown is None else {"unk": unknown}), **roles}
    found = {role: ids.get(said) if isinstance(said, str) else said for role, said in named.items()}
    return Vocabulary(tokens, {role: i for role, i in found.items() if i is not None and i in tokens})


def _ordinary(text: str, characters: Mapping[str, int], spaced: bool, fallback: bool) -> Token:
    if characters and all(one in characters for one in text):
        return Token(text, bytes(characters[one] for one in text), "ordinary")
    if fallback and (byte := _BYTE.fullmatch(text)):
        return Token(text, bytes.fromhex(byte[1]), "byte")
    return Token(text, (text.replace(_SPACE, " ") if spaced else text).encode(), "ordinary")


def opened(folder: Path) -> tuple[Backend, Vocabulary]:
    """The tokenizer beside somebody's weights. Raises Refusal when there is none that can be read."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise Refusal(
            "the student's weights have no tokenizer.json: what their rows mean is not known",
            place=folder.name,
            action="take the one that belongs to these weights",
        )
    try:
        text = path.read_text(encoding="utf-8")
        whole = json.loads(text)
        found = vocabulary(whole, roles(folder))
        backend = Backend.from_str(text)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Refusal(f"tokenizer.json cannot be read: {error}", place=folder.name, action="take it again") from None
    except Exception as error:
        if type(error) is not Exception:  # the library's own class for a malformed file is the bare one
            raise
        raise Refusal(f"tokenizer.json cannot be read: {error}", place=folder.name, action="take it again") from None
    backend.no_truncation()
    backend.no_padding()
    # a text that spells a control token is text
    backend.encode_special_tokens = True
    return backend, found


def roles(folder: Path) -> dict[str, str | int]:
    """Role → text or id of the control tokens that a folder names: tokenizer_config.json, else config.json."""
    files = [_object(folder / name) for name in ("tokenizer_config.json", "config.json")]
    found: dict[str, str | int] = {}
    for role in ROLES:
        value = files[0].get(f"{role}_token")
        text = value.get("content") if isinstance(value, dict) else value
        number = files[1].get(f"{role}_token_id")
        number = number[0] if isinstance(number, list) and number else number
        if isinstance(text, str) and text:
            found[role] = text
        elif isinstance(number, int) and not isinstance(number, bool):
            found[role] = number
    return found


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def spelled_by(backend: Backend, before: Vocabulary, rows: int) -> Callable[[Token], tuple[int, ...]]:
    """Token of the new vocabulary → ids by which the old tokenizer writes it inside a text; () where it cannot.

    What is no whole UTF-8 is written byte by byte.
    """
    inside = standing(backend, "inside")
    unknown = before.roles.get("unk")
    bytes_of: dict[int, int] = {}
    for number, token in before.tokens.items():
        if len(token.written) == 1 and token.kind != "added":
            # an ordinary token of that byte before the fallback
            bytes_of[token.written[0]] = bytes_of.get(token.written[0], number) if token.kind == "byte" else number

    def spell(token: Token) -> tuple[int, ...]:
        try:
            ids = tuple(inside.encode(token.written.decode(), add_special_tokens=False).ids)
        except UnicodeDecodeError:
            if any(byte not in bytes_of for byte in token.written):
                return ()
            ids = tuple(bytes_of[byte] for byte in token.written)
        return () if unknown in ids or any(number >= rows for number in ids) else ids

    return spell


def mapped(
    before: Vocabulary,
    after: Vocabulary,
    rows_before: int,
    reserved: Iterable[int],
    spell: Callable[[Token], tuple[int, ...]] | None,
) -> Migration:
    """The map by the rules at the head of this module. `reserved` are new ids that mean nothing; without `spell` every
    new row is the mean."""
    found: dict[int, Origin] = {}
    used: set[int] = set()

    def take(number: int, how: How, old: int) -> None:
        found[number] = Origin(how, (old,))
        used.add(old)

    for of in (lambda token: (token.kind, token.written), lambda token: token.written):
        places: dict[Any, list[int]] = defaultdict(list)
        for old in sorted(i for i in before.tokens if i < rows_before and i not in used):
            places[of(before.tokens[old])].append(old)
        for number in sorted(after.tokens.keys() - found.keys()):
            free = places[of(after.tokens[number])]
            if free:
                take(number, "bytes", free.pop(0))
    for role in ROLES:
        to, its = after.roles.get(role), before.roles.get(role)
        if to is None or its is None or to in found or its >= rows_before:
            continue
        if its in used:
            found[to] = Origin("copied", (its,))
        else:
            take(to, "role", its)
    idle = set(reserved) - found.keys()
    for number in sorted(idle):
        if number < rows_before and number not in before.tokens:
            take(number, "unnamed", number)
    for number in sorted(after.tokens.keys() - found.keys()):
        ids = spell(after.tokens[number]) if spell is not None and number not in idle else ()
        found[number] = Origin("pieces", ids) if ids else Origin("mean", ())
    return Migration(before, after, rows_before, [found[i] for i in range(len(after.tokens))])
