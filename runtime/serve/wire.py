"""The JSON of a chat completion request → what the engine is asked, or what is wrong with it in OpenAI's form."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.contract import Refusal, Unavailable
from runtime.contract.strict_json import loads
from runtime.generate import calling, grammar
from runtime.generate.calling import Form
from runtime.generate.engine import Ask, Engine
from runtime.generate.words import BadChat

#: parameters without effect on an answer, which clients send
IGNORED = frozenset(
    {"user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)
#: parameters that are accepted as long as they ask for nothing
ONLY: Mapping[str, Any] = {
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "modalities": ["text"],
    "store": False,
}

#: how a field is called, and no alternative of a type (`str`, `list[…]`, `_Named`)
_FIELD = re.compile(r"(?!str\Z)[a-z][a-z_]*\Z")


class Wrong(Exception):
    """A request that is not answered: the HTTP status, and OpenAI's error object."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code, self.retry_after = message, status, param, code, retry_after

    @property
    def kind(self) -> str:
        """OpenAI's `type`."""
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Called(_Part):
    name: str
    arguments: str


class _ToolCall(_Part):
    id: str
    type: Literal["function"]
    function: _Called


class _Message(_Part):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Function(_Part):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(_Part):
    type: Literal["function"]
    function: _Function


class _Name(_Part):
    name: str


class _Named(_Part):
    type: Literal["function"]
    function: _Name


class _Schema(_Part):
    name: str
    given: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class _Format(_Part):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _StreamOptions(_Part):
    include_usage: bool | None = None


