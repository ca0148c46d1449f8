"""What the published decoder of the Berkeley Function-Calling Leaderboard reads as a call, pinned.

    python -m tests.bench.bfcl_decoder FOLDER_OF_bfcl_eval [--write]

FOLDER is where the package `bfcl-eval` lies unpacked (`pip download --no-deps bfcl-eval` and unzip; its dependencies are
not needed). Each text of tests/data/bfcl/decoded.jsonl is given to its decoder; the exit status is 1 where it says
otherwise than the file, which `--write` writes anew.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1] / "data/bfcl/decoded.jsonl"
#: the functions of the package that decide it, by file; nothing else of these files is run
_TAKEN = {
    "model_handler/utils.py": ("default_decode_ast_prompting", "ast_parse", "resolve_ast_call", "resolve_ast_by_type"),
    "utils.py": ("is_empty_output", "is_function_calling_format_output"),
}


def decoder(folder: Path) -> Any:
    """(text) → whether the published decoder reads a call in it."""
    space: dict[str, Any] = {"ast": ast}
    exec((folder / "bfcl_eval/constants/enums.py").read_text(encoding="utf-8"), space)
    for file, names in _TAKEN.items():
        tree = ast.parse((folder / "bfcl_eval" / file).read_text(encoding="utf-8"))
        tree.body = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name in names]
        exec(compile(tree, file, "exec"), space)

    def decodes(text: str) -> bool:
        # as its runner of irrelevance has it: what cannot be decoded is no call, whatever the reason
        try:
            found = space["default_decode_ast_prompting"](text)
        except Exception:
            return False
        return not space["is_empty_output"](found)

    return decodes


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    asked.add_argument("folder", type=Path)
    asked.add_argument("--write", action="store_true")
    words = asked.parse_args()
    decodes = decoder(words.folder)
    lines = [json.loads(line) for line in HERE.read_text(encoding="utf-8").splitlines()]
    found = [[text, decodes(text)] for text, _ in lines]
    apart = [text for (text, told), (_, now) in zip(lines, found, strict=True) if told != now]
    print(f"{len(lines)} texts, {sum(now for _, now in found)} of them calls, {len(apart)} otherwise: {apart[:5]}")
    if words.write:
        HERE.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
    return 1 if apart and not words.write else 0


if __name__ == "__main__":
    sys.exit(main())
