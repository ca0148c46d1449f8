"""Power cuts: every state a file system may legally be left in, for every place in a trace of the machine's writes.

The model is the weak one of ALICE (Pillai et al., OSDI 2014): bytes of a file survive only after an fsync of that file,
and until then it may hold nothing, a part, zeros or all; a name (create, mkdir, rename) survives only after an fsync of
its folder, and until then each name may survive or not, independent of the others. A rename is atomic.
"""

from __future__ import annotations

import copy
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import BrokenEvidence
from runtime.machine.durable import Disk
from runtime.machine.journal import JOURNAL
from runtime.machine.state import State
from tests.unit.runtime.machinery import quick_folder


@dataclass
class Node:
    """A file or a folder. `durable` is what a power cut cannot take; `pending` are names not yet safe."""

    is_folder: bool
    data: bytes = b""
    durable: bytes = b""
    names: dict[str, int] = field(default_factory=dict)
    safe_names: dict[str, int] = field(default_factory=dict)


@dataclass
class Rename:
    """A rename not yet made safe by an fsync of either folder."""

    source: tuple[int, str]
    target: tuple[int, str]
    node: int


class Model:
    """The file system as a power cut sees it."""

    def __init__(self) -> None:
        self.nodes: list[Node] = [Node(is_folder=True)]
        self.pending: list[tuple[int, str, int] | Rename] = []

    def find(self, path: Path) -> int:
        node = 0
        for part in path.parts:
            node = self.nodes[node].names[part]
        return node

    def add(self, path: Path, *, is_folder: bool) -> int:
        parent = self.find(path.parent)
        if path.name in self.nodes[parent].names:
            return self.nodes[parent].names[path.name]
        self.nodes.append(Node(is_folder=is_folder))
        number = len(self.nodes) - 1
        self.nodes[parent].names[path.name] = number
        self.pending.append((parent, path.name, number))
        return number

    def rename(self, source: Path, target: Path) -> None:
        old, new, node = self.find(source.parent), self.find(target.parent), self.find(source)
        del self.nodes[old].names[source.name]
        self.nodes[new].names[target.name] = node
        self.pending.append(Rename((old, source.name), (new, target.name), node))

    def sync(self, path: Path) -> None:
        number = self.find(path)
        node = self.nodes[number]
        if not node.is_folder:
            node.durable = node.data
            return
        kept: list[tuple[int, str, int] | Rename] = []
        for change in self.pending:
            folders = {change.source[0], change.target[0]} if isinstance(change, Rename) else {change[0]}
            if number in folders:
                self._make_safe(change)
            else:
                kept.append(change)
        self.pending = kept

    def _make_safe(self, change: tuple[int, str, int] | Rename) -> None:
        if isinstance(change, Rename):
            folder, name = change.source
            if self.nodes[folder].safe_names.get(name) == change.node:
                del self.nodes[folder].safe_names[name]
            folder, name = change.target
            self.nodes[folder].safe_names[name] = change.node
        else:
            self.nodes[change[0]].safe_names[change[1]] = change[2]

    def states(self) -> Iterator[Model]:
        """Every legal state after a cut now."""
        loose = [n for n, node in enumerate(self.nodes) if not node.is_folder and node.data != node.durable]
        spaces = [range(2)] * len(self.pending) + [range(4)] * len(loose)
        for choice in itertools.product(*spaces):
            state = copy.deepcopy(self)
            for change, kept in zip(self.pending, choice, strict=False):
                if kept:
                    state._make_safe(change)
            for number, how in zip(loose, choice[len(self.pending) :], strict=True):
                node = state.nodes[number]
                half = (len(node.durable) + len(node.data)) // 2
                node.durable = (node.durable, node.data, node.data[:half],
                                node.durable + b"\0" * (len(node.data) - len(node.durable)))[how]  # fmt: skip
            yield state

    def materialise(self, folder: Path, number: int = 0) -> None:
        node = self.nodes[number]
        if not node.is_folder:
            folder.write_bytes(node.durable)
            return
        folder.mkdir(exist_ok=True)
        for name, child in node.safe_names.items():
            self.materialise(folder / name, child)


