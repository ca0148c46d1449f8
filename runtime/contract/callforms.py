"""A model's whole text → the calls in it, in one of the forms that a suite declares; or the reason why there are none.

`native` is the form of this compiler's own students, call after call, nothing between them. `tagged` (Hermes, Qwen,
SmolLM), `listed` (Mistral) and `llama` are those of chat templates that runtime/generate/calling.py knows. `json` is
a list of objects with name and arguments, or of `{name: arguments}`; `python` is `[f(a=1), g(b="x")]`, read as a syntax
tree of literals: nothing of it is ever run.

Strict: a text that is not wholly calls in a declared form is none; but text around tagged calls is allowed, as their
templates allow it. Nothing is repaired.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

from runtime.contract import calls
from runtime.contract.attempts import attempts
from runtime.contract.calls import PREFIX, Call, Fault
from runtime.contract.strict_json import Json, loads

Form = Literal["native", "tagged", "listed", "llama", "json", "python"]
NATIVE: Form = "native"
#: most calls of one text, and the longest text that is read as Python: its parser is not made for hostile input
MAX_CALLS, MAX_PYTHON = 64, 20_000
#: deepest nesting that Python text may have, counted in brackets before it is parsed
_MAX_BRACKETS = 40
_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_LISTED = re.compile(r"\s*\[TOOL_CALLS\]\s*(\[.*\])\s*", re.DOTALL)
_PYTHON = re.compile(r"\s*\[?\s*[A-Za-z_][\w.]*\s*\(")
_FENCED = re.compile(r"```\w*\s(.*?)\s*```", re.DOTALL)
#: functions and modules that answers are written with, which nobody offers as tools
_LIBRARY = frozenset(
    {
        *dir(builtins),
        "Decimal",
        "Fraction",
        "collections",
        "date",
        "datetime",
        "itertools",
        "json",
        "math",
        "np",
        "numpy",
    }
    | {"os", "pandas", "pd", "plt", "re", "self", "sys", "timedelta", "torch"}
)
_NAMED = ("name", "arguments")

Found = Sequence[Call] | Fault | None


def read(text: str, forms: Sequence[Form] = ("native",), names: Iterable[str] = ()) -> tuple[Call, ...] | Fault:
    """The calls of a text in the first of `forms` that it has, in their order; at least one.

    `names` are the tools of the registry, so that a call in none of the forms is not taken for silence; with their
    validators, arguments alone are not either."""
    names = names if isinstance(names, Mapping) else tuple(names)
    for form in forms:
        found = _READERS[form](text)
        if isinstance(found, Fault):
            return found
        if found is not None:
            if len(found) > MAX_CALLS:
                return Fault("wrong_form", f"more than {MAX_CALLS} calls")
            # only tagged calls may have text around them
            if form == "tagged" and _attempts(_TAGGED.sub("\n", text).strip(), names):
                return Fault("foreign_form", "beside the tagged calls stands one in another form")
            return tuple(found)
    fault = calls.parse(text, names)
    if isinstance(fault, Fault) and (fault.kind != "no_call" or not _readable(text.strip())):
        return fault
    return Fault("foreign_form", f"not in the form {' or '.join(forms)}")


def _attempts(text: str, names: Iterable[str]) -> bool:
    """Whether a text attempts a call: what any form would read is one, whichever are declared, in a fence as well."""
    return PREFIX + "{" in text or attempts(text, names) or _readable(text)


def _readable(text: str) -> bool:
    """Whether any form would read calls in a text, in a fence as well, or whether it is nothing but calls in Python
    whose arguments have no names. Calls of what comes with the language are no calls of tools."""
    fenced = _FENCED.fullmatch(text)
    whole = fenced[1] if fenced else text
    for reader in _READERS.values():
        found = reader(whole)
        if not found or isinstance(found, Fault):
            continue
        if reader is not _python or not all(_of_library(one.name) for one in found):
            return True
    return _positional(whole)


def _of_library(name: str) -> bool:
    return name.partition(".")[0] in _LIBRARY


def _positional(text: str) -> bool:
    """Whether a text is nothing but calls in Python of names that only a tool has (of two words, or out of something),
    with values that have no names."""
    stripped = text.strip().rstrip(";")
    if not _PYTHON.match(stripped):
        return False
    try:
        body = parsed(stripped)
        made = body.elts if isinstance(body, ast.List | ast.Tuple) else [body]
        called = [one for one in made if isinstance(one, ast.Call)]
        names = [_dotted(one.func) for one in called]
        for one in called:
            for value in (*one.args, *(keyword.value for keyword in one.keywords)):
                _literal(value)
    except ValueError:
        return False
    told = any(("_" in name or "." in name or name[1:] != name[1:].lower()) and not _of_library(name) for name in names)
    return told and len(called) == len(made)


def _native(text: str) -> Found:
    if PREFIX + "{" not in text:
        return None
    one = calls.parse(text)
    if isinstance(one, Call):
        return (one,)
    if one.kind != "text_around_call" or not text.lstrip().startswith(PREFIX):
        return one
    rest, made = text.strip(), []
    while rest:
        if not rest.startswith(PREFIX + "{"):
            return Fault("text_around_call", "between or after calls")
        end = _end(rest, len(PREFIX))
        call = calls.parse(rest[:end])
        if isinstance(call, Fault):
            return call
        made.append(call)
        if len(made) > MAX_CALLS:
            break
        rest = rest[end:].lstrip()
    return made


def _end(text: str, start: int) -> int:
    """Where the JSON object that begins at `start` ends; the end of the text where it does not."""
    try:
        return json.JSONDecoder().raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return len(text)


def _value(text: str) -> Json | Fault:
    try:
        return loads(text, doubles=True)
    except ValueError as error:
        return Fault("malformed_json", str(error))


def _made(value: Any, fields: tuple[str, str]) -> Call | Fault:
    if isinstance(value, dict) and set(value) in ({*fields}, {*fields, "id"}):
        name, args = value[fields[0]], value[fields[1]]
        if isinstance(name, str) and isinstance(args, dict):
            return Call(name, args)
    return Fault("wrong_form", f"a call is an object of {' and '.join(fields)}")


def _all(values: Iterable[Any], fields: tuple[str, str] = _NAMED) -> Sequence[Call] | Fault:
    found = []
    for value in values:
        made = _made(value, fields)
        if isinstance(made, Fault):
            return made
        found.append(made)
    return found


def _tagged(text: str) -> Found:
    if "<tool_call>" not in text:
        return None
    bodies = _TAGGED.findall(text)
    if len(bodies) != text.count("<tool_call>"):
        return Fault("malformed_json", "a call does not end")
    values = [_value(body) for body in bodies]
    broken = next((value for value in values if isinstance(value, Fault)), None)
    return broken or _all(values)


def _listed(text: str) -> Found:
    if "[TOOL_CALLS]" not in text:
        return None
    whole = _LISTED.fullmatch(text)
    if whole is None:
        return Fault("text_around_call", "a list of calls is the whole answer")
    value = _value(whole[1])
    return value if isinstance(value, Fault) else _all(cast(list[Json], value))


def _llama(text: str) -> Found:
    stripped = text.strip()
    if not stripped.startswith("{") or '"parameters"' not in stripped:
        return None
    value = _value(stripped)
    return value if isinstance(value, Fault) else _all([value], ("name", "parameters"))


def _json(text: str) -> Found:
    stripped = text.strip()
    if not stripped.startswith(("[{", "{", "[ {", "[\n")):
        return None
    value = _value(stripped)
    if isinstance(value, Fault):
        # a list of Python calls begins with a bracket as well
        return None if _PYTHON.match(stripped) else value
    listed = value if isinstance(value, list) else [value]
    renamed = [_renamed(one) for one in listed]
    # other JSON is an answer in JSON
    named = bool(renamed) and all(isinstance(one, dict) and "name" in one for one in renamed)
    return _all(renamed) if named else None


def _renamed(value: Json) -> Json:
    """`{"f": {"a": 1}}` as the object of name and arguments that it abbreviates."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, args),) = value.items()
        return {"name": name, "arguments": args} if isinstance(args, dict) else value
    return value


