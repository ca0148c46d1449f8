"""Small locks over the toy plug-in, and judges, for tests of the machine."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime import catalog, digest
from runtime.contract.keys import KEY_SCHEME, derivation, environment
from runtime.machine.durable import erase

TOY = Path(__file__).parent / "toy"


KINDS = ("make", "grow", "join", "count")


def install() -> None:
    """Make the toy plug-in importable and known to the catalog of this process."""
    if str(TOY) not in sys.path:
        sys.path.insert(0, str(TOY))
    importlib.invalidate_caches()
    catalog.forget()


def remove() -> None:
    """The opposite: what other tests of this process list is what is shipped."""
    sys.path.remove(str(TOY))
    importlib.invalidate_caches()
    catalog.forget()


def step(
    name: str,
    kind: str,
    *,
    takes: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    after: Sequence[str] = (),
    backend: str = "toy",
    seed: str = "1337",
) -> dict[str, Any]:
    """One step of a lock with every default resolved, as the compiler writes it; `derivation` is filled by `lock`."""
    declared = catalog.load("steps", kind)
    model = declared.params.model_validate(dict(params or {}))
    gives = {
        port: {"kind": give.kind} | ({"report": give.report} if give.report else {})
        for port, give in declared.gives_of(model).items()
    }
    return {
        "id": name,
        "kind": f"{kind}@{declared.version}",
        "backend": backend,
        "takes": dict(takes or {}),
        "params": model.model_dump(mode="json"),
        "gives": gives,
        "after": list(after),
        "code": catalog.code_of(declared, model),
        "seed": seed,
        "promise": declared.promise,
        "derivation": "",
    }


def lock(
    root: Path, steps: Sequence[Mapping[str, Any]], *, inputs: Mapping[str, str] | None = None, name: str = "toy"
) -> dict[str, Any]:
    """A lock over steps; `inputs`: name → path in the project of a file."""
    requires = catalog.load("backends", "toy").requires
    pins: dict[str, dict[str, Any]] = {
        key: {"path": path, "digest": digest.of_file(root / path), "bytes": (root / path).stat().st_size}
        for key, path in (inputs or {}).items()
    }
    plugins = [
        {"room": room, "name": plugin, **(catalog.distribution(room, plugin) or {})}
        for room, plugin in [
            *(("steps", f"toy_{kind}") for kind in ("make", "grow", "join", "count")),
            ("backends", "toy"),
        ]
    ]
    known: dict[str, str] = {}
    done = []
    for entry in steps:
        key = derivation(
            entry,
            pins={key: pin["digest"] for key, pin in pins.items()},
            derivations=known,
            environment=environment(requires, requires if entry["backend"] == "toy" else ()),
            plugins=plugins,
        )
        known[entry["id"]] = key
        done.append({**entry, "derivation": key})
    return {
        "lock": {"format": "1.0", "key_scheme": KEY_SCHEME, "hash": "sha256"},
        "made_by": {"name": "tests"},
        "asked": {"spec": "specs/toy.yaml", "name": name},
        "sources": [],
        "policies": [],
        "inputs": [{"name": key, "kind": "file", **pin} for key, pin in pins.items()],
        "toolchain": dict(requires),
        "plugins": plugins,
        "budgets": {},
        "steps": done,
        "obligations": [],
    }


def chain(
    root: Path, *, text: str = "hello", rounds: int = 5, pause_s: float = 0.0, backend: str = "toy"
) -> dict[str, Any]:
    """make → grow → join, and `aside`, which only comes after `grow`."""
    return lock(
        root,
        [
            step("make", "toy_make", params={"text": text}, backend=backend),
            step(
                "grow",
                "toy_grow",
                takes={"dataset": "step:make#dataset"},
                params={"rounds": rounds, "pause_s": pause_s},
                backend=backend,
            ),
            step(
                "join",
                "toy_join",
                takes={"dataset": "step:make#dataset", "checkpoint": "step:grow#checkpoint"},
                backend=backend,
            ),
            step("aside", "toy_make", params={"text": "aside"}, after=["grow"], backend=backend),
        ],
    )


def approve(reports: Mapping[str, bytes], steps: Collection[str] | None = None) -> list[dict[str, Any]]:
    """A judge that lets every report through."""
    del steps
    return [{"rule": "any", "step": key, "outcome": "pass", "blocking": True} for key in sorted(reports)]


def environ() -> dict[str, str]:
    """Environment of a child process that may import the machine and these helpers."""
    return {**os.environ, "PYTHONPATH": str(TOY.parents[3])}


class Watched:
    """A watch that keeps the events."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)

    def of(self, *names: str) -> list[tuple[str, ...]]:
        """(event, step) of the events with these names, in order."""
        return [(event["event"], event["step"]) for event in self.events if event["event"] in names]


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A temporary folder in memory where there is such a place: these tests open thousands of small files."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="kc-machine-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder.resolve()
    finally:
        erase(folder)
