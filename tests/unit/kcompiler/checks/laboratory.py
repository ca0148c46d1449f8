"""A good spec, changed in one place, and the codes that compiling it gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from kcompiler.front import Front, compile_spec

ROOT = Path(__file__).resolve().parents[4]
GOOD = (ROOT / "tests/golden/validate/a-good-spec-has-no-diagnostics/spec.yaml").read_text(encoding="utf-8")


def compiled(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda _data: None) -> Front:
    """The good spec with a change, written into `folder`, which is also the project's root."""
    data = yaml.safe_load(GOOD)
    judged = data["evaluation"]["suites"]
    change(data)
    sources = data["data"].get("sources") if isinstance(data.get("data"), dict) else None
    own = any(isinstance(one, dict) and one.get("kind") == "jsonl" for one in sources or ())
    if own and data.get("evaluation", {}).get("suites") is judged:
        # rows that a test brings are not answered by an eight ball's answers: they are judged by their text
        data["evaluation"].update(suites=[{"use": "language_model"}], baselines=["ce_only"])
    spec = folder / "spec.yaml"
    spec.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return compile_spec(spec, folder, packs=[ROOT / "policies"])


def codes(folder: Path, change: Callable[[dict[str, Any]], Any]) -> list[str]:
    return sorted({item.code for item in compiled(folder, change).diagnostics})
