"""Names that stand for folders of generated/: two specs of one name would overwrite each other's locks and evidence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import LIMITS, Tree, load
from kcompiler.spec import Spec
from runtime.contract import strict_json


def _taken(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """The lock of this name is of another spec that still has it; one that was moved or renamed has it no more."""
    name = spec.metadata.name
    for lock in sorted((world.root / "generated").glob("*/plan.lock")):
        if lock.parent.name.partition("@")[0] != name:
            continue
        other = _asked(lock)
        if other and other != tree.file and _name_in(world.root / other) == name:
            yield tree.diagnostic(
                "KC4430",
                "/metadata/name",
                f"`{other}` has the name `{name}`, too",
                label=f"both would write generated/{lock.parent.name}/plan.lock",
                help="give one of the two another name",
            )
            return


def _asked(lock: Path) -> str:
    """The spec that a lock was made from; "" when it cannot be read: whoever writes the lock says so."""
    try:
        content = strict_json.loads(lock.read_bytes())
    except (OSError, ValueError):
        return ""
    asked = content.get("asked") if isinstance(content, dict) else None
    spec = asked.get("spec") if isinstance(asked, dict) else None
    return spec if isinstance(spec, str) else ""


def _name_in(path: Path) -> str:
    """The name that stands in a spec's own text; "" for a file that is not there, or is no spec."""
    try:
        with path.open("rb") as file:
            data = file.read(LIMITS.bytes)
    except (OSError, ValueError):
        return ""
    tree, _ = load(path.name, data)
    metadata = tree.data.get("metadata") if tree is not None and isinstance(tree.data, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


CHECKS = (Check(_taken, "metadata"),)
