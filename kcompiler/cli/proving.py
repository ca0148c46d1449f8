"""The project's own packs that a spec is judged by × their cases → what nobody should trust in them: a stage of `ci`.

What `policy lint` finds and what `policy test` asks. Shipped packs are proven where they are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kcompiler.cli.answer import Answer
from kcompiler.cli.outcome import Outcome

if TYPE_CHECKING:
    from kcompiler.policy.load import LoadedPack
    from kcompiler.project import Project

VERB = "policy"


def held_to(answer: Answer, plan: Mapping[str, Any]) -> None:
    """Ask the packs of a plan. Raises Outcome: 1 where a rule has no case that it fails, decides one otherwise than it
    says, takes a slip without notice, or whatever else lint finds."""
    from kcompiler.cli.packs import loaded
    from kcompiler.diagnostic import ordered
    from kcompiler.diff.strengthens import weaker
    from kcompiler.judge import judge
    from kcompiler.policy import lint, load

    roots = _roots(answer.home)
    names = [str(pin["pack"]) for pin in plan["policies"]]
    every = [part for name in names for part in _parts(loaded(load([name], roots), answer.home.root))]
    own = {pack.pack.name: pack for pack in every if _is_own(answer.home, pack.pack.name)}
    found = list(own.values())
    wrong = ordered([*lint.findings(found, judge), *weaker(found)])
    answer.found(wrong)
    rules = sum(len(pack.own) for pack in found)
    answer.data = {"packs": sorted(own), "rules": rules, "findings": len(wrong)}
    answer.sections = [("packs", [f"{rules} rules of {', '.join(sorted(own)) or 'no pack of the project'}"])]
    if wrong:
        about = sorted({name for name in own for one in wrong if one.file.startswith(f"policies/{name}/")})
        said = "\n".join(f"{one.file}:{one.line}: {one.code}: {one.summary}" for one in wrong)
        raise Outcome(1, "findings", f"kcompiler policy lint {' '.join(about)}".rstrip(), said)


def _roots(home: Project) -> list[Any]:
    from kcompiler import assets

    return [home.root / "policies", assets.folder("policies")]


def _parts(pack: LoadedPack) -> list[LoadedPack]:
    """A pack and those that it strengthens."""
    return [pack, *(_parts(pack.below) if pack.below is not None else [])]


def _is_own(home: Project, name: str) -> bool:
    """Whether a pack lies in the project and kcompiler ships none of this name: a checkout of it holds the shipped."""
    own, shipped = (root / name / "pack.yaml" for root in _roots(home))
    return own.is_file() and not shipped.is_file()
