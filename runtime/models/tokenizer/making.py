"""A dataset (or a teacher's folder) → the tokenizer of every later step, and the report of its contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.contract import Context, Refusal, rows
from runtime.contract import report as facts
from runtime.models.tokenizer import reducing
from runtime.models.tokenizer.artifact import save
from runtime.models.tokenizer.text import SPECIAL, Tokenizer, load, split_template
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


def round_trips(tokenizer: Tokenizer, dataset: Path) -> _Seen:
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
    seen = round_trips(tokenizer, dataset)
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


def _texts(dataset: Path, template: str) -> Iterator[str]:
    """The training split in the pieces in which it will be encoded."""
    before, between = split_template(template)
    for row in rows.read(dataset / "train.jsonl"):
        yield f"{before}{row['prompt']}{between}"
        yield row["response"]


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
    reduction = None
    if params.reduce:
        ids = special_ids(backend, params)
        whole = Tokenizer(backend, ids, params.template, backend.get_vocab_size(with_added_tokens=True))
        reduction = reducing.reduced(whole, backend, takes["dataset"], params.vocab_size)
        backend = reduction.backend
    for what in chance:
        ctx.say(f"switched off in the tokenizer that was taken: {what}")
    reserved = filled(backend, params.vocab_size)
    folder = ctx.out("tokenizer")
    save(folder, backend, special_ids(backend, params), params, reserved)
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
