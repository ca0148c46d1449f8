"""A planted key appears in no byte that is written or printed, and in no process list: not where all goes well, not
where a server repeats it, in whatever form, and not where it was written into a spec or onto the command line.

`KCOMPILER_CANARY=1` runs every verb in every form after every way to fail; the quick set a few.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from tests.flow.test_answers import edited, hosted, letter_of, project, spec
from tests.flow.world import MAIN, Result, kcompiler
from tests.longer import also
from tests.unit.runtime.data.teaching import Server, completion

#: of a form that no pattern knows, with signs that addresses and JSON write otherwise
KEY = 'cnry+8d21/Qx="Zz9&k%7'
WHOLE = bool(os.environ.get("KCOMPILER_CANARY"))
FORMS = ("human", "json", "sarif", "junit", "github", "markdown") if WHOLE else ("human", "json")

#: every program that is started is written down, with its arguments and what it is told of the environment
TOLD = (
    """
import os, sys
def audit(name, arguments):
    if name in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        whole = os.environ if name != "subprocess.Popen" or arguments[3] is None else arguments[3]
        with open(os.environ["KC_PATH"], "a") as file:
            file.write(repr((name, arguments[:2], dict(whole).get("TEACHER_KEY"))) + "\\n")
sys.addaudithook(audit)
"""
    + MAIN
)


def needles(key: str) -> list[bytes]:
    """What gives it away: computed without the code that looks for it."""
    found = {key, key.encode().hex(), quote(key, safe=""), quote_plus(key), json.dumps(key)[1:-1], key[:12], key[-12:]}
    for before in (b"", b"x", b"xx"):
        digits = base64.b64encode(before + key.encode()).decode().rstrip("=")
        found |= {one for whole in (digits, digits.translate(str.maketrans("+/", "-_"))) for one in (whole[4:-2],)}
    return sorted(one.encode() for one in found)


class Watch:
    """Everything that commands wrote, printed or started, and the search for the key in it."""

    def __init__(self, root: Path) -> None:
        self.root, self.lists = root, set[bytes]()
        self.started = root.parent / "started"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        # a program that lives for less is told by the audit hook
        while not self._end.wait(0.05 if WHOLE else 0.5):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.lists.add(entry.read_bytes())
                except OSError:
                    continue

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def check(self, result: Result, key: str = KEY, *, but: Iterable[Path] = ()) -> Result:
        """Raises AssertionError where one of the needles stands, in any file but those."""
        written = [path for path in self.root.rglob("*") if path.is_file() and path not in but]
        texts = {str(path.relative_to(self.root)): path.read_bytes() for path in written}
        texts |= {"stdout": result.out.encode(), "stderr": result.err.encode()}
        texts["started"] = self.started.read_bytes() if self.started.exists() else b""
        texts["process list"] = b"\n".join(self.lists)
        found = [f"{name}: {needle!r}" for name, text in texts.items() for needle in needles(key) if needle in text]
        assert not found, (found, result.text if "stdout" not in texts else result.err[-2000:])
        return result


@contextmanager
def watching(root: Path) -> Iterator[Watch]:
    watch = Watch(root)
    try:
        yield watch
    finally:
        watch.close()


def run(watch: Watch, *arguments: str, **more: str) -> Result:
    env = {"TEACHER_KEY": KEY, "KC_PATH": str(watch.started), **more}
    return kcompiler(*arguments, cwd=watch.root, code=TOLD, env=env, timeout=300)


def repeated() -> str:
    """The key as a helpful server may repeat it."""
    basic = base64.b64encode(f"user:{KEY}".encode()).decode()
    return json.dumps(
        {
            "error": {"message": f"Incorrect API key provided: {KEY}", "param": quote(KEY, safe="")},
            "headers": {"authorization": f"Bearer {KEY}", "proxy-authorization": f"Basic {basic}"},
            "debug": [base64.b64encode(KEY.encode()).decode(), KEY.encode().hex(), quote_plus(KEY)],
            "url": base64.urlsafe_b64encode(b"k=" + KEY.encode()).decode(),
        }
    )


def escaped(text: str) -> bytes:
    """As JSON may write any character."""
    return "".join(f"\\u{ord(one):04x}" for one in text).encode()


def said(**changes: Any) -> Any:
    value = completion("A")
    value["choices"][0] |= {key: one for key, one in changes.items() if key in ("finish_reason", "message")}
    return value | {key: one for key, one in changes.items() if key not in ("finish_reason", "message")}


#: how a server fails → what it answers
WAYS: dict[str, Any] = {
    "refuses and repeats it": (401, {"X-Echo": KEY}, repeated().encode()),
    "refuses and repeats it in escapes": (403, {}, b'{"error": "' + escaped(KEY) + b'"}'),
    "refuses, the key where the text is cut": (401, {}, (" " * 290 + KEY + " " * 50).encode()),
    "leads elsewhere": (302, {"Location": f"http://127.0.0.1:9/?key={quote(KEY)}"}, b"moved: " + KEY.encode()),
    "fails": (500, {}, repeated().encode()),
    "answers no JSON": (200, {}, f"<html>{KEY}</html>".encode()),
    "answers another form": (200, {}, {"echo": repeated(), "choices": [{"message": {"content": [KEY]}}]}),
    "answers with it": (200, {}, said(message={"role": "assistant", "content": f"your key is {KEY}"})),
    "answers with it in base64": (
        200,
        {},
        said(message={"role": "assistant", "content": base64.b64encode(b"Bearer " + KEY.encode()).decode()}),
    ),
    "calls itself so": (200, {}, said(model=KEY)),
    "ends by it": (200, {}, said(finish_reason=KEY)),
    "is packed wrongly": (200, {"Content-Encoding": "gzip"}, KEY.encode()),
}
QUICK = ("refuses and repeats it", "answers with it in base64")


@pytest.mark.slow
def test_a_key_of_a_teacher_stands_nowhere_whatever_its_server_says(tmp_path: Path) -> None:
    way: list[Any] = [None]

    def answer(prompt: str, count: int) -> Any:
        return way[0] or letter_of(prompt, count)

    server = Server(answer)
    try:
        teacher = hosted(server.url, api_key="env:TEACHER_KEY", max_tokens=4, concurrency=1, attempts=1)
        home = project(tmp_path / "project", spec(teacher, [{"term": "sequence_kd", "weight": 1.0}]))
        edited(home, **{"budgets.usd": 5})
        with watching(home) as watch:
            for form in FORMS:
                for verb in ("validate", "plan"):
                    if (verb, form) not in {("plan", "sarif"), ("plan", "junit")} or WHOLE:
                        assert watch.check(run(watch, verb, "letters.yaml", "--format", form)).code == 0
            for name in WAYS if WHOLE else QUICK:
                way[0] = WAYS[name]
                failed = run(watch, "apply", "letters.yaml", "--only", "teacher", KCOMPILER_TRACEBACK="1")
                assert (name, watch.check(failed).code) == (name, 6)
            for words in (
                [["apply", "letters.yaml", "--only", "teacher"], ["show", "run", "letters.yaml"]] if WHOLE else []
            ):
                for form in FORMS:
                    watch.check(run(watch, *words, "--format", form))
            way[0] = None
            run(watch, "apply", "letters.yaml", "--only", "teacher").ended(0, "")
            for form in FORMS:
                for words in (
                    (
                        ["status", "letters.yaml"],
                        ["audit", "letters.yaml"],
                        ["show", "journal", "letters.yaml"],
                        ["show", "report", "letters.yaml", "teacher"],
                        ["gate", "letters.yaml", "generated/letters/evidence/reports/teacher.json"],
                        ["state", "verify"],
                    )
                    if WHOLE or form == "human"
                    else (["audit", "letters.yaml"],)
                ):
                    watch.check(run(watch, *words, "--format", form))
            assert any(one["Authorization"] == f"Bearer {KEY}" for one in server.headers), "the key was used"
            assert watch.lists
    finally:
        server.close()


def literal(home: Path, key: str) -> tuple[list[list[str]], list[Path]]:
    """Commands in which a person wrote the key itself, and the files that hold it then."""
    path = home / "letters.yaml"
    text = path.read_text(encoding="utf-8")
    files = []
    for name, old, new in (
        ("key", "api_key: env:TEACHER_KEY", f"api_key: {key}"),
        ("user", "base_url: http://", f"base_url: http://user:{key}@"),
        ("query", ":9/v1\n", f":9/v1?key={key}\n"),
        ("model", "model: teacher-1", f"api-key: {key}\n  model: teacher-1"),
    ):
        assert old in text
        other = home / f"{name}.yaml"
        other.write_text(text.replace(old, new, 1), encoding="utf-8")
        files.append(other)
    runner = f"openai=http://127.0.0.1:9/v1,model=m,api_key={key}"
    commands = [[verb, file.name] for file in files for verb in ("validate", "apply")]
    return [*commands, ["evaluate", "letters.yaml", "--runner", runner, "--to", "out"]], files


@pytest.mark.slow
@pytest.mark.parametrize("key", [also("sk-proj-0123456789abcdefghijklmnop"), also("a-word-of-no-form-8d21")])
def test_a_key_that_somebody_wrote_into_a_spec_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    home = project(
        tmp_path / "project",
        spec(hosted("http://127.0.0.1:9/v1", api_key="env:TEACHER_KEY"), [{"term": "sequence_kd", "weight": 1.0}]),
    )
    edited(home, **{"budgets.usd": 1})
    with watching(home) as watch:
        commands, files = literal(home, key)
        for words in commands:
            for form in FORMS if words[0] == "validate" else ("human",):
                more = ["--format", form] if words[0] != "evaluate" else []
                result = run(watch, *words, *more)
                assert result.code in (1, 2), result.text
                # on the command line of its own it is the person's doing
                watch.lists.clear()
                watch.check(result, key, but=files)
