"""Spec → the content of plan.lock: the graph in order, every default, pin, key and obligation written out.

A pure function of the spec's meaning, the pinned inputs, the policies, the schemas and the code: the same bytes on
every machine. What will run here and now is the delta's business, not the plan's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kcompiler import __version__, assets, checks, policy
from kcompiler.checks import order
from kcompiler.checks.memory import trainer
from kcompiler.checks.statistics import margins, rows_of
from kcompiler.compose import variants
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import stored
from kcompiler.facts.teacher import has_weights
from kcompiler.facts.time import fewest, of_step
from kcompiler.front import Front
from kcompiler.graph import Graph, Node, Problem, build
from kcompiler.lock import FORMAT
from kcompiler.lower import lower
from kcompiler.project import Project
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource
from runtime import catalog, digest
from runtime.contract import keys
from runtime.contract.formats import TABLES
from runtime.contract.splits import VALIDATION

_CODES = {
    "cycle": "KC3001",
    "dangling": "KC3002",
    "missing": "KC3003",
    "kind": "KC3004",
    "unknown_port": "KC3005",
    "duplicate": "KC3006",
}

#: schemas of evidence besides those of the reports
_EVIDENCE = frozenset({"contract", "dataset-row", "plan", "policy", "verdict"})

#: of a step: a report is a file of its name
LONGEST_ID = 200

#: the risk tier of toys and smoke runs
_TOY = 3
#: data of evaluation reports that come from asking the teacher; two of them are known where its accuracy is pinned
_OF_TEACHER = {"teacher", "of_teacher", "teacher_gain"}
#: paired data that compare the saved package with the weights that it was made of, or with the original
_OF_PACKAGE = {"package_gain", "original_gain"}
#: the kind of check that looks at points in a row
_WINDOW = "dominance@"
_PINNED = ("of_teacher", "accuracy.teacher")

#: who makes the report on the run itself: no step, but apply
APPLY = "apply"


class _Parts(NamedTuple):
    """What a plan is written from."""

    graph: Graph
    packs: policy.Policy
    obligations: list[dict[str, Any]]


def make(front: Front, project: Project, backend: str | None = None) -> tuple[dict[str, Any] | None, list[Diagnostic]]:
    """The plan of a spec without errors, or why there is none."""
    parts, found = _parts(front, project, backend)
    return _content(parts, front, project) if parts is not None else None, found


def problems(front: Front, project: Project) -> list[Diagnostic]:
    """What is wrong with the graph and the policies of a spec without errors. No key is computed."""
    return _parts(front, project, None)[1]


def _parts(front: Front, project: Project, backend: str | None) -> tuple[_Parts | None, list[Diagnostic]]:
    assert front.spec is not None
    assert front.tree is not None
    cells = []
    for form in front.forms:
        nodes, inputs = lower(form.spec, project.root, front.path.parent, backend)
        cells.append(variants.Cell(form.labels, nodes, inputs))
    nodes, inputs = variants.unite(cells)
    longest = max((node.id for node in nodes), key=len)
    if len(longest) > LONGEST_ID:
        return None, [_long_id(front.tree, longest)]
    graph, wrong = build(nodes, inputs)
    if graph is None:
        return None, [_diagnostic(problem, front) for problem in wrong]
    if lacking := list(order.missing(graph.nodes)):
        # no spec can bring this about: lowering makes the edges, whatever the sections say
        raise RuntimeError(f"step `{lacking[0][0]}` does not come after `{lacking[0][1]}`")
    packs = policy.load(front.spec.policies, [project.root / "policies", assets.folder("policies")])
    settings = {node.id: node.params for node in graph.nodes}
    asked, found = obligations(front, packs, graph.producers(), settings)
    if any(item.severity == "error" for item in found):
        return None, found
    return _Parts(graph, packs, asked), found


def obligations(
    front: Front,
    packs: policy.Policy,
    producers: Mapping[str, Sequence[str]],
    settings: Mapping[str, Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[Diagnostic]]:
    """What must be proven, cell by cell: a rule is about the steps of its own cell, and what it expects is its own.

    `producers` maps a report kind to the steps of the plan that make such a report, `settings` each step to its
    parameters.
    """
    assert front.tree is not None
    made: dict[tuple[str, str, str], dict[str, Any]] = {}
    found: dict[Diagnostic, None] = {}
    for form in front.forms:
        own = {kind: [step for step in ids if variants.belongs(step, form.labels)] for kind, ids in producers.items()}
        fed = {kind: ids for kind, ids in own.items() if ids}
        values = form.spec.model_dump(mode="json", by_alias=True)
        asked, wrong = policy.obligations(packs, values, {**fed, "run": [APPLY]}, settings)
        found |= dict.fromkeys(wrong)
        for one in asked:
            if made.setdefault((one["rule"], one["from"], one["report"]), one) != one:
                found[_two_answers(front.tree, one)] = None
    asked = [made[key] for key in sorted(made, key=lambda key: (key[0], key[1]))]
    if not any(item.severity == "error" for item in found):
        found |= dict.fromkeys(
            [
                *_idle(front, packs, asked),
                *_ungated(front, asked, producers),
                *_uncompared(front),
                *_unoriginal(front, asked),
                *_unknowable(front, asked),
                *_undecidable(front, asked, settings),
            ]
        )
    return asked, list(found)


def _idle(front: Front, packs: policy.Policy, asked: Sequence[Mapping[str, Any]]) -> Iterator[Diagnostic]:
    """Packs that are named and of which no rule applies: whoever named them thinks that they gate something."""
    assert front.spec is not None
    assert front.tree is not None
    busy = {one["pack"].rpartition("@")[0] for one in asked}
    for pack in packs.packs:
        if pack.pack.name not in busy:
            yield front.tree.diagnostic(
                "KC6016",
                f"/policies/{front.spec.policies.index(pack.pack.name)}",
                f"pack `{pack.pack.name}` asks nothing of this spec",
                label="none of its rules applies",
                help="remove the name, or bring about what its rules are for: their `on` and `when` say what that is",
            )


def _ungated(
    front: Front, asked: Sequence[Mapping[str, Any]], producers: Mapping[str, Sequence[str]]
) -> Iterator[Diagnostic]:
    """What goes to people or spends money is not judged by its form alone."""
    assert front.spec is not None
    assert front.tree is not None
    if front.spec.risk_tier == _TOY:
        return
    suites = [kind for kind in producers if kind.startswith(policy.EVALUATION)]
    for kind in policy.ungated(asked, producers) if suites else [""]:
        name = kind.removeprefix(policy.EVALUATION)
        yield front.tree.diagnostic(
            "KC6017",
            "/policies",
            f"risk tier {front.spec.risk_tier}, and no rule asks how good the student is",
            on="key",
            label=f"nothing here compares a number of suite `{name}`" if name else "no suite evaluates it",
            help="name a pack that gates this suite, as roles/worker, roles/judge, roles/choice and roles/drafter do",
            related=(front.tree.related("/risk_tier", "because of this"),),
        )


def _uncompared(front: Front) -> Iterator[Diagnostic]:
    """Without the same student trained without the teacher, every rule that asks for "not worse" is silent."""
    assert front.spec is not None
    assert front.tree is not None
    if front.spec.risk_tier != _TOY and front.spec.training.stages and "ce_only" not in front.spec.evaluation.baselines:
        yield front.tree.diagnostic(
            "KC6018",
            "/evaluation",
            f"risk tier {front.spec.risk_tier}, and nothing shows that the teacher helps",
            on="key",
            label="no `ce_only` among its `baselines`",
            help="write `baselines: [ce_only]`: the same student, trained without the teacher",
            related=(front.tree.related("/risk_tier", "because of this"),),
        )


def _unoriginal(front: Front, asked: Sequence[Mapping[str, Any]]) -> Iterator[Diagnostic]:
    """Where nothing is trained, what is to be shown is that the package is as good as the original."""
    assert front.spec is not None
    assert front.tree is not None
    if front.spec.risk_tier == _TOY or front.spec.training.stages:
        return
    compared = {text for one in asked if one["mode"] == "block" for text in _texts(one["params"].get("paired"))}
    if not compared & _OF_PACKAGE:
        yield front.tree.diagnostic(
            "KC4348",
            "/policies",
            f"risk tier {front.spec.risk_tier}, and no rule compares the package with the original",
            on="key",
            label=f"nothing reads {' or '.join(sorted(_OF_PACKAGE))}",
            help="name quality/original and evaluate by `language_model`, or a pack that gates the package, as "
            "roles/worker does",
            related=(front.tree.related("/training/stages", "nothing is trained"),),
        )


def _unknowable(front: Front, asked: Sequence[Mapping[str, Any]]) -> Iterator[Diagnostic]:
    """Blocking rules that read how good the teacher is, where the teacher answers no question of a suite."""
    assert front.spec is not None
    assert front.tree is not None
    if has_weights(front.spec):
        return
    suites = {f"evaluate-{suite.name}": (index, suite) for index, suite in enumerate(front.spec.evaluation.suites)}
    for one in asked:
        name = str(one["from"]).removeprefix("step:").partition("@")[0]
        if one["mode"] != "block" or name not in suites:
            continue
        index, suite = suites[name]
        pinned = getattr(suite.params, "teacher", None) is not None
        texts = [text for key in ("metric", "to", "paired") for text in _texts(one["params"].get(key))]
        wanted = [text for text in texts if _OF_TEACHER & set(text.split(".")) and not (pinned and text in _PINNED)]
        if wanted:
            yield front.tree.diagnostic(
                "KC6019",
                f"/evaluation/suites/{index}/use",
                f"rule `{one['rule']}` reads `{wanted[0]}`, which this teacher can never give",
                label=f"a teacher of source `{front.spec.teacher.source}` is not asked by a suite",
                help="remove the pack, or pin what was measured elsewhere on this very split: "
                "`teacher: {correct: …, n: …}` of the suite `choice`",
                related=(front.tree.related("/teacher/source", "the teacher"),),
            )


def _undecidable(
    front: Front, asked: Sequence[Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[Diagnostic]:
    """Blocking rules about a window of measured points that the training does not have."""
    assert front.spec is not None
    assert front.tree is not None
    stages = {stage.name: (index, stage) for index, stage in enumerate(front.spec.training.stages)}
    for one in asked:
        step = str(one["from"]).removeprefix("step:")
        known = [name for name in stages if step.partition("@")[0].endswith(f"-{name}")]
        if one["mode"] != "block" or not one["kind"].startswith(_WINDOW) or not known:
            continue
        steps, every = (int(settings[step][name]) for name in ("steps", "gradient_norms_every"))
        index, stage = stages[max(known, key=len)]
        looks = stage.validation
        least = steps if looks is None else fewest(steps, looks)
        # the last step that is allowed is measured, too; one at which patience ends it need not be
        window, measured = int(one["params"]["window"]), {*range(0, least, every), *([steps - 1] * (least == steps))}
        if len(measured) >= window:
            continue
        written = "gradient_norms_every" in stage.model_fields_set
        advice = f"`gradient_norms_every: {(max(least, window) - 1) // (window - 1)}`"
        if looks is not None and least < steps and least < window:
            advice = f"`patience: {min(-(-window // looks.every), steps)}`, and with it `gradient_norms_every: 1`"
        yield front.tree.diagnostic(
            "KC6036",
            f"/training/stages/{index}/{'gradient_norms_every' if written else 'steps'}",
            f"rule `{one['rule']}` looks at {window} measured points in a row, and this training has {len(measured)}"
            + (", where its patience ends it first" if least < steps else ""),
            label=f"{least if least < steps else steps} steps, gradients measured every {every}",
            help=f"write {advice}" if steps >= window else f"train {window} steps or more, or remove the pack",
        )


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []


def _long_id(tree: Tree, name: str) -> Diagnostic:
    return tree.diagnostic(
        "KC2120",
        "/matrix",
        f"the id of a step would have {len(name)} characters",
        on="key",
        label=f"`{name[:60]}…`; reports are files of these names, at most {LONGEST_ID} are possible",
        help="give dimensions and their values shorter names",
    )


def _two_answers(tree: Tree, obligation: Mapping[str, Any]) -> Diagnostic:
    return tree.diagnostic(
        "KC2121",
        "/matrix",
        f"rule `{obligation['rule']}` would expect different things of one report in different cells",
        on="key",
        label=f"of step `{obligation['from'].removeprefix('step:')}`, which these cells share",
        help="sweep over something that this step depends on, or write one spec per value",
    )


def restrict(plan: Mapping[str, Any], targets: Sequence[str]) -> dict[str, Any]:
    """The part of a plan that makes `targets`, marked as a part. Raises KeyError: there is no such step.

    Every obligation stays. What the part leaves out is then not evaluated, so that no verdict on a part can pass.
    """
    wanted = keys.needed(plan["steps"], targets)
    steps = [step for step in plan["steps"] if step["id"] in wanted]
    taken = {reference.removeprefix("input:") for step in steps for reference in step["takes"].values()}
    return {
        **plan,
        "asked": {**plan["asked"], "targets": sorted(set(targets))},
        "inputs": [entry for entry in plan["inputs"] if entry["name"] in taken],
        "steps": steps,
        "estimates": {step["id"]: plan["estimates"][step["id"]] for step in steps if step["id"] in plan["estimates"]},
    }


def undecidable(front: Front, project: Project) -> list[Diagnostic]:
    """Warnings of the statistics family: gates that the declared evaluation cannot decide."""
    if front.spec is None or "statistics" not in checks.families():
        return []
    folder = front.path.resolve().parent
    world = checks.World(project.root, folder, (project.root / "policies", assets.folder("policies")))
    asked = [check.ask(form.spec, form.tree, world) for form in front.forms for check in checks.checks_of("statistics")]
    return list(dict.fromkeys(item for found in asked for item in found if item.severity == "warning"))


def told(front: Front, project: Project) -> list[str]:
    """Of each margin between two models over the same rows, how small a difference so many rows can tell."""
    if "statistics" not in checks.families():
        return []
    world = checks.World(
        project.root, front.path.resolve().parent, (project.root / "policies", assets.folder("policies"))
    )
    return list(dict.fromkeys(one.said for form in front.forms if form.spec for one in margins(form.spec, world)))


def _estimates(front: Front, project: Project, steps: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each step that trains how much work that is, and how long for the machine that is named for it."""
    assert front.spec is not None
    hardware = front.spec.hardware
    machine = None if hardware.training_profile is None else trainer(front.spec)[0]
    rows = _validated(front.spec, checks.World(project.root, front.path.resolve().parent))
    found = {step["id"]: of_step(step, machine, rows) for step in steps}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def kept(front: Front, project: Project, made: Mapping[str, Any]) -> dict[str, str]:
    """Step → the bytes that its artifact takes at most, with the arithmetic, of steps that record a teacher."""
    world = checks.World(project.root, front.path.resolve().parent)
    found: dict[str, str] = {}
    for form in front.forms:
        size = stored.size(form.spec, world)
        if size is None:
            continue
        for step in made["steps"]:
            if step["kind"].startswith("record_signals@") and variants.belongs(step["id"], form.labels):
                found[step["id"]] = f"at most {size.text}"
    return found


