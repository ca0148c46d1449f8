"""A plan's steps → a drawing: plain text, Graphviz dot, Mermaid or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FORMS = ("text", "dot", "mermaid", "json")


def draw(steps: Sequence[Mapping[str, Any]], form: str) -> str:
    """Solid edges carry artifacts; dashed ones are preconditions."""
    return {"text": _text, "dot": _dot, "mermaid": _mermaid, "json": _json}[form](steps)


def edges(steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(from, to, what is carried); an empty text for a precondition."""
    for step in steps:
        seen = set()
        for reference in step["takes"].values():
            producer, _, port = reference.removeprefix("step:").partition("#")
            seen.add(producer)
            yield producer, step["id"], port or "file"
        for before in step["after"]:
            if before not in seen:
                yield before, step["id"], ""


def _text(steps: Sequence[Mapping[str, Any]]) -> str:
    width = max((len(step["id"]) for step in steps), default=0)
    lines = []
    for step in steps:
        sources = [f"{source}" for source, target, label in edges(steps) if target == step["id"] and label]
        waits = [source for source, target, label in edges(steps) if target == step["id"] and not label]
        text = f"{step['id']:<{width}}  {step['kind']:<16} ← {', '.join(dict.fromkeys(sources)) or '·'}"
        lines.append(text + (f"   (after {', '.join(waits)})" if waits else ""))
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dot(steps: Sequence[Mapping[str, Any]]) -> str:
    lines = ["digraph plan {", "  rankdir=LR; node [shape=box, fontname=monospace];"]
    lines += [f"  {_quote(step['id'])} [label={_quote(step['id'] + chr(10) + step['kind'])}];" for step in steps]
    for source, target, label in edges(steps):
        style = f" [label={_quote(label)}]" if label else " [style=dashed]"
        lines.append(f"  {_quote(source)} -> {_quote(target)}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def _mermaid(steps: Sequence[Mapping[str, Any]]) -> str:
    names: dict[str, str] = {}
    for source, target, _ in edges(steps):
        for name in (source, target):
            names.setdefault(name, f"n{len(names)}")
    for step in steps:
        names.setdefault(step["id"], f"n{len(names)}")
    lines = ["flowchart LR"]
    lines += [f'  {alias}["{name.replace(chr(34), "#quot;")}"]' for name, alias in names.items()]
    for source, target, label in edges(steps):
        lines.append(
            f"  {names[source]} -->|{label}| {names[target]}" if label else f"  {names[source]} -.-> {names[target]}"
        )
    return "\n".join(lines) + "\n"


def _json(steps: Sequence[Mapping[str, Any]]) -> str:
    value = {
        "steps": [{"id": step["id"], "kind": step["kind"], "backend": step["backend"]} for step in steps],
        "edges": [{"from": source, "to": target, "carries": label} for source, target, label in edges(steps)],
    }
    return json.dumps(value, indent=2) + "\n"
