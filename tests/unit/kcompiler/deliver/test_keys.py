"""What is delivered is read by strangers: a key in a text or a name is told, and nothing is delivered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kcompiler import deliver
from runtime.contract.delivery import Item

#: no one's keys: the canaries
KEY = "sk-proj-" + "c4n4ry" * 5
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "c4n4ry" * 11 + "\n"


def item(source: bytes | Path) -> Item:
    return Item(source=source, sha256="0" * 64)


@pytest.mark.parametrize(
    ("path", "data", "place"),
    [
        ("README.md", f"# a\n{KEY}\n", "README.md:2"),
        ("evidence/waivers/a.yaml", f"title: b\nowner: |\n  {PEM}", "evidence/waivers/a.yaml:3"),
        ("huggingface/config.json", json.dumps({"a": PEM}, indent=1), "huggingface/config.json:2"),
        ("huggingface/x.json", json.dumps({"a": PEM}).replace("B", "\\u0042"), "huggingface/x.json:1"),
        (f"huggingface/{KEY}.json", "{}", f"huggingface/{'*' * len(KEY)}.json"),
    ],
)
def test_a_key_is_told_at_its_line(tmp_path: Path, path: str, data: str, place: str) -> None:
    (tmp_path / "a").write_text(data)
    for source in (data.encode(), tmp_path / "a"):
        with pytest.raises(deliver.Undeliverable) as refused:
            deliver._sound({"a": item(b"{}"), path: item(source)})
        assert str(refused.value).startswith(f"KC4209 {place}: ")
        assert "c4n4ry" not in str(refused.value)


def test_weights_are_no_text_and_the_same_key_in_a_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"\0" * 8 + KEY.encode())
    deliver._sound({"weights": item(tmp_path / "weights")})
    (tmp_path / "words").write_bytes(KEY.encode())
    with pytest.raises(deliver.Undeliverable):
        deliver._sound({"weights": item(tmp_path / "weights"), "words": item(tmp_path / "words")})
