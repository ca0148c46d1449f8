"""A chat template is a program by a stranger: it ends as a located refusal, in bounded time and memory, and runs no code."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runtime.contract import Refusal
from runtime.models.tokenizer.sandbox import CHARACTERS, Sandbox

HI = [{"role": "user", "content": "Hi"}]
DATE = "2024-07-26"


def rendered(template: str, seconds: float = 1.0, memory: int = 1 << 29) -> str:
    sandbox = Sandbox(template, DATE, seconds=seconds, memory=memory)
    return sandbox.render(HI, [], {"bos_token": "<s>"}, generation_prompt=True)


HOSTILE = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a loop that writes": "{% for a in range(99999) %}{% for b in range(999) %}aaaaaaaaaaaaaaaa{% endfor %}{% endfor %}",
    "a huge range": "{{ range(10**9) | list | length }}",
    "a huge text": "{{ 'a' * 10**11 }}",
    "a huge text while compiling": "{% set x = 'a' * 10**11 %}",
    "a huge list": "{{ ([0] * 10**10) | length }}",
    "a huge number": "{{ 10 ** (10 ** 10) }}",
    "a huge column": "{{ '' | center(10**11) }}",
    "a wide format": "{{ '%99999999999d' % 1 }}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "doubling": "{% set n = namespace(x='aa') %}{% for i in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "attributes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attributes by a filter": "{{ ('' | attr('__class__')).__mro__ }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('touch WITNESS') }}",
    "globals of a helper": "{{ raise_exception.__globals__['json'] }}",
    "a format that reaches in": "{{ '{0.__class__.__init__.__globals__}'.format(namespace) }}",
    "a namespace with underscores": "{% set n = namespace(__class__=1) %}{{ n }}",
    "including": "{% include '/etc/passwd' %}",
    "importing": "{% import 'os' as os %}{{ os }}",
    "extending": "{% extends 'base' %}",
    "changing what it is given": "{{ messages.append(1) }}",
    "no syntax": "{% for a in range(9",
    "no such filter": "{{ messages | shell }}",
    "what it does not know": "{{ messages[7].content.strip() }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_ends_as_a_refusal_and_runs_nothing(name: str, tmp_path: Path) -> None:
    witness, begun = tmp_path / "witness", time.monotonic()
    with pytest.raises(Refusal) as caught:
        rendered(HOSTILE[name].replace("WITNESS", str(witness)))
    assert caught.value.code == "KR0170"
    assert caught.value.place.startswith("chat_template.jinja")
    assert caught.value.action
    assert len(caught.value.message) < 700
    assert not witness.exists()
    assert time.monotonic() - begun < 30


def test_the_line_of_the_fault_is_named() -> None:
    with pytest.raises(Refusal) as caught:
        rendered("one\ntwo {{ messages[0].content }}\n{{ raise_exception('roles must alternate') }}")
    assert caught.value.place == "chat_template.jinja:3"
    assert "roles must alternate" in caught.value.message
    with pytest.raises(Refusal) as caught:
        rendered("one\n{% if %}")
    assert caught.value.place == "chat_template.jinja:2"


def test_a_long_text_within_the_cap_is_written() -> None:
    assert len(rendered(f"{{{{ 'a' * {CHARACTERS} }}}}")) == CHARACTERS
    with pytest.raises(Refusal, match="grows longer"):
        rendered(f"{{{{ 'a' * {CHARACTERS} }}}}b")


def test_a_template_goes_on_after_a_row_that_it_refused() -> None:
    sandbox = Sandbox("{% if messages[0].content == 'no' %}{{ raise_exception('no') }}{% endif %}yes", DATE)
    with pytest.raises(Refusal):
        sandbox.render([{"role": "user", "content": "no"}], [], {}, generation_prompt=False)
    assert sandbox.render(HI, [], {}, generation_prompt=False) == "yes"


def test_a_template_that_was_stopped_starts_again_for_the_next_row() -> None:
    slow = "{% if messages[0].content == 'no' %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}yes"
    sandbox = Sandbox(slow, DATE, seconds=0.5)
    with pytest.raises(Refusal, match="longer than"):
        sandbox.render([{"role": "user", "content": "no"}], [], {}, generation_prompt=False)
    assert sandbox.render(HI, [], {}, generation_prompt=False) == "yes"


def test_its_process_has_none_of_our_environment_and_ends_with_its_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCOMPILER_WITNESS", "secret")
    sandbox = Sandbox("yes", DATE)
    assert sandbox._process is not None
    process = sandbox._process.process
    environment = Path(f"/proc/{process.pid}/environ")
    if environment.exists():
        assert b"secret" not in environment.read_bytes()
    del sandbox
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_template_of_a_book_is_not_read() -> None:
    with pytest.raises(Refusal, match="characters"):
        Sandbox("a" * (1 << 20) + "b", DATE)
