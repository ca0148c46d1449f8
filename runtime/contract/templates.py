"""The folder of somebody's tokenizer → its chat template, in whichever of its two places it stands; nothing is run."""

from __future__ import annotations

import json
from pathlib import Path

#: the word in a spec for the template that comes with a tokenizer
CHAT = "chat"
#: the day that a template is told where it asks for today; Llama 3's own falls back to it
DATE = "2024-07-26"
#: the file of its own (Transformers 5 writes only this), and the one with other settings, under this key
FILE, CONFIG, KEY = "chat_template.jinja", "tokenizer_config.json", "chat_template"
#: of several templates with names, the one that is taken when nobody names another
_DEFAULT = "default"
#: far above any real one: the longest known has 30 kB
MAX_BYTES, MAX_CONFIG_BYTES = 1 << 20, 64 << 20


def chat_template(folder: Path) -> str | None:
    """The template; None when there is none. Raises ValueError for a file that cannot be what it should."""
    path = folder / FILE
    if path.is_file():
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{FILE} is larger than {MAX_BYTES >> 20} MiB")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{FILE} is not UTF-8 at byte {error.start}") from None
    config = folder / CONFIG
    if not config.is_file():
        return None
    if config.stat().st_size > MAX_CONFIG_BYTES:
        raise ValueError(f"{CONFIG} is larger than {MAX_CONFIG_BYTES >> 20} MiB")
    try:
        value = json.loads(config.read_bytes())
    except (ValueError, RecursionError):
        raise ValueError(f"{CONFIG} is not JSON") from None
    found = value.get(KEY) if isinstance(value, dict) else None
    if isinstance(found, list):
        named = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
        found = named.get(_DEFAULT)
    if found is None:
        return None
    if not isinstance(found, str) or len(found.encode("utf-8", "replace")) > MAX_BYTES:
        raise ValueError(f"`{KEY}` of {CONFIG} is no text of at most {MAX_BYTES >> 20} MiB")
    return found
