"""A chat template and messages → text, in a process of its own: started by `sandbox`, never imported by the machine.

The environment is that of Transformers 5.23 (`utils/chat_template_utils.py`): jinja2's immutable sandbox, trim_blocks,
lstrip_blocks, loop controls, `{% generation %}`, and its own tojson, raise_exception, namespace and dict; there is no
loader, so nothing can be included or imported. Only `strftime_now` differs: it tells the date that the spec declares.

One JSON object a line, each answered by one: `{bytes, characters, seconds}`, the caps; `{template, date}`; then
requests `{messages, tools, add_generation_prompt, …}`, by `{text}` or `{error, line}`. Standard library and jinja2
only.
"""

import datetime
import json
import resource
import sys
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

#: how jinja2 calls a template that comes from no file, in tracebacks
_FILE = "<template>"


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` marks an assistant's turn for Transformers' mask; here it only writes what stands in it."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it as an instance's, and a class variable may not replace that)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Dict:
    """`dict(…)` without the attributes of the type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _Namespace(Namespace):
    """jinja2's own, without names that lead into Python."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        own, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            _Namespace._check(name)
        Namespace.__init__(own, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._check(name)
        Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace holds no name with an underscore first: {name!r}")


def _raise(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def _tojson(
    x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _compiled(template: str, date: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    now = datetime.datetime.fromisoformat(date)
    environment.filters["tojson"] = _tojson
    environment.globals |= {
        "raise_exception": _raise,
        "strftime_now": lambda form: now.strftime(form),
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment.from_string(template)


def _rendered(template: jinja2.Template, request: dict[str, Any], most: int) -> str:
    parts, size = [], 0
    for part in template.generate(**request):
        size += len(part)
        if size > most:
            raise jinja2.exceptions.TemplateError(f"the text grows longer than {most} characters")
        parts.append(part)
    return "".join(parts)


def _line(error: BaseException) -> int:
    """The line of the template in which an error arose, 0 where it is not known."""
    if isinstance(error, jinja2.exceptions.TemplateSyntaxError):
        return error.lineno
    found, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _failed(error: BaseException) -> dict[str, Any]:
    said = "it needs more memory than it is given" if isinstance(error, MemoryError) else str(error)
    if not isinstance(error, jinja2.exceptions.TemplateError):
        said = f"{type(error).__name__}: {said}"
    return {"error": said[:500], "line": _line(error)}


def _last(seconds: float) -> None:
    """Live for so many seconds of processor time more at most, also where nobody is left who could kill it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def main() -> None:
    """Answer line by line until the input ends. What a template does wrong is an answer, never the end."""
    caps = json.loads(sys.stdin.readline())
    for kind in ("RLIMIT_AS", "RLIMIT_DATA"):
        most = getattr(resource, kind, None)
        if most is not None:
            resource.setrlimit(most, (caps["bytes"], caps["bytes"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    template: jinja2.Template | None = None
    reply: dict[str, Any] = {}
    while True:
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return
        _last(caps["seconds"])
        try:
            request = json.loads(line)
            if template is None:
                template, reply = _compiled(request["template"], request["date"]), {}
            else:
                reply = {"text": _rendered(template, request, caps["characters"])}
        except Exception as error:
            reply = _failed(error)


if __name__ == "__main__":
    main()