def _validated(spec: Spec, world: checks.World) -> int:
    """Rows that each validation reads, where every machine that plans counts the same: a file that is kept elsewhere,
    and tables without the library that reads them, would give another plan."""
    if not any(stage.validation for stage in spec.training.stages):
        return 0
    if any(isinstance(one, FileSource) and (one.sha256 or one.kind in TABLES) for one in spec.data.sources):
        return 0
    counted = rows_of(spec, world, VALIDATION)
    return counted.expected if counted is not None else 0


def _content(parts: _Parts, front: Front, project: Project) -> dict[str, Any]:
    assert front.spec is not None
    assert front.tree is not None
    graph = parts.graph
    toolchain, plugins = _toolchain(graph), _plugins(front, graph)
    steps = _steps(graph, toolchain, plugins)
    return {
        "lock": {"format": FORMAT, "key_scheme": keys.KEY_SCHEME, "hash": "sha256"},
        "made_by": {"name": "kcompiler", "version": __version__},
        "asked": {
            "spec": project.shown(front.path),
            "name": front.name,
            "owner": front.spec.metadata.owner,
            **({"profile": front.profile} if front.profile else {}),
            "executor": front.spec.execution.executor,
            "risk_tier": front.spec.risk_tier,
        },
        "sources": _sources(front, project),
        "schemas": _schemas(),
        "policies": parts.packs.pins(),
        "inputs": [
            {
                "name": entry.name,
                "kind": entry.kind,
                "path": entry.path,
                "digest": entry.digest,
                "bytes": entry.bytes,
                "license": entry.license,
            }
            for entry in sorted(graph.inputs, key=lambda entry: entry.name)
        ],
        "toolchain": toolchain,
        "plugins": plugins,
        "budgets": front.spec.budgets.model_dump(mode="json", exclude_none=True),
        "steps": steps,
        "estimates": _estimates(front, project, steps),
        "obligations": parts.obligations,
    }


