"""coremltools' log lines, warnings and progress bars → nothing, while a block runs."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence coremltools inside the block; errors still raise.

    Its logger inherits the root's handlers and its progress bars write to standard error without a switch, so both
    streams are replaced. What the block prints is dropped: nothing in it is meant for a person.
    """
    logger = logging.getLogger("coremltools")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(sink), contextlib.redirect_stdout(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
