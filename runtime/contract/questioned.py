"""The models that a suite questions by itself, and the ports that supply them, alike for all steps of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from runtime.contract import Port, Ports

#: a model that suites question
Runner = Literal["teacher", "student", "ce_only", "random_init", "coreml"]
#: runner name → the port that supplies its model
PORT_OF_RUNNER = {
    "teacher": "teacher",
    "student": "checkpoint",
    "ce_only": "ce_only",
    "random_init": "random_init",
    "coreml": "package",
}


#: the model that judges answers of others, as a runner and as a port; and the port of the report on it
JUDGE, STANDING = "judge", "standing"
#: what an evaluation has to do with it: nothing, it is asked about others, or it is what is evaluated
Judging = Literal["", "asked", "evaluated"]


#: beside lines that a judge behind a server has compared: which model that was (`runtime.contract.hosted.judge`)
WHICH = "judge.json"


def ports(runners: Iterable[str], judging: Judging = "", *, hosted: bool = False) -> Ports:
    """What an evaluation takes. The checkpoint always: a report is about it, unless it is about the judge, a folder
    with words of its own; one that is `hosted` behind a server is no artifact."""
    judge = {} if hosted else {JUDGE: Port(kind="hf_folder")}
    if judging == "evaluated":
        return {"dataset": Port(kind="dataset"), **judge}
    found = {
        "dataset": Port(kind="dataset"),
        "tokenizer": Port(kind="tokenizer"),
        "checkpoint": Port(kind="checkpoint"),
    }
    for runner in runners:
        port = PORT_OF_RUNNER[runner]
        found[port] = Port(kind="package" if port == "package" else "checkpoint")
    if judging:
        found |= {**judge, STANDING: Port(kind="report", report="eval.judge")}
    return found
