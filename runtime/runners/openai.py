"""A model behind any OpenAI-compatible server: text in, text out, and where the server tells, how likely the first
tokens were; paced, paid and kept as a teacher's answers."""

from __future__ import annotations

from runtime.contract import RunnerKind
from runtime.contract.hosted import Server

RUNNER = RunnerKind(
    name="openai",
    version=1,
    params=Server,
    opens="runtime.asking.server:opened",
    can=frozenset({"generate", "say"}),
    backend="http",
    scores_by="top_logprobs",
    address="base_url",
    repeatable=False,
)
