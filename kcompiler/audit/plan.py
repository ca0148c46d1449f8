"""A lock and the project around it → whether the lock is whole and everything it pins is what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kcompiler import approval, assets, compose, lock, policy, source
from kcompiler.audit.finding import Finding, broken, differs, note
from kcompiler.audit.schema import problem_with
from kcompiler.diff import strengthens
from kcompiler.front import compile_spec
from kcompiler.plan import APPLY, meaning, obligations, said
from kcompiler.policy import believed
from kcompiler.project import Project
from kcompiler.verifier import facts
from runtime import catalog, digest
from runtime.contract import Refusal, places

#: where nobody says when an audit is made
_EVER = "9999-12-31T23:59:59Z"
#: of an obligation, what the lock says only where it is something else
_USUAL = {"phase": "report", "effective_on": "", "waivable": None}


def read(path: Path, subject: str) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The plan in a lock that satisfies its schema."""
    try:
        plan = lock.read(path)
    except lock.UnreadableLock as reason:
        return None, [broken("KA01", subject, str(reason))]
    problem = problem_with("plan", plan)
    return (None, [broken("KA01", subject, problem)]) if problem else (plan, [])


def pins(plan: Mapping[str, Any], root: Path, *, bundled: bool = False) -> Iterator[Finding]:
    """Sources, inputs and schemas as they are now, against the digests in the lock."""
    profile = _profile(plan, bundled)
    if plan["asked"]["spec"] not in [entry["path"] for entry in plan["sources"]]:
        yield differs("KA02", plan["asked"]["spec"], "the lock does not pin the spec that it names")
    for entry in plan["sources"]:
        yield from _source(plan, entry, root, profile)
    if bundled and plan["inputs"]:
        named = ", ".join(entry["name"] for entry in plan["inputs"])
        yield note("inputs", f"not in the bundle, and not hashed again: {named}")
    for entry in () if bundled else plan["inputs"]:
        try:
            path = places.place_of(root, entry["path"])
            found = digest.of_file(path) if entry["kind"] == "file" else _folder(path)
        except (OSError, ValueError, places.NoPlace) as reason:
            yield differs("KA02", entry["path"], f"input `{entry['name']}` cannot be read: {reason}")
            continue
        if found != entry["digest"]:
            yield differs("KA02", entry["path"], f"input `{entry['name']}` is not what was planned with")
    for entry in plan["schemas"]:
        file = assets.folder("schemas") / f"{entry['id']}.schema.json"
        if not file.is_file() or digest.of_file(file) != entry["digest"]:
            yield differs("KA02", f"schemas/{file.name}", "the schema is not the one that was planned with")
    if bundled:
        yield from _held_schemas(plan, root / "schemas")
    for entry in plan["plugins"]:
        yield from _plugin(entry)


def approved(
    plan: Mapping[str, Any], home: Project, now: str, revoked: frozenset[str] = frozenset()
) -> Iterator[Finding]:
    """Whether those whom the packs name have signed the lock; `now` is when that is asked, `revoked` the fingerprints
    of keys that no longer count."""
    if not approval.asked_for(plan):
        return
    folder = home.generated(str(plan["asked"]["name"])) / approval.FOLDER
    found = approval.standing(plan, folder, now or _EVER, revoked)
    for line in found.lacking:
        yield differs("KA35", home.shown(folder), line)
    for line in (*(f"approved by {one.who} on {one.on}" for one in found.by), *found.refused):
        yield note(home.shown(folder), line)


def schemas_of(plan: Mapping[str, Any]) -> list[str]:
    """The schemas that the lock pins and its evidence must satisfy: of the lock, the verdict and every report."""
    kinds = {str(give["report"]) for step in plan["steps"] for give in step["gives"].values() if give.get("report")}
    kinds |= set(facts.asked(plan))
    due = {"plan", "verdict", "report", "report.run", *(f"report.{kind}" for kind in kinds)}
    return sorted(due & {str(entry["id"]) for entry in plan["schemas"]})


def _held_schemas(plan: Mapping[str, Any], folder: Path) -> Iterator[Finding]:
    """The schemas that a bundle holds, for whoever has none, against the lock."""
    pins = {str(entry["id"]): entry["digest"] for entry in plan["schemas"]}
    held = {path.name.removesuffix(".schema.json") for path in folder.glob("*.schema.json")}
    for name in sorted({*schemas_of(plan), *held}):
        file = folder / f"{name}.schema.json"
        if not file.is_file():
            yield broken("KA02", f"schemas/{file.name}", "the schema is gone")
        elif digest.of_file(file) != pins.get(name):
            yield differs("KA02", f"schemas/{file.name}", "the schema in the bundle is not the one of the lock")


