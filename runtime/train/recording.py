"""Rows and a teacher → what it says at every supervised token, on disk: the operation `record_signals`.

The teacher runs as it does where nothing is stored: each row once, in lots of one length (`teaching.lots`), through the
same kernels. Numbers go into shards of bounded size as they are made. A shard that is whole and listed is never made
again, so that a kill costs at most the shard at work. When all are there, a sample of rows goes through the teacher
again, each row alone and padded beside a longer one, and is compared with what can be read back: that a row's numbers
do not depend on its neighbours is measured in each run, not assumed.

Letters: S supervised tokens of all rows, N of a lot, C of a chunk, H hidden width, V vocabulary, K stored tokens.
"""

from __future__ import annotations

import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime import digest
from runtime.contract import Context, Refusal, signals, strict_json
from runtime.contract import report as facts
from runtime.contract.conditions import FORBIDDEN
from runtime.contract.rows import answered, load
from runtime.contract.signals import HEAD, INDEX, ROWS, VERSION, Floats, Full, Hidden, Likeliest
from runtime.data import answers
from runtime.data.encode import RESPONSE, Example, encode
from runtime.machine import durable, host
from runtime.models import build, capping, tokenizer
from runtime.models.tokenizer import Tokenizer
from runtime.steps.record_signals import RecordSignalsParams
from runtime.train import place as places
from runtime.train import rounding, teaching
from runtime.train.batches import Corpus
from runtime.train.likeliest import likeliest
from runtime.train.linear import begun_with, fast, products
from runtime.train.loop import deterministic
from runtime.train.narrow import narrowed
from runtime.train.place import Place
from runtime.train.stored import FLOATS, Stored, View, key_of, told
from runtime.train.teaching import head_of, hidden_of

#: what was written so far; in the scratch folder
PROGRESS = "progress.json"
#: the splits that training reads
SPLITS = ("train", "validation")
#: tokens whose logits exist at one time
CHUNK = 128
#: rows that are compared with what was read back, and the difference, relative to the largest number, that rounding
#: explains: float32 has seven digits, bfloat16 three
COMPARED, ROUNDING = 16, {"fp32": 1e-4, "bf16": 5e-2}

Made = dict[str, Tensor]


def record_signals(takes: Mapping[str, Path], params: RecordSignalsParams, ctx: Context) -> None:
    """Operation `record_signals`. Raises Refusal for no rows, a row that is too long, a teacher of another width,
    logits that are no numbers, and too little room on the disk (KR0138)."""
    words = tokenizer.load(takes["tokenizer"])
    corpus = _corpus(takes, words, params)
    place = places.of(params, params.teacher_device)
    with deterministic(ctx.seed, params.threads, exact=place.device.type == "cpu"):
        model = rounding.teacher(takes["teacher"], params.teacher_weights, place.teacher or place.device)
        teaching.check_width(model, words, params.max_length, "teacher")
        floats: Floats = "bf16" if build.held(takes["teacher"]) is torch.bfloat16 else "fp32"
        model = model.requires_grad_(False)
        # the shards of one recording are made by the same products, whenever it was interrupted
        begun = begun_with(_begun(ctx.scratch / "signals"))
        with begun, fast(*([model] if place.exact else [])), narrowed(corpus.ids[0][None], model):
            head = teaching.in_float32(head_of(model, corpus.ids[0][None], "teacher"))
            maker = Maker(model, head, corpus, params, floats, place)
            shards = maker.record(ctx, _identity(takes, params, ctx))
            out = ctx.out("signals")
            _hand_over(ctx.scratch / "signals", out, shards)
            listed: dict[str, dict[str, Any]] = {}
            listed |= {shard.name: {"bytes": shard.bytes, "digest": shard.digest} for shard in shards}
            listed |= _further(out, maker)
            durable.write(out / INDEX, _index(maker, listed, ctx))
            kept = Stored(out)
            measured = maker.compare(kept) | told(View(kept, corpus).beside(range(len(corpus))))
    sizes = sum(int(one["bytes"]) for one in listed.values())
    data = {
        "form": params.store.form,
        "rows": facts.measured(len(corpus), "row"),
        "tokens": facts.measured(maker.tokens, "token"),
        "recorded": facts.rate(sum(shard.tokens for shard in shards), maker.tokens),
        "bytes": facts.measured(sizes, "byte"),
        "token_bytes": facts.measured(maker.token_bytes, "byte/token"),
        "shards": facts.measured(len(shards), "shard"),
        **measured,
    }
    if isinstance(params.store, Likeliest):
        data["mass"] = facts.measured(min(1.0, sum(shard.mass for shard in shards) / maker.tokens), "1", n=maker.tokens)
        data["least_mass"] = facts.measured(min(1.0, min(shard.least for shard in shards)), "1", n=maker.tokens)
    marks = facts.fingerprints({name: takes[name] for name in ("dataset", "tokenizer")}, ctx.digests, model="teacher")
    ctx.report("report", data, fingerprints=marks)
    ctx.say(f"recorded {maker.tokens} tokens of {len(corpus)} rows in {sizes} bytes")


