"""Scenarios: what is wanted decides, never what a model did; a lack of fixtures is no fault of the model."""

import pytest

from runtime.contract import Refusal, callforms
from runtime.contract.calls import Call
from runtime.contract.toolbox import Toolbox
from runtime.suites import scenarios
from runtime.suites.scenarios import SUITE, ScenariosParams
from tests.unit.runtime.suites import scenes
from tests.unit.runtime.suites.models import lines_of, reported
from tests.unit.runtime.suites.scenes import TOOLS, call, first, model, rightly, scene, shop, tagged

ROWS = [scene(number) for number in range(12)]
PARAMS = ScenariosParams()


def reason(acts, row=ROWS[2], tools=None):
    (line,) = lines_of(SUITE, {"student": model([row], acts)}, [row], tools or shop(), PARAMS)
    return line["reason"]


@pytest.mark.parametrize("acts", [rightly, tagged], ids=["native", "tagged"])
def test_a_model_that_does_each_task_is_right_in_every_form(acts):
    data = reported(SUITE, {"student": model(ROWS, acts)}, ROWS, shop(), PARAMS)
    assert (data["right"]["student"]["k"], data["right"]["student"]["n"]) == (12, 12)
    assert data["fixture_hit_rate"]["student"]["value"] == 1.0
    assert data["fixture_miss_count"]["student"]["value"] == 0
    assert {part: each["student"]["n"] for part, each in data["by_part"].items()} == {
        "single": 4,
        "several": 4,
        "long": 4,
    }
    assert data["zoo"]["gold"]["k"] == 12
    assert set(data["zoo"]["right"]) >= {"mute", "echo", "no_call", "always_first_tool", "every_call", "refuse_all"}
    assert {datum["k"] for datum in data["zoo"]["right"].values()} == {0}


ITEM = scenes.ITEMS[2]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([call("buy", item=ITEM, count=2), "All done."], "call_missing"),
        ([call("buy", item=ITEM, count=1), call("buy", item=ITEM, count=2), "Now 6 are there."], "call_missing"),
        ([call("buy", item=ITEM, count=2), call("buy", item=ITEM, count=1), "Now some are there."], "fact_missing"),
        ([call("buy", item=ITEM, count=2), call("buy", item=ITEM, count=1), "Now 7 are there."], "fact_missing"),
        ([call("buy", item=ITEM, count=2), call("buy", item=ITEM, count=1), "6 or 7, or 8"], "fact_missing"),
        ([call("buy", item=ITEM, count=2), call("buy", item=ITEM, count=1), "Not 6 are there."], "fact_missing"),
        ([call("buy", item=ITEM, count=2), call("buy", item=ITEM, count=1), "Now 6, 8 are there."], "fact_besides"),
        (
            [
                call("buy", item=ITEM, count=2),
                call("burn", item=ITEM),
                call("buy", item=ITEM, count=1),
                "Now 6 are there.",
            ],
            "forbidden_call",
        ),
        ([*[call("buy", item=ITEM, count=one) for one in (2, 1, 1)], "Now 6 are there."], "other_state"),
        ([call("look", item=ITEM)] * 9, "no_halt"),
        ([call("look", item="hat")], "miss"),
        ([call("sell", item=ITEM)], "unknown_tool"),
        ([call("buy", item=ITEM)], "missing_required"),
        ([call("look", item=ITEM, colour="red")], "unexpected_argument"),
        ([call("buy", item=ITEM, count=-3)], "value_refused"),
        ([call("buy", item=ITEM, count="two")], "type_error"),
        (['tool.call{"name":"look","args":{"item":'], "malformed_json"),
        (["[look(item='pen')]"], "foreign_form"),
        ([""], "call_missing"),
    ],
)
def test_each_way_to_fail_has_its_reason(said, why):
    assert reason(lambda _row, at: said[at]) == why


def test_a_miss_ends_the_item_and_is_shown_to_nobody():
    asked = model(ROWS[:1], lambda _row, _at: call("look", item="hat"))
    (line,) = lines_of(SUITE, {"student": asked}, ROWS[:1], shop(), PARAMS)
    assert len(asked.asked) == 1
    lacks = 'look{"item":"hat"}: look:2 does not know: \'hat\''
    assert line["parts"] == {"answers": 1, "served": 0, "missed": 1, "personal": [], "lacks": lacks}


def test_below_the_hit_rate_nothing_is_said_of_how_well_a_model_did():
    unknown = first(2, lambda _row, _at: call("look", item="hat"))
    data = reported(SUITE, {"student": model(ROWS, unknown), "teacher": model(ROWS)}, ROWS, shop(), PARAMS)
    served = data["fixture_hit_rate"]["student"]
    assert served["n"] - served["k"] == data["fixture_miss_count"]["student"]["value"] == 2
    for name in ("right", "halted"):
        assert data[name]["student"]["tag"] == "unavailable"
        assert data[name]["teacher"]["tag"] == "measured"
    assert data["teacher_gain"]["tag"] == data["of_teacher"]["student"]["tag"] == "unavailable"
    assert data["halted_gains"]["teacher_gain"]["tag"] == "unavailable"
    assert data["zoo"]["above"]["student"]["tag"] == "unavailable"