def _plugin(entry: Mapping[str, str]) -> Iterator[Finding]:
    """A third party's plug-in, where it is installed, against the code that was planned with."""
    subject = f"plugin {entry['room']}/{entry['name']}"
    try:
        here = catalog.distribution(entry["room"], entry["name"])
    except KeyError:
        yield note(subject, f"{entry['distribution']} is not installed here: its code was not compared")
        return
    except Refusal as reason:
        yield differs("KA02", subject, reason.message)
        return
    if here is None or here["code"] != entry["code"]:
        yield differs("KA02", subject, "its code is not the one that was planned with")


def _folder(path: Path) -> str:
    if not path.is_dir():
        raise ValueError("not a folder")
    return digest.of_folder(path)


def _profile(plan: Mapping[str, Any], bundled: bool) -> str:
    """The one that is laid over the spec's text: in a bundle it has been."""
    return "" if bundled else str(plan["asked"].get("profile", ""))


def _source(plan: Mapping[str, Any], entry: Mapping[str, Any], root: Path, profile: str) -> Iterator[Finding]:
    """The spec by what it means, with its fragments and its profile; any other file by its bytes."""
    spec, path = entry["path"] == plan["asked"]["spec"], root / entry["path"]
    what = "the spec" if spec else "the fragment"
    try:
        data = path.read_bytes()
    except OSError as reason:
        yield differs("KA02", entry["path"], f"{what} cannot be read: {reason.strerror}")
        return
    found = _meaning(entry["path"], data, root, profile) if spec else digest.of_bytes(data)
    if "meaning" in entry and entry["meaning"] != found:
        yield differs("KA02", entry["path"], f"{what} does not say what was planned")
    elif "bytes" in entry and entry["bytes"] != digest.of_bytes(data):
        yield differs("KA02", entry["path"], f"{what} is not the text that was planned")


def composed(name: str, data: bytes, root: Path, profile: str) -> dict[str, Any] | None:
    """What a spec says, with its fragments and a profile; None when it cannot be read."""
    tree, _ = source.load(name, data)
    if tree is None:
        return None
    made = compose.compose(tree, root, (root / name).resolve().parent, profile)
    wrong = any(item.severity == "error" for item in made.diagnostics)
    return None if made.base is None or wrong or not isinstance(made.base.data, dict) else said(made.base)


def _meaning(name: str, data: bytes, root: Path, profile: str) -> str | None:
    found = composed(name, data, root, profile)
    return None if found is None else meaning(found)


def policies(plan: Mapping[str, Any], root: Path, *, bundled: bool = False) -> Iterator[Finding]:
    """The packs by digest, and the obligations against their rules: none changed, none left out, none made up."""
    shipped = [] if bundled else [assets.folder("policies")]
    packs = policy.load([one["pack"] for one in plan["policies"]], [root / "policies", *shipped])
    wrong = [one for one in packs.problems if one.severity == "error"]
    for problem in [*wrong, *strengthens.weaker(packs.packs)]:
        yield differs("KA02", problem.file or "policies", problem.summary)
    now = {pin["pack"]: pin for pin in packs.pins()}
    for one in plan["policies"]:
        if now.get(one["pack"]) != one:
            yield differs("KA02", f"policies/{one['pack']}", "the pack is not the one that was planned with")
    rules = {rule.name: (pack, rule) for pack in packs.packs for rule in pack.rules}
    kinds = _reports(plan)
    seen: set[tuple[str, str]] = set()
    for number, one in enumerate(plan["obligations"]):
        seen.add((one["rule"], one["from"]))
        yield from _obligation(f"plan.lock#/obligations/{number}", one, rules, kinds)
    for number, (one, named) in enumerate(
        zip(plan["obligations"], believed.named(plan["obligations"], _rests(plan)), strict=True)
    ):
        if one != named:
            message = f"rule `{one['rule']}` does not name the judge that its report rests on"
            yield differs("KA03", f"plan.lock#/obligations/{number}", message)
    for name, (_, rule) in sorted(rules.items()):
        if rule.rule.conditional:
            continue
        for step, kind in sorted(kinds.items()):
            if _covers(rule, kind) and (name, f"step:{step}") not in seen:
                yield differs("KA03", "plan.lock#/obligations", f"rule `{name}` asks nothing of step `{step}`")
    yield from _by_the_spec(plan, root, packs, kinds, _profile(plan, bundled))


