"""A vocabulary, its control tokens and a template ↔ the files of the tokenizer artifact, and those beside a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from runtime.contract import BrokenEvidence, templates
from runtime.contract.templates import CHAT
from runtime.machine import durable
from runtime.models.tokenizer.chat import Chat, Wrapper
from runtime.models.tokenizer.plain import Plain, split_template
from runtime.models.tokenizer.text import SPECIAL, Tokenizer
from runtime.steps.tokenizer import TokenizerParams

#: the file in which Transformers looks for it, and all that a host needs to write a conversation and to stop
CHAT_TEMPLATE, CHAT_FILE = templates.FILE, "chat.json"


def save(
    folder: Path,
    backend: Backend,
    special: Mapping[str, int],
    params: TokenizerParams,
    reserved: int,
    template: str = "",
) -> None:
    """Write the tokenizer artifact: tokenizer.json, contract.json, and for Transformers tokenizer_config.json and a
    chat template, through which it gives the ids that `encode_prompt` and `encode_pair` give. With `template: chat` it
    is the tokenizer's own `template`, and chat.json says what was derived from it.

    Transformers encodes what a chat template makes as one text and takes control tokens in it for what they are, the
    user's too: who serves untrusted text encodes it by this module, or refuses control tokens first.
    """
    durable.write(folder / "tokenizer.json", backend.to_str(pretty=False))
    texts = {name: getattr(params.special, name) for name in SPECIAL}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": texts["pad"],
        "bos_token": texts["bos"],
        "eos_token": texts["eos"],
        "clean_up_tokenization_spaces": False,
    }
    found = tokenizer_of(backend, special, params, template, params.vocab_size)
    contract = {
        "schema_version": "1.0",
        "vocab_size": params.vocab_size,
        "special": {name: {"text": texts[name], "id": special[name]} for name in SPECIAL},
        "single_token_tags": params.single_token_tags,
        "template": params.template,
        "template_sha256": found.template_sha256,
        "reserved": reserved,
    }
    files: dict[str, Mapping[str, Any]] = {"tokenizer_config.json": config, "contract.json": contract}
    if isinstance(found, Chat):
        files[CHAT_FILE] = chat_facts(found)
    for name, value in files.items():
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        durable.write(folder / name, text)
    durable.write(folder / CHAT_TEMPLATE, template if isinstance(found, Chat) else chat_template(params.template))


def tokenizer_of(
    backend: Backend, special: Mapping[str, int], params: TokenizerParams, template: str, vocab_size: int
) -> Tokenizer:
    """The tokenizer of a vocabulary under the parameters' template; `template` is the vocabulary's own."""
    tokens = {f"{name}_token": str(getattr(params.special, name)) for name in SPECIAL}
    wrapper = Wrapper(template=template, date=params.date, system=params.system, tokens=tokens)
    return _found(backend, special, vocab_size, params.template, wrapper)


def _found(backend: Backend, special: Mapping[str, int], vocab_size: int, template: str, wrapper: Wrapper) -> Tokenizer:
    if template == CHAT:
        return Chat(backend, special, vocab_size, wrapper)
    return Plain(backend, special, template, vocab_size)


def chat_facts(tokenizer: Chat) -> dict[str, Any]:
    """The content of chat.json: how a conversation is written, where a generation begins, and where it stops."""
    return {
        "schema_version": "1.0",
        **asdict(tokenizer.wrapper),
        "template_sha256": hashlib.sha256(tokenizer.wrapper.template.encode()).hexdigest(),
        "wrapper_sha256": tokenizer.template_sha256,
        "generation_prompt": tokenizer.generation_prompt,
        "stop": [{"id": number, "text": tokenizer.decode([number])} for number in tokenizer.stop_ids],
        "writes_tool_calls": tokenizer.calls,
    }


def load(folder: Path) -> Tokenizer:
    """A tokenizer artifact as a Tokenizer. Raises BrokenEvidence when its files disagree."""
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    special = {name: int(contract["special"][name]["id"]) for name in SPECIAL}
    wrapper, chat = Wrapper("", "", "", {}), {}
    if contract["template"] == CHAT:
        chat = json.loads((folder / CHAT_FILE).read_text(encoding="utf-8"))
        wrapper = Wrapper(**{name: chat[name] for name in ("template", "date", "system", "tokens")})
    found = _found(backend, special, int(contract["vocab_size"]), contract["template"], wrapper)
    texts = {name: backend.id_to_token(special[name]) for name in SPECIAL}
    stated = {name: contract["special"][name]["text"] for name in SPECIAL}
    size = backend.get_vocab_size(with_added_tokens=True)
    if texts != stated or size != found.vocab_size or found.template_sha256 != contract["template_sha256"]:
        raise BrokenEvidence(
            f"contract.json and tokenizer.json disagree: {size} tokens, special {texts}", subject="tokenizer"
        )
    if isinstance(found, Chat) and chat_facts(found) != chat:
        raise BrokenEvidence("chat.json does not say what its template does", subject="tokenizer")
    return found


def chat_template(template: str) -> str:
    """The spec's template as Transformers writes one: a question, and its answer where there is one."""
    before, between = (json.dumps(text, ensure_ascii=False) for text in split_template(template))
    return (
        "{%- if messages | length not in (1, 2) or messages[0]['role'] != 'user' "
        "or messages | length == 2 and messages[1]['role'] != 'assistant' -%}"
        "{{- raise_exception('this model was trained on one question (user) and its answer (assistant)') -}}"
        "{%- endif -%}"
        f"{{{{- bos_token + {before} + messages[0]['content'] + {between} -}}}}"
        "{%- if messages | length == 2 -%}{{- messages[1]['content'] + eos_token -}}{%- endif -%}"
    )


def beside(tokenizer: Path, model: Path) -> None:
    """Write what a model's folder needs to be opened and asked by Transformers: its tokenizer, and how it ends.

    Generation is greedy, as it is judged here.
    """
    for name in ("tokenizer.json", "tokenizer_config.json", CHAT_TEMPLATE):
        durable.copy(tokenizer / name, model / name)
    special = json.loads((tokenizer / "contract.json").read_text(encoding="utf-8"))["special"]
    ids: dict[str, Any] = {f"{name}_token_id": special[name]["id"] for name in SPECIAL}
    chat = tokenizer / CHAT_FILE
    if chat.is_file():
        ids["eos_token_id"] = [stop["id"] for stop in json.loads(chat.read_text(encoding="utf-8"))["stop"]]
    durable.write(model / "generation_config.json", json.dumps({**ids, "do_sample": False}, sort_keys=True) + "\n")
