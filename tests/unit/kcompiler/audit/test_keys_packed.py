"""A key that anybody wrote anywhere into what a bundle would hold: nothing is packed, and the key is repeated nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kcompiler.audit import packing
from tests.unit.kcompiler.audit.conftest import NAME, Bundle

#: no one's keys: the canaries
KEY = "sk-proj-" + "c4n4ry" * 5
PEM = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\n" + "c4n4ry" * 11 + "\n"
APPROVALS, EVIDENCE = f"generated/{NAME}/approvals", f"generated/{NAME}/evidence"


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(one):04x}" for one in text)


def envelope(payload: str, note: str = "") -> str:
    said = json.dumps({"payload": base64.b64encode(payload.encode()).decode(), "signatures": []}, indent=1)
    return said[:-2] + f',\n "note": "{note}"\n}}\n' if note else said + "\n"


#: the file, its text with a key, and the line; 0 for one in the name
PLANTED: dict[str, tuple[str, Callable[[str], str], int]] = {
    "a note of an envelope": (f"{APPROVALS}/z.dsse.json", lambda _: envelope("{}", KEY), 4),
    "a note, in escapes": (f"{APPROVALS}/z.dsse.json", lambda _: envelope("{}", escaped(KEY)), 4),
    "a private key in a note": (f"{APPROVALS}/z.dsse.json", lambda _: envelope("{}", json.dumps(PEM)[1:-1]), 4),
    "what an envelope is of": (f"{APPROVALS}/z.dsse.json", lambda _: envelope(json.dumps({"on": PEM})), 2),
    "the same, in escapes": (f"{APPROVALS}/z.dsse.json", lambda _: envelope(f'{{"on": "{escaped(PEM)}"}}'), 2),
    "the name of an envelope": (f"{APPROVALS}/{KEY}.dsse.json", lambda _: envelope("{}"), 0),
    "the name of a folder": (f"{EVIDENCE}/waivers/{KEY}/ana.dsse.json", lambda _: envelope("{}"), 0),
    "a report": (f"{EVIDENCE}/reports/data.json", lambda text: text.replace('"kind"', f'"{escaped(PEM)}": 1, "kind"'), 23),
    "the name of a report": (f"{EVIDENCE}/reports/{KEY}.json", lambda _: "{}", 0),
}  # fmt: skip


@pytest.mark.parametrize("where", PLANTED)
def test_a_key_is_told_at_its_line_and_nothing_is_packed(bundle: Bundle, where: str) -> None:
    name, change, line = PLANTED[where]
    file: Path = bundle.root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(change(file.read_text() if file.exists() else ""))
    with pytest.raises(packing.Unfit) as refused:
        packing.files(bundle.root, NAME)
    said = str(refused.value)
    place = name if line else name.replace(KEY, "*" * len(KEY))
    assert said.startswith(f"KC4209 {place}{f':{line}' if line else ''}: "), said
    assert "not copied into evidence" in said
    assert "c4n4ry" not in said
