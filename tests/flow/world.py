"""The real command line in a temporary project whose spec is eight-ball made tiny: one full apply in seconds.

The student is far too small to learn the answers, so a sound run of it ends with a sound FAIL, by exactly the gates
`QUALITY`. A project that was applied once can be copied, and its copy damaged.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runtime.contract import UNCOMPARED
from runtime.machine.durable import protect
from tests.flow.warm import IMPORTS, Nursery

ROOT = Path(__file__).resolve().parents[2]
NAME = "tiny"
#: a rule that the tiny student does not satisfy, and all of them
BLOCKED = "caws/tier-3/answers-valid"
QUALITY = {
    BLOCKED,
    "caws/tier-3/answers-above-trivial",
    "caws/tier-3/answers-distance",
    "caws/tier-3/answers-diverse",
    "caws/tier-3/answers-mass",
}
STEPS = [
    "data",
    "tokenizer",
    "teacher",
    "reach",
    "train-kd",
    "train-ce_only-kd",
    "probe",
    "export",
    "convert",
    "verify",
    "evaluate-answers",
]

MAIN = """
from kcompiler.cli import main
main()
"""

#: forbids what a command that computes nothing has no use for
REFUSE = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "coremltools", "numpy", "tokenizers", "safetensors"}:
            raise ImportError("forbidden here: " + name)
sys.meta_path.insert(0, Refuse())
"""

#: the command line without all that
LIGHT = REFUSE + MAIN

#: sends itself the signal KC_SIGNAL before the KC_COUNT-th audit event KC_EVENT about a path that matches KC_PATH
SIGNALLED = (
    """
import os, re, sys
number, left, event, path = (
    int(os.environ["KC_SIGNAL"]), int(os.environ["KC_COUNT"]), os.environ["KC_EVENT"], re.compile(os.environ["KC_PATH"])
)
def audit(name, arguments):
    global left
    if name == event and any(path.search(str(item)) for item in arguments):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)
sys.addaudithook(audit)
"""
    + MAIN
)


@dataclass(frozen=True)
class Result:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"

    @property
    def last(self) -> dict[str, str]:
        """The last line of a command that did not succeed: outcome, code, next."""
        lines = self.err.strip().splitlines()
        found = re.fullmatch(r"outcome=(\S+) code=(\d+) next=(.+)", lines[-1] if lines else "")
        assert found, f"no outcome on the last line\n{self.text}"
        return {"outcome": found[1], "code": found[2], "next": found[3]}

    def ended(self, code: int, outcome: str) -> Result:
        """Asserts how it ended, and that nobody saw a traceback."""
        assert self.code == code, self.text
        assert "Traceback" not in self.text, self.text
        if code:
            assert self.last["outcome"] == outcome, self.text
            assert self.last["code"] == str(code), self.text
        return self

    def steps(self) -> dict[str, str]:
        """Step → what happened to it, by the summary table."""
        return {name: words[0] for name, words in self._rows().items()}

    def reason(self, step: str) -> str:
        """Why that happened to a step, by the summary table."""
        return re.sub(r"^\s*[\d.]+ s\s+", "", self._rows()[step][1])

    def _rows(self) -> dict[str, tuple[str, str]]:
        rows: dict[str, tuple[str, str]] = {}
        inside = False
        for line in self.out.splitlines():
            inside = line == "steps" or (inside and line.startswith("  "))
            if inside and line != "steps":
                name, action, rest = re.split(r"\s+", line.strip(), maxsplit=2)
                rows[name] = (action, rest)
        assert rows, self.text
        return rows


