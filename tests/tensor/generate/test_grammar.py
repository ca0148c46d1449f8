"""Answers by a schema, from a model of random weights: each is valid, or nobody gets it. Needs the extra `grammar`."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("llguidance", reason="the extra `grammar` is not installed")

from runtime.contract import Refusal, calls
from runtime.contract.calls import Call
from runtime.generate import calling, grammar, opening, words
from runtime.generate.dialogue import Dialogue, Settings
from runtime.generate.engine import Ask
from runtime.generate.grammar import Broken
from tests.tensor.generate import folders

CITY = {
    "type": "object",
    "properties": {
        "zone": {"enum": ["é", "naïve"]},
        "city": {"type": "string", "maxLength": 6},
        "size": {"type": "integer", "minimum": 1, "maximum": 99},
    },
    "required": ["zone", "city", "size"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "name": "set_alarm",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {"minute": {"type": "integer", "minimum": 0, "maximum": 59}, "hour": {"enum": [7, 8]}},
            "required": ["minute", "hour"],
            "additionalProperties": False,
        },
    },
    {
        "name": "add",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": {"enum": ["a", "é"]}, "uniqueItems": True, "maxItems": 2}
            },
            "required": ["items"],
            "additionalProperties": False,
        },
    },
]
FORMS = [calling.NATIVE, calling.TAGGED, calling.LLAMA, calling.LISTED]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = folders.llama(tmp_path_factory.mktemp("model"), context=512)
    return opening.engine(opening.of_folder(folder), "torch")


def fed(engine, text, rule):
    """The matcher of a rule that was given a text, and how many of its tokens it took."""
    matcher, taken = engine.grammars.matcher(rule), 0
    for token in engine.words.backend.encode(text, add_special_tokens=False).ids:
        if not matcher.allowed()[token]:
            break
        matcher.take(token)
        taken += 1
    return matcher, taken


def takes(engine, text, rule):
    """Whether the text is one that the rule allows, to its end."""
    ids = engine.words.backend.encode(text, add_special_tokens=False).ids
    matcher, taken = fed(engine, text, rule)
    end = min(engine.words.stops)
    return taken == len(ids) and (matcher.complete or bool(matcher.allowed()[end]))


def write(engine, seed, **more):
    ids = engine.words.encode([{"role": "user", "content": "cat"}])
    writing = engine.write(Ask(ids=ids, max_tokens=200, temperature=1.0, seed=seed, **more))
    while not writing.finish:
        writing.advance()
    return writing


def test_random_weights_write_valid_json(engine):
    rule, why_not = engine.grammars.json(CITY), grammar.judged(CITY)
    texts = set()
    for seed in range(12):
        writing = write(engine, seed, grammar=rule)
        assert writing.finish == "stop"
        assert why_not(writing.text) == ""
        texts.add(writing.text)
    assert len(texts) > 6


def test_keys_come_in_the_order_declared_and_any_spelling_of_a_letter_is_taken(engine):
    rule = engine.grammars.json(CITY)
    assert takes(engine, '{"zone":"é","city":"x","size":3}', rule)
    assert takes(engine, '{"zone": "é", "city": "caf\\u00e9", "size": 3}', rule)
    assert not takes(engine, '{"city":"x","zone":"é","size":3}', rule)
    assert not takes(engine, '{"zone":  "é","city":"x","size":3}', rule)
    assert not takes(engine, '{"zone":"é","city":"x","size":100}', rule)


def test_an_answer_that_ends_in_the_middle_is_broken(engine):
    """llguidance's mask after an error allows the end token alone: a loop that only looks at masks would end here."""
    matcher, _ = fed(engine, '{"zone":', engine.grammars.json(CITY))
    with pytest.raises(Broken, match=r"did not take|gave up"):
        matcher.take(engine.words.backend.token_to_id("<|im_start|>"))
    with pytest.raises(Broken, match="gave up"):
        matcher.allowed()
    matcher, _ = fed(engine, '{"zone":', engine.grammars.json(CITY))
    with pytest.raises(Broken, match="in the middle"):
        matcher.take(min(engine.words.stops))


