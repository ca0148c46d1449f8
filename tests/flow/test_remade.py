"""A step that was made again of the same and gave other bytes: what `audit` advises is what helps."""

from __future__ import annotations

import subprocess

from tests.flow.conftest import core_alone
from tests.flow.world import MAIN, NAME, Home

SPEC = f"specs/{NAME}.yaml"
#: the rows are written with a line more, which no part of the step's key says
OTHER = (
    """
from runtime.data import prepare
write = prepare._write
def longer(folder, *rest):
    found = write(folder, *rest)
    for path in folder.glob("*.jsonl"):
        path.write_text(path.read_text() + "\\n")
    return found
prepare._write = longer
"""
    + MAIN
)
ONLY = ("--only", "data")


def test_other_bytes_of_the_same_are_left_behind_by_the_advice_and_by_nothing_less(fresh: Home) -> None:
    fresh.change(core_alone)
    fresh.apply(*ONLY).ended(0, "")
    fresh.apply(*ONLY, "--force", "data", code=OTHER).ended(0, "")
    advice = f"mv .kcompiler .kcompiler.before && kcompiler apply {SPEC}"
    said = "KA16  disagreement  generated/tiny/evidence/journal.jsonl  step `data` (bitwise) was not reproduced"
    # a third time takes no line back
    fresh.apply(*ONLY, "--force", "data").ended(0, "")
    found = fresh.audit().ended(1, "disagreement")
    assert said in found.out
    assert found.last["next"] == advice
    first, then = advice.split(" && ")
    subprocess.run(first, shell=True, check=True, cwd=fresh.root)
    # of one step: the others take longer, and are no other way
    fresh.run(*then.split()[1:], *ONLY).ended(0, "")
    found = fresh.audit().ended(1, "unfinished")
    assert "KA16" not in found.out
    assert found.last["next"] == f"kcompiler apply {SPEC}"
