"""What a call is answered: by a declared equality, by the item's own world, or not at all, and then it is said why."""

import json
import random

import pytest

from runtime.contract import fixtures
from runtime.contract.fixtures import header, read, world_header
from runtime.tools.broker import recording
from runtime.tools.broker.session import Miss, Served, Session
from runtime.tools.broker.statistics import measure
from tests.unit.runtime.tools.broker.tau import TOOLS, TRIALS, needs_trials

SHOP = [
    {
        "name": "look",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {
                "item": {"type": "string"},
                "sizes": {"type": "array"},
                "count": {"type": "number", "default": 1},
            },
        },
    },
    {"name": "buy", "description": "", "parameters": {"type": "object", "properties": {"item": {"type": "string"}}}},
    {"name": "think", "description": "", "parameters": {"type": "object", "properties": {}}},
]
LOOK, BUY, THINK = SHOP
STOCK = "world.stock[args.item]"
SELL = {
    "kind": "stateful",
    "let": [["left", f"{STOCK} - 1"]],
    "checks": [{"unless": f"{STOCK} > 0", "result": "'sold out'"}],
    "answer": "f'{left} left'",
    "writes": [{"collection": "stock", "key": "args.item", "value": "left"}],
}


def shop(*looks, normalise=None, stock=(("pen", 1),)):
    head = header(LOOK, SHOP) | ({"normalise": normalise} if normalise else {})
    files = {
        "look.jsonl": [head, *looks],
        "buy.jsonl": [header(BUY, SHOP), SELL],
        "think.jsonl": [header(THINK, SHOP), {"kind": "ignore_args", "result": ""}],
        "world.jsonl": [world_header(SHOP), *({"collection": "stock", "key": k, "value": v} for k, v in stock)],
    }
    return read({n: [(f"{n}:{i}", one) for i, one in enumerate(lines, 1)] for n, lines in files.items()}, SHOP)


def exact(args, result="found", **more):
    return {"kind": "exact", "args": args, "result": result, **more}


def test_state_is_read_and_changed_in_one_item_alone():
    held = shop()
    session = Session(held, "a")
    assert [session.call("buy", {"item": "pen"}).result for _ in range(2)] == ["0 left", "sold out"]
    assert session.changed() == {"stock": {"pen": 0}}
    assert Session(held, "b").call("buy", {"item": "pen"}).result == "0 left"


def test_after_a_missed_write_its_collection_is_unknown():
    session = Session(shop(), "a")
    assert isinstance(session.call("buy", {"item": "hat"}), Miss)
    assert isinstance(session.call("buy", {"item": "pen"}), Miss)
    assert session.changed() == {}


def test_what_is_said_of_an_item_goes_before_what_is_said_of_all():
    held = shop(exact({"item": "pen"}), exact({"item": "pen"}, "mine", scope="item:a"))
    assert Session(held, "a").call("look", {"item": "pen"}).result == "mine"
    assert Session(held, "b").call("look", {"item": "pen"}).result == "found"


def test_a_failed_tool_is_told_apart():
    held = shop({"kind": "error", "args": {"item": 3}, "result": "Error: item must be a string"})
    answer = Session(held, "a").call("look", {"item": 3})
    assert isinstance(answer, Served)
    assert answer.failed


@pytest.mark.parametrize(
    ("asked", "normaliser", "hint"),
    [
        ({"item": "Cafe\u0301"}, "nfc", "`nfc`"),
        ({"item": " Café "}, "strip", "`strip`"),
        ({"item": "café"}, "casefold", "`casefold`"),
    ],
)
def test_texts_that_differ_in_spelling_are_equal_only_where_that_is_declared(asked, normaliser, hint):
    line = exact({"item": "Café"})
    missed = Session(shop(line), "a").call("look", asked)
    assert isinstance(missed, Miss)
    assert hint in missed.near
    assert Session(shop(line, normalise={"item": [normaliser]}), "a").call("look", asked).result == "found"


def test_one_number_has_one_key_however_it_is_written_and_a_text_is_no_number():
    held = shop(exact({"item": "pen", "count": 2}))
    assert Session(held, "a").call("look", {"count": 2.0, "item": "pen"}).result == "found"
    missed = Session(held, "a").call("look", {"item": "pen", "count": "2"})
    assert "a text beside a number" in missed.near


def test_what_is_left_out_order_and_null_count_unless_declared_otherwise():
    line = exact({"item": "pen", "sizes": ["s", "m"], "count": 1})
    turned = {"item": "pen", "sizes": ["m", "s"], "count": 1}
    missed = Session(shop(line), "a").call("look", turned)
    assert "only the order" in missed.near
    assert Session(shop(line, normalise={"sizes": ["unordered"]}), "a").call("look", turned).result == "found"
    short = {"item": "pen", "sizes": ["s", "m"]}
    assert "`count` is left out" in Session(shop(line), "a").call("look", short).near
    assert Session(shop(line, normalise={"count": ["omit_default"]}), "a").call("look", short).result == "found"
    null = {**short, "count": None}
    assert isinstance(Session(shop(line, normalise={"count": ["omit_default"]}), "a").call("look", null), Miss)


def test_arguments_that_no_json_has_are_a_miss():
    assert "RFC 8785" in Session(shop(), "a").call("look", {"item": float("nan")}).why


@needs_trials
def test_real_calls_keep_their_key_when_keys_are_shuffled_and_lose_it_when_a_value_changes():
    rng = random.Random(7)
    plain = {tool["name"]: fixtures.Tool(tool["name"], {}, {}) for tool in TOOLS}
    calls = [call for one in recording.load(TRIALS) for call in one.calls]
    assert len(calls) > 800

    def shuffled(value):
        if isinstance(value, dict):
            names = rng.sample(list(value), len(value))
            return {name: shuffled(value[name]) for name in names}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    for call in calls:
        tool = plain[call.tool]
        assert tool.key(shuffled(call.args)) == tool.key(json.loads(json.dumps(call.args))) == tool.key(call.args)
        if call.args:
            name = next(iter(call.args))
            assert tool.key({**call.args, name: [call.args[name]]}) != tool.key(call.args)
            assert tool.key({key: value for key, value in call.args.items() if key != name}) != tool.key(call.args)


def test_a_served_wrong_answer_is_counted_apart_from_a_miss():
    call = recording.Made("look", {"item": "pen"}, "nothing", "calls[1]")
    found = measure(shop(exact({"item": "pen"})), [recording.Episode("a", 0, (call,), None)])
    assert (found.total.served, found.total.equal, len(found.wrong)) == (1, 0, 1)
