"""A dataset (or a teacher's folder) → the tokenizer of every later step, and the report of its contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runtime.contract import Refusal, rows, templates
from runtime.contract import report as facts
from runtime.contract.templates import CHAT
from runtime.models.tokenizer import reducing
from runtime.models.tokenizer.artifact import load, save, tokenizer_of
from runtime.models.tokenizer.plain import split_template
from runtime.models.tokenizer.proving import prove, texts
from runtime.models.tokenizer.text import SPECIAL, Tokenizer
from runtime.models.tokenizer.vocabularies import (
    SAMPLE,
    add_control,
    check_pieces,
    check_shared,
    filled,
    special_ids,
    taken,
    trained,
)
from runtime.steps.tokenizer import TokenizerParams


def injections(tokenizer: Tokenizer) -> tuple[int, int]:
    """How many control tokens cannot be forged by writing their text into a prompt or a response, of how many.

    Forged means: the text encodes to that token, or to one of pad, bos and eos. (A text the vocabulary cannot spell
    may become "unknown", which some tokenizers also call a control token; that is a loss, not a forgery.)
    """
    kept, usual = 0, tokenizer.encode_pair("a", "b")
    for number in sorted(tokenizer.control_ids):
        text, wanted = tokenizer.decode([number]), {number, tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
        pair = tokenizer.encode_pair("a", text)
        # a chat template may write control tokens into a turn itself
        forged = Counter(pair.ids[pair.prompt_tokens : -1]) - Counter(usual.ids[usual.prompt_tokens : -1])
        kept += not wanted & {*tokenizer.encode_text(f"say {text} now"), *forged}
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


def round_trips(tokenizer: Tokenizer, dataset: Path) -> _Seen:
    """Counts over every row of every split, and the rows whose text does not survive or whose border is none."""
    seen = _Seen()
    for path in sorted(dataset.glob("*.jsonl")):
        for row in rows.read(path):
            try:
                _count(row, tokenizer, seen)
            except Refusal as error:
                raise Refusal(
                    f"row `{row['id']}` of {path.name}: {error.message}",
                    place=error.place,
                    action=error.action,
                    code=error.code,
                ) from None
    return seen


def _count(row: rows.Row, tokenizer: Tokenizer, seen: _Seen) -> None:
    """One row more."""
    prompt, response = rows.prompt_of(row), rows.reply_of(row)
    sequences = tokenizer.sequences(row)
    pair = sequences[-1]
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
    seen.tokens += len(tokenizer.encode_text(str(prompt))) + len(pair.ids) - pair.prompt_tokens - 1
    seen.bytes += len(f"{prompt}{response}".encode())
    seen.longest = max(seen.longest, *(len(one.ids) for one in sequences))
    if not exact:
        seen.lost.append(row["id"])
    if mixed:
        seen.mixed.append((row["id"], mixed))


def contract_of(
    tokenizer: Tokenizer, params: TokenizerParams, dataset: Path, reserved: int, chance: Sequence[str] = ()
) -> dict[str, object]:
    """The data of report `tokenizer.contract`. Raises Refusal where training on the tokenizer could not be right."""
    ids = {"pad": tokenizer.pad_id, "bos": tokenizer.bos_id, "eos": tokenizer.eos_id}
    texts = {name: str(getattr(params.special, name)) for name in SPECIAL}
    in_range = sum(0 <= number < tokenizer.vocab_size for number in ids.values())
    safe, tried = injections(tokenizer)
    split = [tag for tag in params.single_token_tags if len(tokenizer.encode_text(tag)) != 1]
    seen = round_trips(tokenizer, dataset)
    if seen.mixed and params.source != "train":
        row, token = seen.mixed[0]
        raise Refusal(
            f"in {len(seen.mixed)} of {seen.rows} rows, first `{row}`, the token {token!r} would hold the end of the "
            "template and the beginning of the response",
            action="begin these responses without white space"
            if params.template == CHAT
            else "end the template where a token ends: move its last space to the beginning of each response, or end "
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


def _texts(dataset: Path, template: str) -> Iterator[str]:
    """The training split in the pieces in which it will be encoded."""
    before, between = split_template(template)
    for row in rows.read(dataset / "train.jsonl"):
        yield f"{before}{row['prompt']}{between}"
        yield row["response"]


def _own_template(folder: Path) -> str:
    """The chat template of a folder. Raises Refusal when there is none."""
    try:
        found = templates.chat_template(folder)
    except ValueError as error:
        raise Refusal(str(error), place=folder.name, action="take the file that belongs to this model") from None
    if found is None:
        raise Refusal(
            f"`template: chat`, and the folder has no {templates.FILE} and no `{templates.KEY}` in {templates.CONFIG}",
            place=folder.name,
            action="write tokenizer.template as text with {prompt} and {response}, or take the model's chat variant",
            code="KR0175",
        )
    return found


class Making(Protocol):
    """What of a step's context making a tokenizer needs."""

    @property
    def digests(self) -> Mapping[str, str]:
        """Port name → "sha256:…" of what is taken."""

    def out(self, port: str) -> Path:
        """The empty folder of a port."""

    def say(self, message: str) -> None:
        """One plain line for the person watching."""


def made(
    takes: Mapping[str, Path], params: TokenizerParams, ctx: Making
) -> tuple[Tokenizer, dict[str, object], dict[str, str]]:
    """Train or take, fill to exactly `vocab_size`, save as port `tokenizer` and load again: it, the data of its
    contract's report, and the report's fingerprints."""
    chance: list[str] = []
    # read whatever the source: a setting that nothing reads is refused
    shared = params.shared_with
    template = ""
    if params.source == "train":
        backend = trained(_texts(takes["dataset"], params.template), params)
    else:
        template = _own_template(takes["teacher"]) if params.template == CHAT else ""
        if shared:
            check_shared(takes["teacher"], takes["other"], shared)
        prove(takes["teacher"], texts(takes["dataset"]))
        backend, chance = taken(takes["teacher"])
        add_control(backend, params)
    reduction = None
    if params.reduce:
        ids = special_ids(backend, params)
        whole = tokenizer_of(backend, ids, params, template, backend.get_vocab_size(with_added_tokens=True))
        reduction = reducing.reduced(whole, backend, takes["dataset"], params.vocab_size)
        backend = reduction.backend
    for what in chance:
        ctx.say(f"switched off in the tokenizer that was taken: {what}")
    reserved = filled(backend, params.vocab_size)
    folder = ctx.out("tokenizer")
    save(folder, backend, special_ids(backend, params), params, reserved, template)
    tokenizer = load(folder)
    if reduction is not None:
        reduction.write(folder)
    data = contract_of(tokenizer, params, takes["dataset"], reserved, chance)
    if reduction is not None:
        data["reduction"] = reduction.audit(tokenizer, takes["dataset"])
    if params.source != "train":
        compared = check_pieces(takes["teacher"], reduction.whole if reduction else tokenizer, takes["dataset"])
        if compared is not None:
            data["sentencepiece"] = facts.measured(compared, "row", n=compared)
    marks = facts.fingerprints({"dataset": takes["dataset"]}, ctx.digests)
    return tokenizer, data, {**marks, "prompt_wrapper": tokenizer.template_sha256}
