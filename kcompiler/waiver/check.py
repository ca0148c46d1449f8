"""Waivers × the rules that they name × a time × what was judged → every reason why one excuses nothing, or too much."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.policy import kinds
from kcompiler.policy.load import LoadedPack
from kcompiler.policy.obligation import Waivable
from kcompiler.verifier import signed
from kcompiler.verifier.waivers import SIGN
from kcompiler.waiver import draft
from kcompiler.waiver.approved import read
from kcompiler.waiver.file import Waiver
from kcompiler.waiver.load import Loaded
from kcompiler.waiver.status import SOON, State, counted, days_left, days_to, ended, key_ends, state

#: a magnitude of more than so many times the miss is wider than needed
_WIDE = 2
APPROVAL = "KC6109"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A rule as far as a waiver is concerned. `kind` without its version; no `terms`: nobody can waive it."""

    name: str
    mode: str
    kind: str
    terms: Waivable | None


def milder(found: Diagnostic) -> Diagnostic:
    """The same as a warning: what is wrong with a waiver excuses nothing, and stops nothing either."""
    return replace(found, severity="warning") if found.severity == "error" else found


def of_packs(packs: Sequence[LoadedPack]) -> dict[str, Asked]:
    """Full name → rule, of every rule of the packs."""
    found = {}
    for pack in packs:
        for rule in pack.rules:
            held = rule.terms.get("waivable")
            found[rule.name] = Asked(
                name=rule.name,
                mode=rule.rule.mode,
                kind=rule.rule.kind,
                terms=None if held is None else Waivable.model_validate(held),
            )
    return found


