"""Plan → over which prompts, positions and layers a package's functions are compared, and what a report lacks of them.

A report over one layer of thirty, or over half of the prompts, is consistent in itself. How many there are to be
follows from what the plan asks for alone: lengths, context, prompts, steps and layers. No tensors: rules and auditors
read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import Field

from runtime.contract import BrokenEvidence, Params
from runtime.contract.units import unit

Data: TypeAlias = Mapping[str, Any]
_TOKENS = unit("token")
#: reports that are held to it
PARITY, LEDGER, ONNX = "coreml.parity", "quantization.ledger", "onnx.parity"
#: form of the model → the arithmetic it is run in; None: that which the plan names
MODES: Mapping[str, str | None] = {"float32": "exact32", "fp16": None, "quantized": None}
#: form → the parameter that bounds how far its blocks are off; the others' is `quantized`
_BOUNDS: Mapping[str, str] = {"float32": "float32", "fp16": "float16"}
#: the saved packages among them
SAVED = ("fp16", "quantized")
#: the fewest linear layers of a decoder layer: queries, keys and values in one, and gate and up in one
_LINEAR = 4
#: the fewest norms of a layer, of a family that has norms of this kind
_NORMS: Mapping[str, int] = {"rms_norm": 2, "layer_norm": 1}
_CACHE = ("keys", "values")
_RATES = ("top1_agreement", "top5_containment")


class Covering(Params):
    """What is to be compared of a model's functions."""

    #: the lengths of its prefills
    prefill: list[int] = Field(min_length=1, json_schema_extra=_TOKENS)
    #: cache length of its decode
    decode_context: int = Field(ge=8, json_schema_extra=_TOKENS)
    layers: int = Field(ge=1, json_schema_extra=unit("layer"))
    #: prompts of each function
    golden_prompts: int = Field(default=2, ge=1)
    #: cached steps of each decode
    decode_steps: int = Field(default=4, ge=1)


def held(params: Covering, lengths: Sequence[int], context: int, layers: int) -> None:
    """Raises BrokenEvidence for a package of other lengths, context or layers than those that are asked for."""
    for what, found, wanted in (
        ("prefills of", sorted(lengths), sorted(params.prefill)),
        ("a context of", context, params.decode_context),
        ("layers:", layers, params.layers),
    ):
        if found != wanted:
            raise BrokenEvidence(f"the package has {what} {found}, the plan asks for {wanted}", subject="contract.json")


def edges(lengths: Sequence[int], context: int, steps: int) -> dict[int, list[int]]:
    """Prefill length → prompt lengths around its edges from which a decode of `steps` cached steps is compared.

    One token, the first length that no shorter prefill holds, one below the edge, and the edge: the prefill's own
    length or, where the cache ends first, the longest prompt that leaves room for the steps.
    """
    found, below = {}, 0
    for length in sorted(lengths):
        edge = min(length, context - steps)
        found[length] = sorted({prompt for prompt in (1, below + 1, edge - 1, edge) if 1 <= prompt <= edge})
        below = length
    return found


def wanted(lengths: Sequence[int], context: int, prompts: int, steps: int) -> dict[str, int]:
    """Function → golden cases that are asked for: of a prefill so many padded prompts, one that fills it, and a decode
    from each of its edges; of the decode all of those and one of each prompt."""
    found = edges(lengths, context, steps)
    of_prefills = {f"prefill_{length}": prompts + 1 + len(prompted) for length, prompted in found.items()}
    return {**of_prefills, "decode": prompts + sum(map(len, found.values()))}


def layer_names(count: int) -> list[str]:
    """What reports call the layers of a model of so many."""
    return [f"layer_{layer}" for layer in range(count)]


def _wanted(asked: Data) -> dict[str, int]:
    return wanted(asked["prefill"], asked["decode_context"], asked["golden_prompts"], asked["decode_steps"])


def _positions(asked: Data, name: str, cases: int) -> int:
    """The fewest positions that so many golden cases of a function have: one prompt fills a prefill, and each other has
    one position at least; a decode has its steps."""
    if name == "decode":
        return cases * int(asked["decode_steps"])
    return int(name.rpartition("_")[2]) + cases - 1