def test_a_grammar_that_gives_up_breaks_the_answer(engine, monkeypatch):
    """Whatever the reason: nothing is shown as JSON that is none."""
    writing = engine.write(
        Ask(
            ids=engine.words.encode([{"role": "user", "content": "cat"}]),
            max_tokens=50,
            grammar=engine.grammars.json(CITY),
        )
    )
    writing.advance()
    writing._matcher._matcher.consume_token(engine.words.backend.token_to_id("<|im_start|>"))
    with pytest.raises(Broken, match="gave up"):
        writing.advance()


def test_what_llguidance_does_not_know_is_judged_afterwards(engine):
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2, "uniqueItems": True}
        },
        "required": ["a"],
        "additionalProperties": False,
    }
    rule, why_not = engine.grammars.json(schema), grammar.judged(schema)
    assert takes(engine, '{"a":[1,1]}', rule)
    assert "non-unique" in why_not('{"a":[1,1]}')
    found = [write(engine, seed, grammar=rule).text for seed in range(12)]
    assert {bool(why_not(text)) for text in found} == {True, False}
    with pytest.raises(Broken, match="non-unique"):
        grammar.whole('{"a":[1,1]}', [why_not('{"a":[1,1]}')])


def test_a_dialogue_shows_no_answer_that_breaks_its_schema(engine):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "not": {"required": ["a"]}}
    shown = []
    with pytest.raises(Broken, match="not by its schema"):
        shown.extend(Dialogue(engine, Settings(max_tokens=200, temperature=1.0), schema=schema).ask("cat"))
    assert shown == []
    talk = Dialogue(engine, Settings(max_tokens=3, temperature=1.0), schema=CITY)
    assert list(talk.ask("cat")) == []
    assert talk.cut
    assert talk.constrained


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "#/$defs/none"}, "leads to no schema"),
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, "schema"),
        ({"type": "object", "nullable": True}, "nullable"),
        ({"type": "object", "$ref": "http://example.org/x"}, "outside"),
        ([], "no object"),
    ],
)
def test_a_schema_that_is_not_read_strictly_is_refused(engine, schema, why):
    with pytest.raises(Refusal, match=why) as refused:
        Dialogue(engine, Settings(max_tokens=3), schema=schema)
    assert refused.value.code == "KR0205"


NODE = {
    "type": "object",
    "properties": {"v": {"enum": [1, 2]}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["v", "next"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"$defs": {"node": NODE}, "$ref": "#/$defs/node"}, '{"v": 1, "next": {"v": 2, "next": null}}', '{"v": 3}'),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, "[1, 2]", "[1, 2, 3]"),
        ({"enum": ["yes", "no"]}, '"no"', '"maybe"'),
    ],
)
def test_an_answer_need_be_no_object(engine, schema, right, wrong):
    """As pydantic writes a model that holds itself: a `$ref` at the root."""
    rule, why_not = engine.grammars.json(schema), grammar.judged(schema)
    assert takes(engine, right, rule)
    assert not takes(engine, wrong, rule)
    assert why_not(right) == ""
    assert why_not(wrong)


def test_a_schema_that_makes_no_grammar_is_refused(engine):
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=a)b"}}, "required": ["a"]}
    with pytest.raises(Refusal, match="no grammar") as refused:
        Dialogue(engine, Settings(max_tokens=3), schema=schema)
    assert refused.value.code == "KR0204"


@pytest.mark.parametrize("form", FORMS)
def test_a_required_call_is_a_call(engine, form):
    rule = calling.grammar(engine.words, form, TOOLS[:1], "required")
    found = set()
    for seed in range(8):
        said, made = calling.read(write(engine, seed, grammar=rule).text, form, TOOLS)
        assert said == ""
        assert [call.name for call in made] == ["set_alarm"]
        assert 0 <= made[0].args["minute"] <= 59
        found.add(json.dumps(made[0].args))
    assert len(found) > 3


