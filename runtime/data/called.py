"""A dataset row and a model's whole answer → what of its calls is right, part by part, with a named fault for each.

What suites of tools have in common. A row says what it wants in `wanted`, else by its own response; a row that wants no
call is a control.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from runtime.contract import Refusal, agreement, callforms, calls, wanted
from runtime.contract.agreement import Rules, Wanted
from runtime.contract.calls import Call, Fault
from runtime.contract.conversation import Prompt
from runtime.contract.rows import prompt_of
from runtime.contract.wanted import WantedCall
from runtime.data import personal

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Validators = Mapping[str, "Validator"]
#: so many texts are remembered, of at most so many characters: what a policy says that always says the same, and what
#: is looked at several times for one row
_TEXTS, _LONGEST = 64, 4096
#: different answers to one row that are judged once, by whoever judges runners and policies row by row
SAYINGS = 16


class _Registry:
    """Validators as a key: the same only as themselves."""

    __slots__ = ("valid",)

    def __init__(self, valid: Validators) -> None:
        self.valid = valid

    def __hash__(self) -> int:
        return id(self.valid)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Registry) and other.valid is self.valid


@lru_cache(maxsize=_TEXTS)
def _read(text: str, forms: tuple[callforms.Form, ...], tools: _Registry) -> tuple[Call, ...] | Fault:
    return callforms.read(text, forms, tools.valid)


@lru_cache(maxsize=_TEXTS)
def _unfit(text: str, forms: tuple[callforms.Form, ...], tools: _Registry) -> tuple[Fault, ...]:
    return _misfits(_read(text, forms, tools), tools.valid)


def _misfits(found: tuple[Call, ...] | Fault, valid: Validators) -> tuple[Fault, ...]:
    """Why calls do not fit the registry, of each that does not."""
    made = () if isinstance(found, Fault) else found
    return tuple(fault for call in made if (fault := calls.invalid(call, valid)))


class _Heard:
    """A text by its calls."""

    __slots__ = ("_key", "_short", "found")

    def __init__(self, text: str, forms: Sequence[callforms.Form], valid: Validators) -> None:
        self._key = text, tuple(forms), _Registry(valid)
        self._short = len(text) <= _LONGEST
        self.found = (_read if self._short else _read.__wrapped__)(*self._key)

    def misfits(self) -> tuple[Fault, ...]:
        """Why they do not fit the registry, of each that does not."""
        return _unfit(*self._key) if self._short else _misfits(self.found, self._key[2].valid)


@dataclass(frozen=True, slots=True)
class Item:
    """A row as a question: `wanted` is empty for a control."""

    id: str
    prompt: Prompt
    #: what the row declares as right, as text, for whoever looks for what is not
    right: str
    calls: tuple[Call, ...]
    wanted: tuple[Wanted, ...]
    order: str
    valid: Validators

    @property
    def kind(self) -> str:
        if not self.wanted:
            return "control"
        return "single" if len(self.wanted) == 1 else "chain" if self.order == "given" else "several"


def _said(
    row: Mapping[str, Any], valid: Validators, forms: Sequence[callforms.Form], fits: bool
) -> tuple[tuple[Call, ...], Fault | None]:
    """The calls of a row's own response, of its last message or in its text, and what is wrong with them; where `fits`,
    also by the registry."""
    last = row["messages"][-1] if "messages" in row else {}
    if "tool_calls" in last:
        made = tuple(Call(one["function"]["name"], one["function"]["arguments"]) for one in last["tool_calls"])
        return made, next(iter(_misfits(made, valid)), None) if fits else None
    heard = _Heard(str(row["response"]), tuple(dict.fromkeys((callforms.NATIVE, *forms))), valid)
    if isinstance(heard.found, Fault):
        return (), None if heard.found.kind == "no_call" else heard.found
    return heard.found, next(iter(heard.misfits()), None) if fits else None


def item_of(
    row: Mapping[str, Any],
    valid: Validators,
    schemas: Mapping[str, Any],
    rules: Rules,
    forms: Sequence[callforms.Form] = (callforms.NATIVE,),
    *,
    fits: bool = True,
) -> Item:
    """A row as an item. Raises Refusal for a response that is malformed, does not fit the registry (where `fits` is
    asked) or is not what the row itself wants."""
    if row.get("tools"):
        valid = calls.beside(json.dumps(row["tools"]))
        schemas = {one["function"]["name"]: one["function"].get("parameters") or {} for one in row["tools"]}
    made, fault = _said(row, valid, forms, fits)
    if fault is not None:
        raise Refusal(
            f"row `{row['id']}`: its own response is no valid call: {fault.kind} {fault.detail}",
            action="correct the row or the tool registry",
        )
    declared, order = wanted.calls_of(row), wanted.order_of(row)
    golds = [WantedCall(one.name, {k: [v] for k, v in one.args.items()}) for one in made]
    whole = tuple(
        agreement.prepared(one, schemas.get(one.name, {}), rules) for one in (golds if declared is None else declared)
    )
    if declared is not None and not agreement.agreed(made, whole, order, rules).right:
        why = agreement.agreed(made, whole, order, rules).faults[0]
        raise Refusal(
            f"row `{row['id']}`: its own response is not what it wants: {why.kind} {why.detail}",
            action="correct `wanted`, or the response",
            code="KR0241",
        )
    told = json.dumps(row["wanted"], ensure_ascii=False) if "wanted" in row else ""
    return Item(str(row["id"]), prompt_of(row), f"{row['response']}\n{told}", made, whole, order, valid)


def judge(
    output: str,
    item: Item,
    forms: Sequence[callforms.Form] = (callforms.NATIVE,),
    rules: Rules = agreement.EXACT,
    *,
    fits: bool = True,
) -> dict[str, Any]:
    """The parts of one output's score: counts, flags, and a named fault for each call that is wrong.

    Where `fits`, a call is right only if it also fits the schema of its tool."""
    heard = _Heard(output, forms, item.valid)
    found = heard.found
    made = () if isinstance(found, Fault) else found
    agreed = agreement.agreed(made, item.wanted, item.order, rules)
    parts: dict[str, Any] = {"tp": agreed.true, "fp": agreed.false, "fn": agreed.missed}
    personal_data = personal.leaked(output, item.right)
    if not item.wanted:
        silent = isinstance(found, Fault) and found.kind == "no_call"
        # a broken call on a control is still a call: it must not be cheaper than a sound one
        parts["fp"] += not silent and not made
        parts |= {"parsed": bool(made), "valid": False, "selected": False, "right": silent}
        faults = [] if silent else [Fault("call_on_control", made[0].name if made else "")]
    elif isinstance(found, Fault):
        parts |= {"parsed": False, "valid": False, "selected": False, "right": False}
        faults = [found]
    else:
        misfits = heard.misfits()
        selected = sorted(call.name for call in made) == sorted(one.call.name for one in item.wanted)
        faults = [*misfits, *agreed.faults] if fits else list(agreed.faults)
        parts |= {"parsed": True, "valid": not misfits, "selected": selected, "right": not faults}
    parts["faults"] = [fault.kind for fault in faults]
    parts["detail"] = faults[0].detail[:200] if faults else ""
    parts["personal"] = personal_data
    return parts


def reason(parts: Mapping[str, Any]) -> str:
    """Why an item is not wholly right, in one word; "" when it is."""
    return next(iter(parts["faults"]), "personal_data" if parts["personal"] else "")


def gold_of(item: Item, form: callforms.Form = callforms.NATIVE) -> str:
    """What a model would say that answers as the row does."""
    return callforms.write(item.calls, form) if item.wanted else item.right.split("\n{")[0].rstrip("\n")
