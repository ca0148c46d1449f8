"""A model in a folder → a Runner that suites may question: a checkpoint in torch, or a saved package interpreted.

Both answer from the same token ids, so that a difference between them is a difference of the models.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from runtime.contract import Refusal, Said, TokenScore, Written
from runtime.contract.conversation import Prompt, Reply
from runtime.contract.program import Contract
from runtime.contract.program import load as load_contract
from runtime.mil import pieces
from runtime.mil.kept import Kept, Runs
from runtime.mil.numerics import Mode
from runtime.models import admission, build, device, scoring
from runtime.models.tokenizer import Encoded, Tokenizer

#: tokens per forward pass of a batch, and logits that may exist at once (64 MiB in float32)
BATCH_TOKENS, BATCH_LOGITS = 8192, 1 << 24
GENERATED_TOGETHER = 64

Told = Callable[[int, int, str], None]


def _silent(done: int, total: int, note: str) -> None:
    """Nobody watches."""


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Indices by length, shortest first, in batches whose padded size stays within `most` tokens."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[index] > most:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


class Speller(Protocol):
    """What a runner needs of a tokenizer."""

    vocab_size: int
    pad_id: int
    stop_ids: tuple[int, ...]

    def encode_prompt(self, prompt: Prompt) -> list[int]: ...

    def encode_pair(self, prompt: Prompt, response: Reply) -> Encoded: ...

    def until_stop(self, ids: list[int]) -> list[int]: ...

    def decode(self, ids: Iterable[int]) -> str: ...

    def decode_response(self, ids: Iterable[int]) -> str: ...


class HFRunner:
    """A Transformers checkpoint in float32."""

    def __init__(self, name: str, model: PreTrainedModel, tokenizer: Speller, told: Told = _silent) -> None:
        self.name, self._model, self._tokenizer, self._told = name, model.eval(), tokenizer, told
        self._context = build.context_of(model) or sys.maxsize
        head = model.get_output_embeddings().weight
        self._device, width = head.device, int(head.shape[0])
        if width != tokenizer.vocab_size:
            raise Refusal(
                f"runner `{name}` has {width} output rows, the tokenizer {tokenizer.vocab_size} tokens",
                action="give model and tokenizer one vocab_size",
            )
        self._cached = admission.continues(self._model)
        self._most = max(256, min(BATCH_TOKENS, BATCH_LOGITS // width))

    def _ids(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Ids of rows of one length, where the model is."""
        return torch.tensor(rows, device=self._device)

    def _fits(self, length: int) -> None:
        if length > self._context:
            raise Refusal(
                f"a sequence of {length} tokens does not fit runner `{self.name}`, whose context is {self._context}",
                action="evaluate on shorter rows, or give the model a longer context",
            )

    @torch.inference_mode()
    def score(self, pairs: Sequence[tuple[Prompt, Reply]]) -> list[TokenScore]:
        """log p(response, its end token | prompt) of each pair, in nats.

        Batches are padded on the right. No mask is needed: nothing looks at the padding, which comes after every real
        token. (That a model is causal, whoever made it, is proved where it enters: `runtime.models.admission`.)
        """
        encoded = [self._tokenizer.encode_pair(prompt, response) for prompt, response in pairs]
        found: dict[int, TokenScore] = {}
        shared = scoring.repeated(encoded) if self._cached else {}
        for lot in scoring.lots(encoded, shared, BATCH_TOKENS, self._most):
            self._fits(max(len(encoded[index].ids) for _, index in lot.replies))
            for index, logits_SV in scoring.logits_of(self._model, encoded, lot, self._tokenizer.pad_id):
                found[index] = _score(logits_SV, encoded[index].ids[encoded[index].prompt_tokens :])
            self._told(len(found), len(pairs), f"{self.name} scores")
        rest = [index for index in range(len(pairs)) if index not in found]
        for places in _batches([len(encoded[index].ids) for index in rest], self._most):
            batch = [rest[place] for place in places]
            longest = max(len(encoded[index].ids) for index in batch)
            self._fits(longest)
            ids_BT = torch.full((len(batch), longest), self._tokenizer.pad_id, dtype=torch.long)
            for row, index in enumerate(batch):
                ids_BT[row, : len(encoded[index].ids)] = torch.tensor(encoded[index].ids)
            logits_BTV = self._model(input_ids=ids_BT.to(self._device), use_cache=False).logits
            for row, index in enumerate(batch):
                found[index] = _of_pair(logits_BTV[row], encoded[index])
            self._told(len(found), len(pairs), f"{self.name} scores")
        return [found[index] for index in range(len(pairs))]

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """Greedy continuation until a token that ends it, `max_new_tokens` or the end of the context.

        Only prompts of one length share a batch: where nothing is padded, no padding can change an answer.
        """
        return [one.text for one in self.write(prompts, max_new_tokens)]

    @torch.inference_mode()
    def say(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Said]:
        """The same, with whether no token ended it."""
        return [_said(one, self._tokenizer) for one in self.write(prompts, max_new_tokens)]

    @torch.inference_mode()
    def write(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Written]:
        """The same, with the tokens."""
        return [_written(new, self._tokenizer) for new in self._continued(prompts, lambda _: max_new_tokens)]

    @torch.inference_mode()
    def weigh(self, prompt: Prompt, answer: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Logit of each of `tokens` after the prompt and so much of an answer."""
        ids = self._tokenizer.encode_prompt(prompt)
        if self._cached:
            cache = DynamicCache(config=self._model.config)
            for step in (ids, *([token] for token in answer)):
                out = self._model(input_ids=self._ids([step]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        else:
            out = self._model(input_ids=self._ids([[*ids, *answer]]), use_cache=False)
        return [float(out.logits[0, -1, token]) for token in tokens]

    @torch.inference_mode()
    def reading(self, ids: Sequence[int]) -> Generator[Tensor, int, None]:
        """The logits_V after a prompt, and after each token sent; past the context it refuses."""
        cache = DynamicCache(config=self._model.config) if self._cached else None
        seen, step = list(ids), list(ids)
        while True:
            self._fits(len(seen))
            if cache is not None:
                out = self._model(input_ids=self._ids([step]), past_key_values=cache, use_cache=True, logits_to_keep=1)
            else:
                out = self._model(input_ids=self._ids([seen]), use_cache=False)
            token = yield out.logits[0, -1]
            step = [token]
            seen.append(token)

    def spell(self, token: int) -> str:
        return self._tokenizer.decode([token])

    @torch.inference_mode()
    def answers(self, prompts: Sequence[Prompt], longest: int) -> list[tuple[str, bool]]:
        """The same, each sequence (prompt, answer and end) of at most `longest` tokens; with whether it has ended."""
        continued = self._continued(prompts, lambda length: longest - length)
        return [
            (_written(new, self._tokenizer).text, len(self._tokenizer.until_stop(new)) < len(new)) for new in continued
        ]

    def _continued(self, prompts: Sequence[Prompt], room_of: Callable[[int], int]) -> list[list[int]]:
        """New ids of each prompt; `room_of` says how many there may be after so many."""
        ids = [self._tokenizer.encode_prompt(prompt) for prompt in prompts]
        by_length: dict[int, list[int]] = {}
        for index, prompt in enumerate(ids):
            by_length.setdefault(len(prompt), []).append(index)
        found: dict[int, list[int]] = {}
        for length, group in sorted(by_length.items()):
            self._fits(length)
            room = min(room_of(length), self._context - length)
            for start in range(0, len(group), GENERATED_TOGETHER):
                batch = group[start : start + GENERATED_TOGETHER]
                new_BT = self._continue(self._ids([ids[index] for index in batch]), room)
                found.update(zip(batch, new_BT.tolist(), strict=True))
                self._told(len(found), len(prompts), f"{self.name} answers")
        return [found[index] for index in range(len(prompts))]

    def _continue(self, ids_BT: Tensor, room: int) -> Tensor:
        """The `room` (or fewer, when all rows have ended) most likely next ids of each row, one after the other."""
        cache = DynamicCache(config=self._model.config) if self._cached else None
        ended_B = torch.zeros(ids_BT.shape[0], dtype=torch.bool, device=self._device)
        stop_N = torch.tensor(self._tokenizer.stop_ids, device=self._device)
        new: list[Tensor] = []
        step_BT = ids_BT
        while len(new) < room and not bool(ended_B.all()):
            if cache is not None:
                out = self._model(input_ids=step_BT, past_key_values=cache, use_cache=True, logits_to_keep=1)
            else:
                out = self._model(input_ids=torch.cat([ids_BT, *new], dim=1), use_cache=False)
            step_BT = out.logits[:, -1:].argmax(-1)
            new.append(step_BT)
            ended_B |= torch.isin(step_BT[:, 0], stop_N)
        return torch.cat(new, dim=1) if new else ids_BT[:, :0]


def _written(ids: list[int], tokenizer: Speller) -> Written:
    """Rows of a batch go on until the longest has ended: what follows a row's own end is no part of it."""
    kept = tokenizer.until_stop(ids)
    return Written(text=tokenizer.decode_response(kept), ids=ids[: len(kept) + 1])


def _said(written: Written, tokenizer: Speller) -> Said:
    return Said(text=written.text, cut=not {*written.ids[-1:]} & {*tokenizer.stop_ids})


def _of_pair(logits_TV: Tensor, pair: Encoded) -> TokenScore:
    """Token i is predicted at position i - 1."""
    first, last = pair.prompt_tokens, len(pair.ids)
    return _score(logits_TV[first - 1 : last - 1], pair.ids[first:last])


def _score(logits_SV: Tensor, reply: Sequence[int]) -> TokenScore:
    """The normaliser is summed in float64: a text's sum is of hundreds of logarithms, and it decides between models
    that differ by thousandths."""
    # not every device has float64
    logits_SV = logits_SV.cpu() if logits_SV.device.type == "mps" else logits_SV
    target_S = torch.tensor(reply, device=logits_SV.device)
    chosen_S = torch.log_softmax(logits_SV.double(), dim=-1).gather(1, target_S[:, None])[:, 0]
    return TokenScore(log_probability=float(chosen_S.sum()), tokens=len(reply))


class CoreMLRunner:
    """A saved Core ML package, executed by the MIL interpreter (or by Core ML)."""

    def __init__(
        self,
        name: str,
        opened: pieces.Opened,
        contract: Contract,
        tokenizer: Tokenizer,
        *,
        mode: Mode = "fp16_round",
        told: Told = _silent,
        functions: Mapping[str, Runs] | None = None,
    ) -> None:
        """`functions` run the package otherwise than the interpreter does."""
        self.name, self._contract, self._tokenizer, self._told = name, contract, tokenizer, told
        if contract.vocab_size != tokenizer.vocab_size:
            raise Refusal(
                f"the package was made for {contract.vocab_size} tokens, the tokenizer has {tokenizer.vocab_size}",
                action="use the tokenizer of the package",
            )
        self._functions: Mapping[str, Runs] = functions or pieces.interpreted(opened, contract, mode, check=False)

    def _text(self) -> Kept:
        """A text of which nothing was read; a cache that this host keeps is float16, as on a device."""
        return Kept(self._functions, self._contract, np.float16)

    def _shortest(self, ids: Sequence[int]) -> str:
        """The shortest prefill that holds `ids`. Raises Refusal when none does."""
        for function, length in self._contract.prefills():
            if len(ids) <= length:
                return function
        longest = max((length for _, length in self._contract.prefills()), default=0)
        raise Refusal(
            f"a sequence of {len(ids)} tokens is longer than the longest prefill of the package, {longest}",
            action="evaluate on shorter rows, or add a longer shape to shapes.prefill",
        )

    def score(self, pairs: Sequence[tuple[Prompt, Reply]]) -> list[TokenScore]:
        """log p(response, its end token | prompt) of each pair, in nats, from the logits of one prefill."""
        found = []
        for pair in pairs:
            encoded = self._tokenizer.encode_pair(*pair)
            read = self._text().read(self._shortest(encoded.ids), encoded.ids)
            logits_TV = read.outputs["logits"][0].astype(np.float32)
            found.append(_of_pair(torch.from_numpy(logits_TV), encoded))
            self._told(len(found), len(pairs), f"{self.name} scores")
        return found

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """Greedy continuation as an app would make it: one prefill, then one decode per token, until a token that ends
        it, `max_new_tokens` or the end of the context, as of a checkpoint."""
        return [one.text for one in self.write(prompts, max_new_tokens)]

    def say(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Said]:
        """The same, with whether no token ended it."""
        return [_said(one, self._tokenizer) for one in self.write(prompts, max_new_tokens)]

    def write(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Written]:
        """The same, with the tokens."""
        found = []
        for prompt in prompts:
            new = self._continue(self._tokenizer.encode_prompt(prompt), max_new_tokens)
            found.append(_written(new, self._tokenizer))
            self._told(len(found), len(prompts), f"{self.name} answers")
        return found

    def weigh(self, prompt: Prompt, answer: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Logit of each of `tokens` after the prompt and so much of an answer, token by token as `write` reads it."""
        reading = self.reading(self._tokenizer.encode_prompt(prompt))
        logits_V = next(reading)
        for token in answer:
            logits_V = reading.send(token)
        return [float(logits_V[token]) for token in tokens]

    def spell(self, token: int) -> str:
        return self._tokenizer.decode([token])

    def _continue(self, ids: list[int], room: int) -> list[int]:
        reading = self.reading(ids)
        logits_V = next(reading)
        room = min(room, self._contract.kv_cache.context - len(ids))
        new: list[int] = []
        while len(new) < room:
            new.append(int(logits_V.argmax()))
            if len(new) == room or new[-1] in self._tokenizer.stop_ids:
                break
            logits_V = reading.send(new[-1])
        return new

    def reading(self, ids: Sequence[int]) -> Generator[npt.NDArray[Any], int, None]:
        """The logits_V after a prompt, and after each token sent."""
        text = self._text()
        begun = text.begin(self._shortest(ids), ids)
        token = yield begun.outputs["logits"][0, len(ids) - 1]
        while True:
            token = yield text.step(token).outputs["logits"][0, 0]


def checkpoint(name: str, folder: Path, tokenizer: Tokenizer, told: Told = _silent, *, on: str = "cpu") -> HFRunner:
    """The runner of a checkpoint folder on a device. Raises what `build.load` raises, and Refusal for another
    vocabulary and for a device that is not here."""
    where = device.of(on)
    return HFRunner(name, build.load(folder, attention="sdpa").to(where), tokenizer, told)


def saved_package(
    name: str, folder: Path, tokenizer: Tokenizer, told: Told = _silent, *, variant: str = "quantized"
) -> CoreMLRunner:
    """The runner of a package artifact; `variant` is "quantized" (what ships) or "fp16"."""
    contract = load_contract(folder)
    return CoreMLRunner(name, pieces.opened(folder, variant, contract), contract, tokenizer, told=told)
