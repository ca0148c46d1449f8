"""A shop with a small world, scenarios in it, and models that do them rightly, wrongly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runtime.contract import callforms
from runtime.contract.calls import Call
from runtime.contract.conversation import Conversation, row_of
from runtime.contract.fixtures import header, read, world_header
from runtime.contract.toolbox import Toolbox
from tests.unit.runtime.suites.models import Scripted

TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 1}


def _tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    return {"name": name, "description": f"{name} something", "parameters": parameters}


TOOLS = [_tool("look", item=TEXT), _tool("buy", item=TEXT, count=COUNT), _tool("burn", item=TEXT)]
ITEMS = [f"pen {number}" for number in range(60)]
_LINES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "look": [{"kind": "stateful", "answer": "f'{world.stock[args.item]} in stock'"}],
    "buy": [
        {
            "kind": "stateful",
            "let": [["left", "world.stock[args.item] - args.count"]],
            "checks": [{"unless": "left >= 0", "result": "'Error: not enough'"}],
            "answer": "f'sold, {left} left'",
            "writes": [{"collection": "stock", "key": "args.item", "value": "left"}],
        }
    ],
    "burn": [{"kind": "ignore_args", "result": "burnt"}],
}


#: a tool that writes where nobody asked it to
_BURNS = {
    "kind": "stateful",
    "answer": "f'burnt'",
    "writes": [{"collection": "stock", "key": "args.item", "value": "0"}],
}


def lines(items: Sequence[str] = ITEMS) -> dict[str, list[dict[str, Any]]]:
    """The fixtures of the tools, and the world; of other items nothing is known."""
    files: dict[str, list[dict[str, Any]]] = {
        tool["name"]: [header(tool, TOOLS), *({**line, "review": "accepted"} for line in _LINES[tool["name"]])]
        for tool in TOOLS
    }
    files["world"] = [
        world_header(TOOLS),
        *({"collection": "stock", "key": one, "value": 9, "review": "accepted"} for one in items),
    ]
    return files


def shop(items: Sequence[str] = ITEMS, *, burns: bool = False) -> Toolbox:
    """The tools with their fixtures; where `burns`, one of them changes the world."""
    files = lines(items)
    if burns:
        files["burn"][1:] = [{**_BURNS, "review": "accepted"}]
    return Toolbox(TOOLS, read({k: [(f"{k}:{i}", x) for i, x in enumerate(v, 1)] for k, v in files.items()}, TOOLS))


def scene(number: int) -> dict[str, Any]:
    """A row: every third wants one call, several in one answer, a chain of three."""
    item, kind = ITEMS[number], number % 3
    buy = [Call("buy", {"item": item, "count": count}) for count in ((2,), (2, 1), (2, 1))[kind]]
    steps = ([buy], [buy], [[Call("look", {"item": item})], *([one] for one in buy)])[kind]
    left = 9 - sum(int(str(one.args["count"])) for one in buy)
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"Task {number}: {item}"}]
    stock = 9
    for step in [*steps] if kind == 2 else [buy]:
        made, results = [], []
        for at, call in enumerate(step):
            name = f"c{len(messages)}-{at}"
            stock -= int(str(call.args.get("count", 0)))
            told = f"sold, {stock} left" if call.name == "buy" else f"{stock} in stock"
            function = {"name": call.name, "arguments": call.args}
            made.append({"id": name, "type": "function", "function": function})
            results.append({"role": "tool", "content": told, "tool_call_id": name, "name": call.name})
        messages += [{"role": "assistant", "content": "", "tool_calls": made}, *results]
    messages.append({"role": "assistant", "content": f"Done: now {left} are there."})
    return {
        **row_of(messages),
        "id": str(number),
        "class": "",
        "spans": {},
        "source": "shop",
        "wanted": {
            "calls": [{"name": one.name, "args": {k: [v] for k, v in one.args.items()}} for one in buy],
            "order": "given",
            "forbidden": ["burn"],
            "state": {"stock": {item: left}},
            "facts": [{"value": str(left), "type": "number"}],
            "turns": 6,
        },
    }


def rightly(row: dict[str, Any], at: int, _form: str = "") -> str:
    """The row's own path, answer by answer."""
    from runtime.tools.broker.played import own_path

    return own_path(row)[at]


def model(rows: Sequence[dict[str, Any]], acts: Callable[[dict[str, Any], int], str] = rightly) -> Scripted:
    """A runner that acts on a row by how many answers it has given."""
    by_text = {str(row["messages"][0]["content"]): row for row in rows}

    def says(prompt: Any) -> str:
        assert isinstance(prompt, Conversation)
        messages = prompt.messages
        assert {tool["function"]["name"] for tool in prompt.tools} == {"look", "buy", "burn"}
        return acts(by_text[messages[0]["content"]], sum(one["role"] == "assistant" for one in messages))

    return Scripted(says)


def first(count: int, otherwise: Callable[[dict[str, Any], int], str]) -> Callable[[dict[str, Any], int], str]:
    """Otherwise in the first rows, rightly in all that follow."""
    return lambda row, at: otherwise(row, at) if int(row["id"]) < count else rightly(row, at)


def call(name: str, **args: Any) -> str:
    return callforms.write([Call(name, args)])


def tagged(row: dict[str, Any], at: int) -> str:
    """The right path in the form of another chat template."""
    made = callforms.read(rightly(row, at), ("native",))
    return callforms.write(made, "tagged") if isinstance(made, tuple) else rightly(row, at)
