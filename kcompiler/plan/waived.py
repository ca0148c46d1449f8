"""A plan × the waivers of its project → those that could excuse something of it, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompiler import lock, waiver
from kcompiler.diagnostic import Diagnostic
from kcompiler.project import Project
from kcompiler.waiver import check


def waived(made: Mapping[str, Any], project: Project) -> tuple[list[dict[str, Any]], list[Diagnostic]]:
    """The entries of the lock, and every mistake in the waivers that are about this plan.

    Whether they are in force is not asked here: that is a matter of the day. A file that cannot be read excuses
    nothing, and is a warning.
    """
    loaded, problems = waiver.load(project.root / waiver.FOLDER)
    found = [check.milder(one) for one in problems]
    name, plan = str(made["asked"]["name"]), lock.unwaived_digest(made)
    entries = []
    for one in loaded:
        asked = [each for each in made["obligations"] if each["rule"] in one.waiver.rules]
        if not asked or one.waiver.subject.spec not in ("", name) or one.waiver.subject.lock not in ("", plan):
            continue
        found += check.against(one, asked)
        entries.append(
            {
                "id": one.waiver.id,
                "digest": one.digest,
                "meaning": one.meaning,
                "rules": sorted({str(each["rule"]) for each in asked}),
                "until": one.waiver.expires,
            }
        )
    return entries, found
