"""A kind of subject → the names that `explain` has pages for; no kind → every kind, with its names."""

from __future__ import annotations

import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

from kcompiler import assets, diagnostic
from kcompiler.render.human_run import table

#: prefix of a subject → room of the catalog
ROOMS = {
    "step": "steps",
    "loss": "losses",
    "suite": "suites",
    "teacher": "teachers",
    "generator": "generators",
    "backend": "backends",
    "executor": "executors",
    "runner": "runners",
}
#: kind of subject → the words that ask for all of its names
KINDS = {
    "code": ("code", "codes"),
    "field": ("field", "fields", "spec"),
    "gate": ("gate", "gates", "rule", "rules", "policies", "packs"),
    "report": ("report", "reports"),
    "form": ("form", "forms"),
    **{kind: (kind, room) for kind, room in ROOMS.items()},
}
#: columns of the overview
_WIDTH = 110


class Unknown(Exception):
    """No page for a subject; the message says what there is."""


def kind_of(word: str) -> str:
    """The kind that a word such as `losses` asks for; "" for any other word. A section of the spec stays a field."""
    from kcompiler.spec import Spec

    taken = word in Spec.model_fields
    return "" if taken else next((kind for kind, words in KINDS.items() if word in words), "")


def overview() -> str:
    """Every kind with its names; codes, fields and gates are many and counted by family, section and pack."""
    lines = ["kcompiler explain SUBJECT, or kcompiler explain KIND: for all names of a kind", ""]
    families = {"KC": "of specs", "KR": "of the machine", "KA": "of audits"}
    counts = {start: sum(code.startswith(start) for code in diagnostic.codes()) for start in families}
    rows = [["code", ", ".join(f"{start}… {families[start]} ({count})" for start, count in counts.items())]]
    rows.append(["field:", ", ".join(_fields())])
    rows.append(["gate:", ", ".join(f"{pack} ({len(rules)})" for pack, rules in _gates().items())])
    rows.append(["report:", ", ".join(_reports())])
    rows.append(["form:", ", ".join(_forms())])
    rows += [[f"{kind}:", ", ".join(_plugins(kind))] for kind in ROOMS]
    wide = max(len(name) for name, _ in rows)
    for name, text in rows:
        first, *more = textwrap.wrap(text, _WIDTH - wide - 4) or [""]
        lines += table([[name.ljust(wide), first], *[["", line] for line in more]])
    return "\n".join(lines) + "\n"


def names(kind: str) -> str:
    """One line per name of a kind, with its title where it has one."""
    if kind == "code":
        rows = [[code, diagnostic.explain(code).title] for code in diagnostic.codes()]
    elif kind == "field":
        rows = [[f"field:{name}", text] for name, text in _fields().items()]
    elif kind == "gate":
        rows = [[f"gate:{name}", title] for rules in _gates().values() for name, title in rules.items()]
    elif kind == "report":
        rows = [[f"report:{name}", text] for name, text in _reports().items()]
    elif kind == "form":
        rows = [[f"form:{name}", text] for name, text in _forms().items()]
    else:
        rows = [[f"{kind}:{name}", text] for name, text in _plugins(kind).items()]
    return "\n".join(table(rows, indent="")) + "\n"


def pack(name: str, own: Path | None = None) -> str:
    """One line per rule of a pack; "" for what is none. `own` is a project's folder of packs."""
    rows = [[f"gate:{rule}", title] for rule, title in _gates(own).get(name, {}).items()]
    return "\n".join(table(rows, indent="")) + "\n" if rows else ""


def near(word: str) -> str:
    """What somebody may have meant by a word that names nothing: a kind, or a plug-in."""
    from kcompiler.render import forms

    words = [one for several in KINDS.values() for one in several]
    known = {**dict.fromkeys(words), **{f"{kind}:{name}": None for kind in ROOMS for name in _plugins(kind)}}
    known |= dict.fromkeys([*(f"report:{name}" for name in _reports()), *(f"form:{name}" for name in forms.names())])
    found = diagnostic.suggest(word, known) or [
        one for one in known if diagnostic.suggest(word, [one.rpartition(":")[2]])
    ]
    return f"did you mean `{found[0]}`?" if found else ""


def _reports() -> dict[str, str]:
    """Kind of report → what its schema is titled."""
    from kcompiler.policy import shape

    return {name: shape.title_of(name) for name in shape.kinds()}


def _forms() -> dict[str, str]:
    """What people write in files beside a spec → what it is."""
    from kcompiler.render import forms

    return forms.titles()


def _fields() -> dict[str, str]:
    from kcompiler.schema import published

    return {name: str(node.get("description", "")) for name, node in published()["properties"].items()}


def roots(own: Path | None) -> list[Path]:
    """The folders of packs: those of a project before the shipped ones."""
    return [*([own] if own is not None and own.is_dir() else []), assets.folder("policies")]


def _gates(own: Path | None = None) -> dict[str, dict[str, str]]:
    """Pack → rule → title, of the shipped packs and a project's own."""
    from kcompiler import policy

    folders = roots(own)
    packs = policy.load(policy.available(folders), folders).packs
    return {pack.pack.name: {one.name: one.rule.title for one in pack.rules} for pack in packs}


def about(room: str, name: str, plugin: Any) -> str:
    """What the module of a plug-in says of itself."""
    from runtime import catalog

    function = next((getattr(plugin, key) for key in ("run", "value", "rows") if hasattr(plugin, key)), None)
    module = sys.modules[function.__module__ if function else catalog.module_of(room, name)]
    return inspect.getdoc(module) or ""


def _plugins(kind: str) -> dict[str, str]:
    """Name → the first line of what the plug-in says of itself."""
    from runtime import catalog

    room = ROOMS[kind]
    return {name: about(room, name, catalog.load(room, name)).partition("\n")[0] for name in catalog.names(room)}
