"""Training prompts → requests to an OpenAI-compatible server → answers, each acknowledged durably before it counts.

An answer is kept in the step's scratch folder under the SHA-256 of the whole request (address, model, prompt, every
sampling parameter): a kill at any moment loses no acknowledged answer and pays for none twice, and no answer can be
taken for that of another request. Spending is bounded before each request by what it can cost at most.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import rfc8785
import stamina

from runtime.contract import Context, Refusal, Unavailable
from runtime.contract import report as facts
from runtime.contract.record import Answer
from runtime.contract.rows import Row
from runtime.contract.secret import name_of
from runtime.contract.strict_json import dumps, loads
from runtime.data import answers
from runtime.data.secrets import secret
from runtime.machine import durable
from runtime.steps.harvest import HarvestParams

#: longest answer of a server that is read
MOST_BYTES = 8 << 20
#: a token is at least one byte of the prompt, so a prompt costs at most its bytes and this for the chat's own marks
CHAT_TOKENS = 64
_MILLION = 1_000_000
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class BudgetReached(Exception):
    """The next request could exceed what the spec allows to spend."""


@dataclass
class Spend:
    """US dollars: what answers cost by the server's own count, and what requests under way may cost at most."""

    limit: float
    spent: float = 0.0
    reserved: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def reserve(self, usd: float) -> None:
        """Raises BudgetReached when this could exceed the limit."""
        with self._lock:
            if self.spent + self.reserved + usd > self.limit:
                raise BudgetReached
            self.reserved += usd

    def settle(self, reserved: float, usd: float) -> None:
        with self._lock:
            self.reserved -= reserved
            self.spent += usd


class Pace:
    """At most so many requests start in a minute, evenly."""

    def __init__(self, per_minute: int) -> None:
        self._gap, self._next, self._lock = 60.0 / per_minute, 0.0, threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
        time.sleep(max(0.0, start - now))


def request_of(prompt: str, params: HarvestParams) -> dict[str, Any]:
    """The body of one request: chat completion of a single user turn."""
    body: dict[str, Any] = {
        "model": params.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
    }
    if params.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": params.top_logprobs}
    return body


def key_of(body: Mapping[str, Any], params: HarvestParams) -> str:
    """SHA-256 of the canonical request: another temperature, model or address is another question."""
    return hashlib.sha256(rfc8785.dumps({"url": params.base_url, "body": dict(body)})).hexdigest()


def most_usd(body: Mapping[str, Any], params: HarvestParams) -> float:
    """What one request can cost at most."""
    asked = len(str(body["messages"][0]["content"]).encode()) + CHAT_TOKENS
    return (asked * params.usd_per_million_input + params.max_tokens * params.usd_per_million_output) / _MILLION


