"""`kcompiler fixtures`, as people run it: what it writes, what it says, and that its advice works."""

import base64
import json

import pytest

from kcompiler.cli import _main
from runtime.data import credentials

TOOLS = [
    {"name": name, "description": "", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}
    for name in ("find", "add")
]


def talk(item, *calls, trial=0):
    messages = [{"role": "user", "content": "go"}]
    for at, (name, args, result) in enumerate(calls):
        call = {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{at}", "content": result})
    return {"id": item, "trial": trial, "messages": messages}


SEEN = (
    talk("a", ("find", {"q": "x"}, "found x"), ("add", {"q": "1 + 1"}, "2")),
    talk("b", ("find", {"q": "y"}, "found y")),
)


def talks(path, *some):
    path.write_text("".join(json.dumps(one) + "\n" for one in some), encoding="utf-8")
    return path.name


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    talks(tmp_path / "calls.jsonl", *SEEN)
    return tmp_path


def run(verb, *words):
    return _main(["fixtures", verb, *words, "--tools", "tools.json"])


def test_record_check_accept_stats(home, capsys):
    assert run("record", "calls.jsonl", "--to", "fx") == 0
    assert sorted(path.name for path in (home / "fx").iterdir()) == ["add.jsonl", "find.jsonl"]
    line = json.loads((home / "fx/find.jsonl").read_text(encoding="utf-8").splitlines()[1])
    assert line["review"] == "unreviewed"
    assert line["provenance"]["item"] == "a"
    assert run("check", "fx") == 1
    advice = capsys.readouterr().err.rpartition("next=read them, then kcompiler ")[2].split()
    assert _main(advice) == 0
    assert run("check", "fx", "--calls", "calls.jsonl") == 0
    assert run("stats", "fx", "--calls", "calls.jsonl") == 0
    assert "fixture_hit_rate    3 of 3 (100.0%)" in capsys.readouterr().out


def test_a_miss_is_told_with_what_is_nearest_and_the_line_that_mends_it(home, capsys):
    assert run("record", "calls.jsonl", "--to", "fx") == 0
    new = talks(home / "new.jsonl", talk("c", ("find", {"q": " x"}, "found x"), ("find", {"q": "x"}, "found x")))
    capsys.readouterr()
    assert run("stats", "fx", "--calls", new, "--format", "json") == 1
    shown = capsys.readouterr()
    assert "outcome=hit-rate-too-low code=1" in shown.err
    found = json.loads(shown.out)
    assert (found["fixture_hit_rate"]["k"], found["fixture_hit_rate"]["n"], found["fixture_miss_count"]) == (0, 1, 1)
    (miss,) = found["misses"]
    assert "`strip` would declare" in miss["near"]
    for name, lines in miss["add"].items():
        with (home / "fx" / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    assert run("stats", "fx", "--calls", new) == 0


def test_what_is_wrong_is_named_with_file_and_line(home, capsys):
    assert run("record", "calls.jsonl", "--to", "fx") == 0
    with (home / "fx/find.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "guess"}\n')
    assert run("check", "fx") == 1
    err = capsys.readouterr().err
    assert "fx/find.jsonl:4" in err
    assert "error[KR0231]" in err
    assert run("stats", "fx", "--calls", "calls.jsonl") == 1


def test_a_line_that_nothing_uses_is_an_error(home, capsys):
    assert run("record", "calls.jsonl", "--to", "fx") == 0
    assert run("accept", "fx") == 0
    only = talks(home / "only.jsonl", SEEN[1])
    assert run("check", "fx", "--calls", only) == 1
    wrong = capsys.readouterr().err
    assert all(f"error[{code}]" in wrong for code in ("KR0234",))


def test_another_registry_is_refused(home, capsys):
    assert run("record", "calls.jsonl", "--to", "fx") == 0
    (home / "tools.json").write_text(json.dumps(TOOLS[:1]), encoding="utf-8")
    assert run("check", "fx") == 1
    assert "error[KR0230]" in capsys.readouterr().err


def test_credentials_are_refused_and_on_demand_replaced(home, capsys):
    key = "sk-" + "a1B2" * 8
    talks(home / "calls.jsonl", talk("a", ("find", {"q": "x"}, f"the key is {key}")))
    assert run("record", "calls.jsonl", "--to", "fx") == 2
    err = capsys.readouterr().err
    assert [code for code in ("KR0235", "KR0236") if f"error[{code}]" in err] == ["KR0236"]
    assert key not in err
    assert not (home / "fx").exists()
    assert run("record", "calls.jsonl", "--to", "fx", "--redact") == 0
    text = (home / "fx/find.jsonl").read_text(encoding="utf-8")
    assert key not in text
    assert "[key of OpenAI or Anthropic]" in text


SECRETS = (
    "Authorization: Basic dXNlcjpwYXNz",
    '{"Authorization": "Token abc123"}',
    "https://user:pass@host/x",
    "postgresql://me:hunter2@db:5432/x",
    "password=hunter2",
    'he said {"db_password": "hunter2"}',
    "PASSWORD: hunter2",
    "client_secret='abcd'",
    "api-key: 9f8e7d",
    "?access_token=abcdef&x=1",
)


def in_base64(text, *, urlsafe=False):
    return (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(text.encode()).decode()


#: the same words, as nobody sees that they are there
SECRETS += (
    "pass\u200bword=hunter2",
    "pass\u00adw\ufe0ford = hunter2",
    "p\u034fassword\u3164=hunter2",
    "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff1dhunter2",
    '{"p\\u0061ssword": "hunter2"}',
    '{"pass\\u200bword": "hunter2"}',
    in_base64("password=hunter2"),
    "config: " + in_base64('{"db": {"password": "hunter2"}}') + ", as it was",
    in_base64("https://user:pass@host/x").rstrip("="),
    in_base64("Authorization: Token abc123 ~~~???", urlsafe=True),
    in_base64(in_base64("client_secret='abcd'")),
    base64.encodebytes(b"password=hunter2, and a long remark about what this is for and who wrote it").decode(),
    f"config\n{in_base64('password=hunter2')}\nend",
    'he said {"p\\u0061ssword": "hunter2"}, and went',
    "password\u2060&#61;hunter2",
    "login?password%3Dhunter2",
    in_base64('{"note": "x\\tpassword=hunter2"}'),
    "api\u2011key: 9f8e7d",
    "**password**: hunter2",
    "_password_: `hunter2`",
)
#: credentials by their form: whatever stands before them, they are what they are
FORMED = (
    "AKIAIOSFODNN7EXAMPLE",
    "hf_" + "a1" * 17,
    "ghp_" + "a1" * 18,
    "sk-" + "a1" * 17,
    "Bearer " + "a1" * 17,
    "api_key=hunter22",
    "token: hunter22x",
    "https://u:p4ss@host/x",
)
BESIDE = ("key\n{}", "key\t{}", "key:\r\n{}\nend", 'he said "\b{}"', "_{}_", "it is **{}**, is it", "caf\u00e9 {}")
NO_SECRETS = (
    in_base64("It is 21 degrees in Oslo, and it rains."),
    in_base64("the password is wrong"),
    "sha256:" + "5ca1ab1e" * 8,
    "A/B/C/D/E/F/G/H/I/J/K/L/M/N/O/P",
    "zero\u200bwidth = nothing",
    "Password: must have 8 characters",
    "the password is wrong",
    "max_tokens=4096, next_page_token=CAUQAA",
    "https://host:8080/x@y, mailto:me",
    "password=*****, token=<TOKEN>, secret=$SECRET, api_key=null",
    "authorization: required",
    "secret: nobody knows",
    '{"note": "first\\nsecond\\ttask-aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "path": "C:\\\\new\\\\table"}',
    "_TOKEN = compiled(words)",
    "risk-averse_and_disk-full, 100%25 of max_tokens",
)


@pytest.mark.parametrize("said", SECRETS)
def test_a_value_behind_a_word_for_a_secret_is_refused_and_on_demand_replaced(said):
    assert len(credentials.found(said)) >= 1
    assert credentials.found(credentials.without(said)) == []
    assert not any(
        value in credentials.without(said) for value in ("hunter2", "dXNlcjpwYXNz", "pass@", "abc", "9f8e7d")
    )


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("formed", FORMED)
def test_a_letter_of_an_escape_hides_no_credential(formed, beside):
    """Plain, in JSON, in JSON of JSON, and where JSON is only a part of a text, or was cut off."""
    said, secret = beside.format(formed), formed.split()[-1].split("=")[-1].split("//")[-1].split("@")[0]
    once = json.dumps({"note": [said]})
    for text in (said, once, json.dumps({"body": once}), f"result: {once}, as asked", once[:-3]):
        assert credentials.found(text) != [], text
        cleaned = credentials.without(text)
        assert (credentials.found(cleaned), secret in cleaned) == ([], False), cleaned
    assert list(json.loads(credentials.without(once))) == ["note"]
    assert list(json.loads(json.loads(credentials.without(json.dumps({"body": once})))["body"])) == ["note"]


def test_a_credential_behind_an_escape_is_not_written(home, capsys):
    """As a tool gives JSON: refused, and on demand replaced, and the rest of the result is as it was."""
    talks(home / "calls.jsonl", talk("a", ("find", {"q": "x"}, json.dumps({"note": "key\n" + FORMED[0], "n": 7}))))
    assert run("record", "calls.jsonl", "--to", "fx") == 2
    assert "error[KR0236]" in capsys.readouterr().err
    assert not (home / "fx").exists()
    assert run("record", "calls.jsonl", "--to", "fx", "--redact") == 0
    written = (home / "fx/find.jsonl").read_text(encoding="utf-8")
    assert FORMED[0] not in written
    assert "[key of AWS]" in written


@pytest.mark.parametrize("said", NO_SECRETS)
def test_a_word_for_a_secret_alone_is_none(said):
    assert credentials.found(said) == []


@pytest.mark.parametrize(
    "login",
    [
        {"password": "hunter2"},
        {"pass\u200bword": "hunter2"},
        {"password": ["hunter2"]},
        {"note": in_base64("password=hunter2")},
        {"password=hunter2": 1},
        {"api_key": 12345678},
    ],
)
def test_an_argument_that_is_named_as_a_secret_is_one(home, capsys, login):
    talks(home / "calls.jsonl", talk("a", ("find", {"q": "x", "login": login}, "ok")))
    assert run("record", "calls.jsonl", "--to", "fx") == 2
    assert "error[KR0236]" in capsys.readouterr().err
    assert run("record", "calls.jsonl", "--to", "fx", "--redact") == 0
    written = (home / "fx/find.jsonl").read_text(encoding="utf-8")
    assert not any(word in written for word in ("hunter2", in_base64("password=hunter2"), "12345678"))


@pytest.mark.parametrize("card", ["4111.1111.1111.1111", "4111 1111 1111 1111"])
def test_a_card_is_refused_however_it_is_written(home, capsys, card):
    talks(home / "calls.jsonl", talk("a", ("find", {"q": "x"}, f"the card {card}.")))
    assert run("record", "calls.jsonl", "--to", "fx") == 2
    assert "holds personal data" in capsys.readouterr().err


def test_a_call_without_its_result_is_named_and_a_recording_of_none_is_refused(home, capsys):
    asked = talk("c", ("find", {"q": "z"}, "found z"))
    asked["messages"].pop()
    talks(home / "calls.jsonl", asked)
    assert run("record", "calls.jsonl", "--to", "fx") == 3
    shown = capsys.readouterr()
    assert "calls.jsonl[1].messages[1]" in shown.out + shown.err
    assert "outcome=nothing-evaluated code=3" in shown.err
    assert "fixtures accept" not in shown.out + shown.err
    assert not (home / "fx").exists()
    talks(home / "calls.jsonl", *SEEN, asked)
    assert run("record", "calls.jsonl", "--to", "fx") == 0
    assert "1 recorded call has no result" in capsys.readouterr().out


def test_a_tool_that_answers_one_call_in_two_ways_is_refused(home, capsys):
    talks(home / "calls.jsonl", talk("a", ("find", {"q": "x"}, "1"), ("find", {"q": "x"}, "2")))
    assert run("record", "calls.jsonl", "--to", "fx") == 2
    assert "error[KR0235]" in capsys.readouterr().err


def test_nothing_is_not_evaluated_and_mistakes_have_their_codes(home, capsys):
    assert run("record", "calls.jsonl", "--to", "fx") == 0
    none = talks(home / "none.jsonl", {"id": "a", "messages": [{"role": "user", "content": "hi"}]})
    assert run("stats", "fx", "--calls", none) == 3
    assert run("stats", "fx", "--calls", "calls.jsonl", "--trials", "7") == 2
    assert run("stats", "fx", "--calls", "calls.jsonl", "--least", "2") == 2
    assert run("record", "calls.jsonl", "--to", "fx") == 2
    (home / "bad.jsonl").write_text("{", encoding="utf-8")
    assert run("record", "bad.jsonl", "--to", "fy") == 2
    assert run("check", "nowhere") == 1
    assert "code=70" not in capsys.readouterr().err


def test_personal_data_are_kept_only_for_a_reason_that_stands_beside_them(home, capsys):
    talks(home / "calls.jsonl", talk("a", ("find", {"q": "x"}, "write to ada@example.com")))
    assert run("record", "calls.jsonl", "--to", "fx") == 2
    err = capsys.readouterr().err
    assert "personal data (mail)" in err
    assert "ada@" not in err
    assert run("record", "calls.jsonl", "--to", "fx", "--keep-personal", "made up") == 0
    line = json.loads((home / "fx/find.jsonl").read_text(encoding="utf-8").splitlines()[1])
    assert line["result"] == "write to ada@example.com"
    assert line["provenance"]["personal"] == "made up"
    assert run("record", "calls.jsonl", "--to", "fy", "--keep-personal", " ") == 2


def declare(home, name, *lines):
    folder = home / "declared"
    folder.mkdir(exist_ok=True)
    header = {"format": 1, "world": True} if name == "world" else {"format": 1, "tool": name}
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (header, *lines)), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("find", {"kind": "exact", "args": {"q": "z"}, "result": "found z", "review": "accepted"}),
        ("find", {"kind": "error", "args": {"q": 1}, "result": "no", "review": "accepted"}),
        ("world", {"collection": "money", "key": "nobody", "value": "1000000", "review": "accepted"}),
    ],
)
def test_what_was_answered_once_is_recorded_and_never_declared(home, capsys, name, line):
    declare(home, name, line)
    assert run("record", "calls.jsonl", "--declare", "declared", "--to", "fx") == 2
    assert f"declared/{name}.jsonl:2" in capsys.readouterr().err
    assert not (home / "fx").exists()
    (home / f"declared/{name}.jsonl").unlink()
    assert run("record", "calls.jsonl", "--declare", "declared", "--to", "fx") == 0


def test_a_declared_line_is_unreviewed_beside_new_records_and_one_that_answers_nothing_is_named(home, capsys):
    shape = {"type": "object", "properties": {"q": {"const": "Utopia"}}, "required": ["q"]}
    declare(home, "find", {"kind": "matcher", "schema": shape, "result": "perfect", "review": "accepted"})
    assert run("record", "calls.jsonl", "--declare", "declared", "--to", "fx") == 0
    assert "1 declared line answers no recorded call, the first at declared/find.jsonl:2" in capsys.readouterr().out
    lines = [json.loads(line) for line in (home / "fx/find.jsonl").read_text(encoding="utf-8").splitlines()[1:]]
    assert {line["review"] for line in lines} == {"unreviewed"}
    assert run("check", "fx") == 1


PURE = {"kind": "pure", "answer": "f'found {args.q}'"}


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], "KR0231"),
        ([PURE], "KR0231"),
        ([{"format": 2, "tool": "find"}, PURE], "KR0231"),
        ([{"format": 1}, PURE], "KR0231"),
        ([{"tool": "find", "normalise": {"q": ["strip"]}}, PURE], "KR0231"),
        ([{"format": 1, "tool": "find", "registry": "…"}, PURE], "KR0230"),
        ([{"format": 1, "tool": "find", "schema": "0" * 64}, PURE], "KR0230"),
    ],
)
def test_a_declared_file_without_its_header_is_told_one_that_works(home, capsys, lines, code):
    """Without the registry: whoever declares how a tool works does not know its digest."""
    file = home / "declared/find.jsonl"
    file.parent.mkdir()
    file.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    assert run("record", "calls.jsonl", "--declare", "declared", "--to", "fx") == 2
    said = capsys.readouterr().err
    assert f"error[{code}]" in said
    assert "declared/find.jsonl:1" in said
    told, where = advised(said)
    kept = {"normalise": {"q": ["strip"]}} if len(lines) == 2 and "normalise" in lines[0] else {}
    assert told == {"format": 1, "tool": "find", **kept}
    follow(file, told, where)
    assert run("record", "calls.jsonl", "--declare", "declared", "--to", "fx") == 0


