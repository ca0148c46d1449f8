"""The models that a suite questions by itself, and the ports that supply them, alike for all steps of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.contract import Port, Ports

#: runner name → the port that supplies its model
PORT_OF_RUNNER = {
    "teacher": "teacher",
    "student": "checkpoint",
    "ce_only": "ce_only",
    "random_init": "random_init",
    "coreml": "package",
}


def ports(runners: Iterable[str]) -> Ports:
    """What an evaluation takes. The checkpoint always: a report is about it."""
    found = {
        "dataset": Port(kind="dataset"),
        "tokenizer": Port(kind="tokenizer"),
        "checkpoint": Port(kind="checkpoint"),
    }
    for runner in runners:
        port = PORT_OF_RUNNER[runner]
        found[port] = Port(kind="package" if port == "package" else "checkpoint")
    return found