def _sources(front: Front, project: Project) -> list[dict[str, str]]:
    """The spec by what it means, whatever it is composed of, and its fragments by their bytes.

    Profiles that were not asked for mean nothing here.
    """
    assert front.base is not None
    spec = {"path": project.shown(front.path), "meaning": meaning(front.base)}
    pinned = sorted(front.fragments, key=lambda one: one.path)
    return [spec, *({"path": one.path, "meaning": f"sha256:{one.sha256}"} for one in pinned)]


def meaning(base: Tree) -> str:
    """ "sha256:…" of what a composed spec says."""
    assert isinstance(base.data, dict)
    said = {key: value for key, value in base.data.items() if key not in ("include", "profiles")}
    return digest.of_value(said, "kc.spec.v1")


def _steps(graph: Graph, toolchain: Mapping[str, str], plugins: list[dict[str, str]]) -> list[dict[str, Any]]:
    pins = {entry.name: entry.digest for entry in graph.inputs}
    derivations: dict[str, str] = {}
    steps = []
    for node in graph.nodes:
        step = _step(node)
        around = keys.environment(toolchain, catalog.load("backends", node.backend).requires)
        derivations[node.id] = keys.derivation(
            step, pins=pins, derivations=derivations, environment=around, plugins=plugins
        )
        steps.append({**step, "derivation": derivations[node.id]})
    return steps


