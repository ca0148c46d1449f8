"""A verdict document → outcomes with the places where the evidence and the rule stand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompiler.project import Project
from kcompiler.result import AuditFinding, RuleOutcome, Where
from kcompiler.verifier import facts

#: the step whose report is about the run itself; it lies beside the others
_RUN = "apply"
_SUBJECT = re.compile(r"(?P<file>[^#]*?)(?::(?P<line>\d+))?(?:#(?P<pointer>.*))?\Z", re.DOTALL)


def outcomes(
    verdict: Mapping[str, Any], home: Project, name: str, file_of: Callable[[str], Path | None] | None = None
) -> list[RuleOutcome]:
    """Each outcome with its places. `file_of`: step → file of its report, where that is not in the evidence of the
    spec `name`. A place of evidence has a line where the outcome is not a pass and the report is laid out as ours are.
    """
    texts: dict[Path, Sequence[str]] = {}

    def read(path: Path) -> Sequence[str]:
        if path not in texts:
            try:
                texts[path] = path.read_text(encoding="utf-8", errors="replace").split("\n")
            except OSError:
                texts[path] = ()
        return texts[path]

    found = []
    for one in verdict["outcomes"]:
        path = (file_of or (lambda _: None))(one["step"]) or _report(home, name, one["step"])
        there = path.is_file()
        line = line_of(read(path), one["pointer"]) if there and one["outcome"] != "pass" else 0
        rule = home.root / "policies" / one["rule"] / "rule.yaml"
        found.append(
            RuleOutcome(
                rule=one["rule"],
                pack=one["pack"],
                title=one["title"],
                mode=one["mode"],
                status=one["outcome"],
                blocks=one["blocks"],
                step=one["step"],
                report=one["report"],
                reason=one["reason"],
                remedy=one["remedy"],
                observed=one["observed"],
                threshold=one["threshold"],
                distance=one["distance"],
                counterfactual=one.get("counterfactual", ""),
                evidence=Where(file=home.shown(path), line=line, pointer=one["pointer"]),
                declared=Where(file=home.shown(rule), line=1) if _is_file(rule) else Where(),
            )
        )
    return found


def _report(home: Project, name: str, step: str) -> Path:
    evidence = home.evidence(name)
    if step in facts.KINDS:
        return home.lock(name)  # it follows from that alone, and lies nowhere
    return evidence / "run.json" if step == _RUN else evidence / "reports" / f"{step}.json"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def line_of(lines: Sequence[str], pointer: str) -> int:
    """The line, from 1, on which the value of a JSON pointer begins in a document that is laid out with an indentation
    of two, as reports are; 0 where it is not found there."""
    at = 0
    for depth, part in enumerate(pointer.split("/")[1:], start=1):
        key, indent = part.replace("~1", "/").replace("~0", "~"), "  " * depth
        start = f"{indent}{json.dumps(key, ensure_ascii=False)}:"
        index, count = (int(key) if key.isdecimal() and len(key) < 9 else -1), -1
        within = "  " * (depth - 1)
        in_list = bool(lines) and lines[at].rstrip().endswith("[")
        for number in range(at + 1, len(lines)):
            line = lines[number]
            if line.startswith(within) and line[len(within) : len(within) + 1] in "}]":
                return 0
            if line.startswith(indent) and line[len(indent) : len(indent) + 1] not in ("", " ", "}", "]"):
                count += 1
                if (in_list and count == index) or (not in_list and line.startswith(start)):
                    at = number
                    break
        else:
            return 0
    return at + 1 if pointer and at < len(lines) else 0


def finding(code: str, severity: Any, subject: str, message: str) -> AuditFinding:
    """A finding of an audit, whose subject is `file:line` or `file#pointer`, with its place taken apart."""
    match = _SUBJECT.match(subject)
    where = Where(file=subject)
    if match is not None:
        where = Where(file=match["file"], line=int(match["line"] or 0), pointer=match["pointer"] or "")
    return AuditFinding(code=code, severity=severity, message=message, where=where)
