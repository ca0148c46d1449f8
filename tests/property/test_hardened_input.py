"""Whatever stands in a file, reading it ends within a second, with a refusal or a value, and writes nothing outside.

Named after the threats of the project's threat list: T01 YAML, T02 JSON, T04 code while planning, T06 paths, T19 rows.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import textwrap
import time
import unicodedata
from pathlib import Path

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import example, given, settings

from kcompiler import lock
from kcompiler.front import compile_spec
from kcompiler.source import load
from runtime.contract import strict_json
from tests.longer import LONG, also, longer

ROOT = Path(__file__).resolve().parents[2]
JSON_SUITE = ROOT / "tests/data/json_test_suite/test_parsing"
YAML_SUITE = ROOT / "tests/data/yaml_test_suite/src"
SPEC = (ROOT / "specs/eight-ball.yaml").read_text(encoding="utf-8")

#: one second on an idle machine; processor time, so that company does not count
LIMIT_S = 1.0
#: what strict JSON may refuse although the grammar allows it: documented limits, each with what it looks like
LIMITS = {
    "y_object_duplicated_key.json": "duplicate key",
    "y_object_duplicated_key_and_value.json": "duplicate key",
}


def timed(action, *arguments):
    """What an action returns and the processor seconds it took."""
    before = time.process_time()
    value = action(*arguments)
    return value, time.process_time() - before


def json_or_refusal(data):
    try:
        return strict_json.loads(data), ""
    except ValueError as reason:
        return None, str(reason)


@pytest.mark.parametrize("path", sorted(JSON_SUITE.glob("*.json")), ids=lambda path: path.stem)
def test_t02_the_json_test_suite(path):
    """`y_` must be accepted but for documented limits, `n_` must be refused, `i_` may be either; none may crash."""
    (value, reason), seconds = timed(json_or_refusal, path.read_bytes())
    assert seconds < LIMIT_S
    if path.name.startswith("n_"):
        assert reason
    if path.name.startswith("y_"):
        assert LIMITS.get(path.name, "") in reason if reason else path.name not in LIMITS
        if not reason:
            assert value == json.loads(path.read_bytes())


def test_t02_the_suite_is_whole():
    names = [path.name for path in JSON_SUITE.glob("*.json")]
    assert {letter: sum(name.startswith(letter) for name in names) for letter in "yni"} == {"y": 95, "n": 188, "i": 35}


HOSTILE_JSON = {
    "duplicate keys": b'{"a": 1, "a": 2}',
    "duplicate keys by escape": b'{"a": 1, "\\u0061": 2}',
    "not a number": b"[NaN]",
    "infinity": b"[-Infinity]",
    "a number that overflows": b"[1e400]",
    "five thousand nestings": b"[" * 5000,
    "a hundred thousand nestings, closed": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "a lone surrogate": b'["\\ud800"]',
    "a lone surrogate in a key": b'{"\\udc00": 1}',
    "an integer of a hundred thousand digits": b"[" + b"9" * 100_000 + b"]",
    "a fraction of a million digits and an exponent": b"[0." + b"9" * 1_000_000 + b"e999]",
    "a byte-order mark": b"\xef\xbb\xbf[]",
    "UTF-16": "[]".encode("utf-16"),
    "an overlong slash": b'["\xc0\xaf"]',
    "two documents": b"[] []",
    "a comment": b"[] // x",
    "a control character in a string": b'["\x01"]',
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_t02_hostile_json_is_refused(name):
    (_, reason), seconds = timed(json_or_refusal, HOSTILE_JSON[name])
    assert reason
    assert len(reason) < 300, "a refusal must not repeat a megabyte"
    assert seconds < LIMIT_S


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_t02_a_hostile_lock_is_unreadable_and_nothing_worse(name, tmp_path):
    path = tmp_path / "plan.lock"
    path.write_bytes(HOSTILE_JSON[name])
    with pytest.raises(lock.UnreadableLock):
        lock.read(path)


@given(st.binary(max_size=120) | st.text(max_size=120).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=300 if LONG else 100, deadline=None)
@example(b'{"lock": {"format": "1.0"}, "steps": []}')
@example(b'{"lock": [], "steps": {}}')
@example(b"[1]")
def test_t02_no_bytes_make_a_lock_raise_anything_else(data):
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    with contextlib.suppress(lock.UnreadableLock):
        assert isinstance(lock.load(text)["steps"], list)


def yaml_documents():
    for path in sorted(YAML_SUITE.glob("*.yaml")):
        for number, part in enumerate(yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)):
            if "yaml" in part:
                text = re.sub("—*»", "\t", part["yaml"]).replace("␣", " ").replace("↵", "").replace("∎\n", "")
                yield f"{path.stem}-{number}", text.replace("←", "\r").replace("⇔", "\ufeff").replace("∎", "")


def test_t01_the_yaml_test_suite_ends_quickly(tmp_path):
    """Each document, alone and in the place of a spec: a tree or an error with a place, within the limit."""
    count = 0
    for name, text in yaml_documents():
        count += 1
        (tree, found), seconds = timed(load, "f.yaml", text.encode())
        assert seconds < LIMIT_S, name
        assert tree is not None or any(item.severity == "error" for item in found), name
        path = tmp_path / "spec.yaml"
        path.write_bytes(text.encode())
        front, seconds = timed(compile_spec, path, tmp_path)
        assert seconds < 2 * LIMIT_S, name
        assert front.spec is None, name
        assert any(item.severity == "error" for item in front.diagnostics), name
    assert count > 380


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a tag that makes an object", "metadata: !!python/object/apply:os.system [id]"),
        ("a merge key", "base: &b {a: 1}\nmetadata:\n  <<: *b"),
        ("a key twice", "metadata: {name: a}\nmetadata: {name: b}"),
        ("a key with a zero width", "meta\u200bdata: {name: a}"),
        ("a key that runs backwards", "meta\u202edata: {name: a}"),
        ("a byte-order mark inside", "metadata: {name: a\ufeff}"),
        (
            "an alias bomb",
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)),
        ),
        ("five thousand nestings", "a: " + "[" * 5000),
        ("a hundred megabytes", "a: " + "x" * 100_000_000),
        ("nothing finite", "a: .nan"),
    ],
)
def test_t01_hostile_yaml_is_refused_with_a_place(name, text):
    (_, found), seconds = timed(load, "f.yaml", text.encode())
    errors = [item for item in found if item.severity == "error"]
    assert errors
    assert seconds < LIMIT_S
    assert errors[0].line >= 1 or name == "a hundred megabytes", "a file that is too large is not read, so has no line"


@pytest.mark.parametrize("word", ["on", "no", "NO", "y", "017", "12:30:45", "2026-11-20", "0b1", "~x"])
def test_t01_yaml_1_1_typing_is_gone(word):
    tree, found = load("f.yaml", f"a: {word}".encode())
    assert found == []
    # 1.2 reads a leading zero as decimal; the rest of 1.1 is text
    assert tree.data == {"a": 17 if word == "017" else word}


# ---- T04: planning runs no code of a spec, a model folder or an installed plug-in it does not use --------------------

CANARY = """
import sys, pathlib
pathlib.Path({canary!r}).write_text("ran")
"""

WATCHED = """
import sys
import os
def audit(name, arguments):
    if name in ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec",
                "os.posix_spawn", "os.fork", "pickle.find_class"):
        sys.stderr.write("FORBIDDEN " + name + " " + repr(arguments)[:200] + "\\n")
        os._exit(99)
