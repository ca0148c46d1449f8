"""A document → the evidence that it names, taken anew from where the last apply left it.

    generated/NAME/evidence/run.json, reports/STEP.json and generated/NAME/plan.lock → generated/NAME/quoted/

Only what lies in a folder of quoted evidence is taken anew, with the run and the plan that it is of; a record, such as
what a command printed, is made by whoever runs the command. Nothing is written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kcompiler import lock
from kcompiler.claims import extract
from kcompiler.claims.current import LOCK, RUN, home_of
from kcompiler.claims.policy import Policy
from runtime.contract import strict_json

#: what apply keeps up to date
EVIDENCE = "evidence"


@dataclass
class Renewed:
    """`texts`: file → what it is to hold. `left`: what could not be taken anew, each as a sentence."""

    texts: dict[Path, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def renewed(text: str, *, folder: Path, root: Path, policy: Policy) -> Renewed:
    """Of a document in `folder`. Raises OSError for what cannot be read."""
    found = Renewed()
    homes: dict[Path, list[Path]] = {}
    for path in sorted({(folder / name).resolve() for name in _named(text, policy)}):
        home = home_of(path, root.resolve())
        if home is not None and EVIDENCE not in path.relative_to(home.parent).parts[:1]:
            homes.setdefault(home, []).append(path)
    for home, paths in sorted(homes.items()):
        _of_run(home, paths, root.resolve(), found)
    return found


def _named(text: str, policy: Policy) -> Iterator[str]:
    """Every file that an anchor names."""
    for block in extract.document(text, policy).blocks:
        for anchor in block.anchors:
            if not re.match(r"none\b", anchor.text):
                for part in re.split(r"\s(?:<=|>=|<|>|=)\s|;", anchor.text):
                    name = part.strip().removeprefix("= ").partition("#")[0].strip()
                    if name:
                        yield name


def _of_run(home: Path, paths: list[Path], root: Path, found: Renewed) -> None:
    shown = home.relative_to(root).as_posix()
    source, plan = home.parent / EVIDENCE, home.parent / LOCK
    try:
        run, made = (source / RUN).read_text(encoding="utf-8"), plan.read_text(encoding="utf-8")
        told: Any = strict_json.loads(run)
        of_plan = told["subject"]["plan"]
        here = lock.plan_digest(lock.load(made))
    except (OSError, ValueError, KeyError, TypeError, lock.UnreadableLock):
        found.left.append(f"{shown}: no evidence of an apply lies beside it: kcompiler apply SPEC")
        return
    if of_plan != here:
        found.left.append(f"{shown}: the evidence beside it is of another plan than the lock: kcompiler apply SPEC")
        return
    found.texts |= {home / RUN: run, home / LOCK: made}
    for path in paths:
        if path in found.texts:
            continue
        report = source / "reports" / path.name
        if path.suffix == ".json" and report.is_file():
            found.texts[path] = report.read_text(encoding="utf-8")
        elif path.suffix == ".json":
            found.left.append(f"{shown}/{path.name}: the last apply made no such report")
        else:
            found.left.append(f"{shown}/{path.name} is a record: put in it what its command prints")
