"""A folder that somebody named → which of its parts hold the weights, the words and the saved packages.

A delivery is taken apart, and what is read of it must have the digests that stand in its SHA256SUMS, and its packages
those of its contract; any other folder is a Transformers folder.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from runtime.contract import BrokenEvidence, Refusal, delivery
from runtime.contract.delivery import HUGGINGFACE, PACKAGES, SUMS
from runtime.generate import models, words
from runtime.generate.engine import Engine

_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)\Z")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Folders: `model` has config and weights, `words` the tokenizer files, `packages` the saved packages, if any."""

    name: str
    model: Path
    words: Path
    packages: Path | None = None


def of_folder(folder: Path) -> Sources:
    """The parts of a delivery or of a Transformers folder.

    Raises BrokenEvidence for a delivery whose files are not those of its sums and contract, Refusal for any other
    folder.
    """
    if delivery.is_delivery(folder):
        _verify(folder)
        inside = folder / HUGGINGFACE
        return Sources(name=delivery.kept(folder).name, model=inside, words=inside, packages=folder / PACKAGES)
    if not (folder / "config.json").is_file():
        raise Refusal(
            "the folder is neither a delivery (contract.json, huggingface/) nor a Transformers folder (config.json)",
            place=folder.name,
            action="name a spec that was applied, what `kcompiler deliver` has written, or a folder with config.json",
            code="KR0200",
        )
    return Sources(name=folder.resolve().name, model=folder, words=folder)


def _verify(folder: Path) -> None:
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        raise BrokenEvidence(f"the delivery has no {SUMS} that can be read", subject=SUMS) from None
    listed = {match[2]: match[1] for line in lines if (match := _LINE.match(line))}
    gone = [name for name in listed if not (folder / name).is_file()]
    if gone:
        raise BrokenEvidence("it was delivered and is not there", subject=gone[0])
    inside = (one for part in (HUGGINGFACE, PACKAGES) for one in (folder / part).rglob("*") if one.is_file())
    for path in sorted([folder / delivery.CONTRACT, *inside]):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if listed.get(name) != found:
            raise BrokenEvidence("it is not what was delivered", subject=name)


def engine(sources: Sources, runner: str) -> Engine:
    """The engine of a model. Raises what `models.opened` and `words.load` raise."""
    found = words.load(sources.words, sources.model)
    return Engine(models.opened(runner, sources.model, sources.packages), found)
