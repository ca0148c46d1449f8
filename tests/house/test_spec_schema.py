"""The published schemas of a spec are what the models and the built-in plug-ins say."""

import json
import os
from pathlib import Path

import pytest

from kcompiler import assets
from kcompiler.schema import published, twin

MADE = {"spec.schema.json": published, "spec.draft07.schema.json": lambda: twin(published())}


def text_of(name: str) -> str:
    return json.dumps(MADE[name](), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", MADE)
def test_the_published_file_is_fresh(name):
    """KCOMPILER_REWRITE=1 writes it anew after a deliberate change."""
    path: Path = assets.folder("schemas") / name
    if os.environ.get("KCOMPILER_REWRITE"):
        path.write_text(text_of(name), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text_of(name)