@dataclass(frozen=True)
class Home:
    """A project and its spec."""

    root: Path

    @property
    def spec(self) -> Path:
        return self.root / "specs" / f"{NAME}.yaml"

    @property
    def lock(self) -> Path:
        return self.root / "generated" / NAME / "plan.lock"

    @property
    def evidence(self) -> Path:
        return self.lock.parent / "evidence"

    @property
    def state(self) -> Path:
        return self.root / ".kcompiler"

    def run(self, *arguments: str, **options: Any) -> Result:
        """`kcompiler <arguments>` in the project's root."""
        return kcompiler(*arguments, cwd=self.root, **options)

    def apply(self, *options: str, **more: Any) -> Result:
        return self.run("apply", f"specs/{NAME}.yaml", *options, **more)

    def audit(self) -> Result:
        return self.run("audit", f"specs/{NAME}.yaml")

    def change(self, edit: Callable[[dict[str, Any]], Any]) -> None:
        """Rewrite the spec after an edit of its content."""
        data = yaml.safe_load(self.spec.read_text(encoding="utf-8"))
        edit(data)
        self.spec.write_text(text_of(data), encoding="utf-8")

    def copy(self, target: Path) -> Home:
        shutil.copytree(self.root, target, symlinks=True)
        return Home(target)

    def records(self) -> dict[str, Mapping[str, Any]]:
        """Step → committed record of the artifacts in use."""
        lines = (self.evidence / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        return {record["step"]: record for record in (json.loads(line)["data"] for line in lines)}

    def digests(self) -> dict[str, str]:
        """ "step#port" → digest of every artifact in use that is the same whenever it is made."""
        return {
            f"{step}#{port}": give["digest"]
            for step, record in self.records().items()
            for port, give in record["gives"].items()
            if give["kind"] not in UNCOMPARED
        }

    def stored(self, step: str, port: str) -> Path:
        """The folder of an artifact in the store."""
        digits = self.digests()[f"{step}#{port}"].removeprefix("sha256:")
        return self.state / "store" / "sha256" / digits[:2] / digits

    def lose(self, step: str, port: str) -> None:
        """Remove an artifact from the store, so that its step must run again."""
        folder = self.stored(step, port)
        protect(folder, writable=True)
        shutil.rmtree(folder)

    def journal(self) -> list[dict[str, Any]]:
        lines = (self.state / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def kcompiler(
    *arguments: str,
    cwd: Path,
    code: str = "",
    env: Mapping[str, str] | None = None,
    path: Sequence[Path] = (),
    timeout: float = 180,
    umask: int = -1,
    anew: bool = False,
) -> Result:
    """The command line in a process of its own; `code` is Python that ends with it instead of `-m kcompiler`.

    The process is forked from one that has imported everything, unless it is to start `anew`, or something may read its
    environment while it is imported.
    """
    whole = environment(env or {}, path)
    tame = all(name in TAME for name in env or {})
    if sys.platform == "linux" and not anew and tame:
        nursery, code = _nursery(REFUSE in code), code.replace(REFUSE, "") or MAIN
        return Result(*nursery.run(code, arguments, cwd, whole, umask, timeout))
    done = subprocess.run(
        command(*arguments, code=code),
        cwd=cwd,
        env=whole,
        capture_output=True,
        text=True,
        timeout=timeout,
        umask=umask,
    )
    return Result(done.returncode, done.stdout, done.stderr)


#: variables that nothing reads before the command line does
TAME = {"KC_SIGNAL", "KC_EVENT", "KC_PATH", "KC_COUNT", "TEACHER_KEY", "KCOMPILER_TRACEBACK"}


@functools.cache
def _nursery(light: bool) -> Nursery:
    # what `apply` tells the libraries before it imports them
    told = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
    return Nursery(REFUSE + IMPORTS if light else IMPORTS, environment(told))


def command(*arguments: str, code: str = "") -> list[str]:
    return [sys.executable, *(("-c", code) if code else ("-m", "kcompiler")), *arguments]


def environment(more: Mapping[str, str], path: Iterable[Path] = ()) -> dict[str, str]:
    """The environment of a command: this project's code, one thread, and what a test adds."""
    paths = os.pathsep.join(str(item) for item in (ROOT, *path))
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CI": "1", **more}


def signals(number: int, event: str, path: str, count: int = 1) -> dict[str, str]:
    """The environment that tells SIGNALLED what to do."""
    return {"KC_SIGNAL": str(int(number)), "KC_EVENT": event, "KC_PATH": path, "KC_COUNT": str(count)}


def tiny() -> dict[str, Any]:
    """The content of the tiny spec."""
    data: dict[str, Any] = yaml.safe_load((ROOT / "specs" / "eight-ball.yaml").read_text(encoding="utf-8"))
    data["metadata"]["name"] = NAME
    size = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    size["max_position_embeddings"] = 48
    data["teacher"] |= {
        "steps": 12,
        "batch_size": 8,
        "architecture": {"family": "llama", "num_hidden_layers": 2, **size},
    }
    data["teacher"]["optimizer"]["warmup_steps"] = 4
    # a twentieth of them is held out, and the rules of the suite want thirty questions
    data["data"]["sources"][0]["params"]["rows"] = 700
    data["student"]["architecture"] = {"family": "llama", "num_hidden_layers": 1, **size}
    del data["student"]["parameters"]
    stage = data["training"]["stages"][0]
    stage |= {"steps": 12, "batch_size": 8, "checkpoint_every": 4}
    stage["optimizer"]["warmup_steps"] = 4
    data["shapes"] |= {"prefill": [48], "decode": {"context": 48}}
    data["execution"]["threads"] = 1
    # they are made for a student with a longer context
    del data["profiles"]
    return data


def text_of(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def make(root: Path) -> Home:
    """A project with the tiny spec; nothing has run in it."""
    home = Home(root)
    shutil.copytree(ROOT / "specs", root / "specs")
    home.state.mkdir()
    home.spec.write_text(text_of(tiny()), encoding="utf-8")
    return home


def flip(path: Path, at: int | None = None) -> None:
    """Change one bit of the byte in the middle of a file, or at an offset."""
    path.chmod(path.stat().st_mode | stat.S_IRUSR | stat.S_IWUSR)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(bytes(data))
