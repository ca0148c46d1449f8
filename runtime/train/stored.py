"""An artifact of kind `signals` → what a teacher says at the supervised tokens of a corpus, without the teacher.

Rows are found by their tokens, never by their number; each file is hashed before a number of it is used, and named when
it is not what was written; files are mapped into memory, and of a batch its own tokens are read. Before anything is
trained it is measured that the stored numbers stand where the corpus has its tokens (`View.check`).

Letters: S supervised tokens of a corpus, N of a batch, H hidden width, V vocabulary, K stored tokens, R rows.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from runtime import digest
from runtime.contract import BrokenEvidence, Refusal, strict_json
from runtime.contract import report as facts
from runtime.contract.objective import Top
from runtime.contract.signals import HEAD, INDEX, ROWS, VERSION
from runtime.models.capping import Capped
from runtime.train.batches import Batch, Corpus
from runtime.train.objective import Side
from runtime.train.place import HERE

#: files that are held open at once
OPEN = 64
#: supervised tokens at which it is measured where the stored numbers stand, and how far beside their places
MEASURED, SHIFTS = 1024, (-2, -1, 1, 2)
#: tokens whose logits exist at one time while that is measured
CHUNK = 128
FLOATS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def key_of(ids_T: Tensor) -> bytes:
    """SHA-256 of a row's tokens: by it a row is found."""
    return hashlib.sha256(ids_T.numpy().tobytes()).digest()


class Files:
    """The files of an artifact, each hashed when it is first opened. Raises BrokenEvidence with the file's name."""

    def __init__(self, folder: Path, listed: Mapping[str, Mapping[str, Any]]) -> None:
        self._folder, self._listed = folder, listed
        # the parts of a batch are read by a thread each
        self._lock = threading.Lock()
        self._sound: set[str] = set()
        self._open: OrderedDict[str, Any] = OrderedDict()

    def tensor(self, name: str, tensor: str) -> Tensor:
        """A tensor of a file, mapped: its bytes are read where they are used."""
        with self._lock:
            if name not in self._open:
                self._prove(name)
                self._open[name] = safe_open(str(self._folder / name), framework="pt")
                if len(self._open) > OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(name)
            try:
                found: Tensor = self._open[name].get_tensor(tensor)
            except Exception as error:
                raise BrokenEvidence(f"{name} of the signals has no `{tensor}`: {error}", subject=name) from None
            return found

    def _prove(self, name: str) -> None:
        if name in self._sound:
            return
        path, said = self._folder / name, self._listed.get(name)
        if said is None:
            raise BrokenEvidence(f"the index of the signals does not list {name}", subject=name)
        if not path.is_file():
            raise BrokenEvidence(f"{name} of the signals is not here", subject=name)
        if path.stat().st_size != said["bytes"]:
            what = f"{path.stat().st_size} bytes, where {said['bytes']} were written"
            raise BrokenEvidence(f"{name} of the signals is torn: {what}", subject=name)
        if digest.of_file(path) != said["digest"]:
            raise BrokenEvidence(f"{name} of the signals was changed after it was written", subject=name)
        self._sound.add(name)


@dataclass(frozen=True)
class Shift:
    """How likely the tokens so many places beside their own are under what is stored, and the own ones of the same
    tokens. `share` and `own_share` are those found among the stored tokens, of form `top_k`."""

    by: int
    tokens: int
    likelihood: float
    own: float
    share: float | None
    own_share: float | None


