"""A dataset (or a teacher's folder) → the tokenizer of every later step, and the report of its contract.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import sentencepiece
from tokenizers import AddedToken, Encoding, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from runtime.contract import BrokenEvidence, Context, Refusal, rows, vocabulary
from runtime.contract import report as facts
from runtime.machine import durable
from runtime.steps.tokenizer import TokenizerParams

#: Words with their space, single digits, runs of punctuation, white space. Digits stand alone so that a number is
#: spelled the same wherever it occurs, and punctuation never joins letters, so that a JSON value has token borders.
SPLIT = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SPECIAL = ("pad", "bos", "eos")
#: the file in which Transformers looks for it
CHAT_TEMPLATE = "chat_template.jinja"
#: the tokenizer of many models in its first form, and how many rows are asked whether two forms agree
SENTENCEPIECE, SAMPLE = "tokenizer.model", 200


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


#: where a text stands: at the start of everything, right after a control token, or right after other text
Place = Literal["start", "section", "inside"]
SECTION: Place = "section"


def _without(rule: Any, kinds: Mapping[str, Any]) -> Any:
    """A normaliser, pre-tokenizer or decoder with the settings of `kinds` (type → changed keys, None to drop it)."""
    if isinstance(rule, list):
        return [item for item in (_without(item, kinds) for item in rule) if item is not None]
    if not isinstance(rule, dict):
        return rule
    if rule.get("type") in kinds:
        change = kinds[rule["type"]]
        change = change(rule) if callable(change) else change
        return None if change is None else {**rule, **change}
    return {key: _without(value, kinds) if isinstance(value, dict | list) else value for key, value in rule.items()}


def _prefixes(rules: Any) -> set[str]:
    """The rules that put a space before a text: "first", "always", "Prepend", "ByteLevel"."""
    if isinstance(rules, list):
        return {found for item in rules for found in _prefixes(item)}
    if not isinstance(rules, dict):
        return set()
    found = {found for value in rules.values() for found in _prefixes(value)}
    if rules.get("type") == "Metaspace" and rules.get("prepend_scheme") in ("first", "always"):
        found.add(str(rules["prepend_scheme"]))
    if rules.get("type") == "ByteLevel" and rules.get("add_prefix_space") is True:
        found.add("ByteLevel")
    if rules.get("type") == "Prepend":
        found.add("Prepend")
    return found


def spaces(backend: Backend) -> set[str]:
    """The rules by which a tokenizer puts a space before a text that has none."""
    whole = json.loads(backend.to_str())
    return _prefixes([whole["normalizer"], whole["pre_tokenizer"]])


def _standing(backend: Backend, place: Place) -> Backend:
    """The tokenizer for a text that stands at `place`: what it would make of that part of a longer text.

    A tokenizer with `prepend_scheme: first` (Mistral) puts a space before the start of a text alone, one with a
    normaliser `Prepend` (Llama 2) or `add_prefix_space` also before each piece that follows a control token; none puts
    one into the middle. A decoder that takes the space away again does so only where one was put.
    """
    whole = json.loads(backend.to_str())
    rules = _prefixes([whole["normalizer"], whole["pre_tokenizer"]])
    gone = rules if place == "inside" else rules & {"first"} if place == "section" else set()
    schemes = gone & {"first", "always"}
    kinds: dict[str, Any] = {
        "Metaspace": lambda rule: {"prepend_scheme": "never"} if rule.get("prepend_scheme") in schemes else {},
        "ByteLevel": {"add_prefix_space": False} if "ByteLevel" in gone else {},
        "Prepend": None if "Prepend" in gone else {},
    }
    made = {**whole, **{name: _without(whole[name], kinds) for name in ("normalizer", "pre_tokenizer")}}
    if gone == rules:
        made["decoder"] = _without(whole["decoder"], {"Metaspace": {"prepend_scheme": "never"}, "Strip": {"start": 0}})
    if made == whole:
        return backend
    standing = Backend.from_str(json.dumps(made))
    standing.encode_special_tokens = True
    return standing


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
            "start": _standing(backend, "start"),
            "section": _standing(backend, "section"),
            "inside": _standing(backend, "inside"),
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


def _texts(dataset: Path, template: str) -> Iterator[str]:
    """The training split in the pieces in which it will be encoded."""
    before, between = split_template(template)
    for row in rows.read(dataset / "train.jsonl"):
        yield f"{before}{row['prompt']}{between}"
        yield row["response"]


def trained(texts: Iterable[str], params: TokenizerParams) -> Backend:
    """Byte-level BPE (Sennrich et al., arXiv 1508.07909; bytes as in GPT-2) with at most `vocab_size` tokens.

    Control tokens take the first ids. Tags are added tokens without the control flag: user text may hold them.
    """
    if params.added:
        raise Refusal("a trained tokenizer has its control tokens from the start", action="remove tokenizer.added")
    control = [params.special.pad, params.special.bos, params.special.eos]
    tags = params.single_token_tags
    if len(set(control + tags)) != len(control) + len(tags):
        raise Refusal("control tokens and tags must be different texts", action="rename one of them")
    room = params.vocab_size - len(tags)
    least = len(control) + 256
    if room < least:
        raise Refusal(
            f"a vocabulary of {params.vocab_size} has no room for 256 bytes, {len(control)} control tokens and "
            f"{len(tags)} tags",
            action=f"set tokenizer.vocab_size to at least {least + len(tags)}",
        )
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in control],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])
    return backend


def taken(folder: Path) -> tuple[Backend, list[str]]:
    """The tokenizer of a Transformers folder, without the cutting and padding that many files prescribe and without
    chance, and what was random in it.

    Raises Refusal when there is no tokenizer.json that can be read.
    """
    path, chance = folder / "tokenizer.json", []
    if not path.is_file():
        if (folder / SENTENCEPIECE).is_file():
            raise Refusal(
                f"the folder has {SENTENCEPIECE} and no tokenizer.json",
                action="take the tokenizer.json that its authors publish beside it; one that Transformers 5 converts "
                "gives other ids without a word",
            )
        raise Refusal("the folder has no tokenizer.json", action="take the one that belongs to these weights")
    try:
        text = path.read_text(encoding="utf-8")
        whole = json.loads(text)
        if whole["model"].get("dropout"):
            chance.append(f"merges dropped with probability {whole['model']['dropout']:g}")
            whole["model"]["dropout"] = None
            text = json.dumps(whole)
        backend = Backend.from_str(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refusal(f"the teacher's tokenizer.json cannot be read: {error}", action="save it again") from None
    except Exception as error:
        if type(error) is not Exception:  # the library's own class for a malformed file is the bare one
            raise
        raise Refusal(f"the teacher's tokenizer.json cannot be read: {error}", action="save it again") from None
    backend.no_truncation()
    backend.no_padding()
    return backend, chance


def check_pieces(folder: Path, tokenizer: Tokenizer, dataset: Path) -> int | None:
    """How many texts of the training split have the ids that the folder's own SentencePiece model gives them; None when
    there is no such model. Raises Refusal for the first text that has others.

    Conversions differ without a word: Transformers 5.23 loses a leading space, or joins two.
    """
    path = folder / SENTENCEPIECE
    if not path.is_file():
        return None
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise Refusal(f"{SENTENCEPIECE} cannot be read: {error}", place=folder.name, action="take it again") from None
    count = 0
    for row in itertools.islice(rows.read(dataset / "train.jsonl"), SAMPLE):
        theirs, ours = list(model.encode(row["prompt"])), tokenizer.encode_start(row["prompt"])
        if theirs != ours:
            raise Refusal(
                f"tokenizer.json and {SENTENCEPIECE} of one folder give row `{row['id']}` different ids: "
                f"{ours[:6]} and {theirs[:6]}",
                place=folder.name,
                action="take the tokenizer.json that its authors publish, or remove the file that is not the model's",
            )
        count += 1
    return count


def check_shared(folder: Path, other: Path, shared_with: str) -> None:
    """Raises Refusal unless the tokenizers beside two models mean the same ids, to each of which the ids are given.

    `shared_with` says whose the other folder is, "teacher" or "student".
    """
    owner = "student" if shared_with == "teacher" else "teacher"
    found: list[vocabulary.Meaning] = []
    for who, place in ((owner, folder), (shared_with, other)):
        path = place / "tokenizer.json"
        try:
            text = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        except ValueError:
            text = None
        meant = vocabulary.meaning(text) if isinstance(text, dict) else None
        if meant is None:
            raise Refusal(
                f"the {who}'s folder has no tokenizer.json with a vocabulary",
                action="take the one that belongs to these weights: what its ids mean must be known first",
            )
        found.append(meant)
    different = vocabulary.differences(found[0], found[1], (owner, shared_with))
    if different:
        raise Refusal(
            f"teacher and student do not mean the same by one id ({len(different):,} differences): "
            f"{'; '.join(different[:3])}",
            action="take a student and a teacher of one tokenizer, or a loss that reads rows or text in place of ids",
        )


def add_control(backend: Backend, params: TokenizerParams) -> None:
    """Give the control tokens that a taken tokenizer lacks ids of their own, the next ones that are free.

    Raises Refusal for one that is there already: then it must not be learnt anew.
    """
    for name in params.added:
        text = str(getattr(params.special, name))
        if backend.token_to_id(text) is not None:
            raise Refusal(
                f"the tokenizer has the token {text!r} already", action=f"remove `{name}` from tokenizer.added"
            )
        backend.add_special_tokens([AddedToken(text, special=True, normalized=False)])


def filled(backend: Backend, vocab_size: int) -> int:
    """Add reserved control tokens until there are exactly `vocab_size` ids 0..V-1; returns how many were added."""
    ids = set(backend.get_vocab(with_added_tokens=True).values())
    if ids != set(range(len(ids))):
        raise Refusal(
            f"the tokenizer's {len(ids)} ids are not 0 to {len(ids) - 1}", action="use a tokenizer without holes"
        )
    if len(ids) > vocab_size:
        raise Refusal(
            f"the tokenizer has {len(ids)} tokens, the vocabulary only {vocab_size}",
            action=f"set tokenizer.vocab_size to the model's embedding rows, at least {len(ids)}",
        )
    reserved = [f"<|reserved_{number}|>" for number in range(vocab_size - len(ids))]
    added = backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in reserved])
    if added != len(reserved) or backend.get_vocab_size(with_added_tokens=True) != vocab_size:
        raise Refusal("the tokenizer already uses the texts <|reserved_…|>", action="rename those tokens")
    return len(reserved)


def special_ids(backend: Backend, params: TokenizerParams) -> dict[str, int]:
    """Name → id of the control tokens. Raises Refusal for one that is absent, and for one token with two names in a
    tokenizer that is trained here. One that comes with weights may pad with its end: masks go by length, so that the
    true end stays.
    """
    found: dict[str, int] = {}
    for name in SPECIAL:
        text = str(getattr(params.special, name))
        number = backend.token_to_id(text)
        if number is None:
            known = [token.content for token in backend.get_added_tokens_decoder().values() if token.special]
            raise Refusal(
                f"the tokenizer has no token {text!r} for `{name}`",
                action=f"set tokenizer.special.{name} to one of {', '.join(known[:12])}",
            )
        found[name] = number
    if params.source == "train" and len(set(found.values())) != len(found):
        raise Refusal("pad, bos and eos must be three different tokens", action="give each its own text")
    return found


def save(folder: Path, backend: Backend, special: Mapping[str, int], params: TokenizerParams, reserved: int) -> None:
    """Write the tokenizer artifact: tokenizer.json, contract.json, and for Transformers tokenizer_config.json and a
    chat template, through which it gives the ids that `encode_prompt` and `encode_pair` give.

    Transformers encodes what a chat template makes as one text and takes control tokens in it for what they are, the
    user's too: who serves untrusted text encodes it by this module, or refuses control tokens first.
    """
    durable.write(folder / "tokenizer.json", backend.to_str(pretty=False))
    texts = {name: getattr(params.special, name) for name in SPECIAL}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": texts["pad"],
        "bos_token": texts["bos"],
        "eos_token": texts["eos"],
        "clean_up_tokenization_spaces": False,
    }
    contract = {
        "schema_version": "1.0",
        "vocab_size": params.vocab_size,
        "special": {name: {"text": texts[name], "id": special[name]} for name in SPECIAL},
        "single_token_tags": params.single_token_tags,
        "template": params.template,
        "template_sha256": hashlib.sha256(params.template.encode()).hexdigest(),
        "reserved": reserved,
    }
    for name, value in (("tokenizer_config.json", config), ("contract.json", contract)):
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        durable.write(folder / name, text)
    durable.write(folder / CHAT_TEMPLATE, chat_template(params.template))


def chat_template(template: str) -> str:
    """The spec's template as Transformers writes one: a question, and its answer where there is one."""
    before, between = (json.dumps(text, ensure_ascii=False) for text in split_template(template))
    return (
        "{%- if messages | length not in (1, 2) or messages[0]['role'] != 'user' "
        "or messages | length == 2 and messages[1]['role'] != 'assistant' -%}"
        "{{- raise_exception('this model was trained on one question (user) and its answer (assistant)') -}}"
        "{%- endif -%}"
        f"{{{{- bos_token + {before} + messages[0]['content'] + {between} -}}}}"
        "{%- if messages | length == 2 -%}{{- messages[1]['content'] + eos_token -}}{%- endif -%}"
    )


