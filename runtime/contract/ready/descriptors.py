"""Which rule a result of SARIF is of, or which message a notification, and how grave that makes it.

SARIF 2.1.0 sections 3.27.10 (level of a result), 3.52 (references to rules), 3.54 (references to tool components),
3.58.6 (level of a notification). Rules may stand with the tool (`driver`) or with what extends it (`extensions`, as
CodeQL's packs). A reference that leads nowhere is refused: how grave the finding is cannot be known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.contract.ready.form import Unreadable

#: from the gravest
LEVELS = ("error", "warning", "note", "none")
#: what SARIF says of a finding of which nothing says it
_DEFAULT = "warning"
#: whose reference it is → where its rules stand, where an invocation sets them otherwise, and the names of a reference
_RESULT = ("rules", "ruleConfigurationOverrides", "rule", "ruleId", "ruleIndex")
_NOTIFICATION = ("notifications", "notificationConfigurationOverrides", "descriptor", "", "")


def items(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects of a list; none where there is no such list. Raises Unreadable."""
    found = holder.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise Unreadable(f"has {name} that are no list of objects")
    return found


def part(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object; an empty one where there is none. Raises Unreadable."""
    found = holder.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise Unreadable(f"has {name} that is no object")
    return found


def level(result: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """How grave a result is. Raises Unreadable."""
    if "level" not in result and result.get("kind", "fail") != "fail":
        return "none"
    return _level(result, run, _RESULT, _invoked(result, run))


def noted(notification: Mapping[str, Any], run: Mapping[str, Any], invocation: Mapping[str, Any]) -> str:
    """How grave a notification of an invocation is. Raises Unreadable."""
    return _level(notification, run, _NOTIFICATION, ([invocation], True))


def _level(
    said: Mapping[str, Any],
    run: Mapping[str, Any],
    names: Sequence[str],
    invoked: tuple[Sequence[Mapping[str, Any]], bool],
) -> str:
    rules = _rules(said, run, names)  # also where it says its level: a reference that leads nowhere is a cut file
    if "level" in said:
        return _known(said["level"])
    invocations, certain = invoked
    default = [_configured(one, "defaultConfiguration") or _DEFAULT for one in rules] or [_DEFAULT]
    set_ = [
        _configured(override, "configuration")
        for invocation in invocations
        for override in items(invocation, names[1])
        if any(one is rule for one in _rules({names[2]: part(override, "descriptor")}, run, names) for rule in rules)
        or (not rules and part(override, "descriptor").get("id") in _broader(_id(said, names)))
    ]
    found = [one for one in set_ if one]
    return min(found if found and certain else [*found, *default], key=LEVELS.index)


def _invoked(result: Mapping[str, Any], run: Mapping[str, Any]) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """The invocations that may have set how grave a result is, and whether it says itself which one."""
    invocations, index = items(run, "invocations"), _index(part(result, "provenance"), "invocationIndex")
    return ([_at(invocations, index, "invocations")], True) if index >= 0 else (invocations, False)


def _configured(holder: Mapping[str, Any], name: str) -> str:
    """The level of a configuration, or ""."""
    found = part(holder, name)
    return _known(found["level"]) if "level" in found else ""


def _known(said: Any) -> str:
    if said not in LEVELS:
        raise Unreadable(f"has a finding of level {said!r}, which SARIF does not know")
    return str(said)


def _id(said: Mapping[str, Any], names: Sequence[str]) -> str:
    """The id of the rule, by the reference or beside it. Raises Unreadable: they are two."""
    both = [one for one in (part(said, names[2]).get("id"), said.get(names[3])) if one is not None]
    if not all(isinstance(one, str) for one in both) or len(set(both)) > 1:
        raise Unreadable(f"has a result of two rules, or of none: {', '.join(sorted(map(repr, both)))}")
    return both[0] if both else ""


def _rules(said: Mapping[str, Any], run: Mapping[str, Any], names: Sequence[str]) -> list[Mapping[str, Any]]:
    """The rules that this may be of: one, or none where the tool describes none, or the few of one id."""
    reference = part(said, names[2])
    id_, guid = _id(said, names), reference.get("guid")
    indexes = {one for one in (_index(reference, "index"), _index(said, names[4])) if one >= 0}
    if len(indexes) > 1:
        raise Unreadable(f"has a result of two rules: {sorted(indexes)}")
    whose = _component(part(reference, "toolComponent"), run)
    if indexes:
        (index,) = indexes
        rule = _at(items(whose or _driver(run), names[0]), index, names[0])
        if id_ and "id" in rule and rule["id"] not in _broader(id_):
            raise Unreadable(f"has a result of rule {id_!r}, and its index leads to {rule['id']!r}")
        return [rule]
    # without a component it is the tool's own; some leave out that it is of an extension
    holders = [whose] if whose is not None else [_driver(run), *items(part(run, "tool"), "extensions")]
    known = [rule for holder in holders for rule in items(holder, names[0])]
    if guid is not None:
        found = [one for one in known if str(one.get("guid")).lower() == str(guid).lower()]
    else:
        ids = [one for one in _broader(id_) if any(rule.get("id") == one for rule in known)]
        found = [rule for rule in known if rule.get("id") == ids[0]] if ids else []
    if not found and (guid is not None or (whose is not None and id_)):
        raise Unreadable(f"has a result of rule {id_ or guid!r}, which is not where the result says")
    return found


def _broader(id_: str) -> list[str]:
    """An id and those it stands below: `a/b/c`, `a/b`, `a`."""
    parts = id_.split("/")
    return ["/".join(parts[:most]) for most in range(len(parts), 0, -1)] if id_ else []


def _component(reference: Mapping[str, Any], run: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of the tool that a reference names; None where it names none."""
    extensions, index = items(part(run, "tool"), "extensions"), _index(reference, "index")
    if index >= 0:
        return _at(extensions, index, "extensions")
    for key in ("guid", "name"):
        if (wanted := reference.get(key)) is not None:
            found = next((one for one in (_driver(run), *extensions) if one.get(key) == wanted), None)
            if found is None:
                raise Unreadable(f"has a result of {wanted!r}, and the tool has no such part")
            return found
    return None


def _driver(run: Mapping[str, Any]) -> Mapping[str, Any]:
    return part(part(run, "tool"), "driver")


def _index(holder: Mapping[str, Any], name: str) -> int:
    """-1 where it says none, as in SARIF. Raises Unreadable."""
    found = holder.get(name, -1) if name else -1
    if not isinstance(found, int) or isinstance(found, bool) or found < -1:
        raise Unreadable(f"says {name}: {found!r}, which is no index")
    return found


def _at(found: Sequence[Mapping[str, Any]], index: int, name: str) -> Mapping[str, Any]:
    if index >= len(found):
        raise Unreadable(f"has a result that leads to {name}[{index}], and there are {len(found)}")
    return found[index]
