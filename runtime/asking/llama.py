"""A GGUF file → a runner in llama.cpp. Token ids go in and logits come out: words, greed and scores are ours.

What was read before stays in the cache of keys and values as far as the next text begins the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.asking.words import Folder
from runtime.contract import Refusal, Said, TokenScore, Unavailable, Written, gguf_model
from runtime.contract.asked import Asked
from runtime.contract.conversation import Prompt, Reply
from runtime.contract.gguf import Broken
from runtime.contract.gguf_words import Unsupported
from runtime.machine import durable
from runtime.models import tokenizer as tokenizers

FILE = "model.gguf"
_EXTRA = "pip install 'kcompiler[run,llama]'"


class Llama:
    """A loaded file. `width`: logits per position; `context`: positions there are."""

    def __init__(self, path: Path, context: int, threads: int) -> None:
        """Raises Unavailable without llama-cpp-python, Refusal for a file that it cannot load."""
        try:
            import llama_cpp
        except ImportError:
            raise Unavailable("llama-cpp-python is not installed here", needs=_EXTRA) from None
        try:
            # on the processor: what a card computes is another question
            self._model = llama_cpp.Llama(
                str(path), n_ctx=context, n_threads=threads, n_gpu_layers=0, logits_all=True, verbose=False
            )
        except (ValueError, RuntimeError) as error:
            raise Refusal(
                f"llama.cpp cannot load the file: {error}", place=path.name, action="take a file of a model it knows"
            ) from None
        self._check_rotation(path)
        self.width, self.context = int(self._model.n_vocab()), min(context, int(self._model.n_ctx()))
        self._read: list[int] = []

    def _check_rotation(self, path: Path) -> None:
        """Raises Refusal where the context alone would make llama.cpp take longrope's other angles."""
        said = self._model.metadata
        name = said.get("general.architecture", "")
        original = said.get(f"{name}.rope.scaling.original_context_length", "")
        if said.get(f"{name}.rope.scaling.type") == "longrope" and self._model.n_ctx() > int(original or 0):
            raise Refusal(
                f"llama.cpp turns every text by longrope's long factors in a context of {self._model.n_ctx()}, and the "
                f"model shorter ones than {original} by its short factors",
                place=path.name,
                action=f"lower the runner's context to {original} (llama.cpp rounds it up to a multiple of 256)",
            )

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """logits_TV of a text of T ids."""
        same = 0
        # the last id is always read anew: a text that is wholly known would leave nothing to compute
        while same < min(len(ids) - 1, len(self._read)) and ids[same] == self._read[same]:
            same += 1
        self._model.n_tokens = same
        self._model.eval(list(ids[same:]))
        self._read = list(ids)
        found: NDArray[np.float32] = self._model.scores[: len(ids)]
        return found


class LlamaRunner:
    """A GGUF file that suites question."""

    def __init__(self, name: str, model: Llama, words: Any, told: Any) -> None:
        self.name, self._model, self._words, self._told = name, model, words, told
        if model.width != words.vocab_size:
            raise Refusal(
                f"the file has {model.width} tokens, the tokenizer {words.vocab_size}",
                action="take the file of the model that the tokenizer belongs to",
            )

    def _fits(self, length: int) -> None:
        if length > self._model.context:
            raise Refusal(
                f"a sequence of {length} tokens does not fit runner `{self.name}`, whose context is "
                f"{self._model.context}",
                action="raise `context` of the runner, or evaluate on shorter rows",
            )

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """Greedy continuation until a token that ends it, `max_new_tokens` or the end of the context."""
        return [one.text for one in self.write(prompts, max_new_tokens)]

    def say(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Said]:
        """The same, with whether no token ended it."""
        written = self.write(prompts, max_new_tokens)
        return [Said(text=one.text, cut=not {*one.ids[-1:]} & {*self._words.stop_ids}) for one in written]

    def write(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Written]:
        """The same, with the tokens."""
        found = []
        for prompt in prompts:
            new = self._continued(self._words.encode_prompt(prompt), max_new_tokens)
            kept = self._words.until_stop(new)
            found.append(Written(text=self._words.decode_response(kept), ids=new[: len(kept) + 1]))
            self._told(len(found), len(prompts), f"{self.name} answers")
        return found

    def _continued(self, ids: list[int], room: int) -> list[int]:
        self._fits(len(ids))
        new: list[int] = []
        while len(new) < min(room, self._model.context - len(ids)):
            new.append(int(self._model.logits([*ids, *new])[-1].argmax()))
            if new[-1] in self._words.stop_ids:
                break
        return new

    def weigh(self, prompt: Prompt, answer: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Logit of each of `tokens` after the prompt and so much of an answer."""
        ids = [*self._words.encode_prompt(prompt), *answer]
        self._fits(len(ids))
        logits_V = self._model.logits(ids)[-1]
        return [float(logits_V[token]) for token in tokens]

    def spell(self, token: int) -> str:
        return str(self._words.decode([token]))

    def score(self, pairs: Sequence[tuple[Prompt, Reply]]) -> list[TokenScore]:
        """log p(response, its end token | prompt) of each pair, in nats, the normaliser summed in float64."""
        found = []
        for prompt, reply in pairs:
            encoded = self._words.encode_pair(prompt, reply)
            first, last = encoded.prompt_tokens, len(encoded.ids)
            self._fits(last)
            # token i is predicted at position i - 1, and nothing needs what follows the last
            logits_SV = self._model.logits(encoded.ids[: last - 1])[first - 1 :].astype(np.float64)
            top_S = logits_SV.max(-1)
            normal_S = top_S + np.log(np.exp(logits_SV - top_S[:, None]).sum(-1))
            chosen_S = logits_SV[np.arange(last - first), encoded.ids[first:last]]
            found.append(TokenScore(log_probability=float((chosen_S - normal_S).sum()), tokens=last - first))
            self._told(len(found), len(pairs), f"{self.name} scores")
        return found


def opened(asked: Asked) -> LlamaRunner:
    """A file of ours with the spec's words, or one that exists with its own. Raises Unavailable, Refusal."""
    taken = asked.takes["model"]
    path = taken / FILE if taken.is_dir() else taken
    if "tokenizer" in asked.takes:
        model = Llama(path, asked.params.context, asked.threads)
        return LlamaRunner(asked.name, model, tokenizers.load(asked.takes["tokenizer"]), asked.told)
    words = _words_of(path, asked.ctx.scratch / "words")
    model = Llama(path, asked.params.context, asked.threads)
    return LlamaRunner(asked.name, model, Folder(words, model.width), asked.told)


def _words_of(path: Path, out: Path) -> Path:
    """The tokenizer and chat template of a file, as the files of a folder."""
    try:
        found = gguf_model.read(path)
    except Broken as reason:
        raise Refusal(
            f"the GGUF file cannot be read: {reason}", place=path.name, action="take the file again", code="KR0142"
        ) from None
    except Unsupported as reason:
        raise Refusal(
            f"the words of the GGUF file cannot be carried over exactly: {reason.message}",
            place=path.name,
            action=reason.action,
            code="KR0143",
        ) from None
    durable.DISK.folder(out)
    for name, document in found.documents.items():
        durable.write(out / name, gguf_model.text(document))
    if found.chat_template:
        durable.write(out / gguf_model.CHAT_TEMPLATE, found.chat_template)
    return out
