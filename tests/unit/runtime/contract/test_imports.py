"""A plug-in's digest moves with every byte that its module can run, and with no other."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.contract import imports

FILES = {
    "acme_top.py": "VALUE = 1\n",
    "acme/__init__.py": "",
    "acme/loss.py": "from .maths import half\nimport json\nfrom acme import scale\nfrom acme_top import VALUE\n",
    "acme/maths.py": "def half(x):\n    from acme.deep.inner import two\n    return x / two\n",
    "acme/scale.py": "SCALE = 1\n",
    "acme/deep/__init__.py": "",
    "acme/deep/inner.py": "two = 2\n",
    "acme/deep/aside.py": "nobody = 1\n",
    "acme/table.json": "{}\n",
    "elsewhere.py": "from acme import loss\n",
}


class Installed(importlib.metadata.Distribution):
    """A distribution by its metadata texts."""

    def __init__(self, folder: Path, texts: dict[str, str]) -> None:
        self.folder, self.texts = folder, texts

    def read_text(self, filename: str) -> str | None:
        return self.texts.get(filename)

    def locate_file(self, path: object) -> Path:  # type: ignore[override]
        return self.folder / str(path)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    assert not [name for name in sys.modules if name.partition(".")[0] in ("acme", "acme_top")], "nothing was imported"


def regular(site: Path) -> Installed:
    listed = "".join(f"{name},,\n" for name in FILES if name != "elsewhere.py")
    return Installed(site, {"RECORD": listed})


def editable(site: Path) -> Installed:
    origin = {"url": site.as_uri(), "dir_info": {"editable": True}}
    return Installed(site, {"RECORD": "", "direct_url.json": json.dumps(origin)})


@pytest.mark.parametrize("installed", [regular, editable])
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("acme/loss.py", True),
        ("acme/__init__.py", True),
        ("acme/maths.py", True),
        ("acme/scale.py", True),
        ("acme/deep/__init__.py", True),
        ("acme/deep/inner.py", True),
        ("acme/table.json", True),
        ("acme_top.py", True),
        ("acme/deep/aside.py", False),
        ("elsewhere.py", False),
    ],
)
def test_what_the_module_runs_counts(site: Path, installed: object, name: str, counts: bool) -> None:
    dist = regular(site) if installed is regular else editable(site)
    before = imports.digest_of(dist, "acme.loss")
    assert imports.digest_of(dist, "acme.loss") == before
    path = site / name
    path.write_text(path.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert (imports.digest_of(dist, "acme.loss") != before) is counts


def test_a_module_of_another_distribution_is_not_followed(site: Path) -> None:
    dist = Installed(site, {"RECORD": "acme/__init__.py,,\nacme/loss.py,,\n"})
    before = imports.digest_of(dist, "acme.loss")
    (site / "acme_top.py").write_text("VALUE = 2\n", encoding="utf-8")
    assert imports.digest_of(dist, "acme.loss") == before


def test_who_imports_by_a_name_made_at_run_time_is_answered_for_by_the_whole_package(site: Path) -> None:
    loss = site / "acme" / "loss.py"
    loss.write_text("import importlib\nimportlib.import_module('acme.deep.' + 'aside')\n", encoding="utf-8")
    before = imports.digest_of(regular(site), "acme.loss")
    (site / "acme/deep/aside.py").write_text("nobody = 2\n", encoding="utf-8")
    assert imports.digest_of(regular(site), "acme.loss") != before


def test_line_ends_and_compiled_caches_do_not_count(site: Path) -> None:
    before = imports.digest_of(regular(site), "acme.loss")
    (site / "acme/maths.py").write_bytes((site / "acme/maths.py").read_bytes().replace(b"\n", b"\r\n"))
    (site / "acme/__pycache__").mkdir()
    (site / "acme/__pycache__/loss.pyc").write_bytes(b"x")
    assert imports.digest_of(regular(site), "acme.loss") == before


def test_a_name_that_moves_counts(site: Path) -> None:
    before = imports.digest_of(regular(site), "acme.loss")
    (site / "acme/table.json").rename(site / "acme/tables.json")
    assert imports.digest_of(regular(site), "acme.loss") != before


@pytest.mark.parametrize(
    ("module", "message"), [("acme.gone", "no file for module acme.gone"), ("acme.broken", r"broken\.py is no Python")]
)
def test_what_cannot_be_read_is_said(site: Path, module: str, message: str) -> None:
    (site / "acme/broken.py").write_text("def (\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        imports.digest_of(regular(site), module)
