"""A revision → how the locks of all specs differ between the compiler of then and the compiler of now.

    python tests/house/replay.py REV [SPEC...]

Both compilers plan the specs of the working tree, each with its own code, schemas and policies, in a copy: nothing is
written here. Digests of code, schemas and policies, and what follows from them (derivations), are set aside, so that a
refactor shows no difference and exits 0; any other difference is printed by its path and exits 1.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: what is a digest of our own text, by (section, key); a refactor changes it and means nothing by it
ASIDE = {"steps": ("code", "derivation"), "schemas": ("digest",), "policies": ("digest",)}

PLAN = """
import json, sys
from pathlib import Path
from kcompiler import plan
from kcompiler.front import compile_spec
from kcompiler.project import Project
home = Path(sys.argv[1])
found = {}
for name in sys.argv[2:]:
    front = compile_spec(home / name, home)
    made, more = plan.make(front, Project(home)) if front.spec is not None else (None, [])
    found[name] = made if made is not None else {"refused": sorted(
        f"{item.code} {item.place}" for item in [*front.diagnostics, *more] if item.severity == "error")}
json.dump(found, sys.stdout)
"""


def plans(code: Path, home: Path, specs: list[str]) -> dict[str, Any]:
    """Spec → its plan, by the compiler below `code`; a refused spec gives the codes and places of its errors."""
    done = subprocess.run(
        [sys.executable, "-c", PLAN, str(home), *specs],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the compiler below {code} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def settled(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan without the digests of our own text."""
    kept = dict(plan)
    for section, keys in ASIDE.items():
        kept[section] = [{k: v for k, v in entry.items() if k not in keys} for entry in plan.get(section, [])]
    kept.pop("made_by", None)
    # a new schema or a new kind of report is an addition to what is published, not to what is planned
    kept.pop("schemas", None)
    return kept


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """One line per leaf that differs; steps and obligations are compared by what they are called."""
    if isinstance(old, list) and isinstance(new, list) and all(isinstance(item, dict) for item in [*old, *new]):
        old, new = ({_name(item, i): item for i, item in enumerate(side)} for side in (old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if key not in old or key not in new:
                yield f"{'+' if key in new else '-'} {path}/{key}"
            else:
                yield from differences(old[key], new[key], f"{path}/{key}")
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield f"~ {path}: {json.dumps(old)[:80]} → {json.dumps(new)[:80]}"


def _name(item: dict[str, Any], index: int) -> str:
    if "rule" in item:
        return f"{item['rule']} {item.get('from')} {item.get('report')}"
    return str(item.get("id") or item.get("name") or item.get("path") or item.get("pack") or index)


def replay(revision: str, specs: list[str]) -> list[str]:
    """Every difference, as lines."""
    with tempfile.TemporaryDirectory() as folder:
        then, home = Path(folder) / "then", Path(folder) / "home"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(then), revision], cwd=ROOT, check=True)
        try:
            shutil.copytree(ROOT / "specs", home / "specs")
            (home / ".kcompiler").mkdir()
            before, after = plans(then, home, specs), plans(ROOT, home, specs)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(then)], cwd=ROOT, check=True)
    return [line for name in specs for line in differences(settled(before[name]), settled(after[name]), name)]


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    specs = sys.argv[2:] or sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "specs").glob("*.yaml"))
    lines = replay(sys.argv[1], specs)
    print("\n".join(lines) if lines else f"no difference in {len(specs)} specs since {sys.argv[1]}")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
