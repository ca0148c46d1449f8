"""A subject (code, spec field, plug-in, rule) → the page `explain` prints."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompiler import diagnostic
from kcompiler.render import index
from kcompiler.render.human import inert
from kcompiler.render.index import KINDS, ROOMS, Unknown

if TYPE_CHECKING:
    from kcompiler.delta import Entry
    from kcompiler.front import Front

_NUMBER = re.compile(r"[A-Za-z]{1,3}\d+")
_SUBJECTS = "a code such as KC2104, or one of " + ", ".join(f"{kind}:" for kind in KINDS if kind != "code")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A spec that a question is about: its text, and for steps and gates its plan and delta."""

    front: Front
    #: how its file is written in messages
    shown: str
    plan: Mapping[str, Any] | None = None
    entries: Sequence[Entry] = ()


def explain(subject: str, asked: Asked | None = None, own: Path | None = None) -> str:
    """The page of a subject; with `asked`, what one spec says of it follows; `own` is the project's folder of
    packs. Raises Unknown."""
    prefix, colon, rest = subject.partition(":")
    if not colon:
        return _code(subject) if is_code(subject) else _bare(subject, asked, own)
    if not rest and prefix in KINDS:
        return index.names(prefix)
    if prefix == "field":
        return _field(rest) + (_written(rest, asked) if asked else "")
    if prefix == "report":
        from kcompiler.render import reports  # reads packs, which a code needs nothing of

        return reports.page(rest)
    if prefix == "form":
        from kcompiler.render import forms  # reads readers of rows and fixtures

        return forms.page(rest)
    if prefix in ("rule", "gate"):
        # a pack of the project itself is known only through its plan
        planned = _gate(rest, asked.plan) if asked and asked.plan is not None else ""
        return planned or index.pack(rest, own) or _rule(rest, own)
    if prefix == "step" and asked is not None and asked.plan is not None:
        return _step(rest, asked.plan, asked.entries)
    if prefix in ROOMS:
        return _plugin(ROOMS[prefix], rest)
    raise Unknown(f"no such kind of subject: `{prefix}`; say {_SUBJECTS}")


def is_code(subject: str) -> bool:
    """Whether a subject can only be a code; any other bare word is a name."""
    return _NUMBER.fullmatch(subject) is not None


def _bare(name: str, asked: Asked | None, own: Path | None) -> str:
    """The page of a name without its kind: the first kind that knows it; the others are named below."""
    if kind := index.kind_of(name):
        return index.names(kind)
    found = []
    for prefix in ("field", "gate", "report", "form", *ROOMS):
        try:
            found.append((f"{prefix}:{name}", explain(f"{prefix}:{name}", asked, own)))
        except Unknown:
            continue
    if not found:
        raise Unknown(f"nothing is called `{name}`; {index.near(name) or f'say {_SUBJECTS}'}")
    more = f"\nsee also {', '.join(subject for subject, _ in found[1:])}\n" if found[1:] else ""
    return f"{found[0][0]}\n\n{found[0][1]}{more}"


def _code(number: str) -> str:
    try:
        page = diagnostic.explain(number)
    except KeyError:
        near = diagnostic.suggest(number.upper(), diagnostic.codes())
        help_line = diagnostic.did_you_mean(number.upper(), near) if near else f"say {_SUBJECTS}"
        raise Unknown(f"no such code: `{number}`; {help_line}") from None
    return f"{page.number}: {page.title}\n\n{page.page}"


def _field(path: str) -> str:
    from kcompiler.schema import published

    schema = published()
    found = [_Node("", schema)]
    # messages write the items of lists with their numbers
    for part in re.sub(r"\[\d+\]", "", path).split("."):
        inner = [_inner(node, schema) for node in found]
        named = [one for properties in inner for one in properties.get(part, [])]
        # a mapping whose names the spec chooses has one form for what stands under any of them
        found = named or [_Node(node.when, form) for node in found if (form := _any_name(node, schema))]
        if not found:
            known = {name: None for properties in inner for name in properties}
            raise Unknown(f"no such field: `{path}`; {diagnostic.did_you_mean(part, known)}")
    pages: dict[str, list[str]] = {}
    for node in found:
        pages.setdefault(_show_field(node.schema, _deref(node.schema, schema), schema), []).append(node.when)
    return f"{path}\n\n" + "\n".join(_headed(page, when) for page, when in pages.items())


@dataclass(frozen=True)
class _Node:
    """A field's schema, and in which forms of what is around it the field stands: `source: recorded`, or "" for all."""

    when: str
    schema: dict[str, Any]


def _headed(page: str, when: Sequence[str]) -> str:
    return f"with {' or '.join(when)}\n{page}" if any(when) else page


