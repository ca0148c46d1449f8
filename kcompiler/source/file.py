"""A path → the bytes of a regular file, as many as a reader wants. Never waits for a pipe, never reads a device."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotAFile(Exception):
    """Something else than a regular file lies there."""


def read(path: Path, most: int) -> bytes:
    """The first `most` bytes. Raises FileNotFoundError, NotAFile, or OSError and ValueError for what cannot be read."""
    # not blocking, so that a pipe is refused instead of waited for
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFile
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most)


def reason(error: OSError | ValueError) -> str:
    """Why a file cannot be read, without its path: that is shown beside it."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
