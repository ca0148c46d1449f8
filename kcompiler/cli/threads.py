"""How tensor libraries wait and share work; said before any of them is loaded."""

from __future__ import annotations

import os


def settle() -> None:
    """Threads that spin while they wait make a busy machine several times slower."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # numpy's BLAS, whatever the environment asks: the order of its sums, and so the bits of a report or the choice of a
    # token, depend on the number of its threads; beside torch's own a second one gains nothing and is dear: on a shared
    # machine a token of a package took five times the work
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