def beside(tokenizer: Path, model: Path) -> None:
    """Write what a model's folder needs to be opened and asked by Transformers: its tokenizer, and how it ends.

    Generation is greedy, as it is judged here.
    """
    for name in ("tokenizer.json", "tokenizer_config.json", CHAT_TEMPLATE):
        durable.copy(tokenizer / name, model / name)
    special = json.loads((tokenizer / "contract.json").read_text(encoding="utf-8"))["special"]
    ids = {f"{name}_token_id": special[name]["id"] for name in SPECIAL}
    durable.write(model / "generation_config.json", json.dumps({**ids, "do_sample": False}, sort_keys=True) + "\n")


def injections(tokenizer: Tokenizer) -> tuple[int, int]:
    """How many control tokens cannot be forged by writing their text into a prompt or a response, of how many.

    Forged means: the text encodes to that token, or to one of pad, bos and eos. (A text the vocabulary cannot spell
    may become "unknown", which some tokenizers also call a control token; that is a loss, not a forgery.)
    """
    kept = 0
    for number in sorted(tokenizer.control_ids):
        text = tokenizer.decode([number])
        pair = tokenizer.encode_pair("a", text)
        inside = {*tokenizer.encode_text(f"say {text} now"), *pair.ids[pair.prompt_tokens : -1]}
        kept += not inside & {number, tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
    return kept, len(tokenizer.control_ids)


@dataclass
class _Seen:
    """What was counted over the rows of every split."""

    rows: int = 0
    exact: int = 0
    tokens: int = 0
    bytes: int = 0
    longest: int = 0
    #: prompts without a control token of the user's, and those that have the ids of their text
    plain: int = 0
    written: int = 0
    joined: int = 0
    asked: int = 0
    alike: int = 0
    lost: list[str] = field(default_factory=list)
    #: row and token of each border that a token would straddle
    mixed: list[tuple[str, str]] = field(default_factory=list)


def _round_trips(tokenizer: Tokenizer, dataset: Path) -> _Seen:
    """Counts over every row of every split, and the rows whose text does not survive or whose border is none."""
    seen = _Seen()
    for path in sorted(dataset.glob("*.jsonl")):
        for row in rows.read(path):
            prompt, response = row["prompt"], row["response"]
            pair = tokenizer.encode_pair(prompt, response)
            exact, written = tokenizer.survives(prompt, response), tokenizer.as_written(prompt)
            joined, mixed = tokenizer.border(prompt, response)
            if seen.rows < SAMPLE:
                seen.asked += 1
                seen.alike += tokenizer.alike(prompt, response)
            seen.rows += 1
            seen.exact += exact
            seen.plain += written is not None
            seen.written += written is True
            seen.joined += joined
            seen.tokens += len(tokenizer.encode_text(prompt)) + len(pair.ids) - pair.prompt_tokens - 1
            seen.bytes += len((prompt + response).encode())
            seen.longest = max(seen.longest, len(pair.ids))
            if not exact:
                seen.lost.append(row["id"])
            if mixed:
                seen.mixed.append((row["id"], mixed))
    return seen


def contract_of(
    tokenizer: Tokenizer, params: TokenizerParams, dataset: Path, reserved: int, chance: Sequence[str] = ()
) -> dict[str, object]:
    """The data of report `tokenizer.contract`. Raises Refusal where training on the tokenizer could not be right."""
    ids = {"pad": tokenizer.pad_id, "bos": tokenizer.bos_id, "eos": tokenizer.eos_id}
    texts = {name: str(getattr(params.special, name)) for name in SPECIAL}
    in_range = sum(0 <= number < tokenizer.vocab_size for number in ids.values())
    safe, tried = injections(tokenizer)
    split = [tag for tag in params.single_token_tags if len(tokenizer.encode_text(tag)) != 1]
    seen = _round_trips(tokenizer, dataset)
    if seen.mixed and params.source != "train":
        row, token = seen.mixed[0]
        raise Refusal(
            f"in {len(seen.mixed)} of {seen.rows} rows, first `{row}`, the token {token!r} would hold the end of the "
            "template and the beginning of the response",
            action="end the template where a token ends: move its last space to the beginning of each response, or end "
            "it with a control token",
        )
    if safe != tried:
        raise Refusal(
            f"{tried - safe} of {tried} control tokens can be forged by user text", action="use another tokenizer"
        )
    if split:
        raise Refusal(
            f"not one token: {', '.join(map(repr, split))}", action="drop the tag, or add it to the teacher's tokenizer"
        )
    tags = len(params.single_token_tags)
    return {
        "source": params.source,
        "template_sha256": tokenizer.template_sha256,
        "special": {name: {"text": texts[name], "id": facts.measured(i, "id")} for name, i in ids.items()},
        "special_distinct": facts.measured(len(set(ids.values())) == len(set(texts.values())), "bool"),
        "special_in_range": facts.rate(in_range, len(ids)),
        "control_injection_safe": facts.rate(safe, tried),
        "single_token_tags": facts.rate(tags, tags) if tags else facts.unavailable("no tag was asked for", "ratio"),
        "round_trip": facts.rate(seen.exact, seen.rows),
        "round_trip_lost": seen.lost[:20],
        "as_written": facts.rate(seen.written, seen.plain),
        "one_text": facts.rate(seen.joined, seen.rows),
        "repeats": facts.rate(seen.alike, seen.asked),
        "switched_off": list(chance),
        "vocab_size": facts.measured(tokenizer.vocab_size, "token"),
        "vocab_width_equal": facts.measured(tokenizer.vocab_size == params.vocab_size, "bool"),
        "reserved": facts.measured(reserved, "token"),
        "longest_sequence": facts.measured(seen.longest, "token", n=seen.rows),
        "bytes_per_token": facts.measured(seen.bytes / seen.tokens, "byte/token", n=seen.tokens)
        if seen.tokens
        else facts.unavailable("no rows", "byte/token"),
    }


def made(
    takes: Mapping[str, Path], params: TokenizerParams, ctx: Context
) -> tuple[Tokenizer, dict[str, object], dict[str, str]]:
    """Train or take, fill to exactly `vocab_size`, save as port `tokenizer` and load again: it, the data of its
    contract's report, and the report's fingerprints."""
    chance: list[str] = []
    # read whatever the source: a setting that nothing reads is refused
    shared = params.shared_with
    if params.source == "train":
        backend = trained(_texts(takes["dataset"], params.template), params)
    else:
        split_template(params.template)
        if shared:
            check_shared(takes["teacher"], takes["other"], shared)
        backend, chance = taken(takes["teacher"])
        add_control(backend, params)
    for what in chance:
        ctx.say(f"switched off in the tokenizer that was taken: {what}")
    reserved = filled(backend, params.vocab_size)
    folder = ctx.out("tokenizer")
    save(folder, backend, special_ids(backend, params), params, reserved)
    tokenizer = load(folder)
    data = contract_of(tokenizer, params, takes["dataset"], reserved, chance)
    if params.source != "train":
        compared = check_pieces(takes["teacher"], tokenizer, takes["dataset"])
        if compared is not None:
            data["sentencepiece"] = facts.measured(compared, "row", n=compared)
    marks = facts.fingerprints({"dataset": takes["dataset"]}, ctx.digests)
    return tokenizer, data, {**marks, "prompt_wrapper": tokenizer.template_sha256}
