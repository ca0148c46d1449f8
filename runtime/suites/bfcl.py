"""Questions of the Berkeley Function-Calling Leaderboard × models → how many answers its published checker calls right.

Rows are those of `runtime.data.bfcl`, their class the category. The rules of the published checker are declared in
`RULES`: texts are compared folded, an integer is no float but where the schema says number, an argument that may be
left out is what the answers say. An answer is unwrapped as the published decoder does it: backticks, line ends and
spaces around it say nothing, and calls may stand without the brackets of their list. Where no call is due, whatever
that decoder reads as one is a call (`foo(1, 2)`). In three things this is stricter: a call that is none (broken, or in
a form that is not declared) counts as a call where none is due; values without names are no arguments, where the
published decoder leaves them out; and nothing of an answer is evaluated: a value is a literal, where the published
decoder adds sums up and takes a bare name or another call for its own text. In two it is more lenient: calls are
assigned to answers so that as many as possible are right, and not greedily; and a tuple is a list, there only where the
schema says so.

What understands nothing stands in `zoo`, and the positive control: what the rows themselves say, written in the first
declared form and read again.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import Field

from runtime.contract import Params, Refusal, Runner, Suite, callforms, items, spool, zoo
from runtime.contract.agreement import Rules
from runtime.contract.calls import Call
from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.paired import COMPARED, RUNNERS, lacking, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.data.called import SAYINGS, Item, gold_of, item_of, judge, reason

#: those of the published checker (bfcl-eval 2026.3.23, bfcl_eval/eval_checker/ast_eval/ast_checker.py)
RULES = Rules(strings="folded", numbers="kind", lists="ordered", defaults="written")


#: the form of the leaderboard's own prompt comes first
FORMS: tuple[callforms.Form, ...] = ("python", "json", "tagged", "native")


class BfclParams(Params):
    max_new_tokens: int = Field(
        default=256,
        ge=1,
        description="Longest output that is generated.",
        examples=[256],
        json_schema_extra=unit("token"),
    )
    limit: int = Field(
        default=0,
        ge=0,
        description="Rows for the runners in torch; 0 takes all.",
        examples=[0],
        json_schema_extra=unit("row"),
    )
    coreml_limit: int = Field(
        default=64, ge=1, description="Rows for the interpreted package.", examples=[64], json_schema_extra=unit("row")
    )
    forms: list[callforms.Form] = Field(
        default_factory=lambda: list(FORMS),
        min_length=1,
        description="Forms in which a call counts as one. In the native form 1.0 is written as 1, which the published "
        "checker does not take for a float within a list.",
        examples=[["python"]],
    )


def items_of(rows: Sequence[Mapping[str, Any]]) -> Sequence[Item]:
    """Rows as items, each made when it is asked for. Then it raises Refusal for a row whose own response is not what it
    wants."""
    return spool.Each(len(rows), lambda at: item_of(rows[at], {}, {}, RULES, FORMS, fits=False))


def _listed(output: str) -> str:
    """An answer as the published decoder reads it: without what wraps it, in the brackets of a list."""
    text = output.strip("`\n ")
    text = text if text.startswith("[") else f"[{text}"
    return (text if text.endswith("]") else f"{text}]").strip().strip("'")


def decodes(output: str) -> bool:
    """Whether the published decoder reads a call in an answer: each element of the list is one, and its named values
    are what it knows. Values without names, and whatever is called, say nothing. Nothing is evaluated."""
    if not _MAY_CALL.search(output):
        return False
    try:
        body = callforms.parsed(_listed(output))
    except ValueError:
        return False
    made = [body] if isinstance(body, ast.Call) else getattr(body, "elts", [])
    return bool(made) and all(
        isinstance(one, ast.Call) and all(_known(each.value) for each in one.keywords) for one in made
    )


_MAY_CALL = re.compile(r"\S\s*\(")


def _known(value: ast.expr | None) -> bool:
    """Whether the published decoder makes a value of it; of a sum only what it is made of is asked here."""
    match value:
        case ast.Constant() | ast.Name() | ast.Subscript():
            return True
        case ast.UnaryOp():
            return isinstance(value.operand, ast.Constant) and isinstance(value.operand.value, int | float)
        case ast.List() | ast.Tuple():
            return all(map(_known, value.elts))
        case ast.Dict():
            return all(map(_known, (*value.keys, *value.values)))
        case ast.BinOp():
            return _sum(value)
        case ast.Call():
            return all(_known(one.value) for one in value.keywords)
    return False


def _sum(value: ast.expr) -> bool:
    """Whether a sum is one of numbers, or of texts, which can be added up."""
    if isinstance(value, ast.BinOp):
        return _sum(value.left) and _sum(value.right)
    return isinstance(value, ast.Constant) or (isinstance(value, ast.UnaryOp) and _sum(value.operand))


def parts_of(output: str, item: Item, forms: Sequence[callforms.Form]) -> dict[str, Any]:
    """The parts of one answer's score (`runtime.data.called.judge`), read as the published decoder reads it."""
    if "python" not in forms or not decodes(output):
        return judge(output, item, forms, RULES, fits=False)
    parts = judge(_listed(output), item, forms, RULES, fits=False)
    if not item.wanted and parts["right"]:
        parts |= {"right": False, "fp": parts["fp"] + 1, "faults": ["call_on_control"], "detail": ""}
    return parts


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: BfclParams) -> Sequence[Mapping[str, Any]]:
    """The rows that a runner is asked."""
    asked = items.first(rows, params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def judged(runner: str, row: Mapping[str, Any], output: Any, item: Item, params: BfclParams) -> items.Line:
    """The line of one row. Raises ValueError for an output that is no text."""
    parts = parts_of(items.text_of(output), item, params.forms)
    return items.line(row, runner, output, parts, reason(parts))


def ask(
    name: str, runner: Runner, rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], params: BfclParams, _seed: int
) -> list[items.Line]:
    """A line for each row."""
    asked = list(items_of(rows))
    outputs = runner.generate([item.prompt for item in asked], params.max_new_tokens)
    whole = zip(rows, outputs, asked, strict=True)
    return [judged(name, row, output, item, params) for row, output, item in whole]


