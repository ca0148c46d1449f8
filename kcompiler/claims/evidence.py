"""An anchor's target → the value that stands there, its unit, and what kind of evidence that is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from kcompiler.claims.policy import Shown
from kcompiler.policy import datum
from runtime.contract import strict_json

#: evidence is read whole
MOST_BYTES = 32 * 2**20
#: powers of ten of a number that is compared; far beyond every measurement, and small enough to be written out
MOST_DIGITS = 60
#: what only says something, and is no evidence of it
DOCUMENTS = (".md", ".markdown", ".mdown", ".mkd", ".jsonl")
#: thousands in groups, a comma as the decimal sign where it can be no group's, or `.9`
NUMERAL = re.compile(
    r"[-−]?(?:(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d{0,2}(?:\.\d{3})+,\d+|\d+,(?!\d{3}(?!\d))\d+|0,\d+|\d+(?:\.\d+)?)|\.\d+)"
    r"(?:[eE][-+]?\d+)?"
)
_GROUPED = re.compile(r"-?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?(?:[eE].*)?")


class Unresolved(Exception):
    """An anchor that leads nowhere; the message says why."""


@dataclass(frozen=True)
class Found:
    """What stands at the place of an anchor: a value, or a datum with counts and an interval; of a record its lines."""

    kind: Shown
    value: Any = None
    unit: str = ""
    datum: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    #: what a rule asks, and how a value relates to it where that is said: it is quoted and not met
    asked: bool = False
    op: str = ""

    @property
    def number(self) -> Decimal:
        """The value as an exact decimal. Raises Unresolved when it is none."""
        return number_of(self.value)


def number_of(value: Any) -> Decimal:
    """A JSON number as it is written. Raises Unresolved for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unresolved(f"what stands there is no number: {str(value)[:60]!r}")
    try:
        return _bounded(Decimal(repr(value)))
    except ValueError:
        raise Unresolved("what stands there has too many digits") from None


def decimal_of(text: str) -> Decimal:
    """What a written numeral says, thousands in groups or not, with a point or a comma. Raises Unresolved for one too
    large to compare."""
    try:
        plain = text.replace("−", "-")
        if _GROUPED.fullmatch(plain):
            plain = plain.replace(",", "")
        elif "," in plain:
            plain = plain.replace(".", "").replace(",", ".")
        return _bounded(Decimal(plain))
    except ArithmeticError:
        raise Unresolved(f"`{text[:40]}` is no number that can be compared") from None


def _bounded(number: Decimal) -> Decimal:
    if not number.is_finite() or abs(number.adjusted()) > MOST_DIGITS:
        raise Unresolved(f"no number between 1e-{MOST_DIGITS} and 1e{MOST_DIGITS}, which are compared")
    return number


def text_of(path: Path, root: Path) -> str:
    """A file's text. Raises Unresolved for one that is not here, not inside the project, or not text."""
    try:
        real = path.resolve()
        if not real.is_relative_to(root.resolve()):
            raise Unresolved("it lies outside the project")
        if not real.is_file():
            raise Unresolved("no such file")
        if real.stat().st_size > MOST_BYTES:
            raise Unresolved(f"larger than {MOST_BYTES // 2**20} MiB")
        return real.read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as reason:
        raise Unresolved(str(getattr(reason, "strerror", None) or reason)[:200]) from None


def resolve(target: str, folder: Path, root: Path, documents: Collection[Path] = ()) -> Found:
    """`FILE`, `FILE#dotted.key`, `FILE#/json/pointer`, or of a record that is no JSON `FILE#words of one line`.

    A file is looked up in the document's folder, like a link. A document says things and shows none: neither markdown
    nor one of `documents`, those that are checked, is evidence. Raises Unresolved.
    """
    name, _, path = target.partition("#")
    text = text_of(folder / name, root)
    real = (folder / name).resolve()
    if real.suffix.lower() in DOCUMENTS or any(real.samefile(one) for one in documents):
        raise Unresolved("a document is no evidence, of itself or of another")
    if real.name == "rule.yaml" and path.startswith("params."):
        return _threshold(text, path)
    if not name.endswith((".json", ".lock")):
        found = _record(text, path) if path else Found(kind="record", lines=tuple(text.splitlines()))
        return replace(found, asked=real.name == "rule.yaml")
    try:
        whole = strict_json.loads(text)
    except ValueError as reason:
        raise Unresolved(f"no JSON that can be trusted: {reason}") from None
    return replace(in_json(whole, path), asked=_keys(path)[-1:] == ["threshold"])


