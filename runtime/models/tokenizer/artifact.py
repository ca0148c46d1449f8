"""A vocabulary and its control tokens → the files of the tokenizer artifact, and those beside a model's weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer as Backend

from runtime.machine import durable
from runtime.models.tokenizer.text import SPECIAL, split_template
from runtime.steps.tokenizer import TokenizerParams

#: the file in which Transformers looks for it
CHAT_TEMPLATE = "chat_template.jinja"


def save(folder: Path, backend: Backend, special: Mapping[str, int], params: TokenizerParams, reserved: int) -> None:
    """Write the tokenizer artifact: tokenizer.json, contract.json, and for Transformers tokenizer_config.json and a
    chat template, through which it gives the ids that `encode_prompt` and `encode_pair` give.

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
    contract = {
        "schema_version": "1.0",
        "vocab_size": params.vocab_size,
        "special": {name: {"text": texts[name], "id": special[name]} for name in SPECIAL},
        "single_token_tags": params.single_token_tags,
        "template": params.template,
        "template_sha256": hashlib.sha256(params.template.encode()).hexdigest(),
        "reserved": reserved,
    }
    for name, value in (("tokenizer_config.json", config), ("contract.json", contract)):
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        durable.write(folder / name, text)
    durable.write(folder / CHAT_TEMPLATE, chat_template(params.template))


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
    ids = {f"{name}_token_id": special[name]["id"] for name in SPECIAL}
    durable.write(model / "generation_config.json", json.dumps({**ids, "do_sample": False}, sort_keys=True) + "\n")
