"""Who answered for a model behind a server, and which answers it was not let finish: kept beside the lots of answers,
so that whoever goes on after a kill knows it too, and told in the report."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from runtime.contract import Refusal
from runtime.contract.hosted import Asking, is_version
from runtime.contract.strict_json import Json, dumps, loads
from runtime.machine import durable

FILE = "served.json"
#: what servers put behind the name of a model that was asked for: the day of the snapshot that answers
_SNAPSHOT = re.compile(r"[-@:]\d{4}[\d-]*")
#: digests of prompts whose answers were cut that a report names
MOST_NAMED = 1000


def is_asked(version: str, model: str) -> bool:
    """Whether an answer is of the model that was asked for: under its name, under that of a dated snapshot of it, or
    under none, where the server does not say."""
    name = version.partition("#")[0]
    return name in ("", model) or (name.startswith(model) and bool(_SNAPSHOT.fullmatch(name.removeprefix(model))))


class Served:
    """The versions that answered, each with how often, and digests of the prompts whose answers were cut."""

    def __init__(self, folder: Path, asking: Asking, beside: str = "beside the runner") -> None:
        """`beside`: where the server is declared, in words."""
        self._path, self._asking, self._beside = folder / FILE, asking, beside
        kept = read(folder)
        self._versions: Counter[str] = Counter(kept["versions"])
        self._cut: set[str] = set(kept["cut"])

    def wants(self, version: str) -> bool:
        """Whether an answer of this version is what the spec asks for."""
        wanted = self._asking.served_as
        return is_version(version, wanted) if wanted else is_asked(version, self._asking.model)

    def add(self, version: str, cut: str = "") -> None:
        """One answer more; `cut` is the digest of its prompt where it was cut."""
        self._versions[version] += 1
        self._cut |= {cut} if cut else set()

    def keep(self) -> None:
        """Durable when it returns. Raises Refusal unless all answers are of one version, and of the one that is asked
        for: nothing of the others is kept."""
        wanted = self._asking.served_as
        strange = [one for one in self._versions if not self.wants(one)]
        take = max(self._versions, key=lambda one: self._versions[one], default="")
        told = ", ".join(f"{count} as {one or 'nothing'}" for one, count in sorted(self._versions.items()))
        if (wanted and strange) or (not wanted and len(self._versions) > 1):
            raise Refusal(
                f"the server changed its model: it answered {told}" + (f", and {wanted} is wanted" if wanted else ""),
                place=self._asking.base_url,
                action=f'write `served_as: "{take}"` {self._beside}; answers of that version are kept',
                code="KR0117",
            )
        if strange:
            raise Refusal(
                f"another model answers: `{self._asking.model}` was asked, and the server says `{take}`",
                place=self._asking.base_url,
                action=f'where that is the model that is meant, write `served_as: "{take}"` {self._beside}; its '
                "answers are kept",
                code="KR0118",
            )
        cut: list[Json] = [*sorted(self._cut)]
        state: dict[str, Json] = {"versions": dict(self._versions), "cut": cut}
        durable.DISK.write(self._path, dumps(state).encode())


def read(folder: Path) -> dict[str, Any]:
    """What was kept in a folder; nothing where no server was asked, or the file was damaged."""
    try:
        kept = loads((folder / FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        kept = {}
    versions, cut = (kept.get("versions"), kept.get("cut")) if isinstance(kept, dict) else (None, None)
    if isinstance(versions, dict) and isinstance(cut, list):
        return {"versions": versions, "cut": cut}
    return {"versions": {}, "cut": []}


def told(folder: Path, asked: str) -> dict[str, Any]:
    """The environment of a report on a model that was `asked` for by this name: who answered, and which answers were
    cut, by the digests of their prompts."""
    kept = read(folder)
    named = kept["cut"][:MOST_NAMED]
    return {
        "model": asked,
        "served_as": ", ".join(sorted(kept["versions"])),
        "cut": named + ([f"and {len(kept['cut']) - len(named)} more"] if kept["cut"][MOST_NAMED:] else []),
    }