class Tracing(Disk):
    """Carries operations out (without fsync) and in the model; remembers the model before each of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.model = root, Model()
        self.moments: list[tuple[Model, int]] = []
        self.acknowledged = 0

    def at(self, path: Path) -> Path:
        return path.relative_to(self.root)

    def boundary(self, operation: str, path: Path) -> None:
        del operation, path
        self.moments.append((copy.deepcopy(self.model), self.acknowledged))

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        self.model.add(self.at(path), is_folder=True)

    def create(self, path: Path, data: bytes) -> None:
        super().create(path, data)
        self.model.nodes[self.model.add(self.at(path), is_folder=False)].data = data

    def extend(self, path: Path, data: bytes) -> None:
        super().extend(path, data)
        self.model.nodes[self.model.add(self.at(path), is_folder=False)].data += data

    def truncate(self, path: Path, size_bytes: int) -> None:
        super().truncate(path, size_bytes)
        node = self.model.nodes[self.model.find(self.at(path))]
        node.data = node.data[:size_bytes]

    def sync(self, path: Path) -> None:
        self.boundary("sync", path)
        self.model.sync(self.at(path))

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.model.rename(self.at(source), self.at(target))


class Quick(Disk):
    """No fsync: the check reads what was materialised and needs no durability of its own."""

    def sync(self, path: Path) -> None:
        self.boundary("sync", path)


def work(root: Path, disk: Tracing) -> list[dict[str, Any]]:
    """Open a state, publish and commit two artifacts; the records, one per acknowledged commit."""
    records = []
    with State(root, disk=disk, now=lambda: 0.0) as state:
        for number in range(2):
            out = state.folder / "scratch" / f"s{number}"
            disk.mkdir(out)
            disk.mkdir(out / "inner")
            disk.create(out / "a.txt", b"first %d" % number)
            disk.create(out / "inner" / "b.txt", b"second %d" % number)
            staged = state.store.stage(out)
            state.store.publish(staged)
            record = {"spec": "s", "step": f"s{number}", "action": f"a{number}",
                      "gives": {"out": {"digest": staged.digest}}}  # fmt: skip
            state.journal.append("step_committed", record)
            records.append(record)
            disk.acknowledged = len(records)
        disk.boundary("end", root)
    return records


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


def test_no_power_cut_loses_or_breaks_what_was_acknowledged(folder: Path) -> None:
    origin = folder / "origin"
    origin.mkdir()
    disk = Tracing(origin)
    records = work(origin, disk)
    assert len(disk.moments) > 50
    checked = 0
    place = folder / "cut"
    for moment, acknowledged in disk.moments:
        for state in moment.states():
            shutil.rmtree(place, ignore_errors=True)
            state.materialise(place)
            with State(place, disk=Quick(), now=lambda: 0.0) as found:
                known = list(found.journal.past.records)
                assert known[:acknowledged] == records[:acknowledged]
                assert len(known) <= len(records)
                for record in known:
                    assert found.store.present(record["gives"]["out"]["digest"]) is True
                found.journal.append("step_claimed", {"action": "next"})
            checked += 1
    assert checked > 900


@pytest.mark.parametrize(
    "forgotten",
    [
        lambda path: path.name == JOURNAL,
        lambda path: path.suffix == ".txt",
        lambda path: path.is_dir() and "store" in path.parts,
    ],
    ids=["bytes of the journal", "bytes of artifacts", "names in the store"],
)
def test_the_proof_can_fail_a_forgotten_fsync_is_noticed(folder: Path, forgotten: Callable[[Path], bool]) -> None:
    class Forgetful(Tracing):
        def sync(self, path: Path) -> None:
            if not forgotten(path):
                super().sync(path)

    origin = folder / "origin"
    origin.mkdir()
    disk = Forgetful(origin)
    records = work(origin, disk)
    moment, acknowledged = disk.moments[-1]
    assert acknowledged == 2
    lost = 0
    for state in moment.states():
        try:
            state.materialise(folder / "cut")
            with State(folder / "cut", disk=Quick()) as found:
                names = [record["gives"]["out"]["digest"] for record in records]
                whole = all(found.store.present(name) is True for name in names)
                lost += not whole or found.journal.past.records != records
        except BrokenEvidence:
            lost += 1
        shutil.rmtree(folder / "cut", ignore_errors=True)
    assert lost > 0
