"""`plan`, `diff`, `status`, `graph`, `explain`: each folder is a change to one small lock, and the whole text shown.

`case.json` holds the verb, edits of `views/base.lock.json` as (JSON pointer, value) for the old and the new side, and
what the machine would do with each step as (action, reason, detail, recorded seconds and, where something had been
estimated for them, those seconds); `*` stands for the others.
"""

import copy
import json
import os
from pathlib import Path

import pytest

from kcompiler import lock
from kcompiler.delta import Entry
from kcompiler.diagnostic import Diagnostic
from kcompiler.render import drawing, human_plan, markdown, pages, stages
from kcompiler.render.picture import picture
from kcompiler.render.view import diff_view, plan_view
from kcompiler.status import stages as stages_of
from runtime.contract.forecast import WORK, forecast

VIEWS = Path(__file__).parent / "views"
CASES = sorted(path.parent for path in VIEWS.glob("*/*/case.json"))
BASE = json.loads((VIEWS / "base.lock.json").read_text(encoding="utf-8"))


def edited(edits):
    """The base lock with values put at JSON pointers; None for no lock at all."""
    if edits is None:
        return None
    plan = copy.deepcopy(BASE)
    for pointer, value in edits:
        *parents, last = [int(part) if part.isdigit() else part for part in pointer.split("/")[1:]]
        at = plan
        for part in parents:
            at = at[part]
        if isinstance(at, list) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return plan


def entries_of(case, plan):
    delta = case.get("delta", {})
    default = delta.get("*", ["run", "never_run", "no committed result for this spec", None])
    found, estimates = [], plan["estimates"]
    for step in plan["steps"]:
        action, reason, detail, wall_s, *foreseen = delta.get(step["id"], default)
        last = (
            None
            if wall_s is None
            else {"wall_s": wall_s, "lost_attempts": 0, WORK: estimates.get(step["id"], {}).get(WORK)}
        )
        found.append(
            Entry(
                step=step["id"],
                action=action,
                reason=reason,
                why=f"{reason}: {detail}",
                wall_s=wall_s,
                foreseen_s=foreseen[0] if foreseen else None,
                forecast=forecast(estimates.get(step["id"]), last),
            )
        )
    return found


def laid_out(view, case):
    return (
        markdown.text(view, whole="kcompiler plan --full") if case.get("form") == "markdown" else human_plan.text(view)
    )


def shown(case):
    new = edited(case["new"])
    entries = entries_of(case, new)
    if case["verb"] == "plan":
        old = edited(case["old"])
        view = plan_view(
            new,
            old,
            entries,
            where="generated/lab/plan.lock",
            digest=lock.plan_digest(new),
            old_digest=lock.plan_digest(old) if old else "",
            doubts=[Diagnostic(code="KC4802", severity="warning", summary=text) for text in case.get("doubts", [])],
            next_command="kcompiler apply specs/lab.yaml",
            full=case.get("full", False),
        )
        return laid_out(view, case)
    if case["verb"] == "diff":
        old = edited(case["old"])
        return laid_out(
            diff_view(old, new, ("old.lock", "new.lock"), (lock.plan_digest(old), lock.plan_digest(new))), case
        )
    if case["verb"] == "status":
        found = stages_of(new, entries, case.get("dates", {}))
        return human_plan.text(stages.view("lab", found, "kcompiler apply specs/lab.yaml"))
    if case["verb"] == "graph":
        delta = entries if "delta" in case else []
        options = {key: case[key] for key in ("focus", "depth", "full") if key in case}
        return drawing.draw(picture(new["steps"], delta, **options), case["form"])
    try:
        return pages.explain(
            case["subject"], pages.Asked(front=None, shown="specs/lab.yaml", plan=new, entries=entries)
        )
    except pages.Unknown as unknown:
        return f"unknown: {unknown}\n"


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_the_text_is_the_expected_one(folder):
    text = shown(json.loads((folder / "case.json").read_text(encoding="utf-8")))
    expected = folder / "expected.txt"
    if os.environ.get("KCOMPILER_REWRITE"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")


def test_no_verb_is_without_a_case():
    assert {folder.parent.name for folder in CASES} == {"plan", "diff", "status", "graph", "explain"}
