"""Training prompts → requests to an OpenAI-compatible server → answers, each acknowledged durably before it counts.

An answer belongs to the project (`.kcompiler/paid/answers`, see kept.py): a kill at any moment loses no acknowledged
one, and whoever asks the same request again, in another attempt, cell or spec, is answered from there. What is spent
belongs to the project, too (`.kcompiler/paid/spend.jsonl`, see machine/purse.py): it is bounded before each request by
what that can cost at most. All answers of a step are of one version of the model.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from runtime.contract import Context, Refusal, Unavailable
from runtime.contract import report as facts
from runtime.contract.conversation import Prompt
from runtime.contract.hosted import is_version
from runtime.contract.record import EMPTY, NO_CHOICES, Answer
from runtime.contract.rows import Row, prompt_of
from runtime.contract.secret import name_of
from runtime.data import answers
from runtime.data.chat import (
    RETRIED,
    Client,
    Stopping,
    answer_of,
    most_tokens,
    request_of,
    tokens_of,
    usage_of,
    version_of,
)
from runtime.data.kept import Kept, Reply
from runtime.data.secrets import secret
from runtime.machine.purse import Bounds, BudgetReached, Spend
from runtime.steps.harvest import HarvestParams

#: damaged answers that are named one by one
_NAMED = 5
_Request = Mapping[str, Any]


def harvest(takes: Mapping[str, Path], params: HarvestParams, ctx: Context) -> None:
    """Operation `harvest`. Raises Refusal when the budget ends before the rows do, when the server refuses or changes
    its version, and when more rows lack a usable answer than allowed; what was answered is kept for whoever asks next.
    """
    key = "" if params.api_key is None else secret(name_of(params.api_key))
    asked = answers.training_rows(takes["dataset"])
    bounds = Bounds(usd=Decimal(str(params.usd)), calls=params.teacher_calls, tokens=params.teacher_tokens)
    spend = Spend(ctx.paid, params.purse, bounds)
    client = Client(params, key, spend)
    try:
        run = _Run(params, asked, Kept(ctx.paid / "answers"), spend, client, ctx)
        given = run.all()
    finally:
        client.close()
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

    def __init__(
        self, params: HarvestParams, asked: Sequence[Row], kept: Kept, spend: Spend, client: Client, ctx: Context
    ) -> None:
        self._params, self._asked, self._kept, self._spend = params, asked, kept, spend
        self._client, self._ctx = client, ctx
        self._given: dict[str, Answer] = {}
        self._versions: Counter[str] = Counter()
        #: what the server said last that it is
        self._now = ""
        self._faults: Counter[str] = Counter()
        self._tokens, self._usd = [0, 0], Decimal(0)
        self._reused = self._thoughtful = self._underway = 0
        self._failed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def all(self) -> dict[str, Answer]:
        """What was answered before, then the rest; one prompt is asked once, however many rows have it."""
        prompts: dict[Prompt, list[str]] = {}
        for row in self._asked:
            prompts.setdefault(prompt_of(row), []).append(row["id"])
        left = [
            (request, ids)
            for prompt, ids in prompts.items()
            if not self._known(request := request_of(prompt, self._params), ids)
        ]
        self._name_damaged()
        self._check_versions()
        self._check_use()
        with ThreadPoolExecutor(self._params.concurrency) as pool:
            waiting: list[Future[None]] = []
            try:
                for done, question in enumerate(left):
                    waiting.append(pool.submit(self._one, *question))
                    while len(waiting) >= 4 * self._params.concurrency:
                        waiting = self._collect(waiting)
                    self._ctx.progress(done, len(left), f"{len(self._given)} of {len(self._asked)} answered")
                while waiting:
                    waiting = self._collect(waiting)
            finally:
                self._client.stop()
                for future in waiting:
                    future.cancel()
        return self._given

    def _known(self, request: _Request, ids: Sequence[str]) -> bool:
        """Whether these rows have an answer that was paid for before, of the version that is wanted.

        An answer that was of no use is asked for again, unless it was too long: that it would be again.
        """
        for place in self._places(request):
            reply = self._kept.get(place)
            if reply is None or not self._wanted(version_of(reply.value)):
                continue
            # the writer was killed between keeping the answer and settling it
            most = sum(most_tokens(request, self._params))
            self._spend.settle(reply.reserved, reply.usd, tokens_of(reply.value, most))
            fault = answer_of(reply.value, self._params.base_url).fault(self._params.signals)
            if fault in (EMPTY, NO_CHOICES):
                continue
            self._take(reply, ids)
            self._reused += 1
            return True
        return False

    def _places(self, request: _Request) -> list[_Request]:
        """Under which requests an answer may be kept: with the version that the spec names, and without."""
        wanted = self._params.served_as
        return [{**request, "served_as": wanted}, request] if wanted else [request]

    def _wanted(self, version: str) -> bool:
        return not self._params.served_as or is_version(version, self._params.served_as)

    def _name_damaged(self) -> None:
        for name, why in list(self._kept.damaged.items())[:_NAMED]:
            self._ctx.say(f"{name} is damaged ({why}): it is asked again")
        if len(self._kept.damaged) > _NAMED:
            self._ctx.say(f"{len(self._kept.damaged) - _NAMED} more kept answers are damaged: they are asked again")

    def _collect(self, waiting: list[Future[None]]) -> list[Future[None]]:
        done, rest = wait(waiting, timeout=1.0, return_when=FIRST_EXCEPTION)
        for future in done:
            try:
                future.result()
            except BudgetReached as reached:
                raise self._spend.refusal(reached) from None
        self._ctx.progress(len(self._given), len(self._given) + len(rest))
        return list(rest)

    def _one(self, request: _Request, ids: Sequence[str]) -> None:
        try:
            self._ask(request, ids)
        except BaseException:
            # said here, because the next question may be taken up before anybody has read why not
            self._client.stop()
            raise

    def _ask(self, request: _Request, ids: Sequence[str]) -> None:
        most = sum(most_tokens(request, self._params))
        self._send(most)
        try:
            self._answered(request, ids, most)
        finally:
            self._send(-most)

    def _send(self, tokens: int) -> None:
        """So many tokens more are under way to the server and back."""
        with self._lock:
            self._underway += tokens
            self._ctx.underway("teacher_tokens", self._underway)

    def _answered(self, request: _Request, ids: Sequence[str], most: int) -> None:
        try:
            value, reserved, cost = self._client.ask(request)
        except Stopping:
            return
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in RETRIED:
                raise self._client.refusal(error) from None
            self._fail(f"status {error.response.status_code}")
            return
        except httpx.TransportError as error:
            self._fail(type(error).__name__)
            return
        tokens = tokens_of(value, most)
        self._ctx.used("teacher_tokens", tokens)
        reply = Reply(value=value, usd=cost, reserved=reserved)
        try:
            answer_of(value, self._params.base_url)
            self._now = version_of(value)
            wanted = self._wanted(self._now)
            # kept before it is settled: a kill between the two leaves the answer, and what it cost at most
            self._kept.put(self._places(request)[0 if wanted else -1], reply)
        except BaseException:
            self._spend.lose(reserved)
            raise
        self._spend.settle(reserved, cost, tokens)
        self._take(reply, ids)
        self._check_versions()
        self._check_use()

    def _take(self, reply: Reply, ids: Sequence[str]) -> None:
        """Note the answer for its rows."""
        answer = answer_of(reply.value, self._params.base_url)
        counts = usage_of(reply.value) or (0, 0)
        with self._lock:
            self._versions[version_of(reply.value)] += 1
            self._given |= dict.fromkeys(ids, answer)
            if fault := answer.fault(self._params.signals):
                self._faults[fault] += len(ids)
            self._tokens = [old + new for old, new in zip(self._tokens, counts, strict=True)]
            self._usd += reply.usd
            self._thoughtful += answer.thoughtful

    def _check_versions(self) -> None:
        """Raises Refusal unless all answers are of one version, and of the one that the spec names."""
        with self._lock:
            versions = dict(self._versions)
        wanted = self._params.served_as
        if all(is_version(one, wanted) for one in versions) if wanted else len(versions) <= 1:
            return
        told = ", ".join(f"{count} as {one or 'nothing'}" for one, count in sorted(versions.items()))
        # of the version that is served now the missing answers can be had
        take = self._now or max(versions, key=lambda one: versions[one]) or self._params.model
        raise Refusal(
            f"the server changed its model: it answered {told}" + (f", and {wanted} is wanted" if wanted else ""),
            place=self._params.base_url,
            action=f'write teacher.served_as: "{take}"; answers of that version are kept, the others are asked again',
            code="KR0117",
        )

    def _check_use(self) -> None:
        """Raises Refusal as soon as more answers are of no use than rows may lack one: the rest need not be paid."""
        with self._lock:
            faults, given = dict(self._faults), len(self._given)
        if sum(faults.values()) > self._params.allow_missing * len(self._asked):
            raise answers.lacking(faults, len(self._asked), self._params.allow_missing, so_far=given)

    def _fail(self, why: str) -> None:
        with self._lock:
            self._failed[why] += 1
            everything = not self._given and self._failed.total() >= 3
        if everything:
            named = ", ".join(sorted(self._failed))
            raise Unavailable(f"{self._params.base_url} does not answer ({named})", needs="a server that is reachable")

    def told(self) -> dict[str, Any]:
        """What the report says besides the answers."""
        counted = "what each answer cost when it was asked: the server's token counts × the prices declared then"
        return {
            "served_as": sorted(version for version in self._versions if version),
            "reused": facts.measured(self._reused, "answer"),
            "damaged": facts.measured(len(self._kept.damaged), "answer"),
            "thoughts_removed": facts.measured(self._thoughtful, "answer"),
            "retries": facts.measured(self._client.retries, "request"),
            "failed": {why: facts.measured(count, "request") for why, count in sorted(self._failed.items())},
            "prompt_tokens": facts.measured(self._tokens[0], "token"),
            "completion_tokens": facts.measured(self._tokens[1], "token"),
            "usd": facts.estimated(float(self._usd), "USD", by=counted),
            "usd_of_purse": facts.estimated(
                float(self._spend.settled + self._spend.unknown),
                "USD",
                by="everything paid under this spec's name, and at most for requests whose end is not known",
            ),
            "requests_lost": facts.measured(self._spend.lost, "request"),
        }