def _step(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "kind": f"{node.step}@{node.version}",
        "backend": node.backend,
        "takes": dict(sorted(node.takes.items())),
        "after": list(node.after),
        "params": dict(node.params),
        **({"unkeyed": list(node.unkeyed)} if node.unkeyed else {}),
        "gives": {
            name: {"kind": port.kind, **({"report": port.report} if port.report else {})}
            for name, port in sorted(node.gives.items())
        },
        "code": node.code,
        "seed": str(node.seed),
        "promise": node.promise,
        **({"tolerance": dict(node.tolerance)} if node.tolerance is not None else {}),
    }


def _schemas() -> list[dict[str, str]]:
    """The schemas by which evidence is read. The spec's own is left out: a new loss changes it and no plan."""
    folder = assets.folder("schemas")
    names = (path.name.removesuffix(".schema.json") for path in sorted(folder.glob("*.schema.json")))
    return [
        {"id": name, "digest": digest.of_file(folder / f"{name}.schema.json")}
        for name in names
        if name.startswith("report") or name in _EVIDENCE
    ]


def _toolchain(graph: Graph) -> dict[str, str]:
    pins: dict[str, str] = {}
    for name in sorted({node.backend for node in graph.nodes}):
        for distribution, version in catalog.load("backends", name).requires.items():
            if pins.setdefault(distribution, version) != version:
                raise ValueError(f"backends disagree on {distribution}: {pins[distribution]} and {version}")
    return pins


def _plugins(front: Front, graph: Graph) -> list[dict[str, str]]:
    used = {("steps", node.step) for node in graph.nodes} | {("backends", node.backend) for node in graph.nodes}
    for spec in (form.spec for form in front.forms):
        used |= {("losses", loss.term) for stage in spec.training.stages for loss in stage.losses}
        used |= {("suites", suite.use) for suite in spec.evaluation.suites}
        used |= {("runners", runner.use) for runner in spec.evaluation.runners}
        used |= {("generators", source.generator) for source in spec.data.sources if source.kind == "generator"}
        used |= {("teachers", spec.teacher.source), ("executors", spec.execution.executor)}
    found = []
    for room, name in sorted(used):
        distribution = catalog.distribution(room, name)
        if distribution is not None:
            found.append({"room": room, "name": name, **distribution})
    return found


def _diagnostic(problem: Problem, front: Front) -> Diagnostic:
    assert front.tree is not None
    return front.tree.diagnostic(
        _CODES[problem.what], problem.origin, problem.summary, label=problem.label, help=problem.help
    )


def lock_path(project: Project, plan: Mapping[str, Any]) -> Path:
    """Where the lock of a plan is kept."""
    return project.lock(str(plan["asked"]["name"]))
