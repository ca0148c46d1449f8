"""A dataset (or a teacher's folder) → the tokenizer of every later step, and the report of its contract.

A sequence is `<bos>` + template up to the response + response + `<eos>`. Its three pieces are encoded apart, so that
the prompt of a generation and the prompt of a training row are the same ids and no token straddles the border. Control
tokens come from the template and from `<bos>`/`<eos>` alone: user text that spells one is encoded as plain text.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from runtime.contract import BrokenEvidence, Context, Refusal, rows
from runtime.contract import report as facts
from runtime.machine import durable
from runtime.steps.tokenizer import TokenizerParams

#: Words with their space, single digits, runs of punctuation, white space. Digits stand alone so that a number is
#: spelled the same wherever it occurs, and punctuation never joins letters, so that a JSON value has token borders.
SPLIT = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
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
        backend.encode_special_tokens = False
        self._before = backend.encode(before, add_special_tokens=False).ids
        self._between = backend.encode(between, add_special_tokens=False).ids
        backend.encode_special_tokens = True
        added = backend.get_added_tokens_decoder()
        self.control_ids = frozenset(i for i, token in added.items() if token.special) | set(special.values())
        self._added_bytes = {i: len(token.content.encode()) for i, token in added.items()}
        self._byte_level = isinstance(backend.decoder, decoders.ByteLevel)

    def encode_text(self, text: str) -> list[int]:
        """Ids of user text; never a control id."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_prompt(self, prompt: str) -> list[int]:
        """`<bos>` and the template up to the response: what a generation starts from."""
        return [self.bos_id, *self._before, *self.encode_text(prompt), *self._between]

    def encode_pair(self, prompt: str, response: str) -> Encoded:
        """The whole sequence of one row."""
        head = self.encode_prompt(prompt)
        tail = self._backend.encode(response, add_special_tokens=False)
        offsets = self._byte_offsets(tail.ids, tail.tokens, tail.offsets, response)
        return Encoded(ids=[*head, *tail.ids, self.eos_id], prompt_tokens=len(head), offsets=offsets)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; a control token is spelled out, so that a stray one is seen. Broken UTF-8 becomes U+FFFD."""
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

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
    yield from (piece for piece in (before, between) if piece)
    for row in rows.read(dataset / "train.jsonl"):
        yield row["prompt"]
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


def taken(folder: Path) -> Backend:
    """The tokenizer of a Transformers folder, without the cutting and padding that many files prescribe.

    Raises Refusal when there is no tokenizer.json that can be read.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise Refusal("the teacher's folder has no tokenizer.json", action="save the teacher with a fast tokenizer")
    try:
        backend = Backend.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:
        if type(error) is not Exception:  # the library's own class for a malformed file is the bare one
            raise
        raise Refusal(f"the teacher's tokenizer.json cannot be read: {error}", action="save it again") from None
    backend.no_truncation()
    backend.no_padding()
    return backend


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
    """Name → id of the control tokens. Raises Refusal for one that is absent or shared."""
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
    if len(set(found.values())) != len(found):
        raise Refusal("pad, bos and eos must be three different tokens", action="give each its own text")
    return found


def save(folder: Path, backend: Backend, special: Mapping[str, int], params: TokenizerParams, reserved: int) -> None:
    """Write the tokenizer artifact: tokenizer.json, tokenizer_config.json (for Transformers), contract.json."""
    durable.write(folder / "tokenizer.json", backend.to_str(pretty=False))
    texts = {name: getattr(params.special, name) for name in SPECIAL}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": texts["pad"],
        "bos_token": texts["bos"],
        "eos_token": texts["eos"],
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
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


def _round_trips(tokenizer: Tokenizer, dataset: Path) -> tuple[dict[str, int], list[str]]:
    """Counts over every row of every split, and the ids of the rows whose text does not survive."""
    counts = {"rows": 0, "exact": 0, "tokens": 0, "bytes": 0, "longest": 0}
    lost: list[str] = []
    for path in sorted(dataset.glob("*.jsonl")):
        for row in rows.read(path):
            pair = tokenizer.encode_pair(row["prompt"], row["response"])
            prompt, response = tokenizer.encode_text(row["prompt"]), pair.ids[pair.prompt_tokens : -1]
            exact = tokenizer.decode(prompt) == row["prompt"] and tokenizer.decode(response) == row["response"]
            counts["rows"] += 1
            counts["exact"] += exact
            counts["tokens"] += len(prompt) + len(response)
            counts["bytes"] += len((row["prompt"] + row["response"]).encode())
            counts["longest"] = max(counts["longest"], len(pair.ids))
            if not exact:
                lost.append(row["id"])
    return counts, lost


def contract_of(tokenizer: Tokenizer, params: TokenizerParams, dataset: Path, reserved: int) -> dict[str, object]:
    """The data of report `tokenizer.contract`. Raises Refusal where training on the tokenizer could not be right."""
    ids = {"pad": tokenizer.pad_id, "bos": tokenizer.bos_id, "eos": tokenizer.eos_id}
    in_range = sum(0 <= number < tokenizer.vocab_size for number in ids.values())
    safe, tried = injections(tokenizer)
    split = [tag for tag in params.single_token_tags if len(tokenizer.encode_text(tag)) != 1]
    counts, lost = _round_trips(tokenizer, dataset)
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
        "special": {
            name: {"text": getattr(params.special, name), "id": facts.measured(i, "id")} for name, i in ids.items()
        },
        "special_distinct": facts.measured(len(set(ids.values())) == len(ids), "bool"),
        "special_in_range": facts.rate(in_range, len(ids)),
        "control_injection_safe": facts.rate(safe, tried),
        "single_token_tags": facts.rate(tags, tags) if tags else facts.unavailable("no tag was asked for", "ratio"),
        "round_trip": facts.rate(counts["exact"], counts["rows"]),
        "round_trip_lost": lost[:20],
        "vocab_size": facts.measured(tokenizer.vocab_size, "token"),
        "vocab_width_equal": facts.measured(tokenizer.vocab_size == params.vocab_size, "bool"),
        "reserved": facts.measured(reserved, "token"),
        "longest_sequence": facts.measured(counts["longest"], "token", n=counts["rows"]),
        "bytes_per_token": facts.measured(counts["bytes"] / counts["tokens"], "byte/token", n=counts["tokens"])
        if counts["tokens"]
        else facts.unavailable("no rows", "byte/token"),
    }


def make(takes: Mapping[str, Path], params: TokenizerParams, ctx: Context) -> None:
    """Operation `tokenizer`: train or take, fill to exactly `vocab_size`, save, load again and report the contract."""
    if params.source == "train":
        backend = trained(_texts(takes["dataset"], params.template), params)
    else:
        split_template(params.template)
        backend = taken(takes["teacher"])
        add_control(backend, params)
    reserved = filled(backend, params.vocab_size)
    folder = ctx.out("tokenizer")
    save(folder, backend, special_ids(backend, params), params, reserved)
    tokenizer = load(folder)
    data = contract_of(tokenizer, params, takes["dataset"], reserved)
    marks = facts.fingerprints({"dataset": takes["dataset"]}, ctx.digests)
    ctx.report("report", data, fingerprints={**marks, "prompt_wrapper": tokenizer.template_sha256})
    ctx.say(f"{tokenizer.vocab_size} tokens, {reserved} of them reserved")
