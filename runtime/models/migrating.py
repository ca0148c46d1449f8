"""A checkpoint and a map of its vocabulary to another → the same model over the other's ids: `migrate_student`.

Embedding and head (with its bias) get a row for each new id, as `runtime.models.tokenizer.migrating` says; every other
weight is the checkpoint's own. So the logits of kept ids over a text of kept ids are those of the checkpoint.

Letters: V vocabulary, W vocabulary before, H width, T tokens.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as Backend
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from runtime import digest
from runtime.contract import Context, Refusal, rows
from runtime.contract import report as facts
from runtime.machine import durable
from runtime.models import build, tokenizer
from runtime.models.samples import Encoded, sample, threads
from runtime.models.tokenizer import migrating
from runtime.models.tokenizer.migrating import KEPT, Migration, Vocabulary
from runtime.models.tokenizer.places import standing
from runtime.steps.migrate_student import MigrateStudentParams

RECORD = "migration.json"
SPLITS = ("train", "test")
#: so many tokens are told by name in the report, and so many texts by their tokens in the record
SHOWN, SAMPLES = 20, 5


def migrate_student(takes: Mapping[str, Path], params: MigrateStudentParams, ctx: Context) -> None:
    """Operation `migrate_student`: the checkpoint over the ids of another tokenizer, its record and its audit.

    Raises Refusal for a folder without a tokenizer, one whose tokens are no bytes, and a model that holds rows by id in
    other places than embedding and head.
    """
    words, backend, migration = plan(takes, params)
    before = build.load(takes["original"], attention="sdpa")
    made = migrated(before, migration, {"pad": words.pad_id, "bos": words.bos_id, "eos": words.eos_id})
    out = ctx.out("checkpoint")
    build.save(made, out, build.held(takes["original"]))
    tokenizer.beside(takes["tokenizer"], out)
    told = {"schema_version": "1.0", "made_by": "migrate_student", "teacher": None}
    told["original"] = ctx.digests["original"]
    durable.write(out / "training.json", json.dumps(told, indent=2, sort_keys=True) + "\n")
    new_backend = Backend.from_file(str(takes["tokenizer"] / "tokenizer.json"))
    new_backend.encode_special_tokens = True
    compared = Compared(standing(backend, "inside"), standing(new_backend, "inside"), migration)
    files = {"before": takes["folder"], "after": takes["tokenizer"]}
    record: dict[str, Any] = {
        "schema_version": "1.0",
        "new_rows": params.new_rows,
        "tokenizers": {name: digest.of_file(folder / "tokenizer.json") for name, folder in files.items()},
        "rows_before": migration.rows_before,
        "origins": [{"how": one.how, "old": list(one.old)} for one in migration.origins],
        "new": [_new(migration, i) for i in migration.new],
        "dropped": [_dropped(migration, i) for i in migration.dropped],
        "samples": [compared.told(text) for text in itertools.islice(texts(takes["dataset"], "train"), SAMPLES)],
    }
    place = ctx.out("record") / RECORD
    durable.write(place, json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    # what is judged is what was written
    written, kept = build.load(out, attention="sdpa"), json.loads(place.read_text(encoding="utf-8"))
    audited = audit(before, written, kept["origins"], migration)
    splits = {name: sample(takes["dataset"] / f"{name}.jsonl", words, params.rows) for name in SPLITS}
    with threads(params.threads):
        apart = difference(before, written, migration.kept, [*splits["train"], *splits["test"]])
    data: dict[str, Any] = {
        "new_rows": params.new_rows,
        "tokenizer_before": kept["tokenizers"]["before"],
        "tokenizer_after": kept["tokenizers"]["after"],
        "record": digest.of_file(place),
        "vocab_size": facts.measured(len(migration.origins), "token"),
        "vocab_size_before": facts.measured(migration.rows_before, "token"),
        "parameters": facts.measured(build.count(written), "parameter"),
        "parameters_before": facts.measured(build.count(before), "parameter"),
        **_counts(migration),
        "cost": cost(before, written),
        "specials_kept": facts.rate(*migration.kept_specials(params.gone)),
        **audited,
        "logits_difference": apart,
        "rows": {name: compared.counted(takes["dataset"], name, chosen) for name, chosen in splits.items()},
        "new_tokens": [_named(one) for one in record["new"][:SHOWN]],
        "dropped_tokens": [_named(one) for one in compared.most_dropped(takes["dataset"])],
        "specials_lost": sorted(migration.lost_specials(params.gone)),
    }
    marks = facts.fingerprints({name: takes[name] for name in ("dataset", "tokenizer")}, ctx.digests)
    marks["model"] = facts.hex_of(digest.of_folder(out))
    ctx.report("report", data, fingerprints=marks)
    ctx.say(
        f"{len(migration.kept):,} of {migration.rows_before:,} rows kept, {len(migration.dropped):,} dropped; "
        f"{len(migration.new):,} of {len(migration.origins):,} ids are new"
    )


def plan(takes: Mapping[str, Path], params: MigrateStudentParams) -> tuple[tokenizer.Tokenizer, Backend, Migration]:
    """(the spec's tokenizer, the checkpoint's own, the map between them) of what the step takes."""
    words = tokenizer.load(takes["tokenizer"])
    backend, before = migrating.opened(takes["folder"])
    contract = json.loads((takes["tokenizer"] / "contract.json").read_text(encoding="utf-8"))
    whole = json.loads((takes["tokenizer"] / "tokenizer.json").read_text(encoding="utf-8"))
    special = {"pad": words.pad_id, "bos": words.bos_id, "eos": words.eos_id}
    after = migrating.vocabulary(whole, special)
    width = int(build.read_config(takes["original"])["vocab_size"])
    reserved = range(words.vocab_size - int(contract["reserved"]), words.vocab_size)
    spell = migrating.spelled_by(backend, before, width) if params.new_rows == "pieces" else None
    return words, backend, migrating.mapped(before, after, width, reserved, spell)


def migrated(model: PreTrainedModel, migration: Migration, special: Mapping[str, int]) -> PreTrainedModel:
    """The model over the new ids. `special` are the ids of "pad", "bos" and "eos". Raises Refusal for a model that
    holds rows by id in other places than embedding and head."""
    config = copy.deepcopy(model.config)
    config.vocab_size = len(migration.origins)
    for name, number in special.items():
        setattr(config, f"{name}_token_id", number)
    tensors = {
        name: remade(tensor, migration) if name in by_id(model) else tensor
        for name, tensor in model.state_dict().items()
    }
    made: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    own = made.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        here, there = (list(one[name].shape) if name in one else None for one in (own, tensors))
        if here != there:
            raise Refusal(
                f"tensor {name} of a `{config.model_type}` model is {there}, over the new ids it is {here}",
                action="take a family that holds rows by id in its embedding and its head alone",
            )
    made.load_state_dict(tensors)
    made.tie_weights()
    return made.eval()


def by_id(model: PreTrainedModel) -> list[str]:
    """Names of the tensors with one entry or row for each id: embedding, head, tied or not, and the bias of a head."""
    inside, outside = model.get_input_embeddings(), model.get_output_embeddings()
    of_ids = {id(one) for module in (inside, outside) if module is not None for one in module.parameters()}
    return [name for name, one in model.named_parameters(remove_duplicate=False) if id(one) in of_ids]


def remade(tensor: Tensor, migration: Migration) -> Tensor:
    """[W, …] → [V, …]: kept rows bit for bit, the others as declared; means are taken in float64."""
    rows_V = tensor.new_empty((len(migration.origins), *tensor.shape[1:]))
    kept = migration.kept
    rows_V[torch.tensor(list(kept), dtype=torch.long)] = tensor[torch.tensor(list(kept.values()), dtype=torch.long)]
    mean = tensor[torch.tensor(migration.named)].double().mean(0)
    for number in migration.new:
        old = list(migration.origins[number].old)
        rows_V[number] = (tensor[torch.tensor(old)].double().mean(0) if old else mean).to(tensor.dtype)
    return rows_V


def cost(before: PreTrainedModel, after: PreTrainedModel) -> dict[str, Any]:
    """What embedding and head take before and after, a tied head once: numbers, and bytes as a package or a checkpoint
    stores them."""
    sides = {"before": before.state_dict(), "after": after.state_dict()}
    names = _distinct(before)
    numbers = {side: sum(tensors[name].numel() for name in names) for side, tensors in sides.items()}
    # a matrix of eight bits has a scale in float16 for each row; a bias stays float16
    eight = {
        side: sum(one.numel() + 2 * len(one) if one.ndim == 2 else 2 * one.numel() for one in map(tensors.get, names))
        for side, tensors in sides.items()
    }
    return {
        "parameters_before": facts.measured(numbers["before"], "parameter"),
        "parameters": facts.measured(numbers["after"], "parameter"),
        "fp32": {side: facts.measured(4 * count, "byte") for side, count in numbers.items()},
        "fp16": {side: facts.estimated(2 * count, "byte", by="2 bytes a number") for side, count in numbers.items()},
        "int8": {
            side: facts.estimated(count, "byte", by="1 byte a number and 2 for the scale of a row")
            for side, count in eight.items()
        },
    }


def _distinct(model: PreTrainedModel) -> list[str]:
    """Names of the tensors by id, of those that are one the last."""
    tensors = model.state_dict()
    return sorted({tensors[name].untyped_storage().data_ptr(): name for name in by_id(model)}.values())


def audit(
    before: PreTrainedModel, after: PreTrainedModel, origins: Sequence[Mapping[str, Any]], migration: Migration
) -> dict[str, Any]:
    """What holds of the written model by the written record, row by row."""
    olds, news = before.state_dict(), after.state_dict()
    names = _distinct(before)
    same = kept = declared = count = 0
    norms: list[dict[str, Any]] = []
    moved = [(i, one["old"][0]) for i, one in enumerate(origins) if one["how"] in KEPT]
    fresh = [(i, one["old"]) for i, one in enumerate(origins) if one["how"] not in KEPT]
    for name in names:
        old_W, new_V = olds[name], news[name]
        mean = old_W[torch.tensor(migration.named)].double().mean(0).to(old_W.dtype)
        here, there = (torch.tensor([pair[side] for pair in moved], dtype=torch.long) for side in (0, 1))
        # a row is equal where no entry of it differs; a bias has one entry a row
        equal = int((new_V[here] == old_W[there]).reshape(len(moved), -1).all(-1).sum())
        same, kept = same + equal, kept + len(moved)
        for i, ids in fresh:
            asked = old_W[torch.tensor(ids)].double().mean(0).to(old_W.dtype) if ids else mean
            equal += torch.equal(new_V[i], asked)
        declared, count = declared + equal, count + new_V.shape[0]
        norms.append(
            {
                "tensor": name,
                "kept": _norm(new_V, [i for i, _ in moved]),
                "new": _norm(new_V, [i for i, _ in fresh]),
            }
        )
    others = [name for name in olds if name not in by_id(before)]
    as_before = sum(name in news and torch.equal(olds[name], news[name]) for name in others)
    seen = Counter(j for _, j in moved)
    whole = len(moved) + len(fresh) == len(migration.origins) == news[names[0]].shape[0] if names else False
    once = sum(seen[j] == 1 for _, j in moved) + len(fresh) if whole else 0
    return {
        "accounted": facts.rate(once, len(migration.origins)),
        "kept_equal": facts.rate(same, kept),
        "rows_as_declared": facts.rate(declared, count),
        "others_equal": facts.rate(as_before, len(others)),
        "norms": norms,
    }


def _norm(rows_VH: Tensor, ids: Sequence[int]) -> dict[str, Any]:
    """Mean Euclidean norm of some rows (of a bias: mean absolute entry)."""
    if not ids:
        return facts.unavailable("no such row", "1")
    chosen = rows_VH[torch.tensor(ids)].double()
    return facts.measured(float(chosen.reshape(len(ids), -1).norm(dim=-1).mean()), "1", n=len(ids))


@torch.inference_mode()
def difference(
    before: PreTrainedModel, after: PreTrainedModel, kept: Mapping[int, int], chosen: Sequence[Encoded]
) -> dict[str, Any]:
    """Largest difference of a kept id's logit under both models, by the largest logit, over rows without new tokens.

    A row's new tokens are left out of it: what is left is a text of kept tokens, if not a sensible one.
    """
    news, olds = torch.tensor(list(kept), dtype=torch.long), torch.tensor(list(kept.values()), dtype=torch.long)
    most, largest, tokens = 0.0, 0.0, 0
    for ids, _ in chosen:
        left = [number for number in ids if number in kept]
        if not left:
            continue
        one_TW = before(input_ids=torch.tensor([[kept[i] for i in left]]), use_cache=False).logits[0][:, olds]
        two_TV = after(input_ids=torch.tensor([left]), use_cache=False).logits[0][:, news]
        most = max(most, float((one_TW - two_TV).abs().max()))
        largest = max(largest, float(one_TW.abs().max()))
        tokens += len(left)
    if not tokens or not largest:
        return facts.unavailable("no row has a kept token", "1")
    return facts.measured(most / largest, "1", n=tokens)


def _counts(migration: Migration) -> dict[str, Any]:
    how = Counter(one.how for one in migration.origins)
    kept = migration.kept
    return {
        "kept": facts.measured(len(kept), "token"),
        "moved": facts.measured(sum(new != old for new, old in kept.items()), "token"),
        "by_role": facts.measured(how["role"], "token"),
        "new": facts.measured(len(migration.new), "token"),
        "new_by": {name: facts.measured(how[name], "token") for name in ("copied", "pieces", "mean")},
        "dropped": facts.measured(len(migration.dropped), "token"),
    }


def texts(dataset: Path, split: str) -> Iterator[str]:
    """What stands in the rows of a split: prompts and responses, without the template."""
    path = dataset / f"{split}.jsonl"
    for row in rows.read(path) if path.is_file() else ():
        yield from (one for one in (row["prompt"], row["response"]) if one)


class Compared:
    """Texts as both tokenizers write them inside a text."""

    def __init__(self, before: Backend, after: Backend, migration: Migration) -> None:
        self._before, self._after, self._migration = before, after, migration
        self._dropped = set(migration.dropped)

    def _pieces(self, backend: Backend, text: str, of: Vocabulary) -> tuple[list[int], list[bytes]]:
        ids = list(backend.encode(text, add_special_tokens=False).ids)
        return ids, [of.tokens[number].written for number in ids]

    def told(self, text: str) -> dict[str, Any]:
        """One text and its tokens under both."""
        both = {"before": (self._before, self._migration.before), "after": (self._after, self._migration.after)}
        found: dict[str, Any] = {"text": text}
        for name, (backend, of) in both.items():
            ids, pieces = self._pieces(backend, text, of)
            found[name] = {"ids": ids, "tokens": [piece.decode(errors="replace") for piece in pieces]}
        return found

    def counted(self, dataset: Path, split: str, chosen: Sequence[Encoded]) -> dict[str, Any]:
        """Of a split: texts cut alike by both, tokens that are gone, and, with the template, tokens that are new."""
        alike = count = gone = old = new = 0
        for text in texts(dataset, split):
            ids, one = self._pieces(self._before, text, self._migration.before)
            _, two = self._pieces(self._after, text, self._migration.after)
            alike += one == two
            count += 1
            gone += sum(number in self._dropped for number in ids)
            old += len(ids)
        kept = self._migration.kept
        written = [number for ids, _ in chosen for number in ids]
        new = sum(number not in kept for number in written)
        return {
            "cut_alike": facts.rate(alike, count),
            "dropped": facts.rate(gone, old),
            "new": facts.rate(new, len(written)),
        }

    def most_dropped(self, dataset: Path) -> list[dict[str, Any]]:
        """The dropped tokens that texts use most, each as in the record with how often they do."""
        seen: Counter[int] = Counter()
        for split in SPLITS:
            for text in texts(dataset, split):
                ids, _ = self._pieces(self._before, text, self._migration.before)
                seen.update(number for number in ids if number in self._dropped)
        return [{**_dropped(self._migration, number), "count": n} for number, n in seen.most_common(SHOWN)]


def _new(migration: Migration, number: int) -> dict[str, Any]:
    one, of = migration.origins[number], migration.before.tokens
    return {
        "id": number,
        "token": migration.after.tokens[number].text,
        "how": one.how,
        "of": [{"id": old, "token": of[old].text} for old in one.old],
    }


def _dropped(migration: Migration, number: int) -> dict[str, Any]:
    token = migration.before.tokens.get(number)
    return {"id": number, "token": token.text if token else "", "special": bool(token and token.special)}


def _named(one: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the record as the report holds it: ids are names, and counts are data."""
    found: dict[str, Any] = {"token": one["token"], "id": str(one["id"])}
    if "how" in one:
        found |= {"how": one["how"], "of": [old["token"] for old in one["of"]]}
    else:
        found |= {"count": facts.measured(one["count"], "token")}
    return found
