"""An evaluation in which a judge behind a server has a part: it is judged by rows with an outcome, or compares answers.

Which model it was stands in both reports, by its address, its name and the version that answered. Who compares must be
the very one that was evaluated: an answer of another version is refused, and nothing that it says is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runtime.asking import served, server
from runtime.contract import Context, Refusal, Runner, TokenScore, strict_json
from runtime.contract import report as facts
from runtime.contract.asked import Asked
from runtime.contract.conversation import Prompt, Reply
from runtime.contract.hosted import Server, fingerprint, in_a_word, judge
from runtime.contract.questioned import JUDGE, STANDING
from runtime.machine import durable
from runtime.models import asking, questions
from runtime.models.asking import Asking, Told
from runtime.steps.evaluate import EvaluateParams

#: codes of a server that answers by another model than the one that is wanted
_CHANGED = ("KR0117", "KR0118")


class _Runner(server.Server):
    """The server as the judge, with what to do about it in words of `evaluation.judge`."""

    beside = "in evaluation.judge.server"
    without = "take a server that gives them for a judge (evaluation.judge.server), or a folder"
    unanswered = (
        "the same command asks these again and keeps the others; where they stay so, take another judge, or rows "
        "that this one answers (evaluation.judge.rows)"
    )
    #: the version that was evaluated, where that is another step's business
    evaluated = ""

    def score(self, pairs: Sequence[tuple[Prompt, Reply]]) -> list[TokenScore]:
        """As `Server.score`. Raises Refusal where another version answers than the one that was evaluated."""
        try:
            return super().score(pairs)
        except Refusal as reason:
            if not self.evaluated or reason.code not in _CHANGED:
                raise
            raise another(self.evaluated, reason) from None


def another(evaluated: str, reason: Refusal | None = None) -> Refusal:
    """The judge that answers is not the one whose report stands beside."""
    return Refusal(
        f"the judge is not the model that its report is about: `{evaluated}` was evaluated"
        + ("" if reason is None else f"; {reason.message}"),
        place="" if reason is None else reason.place,
        action="ask a server that still has that version, or write in evaluation.judge.server the version that "
        "answers now (`served_as`): the judge is then evaluated anew, and answers of that version are kept",
        code="KR0127",
    )


class Hosted:
    """A judge whose settings and purse are those of the step."""

    def __init__(self, takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> None:
        if params.hosted is None or params.terms is None:
            raise Refusal("this backend asks a judge behind a server, and none is named", action="plan again")
        self._takes, self._ctx, self._alone = takes, ctx, params.judging == "evaluated"
        terms, self._device, self._threads = params.terms, params.device, params.threads
        self._server = Server.model_validate({**params.hosted, **terms.pace})
        # read before anybody is asked: a shard may have nobody to ask
        self._purse, self._usd = terms.purse, terms.usd
        self._calls, self._tokens = terms.teacher_calls, terms.teacher_tokens
        #: the version that the report on the judge is about
        self._evaluated = ""

    def check(self) -> None:
        self._forget_nameless()
        if self._alone:
            return
        said: Any = strict_json.loads((self._takes[STANDING] / "report.json").read_bytes())
        which = said["environment"].get(JUDGE)
        mine = judge(self._server.base_url, self._server.model, "")
        known = isinstance(which, dict) and {**which, "served_as": ""} == mine
        if not known or not _is_of(said["fingerprints"], which):
            raise Refusal(
                "the judge is not the model that its report is about",
                place=self._server.base_url,
                action="take both from evaluation.judge: port `standing` is the report on the model behind this server",
                code="KR0127",
            )
        self._evaluated = which["served_as"]

    def open(self, name: str, told: Told) -> Runner:
        wanted = self._server.served_as or self._evaluated
        found = server.opened(
            Asked(
                name=name,
                params=self._server.model_copy(update={"served_as": wanted}),
                takes={},
                ctx=self._ctx,
                told=told,
                device=self._device,
                threads=self._threads,
                purse=self._purse,
                usd=self._usd,
                teacher_calls=self._calls,
                teacher_tokens=self._tokens,
            ),
            _Runner,
        )
        made = cast(_Runner, found)
        made.evaluated = self._evaluated
        return made

    def which(self) -> dict[str, str]:
        """Raises Refusal for a server that does not say which model answers, and for another than was evaluated."""
        versions = served.read(self._ctx.scratch)["versions"]
        if not versions and self._alone:
            return {}
        # where the spec names a version, every answer is of it; else all are of the same. Who asked nothing was judged
        # by whom the report is about
        version = self._server.served_as or str(next(iter(versions), self._evaluated))
        if not version:
            raise Refusal(
                "the server does not say which model answers: what it is worth in one step says nothing of the next",
                place=self._server.base_url,
                action="take a server that names its model in each reply (`model`), or a folder for a judge",
                code="KR0124",
            )
        if not self._alone and version != self._evaluated:
            raise another(self._evaluated, Refusal(f"now `{version}` answers", place=self._server.base_url))
        return judge(self._server.base_url, self._server.model, version)

    def fingerprints(self) -> dict[str, str]:
        which = self.which()
        if not which:
            return {}
        names = ("judge", "model", "tokenizer", "prompt_wrapper") if self._alone else ("judge",)
        return dict.fromkeys(names, fingerprint(which))

    def _forget_nameless(self) -> None:
        """Lots of which nobody knows any more who judged them are asked again: the answers are kept."""
        if not served.read(self._ctx.scratch)["versions"]:
            for path in (self._ctx.scratch / asking.LOTS).glob("*" if self._alone else f"{asking.COMPARED}-*"):
                path.unlink()


def _is_of(fingerprints: Mapping[str, Any], which: Mapping[str, str]) -> bool:
    return all(fingerprints.get(name) == fingerprint(which) for name in (JUDGE, "model"))


def _evaluated(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context, hosted: Hosted) -> None:
    """The judge itself is asked, and no model of this machine."""
    asked = questions.of(takes, params, ctx)
    if asked.suite.replies is not None:
        in_a_word(asked.suite.replies(asked.params), asked.suite.select(asked.rows, asked.runners[0], asked.params))
    hosted.check()
    every = Asking(asked.suite, asked.params, asked.rows, asked.tools, asked.runners, hosted.open, ctx)
    lines = every.lines()
    durable.DISK.write(ctx.out("seconds") / asking.TIMES, every.times())
    bound = {**facts.fingerprints(takes, ctx.digests), **hosted.fingerprints()}
    asked.report(lines, ctx, bound, questions.judged_by(hosted.which()))


def evaluate(takes: Mapping[str, Path], params: EvaluateParams, ctx: Context) -> None:
    """Operation `evaluate`, where the judge is behind a server. Raises Refusal for rows of more than a first token
    before anything is paid, and what asking a server raises."""
    hosted = Hosted(takes, params, ctx)
    if params.judging == "evaluated":
        _evaluated(takes, params, ctx, hosted)
        return
    # models of this machine answer, too
    from runtime.models import evaluate as evaluation

    evaluation.evaluate(takes, params, ctx, hosted)
