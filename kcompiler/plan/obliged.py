"""What a plan must prove, cell by cell, and what of it no run of this spec could ever show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kcompiler import policy
from kcompiler.compose import variants
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.teacher import has_weights
from kcompiler.facts.time import fewest
from kcompiler.front import Front
from kcompiler.policy import believed
from kcompiler.source import Tree

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


def obligations(
    front: Front,
    packs: policy.Policy,
    producers: Mapping[str, Sequence[str]],
    settings: Mapping[str, Mapping[str, Any]],
    rests: Mapping[str, str],
) -> tuple[list[dict[str, Any]], list[Diagnostic]]:
    """What must be proven, cell by cell: a rule is about the steps of its own cell, and what it expects is its own.

    `producers` maps a report kind to the steps of the plan that make such a report, `settings` each step to its
    parameters, `rests` one that rests on a judge to the report on it.
    """
    asked, found = written(front, packs, producers, settings, rests)
    if not any(item.severity == "error" for item in found):
        found += [
            *_idle(front, packs, asked),
            *_ungated(front, asked, producers),
            *_uncompared(front),
            *_unoriginal(front, asked),
            *_unknowable(front, asked),
            *_undecidable(front, asked, settings),
        ]
    return asked, list(dict.fromkeys(found))


def written(
    front: Front,
    packs: policy.Policy,
    producers: Mapping[str, Sequence[str]],
    settings: Mapping[str, Mapping[str, Any]],
    rests: Mapping[str, str],
) -> tuple[list[dict[str, Any]], list[Diagnostic]]:
    """The same of packs that the spec need not name: what is wrong is about their rules alone."""
    assert front.tree is not None
    made: dict[tuple[str, str, str], dict[str, Any]] = {}
    found: dict[Diagnostic, None] = {}
    for form in front.forms:
        own = {kind: [step for step in ids if variants.belongs(step, form.labels)] for kind, ids in producers.items()}
        fed = {kind: ids for kind, ids in own.items() if ids}
        values = form.spec.model_dump(mode="json", by_alias=True)
        mine = {step: params for step, params in settings.items() if variants.belongs(step, form.labels)}
        ours, wrong = policy.obligations(packs, values, {**fed, "run": [APPLY]}, mine)
        asked = believed.named(ours, rests)
        found |= dict.fromkeys(wrong)
        for one in asked:
            if made.setdefault((one["rule"], one["from"], one["report"]), one) != one:
                found[_two_answers(front.tree, one)] = None
    return [made[key] for key in sorted(made, key=lambda key: (key[0], key[1]))], list(found)


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


def _two_answers(tree: Tree, obligation: Mapping[str, Any]) -> Diagnostic:
    return tree.diagnostic(
        "KC2121",
        "/matrix",
        f"rule `{obligation['rule']}` would expect different things of one report in different cells",
        on="key",
        label=f"of step `{obligation['from'].removeprefix('step:')}`, which these cells share",
        help="sweep over something that this step depends on, or write one spec per value",
    )
