"""A spec → how many tokens its rows may have, and texts → how many they have at least, before there is a tokenizer."""

from __future__ import annotations

import re

from kcompiler.spec import Spec
from runtime.contract.splits import SPLITS, TEST, TRAIN, VALIDATION

#: two tokens and one of padding
PROBED = 3

#: begin and end of every sequence
ENDS = 2
_WORD = re.compile(r"[A-Za-z0-9]\S*")


def learns(spec: Spec) -> bool:
    """Whether any step reads training rows: a training, a cut that is measured on them, a tokenizer made of them."""
    if spec.training.stages or spec.teacher.source == "bootstrap":
        return True
    return spec.tokenizer.source == "train" or spec.student.cut is not None


def lengths(spec: Spec) -> dict[str, tuple[int, str]]:
    """Split → tokens that a row of it may have, and the field that bounds them. Rows of validation are read as those
    that are learnt from.

    Every stage reads every training row, and a bootstrapped teacher reads them at the longest prefill. What is judged
    is read by the package in one prefill.
    """
    longest = max(spec.shapes.prefill)
    train = [
        (stage.max_length, f"training.stages.{stage.name}.max_length")
        for stage in spec.training.stages
        if stage.max_length is not None
    ]
    # where nothing is trained, a cut is still measured on these rows
    if len(train) < max(1, len(spec.training.stages)) or spec.teacher.source == "bootstrap":
        train.append((longest, "shapes.prefill"))
    test = (longest, "shapes.prefill")
    bounds = {TRAIN: min(train), VALIDATION: min(train), TEST: test}
    read = {TEST, TRAIN} if learns(spec) else {TEST}
    # the split is made even where nothing is validated
    return {split: bounds[split] for split in SPLITS if split in read | (spec.data.fed & {VALIDATION})}


def least(prompt: str, response: str) -> int:
    """Tokens of a row under a tokenizer that is trained here, at least, without its template.

    It cuts texts at white space before it merges (`SPLIT` of runtime/models/tokenizer/vocabularies.py), so that no
    token holds letters or digits of two words.
    """
    return len(_WORD.findall(prompt)) + len(_WORD.findall(response)) + ENDS