class Stored:
    """What was recorded of one teacher."""

    def __init__(self, folder: Path) -> None:
        """Raises BrokenEvidence for an index or a file that is not what was written."""
        try:
            found: Any = strict_json.loads((folder / INDEX).read_bytes())
            if found["schema_version"] != VERSION:
                raise ValueError(f"version {found['schema_version']}")
            self.index: dict[str, Any] = found
            self.form, self.vocab, self.shard = str(found["form"]), int(found["vocab_size"]), int(found["shard_tokens"])
            self.tokens, self.temperatures = int(found["tokens"]), [float(one) for one in found["temperatures"]]
            self._files = Files(folder, found["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BrokenEvidence(f"the index of the signals cannot be read: {error}", subject=INDEX) from None
        keys_RB, self._start = self._files.tensor(ROWS, "key"), self._files.tensor(ROWS, "start")
        self._place_S = self._files.tensor(ROWS, "place")
        self._rows = {bytes(key): row for row, key in enumerate(keys_RB.numpy())}

    def places(self, ids_T: Tensor, before_N: Tensor) -> Tensor:
        """Where the numbers of a row's tokens stand, by the places before them; -1 where there are none."""
        row = self._rows.get(key_of(ids_T))
        if row is None:
            return torch.full_like(before_N, -1)
        begin, end = int(self._start[row]), int(self._start[row + 1])
        known_P = self._place_S[begin:end].long()
        at_N = torch.searchsorted(known_P, before_N).clamp(max=max(len(known_P) - 1, 0))
        there_N = known_P[at_N] == before_N if len(known_P) else torch.zeros_like(before_N, dtype=torch.bool)
        return torch.where(there_N, at_N + begin, -1)

    def read(self, name: str, places_N: Tensor) -> Tensor:
        """The rows of a stored tensor at these places."""
        pieces = [
            self._files.tensor(f"shard-{shard:05d}.safetensors", name)[begin:end]
            for shard, begin, end in self._runs(places_N)
        ]
        return torch.cat(pieces)

    def _runs(self, places_N: Tensor) -> Iterator[tuple[int, int, int]]:
        """(shard, begin, end within it) of each run of places that follow each other in one shard."""
        if not len(places_N):
            yield 0, 0, 0
            return
        breaks = ((places_N[1:] != places_N[:-1] + 1) | (places_N[1:] % self.shard == 0)).nonzero().squeeze(-1) + 1
        edges = [0, *breaks.tolist(), len(places_N)]
        for left, right in itertools.pairwise(edges):
            first = int(places_N[left])
            begin = first % self.shard
            yield first // self.shard, begin, begin + right - left

    @property
    def mapped(self) -> int:
        """Bytes of the files that are held open at most, the head's left out."""
        sizes = (int(said["bytes"]) for name, said in self.index["files"].items() if name != HEAD)
        return sum(sorted(sizes, reverse=True)[:OPEN])

    def head(self) -> nn.Linear:
        """The teacher's head, of form `hidden`, in float32."""
        weight_VH = self._files.tensor(HEAD, "weight")
        bias_V = self._files.tensor(HEAD, "bias") if self.index["bias"] else None
        made = nn.Linear(weight_VH.shape[1], weight_VH.shape[0], bias=bias_V is not None, device="meta")
        made.weight = nn.Parameter(weight_VH.float(), requires_grad=False)
        if bias_V is not None:
            made.bias = nn.Parameter(bias_V.float(), requires_grad=False)
        cap = self.index.get("cap")
        return made if cap is None else Capped(made, float(cap))

    def top(self, places_N: Tensor) -> Top:
        """Of form `top_k`: what is known at these places."""
        rest_NT = self.read("rest", places_N)
        rest = {t: rest_NT[:, i] for i, t in enumerate(self.temperatures)}
        return Top(self.read("ids", places_N), self.read("log", places_N), rest)


class View:
    """What is stored of a teacher at the supervised tokens of one corpus: `runtime.train.teaching.Taught`."""

    def __init__(self, stored: Stored, corpus: Corpus) -> None:
        self.stored, self.corpus = stored, corpus
        self._device = HERE.device
        self.head = stored.head() if stored.form == "hidden" else None
        self.told: dict[str, Any] = {}
        rows = range(len(corpus))
        self._at_S = torch.cat([stored.places(corpus.ids[row], corpus.before(row)) for row in rows])

    def to(self, device: torch.device) -> None:
        """From here on, what is given is on this device, where the student is."""
        self._device = device
        if self.head is not None:
            self.head = self.head.to(device)

    @property
    def quick(self) -> nn.Module | None:
        """The teacher's head, where it may run through the kernels that it ran through in the teacher: in float32."""
        return self.head if self.stored.index["floats"] == "fp32" else None

    def given(self, batch: Batch) -> Side | Top:
        return self._at(self._at_S[self.corpus.flat(batch.rows)])

    def _at(self, places_N: Tensor) -> Side | Top:
        if self.stored.form == "top_k":
            return self.stored.top(places_N).to(self._device)
        if self.head is None:
            # read chunk by chunk: of a batch they would be as large as its logits
            return Side(places_N, lambda places_C: self.stored.read("log", places_C).float().to(self._device))
        return Side(self.stored.read("hidden", places_N).float().to(self._device), self.head)

    def check(self, drawn: Sequence[int]) -> None:
        """Each token of the rows `drawn` has a stored signal, and it is its own; `told` says what was measured.

        Raises Refusal (KR0132) where one has none, and (KR0126) where other tokens than their own are likelier under
        what is stored.
        """
        at_N = self._at_S[self.corpus.flat(drawn)]
        known, all_ = int((at_N >= 0).sum()), len(at_N)
        if known < all_ or not all_:
            lacking = next((row for row in drawn if bool((self._at_S[self.corpus.flat([row])] < 0).any())), None)
            named = "no row is drawn" if lacking is None else f"the first is in row `{self.corpus.names[lacking]}`"
            raise Refusal(
                f"of {all_} supervised tokens {all_ - known} have no stored signal; {named}",
                place="signals",
                action="plan and apply again: signals are recorded of the rows that are trained on",
                code="KR0132",
            )
        found = self.beside(drawn)
        for one in found:
            if not _better(one):
                raise Refusal(_beside(one), place="signals", action=ACTION, code="KR0126")
        self.told = {"form": self.stored.form, "covered": facts.rate(known, all_), **told(found)}

    def beside(self, drawn: Sequence[int]) -> list[Shift]:
        """How likely what stands beside the tokens of these rows is under what is stored for them; at each distance
        that the rows are long enough for."""
        return [one for one in (self._shift(by, drawn) for by in SHIFTS) if one.tokens]

    def _shift(self, by: int, drawn: Sequence[int]) -> Shift:
        at, own, other = self._sample(by, drawn)
        if not len(at):
            return Shift(by, 0, 0.0, 0.0, None, None)
        pieces = [slice(begin, begin + CHUNK) for begin in range(0, len(at), CHUNK)]
        log = [[self._likelihood(at[piece], ids[piece]) for piece in pieces] for ids in (own, other)]
        likely = [float(torch.cat([one[0] for one in side]).double().mean()) for side in log]
        shares: list[float | None] = [None, None]
        if self.stored.form == "top_k":
            shares = [float(torch.cat([one[1] for one in side]).double().mean()) for side in log]
        return Shift(by, len(at), likely[1], likely[0], shares[1], shares[0])

    def _sample(self, by: int, drawn: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """(places in the store, the tokens that stand there, the tokens `by` places beside them) of whole rows, evenly
        spaced among those drawn."""
        at: list[Tensor] = []
        own: list[Tensor] = []
        other: list[Tensor] = []
        for row in drawn[:: max(1, len(drawn) * self._mean(drawn) // MEASURED)]:
            ids_T, target_N = self.corpus.ids[row], self.corpus.before(row) + 1
            fits_N = (target_N + by >= 0) & (target_N + by < len(ids_T))
            at.append(self._at_S[self.corpus.flat([row])][fits_N])
            own.append(ids_T[target_N[fits_N]])
            other.append(ids_T[target_N[fits_N] + by])
        return torch.cat(at), torch.cat(own), torch.cat(other)

    def _mean(self, drawn: Sequence[int]) -> int:
        """Supervised tokens of a row, on average."""
        return max(1, len(self.corpus.flat(drawn)) // len(drawn))

    def _likelihood(self, at_C: Tensor, ids_C: Tensor) -> tuple[Tensor, Tensor]:
        """log p of these tokens under what is stored at these places, and which are among the stored. Of a token that
        is not, its share of the mass of all others."""
        said = self._at(at_C)
        if isinstance(said, Top):
            hit_CK = said.ids_NK == ids_C[:, None].to(said.ids_NK.dtype)
            inside_C = hit_CK.any(-1)
            others = max(self.stored.vocab - said.ids_NK.shape[-1], 1)
            rest_C = said.rest[1.0] - torch.tensor(float(others)).log()
            # a teacher may give a token no chance at all; float32 ends at e^-103
            log_C = torch.where(inside_C, said.log_NK.masked_fill(~hit_CK, -torch.inf).amax(-1), rest_C)
            return log_C.clamp(min=-104.0), inside_C
        with torch.no_grad():
            log_CV = said.head(said.hidden_NH).log_softmax(-1)
        return log_CV.gather(-1, ids_C[:, None]).squeeze(-1).clamp(min=-104.0), torch.ones_like(ids_C, dtype=torch.bool)


ACTION = (
    "remove the artifact and apply again, so that signals are recorded anew; if it says so of a new recording, the "
    "teacher does not know these rows: train it longer, or take another"
)


def _better(one: Shift) -> bool:
    """Whether the own tokens are likelier than those beside them, and no fewer of them among the stored ones."""
    shares = one.own_share is None or one.share is None or one.own_share >= one.share
    return one.own > one.likelihood and shares


def _beside(one: Shift) -> str:
    shares = ""
    if one.own_share is not None and one.share is not None:
        shares = f", and {one.own_share:.3f} of them are among the stored tokens, {one.share:.3f} of the others"
    return (
        f"the stored signals do not stand at the rows' own tokens: those {one.by:+d} beside them have a "
        f"log-probability of {one.likelihood:.3f} nat/token, the own ones {one.own:.3f} ({one.tokens} tokens){shares}"
    )


def told(found: Sequence[Shift]) -> dict[str, Any]:
    """What was measured beside the tokens, as it stands in a report."""
    margin = min((one.own - one.likelihood for one in found), default=math.nan)
    least = min((one.tokens for one in found), default=0)
    return {
        "margin": facts.measured(margin, "nat/token", n=least),
        "beside": [_told(one) for one in found],
    }


def _told(one: Shift) -> dict[str, Any]:
    told = {
        "shift": facts.measured(one.by, "place"),
        "nll": facts.measured(-one.likelihood, "nat/token", n=one.tokens),
        "own_nll": facts.measured(-one.own, "nat/token", n=one.tokens),
    }
    if one.share is not None and one.own_share is not None:
        told["share"] = facts.measured(one.share, "1", n=one.tokens)
        told["own_share"] = facts.measured(one.own_share, "1", n=one.tokens)
    return told


def of(
    folder: Path, form: str, tokenizer: str, vocab: int, corpus: Corpus, temperatures: Collection[float] = ()
) -> View:
    """The artifact of port `signals`, for a corpus. Raises Refusal (KR0132) where it was recorded with another
    tokenizer, width or form than the training has, or without a temperature that a term has; BrokenEvidence where it
    is not what was written."""
    found = Stored(folder)
    for what, said, wanted in (
        ("form", found.form, form),
        ("tokenizer", found.index["tokenizer"], tokenizer),
        ("vocabulary width", found.vocab, vocab),
        ("temperatures", found.temperatures, sorted({*found.temperatures, *temperatures})),
    ):
        if said != wanted:
            raise Refusal(
                f"the signals were recorded with {what} {said}, the training has {wanted}",
                place="signals",
                action="plan and apply again: nothing is cut or filled up",
                code="KR0132",
            )
    return View(found, corpus)
