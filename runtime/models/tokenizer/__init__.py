"""A dataset (or a teacher's folder) → the tokenizer of every later step: text ↔ ids, its artifact, its report."""

from runtime.models.tokenizer.artifact import beside, chat_template, load, save
from runtime.models.tokenizer.chat import Chat
from runtime.models.tokenizer.making import contract_of, injections, made, round_trips
from runtime.models.tokenizer.places import spaces
from runtime.models.tokenizer.plain import Plain, split_template
from runtime.models.tokenizer.text import Encoded, Tokenizer
from runtime.models.tokenizer.vocabularies import (
    SPLIT,
    add_control,
    check_pieces,
    check_shared,
    filled,
    special_ids,
    taken,
    trained,
)

__all__ = [
    "SPLIT",
    "Chat",
    "Encoded",
    "Plain",
    "Tokenizer",
    "add_control",
    "beside",
    "chat_template",
    "check_pieces",
    "check_shared",
    "contract_of",
    "filled",
    "injections",
    "load",
    "made",
    "round_trips",
    "save",
    "spaces",
    "special_ids",
    "split_template",
    "taken",
    "trained",
]