def advised(said):
    """The header that a message advises, and where it is to stand."""
    advice = said.split("write ", 1)[1]
    told, end = json.JSONDecoder().raw_decode(advice)
    return told, advice[end:].strip()


def follow(file, told, where):
    lines = file.read_text(encoding="utf-8").splitlines()
    rest = lines[1:] if where.startswith("in its place") else lines
    file.write_text("\n".join([json.dumps(told), *rest]) + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", ["find", "world"])
@pytest.mark.parametrize("more", [{}, {"more": 1}])
def test_a_recorded_file_without_its_header_is_told_the_whole_of_it(home, capsys, name, more):
    learns = [{"collection": "seen", "key": "args.q", "value": "result"}]
    declare(home, "find", {"kind": "stateful", "answer": "world.seen[args.q]", "learns": learns})
    assert run("record", "calls.jsonl", "--declare", "declared", "--to", "fx") == 0
    assert run("accept", "fx") == 0
    file = home / f"fx/{name}.jsonl"
    whole = file.read_text(encoding="utf-8")
    first, *rest = whole.splitlines()
    file.write_text(
        "\n".join([*([json.dumps({**json.loads(first), **more})] if more else []), *rest]) + "\n", encoding="utf-8"
    )
    capsys.readouterr()
    assert run("check", "fx") == 1
    said = capsys.readouterr().err
    assert "error[KR0231]" in said
    follow(file, *advised(said))
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == [
        json.loads(line) for line in whole.splitlines()
    ]
    assert run("check", "fx") == 0


def test_a_header_that_names_no_tool_of_the_registry_is_told_those_there_are(home, capsys):
    declare(home, "fnd", PURE)
    assert run("record", "calls.jsonl", "--declare", "declared", "--to", "fx") == 2
    said = capsys.readouterr().err
    assert "the registry has no tool 'fnd'" in said
    assert "add, find" in said


def test_a_folder_without_fixtures_is_no_success(home, capsys):
    (home / "empty").mkdir()
    for verb, more in (("check", ()), ("accept", ()), ("stats", ("--calls", "calls.jsonl"))):
        assert run(verb, "empty", *more) == 3
        advice = capsys.readouterr().err.rpartition("next=kcompiler ")[2].split()
    assert _main([word.replace("CONVERSATIONS", "calls.jsonl") for word in advice]) == 0
    assert run("accept", "empty") == 0
