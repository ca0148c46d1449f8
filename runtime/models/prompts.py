"""The test split of a dataset → token sequences of real text, for golden vectors and probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.contract import Refusal, rows
from runtime.models.tokenizer import Tokenizer

SPLIT = "test"
_ACTION = "hold rows out: golden prompts and probes come from there"


@dataclass(frozen=True, slots=True)
class Text:
    """One row as ids, begin and end token included; the first `prompt_tokens` are prompt."""

    row: str
    ids: list[int]
    prompt_tokens: int


def texts_of(dataset: Path, tokenizer: Tokenizer) -> list[Text]:
    """Every test row in the order of the split. Raises Refusal when there is none."""
    path = dataset / f"{SPLIT}.jsonl"
    if not path.is_file():
        raise Refusal(f"the dataset has no {SPLIT} split", action=_ACTION)
    found = []
    for row in rows.read(path):
        pair = tokenizer.encode_pair(rows.prompt_of(row), rows.reply_of(row))
        found.append(Text(row["id"], pair.ids, pair.prompt_tokens))
    if not found:
        raise Refusal(f"the {SPLIT} split is empty", action=_ACTION)
    return found


def joined(texts: Sequence[Text], length: int) -> tuple[list[int], list[str]]:
    """Exactly `length` ids of whole rows one after the other (from the start again when they end), and the rows."""
    stream: list[int] = []
    names: list[str] = []
    while len(stream) < length:
        text = texts[len(names) % len(texts)]
        stream, names = stream + text.ids, [*names, text.row]
    return stream[:length], list(dict.fromkeys(names))