def _by_the_spec(
    plan: Mapping[str, Any], root: Path, packs: policy.Policy, kinds: Mapping[str, str], profile: str
) -> Iterator[Finding]:
    """What only the spec decides: whether a conditional rule applies, and what a rule compares with."""
    if any(True for entry in plan["sources"] for _ in _source(plan, entry, root, profile)):
        return  # `pins` says already that the spec is not what was planned
    path = plan["asked"]["spec"]
    front = compile_spec(root / path, root, profile=profile)
    if front.spec is None:
        yield note(path, "the spec does not compile here: what its conditional rules ask was not worked out again")
        return
    producers: dict[str, list[str]] = {}
    for step, kind in kinds.items():
        if step != APPLY and kind not in (*facts.KINDS, facts.START):
            producers.setdefault(kind, []).append(step)
    settings = {step["id"]: step["params"] for step in plan["steps"]}
    settings |= policy.starting(
        (step["id"], step["kind"].partition("@")[0], step["backend"], step["params"]) for step in plan["steps"]
    )
    wanted, _ = obligations(front, packs, producers, settings, _rests(plan))
    given = {(one["rule"], one["from"]): one for one in plan["obligations"]}
    conditional = {rule.name for pack in packs.packs for rule in pack.rules if rule.rule.conditional}
    for one in wanted:
        step, there = one["from"].removeprefix("step:"), given.get((one["rule"], one["from"]))
        if there is None and one["rule"] in conditional:
            yield differs("KA03", "plan.lock#/obligations", f"rule `{one['rule']}` asks nothing of step `{step}`")
        elif there is not None and there["expect"] != one["expect"]:
            message = f"rule `{one['rule']}` compares step `{step}` with something else than the spec says"
            yield differs("KA03", "plan.lock#/obligations", message)


def _rests(plan: Mapping[str, Any]) -> dict[str, str]:
    """Step that rests on a judge → the step of the report on the judge."""
    return believed.edges({step["id"]: step["takes"] for step in plan["steps"]})


def _reports(plan: Mapping[str, Any]) -> dict[str, str]:
    """Step → kind of the report it must make."""
    made = {
        step["id"]: give["report"] for step in plan["steps"] for give in step["gives"].values() if give.get("report")
    }
    begun = {facts.start_of(step["id"]): facts.START for step in plan["steps"]}
    return {**made, APPLY: "run", **{kind: kind for kind in facts.KINDS}, **begun}


def _covers(loaded: policy.LoadedRule, kind: str) -> bool:
    """Whether a rule is about a kind of report; about those that no step makes only by their own name."""
    return loaded.rule.on == kind if kind in (*facts.KINDS, facts.START) else loaded.rule.covers(kind)


def _obligation(
    place: str,
    one: Mapping[str, Any],
    rules: Mapping[str, tuple[policy.LoadedPack, policy.LoadedRule]],
    kinds: Mapping[str, str],
) -> Iterator[Finding]:
    if one["rule"] not in rules:
        yield differs("KA03", place, f"no pack of the lock has a rule `{one['rule']}`")
        return
    pack, loaded = rules[one["rule"]]
    rule = loaded.rule
    wanted = {
        "pack": f"{pack.pack.name}@{pack.pack.version}",
        "title": rule.title,
        "mode": rule.mode,
        "reason": rule.reason,
        "kind": loaded.kind,
        "params": loaded.params.model_dump(mode="json", by_alias=True),
        "remedy": rule.remedy,
        "phase": rule.phase,
        "effective_on": rule.effective_on,
        "waivable": loaded.terms.get("waivable"),
        "report": kinds.get(one["from"].removeprefix("step:")),
    }
    changed = sorted(key for key, value in wanted.items() if one.get(key, _USUAL.get(key)) != value)
    if changed or not _covers(loaded, one["report"]):
        names = ", ".join(changed) or "report"
        yield differs("KA03", place, f"the obligation differs from rule `{one['rule']}` in: {names}")
    says = rule.expect is not None or policy.kinds.load(rule.kind).pinned is not None
    if says == (one["expect"] is None):
        yield differs("KA03", place, f"the obligation and rule `{one['rule']}` do not expect the same")
