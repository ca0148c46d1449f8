"""What whoever opens a runner is given. No tensors: the openers bring their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.contract import Context, MachineError


class CannotAnswer(MachineError):
    """A runner has no such answer: chat completions do not say how likely a given text is."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One way to ask one model, inside a step. `takes` are the folders and files of the step's ports: `model` is what
    is asked, `tokenizer` the spec's, each where it has one."""

    name: str
    params: Any
    takes: Mapping[str, Path]
    ctx: Context
    #: how far the runner is: done, of so many, in words
    told: Callable[[int, int, str], None]
    device: str = "cpu"
    threads: int = 2
    #: whose money a hosted model is paid from, and how much of it there is in US dollars
    purse: str = ""
    usd: float = 0.0
    #: how many requests, and tokens of them and their answers, that purse may pay for in all; None: no bound
    teacher_calls: int | None = None
    teacher_tokens: int | None = None
