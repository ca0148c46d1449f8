"""Every pack of a project now and in a revision of git → what became of its rules: a stage of `ci` that no weaker pack
passes without somebody who says why."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcompiler import project
from kcompiler.cli.answer import Answer
from kcompiler.cli.outcome import Outcome

if TYPE_CHECKING:
    from kcompiler.diff.packs import Moved

VERB = "policy diff"


def held_to(answer: Answer, revision: str, allowed: Mapping[str, str]) -> None:
    """Compare the packs and put what moved into the answer. `allowed` maps `PACK/RULE` to why it may be weaker. Raises
    Outcome: 1 where a rule is weaker, gone or cannot be compared and nobody says why; 2 where there is no such revision
    or a pack cannot be read."""
    moved = _moved(answer.home, revision)
    weaker = {f"{pack}/{one.rule}" for pack, one in moved if one.weakens}
    strange = sorted(set(allowed) - weaker)
    if strange:
        raise click.UsageError(f"--allow-weaker {strange[0]}: that rule is not weaker than in {revision}")
    rows = []
    for pack, one in moved:
        name = f"{pack}/{one.rule}"
        if one.way != "same":
            why = f"  allowed: {allowed[name]}" if name in allowed else ""
            rows.append(f"{one.way:<12}  {name}  {one.what}{why}")
    same = sum(one.way == "same" for _, one in moved)
    answer.sections = [("packs", [*rows, f"{same} rules are as in {revision}"])]
    answer.data = {
        "base": revision,
        "rules": [
            {
                "rule": f"{pack}/{one.rule}",
                "way": one.way,
                "what": one.what,
                "weakens": one.weakens,
                "allowed": allowed.get(f"{pack}/{one.rule}"),
            }
            for pack, one in moved
            if one.way != "same"
        ],
    }
    left = sorted(weaker - set(allowed))
    if left:
        pack = left[0].rpartition("/")[0]
        said = "\n".join(row for row in rows if any(f"  {name}  " in row for name in left))
        raise Outcome(1, "weaker", f"kcompiler policy diff {revision}:{pack} {pack}", said)


def _moved(home: project.Project, revision: str) -> list[tuple[str, Moved]]:
    """(pack, what became of a rule) of every pack that is there now or was there then."""
    from kcompiler import assets
    from kcompiler.cli.packs import laid_out, loaded, then_and_shipped
    from kcompiler.cli.views import git
    from kcompiler.diff.packs import compare, gone
    from kcompiler.policy import available, load

    own, shipped = home.root / "policies", assets.folder("policies")
    found: list[tuple[str, Moved]] = []
    with tempfile.TemporaryDirectory() as scratch:
        # a revision that is none ends here; one without packs has nothing that could be weaker now
        listed = git("ls-tree", revision, at=str(home.root)).decode("utf-8", "replace").splitlines()
        if not any(line.endswith("\tpolicies") for line in listed):
            return []
        then = laid_out(revision, Path(scratch), home.root)
        before, now = available([then]), available([own]) if own.is_dir() else []
        roots = then_and_shipped(then)
        for name in sorted({*before, *now}):
            if name not in before:
                continue
            old = loaded(load([name], roots), home.root)
            if name in now:
                found += [(name, one) for one in compare(old, loaded(load([name], [own, shipped]), home.root))]
            else:
                found += [(name, one) for one in gone(old)]
    return found