def _fewer(where: str, numbers: Iterable[tuple[str, Data]], least: int) -> Iterator[str]:
    """Numbers over fewer than there are, and those that are not there."""
    for name, datum in numbers:
        if datum["tag"] == "unavailable":
            yield f"{where}: {name} is unavailable: {datum['reason']}"
        elif datum.get("n", 0) < least:
            yield f"{where}: {name} is over {datum.get('n', 0)}, asked for {least}"


def _exactly(where: str, what: str, found: Any, asked: Any) -> Iterator[str]:
    if found != asked:
        yield f"{where}: {what} {found}, asked for {asked}"


def _functions(where: str, found: Sequence[Data], asked: Data) -> Iterator[str]:
    yield from _exactly(where, "functions", sorted(one["function"] for one in found), sorted(_wanted(asked)))


def _forms(asked: Data, data: Data) -> Iterator[str]:
    modes = {name: mode or asked["mode"] for name, mode in MODES.items()}
    found = [(one["variant"], one["mode"]) for one in data["variants"]]
    yield from _exactly("variants", "forms", sorted(found), sorted(modes.items()))


def parity_unlike(asked: Data, data: Data) -> Iterator[str]:
    """In what a report `coreml.parity` is not over what its step's parameters ask for, as sentences."""
    yield from _forms(asked, data)
    for one in data["variants"]:
        yield from compared_unlike(asked, one["variant"], one)
        # every layer has values; a device shows none of them
        values = [(name, part["shape_mismatches"]) for name, part in _named(one)]
        yield from _fewer(
            one["variant"], [(f"{name}.shape_mismatches", datum) for name, datum in values], asked["layers"]
        )
    yield from _packages(asked, data)


def compared_unlike(asked: Data, where: str, compared: Data) -> Iterator[str]:
    """The same of sections `shapes` and `decode`, of one form or of one run."""
    sections = [{"function": name, **part} for name, part in _named(compared)]
    yield from _functions(where, sections, asked)
    for section in sections:
        yield from _section(f"{where}/{section['function']}", section, asked)


def _named(compared: Data) -> list[tuple[str, Data]]:
    """(function, what was compared of it) of the sections."""
    return [*((one["function"], one) for one in compared["shapes"]), ("decode", compared["decode"])]


def _section(where: str, section: Data, asked: Data) -> Iterator[str]:
    """One function of one form."""
    name = section["function"]
    cases = _wanted(asked).get(name)
    if cases is None:
        return
    steps, least = asked["decode_steps"], _positions(asked, name, cases)
    yield from _exactly(where, "golden cases", section["covered"].get("n"), cases)
    yield from _exactly(where, "cache of", [one["layer"] for one in section["cache"]], layer_names(asked["layers"]))
    cached = ((f"{one['layer']}.{side}", one[side]) for one in section["cache"] for side in _CACHE)
    of_cache = [(f"{at}.{number}", one[number]) for at, one in cached for number in ("cosine", "relative_error")]
    vectors = [(number, section[number]) for number in ("cosine", "relative_error", "relative_l2")]
    yield from _fewer(where, [*vectors, *of_cache], cases)
    single = [(number, section[number]) for number in ("cosine_worst_position", "kl", *_RATES, "nan", "inf")]
    yield from _fewer(where, single, least)
    yield from _fewer(where, [("all_zero", section["all_zero"])], cases)
    if name == "decode":
        yield from _exactly(where, "starts", sorted(section["starts"]), sorted({*_wanted(asked)} - {"decode"}))
        yield from _fewer(where, [("diverged", section["diverged"])], cases)
        yield from _fewer(where, [("greedy_agreement", section["greedy_agreement"])], cases * (steps + 1))
        if section["steps"]["value"] < least:
            yield f"{where}: {section['steps']['value']} steps, asked for {least}"
    else:
        yield from _exactly(where, "length", section["length"]["value"], int(name.rpartition("_")[2]))


