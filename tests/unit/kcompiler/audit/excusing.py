"""A bundle whose verdict rests on a waiver that two signed, and on a lock that one approved; and forgers of such."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kcompiler import approval, dsse, lock, waiver
from kcompiler.audit import packing
from kcompiler.waiver import approved as signing
from kcompiler.waiver.load import parsed
from runtime.contract import chain
from tests.unit.kcompiler.audit.conftest import NAME, carry_out, made_real
from tests.unit.kcompiler.audit.forger import HEAD, JOURNAL, Files, forge, manifest, reseal, text

BEGAN, JUDGED, NOW = "2026-06-01T00:00:00Z", "2026-06-01T01:00:00Z", "2026-06-15T12:00:00Z"
FOLDER = f"generated/{NAME}"
LOCK, EVIDENCE, APPROVALS = f"{FOLDER}/plan.lock", f"{FOLDER}/evidence", f"{FOLDER}/approvals"
COPY, OWN = f"{EVIDENCE}/waivers/WV-0001", "waivers/WV-0001"
OURS, ANA, BO, MAL, OWNER = (Ed25519PrivateKey.from_private_bytes(bytes([one]) * 32) for one in (7, 1, 2, 3, 4))
PEOPLE = {"ana": ANA, "bo": BO, "ml-platform": OWNER}
PACK = f"""\
name: team/law
version: 1
title: Who approves what is trained
min_n: 1
approvers:
{"".join(f"  - {{name: {name}, key: {dsse.public_line(key)}}}" + chr(10) for name, key in PEOPLE.items())}\
approval: {{lock: {{min: 1}}, waiver: {{min: 2, max_days: 60}}}}
"""
RULE = """\
id: many
title: There are many rows
on: data.splits
kind: bound
params: {metric: splits.train.rows, op: ">=", threshold: "1000000", unit: row}
remedy: make more rows
waivable: true
"""
WAIVER = f"""\
id: WV-0001
title: Fewer rows than asked until the crawl is back
rules: [team/law/many]
subject: {{spec: {NAME}, steps: [data]}}
magnitude: "1000000"
reason: third_party_constraint
description: The crawl that gives us the other half of the rows is down until the provider mends it.
mitigation: The student is shown to nobody but us until then.
author: dee
owner: eli
created: 2026-05-20
expires: 2026-06-29
max_uses: 1
"""


def ran(root: Path) -> Files:
    """The bundle of a run that costs something and has neither waiver nor approval; it began at BEGAN."""
    folder = root / "policies" / "team" / "law"
    (folder / "many").mkdir(parents=True)
    (folder / "many" / "rule.yaml").write_text(RULE)
    (folder / "pack.yaml").write_text(PACK)
    files = made_real(packing.files(carry_out(root, policies="[team/law]"), NAME))
    lines = [json.loads(line) for line in files[JOURNAL].splitlines()]
    for line in lines:
        line["ts"] = BEGAN
        if line["type"] == "step_committed":
            line["data"]["backend"] = "torch"
    return chained(files, lines)


def chained(files: Files, lines: list[dict[str, Any]]) -> Files:
    """The journal of these lines, its anchor and the lines that are kept, chained again."""
    numbered = [{**line, "seq": number} for number, line in enumerate(lines, start=1)]
    journal = reseal(b"\n".join(json.dumps(line).encode() for line in numbered))
    every = journal.splitlines(keepends=True)
    kept = b"".join(line for line in every if b'"type":"step_committed"' in line)
    head = chain.head_text(len(every), json.loads(every[-1])["hash"])
    return {**files, JOURNAL: journal, f"{EVIDENCE}/journal.jsonl": kept, HEAD: head}


def real(plan: dict[str, Any]) -> None:
    """Steps that somebody has to approve."""
    for step in plan["steps"]:
        step["backend"] = "torch"


def read(words: str, held: dict[str, bytes] | None = None) -> Any:
    loaded, problems = parsed(words.encode(), f"{OWN}.yaml", held)
    assert loaded is not None, problems
    return loaded


def envelope(words: str, who: str, key: Ed25519PrivateKey, on: str = "2026-05-22T00:00:00Z") -> bytes:
    """The approval of a waiver with these words."""
    return dsse.dump(dsse.sign(signing.statement(read(words).waiver, words.encode(), who, on), key)).encode()


def two(words: str) -> dict[str, bytes]:
    """What ana and bo sign of them."""
    return {f"{who}.dsse.json": envelope(words, who, PEOPLE[who]) for who in ("ana", "bo")}


def told(
    files: Files,
    words: str = WAIVER,
    *,
    believed: str = "",
    others: tuple[str, ...] = (),
    asks: bool = True,
    signed: dict[str, bytes] | None = None,
    ends: dict[str, str] | None = None,
) -> Files:
    """The bundle of the same run with this waiver at hand, `signed` by two or as is said. Whoever lies has the judge
    believe that it says something else, or that two signed it, and everything else agree; `others` are uses of it
    before this run, the lock `asks` for approvals or not, and a line of the run `ends` it."""
    loaded, seen = read(words), read(believed or words, two(believed or words))
    pin = {"id": "WV-0001", "digest": loaded.digest, "meaning": loaded.meaning}

    def excusing(made: dict[str, Any]) -> None:
        real(made)
        for one in () if asks else made["policies"]:
            del one["approval"]
        made["waivers"] = [{**pin, "rules": ["team/law/many"], "until": loaded.waiver.expires}]

    planned = json.loads(files[LOCK])
    real(planned)
    given = replace(waiver.given(seen, planned["obligations"], {}), digest=loaded.digest)
    used = {"WV-0001": frozenset(others)}
    held = waiver.Waivers(given=[given], spec=NAME, plan=lock.unwaived_digest(planned), used=used)
    made = forge(files, NAME, plan=excusing, waivers=held, as_of=JUDGED)
    lines = [json.loads(line) for line in made[JOURNAL].splitlines()]
    end = next(number for number, line in enumerate(lines) if line["type"] == "run_closed")
    for use in json.loads(made[f"{EVIDENCE}/verdict.json"])["waivers"][0]["used"]:
        data = {"waiver": "WV-0001", "digest": loaded.digest, "use": use}
        lines.insert(end, {**lines[end], "type": "waiver_used", "data": data})
    if ends is not None:
        lines.insert(end, {**lines[end], "type": "waiver_revoked", "data": {"waiver": "WV-0001", **ends}})
    made = chained(made, lines)
    held_by = two(words) if signed is None else signed
    made |= {f"{COPY}/{name}": data for name, data in held_by.items()}
    meaning = text({"source": loaded.digest, "waiver": loaded.waiver.meaning})
    made |= {f"{COPY}.yaml": loaded.data, f"{OWN}.yaml": loaded.data, f"{COPY}.json": meaning}
    return manifest(made)


def approved(files: Files, key: Ed25519PrivateKey = ANA, who: str = "ana", **changes: Any) -> Files:
    """With an approval of the lock that is there, or of one with `changes`."""
    made = {**json.loads(files[LOCK]), **changes}
    said = approval.statement(made, lock.dump(made).encode(), who, "2026-05-30T00:00:00Z")
    return manifest({**files, f"{APPROVALS}/{who}.dsse.json": dsse.dump(dsse.sign(said, key)).encode()})
