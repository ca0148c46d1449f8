"""A prepared call → its effects, in this process, one call at a time."""

from __future__ import annotations

import os
from collections.abc import Callable

from runtime.contract import Executor


def execute(call: Callable[[], None]) -> None:
    """Run the call to its end or raise what it raises. Afterwards the working directory is what it was.

    A call that asks for the process to end has not done its work: RuntimeError.
    """
    before = os.getcwd()  # noqa: PTH109 (pathlib would hide that this is process state)
    try:
        call()
    except SystemExit as error:
        raise RuntimeError(f"the step tried to end the process (exit {error.code})") from error
    finally:
        os.chdir(before)


EXECUTOR = Executor(name="local", version=1, execute=execute)
