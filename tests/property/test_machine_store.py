"""Store and journal against a plain model, with crashes at every kind of place: what was acknowledged stays true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from runtime.machine.durable import Disk
from runtime.machine.state import State, look
from tests.unit.runtime.machinery import quick_folder


class Crash(BaseException):
    """The process is gone at this point."""


class Crashing(Disk):
    """Dies before the n-th elementary operation from now; no real fsync, because a kill loses no written bytes."""

    def __init__(self) -> None:
        self.left: int | None = None

    def boundary(self, operation: str, path: Path) -> None:
        del operation, path
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash

    def sync(self, path: Path) -> None:
        self.boundary("sync", path)


CONTENT = st.dictionaries(
    st.sampled_from(["a", "b.txt", "dir/c", "dir/deeper/d"]), st.binary(min_size=1, max_size=20), min_size=1, max_size=3
)


class Machine(RuleBasedStateMachine):
    artifacts = Bundle("artifacts")

    def __init__(self) -> None:
        super().__init__()
        self.opened = quick_folder()
        self.root = self.opened.__enter__()
        self.disk = Crashing()
        self.state = State(self.root, disk=self.disk)
        #: digest → content of what a commit line was acknowledged for and nothing has damaged since
        self.whole: dict[str, dict[str, bytes]] = {}
        self.damaged: set[str] = set()
        self.acknowledged: list[str] = []
        self.number = 0

    def teardown(self) -> None:
        self.state.close()
        self.opened.__exit__(None, None, None)

    def folder(self, content: dict[str, bytes]) -> Path:
        self.number += 1
        out = self.state.folder / "scratch" / str(self.number)
        for name, data in content.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
        return out

    def commit(self, content: dict[str, bytes]) -> str:
        staged = self.state.store.stage(self.folder(content))
        self.state.store.publish(staged)
        gives = {"out": {"kind": "dataset", "digest": staged.digest, "bytes": staged.size_bytes}}
        record: dict[str, Any] = {"spec": "s", "step": "x", "action": f"a{self.number}", "gives": gives}
        self.state.journal.append("step_committed", record)
        self.acknowledged.append(record["action"])
        self.whole[staged.digest] = content
        self.damaged.discard(staged.digest)
        return staged.digest

    def reopen(self) -> None:
        self.disk.left = None
        self.state.close()
        self.state = State(self.root, disk=self.disk)

    @rule(target=artifacts, content=CONTENT)
    def publish_and_commit(self, content: dict[str, bytes]) -> str:
        return self.commit(content)

    @rule(target=artifacts, content=CONTENT, operations=st.integers(0, 40))
    def crash_while_committing(self, content: dict[str, bytes], operations: int) -> Any:
        self.disk.left = operations
        try:
            done = self.commit(content)
        except Crash:
            # Whether the last line got out is open; the journal says, and says the same from now on. The artifact may
            # be in its place without a line: then it is whole again, if it was damaged before.
            self.reopen()
            self.damaged = {name for name in self.damaged if self.state.store.present(name) is not True}
            known = {record["action"]: record for record in self.state.journal.past.records}
            if f"a{self.number}" in known:
                name = known[f"a{self.number}"]["gives"]["out"]["digest"]
                self.acknowledged.append(f"a{self.number}")
                self.whole[name] = content
                self.damaged.discard(name)
                return name
            return multiple()
        self.disk.left = None
        return done

    @rule()
    def start_again(self) -> None:
        self.reopen()

    @rule(torn=st.binary(min_size=1, max_size=30).filter(lambda data: b"\n" not in data))
    def tear_the_last_line(self, torn: bytes) -> None:
        self.state.close()
        with (self.state.folder / "journal.jsonl").open("ab") as file:
            file.write(torn)
        self.reopen()

    @rule(name=consumes(artifacts), position=st.integers(0, 1000))
    def flip_a_byte(self, name: str, position: int) -> None:
        place = self.state.store.path(name)
        files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else []
        if not files or name in self.damaged:
            return
        path = files[position % len(files)]
        data = bytearray(path.read_bytes())
        data[position % len(data)] ^= 1 + position % 255
        path.chmod(0o644)
        path.write_bytes(data)
        self.state.store.forget(name)
        self.whole.pop(name, None)
        self.damaged.add(name)

    @rule()
    def collect(self) -> None:
        keep = self.state.history.digests() | set(self.whole)
        self.state.store.gc(keep)

    @invariant()
    def every_acknowledged_commit_is_in_the_journal_in_order(self) -> None:
        history = [record["action"] for record in self.state.journal.past.records]
        assert history == self.acknowledged

    @invariant()
    def what_is_whole_is_present_and_right_and_what_is_damaged_never_is(self) -> None:
        _, store = look(self.root)
        for name, content in self.whole.items():
            assert store.present(name) is True
            place = store.read(name)
            assert {path.relative_to(place).as_posix(): path.read_bytes()
                    for path in place.rglob("*") if path.is_file()} == content  # fmt: skip
        for name in self.damaged:
            assert store.present(name) is not True


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=15, deadline=None)
TestMachine = Machine.TestCase
