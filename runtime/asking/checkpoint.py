"""A checkpoint of the plan, or a Transformers folder with words of its own → a runner in torch."""

from __future__ import annotations

from runtime.asking.words import Folder
from runtime.contract.asked import Asked
from runtime.models import build, device, runners
from runtime.models import tokenizer as tokenizers
from runtime.models.runners import HFRunner


def opened(asked: Asked) -> HFRunner:
    """Raises Refusal for weights or words that cannot be read, and for a device that is not here."""
    folder = asked.takes["model"]
    if "tokenizer" in asked.takes:
        words = tokenizers.load(asked.takes["tokenizer"])
        return runners.checkpoint(asked.name, folder, words, asked.told, on=asked.device)
    model = build.load(folder, attention="sdpa").to(device.of(asked.device))
    width = int(model.get_output_embeddings().weight.shape[0])
    return HFRunner(asked.name, model, Folder(folder, width), asked.told)
