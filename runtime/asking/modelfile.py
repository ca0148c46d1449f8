"""A tokenizer → the Modelfile by which Ollama asks a GGUF file as the model was trained, or why there is none.

Ollama writes conversations by a template in Go's language, not by the chat template in the file. Ours is made of what
the chat template puts between two contents, by the roles on either side, and is proven against it on conversations of
every kind before it is written: a model that is asked in another form than its own answers worse, without a word.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2

from runtime.contract import Refusal
from runtime.contract.conversation import Conversation, Message
from runtime.models.tokenizer import Tokenizer
from runtime.models.tokenizer.chat import Chat
from runtime.models.tokenizer.plain import Plain, split_template

FILE = "Modelfile"
#: in place of a role: before the first message, and where the answer begins
_START, _ANSWER = "", "answer"
#: no template holds these; white space at an end shows who trims
_CONTENTS = ("kilo quebec zulu", " alpha romeo tango ", "lima\n\nnovember\n", "x-ray", " whiskey\n")
#: between them every role follows every other that may stand before it
_ORDERS: Sequence[Sequence[str]] = (
    ("system", "user", "assistant", "user"),
    ("user", "assistant", "user", "assistant", "user"),
    ("system", "user"),
    ("user",),
)
#: what neither a Modelfile nor a template of Go can hold as plain text
_SIGNS = ("{{", "}}", '"""')
_TEXT = """\
# ollama create NAME -f Modelfile
FROM ./{{ weights }}
PARAMETER num_ctx {{ context }}
PARAMETER temperature 0
{% for stop in stops -%}
PARAMETER stop {{ stop }}
{% endfor -%}
TEMPLATE \"\"\"{{ template }}\"\"\"
"""


@dataclass(frozen=True)
class Made:
    """The text of a Modelfile; "" where there is none, and then why."""

    text: str
    lacks: str = ""


class _Unproven(Exception):
    """Why a chat template has no form in Go here."""


def of(words: Tokenizer, bos: str, stops: Sequence[str], context: int, weights: str) -> Made:
    """`bos` is the text that begins a sequence, `stops` are those that end an answer, `context` the tokens that the
    model reads, `weights` the name of the file beside it."""
    try:
        template = _single(words.template, bos) if isinstance(words, Plain) else _many(words)
        for text in (template.literal, *stops):
            if sign := next((one for one in _SIGNS if one in text), ""):
                raise _Unproven(f"the template holds {sign}")
    except _Unproven as why:
        return Made("", str(why))
    made = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True).from_string(_TEXT)
    # JSON's escapes of a text are those that Go reads in a quoted one
    quoted = [json.dumps(stop, ensure_ascii=False) for stop in stops]
    return Made(made.render(weights=weights, context=context, stops=quoted, template=template.text))


@dataclass(frozen=True)
class _Template:
    """A template of Go, and all plain text in it."""

    text: str
    literal: str


def _single(template: str, bos: str) -> _Template:
    """One question, by a template that a spec wrote itself; a chat template writes the beginning itself."""
    before, between = split_template(template)
    return _Template(f"{bos}{before}{{{{ .Prompt }}}}{between}", "\n".join((bos, before, between)))


def _many(words: Tokenizer) -> _Template:
    """Messages, by the tokenizer's own chat template. Raises _Unproven."""
    if not isinstance(words, Chat):
        raise _Unproven("its tokenizer has no template")
    between = _between(words)
    roles = dict.fromkeys(role for _, role in between if role != _ANSWER)
    turns = [
        _chosen(".Role", {role: _chosen("$before", _before(between, role)) + "{{ .Content }}" for role in roles}),
        "{{ $before = .Role }}",
    ]
    closing = _chosen("$before", _before(between, _ANSWER))
    text = f'{{{{ $before := "{_START}" }}}}{{{{ range .Messages }}}}{"".join(turns)}{{{{ end }}}}{closing}'
    return _Template(text, "\n".join(between.values()))


def _before(between: Mapping[tuple[str, str], str], role: str) -> dict[str, str]:
    return {first: text for (first, second), text in between.items() if second == role}


def _chosen(what: str, texts: Mapping[str, str]) -> str:
    """The text of whichever name `what` is."""
    parts = [
        f'{{{{ {"else if" if at else "if"} eq {what} "{name}" }}}}{text}'
        for at, (name, text) in enumerate(texts.items())
    ]
    return "".join([*parts, "{{ end }}"])


def _between(words: Chat) -> dict[tuple[str, str], str]:
    """(role, role after it) → what the template writes between their contents. Raises _Unproven where that depends on
    more, or the contents are not written as they are."""
    found: dict[tuple[str, str], str] = {}
    for order in _ORDERS:
        for shift in range(len(_CONTENTS)):
            contents = [*itertools.islice(itertools.cycle(_CONTENTS), shift, shift + len(order))]
            if len(set(contents)) < len(contents):
                continue
            messages: list[Message] = [
                {"role": role, "content": content} for role, content in zip(order, contents, strict=True)
            ]
            try:
                text = words.text(Conversation.of(messages), generation_prompt=True)
            except Refusal as why:
                if order[0] == "system":
                    # some have no place for one: then Ollama has none either
                    break
                raise _Unproven(f"it does not write {' then '.join(order)}: {why.message}") from None
            names, rest = [_START, *order, _ANSWER], text
            for at, content in enumerate(contents):
                before, sign, rest = rest.partition(content)
                if not sign or found.setdefault((names[at], names[at + 1]), before) != before:
                    raise _Unproven(
                        f"what it writes before a message of {order[at]} depends on more than the one before"
                    )
            if found.setdefault((names[-2], _ANSWER), rest) != rest:
                raise _Unproven("what it writes before an answer depends on more than the message before")
    return found
