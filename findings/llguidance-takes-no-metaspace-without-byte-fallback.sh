#!/usr/bin/env bash
# Guess: a tokenizer that Transformers and tokenizers read is one that llguidance can constrain.
# Behaviour: it finds out how a piece spells bytes from the decoder, and knows two: ByteLevel, and a sequence with
#   ByteFallback. SentencePiece's other decoder, `▁` as a space without byte fallback, ends in
#   ValueError: can't determine decoder type; the same vocabulary with ByteFallback in the sequence is taken.
# Versions: llguidance 1.9.1, tokenizers 0.23.3, Python 3.11.
# Seen: "without byte fallback: can't determine decoder type", "with it: taken"
# Why it costs: constrained answers work for most models and end in a ValueError for a vocabulary of the same make.
# Here: llguidance is told of ByteFallback where the decoder writes `▁` as a space; where it spells bytes in no known way, an
#   answer by a schema is refused.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q llguidance==1.9.1 tokenizers==0.23.3 numpy
"$work/venv/bin/python" - <<'PY'
import sys
import llguidance
from tokenizers import AddedToken, Tokenizer, decoders, models

def made(*more):
    pieces = ["<unk>", *'"{}:', "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), *more, decoders.Fuse()])
    return tokenizer

def ask(tokenizer):
    try:
        known = llguidance.LLTokenizer(tokenizer.to_str(), eos_token=tokenizer.token_to_id("</s>"))
    except ValueError as error:
        return str(error).split(":")[0]
    matcher = llguidance.LLMatcher(known, 'start: "{" | "}"')
    return "taken" if not matcher.is_error() else matcher.get_error()

said = [ask(made()), ask(made(decoders.ByteFallback()))]
print(f"without byte fallback: {said[0]}\nwith it: {said[1]}")
sys.exit(said != ["can't determine decoder type", "taken"])
PY
