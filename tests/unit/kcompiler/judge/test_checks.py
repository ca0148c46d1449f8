"""What each part of the judge promises by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.kcompiler.judge.checks import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_part_keeps_its_promise(check: Callable[[], None]) -> None:
    check()