def _python(text: str) -> Found:
    stripped = text.strip()
    if not _PYTHON.match(stripped):
        return None
    if len(stripped) > MAX_PYTHON or _depth(stripped) > _MAX_BRACKETS:
        return Fault("wrong_form", "too long or too deep to be a call")
    try:
        body = parsed(stripped)
        made = [_of_tree(one) for one in (body.elts if isinstance(body, ast.List) else [body])]
    except ValueError as error:
        # a sentence with a bracket is no call: whether it attempts one is for the caller to say
        return Fault("malformed_json", f"no call in Python: {str(error)[:80]}") if stripped.startswith("[") else None
    return made


def parsed(text: str) -> ast.expr:
    """A text as one expression of Python, which is read and never run. Raises ValueError for what is none, and for what
    is too long or too deep for its parser."""
    if len(text) > MAX_PYTHON or _depth(text) > _MAX_BRACKETS:
        raise ValueError("too long or too deep")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from None


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    # signs before a number nest, too
    return max(deepest, max((len(run) for run in re.findall(r"[-+~]+", text)), default=0))


def _of_tree(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("arguments are named")
    args: dict[str, Json] = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in args:
            raise ValueError("an argument stands there once, by its name")
        args[keyword.arg] = _literal(keyword.value)
    return Call(_dotted(node.func), args)


def _dotted(node: ast.expr) -> str:
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError("a function is a name")
    return ".".join(reversed([*names, node.id]))


def _literal(node: ast.expr) -> Json:
    """A literal as a value of JSON. Raises ValueError for everything that would have to be computed."""
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool | int | float | str)):
        if isinstance(node.value, str):
            node.value.encode()
            return node.value
        # what is no JSON number (an infinity, an integer of hundreds of digits) is none here
        return loads(json.dumps(node.value), doubles=True)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _literal(node.operand)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError("only a number has a sign")
        return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(one) for one in node.elts]
    if isinstance(node, ast.Dict):
        found: dict[str, Json] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            name = _literal(key) if key is not None else None
            if not isinstance(name, str) or name in found:
                raise ValueError("a key is a text, once")
            found[name] = _literal(value)
        return found
    raise ValueError("a value is a literal")


def write(made: Sequence[Call], form: Form = "native") -> str:
    """Calls as a model of this form writes them; `read` gives them back."""
    if form == "native":
        return "\n".join(calls.render(call) for call in made)
    if form == "python":
        return f"[{', '.join(f'{one.name}({_arguments(one)})' for one in made)}]"
    fields = ("name", "parameters") if form == "llama" else _NAMED
    texts = [json.dumps(dict(zip(fields, (one.name, one.args), strict=True)), ensure_ascii=False) for one in made]
    if form == "tagged":
        return "\n".join(f"<tool_call>\n{text}\n</tool_call>" for text in texts)
    if form == "llama":
        return "\n".join(texts)
    return f"{'[TOOL_CALLS] ' if form == 'listed' else ''}[{', '.join(texts)}]"


def _arguments(call: Call) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in call.args.items())


_READERS: Mapping[Form, Callable[[str], Found]] = {
    "native": _native,
    "tagged": _tagged,
    "listed": _listed,
    "llama": _llama,
    "json": _json,
    "python": _python,
}
