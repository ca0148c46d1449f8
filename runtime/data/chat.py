"""One OpenAI-compatible server: requests as they are sent, replies as they are read, each paid for before it goes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import httpx
import stamina

from runtime.contract import Refusal
from runtime.contract.conversation import Prompt, messages_of, sent, tools_of
from runtime.contract.hosted import Asking
from runtime.contract.record import Answer, without_thoughts
from runtime.contract.strict_json import dumps, loads
from runtime.data.secrets import gives_away, readable, without
from runtime.machine.purse import Spend

#: longest answer of a server that is read
MOST_BYTES = 8 << 20
#: a token is at least one byte of the prompt, so a message costs at most its bytes and this for the chat's own marks
CHAT_TOKENS = 64
#: what may pass when it is asked again
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
#: said by what stands before the server, which may have answered and charged
_UNKNOWN = frozenset({408, 502, 504})
#: nothing was sent
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_MILLION = 1_000_000


class Stopping(Exception):
    """The run is ending: no further request is sent."""


class Pace:
    """At most so many requests start in a minute, evenly."""

    def __init__(self, per_minute: int, stopping: threading.Event) -> None:
        self._gap, self._next, self._lock, self._stopping = 60.0 / per_minute, 0.0, threading.Lock(), stopping

    def wait(self) -> None:
        """Until the next request may start. Raises Stopping."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
        if self._stopping.wait(max(0.0, start - now)):
            raise Stopping


def request_of(prompt: Prompt, params: Asking) -> dict[str, Any]:
    """One request, as it is kept: where it goes, and its body: chat completion of a user's turn, or a conversation."""
    tools = tools_of(prompt)
    body: dict[str, Any] = {
        "model": params.model,
        "messages": sent(messages_of(prompt)),
        **({"tools": tools} if tools else {}),
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
    }
    if params.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": params.top_logprobs}
    return {"url": f"{params.base_url.rstrip('/')}/chat/completions", "body": body}


def usd(prompt_tokens: int, answered_tokens: int, params: Asking) -> Decimal:
    """What so many tokens cost at the declared prices, exactly."""
    given, made = Decimal(str(params.usd_per_million_input)), Decimal(str(params.usd_per_million_output))
    return (prompt_tokens * given + answered_tokens * made) / _MILLION


def most_usd(request: Mapping[str, Any], params: Asking) -> Decimal:
    """What one request can cost at most."""
    return usd(*most_tokens(request, params), params)


def most_tokens(request: Mapping[str, Any], params: Asking) -> tuple[int, int]:
    """Tokens of one request and of its answer at most, by any count."""
    messages, tools = request["body"]["messages"], request["body"].get("tools")
    text = messages[0]["content"] if len(messages) == 1 and not tools else dumps([messages, tools])
    return len(str(text).encode()) + CHAT_TOKENS * len(messages), params.max_tokens


def usage_of(value: Mapping[str, Any]) -> tuple[int, int] | None:
    """Tokens of prompt and answer by the server's own count, None when it does not say."""
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return None
    return int(counts[0] or 0), int(counts[1] or 0)


def tokens_of(value: Any, most: int) -> int:
    """Tokens of prompt and answer together; a server that does not count may have counted everything."""
    counts = usage_of(value) if isinstance(value, dict) else None
    return sum(counts) if counts else most


def version_of(value: Mapping[str, Any]) -> str:
    """What the server says it is: `MODEL`, `MODEL#FINGERPRINT`, "" when it does not say."""
    model, fingerprint = (
        said if isinstance(said := value.get(name), str) else "" for name in ("model", "system_fingerprint")
    )
    return f"{model}#{fingerprint}" if fingerprint else model


