"""Plan × report over a package's functions → what the report lacks of the prompts, positions and layers asked for.

A report over one layer of thirty, or over half of the prompts, is consistent in itself; how many there are to be stands
in the plan alone (`runtime.contract.covering`). No tensors: rules and auditors read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from runtime.contract.covering import wanted

Data: TypeAlias = Mapping[str, Any]
#: reports that are held to it
PARITY, LEDGER, ONNX = "coreml.parity", "quantization.ledger", "onnx.parity"
#: form of the model → the arithmetic it is run in; None: that which the plan names
MODES: Mapping[str, str | None] = {"float32": "exact32", "fp16": None, "quantized": None}
#: the saved packages among them
SAVED = ("fp16", "quantized")
#: form → the parameter that bounds how far its blocks are off; the others' is `quantized`
_BOUNDS: Mapping[str, str] = {"float32": "float32", "fp16": "float16"}
#: the fewest linear layers of a decoder layer: queries, keys and values in one, and gate and up in one
_LINEAR = 4
#: the fewest norms of a layer, of a family that has norms of this kind
_NORMS: Mapping[str, int] = {"rms_norm": 2, "layer_norm": 1}
_CACHE = ("keys", "values")
_RATES = ("top1_agreement", "top5_containment")


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
    said = section.get("heads", [])
    yield from _exactly(where, "heads", [one["head"] for one in said], sorted(asked.get("heads", [])))
    yield from _fewer(where, [(f"{one['head']}.relative_error", one["relative_error"]) for one in said], cases)
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
    faces = data["interface"]["violations"].get("n")
    yield from _exactly("packages", "interfaces", faces, len(SAVED) * chunks * saved)
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
    if matrices := asked.get("qat"):
        yield from _exactly("packages", "matrices as trained", data["trained"].get("n"), len(matrices))


def ledger_unlike(asked: Data, data: Data) -> Iterator[str]:
    """In what a report `quantization.ledger` is not over what its step's parameters ask for, as sentences."""
    yield from _forms(asked, data)
    pages = [*((one["variant"], one) for one in data["variants"]), ("delta", data["delta"])]
    for where, page in pages:
        yield from _functions(where, page["functions"], asked)
        bound = asked[_BOUNDS.get(where, "quantized")]
        for one in page["functions"]:
            yield from _blocks(f"{where}/{one['function']}", one, asked, bound)
    yield from _exactly("bad", "pages of functions", data["bad"].get("n"), len(pages) * len(_wanted(asked)))
    bad = sum(one["first_bad"] != "" for _, page in pages for one in page["functions"])
    yield from _exactly("bad", "functions with one too far off", data["bad"]["value"], bad)


def _blocks(where: str, page: Data, asked: Data, bound: float) -> Iterator[str]:
    """One function of one form, block by block."""
    cases = _wanted(asked).get(page["function"])
    if cases is None:
        return
    blocks = layer_names(asked["layers"])
    yield from _exactly(where, "golden cases", page["covered"].get("n"), cases)
    yield from _exactly(where, "compared", page["compared"].get("n"), len(blocks) + 1)
    yield from _exactly(where, "blocks", [block["block"] for block in page["blocks"]], blocks)
    told = [*((block["block"], block) for block in page["blocks"]), ("logits", page["logits"])]
    numbers = [
        (f"{block}.{name}", datum) for block, said in told for name, datum in said.items() if isinstance(datum, dict)
    ]
    yield from _fewer(where, numbers, _positions(asked, page["function"], _own(asked, page["function"], cases)))
    far = next((block for block, said in told if _far(said, bound)), "")
    yield from _exactly(where, "the first that is too far off", page["first_bad"], far)


def _own(asked: Data, name: str, cases: int) -> int:
    """The golden cases of a function without the decodes that start from it, which are compared as the decode's."""
    return cases if name == "decode" else asked["golden_prompts"] + 1


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
        own = _own(asked, name, cases)
        for pair in ("onnx", "coreml", "between"):
            vectors = [(number, one[pair][number]) for number in ("cosine", "relative_error", "cache_error")]
            yield from _fewer(f"{name}/{pair}", vectors, own)
            rate = [("top1_agreement", one[pair]["top1_agreement"])]
            yield from _fewer(f"{name}/{pair}", rate, _positions(asked, name, own))
    yield from _exactly("apart", "functions", data["apart"].get("n"), len(_wanted(asked)))