def test_a_model_is_compared_with_its_teacher_and_its_share_is_that_of_the_teachers_items():
    mute = first(6, lambda _row, _at: "No.")
    data = reported(SUITE, {"student": model(ROWS, mute), "teacher": model(ROWS)}, ROWS, shop(), PARAMS)
    assert data["of_teacher"]["student"]["value"] == 0.5
    assert data["of_teacher"]["student"]["low"] < 0.5 < data["of_teacher"]["student"]["high"]
    assert (data["teacher_gain"]["wins"], data["teacher_gain"]["losses"]) == (0, 6)
    assert data["reasons"]["student"]["call_missing"]["k"] == 6
    halted = data["halted_gains"]["teacher_gain"]
    assert (halted["wins"], halted["losses"], halted["low"] < 0 < halted["high"]) == (0, 0, True)


def test_a_line_that_says_otherwise_than_its_output_is_found():
    lines = lines_of(SUITE, {"student": model(ROWS)}, ROWS, shop(), PARAMS)
    for change in ({"reason": "miss"}, {"parts": {"answers": 1, "served": 9, "missed": 0}}):
        with pytest.raises(ValueError, match="not what its output gives"):
            SUITE.data_of([{**lines[0], **change}, *lines[1:]], ROWS, shop(), PARAMS, 0)
    for said, cut in (
        ([], ""), (["a", "b"], ""), (["a"], "conversation"), ([], "answer"), (["a", "b"], "answer"), (["a"], False),
        (["a"], "never"), (["a"], ["answer"]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"no end|two|after its end|is not \{said"):
            SUITE.data_of([{**lines[0], "output": {"said": said, "cut": cut}}, *lines[1:]], ROWS, shop(), PARAMS, 0)
    with pytest.raises(ValueError, match=r"is not \{said"):
        SUITE.data_of([{**lines[0], "output": "text"}, *lines[1:]], ROWS, shop(), PARAMS, 0)


def test_rows_are_answered_alike_whatever_lot_they_are_in():
    whole, parts = (lines_of(SUITE, {"student": model(ROWS)}, ROWS, shop(), PARAMS, lots=lots) for lots in (1, 4))
    assert whole == parts


def test_a_row_that_its_own_path_does_not_get_right_is_refused():
    wrong = {**ROWS[0], "wanted": {**ROWS[0]["wanted"], "state": {}}}
    with pytest.raises(Refusal, match="own path is not right: other_state") as refused:
        SUITE.data_of([], [wrong], shop(), PARAMS, 0)
    assert refused.value.code == "KR0237"
    with pytest.raises(Refusal, match="own path is not right: miss"):
        SUITE.data_of([], ROWS, shop(["hat"]), PARAMS, 0)
    plain = {key: value for key, value in ROWS[0].items() if key != "wanted"}
    with pytest.raises(Refusal, match="neither calls nor a state"):
        SUITE.data_of([], [plain], shop(), PARAMS, 0)


def test_without_fixtures_no_scenario_is_judged():
    with pytest.raises(Refusal, match="no fixtures"):
        SUITE.data_of([], ROWS, Toolbox(TOOLS), PARAMS, 0)


def test_a_conversation_that_outgrows_a_model_ends_and_others_go_on():
    class Short(scenes.Scripted):
        def say(self, prompts, max_new_tokens):
            if any(sum(one["role"] == "tool" for one in prompt.messages) > 1 for prompt in prompts):
                raise Refusal("too long")
            return super().say(prompts, max_new_tokens)

    runner = model(ROWS)
    short = Short(runner._says)
    found = {line["row"]: line for line in lines_of(SUITE, {"student": short}, ROWS, shop(), PARAMS)}
    assert {line["reason"] for line in found.values()} == {"", "too_long"}
    assert found["0"]["reason"] == ""
    assert found["2"]["output"]["cut"] == "conversation"
    assert scenarios.data_of(list(found.values()), ROWS, shop(), PARAMS, 0)["right"]["student"]["k"] == 4


def test_an_answer_that_was_cut_is_no_end_whatever_it_says():
    """Not the right answer with words behind it, no newlines, and no call that was whole before the words ran out."""
    params = ScenariosParams(max_new_tokens=40)
    endless = " and so on" * 30

    def answers(row, at):
        wanted = rightly(row, at)
        last = at + 1 == len(scenarios.own_path(row))
        return {0: wanted + endless, 1: "\n" + " \n" * 60 if last else wanted, 2: wanted + endless}[int(row["id"]) % 3]

    lines = lines_of(SUITE, {"student": model(ROWS, answers), "teacher": model(ROWS)}, ROWS, shop(), params)
    found = {line["row"]: line for line in lines if line["runner"] == "student"}
    assert {line["reason"] for line in found.values()} == {"cut"}
    assert {line["output"]["cut"] for line in found.values()} == {"answer"}
    assert [found[row]["parts"]["answers"] for row in "012"] == [1, 2, 1]
    data = SUITE.data_of(lines, ROWS, shop(), params, 0)
    assert (data["halted"]["student"]["k"], data["halted"]["teacher"]["k"]) == (0, 12)
    assert data["reasons"]["student"]["cut"]["k"] == data["halted_gains"]["teacher_gain"]["losses"] == 12
    # who takes the mark off has ended, or not: the rest of the line tells
    for row in ROWS[:3]:
        line = found[row["id"]]
        with pytest.raises(ValueError, match=r"no end|not what its output gives"):
            SUITE.data_of([{**line, "output": {**line["output"], "cut": ""}}], [row], shop(), params, 0)


BUY = callforms.write([Call("buy", {"item": scenes.ITEMS[0], "count": 2})], "tagged")


@pytest.mark.parametrize(
    "said",
    [
        [f'{BUY} tool.call{{"name":"burn","args":{{"item":"pen 0"}}}}'],
        [f'{BUY} functions.burn({{"item":"pen 0"}})'],
        [BUY, 'functions.burn({"item":"pen 0"}) Done: now 7 are there.'],
    ],
)
def test_a_forbidden_tool_in_a_form_nobody_carries_out_is_no_end_of_a_task(said):
    line = scenarios.judged("student", ROWS[0], {"said": said, "cut": ""}, shop(), PARAMS)
    assert line["reason"] == "foreign_form"


@pytest.mark.parametrize("said", [None, "ab", 5, [1], {"a": 1}])
def test_what_was_said_is_a_list_of_texts(said):
    with pytest.raises(ValueError, match="no list of texts"):
        scenarios.judged("student", ROWS[0], {"said": said, "cut": ""}, shop(), PARAMS)


def loose(number):
    """A row that bounds nothing but its calls."""
    row = scene(number)
    return {**row, "wanted": {name: row["wanted"][name] for name in ("calls", "order", "turns")}}


@pytest.mark.parametrize(("counts", "why"), [([2], ""), ([1, 2], "surplus_call"), (range(1, 9), "surplus_call")])
@pytest.mark.parametrize("at_once", [True, False])
def test_who_tries_every_value_has_done_no_task(counts, why, at_once):
    row, guesses = loose(0), [Call("buy", {"item": scenes.ITEMS[0], "count": count}) for count in counts][:5]
    tries = [callforms.write(guesses)] if at_once else [callforms.write([one]) for one in guesses]
    line = scenarios.judged("student", row, {"said": [*tries, "ok"], "cut": ""}, shop(), PARAMS)
    assert line["reason"] == (why or "")


def test_who_finds_out_first_guesses_nothing():
    said = [*[call("look", item=scenes.ITEMS[0])] * 3, call("buy", item=scenes.ITEMS[0], count=2), "ok"]
    line = scenarios.judged("student", loose(0), {"said": said, "cut": ""}, shop(), PARAMS)
    assert line["reason"] == ""


def test_what_the_own_path_calls_besides_may_be_called():
    """A chain of look, buy, buy: only one of the two is wanted, and three are too many."""
    row = loose(2)
    row["wanted"]["calls"] = row["wanted"]["calls"][1:]
    buys = [call("buy", item=scenes.ITEMS[2], count=count) for count in (2, 1, 3)]
    assert reason(lambda _row, at: [*buys[:2], "ok"][at], row) == ""
    assert reason(lambda _row, at: [*buys, "ok"][at], row) == "surplus_call"


def test_a_row_that_declares_no_state_wants_what_its_own_path_leaves():
    """Who burns another item on the way has done something else, too."""
    row, tools = loose(0), shop(burns=True)
    first, *rest = scenarios.own_path(row)
    for said, why in (first, ""), (call("burn", item=scenes.ITEMS[1]) + first, "other_state"):
        line = scenarios.judged("student", row, {"said": [said, *rest], "cut": ""}, tools, PARAMS)
        assert line["reason"] == why


def test_a_policy_that_calls_everything_is_right_nowhere():
    rows = [loose(number) for number in range(6)]
    data = reported(SUITE, {"student": model(rows)}, rows, shop(), PARAMS)
    assert data["zoo"]["right"]["every_call"]["k"] == 0
    assert data["zoo"]["above"]["student"]["value"] == 1.0


def test_personal_data_that_a_row_does_not_declare_are_counted_in_calls_and_in_texts():
    def writes(row, at):
        said = rightly(row, at)
        return said if said.startswith("tool.call") else f"{said} Write to anna.meyer@gmail.com."

    data = reported(SUITE, {"student": model(ROWS, writes), "teacher": model(ROWS, rightly)}, ROWS, shop(), PARAMS)
    assert data["right"]["student"]["k"] == 12
    assert [data["privacy_ok"][name]["k"] for name in ("student", "teacher")] == [0, 12]
    (line,) = lines_of(
        SUITE, {"student": model(ROWS[:1], lambda *_: call("look", item="a@b.com"))}, ROWS[:1], shop(), PARAMS
    )
    assert line["parts"]["personal"] == ["mail"]
