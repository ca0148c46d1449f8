from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from runtime.executors.local import EXECUTOR


def test_the_working_directory_is_put_back_even_after_an_error(tmp_path: Path) -> None:
    before = Path.cwd()

    def wander() -> None:
        os.chdir(tmp_path)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        EXECUTOR.execute(wander)
    assert Path.cwd() == before


def test_a_call_that_ends_the_process_has_failed() -> None:
    with pytest.raises(RuntimeError, match="exit 0"):
        EXECUTOR.execute(lambda: sys.exit(0))
