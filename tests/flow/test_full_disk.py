"""A full disk is met by every step, and ends each time with exit 6 and a file's name; with more room the work goes on.

The disk is a real one where a test may mount one (root on Linux), and everywhere a limit on the size of a file, which the
kernel enforces on whoever writes, libraries included.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.flow.world import BLOCKED, NAME, Home, Result
from tests.longer import longer

KIB = 1024
#: begins a command under a limit on the size of each file it writes
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
from kcompiler.cli import main
main()
"""


@pytest.fixture
def disk(fresh: Home) -> Iterator[Callable[[int], None]]:
    """Makes `.kcompiler` a file system of so many bytes, or changes its size."""
    place = fresh.state

    def resize(size: int, remount: bool = True) -> bool:
        option = f"size={size},mode=0755" + (",remount" if remount else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(place)], capture_output=True)
        return done.returncode == 0

    if os.name != "posix" or os.geteuid() != 0 or not resize(64 * KIB, remount=False):
        pytest.skip("mounting a file system needs root on Linux")
    try:
        yield lambda size: None if resize(size) else pytest.fail("the file system cannot be resized")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def sizes(first: int, factor: float) -> Iterator[int]:
    size = first
    while size < 64 * KIB * KIB:
        yield size
        size = int(size * factor)


def rising(apply: Callable[[int], Result], first: int, factor: float) -> list[str]:
    """Apply with more and more room until it comes through; what each failure said. Asserts exit 6 for every one."""
    said: list[str] = []
    for size in sizes(first, factor):
        result = apply(size)
        if result.code != 6:
            result.ended(1, "fail")
            return said
        result.ended(6, "storage-failed")
        found = re.search(r"could not .*", result.err)
        assert found, result.text
        assert "free space or mend the disk" in result.last["next"]
        said.append(found[0])
    pytest.fail("no size was enough")


@pytest.mark.slow
@longer
def test_a_full_disk_stops_each_step_with_exit_6_and_more_room_lets_it_go_on(
    fresh: Home, disk: Callable[[int], None]
) -> None:
    def apply(size: int) -> Result:
        disk(size)
        return fresh.apply()

    said = rising(apply, 64 * KIB, 1.5)
    assert len(said) >= 4
    assert all("no space is left on the device" in line or "coremltools" in line for line in said), said
    assert fresh.run("audit", f"specs/{NAME}.yaml").ended(0, "").code == 0


@longer
@pytest.mark.slow
def test_a_file_that_may_not_grow_stops_each_step_the_same_way(fresh: Home) -> None:
    def apply(size: int) -> Result:
        return fresh.apply(code=LIMITED.format(size=size))

    said = rising(apply, 48 * KIB, 2)
    assert len(said) >= 3
    assert all("larger than this process may write" in line or "coremltools" in line for line in said), said
    assert fresh.run("audit", f"specs/{NAME}.yaml").ended(0, "").code == 0
    assert BLOCKED in fresh.run("show", "verdict", f"specs/{NAME}.yaml").text
