"""Gates on rates × the rows that will be held out → can so few rows decide so high a floor?

Even a perfect score is only evidence: n clean rows prove, at one-sided 95 %, a rate above 0.05^(1/n) and no more
(Clopper and Pearson 1934, the bound of a result without failures; the "rule of three"). A floor above that cannot be
established by these rows whatever the model does. Gates on `==` are left out: they speak of these rows alone.

How many rows there will be is counted in files that can be read here, and known for generators and for larger files
with a row per line; of those the split by hash keeps a share that varies by chance, so that four standard deviations
more are granted before a spec is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from kcompiler import policy
from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.paths import kind, located
from kcompiler.facts.rows import packed, readable
from kcompiler.policy.datum import RATE
from kcompiler.policy.kinds import relative
from kcompiler.policy.kinds.bound import Params
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource
from kcompiler.spec.evaluation import Part, Suite
from runtime.contract import calls
from runtime.contract.statistics.power import clean_floor, clean_items, differing_at_most, paired_difference

#: standard deviations of a hash split that are granted before it is called too small
SPREAD = 4
#: share of the rows that is taken to be right in one of two models only, where nothing is measured yet
DIFFERING = 0.1
#: times that a row may stand in one batch; trials with a handful of rows have it several times
REPEATED = 10
_BLOCK = 1 << 20
#: a rate of suite `tool_use` behind which only the rows stand that no tool answers
_OF_CONTROLS = "control_abstention"
#: (gates on the bound, refused) → what an undecided gate amounts to
_MEANING = {
    (True, True): "it cannot pass",
    (True, False): "it can pass only if more rows are held out than expected, or if it does not block",
    (False, False): "it may pass, and the pass would prove less than it says",
}


@dataclass(frozen=True)
class Rows:
    """Rows of a split: expected, and the most that chance makes likely. `exact` when nothing is left to chance."""

    expected: int
    most: int

    @property
    def exact(self) -> bool:
        return self.expected == self.most

    def at_most(self, limit: int) -> Rows:
        """After a suite's own limit; 0 takes all."""
        return Rows(min(self.expected, limit), min(self.most, limit)) if limit else self


def rows_of(spec: Spec, world: World, split: str, part: Part | None = None, controls: bool = False) -> Rows | None:
    """How many rows a split, or a part of it, will have; None when that is not known before the data are made.

    With `controls`, only those whose response is no tool call.
    """
    subject = part.class_ if part else None
    expected, variance, whole = Fraction(0), Fraction(0), 0
    shares = spec.data.shares
    read = {one.index: one for one in readable(spec.data, world) if not one.content.wrong}
    seen: set[tuple[str, str]] = set()
    for index, source in enumerate(spec.data.sources):
        taken = shares.share(source.split, split)
        if not taken or (part and part.source not in (None, source.name)):
            continue
        if index in read:
            # the very rows, by the data step's own rules: a row that stands twice counts once
            found = {
                (row.prompt, row.response)
                for row in read[index].content.rows
                if subject in (None, row.whole["class"])
                and not (controls and _calls(row.response))
                and shares.split_of(source.split, row.prompt) == split
            }
            expected, whole = expected + len(found - seen), whole + len(found - seen)
            seen |= found
            continue
        if subject is not None or controls:
            return None
        count = _lines(source, world) if isinstance(source, FileSource) else getattr(source.params, "rows", None)
        if not isinstance(count, int):
            return None
        expected, variance, whole = expected + count * taken, variance + count * taken * (1 - taken), whole + count
    return Rows(round(expected), min(whole, math.floor(expected + SPREAD * math.sqrt(variance))))


def _calls(response: str) -> bool:
    found = calls.parse(response)
    return isinstance(found, calls.Call) or found.kind != "no_call"


def _lines(source: FileSource, world: World) -> int | None:
    path = located(source.path, world)
    # of other files a count of lines says nothing
    if source.kind != "jsonl" or path is None or kind(path) != "file" or packed(path):
        return None
    count = _counted(path)
    return min(count, source.limit) if count is not None and source.limit else count


def _counted(path: Path) -> int | None:
    count, last = 0, b"\n"
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                count, last = count + block.count(b"\n"), block[-1:]
    except OSError:
        return None
    return count + (last != b"\n")


