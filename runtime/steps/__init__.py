"""Artifacts and parameters → artifacts and a report: the instructions of a plan, declared without tensors. One more:
a file with `STEP` here; the work is its own `run`, or an operation of a backend."""
