"""What a lock depends on: the meaning of the spec, and nothing of how it is written or where it is compiled."""

import copy
import io
import json
import locale
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
import rfc8785
import yaml
from hypothesis import example, given, settings

from kcompiler import lock, plan
from kcompiler.front import compile_spec
from kcompiler.project import Project
from runtime import digest
from runtime.contract import keys
from tests.longer import LONG, also

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "specs").glob("*.yaml"))


def project(folder):
    """The shipped specs with everything they refer to, as a project of its own."""
    (folder / ".kcompiler").mkdir(parents=True)
    shutil.copytree(ROOT / "specs", folder / "specs")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return project(tmp_path_factory.mktemp("determinism") / "project")


def locked(spec, home):
    """The lock's text for a spec file."""
    front = compile_spec(spec, home)
    assert front.spec is not None, [item.summary for item in front.diagnostics]
    made, found = plan.make(front, Project(home))
    assert made is not None, found
    return lock.dump(made)


@pytest.fixture(scope="module")
def expected(home):
    return {name: locked(home / "specs" / f"{name}.yaml", home) for name in NAMES}


def shuffled(value, generator):
    """The same value with the keys of every mapping in another order."""
    if isinstance(value, dict):
        names = list(value)
        generator.shuffle(names)
        return {name: shuffled(value[name], generator) for name in names}
    return [shuffled(item, generator) for item in value] if isinstance(value, list) else value


@st.composite
def rewritten(draw):
    """(name of a shipped spec, other text that means the same)."""
    name = draw(st.sampled_from(NAMES))
    generator = random.Random(draw(st.integers(0, 2**32)))
    data = shuffled(load_as_written(name), generator)
    out = io.StringIO()
    yaml.safe_dump(
        data,
        out,
        sort_keys=False,
        allow_unicode=draw(st.booleans()),
        default_flow_style=draw(st.sampled_from([None, False, True])),
        indent=draw(st.integers(2, 6)),
        width=draw(st.sampled_from([40, 80, 10_000])),
    )
    lines = []
    for line in out.getvalue().splitlines():
        # comments and blank lines between lines, never inside a quoted text that goes on
        lines.append(line)
    head = ["# a comment", ""] * draw(st.integers(0, 3))
    text = "\n".join([*head, *lines, "", "# the end"]) + "\n" * draw(st.integers(0, 3))
    return name, text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def load_as_written(name):
    """The values of a spec as our own loader reads them: PyYAML would read YAML 1.1."""
    from kcompiler.source import load

    path = ROOT / "specs" / f"{name}.yaml"
    tree, found = load(path.name, path.read_bytes())
    assert tree is not None, found
    return copy.deepcopy(tree.data)


@given(rewritten())
@settings(max_examples=60 if LONG else 8, deadline=None)
def test_writing_a_spec_otherwise_changes_no_lock(home, expected, case):
    """Key order, style, quotes, indentation, width, comments, blank lines and line ends mean nothing."""
    name, text = case
    spec = home / "specs" / f"{name}.yaml"
    before = spec.read_bytes()
    try:
        spec.write_bytes(text.encode())
        assert locked(spec, home) == expected[name]
    finally:
        spec.write_bytes(before)


@given(st.sampled_from(NAMES), st.integers(0, 2**32), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=60 if LONG else 8, deadline=None)
def test_comments_and_white_space_in_a_written_spec_change_no_lock(home, expected, name, seed, ending):
    """In the text people wrote: comments and blank lines between lines, spaces and comments at their ends."""
    generator = random.Random(seed)
    spec = home / "specs" / f"{name}.yaml"
    before = spec.read_bytes()
    lines = []
    for line in before.decode().splitlines():
        lines += [generator.choice(["", "# c", "    # deeper: {not, yaml"])] if generator.random() < 0.3 else []
        lines.append(line + generator.choice(["", "  ", "  # trailing: comment"]))
    try:
        spec.write_bytes((ending.join(lines) + ending).encode())
        assert locked(spec, home) == expected[name]
    finally:
        spec.write_bytes(before)


def test_a_change_of_meaning_changes_the_lock(home, expected):
    """The laws above could fail."""
    for name in NAMES:
        spec = home / "specs" / f"{name}.yaml"
        before = spec.read_bytes()
        try:
            # a spec that leaves its seed to a fragment is laid over it; the seed of a profile is not the spec's
            other = before.replace(b"\nexecution: {seed: 1337", b"\nexecution: {seed: 1338")
            spec.write_bytes(other if other != before else before + b"execution: {seed: 1338}\n")
            assert locked(spec, home) != expected[name]
        finally:
            spec.write_bytes(before)


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_is_the_same_after_reading_and_writing_it(expected, name):
    text = expected[name]
    assert lock.dump(lock.load(text)) == text
    # another layout of the same content is the same plan
    squeezed = json.dumps(json.loads(text), ensure_ascii=True, separators=(",", ":"))
    assert lock.plan_digest(lock.load(squeezed)) == lock.plan_digest(lock.load(text))


