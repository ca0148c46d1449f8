"""`audit` as people call it: the bundle it writes and the one it reads, each end with its exit code and what comes next."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kcompiler import dsse
from kcompiler.audit import packing
from kcompiler.cli import _main
from kcompiler.verifier.sealed import FORMAT, MANIFEST
from kcompiler.verifier.zipped import pack, unpack
from tests.unit.kcompiler.audit.conftest import NAME

SPEC = f"specs/{NAME}.yaml"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    key = Ed25519PrivateKey.generate()
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (folder / "allowed").write_text(f"ci@example.com {dsse.public_line(key)}\n", encoding="utf-8")
    (folder / "empty").write_text("", encoding="utf-8")
    return folder


def ended(capsys: Any, *words: str) -> tuple[int, str, str]:
    code = _main(["audit", *words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_bundle_is_written_signed_and_audited_elsewhere(
    carried_out: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(carried_out)
    out, plain = str(desk / "out.zip"), str(desk / "plain.zip")
    code, said, err = ended(capsys, SPEC, "--bundle", out, "--sign-key", str(desk / "key"))
    assert (code, err) == (0, "")
    assert f"bundle      {out}" in said
    assert "signed by SHA256:" in said
    assert ended(capsys, SPEC, "--bundle", plain, "--verifier", str(desk / "verify.py"))[0] == 0
    monkeypatch.chdir(desk)
    code, said, err = ended(capsys, out, "--key", "allowed")
    assert (code, err) == (0, "")
    assert "audit       sound" in said
    code, said, err = ended(capsys, plain)
    assert code == 7
    assert "proves nothing about who made it" in said
    last = err.splitlines()[-1]
    assert last.startswith("outcome=self-consistent-unsigned code=7 next=kcompiler audit")
    # what is advised works
    assert (
        ended(
            capsys, out, *last.partition(f"{plain} ")[2].partition(",")[0].replace("ALLOWED_SIGNERS", "allowed").split()
        )[0]
        == 0
    )
    code, said, _ = ended(capsys, out, "--key", "allowed", "--format", "json")
    assert (code, json.loads(said)["data"]["word"]) == (0, "sound")
    alone = [sys.executable, "-I", "-S", "verify.py", "out.zip", "--key", "allowed"]
    assert subprocess.run(alone, capture_output=True, check=False, env=dict(os.environ)).returncode == 0
    # one of another version is no evidence that is broken, and none that was judged: what it is, and what to do
    files = unpack(Path(out).read_bytes())
    for number, whose in ((2, "an older version made it"), (4, "a newer version made it")):
        files[MANIFEST] = re.sub(rb"kcompiler-bundle/\d", f"kcompiler-bundle/{number}".encode(), files[MANIFEST])
        Path("other.zip").write_bytes(pack(files))
        code, said, err = ended(capsys, "other.zip", "--key", "allowed")
        assert (code, said) == (2, "")
        assert f"its format is kcompiler-bundle/{number}, and this verifier reads kcompiler-bundle/3: {whose}" in err
        assert "outcome=other-format code=2 next=ask for it again: kcompiler audit SPEC --bundle FILE" in err
        found = subprocess.run([*alone[:4], "other.zip"], capture_output=True, check=False, text=True)
        assert (found.returncode, found.stderr) == (2, "outcome=not-recomputed code=2\n")
        assert whose in found.stdout
    assert FORMAT == "kcompiler-bundle/3", "what this version writes"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((SPEC, "--sign-key", "{desk}/key"), "say with --bundle or --export where to write it"),
        ((SPEC, "--key", "{desk}/allowed"), "are of a bundle"),
        ((SPEC, "--bundle", "{desk}/none/out.zip"), "there is no such folder"),
        ((SPEC, "--bundle", "{desk}/o.zip", "--sign-key", "{desk}/allowed"), "not an OpenSSH private key"),
        ((SPEC, "--bundle", "{desk}/o.zip", "--sign-key", "{desk}/none"), "none"),
        ((SPEC, "--export", "{desk}"), "holds what is no export"),
        (("{desk}/none.zip",), "cannot read"),
        (("{desk}/out.zip", "--bundle", "{desk}/o.zip"), "is evidence of one already"),
        (("{desk}/out.zip", "--key", "{desk}/none"), "cannot read"),
        (("{desk}/out.zip", "--key", "{desk}/empty"), "no ssh-ed25519 key stands in it"),
        (("{desk}/out.zip", "--key", "{desk}/allowed", "--as-of", "soon"), "not a UTC time"),
        (("{desk}/out.zip", "--head", "12"), "64 hexadecimal digits"),
        (("{desk}/out.zip", "--revoked", "{desk}/allowed"), "--key"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_wrong_words_are_answered_with_what_to_do(
    carried_out: Path, desk: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(carried_out)
    code, _, err = ended(capsys, *(word.format(desk=desk) for word in words))
    assert code == 2
    assert said in err
    assert "outcome=" in err.splitlines()[-1]


def test_what_is_not_sound_is_not_packed(carried_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    shutil.copytree(carried_out, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    path = Path(f"generated/{NAME}/evidence/reports/data.json")
    path.write_text(path.read_text(encoding="utf-8").replace("data.splits", "data.splitz"), encoding="utf-8")
    assert _main(["audit", SPEC, "--bundle", "out.zip"]) == 3
    assert not Path("out.zip").exists()


KEY = "sk-" + "proj-" + "0a" * 14


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (
            b"n.dsse.json",
            f'{{"note": "{KEY}"}}'.encode(),
            f"KC4209 generated/{NAME}/approvals/n.dsse.json:1: this looks like a key",
        ),
        (
            b"p.dsse.json",
            json.dumps({"payload": base64.b64encode(KEY.encode()).decode()}).encode(),
            f"KC4209 generated/{NAME}/approvals/p.dsse.json:1: this looks like a key",
        ),
        (
            b"\377.dsse.json",
            b"{}",
            rf"KC6102 generated/{NAME}/approvals/\udcff.dsse.json: the name of this file is no UTF-8",
        ),
    ],
)
def test_a_file_that_strangers_must_not_get_or_cannot_read_is_in_no_bundle(
    carried_out: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path, name: bytes, data: bytes, said: str
) -> None:
    folder = carried_out / "generated" / NAME / "approvals"
    monkeypatch.chdir(carried_out)
    path = folder / os.fsdecode(name)
    folder.mkdir()
    try:
        path.write_bytes(data)
        code, out, err = ended(capsys, SPEC, "--bundle", str(tmp_path / "out.zip"))
    finally:
        path.unlink()
        folder.rmdir()
    assert code == 2
    assert said in out + err
    assert KEY not in out + err
    assert not (tmp_path / "out.zip").exists()


def test_what_nobody_accounts_for_is_not_packed(carried_out: Path) -> None:
    note = carried_out / "generated" / NAME / "evidence" / "note.txt"
    before = packing.files(carried_out, NAME)
    note.write_text(KEY, encoding="utf-8")
    try:
        assert packing.files(carried_out, NAME) == before
    finally:
        note.unlink()
