"""The states that a step has saved in its scratch folder, newest first; its next attempt goes on from one of them.

`state-<step>.json` names the file with a state, its digest, and the step to be done next. It is written after that file
is durable, so that a kill leaves the states before or the new one too. The two newest are kept: where one was damaged
the one before it is used. Who only looks can read an index without a tensor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime import digest

VERSION = 2
_INDEX = re.compile(r"state-(\d{8,})\.json")
_DOMAIN = "kc.training-state.v2"


def name_of(step: int, ending: str = "json") -> str:
    """The name of a state's index, or of its file with another ending."""
    return f"state-{step:08d}.{ending}"


def index(*, course: Mapping[str, str], step: int, file: str, file_digest: str, record: Mapping[str, Any]) -> bytes:
    """The text of an index. `course`: name → text of everything that decides the run's course; `step` is the next to
    run; `file` holds the state; `record` is plain JSON."""
    content = {
        "version": VERSION,
        "course": dict(course),
        "step": step,
        "file": file,
        "digest": file_digest,
        "record": record,
    }
    return json.dumps({**content, "self": digest.of_value(content, _DOMAIN)}, sort_keys=True, allow_nan=False).encode()


def indices(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of every index in a folder, the newest first, readable or not."""
    found = [(int(match[1]), path) for path in folder.glob("state-*.json") if (match := _INDEX.fullmatch(path.name))]
    return sorted(found, reverse=True)


def read(path: Path) -> tuple[dict[str, Any] | None, str]:
    """An index, as it was written; or None and why it may not be used."""
    try:
        found = json.loads(path.read_bytes())
        stated = found.pop("self")
        if digest.of_value(found, _DOMAIN) != stated:
            return None, "its index was changed after it was written"
        if found["version"] != VERSION:
            return None, "it is of another version"
        if not isinstance(found["step"], int) or not isinstance(found["file"], str):
            return None, "its index names no step or no file"
        if path.name != name_of(found["step"]):
            return None, "its index is that of another step"
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        return None, f"its index cannot be read ({type(error).__name__})"
    return found, ""


def step_of(work: Path) -> int | None:
    """The step that is next by the newest state saved below the folder `work`; None without one."""
    for folder in sorted(path for path in work.glob("*") if path.is_dir()):
        for _, path in indices(folder):
            found, _ = read(path)
            if found is not None and (folder / Path(found["file"]).name).is_file():
                return int(found["step"])
    return None
