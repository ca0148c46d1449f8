"""What answers of servers cost at least and at most, against budgets.usd; and whether that can be said while compiling.

Teacher and judge are paid out of one purse. A teacher is asked the prompts that are learnt from; a judge what its
suites ask it, whose own code says here what that is: of answers that nobody has written yet it is known how long they
may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

from kcompiler.checks import Check, World
from kcompiler.checks.responses import judged, taken
from kcompiler.checks.teachers import prompts_of
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.rows import readable
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract import Refusal, Runner, Suite, TokenScore
from runtime.contract.hosted import Endpoint, Hosted
from runtime.contract.questioned import JUDGE
from runtime.contract.splits import TEST
from runtime.contract.verdicts import read

_MILLION, _CENT = 10**6, Fraction(1, 100)
#: no tokenizer in use writes text in fewer tokens than one for so many bytes; long words of English reach 15
_BYTES_PER_TOKEN = 16
#: stands for an answer that nobody has written yet
_UNKNOWN = "\0"
#: tokens that a verdict is asked for in
_VERDICT = 2


@dataclass(frozen=True)
class _Bill:
    """What one server will be asked: bytes of each prompt, at least and at most, and tokens of an answer at most."""

    #: whose it is, and what it gives
    who: str
    gives: str
    prices: Endpoint
    least: Sequence[int]
    most: Sequence[int]
    longest: int
    #: sources that cannot be counted here
    unread: Sequence[str]
    shown: str
    shorter: str

    @property
    def given(self) -> Fraction:
        return Fraction(str(self.prices.usd_per_million_input))

    @property
    def made(self) -> Fraction:
        return Fraction(str(self.prices.usd_per_million_output))

    @property
    def at_least(self) -> Fraction:
        """A source that cannot be read has a row of a token, and that has an answer of one."""
        rows = len(self.least) + len(self.unread)
        tokens = sum(-(-size // _BYTES_PER_TOKEN) for size in self.least) + len(self.unread)
        return (tokens * self.given + rows * self.made) / _MILLION

    @property
    def at_most(self) -> Fraction:
        """Of what could be read."""
        return (sum(self.most) * self.given + len(self.most) * self.longest * self.made) / _MILLION

    def notes(self) -> Iterator[str]:
        yield (
            f"{self.shown}; {self.prices.usd_per_million_input:g} and {self.prices.usd_per_million_output:g} USD for a "
            "million tokens read and written"
        )
        yield f"least: a token for {_BYTES_PER_TOKEN} bytes, answers of one token: {float(self.at_least):,.2f} USD"
        if not self.unread:
            longest = f"answers of {self.longest:,} tokens"
            yield f"most: a token for each byte, {longest}: {float(self.at_most):,.2f} USD"


def _teacher(spec: Spec, world: World) -> _Bill | None:
    params = spec.teacher.params
    if not isinstance(params, Hosted):
        return None
    prompts, unread = prompts_of(spec, world)
    sizes = [len(prompt.encode()) for prompt in prompts]
    shown = f"{len(sizes):,} distinct prompts of {sum(sizes):,} bytes"
    return _Bill(
        "teacher", "answers", params, sizes, sizes, params.max_tokens, unread, shown, "Lower max_tokens"
    )  # fmt: skip


@dataclass
class _Noting:
    """Stands for a judge: notes what it is asked."""

    prompts: dict[str, None] = field(default_factory=dict)

    def score(self, asked: Sequence[tuple[str, str]]) -> list[TokenScore]:
        self.prompts |= dict.fromkeys(prompt for prompt, _ in asked)
        return [TokenScore(log_probability=-1.0, tokens=1) for _ in asked]


def _judge(spec: Spec, world: World) -> _Bill | None:
    declared = spec.evaluation.judge
    if declared is None or declared.server is None:
        return None
    unread = _uncounted(spec, world)
    reads = [one for one in readable(spec.data, world) if not one.content.wrong]
    own: list[Mapping[str, Any]] = [row.whole for one in reads for row in taken(spec, one, TEST, declared.rows)]
    asks, compared, known, every = _Noting(), 0, list[int](), list[int]()
    judge: Suite = catalog.load("suites", JUDGE)
    try:
        judge.ask(JUDGE, cast(Runner, asks), own, [], judge.params(), 0)
        for written in spec.evaluation.suites:
            suite: Suite = catalog.load("suites", written.use)
            if suite.judge is None or suite.compare is None:
                continue
            first, second = suite.judge(written.params)
            rows = suite.select(
                [row.whole for one in reads for row in judged(spec, written, one)], first, written.params
            )
            trivial = {} if suite.zoo is None else suite.zoo(rows, [], written.params)
            longest = getattr(written.params, "max_new_tokens", 0)
            noted = _Noting()
            blank = [{"output": {"text": _UNKNOWN}} for _ in rows]
            runners = {JUDGE: cast(Runner, noted)}
            suite.compare(runners, rows, {first: blank, second: blank}, trivial, written.params)
            for prompt in noted.prompts:
                asked = read(prompt)
                unknown = (asked.first, asked.second).count(_UNKNOWN)
                size = len(prompt.encode()) - unknown * len(_UNKNOWN)
                # two answers that nobody knows yet are asked in both orders, unless they are one text
                compared += unknown == 2
                known += [size] * (unknown == 0)
                every += [size + unknown * _BYTES_PER_TOKEN * longest] * (2 if unknown == 2 else 1)
    except (Refusal, ValueError, KeyError):
        # rows that no judge can be asked about: what checks them says which
        return None
    mine = [len(prompt.encode()) for prompt in asks.prompts]
    shown = (
        f"{len(mine):,} distinct prompts of {sum(mine):,} bytes to judge the judge, {compared:,} rows whose answers it "
        f"compares, in both orders, and {len(known):,} questions about answers of what understands nothing"
    )
    # a model may say what a policy says: what is asked of the policies is what is asked at least
    return _Bill(
        "judge", "verdicts", declared.server, [*mine, *known], [*mine, *every], _VERDICT, unread, shown,
        "Lower max_new_tokens or `limit` of the suite that asks it",
    )  # fmt: skip


def _uncounted(spec: Spec, world: World) -> list[str]:
    """Sources of which rows may be asked about that cannot be read here."""
    read = {one.index for one in readable(spec.data, world) if not one.content.wrong}
    named = {None if part is None else part.source for part in _parts(spec)}
    return [
        f"`{source.name}`"
        for index, source in enumerate(spec.data.sources)
        if index not in read and source.split in (TEST, "auto") and (None in named or source.name in named)
    ]


def _parts(spec: Spec) -> Iterator[Any]:
    if spec.evaluation.judge is not None:
        yield spec.evaluation.judge.rows
    for written in spec.evaluation.suites:
        if catalog.load("suites", written.use).judge is not None:
            yield written.rows


def _cost(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    bills = [one for one in (_teacher(spec, world), _judge(spec, world)) if one is not None and (one.given or one.made)]
    if not bills:
        return
    budget = Fraction(str(spec.budgets.usd))
    least, most = sum(one.at_least for one in bills), sum(one.at_most for one in bills)
    unread = list(dict.fromkeys(name for one in bills for name in one.unread))
    said = " and ".join(f"the {one.who}'s {one.gives}" for one in bills)
    cheaper = " or ".join(one.who for one in bills)
    notes = tuple(
        f"the {one.who}: {note}" if len(bills) > 1 and not at else note
        for one in bills
        for at, note in enumerate(one.notes())
    )
    told = f"at least {float(least):,.2f} are" if least >= _CENT else "more is"
    if least > budget:
        yield tree.diagnostic(
            "KC4210",
            "/budgets/usd",
            f"{said} cost more than may be spent",
            label=f"{float(budget):g} USD, {told} needed",
            help=f"raise budgets.usd, take fewer rows (`limit`), or a cheaper {cheaper}",
            notes=notes,
        )
    elif unread:
        yield tree.diagnostic(
            "KC4219",
            "/budgets/usd",
            f"what {said} cost cannot be said here",
            severity="warning",
            label=f"{float(budget):g} USD; {', '.join(unread)} could not be counted",
            help="asking stops before the bound; what was answered is kept",
            notes=notes,
        )
    elif most > budget:
        yield tree.diagnostic(
            "KC4210",
            "/budgets/usd",
            "long answers would cost more than may be spent",
            severity="warning",
            label=f"{float(budget):g} USD, at most {float(most):,.2f} are needed",
            help=f"asking stops before the bound; what was answered is kept. {bills[-1].shorter}, or raise budgets.usd",
            notes=notes,
        )


CHECKS = (Check(_cost, "teacher", "data", "budgets", "evaluation"),)
