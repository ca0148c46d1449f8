"""Every byte the machine writes goes through `runtime.machine.durable`: a full disk is then one error with a file in it,
never that of whatever library was writing, and never the end of the process."""

import ast
from pathlib import Path

import runtime

ROOT = Path(runtime.__file__).parent
#: the writer itself, and what stands below it: the machine says for it that storage failed
ALLOWED = {"machine/durable.py", "backends/null.py"}
WRITERS = {
    "write_text",
    "write_bytes",
    "save_file",
    "save_pretrained",
    "copyfile",
    "copytree",
    "mkdir",
    "touch",
    "symlink_to",
}


def writes(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        texts = [item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        opened = name == "open" and any(set(text) & set("wax+") and len(text) <= 3 for text in texts)
        # `disk` is the writer itself, handed on
        handed = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "disk"
        if (name in WRITERS or opened) and not handed:
            found.append(f"{path.relative_to(ROOT).as_posix()}:{node.lineno} {name}")
    return found


def test_nothing_else_writes():
    files = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).as_posix() not in ALLOWED]
    assert [line for path in files for line in writes(path)] == []


def test_the_search_finds_what_it_looks_for(tmp_path):
    assert len(writes(ROOT / "machine/durable.py")) >= 3