@dataclass(frozen=True)
class Gate:
    """One obligation on a rate: what it says, and how many rows stand behind it."""

    rule: str
    params: Params
    floor: Fraction
    pointer: str
    suite: str
    rows: Rows
    blocks: bool

    @property
    def decides(self) -> bool:
        """Whether a perfect score of the expected rows establishes the floor."""
        return clean_floor(self.rows.expected) >= self.floor

    @property
    def least(self) -> int:
        """The fewest rows that the rule takes for evidence."""
        return self.params.need.min_n or 0

    @property
    def refuses(self) -> bool:
        """Whether it blocks, and not even the most rows that chance makes likely are enough."""
        return self.blocks and self.rows.most < self.least

    @property
    def certainly_not(self) -> bool:
        """Whether not even the most rows that chance makes likely could."""
        return clean_floor(self.rows.most) < self.floor


@dataclass(frozen=True)
class Margin:
    """An obligation on the difference of two models over the same rows, in rows won or lost."""

    rule: str
    threshold: Fraction
    rows: Rows

    @property
    def said(self) -> str:
        """What so many rows can tell, at 5 % two-sided and 80 % power; it depends on how often the two differ."""
        n, name = self.rows.expected, self.rule.rpartition("/")[2]
        if not n:
            return f"{name}: no rows"
        least = paired_difference(n, DIFFERING)
        told = f"from {least:.2g} on" if least < 1 else "of no size"
        words = f"{name}: {_about(self.rows)} rows tell a difference {told} where {DIFFERING:.0%} of them differ"
        margin = abs(float(self.threshold))
        if not margin:
            return words
        return f"{words}; equals stay within {margin:g} where at most {differing_at_most(n, margin):.0%} do"


def margins(spec: Spec, world: World) -> Iterator[Margin]:
    """Every such obligation of the spec's suites whose rows are known."""
    for one, _, suite in _obligations(spec, world):
        if str(one["kind"]).partition("@")[0] != "relative":
            continue
        params = relative.Params.model_validate(one["params"])
        if params.paired is None or params.unit != RATE:
            continue
        rows = _behind(spec, world, suite, _sides(params))
        if rows is not None:
            yield Margin(str(one["rule"]), Fraction(params.threshold), rows)


def gates(spec: Spec, world: World) -> Iterator[Gate]:
    """Every obligation on a number in a report of one of the spec's suites, the fewest rows behind it."""
    for one, index, suite in _obligations(spec, world):
        params = _compared(str(one["kind"]).partition("@")[0], one["params"])
        if params is None:
            continue
        rows = _behind(spec, world, suite, params)
        if rows is None:
            continue
        threshold = params.threshold if params.threshold is not None else one["expect"]
        if threshold is None:
            continue  # a rule that compares with nothing is refused when its pack is loaded
        floor = Fraction(str(threshold)) if params.op.startswith(">") else 1 - Fraction(str(threshold))
        where = f"/evaluation/suites/{index}/use"
        yield Gate(str(one["rule"]), params, floor, where, suite.use, rows, one["mode"] == "block")


def _obligations(spec: Spec, world: World) -> Iterator[tuple[Mapping[str, Any], int, Suite]]:
    """Every obligation on a report of one of the spec's suites, and which suite that is."""
    packs = policy.load(spec.policies, world.packs)
    suites = {suite.name: (i, suite) for i, suite in enumerate(spec.evaluation.suites)}
    makers: dict[str, list[str]] = {}
    for name, (_, suite) in suites.items():
        makers.setdefault(f"eval.{suite.use}", []).append(name)
    values = {"evaluation": spec.evaluation.model_dump(mode="json", by_alias=True), "risk_tier": spec.risk_tier}
    # what refers to other sections or is unfed is a matter of the plan, which says so itself
    found, _ = policy.obligations(packs, values, makers)
    for one in found:
        # what a plan says of itself counts no rows
        if (step := str(one["from"]).removeprefix("step:")) in suites:
            index, suite = suites[step]
            yield one, index, suite


def _compared(kind: str, params: Mapping[str, Any]) -> Params | None:
    """What a rule asks of how many; of a margin between two numbers, only how many must stand behind each."""
    if kind == "bound":
        return Params.model_validate(params)
    if kind != "relative":
        return None
    return _sides(relative.Params.model_validate(params))


def _sides(margin: relative.Params) -> Params:
    """What a margin asks of how many must stand behind each side."""
    sides = [margin.metric, *filter(None, (margin.to if not margin.of else None, margin.paired))]
    return Params(metric=sides, op=margin.op, threshold=margin.threshold, unit=relative.PAIRED, need=margin.need)


