"""`variants[?variant=fp16].shapes[*].cosine` × data → every place it leads to, or what is missing there.

A field name, `.*` for every value of an object, `[*]` for every element, `[?key=value]` for those whose key is value. A
path never skips: what is not there is a place that is missing. Standard library only.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, List, NamedTuple, Tuple

from kcompiler.verifier.datum import is_datum

_WORD = "[A-Za-z_][A-Za-z0-9_-]*"
_STEP = re.compile(rf"\.(?P<name>{_WORD})|(?P<values>\.\*)|(?P<all>\[\*\])|\[\?(?P<key>{_WORD})=(?P<value>[^\[\]=]+)\]")


class Place(NamedTuple):
    """A JSON pointer and what stands there; `missing` where nothing does, `no_field` where no field has the name."""

    pointer: str
    value: Any = None
    missing: bool = False
    no_field: bool = False


@lru_cache(maxsize=4096)
def steps_of(text: str) -> Tuple[Tuple[str, str, str], ...]:
    """(what, name or key, value) of each step. Raises ValueError for what is no path."""
    found, at, text = [], 0, "." + text
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None or (at == 0 and not step["name"]):
            raise ValueError(f"`{text[1:]}` is no path")
        what = "field" if step["name"] else "values" if step["values"] else "all" if step["all"] else "where"
        found.append((what, step["name"] or step["key"] or "", step["value"] or ""))
        at = step.end()
    return tuple(found)


def escaped(name: str) -> str:
    """One part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _next(step: Tuple[str, str, str], at: Place) -> List[Place]:
    what, name, wanted = step
    node = at.value
    if what == "field":
        if isinstance(node, dict) and name in node:
            return [Place(f"{at.pointer}/{escaped(name)}", node[name])]
        return [Place(at.pointer, missing=True, no_field=True)]
    if what == "where":
        items = node if isinstance(node, list) else []
        found = [Place(f"{at.pointer}/{i}", one) for i, one in enumerate(items) if _has(one, name, wanted)]
        return found or [Place(at.pointer, missing=True)]
    if what == "all" and isinstance(node, list) and node:
        return [Place(f"{at.pointer}/{index}", item) for index, item in enumerate(node)]
    if isinstance(node, dict) and node and not is_datum(node):
        return [Place(f"{at.pointer}/{escaped(key)}", node[key]) for key in sorted(node)]
    return [Place(at.pointer, missing=True)]


def _has(one: Any, key: str, wanted: str) -> bool:
    value = one.get(key) if isinstance(one, dict) else None
    return isinstance(value, (str, int)) and not isinstance(value, bool) and str(value) == wanted


def walk(text: str, root: Any, base: str = "") -> List[Place]:
    """Every place that a path leads to below `root`, which stands at `base`. Never empty."""
    places = [Place(base, root)]
    for step in steps_of(text):
        places = [found for at in places for found in ([at] if at.missing else _next(step, at))]
    return places