def against(one: Loaded, obligations: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
    """What is wrong with a waiver for a plan that asks these. A rule that cannot be waived is an error; whatever else
    keeps a waiver from excusing anything is a warning."""
    asked = {
        each["rule"]: Asked(
            name=each["rule"],
            mode=each["mode"],
            kind=str(each["kind"]).partition("@")[0],
            terms=Waivable.model_validate(each["waivable"]) if "waivable" in each else None,
        )
        for each in obligations
    }
    found = [each for index, name in _rules(one) if name in asked for each in _against(one, index, asked[name])]
    return [each if each.code == "KC6104" else milder(each) for each in _once(found)]


def findings(
    one: Loaded,
    rules: Mapping[str, Asked],
    as_of: str,
    used: int,
    verdicts: Mapping[str, Mapping[str, Any]],
    unreadable: frozenset[str] = frozenset(),
    ends: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Diagnostic]:
    """Everything there is to say of a waiver at a time. `verdicts` maps a name to the recorded verdict on it; of a pack
    that is `unreadable` nothing is said. `ends` are the revocations that the journal knows, by id."""
    waiver = one.waiver
    found: list[Diagnostic] = []
    after = ended(waiver, ends or {})
    if after.revoked is not None and after != waiver:
        return [_undone(one, after)]
    if waiver.revoked is not None and waiver.revoked.on <= as_of[:10]:
        return []  # a record of what was once excused
    for index, name in _rules(one):
        if name in rules:
            found += _against(one, index, rules[name])
        elif name.rpartition("/")[0] not in unreadable:
            found.append(
                one.tree.diagnostic(
                    "KC6103",
                    f"/rules/{index}",
                    f"no rule is called `{name}`",
                    label="it excuses nothing",
                    help=did_you_mean(name, rules),
                )
            )
    terms = [rules[name].terms for name in waiver.rules if name in rules]
    known = [each for each in terms if each is not None]
    found += _signatures(one, known, as_of)
    found += _out_of_force(one, known, as_of, used)
    found += _not_needed(one, verdicts)
    return _once(found)


def _rules(one: Loaded) -> Iterator[tuple[int, str]]:
    yield from enumerate(one.waiver.rules)


def _once(found: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Two rules of one pack say the same of an approval."""
    return list(dict.fromkeys(found))


def _against(one: Loaded, index: int, rule: Asked) -> Iterator[Diagnostic]:
    """A waiver against one rule of its list, whatever the day."""
    place, waiver = f"/rules/{index}", one.waiver
    if rule.terms is None:
        why = "has no key `waivable`" if rule.mode == "block" else f"has mode {rule.mode}, and blocks nothing"
        yield one.tree.diagnostic(
            "KC6104",
            place,
            f"rule `{rule.name}` cannot be waived: it {why}",
            label="it stays as it is",
            help="mend what the rule finds; whoever owns the pack alone says what may be waived",
        )
        return
    measures = kinds.load(rule.kind).measures if rule.kind in kinds.names() else None
    if measures and waiver.magnitude is None and rule.terms.outcomes == ["fail"]:
        yield one.tree.diagnostic(
            "KC6108",
            place,
            f"rule `{rule.name}` measures how far a bound is missed, and the waiver does not say how far it may be",
            help='write `magnitude: "0.01"`, in the unit of the rule',
        )
    if measures is False and waiver.magnitude is not None:
        yield one.tree.diagnostic(
            "KC6108",
            "/magnitude",
            f"rule `{rule.name}` measures no distance that could be compared with this",
            help="leave it out, and name the report under `subject`",
        )
    if measures is False and not waiver.subject.report and rule.terms.outcomes == ["fail"]:
        yield one.tree.diagnostic(
            "KC6108",
            "/subject",
            f"rule `{rule.name}` does not measure by how much it fails: only one report as it stands can be excused",
            on="key",
            help="write `report: sha256:…`, which verdict.json has under `reports`",
        )
    if waiver.days > rule.terms.max_days:
        yield one.tree.diagnostic(
            "KC6106",
            "/expires",
            f"it lasts {waiver.days} days, and the pack of `{rule.name}` allows {rule.terms.max_days}",
            label="it is never in force",
            help="end it earlier; who still needs it then writes another",
        )


def _undone(one: Loaded, after: Waiver) -> Diagnostic:
    """A revocation that the journal knows and the file no longer tells."""
    said = draft.revocation(after)
    return one.tree.diagnostic(
        "KC6106",
        "/revoked" if one.waiver.revoked is not None else "/id",
        f"it was revoked on {said['on']} by {said['by']}, and the file does not say so: it stays revoked",
        on="key",
        label="it excuses nothing any more",
        help=f"write it back: revoked: {json.dumps(said, ensure_ascii=False)}",
    )


def _signatures(one: Loaded, known: Sequence[Waivable], as_of: str) -> Iterator[Diagnostic]:
    """Signatures that count for nobody, on the terms of each rule."""
    keys = {key for terms in known for key in terms.approvers.values()}
    good, refused = read(one.waiver, one.envelopes, keys)
    said = {(each.file, each.why) for each in refused}
    who = ", ".join(sorted({name for terms in known for name in terms.approvers}))
    for terms in known:
        said |= {(each.file, each.why) for each in counted(one.waiver, good, terms)[1]}
        alive = signed.living(terms.approvers, terms.until, as_of)
        over = {key: name for name, key in terms.approvers.items() if name not in alive}
        said |= {
            (each.file, f"the key of `{over[each.key]}` ended on {terms.until[over[each.key]]}")
            for each in good
            if each.key in over
        }
    for file, why in sorted(said) if known else ():
        yield Diagnostic(
            code="KC6105",
            file=f"{one.file.removesuffix('.yaml')}/{file}",
            summary=f"this approval does not count: {why}",
            help=f"remove the file; of these each signs the waiver as it is: {who}",
        )


def states(one: Loaded, known: Sequence[Waivable], as_of: str, used: int) -> list[State]:
    """Where a waiver stands at a time, on each of these terms."""
    keys = {key for terms in known for key in terms.approvers.values()}
    good, _ = read(one.waiver, one.envelopes, keys)
    return [state(one.waiver, good, terms, as_of, used) for terms in known]


def _out_of_force(one: Loaded, known: Sequence[Waivable], as_of: str, used: int) -> Iterator[Diagnostic]:
    shown = {each.status: each.why for each in states(one, known, as_of, used)}
    if "expired" in shown or (not known and one.waiver.expires <= as_of[:10]):
        yield one.tree.diagnostic(
            "KC6106",
            "/expires",
            f"it ended on {one.waiver.expires}",
            label="it excuses nothing any more",
            help="remove the file; who still needs it writes another, which is approved again",
        )
    elif "exhausted" in shown:
        yield one.tree.diagnostic(
            "KC6106",
            "/max_uses",
            shown["exhausted"],
            label="it excuses no further report",
            help="remove the file; who still needs it writes another, which is approved again",
        )
    elif "pending" in shown and shown["pending"].endswith(SIGN):
        who = ", ".join(sorted({name for terms in known for name in terms.approvers}))
        yield one.tree.diagnostic(
            APPROVAL,
            "/id",
            f"it has {shown['pending'].removesuffix(SIGN)}",
            label="it excuses nothing yet",
            help=f"each who approves runs `kcompiler waiver approve {one.file} --key FILE`; of {who}",
        )
    else:
        if (left := days_left(one.waiver, as_of)) <= SOON:
            yield one.tree.diagnostic(
                "KC6110",
                "/expires",
                f"it ends in {left} day{'s' if left != 1 else ''}, on {one.waiver.expires}",
                severity="warning",
                help="mend what it excuses until then, or write another and have it approved",
            )
        yield from _keys_end(one, known, as_of)


def _keys_end(one: Loaded, known: Sequence[Waivable], as_of: str) -> Iterator[Diagnostic]:
    """A key that takes the waiver with it when it ends."""
    keys = {key for terms in known for key in terms.approvers.values()}
    good, _ = read(one.waiver, one.envelopes, keys)
    for who, day in sorted({each for terms in known if (each := key_ends(one.waiver, good, terms, as_of))}):
        if (left := days_to(day, as_of)) <= SOON:
            yield one.tree.diagnostic(
                "KC6110",
                "/id",
                f"it ends in {left} day{'s' if left != 1 else ''}, on {day}, with the key of `{who}` who approved it",
                severity="warning",
                help="have it approved by somebody whose key lasts longer, or by a new key that the pack names",
            )


def _not_needed(one: Loaded, verdicts: Mapping[str, Mapping[str, Any]]) -> Iterator[Diagnostic]:
    """By the verdicts that were given with this very file at hand."""
    waiver = one.waiver
    for name, verdict in sorted(verdicts.items()):
        if not any(each["id"] == waiver.id and each["digest"] == one.digest for each in verdict.get("waivers", ())):
            continue
        about = [each for each in verdict["outcomes"] if each["rule"] in waiver.rules]
        excused = [each for each in about if each.get("waiver", {}).get("id") == waiver.id]
        for index, rule in _rules(one):
            mine = [each for each in about if each["rule"] == rule]
            if mine and all(each["outcome"] == "pass" for each in mine):
                yield one.tree.diagnostic(
                    "KC6107",
                    f"/rules/{index}",
                    f"`{rule}` passes in the verdict on {name}: nothing of it is to be excused",
                    severity="warning",
                    help="leave the rule out, or remove the waiver",
                )
        missed = [_miss(each["distance"]) for each in excused if each["distance"]]
        if waiver.magnitude is not None and missed and Fraction(waiver.magnitude) > _WIDE * max(missed):
            rule, miss = max(((each["rule"], each["distance"]) for each in excused), key=lambda one: _miss(one[1]))
            yield one.tree.diagnostic(
                "KC6107",
                "/magnitude",
                f"wider than needed: `{rule}` misses by {miss.lstrip('~-')} in the verdict on {name}",
                severity="warning",
                help="write what is missed, and little more",
            )


def _miss(distance: str) -> Fraction:
    return max(Fraction(0), -Fraction(distance.lstrip("~") or "0"))
