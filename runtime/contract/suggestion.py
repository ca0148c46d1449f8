"""Measured costs of single forms → a recipe that keeps a budget: the search, and how it is written. Pure data.

Costs are KL divergences in nats a token. That of several groups together is estimated by their sum, which holds while
each is small; whoever asks measures what is suggested, and is told both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from runtime.contract.recipe import Recipe, Rule, Weights

FP16 = Weights(weights="fp16")
#: group → the place of its form among its options
State = dict[str, int]


@dataclass(frozen=True)
class Option:
    """One form of a group of matrices: what they take together, and what it alone costs beside float16."""

    label: str
    #: matrix → how it is stored
    forms: Mapping[str, Weights]
    bytes: int
    kl: float


class Search:
    """The options of each group, float16 first."""

    def __init__(self, options: Mapping[str, Sequence[Option]], rest: int) -> None:
        """`rest`: bytes of what is in no group."""
        self.options, self.rest = {name: list(given) for name, given in options.items()}, rest

    def bytes(self, state: State) -> int:
        return self.rest + sum(self.options[name][at].bytes for name, at in state.items())

    def estimate(self, state: State) -> float:
        """The sum of what each group costs alone."""
        return sum(self.options[name][at].kl for name, at in state.items())

    def forms(self, state: State) -> dict[str, Weights]:
        """Matrix → its form."""
        return {tensor: form for name, at in state.items() for tensor, form in self.options[name][at].forms.items()}

    def least(self) -> int:
        """The fewest bytes that any choice takes."""
        return self.rest + sum(min(one.bytes for one in given) for given in self.options.values())

    def path(self) -> list[State]:
        """From float16 down to the fewest bytes: each time the change that costs least for each byte it saves."""
        state: State = dict.fromkeys(self.options, 0)
        found = [dict(state)]
        while moves := [
            ((one.kl - here.kl) / (here.bytes - one.bytes), name, at)
            for name, given in self.options.items()
            for here in (given[state[name]],)
            for at, one in enumerate(given)
            if one.bytes < here.bytes
        ]:
            _, name, at = min(moves)
            state[name] = at
            found.append(dict(state))
        return found

    def within(self, most: int) -> State | None:
        """A choice that takes at most so many bytes and costs little; None when none takes so few."""
        state = next((one for one in self.path() if self.bytes(one) <= most), None)
        return None if state is None else self._relaxed(state, most)

    def _relaxed(self, state: State, most: int) -> State:
        """What was saved beyond the budget is given back to the groups that gain most by it."""
        while True:
            free = most - self.bytes(state)
            gains = [
                (given[state[name]].kl - one.kl, name, at)
                for name, given in self.options.items()
                for at, one in enumerate(given)
                if one.kl < given[state[name]].kl and one.bytes - given[state[name]].bytes <= free
            ]
            if not gains:
                return state
            _, name, at = max(gains)
            state = {**state, name: at}


def furthest(path: Sequence[State], holds: Callable[[State], bool]) -> State | None:
    """The last choice of a path that holds, where all before it do; what is returned was asked, and holds. None when
    the first does not."""
    if not holds(path[0]):
        return None
    low, high = 0, len(path)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(path[middle]) else (low, middle)
    return path[low]


def written(forms: Mapping[str, Weights], names: Mapping[str, Sequence[str]]) -> Recipe:
    """A short recipe that stores each matrix as asked and leaves vectors float16.

    `forms`: matrix → its form; `names`: tensor of the checkpoint, vectors too → all its names (aliases of tied ones).
    The default is the form of most matrices; where most of those that are called alike want another, or all of a layer,
    one rule says it.
    Raises ValueError for tensors that no recipe tells apart.
    """
    known = [name for every in names.values() for name in every]
    wanted = {name: forms[tensor] for tensor in forms for name in names[tensor]}
    default = _most(wanted.values())
    rules: list[Rule] = []
    # what no rule about a kind says
    single: dict[str, Weights] = {}
    for kind in dict.fromkeys(map(kind_of, wanted)):
        mine = {name: form for name, form in wanted.items() if kind_of(name) == kind}
        common, counted = _most(mine.values()), Counter(mine.values())
        # a rule for a kind must be shorter than the names that it stands for
        if _matched(f"*.{kind}", known) == set(mine) and counted[common] > counted[default] + 1:
            rules.append(_rule(f"*.{kind}", common))
        else:
            common = default
        single |= {name: form for name, form in mine.items() if form != common}
    # behind the rules about kinds, which speak of every layer
    for layer in dict.fromkeys(map(_layer, single)):
        pattern = f"{layer}.*_proj"
        mine = {name: single[name] for name in _matched(pattern, known) if name in single}
        if layer and len(mine) > 1 and len(set(mine.values())) == 1 and _matched(pattern, known) == set(mine):
            rules.append(_rule(pattern, next(iter(mine.values()))))
            single = {name: form for name, form in single.items() if name not in mine}
    rules += [_rule(_short(name), form) for name, form in single.items()]
    found = Recipe(default=default, rules=rules)
    wrong = [name for name, form in wanted.items() if found.of(name).plain != form]
    if wrong:
        raise ValueError(f"no recipe says what {wrong[0]} is stored as")
    return found


def _most(forms: Iterable[Weights]) -> Weights:
    """The most frequent form; of equally frequent ones the first."""
    return Counter(forms).most_common(1)[0][0]


def kind_of(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` → `up_proj`."""
    return _short(name).rpartition(".")[2]


def _layer(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` → `model.layers.3`; "" for what is in no layer."""
    head, found, rest = name.partition(".layers.")
    return f"{head}{found}{rest.partition('.')[0]}" if found else ""


def _matched(pattern: str, names: Sequence[str]) -> set[str]:
    """The names that a rule with this pattern speaks of."""
    return {name for name in names if fnmatchcase(_short(name), pattern)}


def _short(name: str) -> str:
    return name.removesuffix(".weight")


def _rule(pattern: str, form: Weights) -> Rule:
    return Rule(match=pattern, **form.model_dump())


def text(recipe: Recipe, islands: Sequence[str], kept: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The section `quantization` of a spec, ready to be pasted; islands and other parts, `kept`, are the spec's own."""
    lines = ["quantization:", f"  default: {{{_flow(recipe.default)}}}"]
    if recipe.rules:
        lines.append("  rules:")
        lines += [f'    - {{match: "{rule.match}", {_flow(rule.plain)}}}' for rule in recipe.rules]
    if islands:
        lines.append(f"  islands: [{', '.join(islands)}]")
    for key, value in kept.items():
        # JSON is YAML, whatever a source is called
        lines.append(f"  {key}: {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _flow(form: Weights) -> str:
    said = {"weights": "fp16"} if form.weights == "fp16" else form.model_dump()
    return ", ".join(f"{key}: {value}" for key, value in said.items())