def _behind(spec: Spec, world: World, suite: Suite, params: Params) -> Rows | None:
    """Rows behind a gate: of the split, after the suite's limits; the interpreted package has one of its own."""
    controls = any(metric.endswith(_OF_CONTROLS) for metric in params.metric)
    rows = rows_of(spec, world, suite.split, suite.rows, controls)
    if rows is None:
        return None
    package = any("coreml" in metric for metric in params.metric)
    rows = rows.at_most(int(getattr(suite.params, "limit", 0)))
    return rows.at_most(int(getattr(suite.params, "coreml_limit", 0))) if package else rows


def _decidable(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    short: dict[tuple[str, Rows], list[Gate]] = {}
    for gate in gates(spec, world):
        if gate.rows.expected < gate.least:
            short.setdefault((gate.pointer, gate.rows), []).append(gate)
        elif gate.params.unit == "ratio" and gate.params.op != "==" and not gate.decides:
            yield _undecided(tree, gate)
    yield from (_too_few(tree, found) for found in short.values())


def _too_few(tree: Tree, short: list[Gate]) -> Diagnostic:
    """The rules that want more rows of one suite than it will have: one cause, told by the rule that wants most."""
    first = max(short, key=lambda gate: (gate.refuses, gate.least))
    will = "will be" if first.rows.most < first.least else "will probably be"
    others = sorted({gate.rule for gate in short} - {first.rule})
    return tree.diagnostic(
        "KC4803",
        first.pointer,
        f"rule `{first.rule}` wants more rows than there {will}",
        severity="error" if first.refuses else "warning",
        label=f"{_about(first.rows)} rows, at least {first.least} are wanted",
        help="hold out more rows (data.held_out), add a source, or raise the suite's limit",
        notes=(f"so {'does' if len(others) == 1 else 'do'} {', '.join(others)}",) if others else (),
        related=(tree.related("/data/sources", "the rows come from here", "key"),),
    )


def _undecided(tree: Tree, gate: Gate) -> Diagnostic:
    bound = gate.params.on != "point"
    refused = bound and gate.certainly_not and gate.blocks
    wanted = f"{gate.params.op} {gate.params.threshold}" if gate.params.threshold is not None else gate.params.op
    if gate.floor >= 1:
        need, action = "no number of rows can", "lower the floor below 1, or compare with `==`"
    else:
        need = f"{clean_items(gate.floor):,} clean rows could"
        action = f"hold out {clean_items(gate.floor):,} rows (data.held_out, or more rows), or lower the floor"
    # rounded to what is certainly proven, so that 0.97996 does not read as 0.98
    perfect = math.floor(clean_floor(gate.rows.expected) * 10**4) / 10**4
    shown = perfect if gate.params.op.startswith(">") else 1 - perfect
    return tree.diagnostic(
        "KC4801" if refused else "KC4802",
        gate.pointer,
        f"these rows cannot establish what rule `{gate.rule}` asks of suite `{gate.suite}`",
        severity="error" if refused else "warning",
        label=f"{_about(gate.rows)} rows; the rule wants {wanted}",
        detail=f"a perfect score on {gate.rows.expected:,} rows proves only {'>' if gate.params.op[0] == '>' else '<'} "
        f"{shown:.4f} at one-sided 95 %; {need}",
        help=action,
        notes=(f"the rule gates on the {'bound' if bound else 'point'}: {_MEANING[bound, refused]}",),
        related=(tree.related("/data/sources", "the rows come from here", "key"),),
    )


def _about(rows: Rows) -> str:
    return f"{rows.expected:,}" if rows.exact else f"about {rows.expected:,}"


def _passes(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A batch of more rows than there are holds the same rows several times: the step costs more and learns no more."""
    rows = rows_of(spec, world, "train")
    if rows is None or not rows.expected:
        return
    for i, stage in enumerate(spec.training.stages):
        if stage.batch_size > REPEATED * rows.most:
            yield tree.diagnostic(
                "KC4612",
                f"/training/stages/{i}/batch_size",
                "a batch is larger than the training split",
                severity="warning",
                label=f"{stage.batch_size:,} rows of {_about(rows)}: each stands in it "
                f"{stage.batch_size / rows.expected:.3g} times",
                help=f"lower it to {rows.expected:,} or less, or add rows",
                related=(tree.related("/data/sources", "the rows", "key"),),
            )


CHECKS = (
    Check(_decidable, "data", "evaluation", "policies", "risk_tier"),
    Check(_passes, "data", "training"),
)
