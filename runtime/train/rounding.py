"""A teacher's linear layers → the same with weights of 8 or 4 bits, by torchao; and what that loses, measured.

Each matrix is rounded by itself: `int8` has one scale for each output, `int4` a scale and a zero for every 32 inputs of
one. The numbers that go through stay bfloat16. A layer is used only when it was compared with what it was: torchao
leaves a layer that does not fit its kernel as it is without an error, and a kernel may be wrong where nobody tried it.

What is lost is measured at the tokens that a training supervises, one model after the other: the hidden states of the
teacher as it was, in float32, are kept (a few thousand), not a second model.

Letters: N supervised tokens, H hidden width, V vocabulary, I inputs of a layer.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime.contract import Context, Refusal
from runtime.contract import report as facts
from runtime.contract.rounding import GROUP, Rounded
from runtime.contract.rows import load
from runtime.contract.splits import TRAIN, VALIDATION
from runtime.data.encode import RESPONSE, Example, encode
from runtime.models import build, tokenizer
from runtime.models import device as devices
from runtime.models.gauge import give_back, trim
from runtime.models.tokenizer import Tokenizer
from runtime.steps.round_teacher import RoundTeacherParams
from runtime.train import teaching
from runtime.train.batches import Corpus
from runtime.train.loop import deterministic
from runtime.train.memory import size_of
from runtime.train.teaching import head_of, hidden_of

#: supervised tokens at which teacher and rounded teacher are compared, at most, and tokens whose logits exist at once
TOKENS, CHUNK = 4096, 128
#: rows of the product by which a layer is compared with what it was, and how far rounding alone takes it, relative to
#: the size of what it gives: matrices as they are trained lose 0.004 to 0.02 with 8 bits, 0.06 to 0.15 with 4
ROWS = 16
BOUND: Mapping[str, float] = {"int8": 0.1, "int4": 0.5}
#: least part of what is neither embedding nor head that must be in linear layers
LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Held:
    """A teacher as a training holds it."""

    layers: int
    #: parameters in the rounded layers, and all of them
    rounded: int
    parameters: int
    #: the largest difference of a layer from what it was
    error: float
    #: bytes of all weights, and of the same in bfloat16
    bytes: int
    bytes_plain: int


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """It says which of its own kernels it cannot load, none of which is asked for."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _recipe(weights: Rounded, device: torch.device) -> Callable[[nn.Module], None]:
    """What rounds one layer, in place. Raises Refusal where torchao is not installed."""
    try:
        with _quiet():
            library = importlib.import_module("torchao.quantization")
            config = _config(library, weights, device)
    except ImportError as error:
        raise Refusal(
            f"a teacher in {weights} needs what is not installed: {error.name or 'torchao'}",
            place="teacher.dtype",
            action="pip install 'kcompiler[torchao]', or write `dtype: bf16`",
        ) from None

    def round_one(layer: nn.Module) -> None:
        with _quiet():
            library.quantize_(layer, config, filter_fn=lambda module, _name: module is layer, device=device)

    return round_one


def _config(library: Any, weights: Rounded, device: torch.device) -> Any:
    if weights == "int8":
        return library.Int8WeightOnlyConfig()
    if device.type == "cpu":
        # its kernel on processors is torch's own; the class that calls it is not declared stable
        prototype = importlib.import_module("torchao.prototype.quantization.int4")
        return prototype.PrototypeInt4WeightOnlyConfig(group_size=GROUP["int4"])
    return library.Int4WeightOnlyConfig(
        group_size=GROUP["int4"], int4_packing_format="tile_packed_to_4d", set_inductor_config=False
    )