class Request(_Part):
    """What is read of a request."""

    model: str
    messages: list[_Message] = Field(min_length=1, max_length=2048)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    stop: str | list[str] | None = Field(default=None, max_length=16)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tools: list[_Tool] | None = Field(default=None, min_length=1, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | _Named | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request that can be answered. `form` and `tools`: how calls are written, and of what; `why_not`: what a whole
    answer is judged by."""

    ask: Ask
    stream: bool
    include_usage: bool
    form: Form | None = None
    tools: Sequence[calling.Tool] = ()
    must_call: bool = False
    why_not: Callable[[str], str] | None = None


def request(body: bytes) -> Request:
    """Raises Wrong for a body that is no request, or asks for what is not here."""
    try:
        value = loads(body, wide=True)
    except ValueError as error:
        raise Wrong(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Wrong("the body is no JSON object")
    given = {name: item for name, item in value.items() if item is not None and name not in IGNORED}
    for name, item in given.items():
        if name in ONLY:
            if type(item) is float:
                item = int(item) if item.is_integer() else item
            if not (type(item) is type(ONLY[name]) and item == ONLY[name]):
                raise Wrong(f"`{name}` can only be {ONLY[name]!r} here", param=name, code="unsupported_parameter")
        elif name not in Request.model_fields:
            raise Wrong(f"`{name}` is not supported", param=name, code="unsupported_parameter")
    try:
        return Request.model_validate({name: item for name, item in given.items() if name not in ONLY})
    except ValidationError as errors:
        first = errors.errors(include_url=False)[0]
        # without the names of the alternatives that were tried
        place = ".".join(str(part) for part in first["loc"] if type(part) is int or _FIELD.match(str(part)))
        raise Wrong(f"`{place}`: {first['msg']}", param=place) from None


def prepare(engine: Engine, asked: Request, most: int) -> Prepared:
    """What the engine is asked. `most`: longest answer that this server gives. Raises Wrong."""
    length = asked.max_completion_tokens or asked.max_tokens
    if length is not None and length > most:
        name = "max_completion_tokens" if asked.max_completion_tokens else "max_tokens"
        raise Wrong(f"an answer here has at most {most} tokens, not {length}", param=name)
    tools, form = _tools(engine, asked)
    schema = _schema(asked)
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    if tools and schema is not None:
        raise Wrong("either `tools` or a `response_format`: an answer is one or the other", param="response_format")
    if stops and (tools or schema is not None):
        raise Wrong("`stop` is not supported together with tools or a JSON answer", param="stop")
    if asked.logprobs and tools:
        raise Wrong("`logprobs` is not supported together with tools", param="logprobs")
    if asked.top_logprobs is not None and not asked.logprobs:
        raise Wrong("`top_logprobs` needs `logprobs`", param="top_logprobs")
    must = (not isinstance(asked.tool_choice, str) and asked.tool_choice is not None) or asked.tool_choice == "required"
    try:
        ids = _ids(engine, asked, tools)
        rule, why_not = "", None
        if schema is not None:
            why_not = grammar.judged(schema)
            rule = engine.grammars.json(schema)
        elif tools and form is not None:
            several = asked.parallel_tool_calls is not False
            rule = calling.grammar(engine.words, form, tools, "required" if must else "auto", several=several)
    except BadChat as error:
        raise Wrong(f"the model's chat template refuses these messages: {error}", param="messages") from None
    except Refusal as refusal:
        raise Wrong(f"{refusal.message}; {refusal.action}", param="response_format" if schema else "tools") from None
    except Unavailable as absent:
        raise Wrong(f"{absent.message}: {absent.needs}", param="response_format" if schema else "tools") from None
    room = engine.model.context - len(ids)
    if room < 1 or not ids:
        raise Wrong(
            f"the messages have {len(ids)} tokens, the context of this model {engine.model.context} with the answer",
            param="messages",
            code="context_length_exceeded",
        )
    return Prepared(
        ask=Ask(
            ids=ids,
            max_tokens=min(length or most, room),
            # a nucleus of nothing is its likeliest token, and so is what nobody asked to be drawn
            temperature=0.0 if asked.top_p == 0 else asked.temperature or 0.0,
            top_p=asked.top_p or 1.0,
            seed=secrets.randbits(63) if asked.seed is None else asked.seed % 2**64,
            stop=stops,
            top=(asked.top_logprobs or 0) if asked.logprobs else None,
            grammar=rule,
        ),
        stream=bool(asked.stream),
        include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        form=form if tools else None,
        tools=tools,
        must_call=must,
        why_not=why_not,
    )


def _schema(asked: Request) -> dict[str, Any] | None:
    """The schema of a JSON answer; None where any text will do."""
    wanted = asked.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None:
        raise Wrong("`response_format.json_schema` is missing", param="response_format")
    return wanted.json_schema.given


def _tools(engine: Engine, asked: Request) -> tuple[list[calling.Tool], Form | None]:
    """The tools that may be called, and how; none where no call is wanted."""
    choice = asked.tool_choice
    if not asked.tools:
        if choice is not None and choice != "none":
            raise Wrong("`tool_choice` needs `tools`", param="tool_choice")
        return [], None
    if choice == "none":
        return [], None
    form = engine.form
    if form is None:
        raise Wrong("this model's chat template writes tool calls in a form that is not known here", param="tools")
    try:
        tools = calling.registry([one.model_dump() for one in asked.tools])
    except Refusal as refusal:
        raise Wrong(refusal.message, param="tools") from None
    if isinstance(choice, _Named):
        tools = [tool for tool in tools if tool["name"] == choice.function.name]
        if not tools:
            raise Wrong(f"`tool_choice` names `{choice.function.name}`, which is no tool here", param="tool_choice")
    return tools, form


def _ids(engine: Engine, asked: Request, tools: Sequence[calling.Tool]) -> list[int]:
    messages = [_message(message, number) for number, message in enumerate(asked.messages)]
    words = engine.words
    if not words.template:
        raise BadChat("this model has none; it only continues texts")
    return words.encode(calling.told(messages, words, engine.form), calling.shown(tools))


def _message(message: _Message, number: int) -> dict[str, Any]:
    """One message as chat templates expect it: texts only, arguments of calls as objects."""
    content = message.content
    if isinstance(content, list):
        content = "".join(_text(part, number) for part in content)
    if content is None and message.role != "assistant":
        raise Wrong("`content` is missing", param=f"messages.{number}.content")
    made: dict[str, Any] = {
        "role": "system" if message.role == "developer" else message.role,
        "content": content or "",
    }
    made |= {key: value for key in ("name", "tool_call_id") if (value := getattr(message, key)) is not None}
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": one.id,
                "type": "function",
                "function": {"name": one.function.name, "arguments": _arguments(one, number)},
            }
            for one in message.tool_calls
        ]
    return made


def _text(part: Mapping[str, Any], number: int) -> str:
    """The text of a part of a message: what was said, or that nothing would be said."""
    kind = part.get("type")
    found = part.get(str(kind)) if kind in ("text", "refusal") else None
    if not isinstance(found, str):
        raise Wrong(
            f"a part of type {str(kind)[:40]!r} without text: this model reads text only",
            param=f"messages.{number}.content",
        )
    return found


def _arguments(call: _ToolCall, number: int) -> dict[str, Any]:
    place = f"messages.{number}.tool_calls"
    try:
        found = loads(call.function.arguments)
    except ValueError as error:
        raise Wrong(f"the arguments of call `{call.id}` are not JSON: {error}", param=place) from None
    if not isinstance(found, dict):
        raise Wrong(f"the arguments of call `{call.id}` are no JSON object", param=place)
    return found
