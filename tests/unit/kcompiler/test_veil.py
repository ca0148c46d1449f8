"""What is shown of a spec goes into logs: no key can be read in it, and nothing else is hidden."""

import base64
import json

import pytest

from kcompiler.cli.outcome import Outcome
from kcompiler.diagnostic import Diagnostic
from kcompiler.render import human
from kcompiler.veil import holds, leaks, places, starred, veiled

KEY = "sk-proj-0123456789abcdefghijklmnop"


@pytest.mark.parametrize(
    "line",
    [
        f"owner: {KEY}",
        "teacher: {api_key: a-word-of-no-form, model: m}",
        "api-key: 'a-word-of-no-form'",
        "base_url: https://user:a-word-of-no-form@api.example.com/v1",
        "base_url: https://api.example.com/v1?key=a-word-of-no-form",
        "--runner openai=http://x/v1,model=m,api_key=a-word-of-no-form --to out",
    ],
)
def test_a_key_is_stars_in_its_own_length(line):
    shown = veiled(line)
    assert len(shown) == len(line)
    assert KEY not in shown
    assert "no-form" not in shown
    assert "*" in shown


@pytest.mark.parametrize(
    "line",
    [
        "api_key: env:TEACHER_API_KEY",
        "max_tokens: 1024",
        "tokenizer: {source: train}",
        "https://api.example.com/v1",
        "- {name: key, path: a.jsonl}",
    ],
)
def test_what_is_no_key_is_shown(line):
    assert veiled(line) == line


def test_lines_and_commands_that_are_printed_are_veiled():
    found = Diagnostic(code="KC2107", summary="x", file="a.yaml", line=1, column=1, end_column=3)
    shown = human.diagnostics([found], {"a.yaml": b"api_key: a-word-of-no-form"})
    assert "api_key: ******" in shown
    assert "no-form" not in shown
    assert (
        "no-form" not in Outcome(1, "x", "kcompiler evaluate --runner openai=u,api_key=a-word-of-no-form").next_command
    )


#: no one's: the header that every private key in PEM has, and lines like those that follow
BODY = "c4n4ry" * 11
PEM = f"-----BEGIN OPENSSH {'PRIVATE'} KEY-----\n{BODY}\n{BODY[:20]}=\n-----END OPENSSH {'PRIVATE'} KEY-----"


def escaped(text, start, digits):
    """Each character by its number."""
    return "".join(f"\\{start}{ord(one):0{digits}x}" for one in text)


def noted(value):
    return '{"note": "' + value + '"}'


def enveloped(text):
    return json.dumps({"payload": base64.b64encode(text.encode()).decode(), "payloadType": "x", "signatures": []})


@pytest.mark.parametrize(
    "key", [KEY, PEM, PEM.replace("OPENSSH ", "").replace("\n", "\r\n"), PEM.replace("OPENSSH", "EC")]
)
@pytest.mark.parametrize(
    "written",
    [
        lambda key: key,
        lambda key: json.dumps({"note": f"é {key}"}),
        lambda key: json.dumps(json.dumps({"note": key})),
        lambda key: noted("x\\n" + escaped(key, "u", 4)),
        lambda key: noted(escaped(key[:9], "u", 4) + json.dumps(key[9:])[1:-1]),
        lambda key: 'note: "' + escaped(key, "x", 2) + '"',
        lambda key: 'note: "' + escaped(key, "U", 8) + '"',
        lambda key: 'note: "' + json.dumps(key)[1:10] + "\\\n   " + json.dumps(key)[10:-1] + '"',
        lambda key: "note: |\n" + "".join(f"  {line}\n" for line in key.splitlines()),
        lambda key: enveloped(json.dumps({"note": key})),
        lambda key: enveloped(noted(escaped(key, "u", 4))),
        lambda key: enveloped(enveloped(key)),
    ],
)  # fmt: skip
def test_a_key_is_found_however_it_is_written_and_cannot_be_read_in_stars(key, written):
    text = f"# a\n\n{written(key)}\n"
    found = list(places(text.encode()))
    assert found
    assert {line for line, _ in found} <= set(range(3, 3 + text.count("\n")))
    assert found[0][0] == (4 if text.startswith("# a\n\nnote: |") else 3)
    assert holds(text)
    shown = starred(text)
    assert (len(shown), shown.count("\n")) == (len(text), text.count("\n"))
    assert not holds(shown)
    assert next(leaks({"a.json": text.encode()})) == ("a.json", found[0][0])


@pytest.mark.parametrize(
    "text",
    [
        "AAAAC3NzaC1lZDI1NTE5AAAAIFCiRszu",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
        "sk-learn-is-a-library-and-no-key",
        "C:\\new\\xsk",
        enveloped('{"note": "nothing"}'),
        '{"payload": "====", "x": "\\ud83d"}',
        "sha256:" + 64 * "a",
    ],
)
def test_what_is_no_key_stays(text):
    assert list(places(text.encode())) == []
    assert starred(text) == text


def test_a_key_in_the_name_of_a_file_is_told_in_stars():
    assert list(leaks({f"waivers/{KEY}.dsse.json": b"{}", "weights.bin": b"\0" + KEY.encode()})) == [
        (f"waivers/{'*' * len(KEY)}.dsse.json", 0)
    ]