def _corpus(takes: Mapping[str, Path], words: Tokenizer, params: RecordSignalsParams) -> Corpus:
    """Every row that training reads, each sequence of tokens once, whichever rows have it."""
    rows = [row for split in SPLITS if (path := takes["dataset"] / f"{split}.jsonl").is_file() for row in load(path)]
    if params.responses == "teacher":
        given = answers.load(takes["answers"])
        rows = [answered(row, given[row["id"]].text) for row in rows if row["id"] in given]
    found: dict[tuple[int, ...], tuple[str, list[bool]]] = {}
    for row in rows:
        # a term may unlearn what no other learns
        for example in encode(row, words, [RESPONSE, FORBIDDEN]):
            name, mask = found.setdefault(tuple(example.ids), (row["id"], [False] * len(example.ids)))
            found[tuple(example.ids)] = (name, [any(one) for one in zip(mask, *example.masks.values(), strict=True)])
    examples = [Example(list(ids), {RESPONSE: mask}) for ids, (_, mask) in found.items()]
    return Corpus([name for name, _ in found.values()], examples, params.max_length, words.pad_id)


def _identity(takes: Mapping[str, Path], params: RecordSignalsParams, ctx: Context) -> str:
    """Stands for all that decides the numbers: shards of another identity are not continued."""
    value = {
        "digests": {name: ctx.digests[name] for name in takes},
        "store": params.store.model_dump(mode="json"),
        "temperatures": params.temperatures,
        "kernels": host.kernels(),
        "place": [params.device, params.teacher_device, params.precision],
        "teacher_weights": params.teacher_weights,
        "threads": params.threads,
        "versions": {**ctx.versions, "torch": torch.__version__},
    }
    return digest.of_value(value, "kc.signals.v1")


@dataclass(frozen=True, slots=True)
class Shard:
    """One file that is written. `mass` is the sum over its tokens of the mass of what is stored, `least` the least."""

    name: str
    tokens: int
    bytes: int
    digest: str
    mass: float
    least: float


