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
    change(data)
    spec = folder / "spec.yaml"
    spec.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return compile_spec(spec, folder, packs=[ROOT / "policies"])


def codes(folder: Path, change: Callable[[dict[str, Any]], Any]) -> list[str]:
    return sorted({item.code for item in compiled(folder, change).diagnostics})