def in_json(whole: Any, path: str) -> Found:
    """The value at a dotted path or JSON pointer of a report, verdict, lock or any other JSON. Raises Unresolved."""
    value = whole
    for key in _keys(path):
        value = _member(value, key, path)
        _trusted(value)
    kind = _kind(whole)
    if isinstance(value, Mapping) and "tag" in value:
        shown: Shown = "estimated" if value["tag"] == "estimated" else kind
        if kind == "report" and value["tag"] == "measured":
            shown = "measured"
        return Found(kind=shown, value=value["value"], unit=str(value.get("unit", "")), datum=value)
    return Found(kind=kind, value=value)


def _trusted(value: Any) -> None:
    """Raises Unresolved for a datum on the way that no gate would read either: of nothing, or contradicting itself."""
    if not isinstance(value, Mapping) or "tag" not in value:
        return
    try:
        read = datum.read(value)
    except datum.BadDatum as reason:
        raise Unresolved(f"the datum there contradicts itself: {reason}") from None
    if read.tag == "unavailable":
        raise Unresolved(f"what stands there is unavailable: {read.reason[:120]}")


def _threshold(text: str, path: str) -> Found:
    """A number of a rule's params, in the unit of the rule."""
    try:
        rule = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        raise Unresolved("no YAML") from None
    value = rule
    for key in _keys(path):
        value = _member(value, key, path)
    try:
        unit, op = str(rule["params"].get("unit", "")), str(rule["params"].get("op", ""))
        return Found(kind="file", value=float(value), unit=unit, asked=True, op=op)
    except (TypeError, ValueError):
        raise Unresolved(f"what stands there is no number: {str(value)[:60]!r}") from None


def _keys(path: str) -> list[str]:
    if not path:
        return []
    if path.startswith("/"):
        return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    return path.split(".")


def _member(value: Any, key: str, path: str) -> Any:
    if isinstance(value, Mapping) and key in value:
        return value[key]
    if isinstance(value, list) and key.isdigit() and int(key) < len(value):
        return value[int(key)]
    known = f"; keys there: {', '.join(sorted(map(str, value))[:12])}" if isinstance(value, Mapping) and value else ""
    raise Unresolved(f"nothing stands at `{path}`: no `{key}`{known}")


def _kind(whole: Any) -> Shown:
    """What a JSON file is evidence of. What is forged, or did not pass, shows no more than that the file is there."""
    if not isinstance(whole, Mapping):
        return "file"
    if "verdict" in whole and "obligations" in whole:
        return "verdict" if _passed(whole) else "file"
    environment = whole.get("environment")
    if isinstance(environment, Mapping) and "data" in whole and environment.get("forged") is False:
        return "report"
    return "file"


def _passed(verdict: Mapping[str, Any]) -> bool:
    """Whether a verdict says that something was asked and passed; `obligations` is the digest of what was asked."""
    counts, digest = verdict.get("counts"), verdict["obligations"]
    passed = counts.get("pass") if isinstance(counts, Mapping) else None
    judged = isinstance(passed, int) and passed > 0 and isinstance(digest, str) and digest.startswith("sha256:")
    return judged and verdict["verdict"] == "PASS" and verdict.get("exit_code") == 0


def _record(text: str, words: str) -> Found:
    """The one line of a record that holds these words."""
    lines = [line for line in text.splitlines() if words in line]
    if len(lines) != 1:
        raise Unresolved(f"{len(lines) or 'no'} line{'s' if len(lines) > 1 else ''} with `{words}`, one is wanted")
    return Found(kind="record", lines=(lines[0],))
