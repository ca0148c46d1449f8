"""Losses over layers: both sides of every border, and what of two models decides which of their layers are compared.

The good spec's student has 2 layers of 4 heads, 32 wide; its teacher 2 of 4, 64 wide.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from kcompiler.checks import World
from runtime.contract.footprint import Compared
from runtime.contract.layers import Shape
from tests.unit.kcompiler.checks.claims import Change, Claim, _parsed, disagrees, section, several, student
from tests.unit.kcompiler.checks.test_corners import local


def comparing(term: str, **given: Any) -> Change:
    """One term over layers beside `kl`, in the first stage."""
    losses = [{"term": "kl", "weight": 0.7}, {"term": term, "weight": 0.3, **given}]
    return lambda data: data["training"]["stages"][0].update(losses=losses)


def pairs(*numbers: tuple[int, int]) -> list[dict[str, int]]:
    return [{"student": s, "teacher": t} for s, t in numbers]


def teacher(**more: Any) -> Change:
    return lambda data: data["teacher"]["architecture"].update(more)


def config(**said: Any) -> dict[str, str]:
    shape = {"model_type": "llama", "vocab_size": 512, "hidden_size": 48, "num_hidden_layers": 3}
    shape |= {"num_attention_heads": 4, "max_position_embeddings": 128}
    found = {name: value for name, value in {**shape, **said}.items() if value is not None}
    return {"teacher/config.json": json.dumps(found)}


EIGHT = teacher(num_attention_heads=8)
#: of four layers the second and the fourth attend to the whole text
MIXED = {"family": "gemma2", "num_hidden_layers": 4, "sliding_window": 16}

CLAIMS = [
    Claim("no term over layers", lambda _: None),
    Claim("by a rule", comparing("hidden")),
    Claim("the embedding and the last", comparing("hidden", layers=pairs((0, 0), (2, 2)))),
    Claim("beyond the teacher", comparing("hidden", layers=pairs((2, 3))), ("KC4271",),
          ("layer 3 of the teacher", "has 0 to 2", "from 0 to 2"), severity="error"),
    Claim("beyond the student", comparing("hidden", layers=pairs((3, 2))), ("KC4271",),
          ("layer 3 of the student",), severity="error"),
    Claim("the attention of an embedding", comparing("attention", layers=pairs((0, 1))), ("KC4271",),
          ("has 1 to 2",), severity="error"),
    Claim("a teacher that nobody has looked at", several(local(), comparing("hidden", layers=pairs((2, 90))))),
    Claim("a student beside it", several(local(), comparing("hidden", layers=pairs((3, 90)))), ("KC4271",),
          severity="error"),
    Claim("a teacher whose config is here", several(local(), comparing("hidden", layers=pairs((2, 3)))), files=config()),
    Claim("and is not so deep", several(local(), comparing("hidden", layers=pairs((2, 4)))), ("KC4271",),
          ("has 0 to 3",), files=config(), severity="error"),
    Claim("heads alike", comparing("attention", map="last")),
    Claim("other heads", several(EIGHT, comparing("attention", map="last")), ("KC4273",),
          ("by 4 heads, the teacher by 8",), severity="error"),
    Claim("other heads of states", several(EIGHT, comparing("hidden", map="last"))),
    Claim("windows alike", several(student(**MIXED), teacher(**MIXED), comparing("attention"))),
    Claim("a window beside none", several(student(**MIXED), comparing("attention", layers=pairs((1, 1)))), ("KC4273",),
          ("student attends to a window of 16", "teacher to the whole text"), severity="error"),
    Claim("the layer without one", several(student(**MIXED), comparing("attention", layers=pairs((2, 1))))),
    *(
        Claim(f"stored as {form}", several(section("teacher", store={"form": form}), comparing("hidden", map="last")),
              ("KC4272",), (f"`{form}`", "needs `states`"), severity="error")
        for form in ("hidden", "top_k", "full")
    ),
]  # fmt: skip


def facts() -> Any:
    return importlib.import_module("kcompiler.facts.layers")


def shapes() -> None:
    """Of an architecture, and of a config as others write it."""
    with tempfile.TemporaryDirectory() as root:

        def seen(change: Change, files: dict[str, str] | None = None) -> Any:
            for name, text in (files or {}).items():
                path = Path(root) / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, "utf-8")
            return facts().teacher(_parsed(change)[0], World(Path(root), Path(root), ()))

        assert seen(lambda _: None) == Shape(2, 64, 4, (None, None))
        assert seen(local()) is None
        assert seen(local(), config()) == Shape(3, 48, 4, (None,) * 3)
        assert seen(local(), config(sliding_window=8)) == Shape(3, 48, 4, (8,) * 3)
        assert seen(local(), config(sliding_window=8, use_sliding_window=False)) == Shape(3, 48, 4, (None,) * 3)
        types = ["sliding_attention", "full_attention", "sliding_attention"]
        assert seen(local(), config(sliding_window=8, layer_types=types)) == Shape(3, 48, 4, (8, None, 8))
        # of other layers than there are nothing is said
        assert seen(local(), config(sliding_window=8, layer_types=types[1:])) == Shape(3, 48, 4, (8,) * 3)
        for name in ("num_hidden_layers", "hidden_size", "num_attention_heads"):
            assert seen(local(), config(**{name: None})) is None, name
    mixed = facts().student(_parsed(student(**MIXED))[0])
    assert mixed == Shape(4, 32, 4, (16, None, 16, None))


def compared() -> None:
    def of(*changes: Change, at: int = 0) -> Compared:
        spec = _parsed(several(*changes))[0]
        found: Compared = facts().compared(spec, spec.training.stages[at], World(Path("/none"), Path("/none"), ()))
        return found

    def two(data: dict[str, Any]) -> None:
        first = data["training"]["stages"][0]
        plain = [{"term": "ce_truth", "weight": 1.0}]
        data["training"]["stages"] = [{**first, "losses": plain}, {**first, "name": "second", "from": first["name"]}]

    assert of() == Compared()
    assert of(comparing("hidden")) == Compared(states=2, width=64, projected=2 * 32 * 64)
    assert of(comparing("hidden", map="last"), teacher(hidden_size=32)) == Compared(states=1, width=32)
    assert of(comparing("attention")) == Compared(maps=2, width=64)
    assert of(comparing("hidden"), two) == Compared()
    assert of(comparing("hidden"), two, at=1) == Compared(states=2, width=64, projected=2 * 32 * 64)
    reads = facts().reads_weights
    stages = _parsed(several(comparing("hidden"), two))[0].training.stages
    assert [reads(stage) for stage in stages] == [False, True]


def bytes_of_layers() -> None:
    """Of 10 tokens, 6 of them supervised, of 32 numbers and 4 heads: a pair of states keeps 32, and twice what the matrix
    makes of them, the gradient of all tokens beside; a pair of maps five times 4 x 10 weights."""
    a = _parsed(lambda _: None)[0].student.architecture
    assert Compared(states=3, width=64, projected=100).parts(a, 10, 10, 6) == {
        "layers": 4 * (6 * 3 * (32 + 2 * 64) + 10 * 32),
        "projections": 1600,
    }
    assert Compared(states=1, width=32).parts(a, 10, 10, 6)["layers"] == 4 * (6 * (32 + 32) + 10 * 32)
    assert Compared(maps=2, width=32).parts(a, 10, 10, 6) == {
        "layers": 4 * (6 * 2 * 5 * 40 + 10 * 40),
        "projections": 0,
    }
    assert Compared().parts(a, 10, 10, 6) == {"layers": 0, "projections": 0}


ARITHMETIC = (shapes, compared, bytes_of_layers)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_layers_say(claim: Claim, tmp_path: Path) -> None:
    assert disagrees("layers", claim, tmp_path) == ""


@pytest.mark.parametrize("check", ARITHMETIC, ids=lambda check: check.__name__)
def test_layers_by_hand(check: Any) -> None:
    check()
