"""The index of a state that a step has saved in its scratch folder, and from which its next attempt goes on.

`state.json` names the file with the state, its digest, and the step to be done next. It is replaced only after the file
is durable, so that a kill leaves the state before or the state after. Who only looks can read it without a tensor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime import digest

VERSION = 1
INDEX = "state.json"
_DOMAIN = "kc.training-state.v1"


def index(*, fingerprint: str, step: int, file: str, data: bytes, record: Mapping[str, Any]) -> bytes:
    """The text of an index. `step` is the next step to run, `data` what stands in `file`, `record` plain JSON."""
    content = {
        "version": VERSION,
        "fingerprint": fingerprint,
        "step": step,
        "file": file,
        "digest": digest.of_bytes(data),
        "record": record,
    }
    return json.dumps({**content, "self": digest.of_value(content, _DOMAIN)}, sort_keys=True, allow_nan=False).encode()


def read(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """The index in a folder, as it was written; or None and why there is none that may be used."""
    path = folder / INDEX
    if not path.exists():
        return None, "no saved state"
    try:
        found = json.loads(path.read_bytes())
        stated = found.pop("self")
        if digest.of_value(found, _DOMAIN) != stated:
            return None, "the saved state's index was changed after it was written"
        if found["version"] != VERSION:
            return None, "the saved state is of another version"
        if not isinstance(found["step"], int) or not isinstance(found["file"], str):
            return None, "the saved state's index names no step or no file"
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        return None, f"the saved state cannot be read ({type(error).__name__})"
    return found, ""


def step_of(work: Path) -> int | None:
    """The step that is next by the state saved somewhere below the folder `work`; None without one."""
    for path in sorted(work.glob(f"*/{INDEX}")):
        found, _ = read(path.parent)
        if found is not None and (path.parent / Path(found["file"]).name).is_file():
            return int(found["step"])
    return None
