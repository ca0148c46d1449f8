"""A dataset, or somebody's folder → a vocabulary of exactly the wanted width, with its control tokens."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from runtime.contract import Refusal, rows, vocabulary
from runtime.models.tokenizer.text import SPECIAL, Tokenizer
from runtime.steps.tokenizer import TokenizerParams

#: Words with their space, single digits, runs of punctuation, white space. Digits stand alone so that a number is
#: spelled the same wherever it occurs, and punctuation never joins letters, so that a JSON value has token borders.
SPLIT = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
#: the tokenizer of many models in its first form, and how many rows are asked whether two forms agree
SENTENCEPIECE, SAMPLE = "tokenizer.model", 200


def trained(texts: Iterable[str], params: TokenizerParams) -> Backend:
    """Byte-level BPE (Sennrich et al., arXiv 1508.07909; bytes as in GPT-2) with at most `vocab_size` tokens.

    Control tokens take the first ids. Tags are added tokens without the control flag: user text may hold them.
    """
    for key in ("added", "expand"):
        if getattr(params, key):
            raise Refusal("a trained tokenizer has its control tokens from the start", action=f"remove tokenizer.{key}")
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
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
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
    """Give the control tokens that a taken tokenizer lacks, and the texts that it is expanded by, the next free ids.

    What it is expanded by is no control token, so that responses may hold it, as the tags of one that is trained.

    Raises Refusal for one that is there already: then it must not be learnt anew.
    """
    lacking = [(str(getattr(params.special, name)), name, "added") for name in params.added]
    for text, name, key in [*lacking, *((text, text, "expand") for text in params.expand)]:
        if backend.token_to_id(text) is not None:
            raise Refusal(
                f"the tokenizer has the token {text!r} already", action=f"remove `{name}` from tokenizer.{key}"
            )
        backend.add_tokens([AddedToken(text, special=key == "added", normalized=False)])


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
