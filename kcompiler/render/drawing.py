"""A picture of a plan → plain text, Graphviz dot, Mermaid, JSON or SVG."""

from __future__ import annotations

import json
from dataclasses import asdict

from kcompiler.render import svg
from kcompiler.render.human import inert
from kcompiler.render.picture import Box, Picture

FORMS = ("text", "dot", "mermaid", "json", "svg")
#: action of the delta → colour of the border, readable on white and on black
COLORS = {"run": "#d97706", "blocked": "#dc2626", "reuse": "#16a34a", "": "#7d8590"}


def draw(picture: Picture, form: str) -> str:
    """Solid lines carry artifacts; dashed ones are preconditions; thick ones are the critical path."""
    return {"text": _text, "dot": _dot, "mermaid": _mermaid, "json": _json, "svg": _svg}[form](picture)


def _text(picture: Picture) -> str:
    boxes = [box for box in picture.boxes if box.level]
    width = max((len(box.name) for box in boxes), default=0)
    lines = []
    for box in boxes:
        sources = [line.source for line in picture.lines if line.target == box.name and line.carries]
        waits = [line.source for line in picture.lines if line.target == box.name and not line.carries]
        mark = "*" if box.critical else " "
        text = f"{mark} {box.name:<{width}}  {box.kind:<16} {box.action:<8}← {', '.join(sources) or '·'}"
        lines.append(inert(text + (f"   (after {', '.join(waits)})" if waits else "")))
    return "\n".join([*lines, f"* critical path: {path(picture)}"]) + "\n"


def path(picture: Picture) -> str:
    """The longest way through the plan, with its length."""
    length = f"{picture.length:.1f} s recorded" if picture.unit == "s" else f"{picture.length:.0f} steps"
    names = list(picture.critical)
    shown = names if len(names) <= 12 else [*names[:6], "…", *names[-5:]]
    return inert(f"{' → '.join(shown)} ({length})")


def _quote(text: str) -> str:
    return '"' + inert(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dot(picture: Picture) -> str:
    lines = ["digraph plan {", "  rankdir=LR; bgcolor=transparent;"]
    lines.append('  node [shape=box, fontname=monospace, fontcolor="#7d8590"]; edge [color="#7d8590"];')
    for box in picture.boxes:
        # the line break stands after quoting: a name that holds one is shown with an escape
        label = f"{_quote(box.name)[:-1]}\\n{_quote(_below(box))[1:]}"
        width = 3 if box.critical else 1
        lines.append(f'  {_quote(box.name)} [label={label}, color="{COLORS[box.action]}", penwidth={width}];')
    for line in picture.lines:
        style = [f"label={_quote(', '.join(line.carries))}" if line.carries else "style=dashed"]
        style += ["penwidth=3"] if line.critical else []
        lines.append(f"  {_quote(line.source)} -> {_quote(line.target)} [{', '.join(style)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _below(box: Box) -> str:
    return box.kind + (f"  {box.wall_s:.1f} s" if box.wall_s is not None else "")


def _mermaid(picture: Picture) -> str:
    names = {box.name: f"n{i}" for i, box in enumerate(picture.boxes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[box.name]}["{_entities(box.name)}<br/>{_entities(_below(box))}"]' for box in picture.boxes]
    thick = []
    for number, line in enumerate(picture.lines):
        arrow = f'-->|"{_entities(", ".join(line.carries))}"|' if line.carries else "-.->"
        lines.append(f"  {names[line.source]} {arrow} {names[line.target]}")
        thick += [number] if line.critical else []
    for action, color in COLORS.items():
        of_action = [names[box.name] for box in picture.boxes if box.action == action and action]
        if of_action:
            lines += [f"  classDef {action} stroke:{color}", f"  class {','.join(of_action)} {action}"]
    if thick:
        lines.append(f"  linkStyle {','.join(map(str, thick))} stroke-width:3px")
    return "\n".join(lines) + "\n"


def _entities(text: str) -> str:
    """Mermaid reads `#nn;` as a character: whatever could end a label or open a tag is written so."""
    return "".join(
        character if character.isalnum() or character in " -_.,@:×*…" else f"#{ord(character)};"
        for character in inert(text)
    )


def _json(picture: Picture) -> str:
    value = {
        "steps": [asdict(box) for box in picture.boxes],
        "edges": [asdict(line) for line in picture.lines],
        "critical_path": {"steps": list(picture.critical), "length": picture.length, "unit": picture.unit},
    }
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


def _svg(picture: Picture) -> str:
    return svg.draw(picture, COLORS, _below, path(picture))
