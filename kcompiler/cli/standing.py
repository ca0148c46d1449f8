"""The evidence that stands in a project × what would take its place → go on, or a refusal that says the way out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kcompiler.cli.outcome import Outcome
from kcompiler.project import Project
from kcompiler.verifier import facts


def spare(home: Project, name: str) -> None:
    """Forged reports take the place of forged ones only. Raises Outcome 2 where anything else stands: what was measured
    may be committed, and its artifacts on another machine."""
    folder = home.evidence(name)
    real = sorted(home.shown(path) for path in _reports(folder) if not _forged(path))
    if not real:
        return
    shown = home.shown(folder)
    raise Outcome(
        2,
        "evidence-stands",
        f"mv {shown} {home.shown(home.generated(name))}/kept, then the same command",
        f"{shown} holds the evidence of a real run ({real[0]}{f' and {len(real) - 1} more' if real[1:] else ''}), and "
        "--backend null would write forged reports over it; move it away, and back when you have looked",
    )


def _reports(folder: Path) -> Iterator[Path]:
    whole, begun = folder / "run.json", facts.start_of("")
    for path in (whole, *folder.glob("reports/*")):
        # how a step begins is seen of forged ones, too: what the run says of itself is said of it
        if path.is_file() and not (path.name.startswith(begun) and whole.is_file()):
            yield path


def _forged(path: Path) -> bool:
    """Whether a report says of itself that nothing was measured; one that cannot be read may be anything."""
    from runtime.contract import strict_json

    try:
        report = strict_json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    surroundings = report.get("environment") if isinstance(report, dict) else None
    return isinstance(surroundings, dict) and surroundings.get("forged") is True