sys.addaudithook(audit)
from kcompiler.cli import main
main()
"""


def planned(folder, *arguments, path=()):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *map(str, path)])}
    return subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def project(folder, text=SPEC):
    (folder / ".kcompiler").mkdir()
    (folder / "spec.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_t04_planning_runs_no_code_of_the_project(verb, tmp_path):
    """Files with the names that tools import by themselves, an entry point nobody asked for, and a model folder with
    remote code: none of them runs, no socket opens, no process starts."""
    home = project(tmp_path)
    canary = tmp_path / "ran.txt"
    code = CANARY.format(canary=str(canary))
    for name in ("conftest.py", "setup.py", "kc_evil.py", "modeling_evil.py", "data.py", "policy.py"):
        (home / name).write_text(code)
    site = tmp_path / "site"
    (site / "kc_evil-1.0.dist-info").mkdir(parents=True)
    (site / "kc_evil.py").write_text(code)
    (site / "kc_evil-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: kc-evil\nVersion: 1.0\n")
    (site / "kc_evil-1.0.dist-info/RECORD").write_text("kc_evil.py,,\n")
    (site / "kc_evil-1.0.dist-info/entry_points.txt").write_text(
        "".join(f"[kcompiler.{room}]\nevil = kc_evil:X\n" for room in ("losses", "steps", "suites", "teachers"))
        + "[pydantic]\nevil = kc_evil:plugin\n"
    )
    done = planned(home, verb, "spec.yaml", path=[site])
    assert done.returncode == 0, done.stderr
    assert not canary.exists()


def test_t04_the_canary_can_sing(tmp_path):
    """The same entry point, asked for by name, does run: the test above could fail."""
    home = project(tmp_path, SPEC.replace("{term: ce_truth, weight: 0.2}", "{term: evil, weight: 0.2}"))
    canary, site = tmp_path / "ran.txt", tmp_path / "site"
    (site / "kc_evil-1.0.dist-info").mkdir(parents=True)
    (site / "kc_evil.py").write_text(CANARY.format(canary=str(canary)))
    (site / "kc_evil-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: kc-evil\nVersion: 1.0\n")
    (site / "kc_evil-1.0.dist-info/entry_points.txt").write_text("[kcompiler.losses]\nevil = kc_evil:X\n")
    done = planned(home, "validate", "spec.yaml", path=[site])
    assert done.returncode == 1
    assert canary.exists()


def test_t04_a_model_folder_with_remote_code_is_only_hashed(tmp_path):
    home = project(tmp_path)
    canary = tmp_path / "ran.txt"
    model = home / "teacher"
    model.mkdir()
    (model / "config.json").write_text(
        json.dumps({"model_type": "llama", "vocab_size": 512, "auto_map": {"AutoConfig": "modeling_evil.C"}})
    )
    (model / "modeling_evil.py").write_text(CANARY.format(canary=str(canary)))
    (model / "model.safetensors").write_bytes(b"\0" * 8)
    text = re.sub(
        r"teacher:\n(  .*\n)+",
        "teacher: {source: hf, model: ./teacher, revision: 'sha256:" + "0" * 64 + "', signals: [logits]}\n",
        SPEC,
    )
    (home / "spec.yaml").write_text(text)
    done = planned(home, "pin", "spec.yaml")
    assert done.returncode == 0, done.stderr
    assert re.search(r"revision: '?sha256:(?!0{64})[0-9a-f]{64}", (home / "spec.yaml").read_text())
    assert not canary.exists()


# ---- T06: no path of a spec leaves the project ------------------------------------------------------------------------

PATHS = [
    "../outside.jsonl",
    "/etc/passwd",
    "data/../../outside.jsonl",
    "..\\outside.jsonl",
    "data\\..\\..\\outside.jsonl",
    "%2e%2e/outside.jsonl",
    "~/outside.jsonl",
    "$HOME/outside.jsonl",
    "file:///etc/passwd",
    "data/\u2215etc",
    "\uff0e\uff0e/outside.jsonl",
    "link.jsonl",
    "folder-link/outside.jsonl",
    "data/rows.jsonl#/../../outside.jsonl",
    "/proc/self/environ",
    "/dev/zero",
    "pipe.jsonl",
    "CON",
    "a\nb",
    "x" * 300,
    "",
    ".",
]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "outside.jsonl").write_text('{"secret": "canary-7f3a"}\n')
    home = tmp_path / "project"
    home.mkdir()
    project(home)
    (home / "data").mkdir()
    (home / "link.jsonl").symlink_to("../outside.jsonl")
    (home / "folder-link").symlink_to("..")
    os.mkfifo(home / "pipe.jsonl")
    return home


def with_source(path):
    """The shipped spec with one source read from `path`, written so that YAML reads it as that text."""
    line = f"    - {{name: rows, kind: jsonl, path: {json.dumps(path)}, split: train, license: MIT}}\n"
    return SPEC.replace("  sources:\n", "  sources:\n" + line)


@pytest.mark.parametrize("path", PATHS)
def test_t06_a_path_out_of_the_project_is_refused(path, home):
    spec = home / "spec.yaml"
    spec.write_text(with_source(path), encoding="utf-8")
    front, seconds = timed(compile_spec, spec, home)
    errors = [item for item in front.diagnostics if item.severity == "error"]
    assert errors
    assert errors[0].line >= 1
    assert seconds < 2 * LIMIT_S
    assert "canary-7f3a" not in repr(front.diagnostics)


@given(
    st.lists(
        st.sampled_from(
            ["..", ".", "data", "folder-link", "link.jsonl", "outside.jsonl", "", "%2e%2e", "..\\", "\u2024\u2024"]
        ),
        min_size=1,
        max_size=6,
    ).map("/".join)
    | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
)
@settings(max_examples=120, deadline=None)
@longer
def test_t06_no_spelling_reads_a_file_outside(tmp_path_factory, path):
    """The only file with rows lies outside. Whatever the path says, nothing of it is ever taken."""
    base = tmp_path_factory.mktemp("t06")
    (base / "outside.jsonl").write_text('{"id": "1", "prompt": "canary-7f3a", "response": "x"}\n')
    home = base / "project"
    (home / "data").mkdir(parents=True)
    (home / "folder-link").symlink_to("..")
    (home / "link.jsonl").symlink_to("../outside.jsonl")
    spec = home / "spec.yaml"
    spec.write_text(with_source(path), encoding="utf-8")
    front = compile_spec(spec, home)
    assert front.spec is None
    said = "".join(unicodedata.normalize("NFKC", repr(item)) for item in front.diagnostics)
    assert "canary-7f3a" not in said


@pytest.mark.parametrize(
    "name", ["../up", also(".."), also("a/b"), "/abs", also("a\\b"), also("con."), "x\u0000y", also("e\u0301\u202e")]
)
def test_t06_a_name_cannot_place_the_lock_elsewhere(name, home):
    """metadata.name becomes a folder below generated/."""
    spec = home / "spec.yaml"
    spec.write_text(SPEC.replace("name: eight-ball\n", f"name: {json.dumps(name)}\n", 1), encoding="utf-8")
    done = planned(home, "plan", "spec.yaml")
    assert done.returncode in (1, 2), done.stderr
    assert not (home / "generated").exists()
    assert sorted(item.name for item in home.parent.iterdir()) == ["outside.jsonl", "project"]


def test_t06_a_generated_folder_that_is_a_link_outside_is_not_followed(home):
    """Documented as it is: the lock is written below the project's own generated/, which must be a real folder."""
    elsewhere = home.parent / "elsewhere"
    elsewhere.mkdir()
    (home / "generated").symlink_to(elsewhere)
    done = planned(home, "plan", "spec.yaml")
    assert done.returncode == 2, done.stderr
    assert list(elsewhere.iterdir()) == []