# ---- the surroundings -------------------------------------------------------------------------------------------------

PLAN = """
import os, sys
os.umask(int(sys.argv[1], 8))
from kcompiler.cli import main
sys.argv = ["kcompiler", "plan", sys.argv[2]]
main()
"""


def plan_in(home, spec="specs/eight-ball.yaml", *, umask="022", cwd=None, **environment):
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", PLAN, umask, str(spec)],
        cwd=cwd or home,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        # what is printed may be in any encoding that the surroundings ask for; the lock is not
        errors="replace",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return (home / "generated/eight-ball/plan.lock").read_bytes()


@pytest.mark.parametrize(
    "surroundings",
    [
        also({"LC_ALL": "C"}),
        also({"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}),
        {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
        {"PYTHONUTF8": "0", "LC_ALL": "POSIX"},
        {"PYTHONIOENCODING": "latin-1"},
        also({"TZ": "Pacific/Kiritimati"}),
        also({"TZ": "America/St_Johns"}),
        also({"PYTHONHASHSEED": "0"}),
        also({"PYTHONHASHSEED": "1"}),
        {"PYTHONHASHSEED": "4294967295"},
        also({"umask": "077"}),
        also({"umask": "000"}),
        {"COLUMNS": "20", "TERM": "dumb", "NO_COLOR": "1", "CI": "true"},
        {"USER": "somebody", "HOSTNAME": "elsewhere", "HOME": "/nonexistent"},
        {"PYTHONOPTIMIZE": "1"},
    ],
    ids=lambda given: ",".join(f"{key}={value}" for key, value in given.items()),
)
def test_the_surroundings_change_no_lock(home, expected, surroundings):
    shutil.rmtree(home / "generated", ignore_errors=True)
    assert plan_in(home, **surroundings) == expected["eight-ball"].encode()


@pytest.mark.parametrize("folder", [also("a b"), "é-😀", also("x" * 200), "-dash", also("a;b&c")])
def test_the_place_of_the_project_changes_no_lock(tmp_path, expected, folder):
    home = project(tmp_path / folder)
    assert plan_in(home) == expected["eight-ball"].encode()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(home / "generated")
    assert plan_in(home, home / "specs/eight-ball.yaml", cwd=elsewhere) == expected["eight-ball"].encode()


def test_a_lock_names_nothing_of_this_machine(expected):
    text = "".join(expected.values())
    for word in (str(ROOT), os.environ.get("HOME", "/root") + "/", os.uname().nodename, sys.prefix):
        assert word not in text
    assert locale.getlocale() is not None


# ---- the fast paths write what the slow ones wrote --------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


@given(values)
@settings(max_examples=500 if LONG else 80, deadline=None)
@example({"\ue000": 1, "\U0001f600": 2, "a": 3})
@example({"a": 1.0, "b": [1e21, 5e-7, -0.0]})
@example(['\x00\x1f\x7f\u2028"\\/'])
def test_the_canonical_text_is_rfc_8785(value):
    """The fast encoder against the reference implementation, for what is plain and for what is not."""
    assert digest.canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        2**53,
        -(2**53),
        [2**60],
        float("nan"),
        {"a": float("inf")},
        "\ud800",
        {"\udc00": 1},
        {1: 2},
        {"a": {None: 1}},
        b"x",
        {1, 2},
    ],
    ids=repr,
)
def test_what_has_no_canonical_text_is_refused(value):
    with pytest.raises(ValueError):  # noqa: PT011
        digest.canonical(value)


@given(st.dictionaries(texts, values, max_size=6))
@settings(max_examples=300 if LONG else 50, deadline=None)
def test_a_lock_is_laid_out_as_json_dumps_lays_it_out(value):
    assert lock.dump(value) == json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_never_reaches_a_lock(bad):
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        lock.dump({"a": [bad]})


def test_a_derivation_is_what_it_was():
    """A fixed vector: a change of these digits invalidates every result people have stored."""
    step = {
        "id": "a",
        "kind": "copy@1",
        "backend": "python",
        "takes": {"rows": "input:source", "more": "step:b#out"},
        "params": {"x": 0.5, "y": [1, "é", None, True]},
        "gives": {"out": {"kind": "dataset"}},
        "code": "sha256:" + "c" * 64,
        "seed": "1337",
    }
    found = keys.derivation(
        step,
        pins={"source": "sha256:" + "a" * 64},
        derivations={"b": "sha256:" + "b" * 64},
        environment={"torch": "2.13.0"},
        plugins=[{"name": "copy", "room": "steps", "code": "sha256:" + "d" * 64}],
    )
    assert found == VECTOR


VECTOR = "sha256:6f686cbb5d93b3a5822785502895b6bec779926b3fcdbe39aef352cb18150b42"
