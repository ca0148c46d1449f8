"""How a teacher behind an OpenAI-compatible HTTP interface is asked: the part that spec and step share."""

from __future__ import annotations

from pydantic import Field

from runtime.contract import Params
from runtime.contract.secret import Secret


class Hosted(Params):
    """Endpoint, sampling, limits and prices."""

    base_url: str = Field(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        max_length=500,
        description="Root of the interface, such as https://api.example.com/v1; plain http only to this machine.",
    )
    model: str = Field(min_length=1, max_length=200, description="Name of the model, as the server knows it.")
    api_key: Secret | None = Field(default=None, description="`env:NAME` of the key; absent only for this machine.")
    parameters: int | None = Field(default=None, ge=1, description="Total parameters, where its maker states them.")
    max_tokens: int = Field(default=1024, ge=1, le=1_000_000, description="Longest answer in tokens.")
    temperature: float = Field(default=0.0, ge=0, le=2, description="Sampling temperature; 0 is greedy.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus of the sampling.")
    top_logprobs: int = Field(
        default=0, ge=0, le=20, description="Likeliest tokens with log-probabilities per position; 0 asks for none."
    )
    allow_missing: float = Field(
        ge=0, lt=1, description="Share of training rows that may stay without a usable answer; they are left out."
    )
    requests_per_minute: int = Field(default=60, ge=1, le=1_000_000, description="Most requests in a minute.")
    concurrency: int = Field(default=4, ge=1, le=64, description="Requests at the same time.")
    attempts: int = Field(default=5, ge=1, le=20, description="Tries of one request before it counts as missing.")
    timeout_s: float = Field(default=120.0, gt=0, le=3600, description="Seconds one request may take.")
    usd_per_million_input: float = Field(default=0.0, ge=0, description="US dollars for a million prompt tokens.")
    usd_per_million_output: float = Field(default=0.0, ge=0, description="US dollars for a million answered tokens.")


def gives(params: Hosted) -> frozenset[str]:
    """Signals under these parameters."""
    return frozenset({"text", "choices"} if params.top_logprobs else {"text"})