# ---- T19: one row cannot use up the machine ---------------------------------------------------------------------------

#: a process of its own with a gigabyte of address space more than it starts with, and a processor second per step
BOUNDED = textwrap.dedent(
    """
    import resource, sys, time
    from pathlib import Path
    from runtime.contract import Refusal
    from runtime.{module} import {function}
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + {spare}, used + {spare}))
    before = time.process_time()
    try:
        value = {function}(Path(sys.argv[1]))
        list(value)
    except Refusal as refusal:
        print(f"{{refusal.place}}: {{refusal.message[:200]}}")
        sys.exit(0 if time.process_time() - before < {seconds} else 3)
    sys.exit(1)
    """
)


def bounded(path, module, function, spare=200_000_000, seconds=2.0):
    code = BOUNDED.format(module=module, function=function, spare=spare, seconds=seconds)
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def row(**changes):
    whole = {"id": "r", "prompt": "p", "response": "q", "class": "", "spans": {}, "source": "s"}
    return json.dumps({**whole, **changes})


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to bound the memory of a process")
def test_t19_a_line_of_a_gigabyte_is_refused_with_its_number(tmp_path):
    """A sparse file: the second line has no end for a gigabyte. 200 MB suffice to refuse it."""
    path = tmp_path / "train.jsonl"
    path.write_text(row() + "\n")
    with path.open("r+b") as file:
        file.truncate(1_000_000_000)
    done = bounded(path, "contract.rows", "read")
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith("train.jsonl:2: line longer than")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a million tools", row(more={"tools": ["x"] * 300_000})),
        ("a million spans", row(spans={"json_args": [[0, 1]] * 150_000})),
        ("deep nesting", row(more=0).replace('"more": 0', '"more": ' + '{"a":' * 5000 + "1" + "}" * 5000)),
        ("a long number", row(more=0).replace('"more": 0', '"more": {"n": ' + "9" * 900_000 + "}")),
        ("many keys", row(more={str(i): i for i in range(200_000)})),
    ],
)
def test_t19_a_row_that_uses_up_the_reader_is_refused_with_its_number(name, line, tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(row(id="first") + "\n" + line + "\n")
    done = bounded(path, "contract.rows", "read")
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    assert done.stdout.startswith("train.jsonl:2: ")


def test_t19_a_registry_of_a_million_tools_is_refused(tmp_path):
    path = tmp_path / "tools.json"
    path.write_text("[" + ",".join(['{"name":"a"}'] * 1_000_000) + "]")
    done = bounded(path, "tools.registry", "load", spare=1_000_000_000, seconds=10.0)
    assert done.returncode == 0, done.stderr[-500:]
    assert "1000000 tools, at most" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to bound the memory of a process")
def test_t19_a_spec_that_names_a_huge_row_is_compiled_in_bounded_memory(home):
    """A source of 300 MB without a line end: whatever is said of it, the compiler does not hold it in memory."""
    (home / "data/rows.jsonl").write_text(row() + "\n")
    with (home / "data/rows.jsonl").open("r+b") as file:
        file.truncate(300_000_000)
    (home / "spec.yaml").write_text(with_source("data/rows.jsonl"), encoding="utf-8")
    code = textwrap.dedent(
        """
        from pathlib import Path
        from kcompiler import plan
        from kcompiler.front import compile_spec
        from kcompiler.project import Project
        front = compile_spec(Path("spec.yaml"), Path("."))
        if front.spec is not None:
            plan.make(front, Project(Path(".").resolve()))
        # not ru_maxrss, which starts with what the parent had when it forked
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        print(int(status["VmHWM"].split()[0]) // 1024)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-800:]
    assert int(done.stdout) < 150, "MB"