def _deref(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        elif "items" in node and isinstance(node["items"], dict):
            node = node["items"]
        elif "else" in node and "properties" not in node:
            # a word stands for the whole (`architecture: from checkpoint`); the whole is what has fields
            node = node["else"]
        else:
            return node


def _any_name(node: _Node, schema: dict[str, Any]) -> dict[str, Any]:
    """What stands under a name of the spec's own choice; {} where every name is known."""
    form = _deref(node.schema, schema).get("additionalProperties")
    return form if isinstance(form, dict) else {}


def _inner(node: _Node, schema: dict[str, Any]) -> dict[str, list[_Node]]:
    """Name → the fields of that name inside a node, one per form that has it; what decides the form stands once."""
    target = _deref(node.schema, schema)
    found = {name: [_Node(node.when, inner)] for name, inner in target.get("properties", {}).items()}
    decides = set(found)
    for branch in target.get("allOf", []):
        form = ", ".join(f"{key}: {one['const']}" for key, one in branch["if"]["properties"].items() if "const" in one)
        below = _Node(", ".join(word for word in (node.when, form) if word), branch.get("then", {}))
        for name, several in _inner(below, schema).items():
            if name not in decides:
                found.setdefault(name, []).extend(several)
    return found


def _show_field(node: dict[str, Any], target: dict[str, Any], schema: dict[str, Any]) -> str:
    from runtime.contract.units import UNIT

    lines = [node.get("description") or target.get("description") or ""]
    for key in ("type", "enum", "const", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "pattern"):
        value = node.get(key, target.get(key))
        if value is not None:
            lines.append(f"  {key}: {value}")
    if node.get(UNIT, "1") != "1":
        lines.append(f"  unit: {node[UNIT]}")
    if "default" in node:
        lines.append(f"  default: {node['default']}")
    lines += [f"  example: {json.dumps(example, ensure_ascii=False)}" for example in node.get("examples", [])]
    keys: dict[str, list[str]] = {}
    for name, several in _inner(_Node("", target), schema).items():
        for one in several:
            keys.setdefault(one.when, []).append(name)
    lines += [f"  keys{f' with {when}' if when else ''}: {', '.join(names)}" for when, names in keys.items()]
    return "\n".join(lines) + "\n"


def _written(path: str, asked: Asked) -> str:
    """Where a spec sets a field, each place with its value; or what holds because it does not."""
    tree = asked.front.tree
    if tree is None:
        return f"\nin {asked.shown}: the text cannot be read, `kcompiler validate {asked.shown}` says why\n"
    lines = []
    for pointer, place in tree.values.items():
        # /training/stages/0/steps is the field training.stages.steps: items of a list have no names
        if ".".join(part for part in pointer.split("/")[1:] if not part.isdigit()) == path:
            value = tree.get(pointer)
            text = json.dumps(value, ensure_ascii=False) if not isinstance(value, dict | list) else "…"
            lines.append(f"  {asked.shown}:{place.line}:{place.column}  {inert(text)}")
    if not lines:
        return f"\nnot set in {asked.shown}: the default holds\n"
    return "\n".join([f"\nset in {asked.shown}", *lines]) + "\n"


def _step(name: str, plan: Mapping[str, Any], entries: Sequence[Entry]) -> str:
    """One step of a plan: why it runs or is reused, what it takes and gives, who judges it."""
    step = next((item for item in plan["steps"] if item["id"] == name), None)
    if step is None:
        raise Unknown(f"no such step: `{name}`; {diagnostic.did_you_mean(name, [s['id'] for s in plan['steps']])}")
    entry = next(item for item in entries if item.step == name)
    lines = [f"{name}: {step['kind']} on backend {step['backend']}", "", f"  {entry.action}: {entry.why}"]
    if entry.wall_s is not None:
        lines.append(f"  the last committed attempt took {entry.wall_s:.1f} s")
    lines += [f"  takes {port}: {reference}" for port, reference in step["takes"].items()]
    lines += [f"  after {before}" for before in step["after"]]
    gives = [f"{port} ({give.get('report') or give['kind']})" for port, give in step["gives"].items()]
    lines.append(f"  gives {', '.join(gives)}")
    lines.append(f"  derivation {step['derivation']}")
    judged = [item["rule"] for item in plan["obligations"] if item["from"] == f"step:{name}"]
    lines += [f"  judged by {rule}" for rule in dict.fromkeys(judged)]
    lines.append("\nparameters, with every default")
    lines += [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(step["params"].items())]
    return "\n".join(inert(line) if "\n" not in line else line for line in lines) + "\n"


def _gate(name: str, plan: Mapping[str, Any]) -> str:
    """A rule as this plan holds it: on which reports, with which threshold. Empty when the plan has no such rule."""
    from kcompiler.diff.direction import threshold

    held = [item for item in plan["obligations"] if item["rule"] == name]
    if not held:
        return ""
    first = held[0]
    lines = [f"{name}: {first['title']}", "", f"  pack: {first['pack']}", f"  mode: {first['mode']}"]
    lines.append(f"  kind: {first['kind']}")
    for item in held:
        lines.append(f"  on {item['report']} of {item['from'].removeprefix('step:')}: {threshold(item)}")
    lines += [f"  skipped: {first['reason']}"] if first["reason"] else []
    lines += [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(first["params"].items())]
    lines.append(f"  remedy: {first['remedy']}")
    return "\n".join(inert(line) if line else line for line in lines) + "\n"


def _plugin(room: str, name: str) -> str:
    from runtime import catalog

    try:
        plugin = catalog.load(room, name)
    except KeyError:
        raise Unknown(
            f"nothing in room `{room}` is called `{name}`; " + diagnostic.did_you_mean(name, catalog.names(room))
        ) from None
    lines = [f"{name}@{plugin.version}", "", index.about(room, name, plugin)]
    params = getattr(plugin, "params", None)
    if params is not None and params.model_fields:
        lines.append("\nparameters")
        for field, info in params.model_fields.items():
            default = "required" if info.is_required() else f"default {info.get_default(call_default_factory=True)!r}"
            lines.append(f"  {field}: {default}. {info.description or ''}".rstrip())
    for key, value in getattr(plugin, "semantics", {}).items():
        lines.append(f"  {key}: {value}")
    lines += _of_loss(plugin) if room == "losses" else []
    return "\n".join(lines) + "\n"


def _of_loss(loss: Any) -> list[str]:
    """What its gradient reaches, how it reads a teacher of which the likeliest tokens are stored, where it hurts, and
    whose it is."""
    form = "in closed form" if loss.gradient is not None else "derived from the value"
    read, reached = "logits", "every weight of the student"
    if loss.head:
        read, reached = (
            f"log-odds of its head `{loss.head}`",
            "that head and of every weight below it, not of its words",
        )
    if loss.layers is not None:
        read = "hidden states" if loss.layers.signal == "states" else "attention maps"
        own = (
            "the last that it names" if loss.layers.signal == "states" else "queries and keys of the last that it names"
        )
        reached = f"its embedding and its layers up to {own}, never of its head"
    lines = [
        f"\ngradient: {form}, of the student's {read} at the tokens of `{loss.mask}`, and through them of {reached}, "
        "of none of the teacher's; step `reach` measures it before anything is trained"
    ]
    if loss.layers is not None:
        lines.append("of `teacher.store`: refused in any form, no layers are stored")
    elif loss.top is not None:
        lines.append("of `teacher.store: {form: top_k}`")
        lines += [f"  {key}: {value}" for key, value in loss.top.semantics.items() if loss.semantics.get(key) != value]
    elif "logits" in loss.needs:
        lines.append("of `teacher.store: {form: top_k}`: refused, it needs all logits")
    lines += _of_rows(loss)
    lines += [f"hurts: {loss.hurts}"] if loss.hurts else []
    lines += [f"source: {loss.source}"] if loss.source else []
    return lines


def _of_rows(loss: Any) -> list[str]:
    """What a loss reads of rows beside its own span, and what a row must carry for it."""
    from runtime.contract.conditions import FACTS, FORBIDDEN, MASKS

    read = [(loss.mask, MASKS[loss.mask])] if loss.mask in MASKS else []
    read += [(fact, FACTS[fact].source) for fact in sorted(loss.facts)]
    lines = ["of a row (`kcompiler explain wanted`)"] if read else []
    for name, source in read:
        carried = sorted([*(f"`wanted.{one}`" for one in source.wanted), *(f"spans `{one}`" for one in source.spans)])
        carried += ["`chosen` and `rejected`"] if source.pair else []
        lines.append(f"  {name}: {source.says}" + (f"; from {', '.join(carried)}" if carried else ""))
    return [*lines, "its tokens are a target of no other term"] if loss.mask == FORBIDDEN else lines


def _rule(name: str, own: Path | None) -> str:
    from kcompiler import policy

    roots = index.roots(own)
    pack_name = name.rpartition("/")[0]
    packs = policy.load([pack_name], roots).packs
    for pack in packs:
        for loaded in pack.rules:
            if loaded.name == name:
                return _show_rule(loaded)
    known = [rule.name for item in policy.load(policy.available(roots), roots).packs for rule in item.rules]
    near = diagnostic.suggest(name, known)
    more = diagnostic.did_you_mean(name, near) if near else "`kcompiler explain gates` lists those that are shipped"
    raise Unknown(f"no such rule: `{name}`; {more}")


def _show_rule(loaded: Any) -> str:
    rule = loaded.rule
    lines = [f"{loaded.name}: {rule.title}", "", f"  on: {rule.on}", f"  mode: {rule.mode}", f"  kind: {loaded.kind}"]
    lines += [f"  {key}: {value}" for key, value in loaded.params.model_dump(by_alias=True).items()]
    if rule.where is not None:
        lines.append(f"  for steps with: {rule.where.said}")
    if rule.expect is not None:
        lines.append(f"  expect: {rule.expect.model_dump(by_alias=True, exclude_none=True)}")
    return "\n".join([*lines, f"  remedy: {rule.remedy}"]) + "\n"