def test_our_own_students_are_given_calls_in_their_own_spelling(engine):
    """RFC 8785 sorts the keys, whatever order the registry has."""
    for choice in ("auto", "required"):
        rule = calling.grammar(engine.words, calling.NATIVE, TOOLS, choice)
        assert takes(engine, calls.render(Call("set_alarm", {"minute": 5, "hour": 7})), rule)
        assert not takes(engine, 'tool.call{"name":"set_alarm","args":{"minute":5,"hour":7}}', rule)
        assert not takes(engine, 'tool.call{"name":"nobody","args":{}}', rule)


@pytest.mark.parametrize("form", FORMS)
def test_a_free_answer_is_text_or_a_valid_call(engine, form):
    rule = calling.grammar(engine.words, form, TOOLS, "auto")
    call = f'{form.begin}{form.item("add")}{{"items":["é"]}}}}{form.end}'
    for text in ("", "Hello.", "two\nlines", "to", "tool", "{", "<tool_call", '{"nam', call):
        assert takes(engine, text, rule), text
    assert not takes(engine, form.begin + form.item("nobody"), rule)
    assert not takes(engine, f'{form.begin}{form.item("add")}{{"items":["b"]}}}}{form.end}', rule)
    if not form.whole:
        assert takes(engine, f"Yes. {call}\n{call} Done.", rule)
    assert calling.read("Hello.", form, TOOLS) == ("Hello.", [])
    assert calling.read(call, form, TOOLS) == ("", [Call("add", {"items": ["é"]})])


def test_what_is_read_may_spell_the_end_tag():
    tool = {"name": "say", "description": "", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}
    form = calling.TAGGED
    said = f"{form.end} and {form.begin}"
    text = f"A{form.begin}{form.item('say')}{json.dumps({'x': said})}}}{form.end}B"
    assert calling.read(text, form, [tool]) == ("AB", [Call("say", {"x": said})])
    # a line break stands in no JSON string
    with pytest.raises(Broken, match="cannot be read"):
        calling.read(text.replace("\\n", "\n"), form, [tool])
    with pytest.raises(Broken, match="does not end"):
        calling.read(text.partition("}}")[0], form, [tool])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('tool.call{"name":"add","args":{"items":["a","a"]}}', "non-unique"),
        ('tool.call{"name":"nobody","args":{}}', "unknown_tool"),
        ('tool.call{"name":"add","args":{"items":["a"]}', "no JSON"),
        ('tool.call{"name":"add","args":{"items":["a"]},"x":1}', "exactly name and args"),
        ('tool.call{"name":"add","args":[]}', "no object"),
        ('tool.call{"name":"add","name":"add","args":{"items":[]}}', "duplicate"),
    ],
)
def test_a_call_that_is_none_is_broken(text, why):
    with pytest.raises(Broken, match=why):
        calling.read(text, calling.NATIVE, TOOLS)


def test_a_template_says_how_calls_are_written():
    def form(template):
        return calling.form_of(words.Words(folders.byte_level(), words.Manner(template=template), frozenset([0])))

    assert form(folders.CHATML) is calling.NATIVE
    assert form("{{ tools }} <tool_call>") is calling.TAGGED
    assert form('{{ tools }} {"name": function name, "parameters": dictionary of argument name and its value}') is (
        calling.LLAMA
    )
    assert form("{{ tools }} [TOOL_CALLS]") is None
    # Qwen's coders: the tag is there, and what stands in it is no JSON
    assert form("{{ tools }} <tool_call><function=x>") is None
    coder = "{% if messages[1].tool_calls %}<tool_call>\n<function={{ messages[1].tool_calls[0].function.name }}>{% endif %}"
    assert form("{{ tools }}" + coder) is None


def test_tools_in_a_form_that_is_not_known_are_refused(tmp_path):
    ours = opening.engine(opening.of_folder(folders.llama(tmp_path, "{{ tools }}[TOOL_CALLS]{{ messages }}")), "torch")
    with pytest.raises(Refusal, match="not known") as refused:
        Dialogue(ours, Settings(max_tokens=3), tools=TOOLS)
    assert refused.value.code == "KR0207"


def test_a_dialogue_with_tools_says_text_and_calls(engine):
    talk = Dialogue(engine, Settings(max_tokens=12, temperature=1.0, seed=1), tools=TOOLS)
    text = "".join(talk.ask("cat"))
    assert talk.constrained
    assert "tool.call{" not in text
