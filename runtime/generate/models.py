"""A checkpoint in torch, or a saved package in the MIL interpreter → logits after a prompt and after each token more.

Both keep the keys and values of what they have read, so that a token costs one step. A model in the folder is opened
once and may be in the middle of many texts: what belongs to one text is its `Place`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache, PreTrainedModel

from runtime.contract import Refusal, Unavailable, delivery
from runtime.contract import program as contracts
from runtime.contract.program import Contract
from runtime.contract.program import load as load_contract
from runtime.mil import pieces
from runtime.mil.kept import Kept
from runtime.models import admission, build, heads

Logits: TypeAlias = NDArray[np.float32]
#: how a model can be run, and those by which it does not write here
RUNNERS = ("torch", "mil", "gguf", "coreml")
ABSENT = {
    "gguf": "here the checkpoint and the package write; `kcompiler evaluate --runner gguf=FILE` asks a GGUF file",
    "coreml": "here the checkpoint and the package write; on a Mac a suite asks it by `evaluation.runners`",
}


class Place(Protocol):
    """Where a model stands in one text. `said`: of each head beside the one for words the log-odds after the last token
    that was read."""

    @property
    def said(self) -> Mapping[str, float]: ...

    def step(self, token: int) -> Logits:
        """Read one token more; the logits_V after it."""


class Model(Protocol):
    """A model that texts can be begun with. `width`: logits per position; `context`: positions it has; `heads`: what it
    says beside words."""

    name: str
    width: int
    context: int
    heads: tuple[str, ...]

    def begin(self, ids: Sequence[int]) -> tuple[Place, Logits]:
        """Read a prompt; the logits_V after it. Raises Refusal when it is empty or longer than the context."""


def _fits(model: Model, ids: Sequence[int]) -> None:
    if not ids:
        raise Refusal("the prompt is empty", action="write something", code="KR0201")
    if len(ids) >= model.context:
        raise Refusal(
            f"the prompt has {len(ids)} tokens, and runner `{model.name}` has room for {model.context} with the answer",
            action="ask something shorter, or begin a new conversation",
            code="KR0202",
        )


class TorchModel:
    """A Transformers checkpoint in float32 on the CPU."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.name, self.model = "torch", model.eval()
        self.width = int(model.get_output_embeddings().weight.shape[0])
        self.context = build.context_of(model) or sys.maxsize
        #: a family with a state of its own reads the whole text again for each token
        self.cached = admission.continues(model)
        self.heads = heads.names(model)

    def begin(self, ids: Sequence[int]) -> tuple[Place, Logits]:
        _fits(self, ids)
        place = _Cached(self.model) if self.cached else _Whole(self.model)
        return place, place.read(ids)


class _Torch:
    def __init__(self, model: PreTrainedModel) -> None:
        self._model, self.said = model, dict[str, float]()

    def _run(self, **fed: Any) -> Logits:
        with torch.inference_mode(), heads.overheard(self._model) as met:
            out = self._model(**fed)
            self.said = {name: float(one[-1]) for name, one in heads.stated(self._model, met[-1:]).items()}
        found: Logits = out.logits[0, -1].float().numpy()
        return found


class _Cached(_Torch):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self._cache = DynamicCache(config=model.config)

    def read(self, ids: Sequence[int]) -> Logits:
        fed = torch.tensor([list(ids)])
        return self._run(input_ids=fed, past_key_values=self._cache, use_cache=True, logits_to_keep=1)

    def step(self, token: int) -> Logits:
        return self.read([token])


class _Whole(_Torch):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self._ids = list[int]()

    def read(self, ids: Sequence[int]) -> Logits:
        self._ids += ids
        return self._run(input_ids=torch.tensor([self._ids]), use_cache=False)

    def step(self, token: int) -> Logits:
        return self.read([token])


class PackageModel:
    """A saved Core ML package, run by the MIL interpreter."""

    def __init__(self, opened: pieces.Opened, contract: Contract | delivery.Contract) -> None:
        self.name, self.contract = "mil", contract
        self.width, self.context = contract.vocab_size, contract.kv_cache.context
        self._functions = pieces.interpreted(opened, contract, check=False)
        self._prefills = contract.prefills()
        self.heads = contracts.heads(contract.functions)

    def begin(self, ids: Sequence[int]) -> tuple[Place, Logits]:
        """The shortest prefill that holds the prompt reads it; of a longer one the longest reads the beginning, and
        `decode` the rest token by token."""
        _fits(self, ids)
        name, length = next((pair for pair in self._prefills if pair[1] >= len(ids)), self._prefills[-1])
        first = list(ids[:length])
        # a cache that this host keeps is float16, as on a device
        text = Kept(self._functions, self.contract, np.float16)
        place = _Read(text, self.heads)
        logits_V = place.told(text.begin(name, first).outputs, len(first) - 1)
        for token in ids[length:]:
            logits_V = place.step(token)
        return place, logits_V


class _Read:
    """A text, as far as the package has read it."""

    def __init__(self, text: Kept, heads: Sequence[str]) -> None:
        self._text, self.said = text, dict.fromkeys(heads, 0.0)

    def step(self, token: int) -> Logits:
        return self.told(self._text.step(token).outputs, 0)

    def told(self, outputs: Mapping[str, Any], at: int) -> Logits:
        """The logits_V of one position; what its heads say there is kept."""
        self.said = {name: float(outputs[name][0, at]) for name in self.said}
        found: Logits = outputs["logits"][0, at].astype(np.float32)
        return found


def opened(runner: str, model: Path, packages: Path | None, variant: str = "quantized") -> Model:
    """The model of a Transformers folder, or the saved package `variant` of a folder of packages.

    Raises Unavailable for a runner that this machine does not have, Refusal for a folder without a package or with a
    model that cannot be loaded, BrokenEvidence for a damaged one.
    """
    if runner in ABSENT:
        raise Unavailable(f"runner `{runner}` is not available: {ABSENT[runner]}", needs="runner `torch` or `mil`")
    if runner == "torch":
        return TorchModel(build.load(model, attention="sdpa"))
    if packages is None:
        raise Refusal(
            "there is no saved package in it",
            place=model.name,
            action="take runner `torch`, or name a spec that was applied, or a delivery",
            code="KR0203",
        )
    contract = delivery.load(packages.parent) if delivery.is_delivery(packages.parent) else load_contract(packages)
    found = pieces.opened(packages, variant, contract)
    pieces.fit(found, contract)
    return PackageModel(found, contract)