def answer_of(value: Any, place: str) -> Answer:
    """The answer in a server's reply. Raises Refusal for a reply of another form.

    `choices` are the alternatives of the first answered token that is not white space, each by its stripped text. What
    a model thinks before it answers (`<think>…</think>`) is no part of the answer.
    """
    try:
        first = value["choices"][0]
        content = first["message"]["content"] or ""
        if not isinstance(content, str):
            raise TypeError("content of another type")
        text = without_thoughts(content)
        tokens = (first.get("logprobs") or {}).get("content") or []
        return Answer(
            text,
            _choices(_answered(tokens, text, thought=text != content or _thinks(first["message"]))),
            truncated=first.get("finish_reason") == "length",
            thoughtful=text != content,
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Refusal(
            f"the server's reply is not that of a chat completion ({type(error).__name__}: {error})"[:300],
            place=place,
            action="check base_url and model",
        ) from None


#: how a reply ends that is an answer, as the servers there are say it; of another end nobody knows what came before it
_ENDS = frozenset({"stop", "length", "tool_calls", "function_call", "eos_token", "stop_sequence", "end_turn"})


def no_answer(value: Any, *, scored: bool = False) -> str:
    """Why a reply in the form of a chat completion (`answer_of`) is no answer of the model, in a few words; "" for an
    answer, which may be empty: a model may be silent, and who was stopped or let say nothing is not. Of one that is
    `scored` the likeliest first tokens count, and not its text."""
    first = value["choices"][0]
    message, end = first["message"], first.get("finish_reason")
    called = message.get("tool_calls") or message.get("function_call")
    if message.get("role") not in (None, "assistant"):
        return f"said by `{str(message['role'])[:40]}`"
    if end is not None and end not in _ENDS:
        return f"ended by `{str(end)[:40]}`"
    if message.get("refusal"):
        return "refused"
    if scored:
        return ""
    if message.get("content") is None and not called:
        return "without content"
    cut = end == "length" and not called and not without_thoughts(message["content"]).strip()
    return "cut before it began to answer" if cut else ""


def _thinks(message: Mapping[str, Any]) -> bool:
    return any(message.get(name) for name in ("reasoning_content", "reasoning"))


def _answered(tokens: Sequence[Mapping[str, Any]], text: str, *, thought: bool) -> Sequence[Mapping[str, Any]]:
    """Tokens from the answer's first on; none when thoughts stand before it and its place cannot be found."""
    if not thought:
        return tokens
    answer, rest = text.strip(), ""
    for at in reversed(range(len(tokens))):
        piece = str(tokens[at]["token"])
        rest = piece + rest
        if piece.strip() and rest.strip() == answer:
            return tokens[at:]
    return []


def _choices(tokens: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for token in tokens:
        if str(token["token"]).strip():
            for one in token["top_logprobs"]:
                name, number = str(one["token"]).strip(), float(one["logprob"])
                if name and math.isfinite(number) and number <= 0:
                    found[name] = max(number, found.get(name, -math.inf))
            break
    return found


class Client:
    """One server, asked politely: paced, retried where that helps, never with the key in a message."""

    def __init__(self, params: Asking, key: str, spend: Spend) -> None:
        # what is tried again is counted and told by whoever asks, and not by lines of a log on the terminal
        stamina.instrumentation.set_on_retry_hooks([])
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(timeout=params.timeout_s, headers=headers, follow_redirects=False)
        self._stopping = threading.Event()
        self._params, self._key, self._spend = params, key, spend
        self._pace = Pace(params.requests_per_minute, self._stopping)
        self.retries = 0

    def stop(self) -> None:
        """Let what is under way come home, and send nothing more."""
        self._stopping.set()

    def close(self) -> None:
        self._http.close()

    def ask(self, request: Mapping[str, Any]) -> tuple[Any, str, Decimal]:
        """The JSON of a reply, the reservation that it has still to settle, and what it cost.

        Raises Refusal for a request the server will never accept, httpx.TransportError or HTTPStatusError when every
        try failed, BudgetReached, Stopping.
        """
        most = most_usd(request, self._params)
        for attempt in stamina.retry_context(
            on=self._again, attempts=self._params.attempts, timeout=None, wait_initial=0.5, wait_max=60.0
        ):
            with attempt:
                self._pace.wait()
                reserved = self._spend.reserve(most, sum(most_tokens(request, self._params)))
                if self._stopping.is_set():
                    self._spend.settle(reserved, Decimal(0), calls=0)
                    raise Stopping
                if attempt.num > 1:
                    self.retries += 1
                try:
                    reply = self._http.post(request["url"], json=request["body"])
                    reply.raise_for_status()
                except httpx.HTTPStatusError as error:
                    self._end(reserved, known=error.response.status_code not in _UNKNOWN)
                    raise
                except httpx.DecodingError:
                    self._end(reserved, known=False)
                    raise Refusal(
                        "the server's reply is not packed as its Content-Encoding says",
                        place=self._params.base_url,
                        action="check base_url, and what stands between it and this machine",
                    ) from None
                except BaseException as error:
                    if isinstance(error, _UNSENT):
                        self._spend.settle(reserved, Decimal(0), calls=0)
                    else:
                        self._spend.lose(reserved)
                    raise
                return self._paid(reply, reserved, most)
        raise AssertionError("unreachable")

    def _end(self, reserved: str, *, known: bool) -> None:
        """A request without an answer: free when the server is known to have made none."""
        if known:
            self._spend.settle(reserved, Decimal(0))
        else:
            self._spend.lose(reserved)

    def _paid(self, reply: httpx.Response, reserved: str, most: Decimal) -> tuple[Any, str, Decimal]:
        try:
            value = self._json(reply)
        except BaseException:
            self._end(reserved, known=False)
            raise
        usage = usage_of(value) if isinstance(value, dict) else None
        # a server that does not count may have counted everything
        return value, reserved, most if usage is None else usd(*usage, self._params)

    def _json(self, reply: httpx.Response) -> Any:
        if len(reply.content) > MOST_BYTES:
            raise Refusal("the server's reply is too long", place=self._params.base_url, action="lower max_tokens")
        try:
            value = loads(reply.content)
        except ValueError:
            raise Refusal(
                "the server's reply is not JSON", place=self._params.base_url, action="check base_url"
            ) from None
        if gives_away(dumps(value), self._key):
            # kept, it would stand in an answer, a report or a message from here on
            raise Refusal(
                "the server's reply holds the key that it was asked with, and was not kept",
                place=self._params.base_url,
                action="ask the server itself, or one that repeats no headers; where the key is no secret, take a word "
                "that no answer holds",
                code="KR0134",
            )
        return value

    def _again(self, error: Exception) -> bool | float:
        """Whether to try again, or after how many seconds the server asks us to."""
        if isinstance(error, httpx.HTTPStatusError):
            if self._stopping.is_set() or error.response.status_code not in RETRIED:
                return False
            after = error.response.headers.get("retry-after", "")
            return min(float(after), 300.0) if after.isdecimal() else True
        return isinstance(error, httpx.TransportError) and not self._stopping.is_set()

    def refusal(self, error: httpx.HTTPStatusError) -> Refusal:
        """What the server said against a request, without the key in case it repeats it."""
        # first without the key, then cut: half a key is a secret, too
        said = without(readable(error.response.text), self._key)
        return Refusal(
            f"the server refuses: {error.response.status_code} {said[:300]}",
            place=self._params.base_url,
            action="check api_key, model and limits",
            code="KR0111",
        )
