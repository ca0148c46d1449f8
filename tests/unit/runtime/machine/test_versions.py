"""State folders of other versions: of an earlier one everything is read, of a later one nothing is guessed.

`tests/data/state/first` was written by the version before leases were given back: one step committed, one interrupted,
two not begun; the processor's words were taken out, and the chain was made anew.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from runtime.contract import BrokenEvidence
from runtime.contract.chain import head_text, unseal
from runtime.machine.apply import apply, look
from runtime.machine.inventory import items
from runtime.machine.journal import HEAD, JOURNAL, load
from runtime.machine.lease import NOTE, holder
from runtime.machine.verify import verify
from tests.unit.runtime.machinery import approve, chain

FIRST = Path(__file__).resolve().parents[3] / "data" / "state" / "first"


@pytest.fixture
def earlier(root: Path) -> Path:
    shutil.copytree(FIRST, root / ".kcompiler")
    os.utime(root / ".kcompiler" / NOTE, (1, 1))
    return root


def test_what_an_earlier_version_wrote_is_read_whole_and_gone_on_with(earlier: Path) -> None:
    lines, past = load(earlier / ".kcompiler")
    assert [record["step"] for record in past.records] == ["make"]
    assert [known.newest for known in past.attempts.values()] == ["step_interrupted"]
    assert verify(earlier).faults == []
    assert [(one.room, one.kind) for one in items(earlier)] == [("artifact", "dataset"), ("artifact", "report")]
    assert holder(earlier / ".kcompiler").state == "silent"
    history, store = look(earlier)
    made = history.last("toy", "make")
    assert made is not None
    assert all(store.present(give["digest"]) is True for give in made["gives"].values())
    run = apply(chain(earlier, rounds=12), root=earlier, judge=approve)
    assert run.outcome == "done"
    after = load(earlier / ".kcompiler")[0].lines
    assert [line.text for line in after[: len(lines.lines)]] == [line.text for line in lines.lines]
    assert run.digests["make#dataset"] == made["gives"]["dataset"]["digest"]


def test_what_a_later_version_wrote_is_refused_and_left_alone(earlier: Path) -> None:
    """A line that this version cannot read may undo what the lines before it say."""
    state = earlier / ".kcompiler"
    newest = load(state)[0].lines[-1]
    content = {**json.loads(newest.text), "seq": newest.seq + 1, "prev": newest.hash, "type": "step_undone", "data": {}}
    del content["hash"]
    text = sealed(content)
    with (state / JOURNAL).open("ab") as journal:
        journal.write(text)
    (state / HEAD).write_bytes(head_text(newest.seq + 1, unseal(text, subject="x").hash))
    before = (state / JOURNAL).read_bytes()
    for look_at in (lambda: load(state), lambda: apply(chain(earlier), root=earlier, judge=approve)):
        with pytest.raises(BrokenEvidence, match="a later version of kcompiler wrote it") as refused:
            look_at()
        assert refused.value.subject == f"{JOURNAL}:{newest.seq + 1}"
    assert (state / JOURNAL).read_bytes() == before


def sealed(content: dict[str, object]) -> bytes:
    """As `seal`, which refuses a type that it does not know."""
    import hashlib

    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    digest = hashlib.sha256(b"kc.journal.v1\0" + text).hexdigest()
    return text[:-1] + f',"hash":"sha256:{digest}"}}\n'.encode()