@dataclass
class Maker:
    """The teacher over the rows, in one order that does not change."""

    model: PreTrainedModel
    head: nn.Module
    corpus: Corpus
    params: RecordSignalsParams
    #: those of the teacher's weights and hidden states
    floats: Floats
    place: Place
    lots: list[list[int]] = field(init=False)
    start: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.lots = teaching.lots(self.corpus, range(len(self.corpus)))
        self.start, begin = {}, 0
        for row in (row for lot in self.lots for row in lot):
            self.start[row] = begin
            begin += len(self.corpus.before(row))
        self.tokens, self.width = begin, int(self.model.config.hidden_size)
        self.vocab = int(self.model.config.vocab_size)
        store = self.params.store
        if isinstance(store, Likeliest) and store.k > self.vocab:
            raise Refusal(
                f"{store.k} tokens are to be stored, the vocabulary has {self.vocab}",
                action=f"lower teacher.store.k to at most {self.vocab}",
            )
        self.token_bytes = signals.token_bytes(
            store,
            vocab=self.vocab,
            width=self.width,
            floats=self.floats,
            temperatures=len(self.params.temperatures),
        )
        self.shard = signals.shard_tokens(self.token_bytes)

    def made(self, hidden_NH: Tensor) -> Iterator[Made]:
        """What is stored of these tokens, chunk by chunk. Raises Refusal for logits that are no numbers."""
        store = self.params.store
        for begin in range(0, len(hidden_NH), CHUNK):
            hidden_CH = hidden_NH[begin : begin + CHUNK]
            if isinstance(store, Hidden):
                _finite(bool(torch.isfinite(hidden_CH).all()))
                yield {"hidden": hidden_CH.to("cpu", FLOATS[self.floats])}
                continue
            logits_CV = self.head(hidden_CH)
            _finite(not bool((logits_CV.isnan() | logits_CV.isposinf()).any()))
            if isinstance(store, Full):
                yield {"log": logits_CV.log_softmax(-1).to("cpu", FLOATS[store.dtype])}
                continue
            top = likeliest(logits_CV, store.k, self.params.temperatures).to("cpu")
            rest_CT = torch.stack([top.rest[t] for t in self.params.temperatures], -1)
            yield {"ids": top.ids_NK, "log": top.log_NK, "rest": rest_CT}

    def record(self, ctx: Context, identity: str) -> list[Shard]:
        """Every shard, those of an earlier attempt among them."""
        folder = ctx.scratch / "signals"
        durable.DISK.folder(folder)
        durable.sweep(folder)
        done, damaged = _done(folder, identity)
        written = sum(shard.tokens for shard in done)
        _room(folder, self._bytes(self.tokens - written), self.params)
        ctx.kept(self._whole(written))
        if damaged:
            ctx.say(f"{damaged}: it is made again, and those after it")
        if done:
            ctx.say(f"continuing at token {written} of {self.tokens}")
        held: list[Made] = []
        count = 0
        for number, lot in enumerate(self.lots, 1):
            end = self.start[lot[-1]] + len(self.corpus.before(lot[-1]))
            if end <= written:
                continue
            skip = max(0, written + count - self.start[lot[0]])
            with torch.no_grad():
                for made in self.made(hidden_of(self.model, [self.corpus.group(lot)], self.place)):
                    size = len(next(iter(made.values())))
                    held.append({name: tensor[skip:] for name, tensor in made.items()})
                    count, skip = count + max(0, size - skip), max(0, skip - size)
                    while count >= self.shard:
                        held, count = self._write(folder, identity, done, held, self.shard), count - self.shard
                        written += self.shard
                        ctx.kept(self._whole(written))
            ctx.progress(number, len(self.lots), f"{len(done)} shards")
        if count:
            self._write(folder, identity, done, held, count)
            ctx.kept(len(self.lots))
        return done

    def _whole(self, written: int) -> int:
        """How many lots need not go through the teacher again, when so many tokens are written."""
        ends = [self.start[lot[-1]] + len(self.corpus.before(lot[-1])) for lot in self.lots]
        return bisect_right(ends, written) if written else 0

    def _bytes(self, tokens: int) -> int:
        """What so many tokens take, with the head and the list of rows."""
        rows = 40 * len(self.corpus) + signals.PLACE * self.tokens
        head = signals.head_bytes(self.params.store, vocab=self.vocab, width=self.width, floats=self.floats)
        return tokens * self.token_bytes + rows + head

    def _write(self, folder: Path, identity: str, done: list[Shard], held: list[Made], size: int) -> list[Made]:
        """The first `size` of the tokens held, as the next shard; the rest of them."""
        whole = {name: torch.cat([made[name] for made in held]) for name in held[0]}
        name = f"shard-{len(done):05d}.safetensors"
        # one entry: of several, safetensors 0.8 writes each file in another order
        about = {"identity": f"{identity} from token {sum(shard.tokens for shard in done)}"}
        data = save({key: tensor[:size].contiguous() for key, tensor in whole.items()}, metadata=about)
        durable.write(folder / name, data)
        mass_N = whole["log"][:size].double().exp().sum(-1) if "ids" in whole else torch.ones(1)
        done.append(Shard(name, size, len(data), digest.of_bytes(data), float(mass_N.sum()), float(mass_N.min())))
        listed = [{key: getattr(shard, key) for key in Shard.__slots__} for shard in done]
        durable.write(folder / PROGRESS, json.dumps({"identity": identity, "products": products(), "shards": listed}))
        return [{key: tensor[size:].clone() for key, tensor in whole.items()}]

    def compare(self, stored: Stored) -> dict[str, Any]:
        """A sample of rows, each alone and padded beside the longest, against what is read back; and how likely their
        own tokens are."""
        rows = [row for lot in self.lots for row in lot if len(self.corpus.before(row))]
        sample = rows[:: max(1, len(rows) // COMPARED)][:COMPARED]
        limit = ROUNDING["bf16" if self._rough else "fp32"]
        alone = [self._apart(stored, [row]) for row in sample]
        padded = [self._apart(stored, [row, rows[-1]]) for row in sample]
        nll = torch.cat([self._nll(row) for row in sample]).double()
        return {
            "same_alone": facts.rate(sum(apart == 0 for apart in alone), len(alone)),
            "same_padded": facts.rate(sum(apart == 0 for apart in padded), len(padded)),
            "agreeing": facts.rate(sum(apart <= limit for apart in alone + padded), len(alone + padded)),
            "largest_difference": facts.measured(max(alone + padded), "1", n=len(alone + padded)),
            "nll": facts.measured(float(nll.mean()), "nat/token", n=len(nll)),
        }

    @property
    def _rough(self) -> bool:
        """Whether any of the numbers passes through half precision."""
        half = isinstance(self.params.store, Full) and self.params.store.dtype == "bf16"
        return half or self.floats == "bf16" or self.params.precision != "fp32"

    def _logits(self, group: Sequence[int]) -> tuple[Tensor, Tensor]:
        """hidden_NH and log_NV of the first row of a group."""
        count = len(self.corpus.before(group[0]))
        with torch.no_grad():
            hidden_NH = hidden_of(self.model, [self.corpus.group(group)], self.place)[:count]
            log = [self.head(hidden_NH[i : i + CHUNK]).log_softmax(-1) for i in range(0, count, CHUNK)]
        return hidden_NH.cpu(), torch.cat(log).cpu()

    def _nll(self, row: int) -> Tensor:
        target_N = self.corpus.ids[row][self.corpus.before(row) + 1]
        return -self._logits([row])[1].gather(-1, target_N[:, None]).squeeze(-1)

    def _apart(self, stored: Stored, group: Sequence[int]) -> float:
        """The largest difference of the first row's numbers in this group from what is stored, relative to the largest
        of them."""
        row, store = group[0], self.params.store
        places_N = stored.places(self.corpus.ids[row], self.corpus.before(row))
        hidden_NH, log_NV = self._logits(group)
        if isinstance(store, Hidden):
            return _difference(hidden_NH.to(FLOATS[self.floats]), stored.read("hidden", places_N))
        if isinstance(store, Full):
            return _difference(log_NV.to(FLOATS[store.dtype]), stored.read("log", places_N))
        # of equally likely tokens another may be among the likeliest: the same ones are compared
        ids_NK = stored.read("ids", places_N).long()
        others_NV = log_NV.scatter(-1, ids_NK, -torch.inf)
        rest = torch.stack([(others_NV / t).logsumexp(-1) for t in self.params.temperatures], -1)
        return max(
            _difference(log_NV.gather(-1, ids_NK), stored.read("log", places_N)),
            _difference(rest, stored.read("rest", places_N)),
        )


def _difference(now: Tensor, then: Tensor) -> float:
    if torch.equal(now, then):
        return 0.0
    now, then = now.float(), then.float()
    both = torch.isfinite(now) & torch.isfinite(then)
    if bool((both.logical_not() & (now != then)).any()):
        return float("inf")
    largest = float(then[both].abs().max())
    return float((now[both] - then[both]).abs().max()) / max(1.0, largest)


def _finite(sound: bool) -> None:
    if not sound:
        raise Refusal("the teacher gives logits that are no numbers", place="teacher", action="take another teacher")


def _room(folder: Path, needed: int, params: RecordSignalsParams) -> None:
    """Raises Refusal (KR0138) before anything is computed for what the disk cannot hold."""
    free = shutil.disk_usage(folder).free
    if needed + signals.SHARD_BYTES > free:
        raise Refusal(
            f"the signals take {needed:,} bytes and a shard more while they are written; {free:,} are free",
            place="teacher.store",
            action="make room, or store less: "
            + ("`form: top_k`" if not isinstance(params.store, Likeliest) else "a smaller `k`"),
            code="KR0138",
        )


def _begun(folder: Path) -> str | None:
    """By whom the products of an earlier attempt were made; None without one."""
    try:
        found: Any = strict_json.loads((folder / PROGRESS).read_bytes())
        return str(found["products"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _done(folder: Path, identity: str) -> tuple[list[Shard], str]:
    """The shards of an earlier attempt of this very recording that are whole, from the first on; and which is not,
    where one was listed that is not what it was."""
    try:
        found: Any = strict_json.loads((folder / PROGRESS).read_bytes())
        if found["identity"] != identity:
            return [], ""
        listed = [Shard(**one) for one in found["shards"]]
    except (OSError, ValueError, KeyError, TypeError):
        return [], ""
    whole: list[Shard] = []
    for shard in listed:
        path = folder / Path(shard.name).name
        if not path.is_file():
            return whole, f"{path.name} is gone"
        if digest.of_file(path) != shard.digest:
            return whole, f"{path.name} was changed after it was written"
        whole.append(shard)
    return whole, ""


def _hand_over(folder: Path, out: Path, shards: Sequence[Shard]) -> None:
    """The shards under a second name, so that none is lost when the step is killed here; copied where the file system
    has no such names."""
    for shard in shards:
        try:
            os.link(folder / shard.name, out / shard.name)
        except OSError:
            durable.copy(folder / shard.name, out / shard.name)


def _further(out: Path, maker: Maker) -> dict[str, dict[str, Any]]:
    """The other files, written and listed: which tokens of which rows, and the head."""
    corpus, order = maker.corpus, [row for lot in maker.lots for row in lot]
    keys_RB = torch.tensor([list(key_of(corpus.ids[row])) for row in order], dtype=torch.uint8)
    counts = [len(corpus.before(row)) for row in order]
    start = torch.tensor([0, *counts]).cumsum(0)
    place_S = torch.cat([corpus.before(row) for row in order]).to(torch.int32)
    files = {ROWS: save({"key": keys_RB, "start": start, "place": place_S})}
    if isinstance(maker.params.store, Hidden):
        layer = maker.model.get_output_embeddings()
        tensors = {name: tensor.detach().contiguous() for name, tensor in layer.state_dict().items()}
        files[HEAD] = save(tensors)
    for name, data in files.items():
        durable.write(out / name, data)
    return {name: {"bytes": len(data), "digest": digest.of_bytes(data)} for name, data in files.items()}


def _index(maker: Maker, listed: Mapping[str, Any], ctx: Context) -> str:
    params = maker.params
    layer = maker.model.get_output_embeddings()
    told = {
        "schema_version": VERSION,
        "form": params.store.form,
        "store": params.store.model_dump(mode="json"),
        "floats": maker.floats,
        "products": products(),
        "temperatures": params.temperatures,
        "vocab_size": maker.vocab,
        "hidden_size": maker.width,
        "bias": getattr(layer, "bias", None) is not None,
        "cap": capping.stated(maker.model),
        "tokens": maker.tokens,
        "shard_tokens": maker.shard,
        "responses": params.responses,
        **{name: ctx.digests.get(name) for name in ("dataset", "tokenizer", "teacher", "answers")},
        "files": dict(listed),
    }
    return json.dumps(told, indent=2, sort_keys=True) + "\n"
