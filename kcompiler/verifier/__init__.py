"""A bundle of evidence → what a stranger says of it with nothing but Python; all of this becomes one file: verify.py.

The modules here import the standard library and one another, and run on Python 3.9. `assembled()` puts their texts, in
the order of `MODULES`, into one script. One more module is one more file and its place in that list.
"""

from __future__ import annotations

from pathlib import Path

#: each after those it imports
MODULES = (
    "reading",
    "facts",
    "zipped",
    "ed25519",
    "signed",
    "statistics",
    "lacking",
    "ondevice",
    "datum",
    "paths",
    "said",
    "shaped",
    "again",
    "formulas",
    "laws",
    "cel",
    "kinds",
    "waivers",
    "verdict",
    "ledger",
    "starts",
    "records",
    "approvals",
    "forecast",
    "excused",
    "said_again",
    "sealed",
    "strays",
    "texts",
    "main",
)
_START = """#!/usr/bin/env python3
{doc}
# Made by kcompiler from kcompiler/verifier/: the texts below are its modules, word for word, in the order of their use.
# Licence: Apache-2.0. `python3 -I verify.py --help`

import sys
import types

_MODULES = {{}}
"""
_END = """
sys.modules["verifier"] = types.ModuleType("verifier")
for _name, _text in _MODULES.items():
    _module = sys.modules["verifier." + _name] = types.ModuleType("verifier." + _name)
    exec(compile(_text, "verify.py: " + _name, "exec"), _module.__dict__)
    setattr(sys.modules["verifier"], _name, _module)

if __name__ == "__main__":
    _own = b""
    if "__file__" in globals():
        with open(__file__, "rb") as _file:
            _own = _file.read()
    sys.exit(sys.modules["verifier.main"].main(own=_own))
"""


def assembled() -> str:
    """The text of verify.py. The same installation gives the same text."""
    folder = Path(__file__).resolve().parent
    texts = {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    doc = texts["main"].partition('"""')[2].partition('"""')[0]
    parts = [_START.format(doc=f'"""{doc}"""')]
    for name, text in texts.items():
        assert "'''" not in text, f"{name} cannot stand between three quotes"
        parts.append(f"_MODULES[\"{name}\"] = r'''{text.replace('kcompiler.verifier', 'verifier')}'''\n")
    return "\n".join([*parts, _END])