def _packages(asked: Data, data: Data) -> Iterator[str]:
    """What was read back out of the saved packages."""
    called = len(asked["prefill"]) + 1
    # one prefill stands for all of them where its shapes are enumerated
    saved = 2 if asked.get("strategy") == "enumerated" else called
    chunks = asked.get("chunks", 1)
    yield from _exactly("packages", "functions", data["functions_present"].get("n"), len(SAVED) * chunks * called)
    held = len(SAVED) * chunks * saved
    yield from _exactly("packages", "interfaces", data["interface"]["violations"].get("n"), held)
    yield from _exactly("packages", "islands", sorted(data["islands"]["declared"]), sorted(asked["islands"]))
    each = len(SAVED) * saved
    of_kinds = sum(asked["layers"] * _NORMS.get(kind, 0) or 1 for kind in asked["islands"])
    tensors, operations = each * _LINEAR * asked["layers"], each * of_kinds
    yield from _fewer("packages", [("recipe", data["recipe"]["violations"])], tensors)
    yield from _fewer("packages", [("islands", data["islands"]["violations"])], operations)
    if (found := data["islands"]["operations"]["value"]) != data["islands"]["violations"].get("n"):
        yield f"packages: {found} operations of islands, and {data['islands']['violations'].get('n')} looked at"
    forms = {one["weights"] for one in (asked["recipe"]["default"], *asked["recipe"]["rules"])}
    stored = data["recipe"]["quantized_tensors"]["value"]
    if forms - {"fp16"} and (stored or 0) < saved:
        yield f"packages: {stored} quantized tensors, and each of {saved} functions has one at least"
    if layers := asked.get("activations"):
        yield from _exactly("packages", "layers that read integers", data["activations"].get("n"), saved * len(layers))


def ledger_unlike(asked: Data, data: Data) -> Iterator[str]:
    """In what a report `quantization.ledger` is not over what its step's parameters ask for, as sentences."""
    yield from _forms(asked, data)
    pages = [*((one["variant"], one) for one in data["variants"]), ("delta", data["delta"])]
    every = [*layer_names(asked["layers"]), "logits"]
    for where, page in pages:
        yield from _functions(where, page["functions"], asked)
        for one in page["functions"]:
            at, cases = f"{where}/{one['function']}", _wanted(asked).get(one["function"])
            if cases is None:
                continue
            yield from _exactly(at, "golden cases", one["covered"].get("n"), cases)
            yield from _exactly(at, "compared", one["compared"].get("n"), len(every))
            yield from _exactly(at, "blocks", [block["block"] for block in one["blocks"]], every[:-1])
            # what a decode starts from is the prefill's, and is not compared once more
            own = cases if one["function"] == "decode" else asked["golden_prompts"] + 1
            numbers = [
                (f"{name}.{number}", datum)
                for name, said in zip(every, [*one["blocks"], one["logits"]], strict=False)
                for number, datum in said.items()
                if isinstance(datum, dict)
            ]
            yield from _fewer(at, numbers, _positions(asked, one["function"], own))
            bound = asked[_BOUNDS.get(where, "quantized")]
            told = zip(every, [*one["blocks"], one["logits"]], strict=False)
            far = (name for name, said in told if _far(said, bound))
            yield from _exactly(at, "the first that is too far off", one["first_bad"], next(far, ""))
    yield from _exactly("bad", "pages of functions", data["bad"].get("n"), len(pages) * len(_wanted(asked)))
    bad = sum(one["first_bad"] != "" for _, page in pages for one in page["functions"])
    yield from _exactly("bad", "functions with one too far off", data["bad"]["value"], bad)


def _far(said: Data, bound: float) -> bool:
    """Whether a block is further off than allowed, or nobody knows."""
    value = said["relative_l2"]["value"]
    return value is None or value > bound


def onnx_unlike(asked: Data, data: Data) -> Iterator[str]:
    """In what a report `onnx.parity` is not over what its step's parameters ask for, as sentences."""
    yield from _functions("report", data["functions"], asked)
    for one in data["functions"]:
        name, cases = one["function"], _wanted(asked).get(one["function"])
        if cases is None:
            continue
        yield from _exactly(name, "golden cases", one["covered"].get("n"), cases)
        own = cases if name == "decode" else asked["golden_prompts"] + 1
        for pair in ("onnx", "coreml", "between"):
            vectors = [(number, one[pair][number]) for number in ("cosine", "relative_error", "cache_error")]
            yield from _fewer(f"{name}/{pair}", vectors, own)
            rate = [("top1_agreement", one[pair]["top1_agreement"])]
            yield from _fewer(f"{name}/{pair}", rate, _positions(asked, name, own))
    yield from _exactly("apart", "functions", data["apart"].get("n"), len(_wanted(asked)))
