"""How a model behind an OpenAI-compatible HTTP interface is asked.

`Asking` is what spec and step of a teacher share; `Hosted` adds what only the compiler reads, so that no step carries a
parameter that has no effect there. `Server` is such a model where it is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from runtime import digest
from runtime.contract import UNKEYED, Params, Refusal
from runtime.contract.secret import Secret
from runtime.contract.units import unit

#: a letter or a short word, a small number, a sign
_ONE_TOKEN = re.compile(r"[^\W\d_]{1,16}|\d{1,3}|[^\w\s]")
#: an answer with fewer choices has no distribution over them
LEAST_LOGPROBS = 2


class Endpoint(Params):
    """Where a server is, as whom and how fast it is asked, and what that costs."""

    base_url: str = Field(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        max_length=500,
        description="Root of the interface, such as https://api.example.com/v1; plain http to this machine, to "
        "others with `insecure: true`.",
        examples=["https://api.example.com/v1"],
    )

    @field_validator("base_url")
    @classmethod
    def _address(cls, base_url: str) -> str:
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError as why:
            raise ValueError(f"it is no address: {why}") from None
        if not parts.hostname or port == 0:
            raise ValueError("it is no address: no host, or port 0")
        return base_url

    model: str = Field(
        min_length=1, max_length=200, description="Name of the model, as the server knows it.", examples=["teacher-1"]
    )
    served_as: str = Field(
        default="",
        max_length=400,
        description="Version that each answer must be of, as the server reports it: `MODEL`, or `MODEL#FINGERPRINT`. "
        "Unless written, all answers must be of one version, whichever it is.",
        examples=["teacher-1-2026-06"],
    )
    api_key: Annotated[Secret | None, UNKEYED] = Field(
        default=None,
        description="`env:NAME` of the key; absent only for this machine or with `insecure: true`.",
        examples=["env:TEACHER_API_KEY"],
    )
    requests_per_minute: Annotated[int, UNKEYED] = Field(
        default=60,
        ge=1,
        le=1_000_000,
        description="Most requests in a minute.",
        examples=[60],
        json_schema_extra=unit("request per minute"),
    )
    concurrency: Annotated[int, UNKEYED] = Field(
        default=4,
        ge=1,
        le=64,
        description="Requests at the same time.",
        examples=[4],
        json_schema_extra=unit("request"),
    )
    attempts: Annotated[int, UNKEYED] = Field(
        default=5,
        ge=1,
        le=20,
        description="Tries of one request before it counts as missing.",
        examples=[5],
        json_schema_extra=unit("try"),
    )
    timeout_s: Annotated[float, UNKEYED] = Field(
        default=120.0,
        gt=0,
        le=3600,
        description="Seconds one request may take.",
        examples=[120.0],
        json_schema_extra=unit("second"),
    )
    usd_per_million_input: Annotated[float, UNKEYED] = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="US dollars for a million prompt tokens.",
        examples=[0.6],
        json_schema_extra=unit("US dollar per million tokens"),
    )
    usd_per_million_output: Annotated[float, UNKEYED] = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="US dollars for a million answered tokens.",
        examples=[2.5],
        json_schema_extra=unit("US dollar per million tokens"),
    )


class Asking(Endpoint):
    """An endpoint, sampling and what may be missing."""

    max_tokens: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="Longest answer in tokens.",
        examples=[1024],
        json_schema_extra=unit("token"),
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        le=2,
        description="Sampling temperature; 0 is greedy.",
        examples=[0.0],
        json_schema_extra=unit("1"),
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Nucleus of the sampling.", examples=[1.0], json_schema_extra=unit("1")
    )
    top_logprobs: int = Field(
        default=0,
        ge=0,
        le=20,
        description="Likeliest tokens with log-probabilities per position; 0 asks for none.",
        examples=[20],
        json_schema_extra=unit("token"),
    )
    allow_missing: float = Field(
        ge=0,
        lt=1,
        description="Share of training rows that may stay without a usable answer; they are left out.",
        examples=[0.01],
        json_schema_extra=unit("1"),
    )


class Reached(Endpoint):
    """What a spec says of an endpoint besides; the compiler alone reads it."""

    insecure: bool = Field(
        default=False,
        description="Ask another machine over plain http, or without a key, as in a network of one's own: prompts, "
        "answers and key cross it in the clear.",
        examples=[False],
    )


class Server(Reached):
    """What a spec says of a server whose model is evaluated: answers are greedy, and as long as the suite says."""

    top_logprobs: int = Field(
        default=0,
        ge=0,
        le=20,
        description="Likeliest first tokens that the server gives with their log-probabilities: suites that ask how "
        "likely a reply of one token is, as `choice` and `judge`, ask by them. 0: it is asked for texts alone.",
        examples=[20],
        json_schema_extra=unit("token"),
    )


class Hosted(Asking, Reached):
    """What a spec says of a hosted teacher."""

    parameters: int | None = Field(
        default=None,
        ge=1,
        description="Total parameters, where its maker states them.",
        examples=[1000000000000],
        json_schema_extra=unit("parameter"),
    )


def gives(params: Hosted) -> frozenset[str]:
    """Signals under these parameters. One likeliest token compares nothing with anything: choices need two."""
    return frozenset({"text", "choices"} if params.top_logprobs >= LEAST_LOGPROBS else {"text"})


def is_first_token(reply: str) -> bool:
    """Whether a reply can be the first token of an answer. Which tokens a server has nobody knows; of several words, or
    of words and signs, is none."""
    return _ONE_TOKEN.fullmatch(reply.strip()) is not None


def in_a_word(replies: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises Refusal for rows that are answered by none of the replies of one token: asked before anything is paid."""
    for row in rows:
        if row["response"] not in replies:
            raise Refusal(
                f"row `{row['id']}` is answered by {str(row['response'])[:40]!r}, and the server tells how likely the "
                "first token of an answer is",
                action=f"name with `rows: {{source: …}}` rows that are answered by one of {', '.join(replies)}",
            )


def judge(base_url: str, model: str, served_as: str) -> dict[str, str]:
    """Which model behind a server judged, as reports say it: where it was asked, by which name, and the version that
    answered."""
    return {"base_url": base_url.rstrip("/"), "model": model, "served_as": served_as}


def fingerprint(judge: Mapping[str, str]) -> str:
    """64 hexadecimal digits of what `judge` says."""
    return digest.of_value(dict(judge), "kc.judge.v1").removeprefix("sha256:")


def is_version(version: str, wanted: str) -> bool:
    """Whether a version is the one that a spec names, with its fingerprint or with any."""
    return version == wanted or ("#" not in wanted and version.partition("#")[0] == wanted)
