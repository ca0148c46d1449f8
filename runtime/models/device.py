"""Name of a device → what of it enters keys, or why it is not here. The only place that asks torch for one."""

from __future__ import annotations

import platform

import torch
from transformers import PreTrainedModel

from runtime.contract import Refusal


def words(name: str) -> str:
    """What decides sums on a device: the card, what it can do, and the CUDA that torch was built for (not the driver).

    Raises Refusal (KR0123) for a device that is not here.
    """
    if why := absent(name):
        raise Refusal(
            f"models are to run on `{name}`, and {why}",
            place="execution.device",
            action="apply it on a machine that has one, or write another `execution.device` and plan again",
            code="KR0123",
        )
    if name == "mps":
        return f"{platform.processor()} macOS {platform.mac_ver()[0].partition('.')[0]}"
    card = torch.cuda.get_device_properties(torch.device(name))
    built = f"CUDA {torch.version.cuda}" if torch.version.hip is None else f"HIP {torch.version.hip}"
    return f"{card.name} {card.major}.{card.minor} {built}"


def absent(name: str) -> str:
    """Why a device cannot be used here, "" where it can."""
    kind, _, number = name.partition(":")
    if kind == "cpu":
        return ""
    if kind == "mps":
        return "" if torch.backends.mps.is_available() else "this torch finds no Apple GPU"
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        return "torch finds no card that it can use"
    return "" if int(number or 0) < count else f"torch finds {count} card{'s' * (count > 1)}"


def described(device: torch.device) -> str:
    """A device as a report names it, with its card."""
    return device.type if device.type == "cpu" else f"{device}: {words(str(device).removesuffix(':0'))}"


def of_model(model: PreTrainedModel) -> torch.device:
    """Where a model's head is, and all of a model that is on one device."""
    head = model.get_output_embeddings()
    where: torch.device = (next(model.parameters()) if head is None else head.weight).device
    return where


def of(name: str) -> torch.device:
    """The device of that name; the first card for `cuda`. Raises Refusal as `words` does."""
    if name != "cpu":
        words(name)
    return torch.device(name if name != "cuda" else "cuda:0")