def layers_of(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The linear layers by name, but for the head: the loss multiplies by its weights."""
    head = model.get_output_embeddings()
    return {name: one for name, one in model.named_modules() if type(one) is nn.Linear and one is not head}


def round_layers(model: PreTrainedModel, weights: Rounded, device: torch.device) -> Held:
    """Round the layers of a model in bfloat16, one after the other, and bring it to `device`.

    Raises Refusal where torchao is not installed, for a layer that it cannot round or rounds to something else, and for
    a model that has too little in linear layers to gain by it.
    """
    round_one, chosen = _recipe(weights, device), layers_of(model)
    parameters, plain = build.count(model), sum(size_of(one) for one in model.parameters())
    inside, outside = model.get_input_embeddings(), model.get_output_embeddings()
    ends = {id(one): one.numel() for end in (inside, outside) for one in end.parameters()}
    within = sum(layer.weight.numel() for layer in chosen.values())
    if within < LEAST * (parameters - sum(ends.values())):
        raise Refusal(
            f"only {within:,} of the teacher's {parameters:,} parameters are in linear layers, which alone are rounded",
            place="teacher.dtype",
            action="write `dtype: bf16`: experts that are kept as one tensor are not rounded",
        )
    made, error = torch.Generator().manual_seed(1), 0.0
    for name, layer in chosen.items():
        x_NI = torch.randn(ROWS, layer.in_features, generator=made).to(layer.weight.dtype)
        with torch.no_grad():
            before_NO = layer(x_NI).float()
        error = max(error, _rounded(name, layer, weights, round_one, x_NI.to(device), before_NO))
        # rounding makes float32 copies, whose room would add up
        trim()
    model.to(device)
    with torch.no_grad():
        for one in [*model.parameters(), *model.buffers()]:
            if not hasattr(one, "tensor_data_names"):
                # what is left of the checkpoint would keep the whole of its file mapped
                one.data = one.data.clone()
    give_back()
    return Held(
        layers=len(chosen),
        rounded=within,
        parameters=parameters,
        error=error,
        bytes=sum(size_of(one) for one in model.parameters()),
        bytes_plain=plain,
    )


def _rounded(
    name: str,
    layer: nn.Linear,
    weights: Rounded,
    round_one: Callable[[nn.Module], None],
    x_NI: Tensor,
    before_NO: Tensor,
) -> float:
    """Round one layer; how far it then is from what it was. Raises Refusal."""
    shape, action = f"{layer.out_features} x {layer.in_features}", "write `dtype: bf16` for this teacher"
    plain = type(layer.weight.data)
    try:
        round_one(layer)
        with torch.no_grad():
            after_NO = layer(x_NI).float().cpu()
    # whatever a kernel says that does not know the shape, the device or its generation
    except (RuntimeError, ValueError, AssertionError, NotImplementedError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise Refusal(f"layer {name} ({shape}) cannot be held in {weights}: {why}", action=action) from error
    if type(layer.weight.data) is plain:
        raise Refusal(
            f"layer {name} ({shape}) cannot be held in {weights}: its inputs are no multiple of {GROUP[weights]}",
            place="teacher.dtype",
            action=action,
        )
    apart = float((after_NO - before_NO).norm() / before_NO.norm().clamp_min(1e-30))
    if not apart <= BOUND[weights]:
        raise Refusal(
            f"layer {name} ({shape}) in {weights} is {apart:.2g} of its size away from what it was",
            place="teacher.dtype",
            action=action,
        )
    return apart


def teacher(folder: Path, weights: Rounded | None, device: torch.device) -> PreTrainedModel:
    """A checkpoint as a training holds it, on `device`: in its own floats, or rounded. Raises Refusal as
    `round_layers`."""
    if weights is None:
        return teaching.loaded(folder).to(device)
    model = build.load(folder, attention=teaching.ATTENTION, dtype=torch.bfloat16)
    round_layers(model, weights, device)
    return model


def _corpus(folder: Path, words: Tokenizer, longest: int) -> tuple[Corpus, str]:
    """Rows with at most TOKENS supervised tokens, of the split that nothing learns from where there is one."""
    split = VALIDATION if (folder / f"{VALIDATION}.jsonl").is_file() else TRAIN
    names, examples, tokens = list[str](), list[Example](), 0
    for row in load(folder / f"{split}.jsonl"):
        for example in encode(row, words, [RESPONSE]):
            count = sum(example.masks[RESPONSE])
            if count and (not examples or tokens + count <= TOKENS):
                names.append(row["id"])
                examples.append(example)
                tokens += count
        if tokens >= TOKENS:
            break
    if not examples:
        raise Refusal(f"the split `{split}` has no row to compare by", place=f"{split}.jsonl", action="give more rows")
    return Corpus(names, examples, longest, words.pad_id), split


def _hidden(model: PreTrainedModel, corpus: Corpus) -> Tensor:
    """hidden_NH of all rows in float32, on the host."""
    with torch.no_grad():
        lots = teaching.lots(corpus, range(len(corpus)))
        return torch.cat([hidden_of(model, [corpus.group(lot)]).cpu() for lot in lots])


def _lost(head: nn.Module, plain_NH: Tensor, rounded_NH: Tensor) -> tuple[float, int]:
    """KL from the teacher as it was to the rounded one in nat/token, and at how many tokens their likeliest is one."""
    total, same = torch.zeros((), dtype=torch.float64), 0
    with torch.no_grad():
        for begin in range(0, len(plain_NH), CHUNK):
            one, other = (head(each_NH[begin : begin + CHUNK]) for each_NH in (plain_NH, rounded_NH))
            first, second = one.log_softmax(-1), other.log_softmax(-1)
            total += (first.exp() * (first - second)).sum(-1).double().sum()
            same += int((one.argmax(-1) == other.argmax(-1)).sum())
    return max(0.0, float(total) / len(plain_NH)), same


def round_teacher(takes: Mapping[str, Path], params: RoundTeacherParams, ctx: Context) -> None:
    """Operation `round_teacher`. Raises Refusal as `round_layers`, and for a teacher that does not fit the rows."""
    words = tokenizer.load(takes["tokenizer"])
    corpus, split = _corpus(takes["dataset"], words, params.max_length)
    device = devices.of(params.device)
    with deterministic(ctx.seed, params.threads, exact=device.type == "cpu"):
        model = build.load(takes["teacher"], attention=teaching.ATTENTION)
        teaching.check_width(model, words, params.max_length, "teacher")
        head = teaching.in_float32(head_of(model, corpus.ids[0][None], "teacher"))
        plain_NH = _hidden(model, corpus)
        del model
        ctx.say(f"the teacher as it is has read {len(corpus)} rows")
        rounded = build.load(takes["teacher"], attention=teaching.ATTENTION, dtype=torch.bfloat16)
        held = round_layers(rounded, params.weights, device)
        divergence, same = _lost(head, plain_NH, _hidden(rounded, corpus))
    tokens = len(plain_NH)
    data = {
        "weights": params.weights,
        "layers": facts.measured(held.layers, "layer"),
        "rounded": facts.rate(held.rounded, held.parameters),
        "largest_error": facts.measured(held.error, "1", n=held.layers),
        "bytes": facts.measured(held.bytes, "byte"),
        "bytes_plain": facts.measured(held.bytes_plain, "byte"),
        "split": split,
        "tokens": facts.measured(tokens, "token"),
        "agreement": facts.rate(same, tokens),
        "divergence": facts.measured(divergence, "nat/token", n=tokens),
    }
    marks = facts.fingerprints({name: takes[name] for name in ("dataset", "tokenizer")}, ctx.digests, model="teacher")
    ctx.report("report", data, fingerprints=marks)
    ctx.say(
        f"{held.bytes} bytes in place of {held.bytes_plain}; {same} of {tokens} likeliest tokens stay, "
        f"{divergence:.4f} nat/token are lost"
    )
