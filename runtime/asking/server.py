"""A model behind an OpenAI-compatible server → a runner: each question is paid for, kept and never asked twice.

The transport, the purse and the kept answers are those of a hosted teacher (`runtime.data.chat`, `kept`,
`runtime.machine.purse`).
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx

from runtime.asking.served import Served
from runtime.contract import Refusal, Said, TokenScore, Unavailable, Written
from runtime.contract.asked import Asked, CannotAnswer
from runtime.contract.conversation import Prompt, Reply, messages_of
from runtime.contract.hosted import Asking, is_first_token
from runtime.contract.items import prompt_digest
from runtime.contract.secret import name_of
from runtime.data import kept
from runtime.data.chat import (
    RETRIED,
    Client,
    Stopping,
    answer_of,
    most_tokens,
    no_answer,
    request_of,
    tokens_of,
    version_of,
)
from runtime.data.kept import Kept
from runtime.data.secrets import secret
from runtime.machine.purse import Bounds, BudgetReached, Spend

#: signs that stand within words
_INSIDE = "_-'’"


class Server:
    """Answers of one server. A question that stays without an answer stops the step: nothing is made up for it."""

    #: where the server is declared, and what to do without its log-probabilities, or without an answer, in words
    beside = "beside the runner"
    without = "take a server that does, or leave this runner out of the suite (suites[].runners)"
    unanswered = (
        "the same command asks these again and keeps the others; where they stay so, raise the suite's max_new_tokens "
        "for thoughts that end too late, and leave rows out that the server never answers"
    )

    def __init__(self, name: str, asking: Asking, key: str, purse: Spend, asked: Asked) -> None:
        self.name, self._asking, self._key, self._spend = name, asking, key, purse
        self._ctx, self._told = asked.ctx, asked.told
        self._kept = Kept(asked.ctx.paid / "answers")
        self._served = Served(asked.ctx.scratch, asking, self.beside)
        #: prompt → why the reply to it is no answer of the model
        self._silent_at: dict[Prompt, str] = {}
        self._lock, self._underway = threading.Lock(), 0

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """The greedy answer to each prompt, of at most so many tokens by the server's count. Raises as `say`."""
        return [one.text for one in self.say(prompts, max_new_tokens)]

    def say(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Said]:
        """The same, with whether the server cut it (`finish_reason: length`).

        Raises Refusal when the budget ends first, the server refuses, another model answers, or a reply is no answer of
        the model; Unavailable when a question stays without a reply. What was answered is kept for whoever asks next.
        """
        asking = self._asking.model_copy(update={"max_tokens": max_new_tokens, "top_logprobs": 0})
        values = self._answered(prompts, asking)
        place, found = asking.base_url, [values[prompt] for prompt in prompts]
        return [Said(text=said(one, place), cut=answer_of(one, place).truncated) for one in found]

    def _answered(self, prompts: Sequence[Prompt], asking: Asking) -> dict[Prompt, Any]:
        """The server's reply to each prompt. Raises as `generate`."""
        client, answered = Client(asking, self._key, self._spend), dict[Prompt, Any]()
        try:
            with ThreadPoolExecutor(asking.concurrency) as pool:
                futures = {one: pool.submit(self._one, client, one, asking) for one in dict.fromkeys(prompts)}
                try:
                    for prompt, future in futures.items():
                        answered[prompt] = future.result()
                        self._told(len(answered), len(futures), f"{self.name} answers")
                except BaseException:
                    client.stop()
                    for future in futures.values():
                        future.cancel()
                    raise
        finally:
            client.close()
        self._served.keep()
        if self._silent_at:
            raise self._unanswered(len(answered))
        return answered

    def _one(self, client: Client, prompt: Prompt, asking: Asking) -> Any:
        request, scored = request_of(prompt, asking), bool(asking.top_logprobs)
        reply = self._kept.get(request)
        if reply and self._served.wants(version_of(reply.value)) and not no_answer(reply.value, scored=scored):
            # the writer was killed between keeping the answer and settling it
            self._spend.settle(reply.reserved, reply.usd, tokens_of(reply.value, sum(most_tokens(request, asking))))
            value = reply.value
        else:
            value = self._paid(client, request, asking)
        why = no_answer(value, scored=scored)
        cut = not scored and answer_of(value, asking.base_url).truncated
        with self._lock:
            self._served.add(version_of(value), prompt_digest(prompt) if cut else "")
            if why:
                self._silent_at[prompt] = why
        return value

    def _unanswered(self, of: int) -> Refusal:
        """What is said of replies that are no answers: nothing is made up for them, silence neither."""
        found, self._silent_at = self._silent_at, {}
        reasons = Counter(found.values())
        told = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        first = next(iter(found))
        text = (first if isinstance(first, str) else str(messages_of(first)[-1]["content"]))[:60]
        return Refusal(
            f"{len(found)} of {of} replies are no answer of the model: {told}; the first is to {text!r}",
            place=self._asking.base_url,
            action=self.unanswered,
            code="KR0119",
        )

    def _paid(self, client: Client, request: Mapping[str, Any], asking: Asking) -> Any:
        most = sum(most_tokens(request, asking))
        self._send(most)
        try:
            value, reserved, cost = client.ask(request)
        except Stopping:
            raise Unavailable(f"{asking.base_url} was not asked on", needs="the same command again") from None
        except BudgetReached as reached:
            raise self._spend.refusal(reached) from None
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in RETRIED:
                raise client.refusal(error) from None
            raise self._silent(asking, f"status {error.response.status_code}") from None
        except httpx.TransportError as error:
            raise self._silent(asking, type(error).__name__) from None
        finally:
            self._send(-most)
        tokens = tokens_of(value, most)
        self._ctx.used("teacher_tokens", tokens)
        try:
            answer_of(value, asking.base_url)
            # kept before it is settled: a kill between the two leaves the answer, and what it cost at most
            if not no_answer(value, scored=bool(asking.top_logprobs)):
                self._kept.put(request, kept.Reply(value=value, usd=cost, reserved=reserved))
        except BaseException:
            self._spend.lose(reserved)
            raise
        self._spend.settle(reserved, cost, tokens)
        return value

    def _silent(self, asking: Asking, why: str) -> Unavailable:
        return Unavailable(
            f"{asking.base_url} does not answer ({why}); what it has answered is kept",
            needs="a server that is reachable, then the same command again",
        )

    def _send(self, tokens: int) -> None:
        with self._lock:
            self._underway += tokens
            self._ctx.underway("teacher_tokens", self._underway)

    def write(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Written]:
        raise self._cannot("token ids")

    def weigh(self, prompt: Prompt, answer: Sequence[int], tokens: Sequence[int]) -> list[float]:
        raise self._cannot("logits")

    def spell(self, token: int) -> str:
        raise self._cannot("token ids")

    def score(self, pairs: Sequence[tuple[Prompt, Reply]]) -> list[TokenScore]:
        """How likely each reply is as the first token of the answer: each prompt is asked once, for its likeliest.

        Raises what `generate` raises, CannotAnswer without `top_logprobs`, and Refusal where the server does not give
        them, or a reply is none of them: how likely it is is then not known, and nothing is made up for it.
        """
        if not self._asking.top_logprobs:
            raise self._cannot(f"how likely a given text is unless `top_logprobs` is written {self.beside}")
        for _, reply in pairs:
            if not isinstance(reply, str) or not is_first_token(reply):
                raise self._cannot(f"how likely {str(reply)[:40]!r} is, which is of several tokens")
        # a second token tells whether the first is a word of its own
        asking = self._asking.model_copy(update={"max_tokens": 2})
        values = self._answered([prompt for prompt, _ in pairs], asking)
        chances = {prompt: _chances(value, asking.base_url) for prompt, value in values.items()}
        return [self._likely(chances[prompt], reply) for prompt, reply in pairs]

    def _likely(self, chances: Mapping[str, float], reply: Reply) -> TokenScore:
        if isinstance(reply, str) and reply.strip() in chances:
            return TokenScore(log_probability=chances[reply.strip()], tokens=1)
        if not chances:
            raise Refusal(
                "the server gives no `top_logprobs` of its answer's first token",
                place=self._asking.base_url,
                action=self.without,
            )
        shown = ", ".join(repr(name)[:20] for name in sorted(chances, key=lambda one: -chances[one])[:8])
        raise Refusal(
            f"the server does not say how likely {str(reply)[:40]!r} is: its {len(chances)} likeliest tokens are "
            f"{shown}",
            place=self._asking.base_url,
            action="raise `top_logprobs` (at most 20), or take a model that answers by such a token",
        )

    def _cannot(self, what: str) -> CannotAnswer:
        return CannotAnswer(f"runner `{self.name}` answers chat completions, which do not say {what}")