class _Answered:
    """What one runner's answers come to, one after the other."""

    def __init__(self) -> None:
        self._right, self._whole, self._faults = Counter[str](), Counter[str](), Counter[str]()
        self._private = 0
        #: of each item in a byte: whether its calls are right
        self.right = bytearray()

    def add(self, row: Mapping[str, Any], line: items.Line) -> None:
        one = line["parts"]
        self._whole[row["class"]] += 1
        self._right[row["class"]] += one["right"]
        self._faults.update(one["faults"][:1])
        self._private += not one["personal"]
        self.right.append(one["right"])

    def data(self) -> dict[str, Any]:
        count = len(self.right)
        return {
            "accuracy": rate(self._right.total(), count),
            "privacy_ok": rate(self._private, count),
            "by_category": {name: rate(self._right[name], each) for name, each in sorted(self._whole.items())},
            "faults": {kind: rate(each, count) for kind, each in sorted(self._faults.items())},
        }


def _absent(why: str) -> dict[str, Any]:
    return {
        "accuracy": unavailable(why, "ratio"),
        "privacy_ok": unavailable(why, "ratio"),
        "by_category": {},
        "faults": {},
    }


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: BfclParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.bfcl`. Raises ValueError for a line that is not what its output gives, Refusal for rows
    that cannot be judged."""
    whole = items.first(rows, params.limit)
    asked = items_of(whole)

    @lru_cache(maxsize=SAYINGS)
    def parts(at: int, output: str) -> dict[str, Any]:
        return parts_of(output, asked[at], params.forms)

    def again(name: str, at: int, output: Any) -> items.Line:
        found = parts(at, items.text_of(output))
        return items.line(whole[at], name, output, found, reason(found))

    def worth(_: str, at: int, output: str) -> Mapping[str, str]:
        return {"reason": reason(parts(at, output))}

    trivial = zoo.Right(_policies(asked, params.forms[0]), len(asked), worth)
    found, controls = dict[str, _Answered](), 0
    for at, mine in items.walk(lines, whole, lambda name: len(select(rows, name, params)), again):
        controls += not asked[at].wanted
        for name, line in mine.items():
            found.setdefault(name, _Answered()).add(whole[at], line)
        trivial.add(at)
    data: dict[str, Any] = {
        "rows": measured(len(asked), "row"),
        "controls": measured(controls, "row"),
        "runners": {
            name: found[name].data() if name in found else _absent(items.lacks(name, asked)) for name in RUNNERS
        },
    }
    right = {name: found[name].right for name in RUNNERS if name in found}
    for name, (better, worse) in COMPARED.items():
        lack = lacking(name, right, {}) if asked else "no items"
        data[name] = unavailable(lack, "item/item") if lack else wins(right[better], right[worse])
    data["zoo"] = trivial.data(right, lambda name: items.lacks(name, asked), RUNNERS)
    return data


def policies(rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], params: BfclParams) -> dict[str, Sequence[str]]:
    """What policies that understand nothing would say, in the first declared form."""
    return _policies(items_of(items.first(rows, params.limit)), params.forms[0])


def _policies(asked: Sequence[Item], form: callforms.Form) -> dict[str, Sequence[str]]:
    golds = spool.texts(gold_of(item, form) for item in asked)
    if not golds:
        return {}
    return {
        **zoo.of_texts(golds, spool.Each(len(asked), lambda at: str(asked[at].prompt))),
        # the first function that is offered, without arguments
        "always_call": spool.Each(
            len(asked), lambda at: callforms.write([Call(next(iter(asked[at].valid)), {})], form)
        ),
        "never_call": spool.same(zoo.REFUSAL, len(asked)),
    }


def misfit(row: Mapping[str, Any], tools: Sequence[Any], params: BfclParams) -> str:
    """Why a row is none of this benchmark, or ""."""
    if not row.get("tools") or "wanted" not in row:
        return "it has no tools of its own, or does not say in `wanted` which calls are right"
    try:
        items_of([row])[0]
    except Refusal as wrong:
        return wrong.message
    return ""


SUITE = Suite(
    name="bfcl",
    version=3,
    params=BfclParams,
    runners=("student",),
    figures=("runners.*.accuracy",),
    select=select,
    ask=ask,
    data_of=data_of,
    misfit=misfit,
    zoo=policies,
    own_rules=True,
)