def answer_of(value: Any, place: str) -> tuple[Answer, dict[str, float]]:
    """The answer in a server's reply and its token counts. Raises Refusal for a reply of another form.

    `choices` are the alternatives of the first answered token that is not white space, each by its stripped text.
    """
    try:
        first = value["choices"][0]
        text = first["message"]["content"] or ""
        usage = value.get("usage") or {}
        counts = {name: float(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")}
        tokens = (first.get("logprobs") or {}).get("content") or []
        found: dict[str, float] = {}
        for token in tokens:
            if str(token["token"]).strip():
                for one in token["top_logprobs"]:
                    name, number = str(one["token"]).strip(), float(one["logprob"])
                    if name and math.isfinite(number) and number <= 0:
                        found[name] = max(number, found.get(name, -math.inf))
                break
        if not isinstance(text, str) or not all(math.isfinite(count) and count >= 0 for count in counts.values()):
            raise TypeError("content or usage of another type")
        return Answer(text, found, truncated=first.get("finish_reason") == "length"), counts
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Refusal(
            f"the server's reply is not that of a chat completion ({type(error).__name__}: {error})"[:300],
            place=place,
            action="check base_url and model",
        ) from None


class Client:
    """One server, asked politely: paced, retried where that helps, never with the key in a message."""

    def __init__(self, params: HarvestParams, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(timeout=params.timeout_s, headers=headers, follow_redirects=False)
        self._params, self._pace, self._key = params, Pace(params.requests_per_minute), key
        self.retries = 0
        self.models: set[str] = set()

    def close(self) -> None:
        self._http.close()

    def ask(self, body: Mapping[str, Any]) -> Any:
        """The JSON of a reply. Raises Refusal for a request the server will never accept, httpx.HTTPError when every
        try failed."""
        for attempt in stamina.retry_context(
            on=self._again, attempts=self._params.attempts, timeout=None, wait_initial=0.5, wait_max=60.0
        ):
            with attempt:
                if attempt.num > 1:
                    self.retries += 1
                self._pace.wait()
                reply = self._http.post(f"{self._params.base_url.rstrip('/')}/chat/completions", json=dict(body))
                reply.raise_for_status()
                return self._json(reply)
        raise AssertionError("unreachable")

    def _json(self, reply: httpx.Response) -> Any:
        if len(reply.content) > MOST_BYTES:
            raise Refusal("the server's reply is too long", place=self._params.base_url, action="lower max_tokens")
        try:
            value = loads(reply.content)
        except ValueError:
            raise Refusal(
                "the server's reply is not JSON", place=self._params.base_url, action="check base_url"
            ) from None
        if isinstance(value, dict) and isinstance(value.get("model"), str):
            self.models.add(str(value["model"]))
        return value

    def _again(self, error: Exception) -> bool | float:
        """Whether to try again, or after how many seconds the server asks us to."""
        if isinstance(error, httpx.HTTPStatusError):
            if error.response.status_code not in _RETRIED:
                return False
            after = error.response.headers.get("retry-after", "")
            return min(float(after), 300.0) if after.isdecimal() else True
        return isinstance(error, httpx.TransportError)

    def refusal(self, error: httpx.HTTPStatusError) -> Refusal:
        """What the server said against a request, without the key in case it repeats it."""
        # first without the key, then cut: half a key is a secret, too
        said = error.response.text.replace(self._key, "***") if self._key else error.response.text
        return Refusal(
            f"the server refuses: {error.response.status_code} {said[:300]}",
            place=self._params.base_url,
            action="check api_key, model and limits",
            code="KR0111",
        )


class Kept:
    """Acknowledged replies, one file each, in the folder that survives a kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "answers"

    def get(self, key: str) -> Any | None:
        path = self._folder / key[:2] / f"{key}.json"
        return loads(path.read_bytes()) if path.is_file() else None

    def put(self, key: str, reply: Any) -> None:
        """Durable when it returns."""
        durable.write(self._folder / key[:2] / f"{key}.json", dumps(reply))


def harvest(takes: Mapping[str, Path], params: HarvestParams, ctx: Context) -> None:
    """Operation `harvest`. Raises Refusal when the budget ends before the rows do, when the server refuses, and when
    more rows lack a usable answer than allowed; what was answered is kept for the next attempt."""
    key = "" if params.api_key is None else secret(name_of(params.api_key))
    asked = answers.training_rows(takes["dataset"])
    kept, spend, client = Kept(ctx.scratch), Spend(params.usd), Client(params, key)
    try:
        run = _Run(params, kept, spend, client, ctx)
        given = run.all(asked)
    finally:
        client.close()
    if len(client.models) > 1:
        raise Refusal(
            f"the server answered as several models: {', '.join(sorted(client.models))}",
            place=params.base_url,
            action="name one version of the model",
        )
    answers.write(
        ctx,
        asked,
        given,
        signals=params.signals,
        allow_missing=params.allow_missing,
        model=params.model,
        more=run.told(),
    )


class _Run:
    """One attempt over all rows."""

    def __init__(self, params: HarvestParams, kept: Kept, spend: Spend, client: Client, ctx: Context) -> None:
        self._params, self._kept, self._spend, self._client, self._ctx = params, kept, spend, client, ctx
        self._given: dict[str, Answer] = {}
        self._tokens = {"prompt_tokens": 0.0, "completion_tokens": 0.0}
        self._reused = 0
        self._failed: dict[str, int] = {}
        self._lock = threading.Lock()

    def all(self, asked: Sequence[Row]) -> dict[str, Answer]:
        """What was answered before, then the rest; one prompt is asked once, however many rows have it."""
        questions: dict[str, tuple[dict[str, Any], list[str]]] = {}
        for row in asked:
            body = request_of(row["prompt"], self._params)
            questions.setdefault(key_of(body, self._params), (body, []))[1].append(row["id"])
        left = []
        for key, (body, ids) in questions.items():
            reply = self._kept.get(key)
            if reply is None:
                left.append((key, body, ids))
                continue
            self._reused += 1
            # of an earlier attempt, and paid from the same budget
            self._spend.settle(0.0, self._take(reply, ids))
        with ThreadPoolExecutor(self._params.concurrency) as pool:
            waiting: list[Future[None]] = []
            try:
                for done, question in enumerate(left):
                    waiting.append(pool.submit(self._one, *question))
                    while len(waiting) >= 4 * self._params.concurrency:
                        waiting = self._collect(waiting)
                    self._ctx.progress(done, len(left), f"{len(self._given)} of {len(asked)} answered")
                while waiting:
                    waiting = self._collect(waiting)
            finally:
                for future in waiting:
                    future.cancel()
        return self._given

    def _collect(self, waiting: list[Future[None]]) -> list[Future[None]]:
        done, rest = wait(waiting, timeout=1.0, return_when=FIRST_EXCEPTION)
        for future in done:
            try:
                future.result()
            except BudgetReached:
                raise Refusal(
                    f"{self._spend.spent:.4f} US dollars are spent, the next request may exceed {self._spend.limit:g}",
                    action="raise budgets.usd; the answers so far are kept and not asked for again",
                    code="KR0112",
                ) from None
        self._ctx.progress(len(self._given), len(self._given) + len(rest))
        return list(rest)

    def _one(self, key: str, body: Mapping[str, Any], ids: Sequence[str]) -> None:
        most = most_usd(body, self._params)
        self._spend.reserve(most)
        cost = 0.0
        try:
            reply = self._client.ask(body)
            cost = self._take(reply, ids)
            self._kept.put(key, reply)
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in _RETRIED:
                raise self._client.refusal(error) from None
            self._fail(f"status {error.response.status_code}")
        except httpx.TransportError as error:
            self._fail(type(error).__name__)
        finally:
            self._spend.settle(most, cost)

    def _take(self, reply: Any, ids: Sequence[str]) -> float:
        """Note the answer for its rows; what it cost by the server's count."""
        answer, counts = answer_of(reply, self._params.base_url)
        with self._lock:
            self._given |= dict.fromkeys(ids, answer)
            for name, count in counts.items():
                self._tokens[name] += count
        return self._cost(counts)

    def _cost(self, counts: Mapping[str, float]) -> float:
        given, made = counts["prompt_tokens"], counts["completion_tokens"]
        params = self._params
        return (given * params.usd_per_million_input + made * params.usd_per_million_output) / _MILLION

    def _fail(self, why: str) -> None:
        with self._lock:
            self._failed[why] = self._failed.get(why, 0) + 1
            everything = not self._given and sum(self._failed.values()) >= 3
        if everything:
            named = ", ".join(sorted(self._failed))
            raise Unavailable(f"{self._params.base_url} does not answer ({named})", needs="a server that is reachable")

    def told(self) -> dict[str, Any]:
        """What the report says besides the answers."""
        return {
            "served_as": sorted(self._client.models),
            "reused": facts.measured(self._reused, "answer"),
            "retries": facts.measured(self._client.retries, "request"),
            "failed": {why: facts.measured(count, "request") for why, count in sorted(self._failed.items())},
            "prompt_tokens": facts.measured(int(self._tokens["prompt_tokens"]), "token"),
            "completion_tokens": facts.measured(int(self._tokens["completion_tokens"]), "token"),
            "usd": facts.estimated(
                self._cost(self._tokens), "USD", by="the server's token counts × the declared prices"
            ),
        }