def _chances(value: Any, place: str) -> dict[str, float]:
    """The likeliest first tokens of an answer. Raises Refusal where the first is only the beginning of a word: who says
    `Answer`, or `B-`, has said neither A nor B."""
    answer = answer_of(value, place)
    chances = dict(answer.choices)
    first = max(chances, key=lambda one: chances[one], default="")
    text = answer.text.lstrip()
    rest = text[len(first) : len(first) + 1] if first and text.startswith(first) else ""
    if rest and not rest.isspace() and (rest.isalnum() or rest in _INSIDE):
        raise Refusal(
            f"the server's answer begins with {first!r} and goes on as {text[:20]!r}: its first token is no answer",
            place=place,
            action="take a model that answers by one of the words that it is asked for, and nothing else",
        )
    return chances


def said(value: Any, place: str) -> str:
    """What a model answered, as suites read it: its text, and each call that the server gives apart from it as
    `<tool_call>{"name": …, "arguments": …}</tool_call>`, in their order, with arguments as they came, sound or not: who
    calls a tool is not silent. Raises what `answer_of` raises."""
    text = answer_of(value, place).text
    message = value["choices"][0]["message"]
    calls = message.get("tool_calls") or [{"function": one} for one in [message.get("function_call")] if one]
    return "\n".join([*([text] if text else []), *(_called(one) for one in calls)])


def _called(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        body = json.dumps(call)
    else:
        given = function.get("arguments", "")
        arguments = given if isinstance(given, str) else json.dumps(given)
        body = f'{{"name": {json.dumps(function.get("name"))}, "arguments": {arguments.strip() or "{}"}}}'
    return f"<tool_call>\n{body}\n</tool_call>"


def opened(asked: Asked, as_: type[Server] = Server) -> Server:
    """Raises Refusal for a key that is not set."""
    given = asked.params
    key = "" if given.api_key is None else secret(name_of(given.api_key))
    fields = {name: getattr(given, name) for name in type(given).model_fields if name in Asking.model_fields}
    bounds = Bounds(usd=Decimal(str(asked.usd)), calls=asked.teacher_calls, tokens=asked.teacher_tokens)
    purse = Spend(asked.ctx.paid, asked.purse, bounds)
    return as_(asked.name, Asking(**fields, allow_missing=0.0), key, purse, asked)
