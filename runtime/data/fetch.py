"""A repository of the Hugging Face Hub at a commit → configuration, tokenizer and safetensors; no code, no pickles."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from runtime import digest
from runtime.contract import Context, Refusal, Unavailable
from runtime.contract import report as facts
from runtime.machine import durable
from runtime.steps.fetch import FetchParams

#: what a model is made of here; everything else of a repository stays there
WANTED = ("*.json", "*.jinja", "*.safetensors", "tokenizer.model")
#: another layout of the same weights, and nested models
UNWANTED = ("*/*", "consolidated*")


def snapshot(repository: str, revision: str, folder: Path, wanted: Sequence[str] = WANTED) -> Path:
    """Load the wanted files of a repository into a folder, which goes on where it was stopped; the folder.

    Raises Refusal for what the Hub does not have or does not give, Unavailable when it cannot be reached.
    """
    place = f"hf:{repository}"
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                local_dir=folder,
                allow_patterns=list(wanted),
                ignore_patterns=list(UNWANTED),
                max_workers=4,
                # the library reads it once, when it is imported
                endpoint=os.environ.get("HF_ENDPOINT") or None,
            )
        )
    except (RevisionNotFoundError, RepositoryNotFoundError, GatedRepoError) as error:
        why = {
            RevisionNotFoundError: "has no such commit",
            GatedRepoError: "asks for its licence to be accepted, and a token in HF_TOKEN",
        }.get(type(error), "does not exist, or not for this token")
        raise Refusal(f"{place} {why}", place=place, action="check model and revision", code="KR0114") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable(
            f"{place} cannot be fetched: {first[:200]}", needs="the Hub, or HF_ENDPOINT of a mirror"
        ) from None


def fetch(_takes: Mapping[str, Path], params: FetchParams, ctx: Context) -> None:
    """Operation `fetch`. Raises what `snapshot` raises. What was loaded stays in scratch, so that a kill does not load
    it twice."""
    ctx.say(f"fetching {params.repository} at {params.revision[:12]}")
    place = f"hf:{params.repository}"
    found = snapshot(params.repository, params.revision, ctx.scratch / "folder")
    out, size, count = ctx.out("folder"), 0, 0
    for path in sorted(found.iterdir()):
        if path.is_file():
            durable.copy(path, out / path.name)
            size, count = size + path.stat().st_size, count + 1
    if not count:
        raise Refusal(f"{place} holds no configuration and no safetensors", place=place, action="take another one")
    data = {
        "repository": params.repository,
        "revision": params.revision,
        "files": facts.measured(count, "file"),
        "bytes": facts.measured(size, "byte"),
        "tree": digest.of_folder(out),
    }
    ctx.report("report", data, fingerprints={})
