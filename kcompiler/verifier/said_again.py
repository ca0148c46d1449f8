"""The recorded verdict × the one that is recomputed here → where they differ. Standard library only.

What a verdict says in words of how a check came to its outcome (why, what was seen, how far from the bound) is not made
here: only who has kcompiler can. It is held to the journal, which names the text of the verdict that apply gave.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Tuple

from kcompiler.verifier import verdict, waivers
from kcompiler.verifier.reading import digest_of, digest_of_bytes
from kcompiler.verifier.records import Finding

#: of an outcome, what is not computed here
IN_WORDS = ("counterfactual", "distance", "matches", "observed", "pointer", "reason", "threshold")
#: of an outcome, what is written only where it is something else
_USUAL = {"phase": "report", "effective_on": "", "advisory": "", "waivable": False, "waiver": None}
_VERSION = "1.0"


def kept(text: bytes, subject: str, pin: str) -> Iterator[Finding]:
    """Whether the text of a verdict is the one that the journal names by `pin`; "" where it names none."""
    if not pin:
        said = f"the journal does not name it: {', '.join(IN_WORDS)} of its outcomes cannot be checked here"
        yield "unknown", subject, f"{said}. Apply again, or ask `kcompiler audit`"
    elif digest_of_bytes(text) != pin:
        yield "disagreement", subject, "it is not the verdict that the journal says was given"


def compared(
    recorded: Any,
    subject: str,
    plan: Mapping[str, Any],
    read: Mapping[str, verdict.Evidence],
    identity: str,
    between: Tuple[str, str],
    held: waivers.Waivers,
) -> Tuple[str, List[Finding]]:
    """The recomputed word, and where the recorded verdict says something else. It is of a time `between` the beginning
    of the run and the audit."""
    found: List[Finding] = []

    def differs(place: str, message: str) -> None:
        found.append(("disagreement", f"{subject}#{place}", message))

    dated = bool(held.given) or any(one.get("effective_on") for one in plan["obligations"])
    as_of = recorded["as_of"] if dated else None
    if as_of is not None and as_of < between[0]:
        differs("/as_of", f"judged as of {as_of}, and the run began at {between[0]}")
        as_of = between[0]
    elif as_of is not None and as_of > between[1]:
        differs("/as_of", f"judged as of {as_of}, and it is {between[1]}")
        as_of = between[1]
    now = verdict.verdict(read, plan["obligations"], identity, as_of, held)
    found += [("unknown", subject, f"not recomputed: {one}") for one in now.unknown]
    told: Dict[str, Any] = {
        "schema_version": _VERSION,
        "lock": identity,
        "obligations": digest_of(plan["obligations"], "kc.obligations.v1"),
        "reports": {step: one.digest for step, one in read.items()},
        "unjudged": sorted(read.keys() - {one.step for one in now.outcomes}),
    }
    if not any(one.report is None for one in read.values()):
        told["schemas"] = {name: pin for one in read.values() for name, pin in one.schemas}
    if not now.unknown:
        told.update({"verdict": now.word, "exit_code": now.code, "counts": now.counts, "as_of": as_of})
        told["waivers"] = list(now.waivers) or None
    for key, one in told.items():
        if recorded.get(key) != one:
            differs(f"/{key}", "recomputed, it is another")
    if len(recorded["outcomes"]) != len(now.outcomes):
        differs("/outcomes", "not one for each obligation")
    for number, (old, new) in enumerate(zip(recorded["outcomes"], now.outcomes)):
        raw = plan["obligations"][number]
        if changed := unlike(raw, old, new):
            said = f"rule `{new.rule}` on step `{new.step}`: recorded {old['outcome']}, recomputed {new.word}"
            differs(f"/outcomes/{number}", f"{said} ({', '.join(sorted(changed))})")
    return now.word, found


def unlike(raw: Mapping[str, Any], old: Mapping[str, Any], new: verdict.Outcome) -> List[str]:
    """What a recorded outcome of an obligation says otherwise than the recomputed one."""
    return [key for key, value in _says(raw, new).items() if old.get(key, _USUAL.get(key)) != value]


def _says(raw: Mapping[str, Any], new: verdict.Outcome) -> Dict[str, Any]:
    """What the outcome of an obligation must say, as far as that is known here."""
    told: Dict[str, Any] = {"rule": new.rule, "step": new.step, "mode": new.mode}
    told["obligation"] = digest_of(raw, "kc.obligation.v1")
    if not new.malformed:
        told.update({key: raw.get(key, "") for key in ("pack", "title", "report", "effective_on")})
        told["phase"] = raw.get("phase", "report")
    if new.word == verdict.NOT_RECOMPUTED:
        return told
    told.update({"outcome": new.word, "blocks": new.blocks, "waivable": new.waivable, "waiver": new.waiver})
    told["advisory"] = new.advisory
    # what rests on a judge who is not believed says what to do about the judge
    if not new.malformed and not new.doubted:
        told["remedy"] = "" if new.word == "pass" else raw.get("remedy", "")
    return told
