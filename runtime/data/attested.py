"""Operation `attest`: a report that a Mac wrote × the package and golden vectors of this plan → the report's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime import digest
from runtime.contract import Context, Refusal, covering, delivery, ondevice, program, strict_json
from runtime.contract.report import hex_of
from runtime.steps.attest import AttestParams


def gather(takes: Mapping[str, Path], params: AttestParams, ctx: Context) -> None:
    """Operation `attest`. Raises Refusal (KR0281) as `read` does."""
    ctx.report("report", read(takes, params), fingerprints={})


def read(takes: Mapping[str, Path], params: AttestParams) -> dict[str, Any]:
    """The data of the report. Raises Refusal (KR0281) for a file that is no such report, or is about something else."""
    try:
        report: Any = strict_json.loads(takes["report"].read_bytes())
        if report["kind"] != ondevice.KIND or report["environment"]["forged"] is not False:
            raise ValueError(f"it is no report `{ondevice.KIND}` that was measured")
        data: dict[str, Any] = report["data"]
        ondevice.consistent(data)
        apart = list(_apart(takes, params, data))
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as reason:
        raise _refusal(f"the report of the Mac is none: {reason}") from None
    if apart:
        raise _refusal(f"the report of the Mac is not about this plan: {'; '.join(apart)}")
    return data


def _apart(takes: Mapping[str, Path], params: AttestParams, data: Mapping[str, Any]) -> Iterator[str]:
    contract = program.load(takes["package"])
    packages = {part: program.filename(params.precision, part) for part in program.parts(contract)}
    made = {part: hex_of(digest.of_folder(takes["package"] / name)) for part, name in packages.items()}
    if data["package"]["sha256"] != delivery.whole(made):
        yield f"it ran another package `{params.precision}`"
    if data["goldens_sha256"] != hex_of(digest.of_folder(takes["goldens"])):
        yield "it has other golden vectors"
    decode = [name for name, one in contract.functions.items() if one.kind == "decode"]
    if data["functions"] != [*(name for name, _ in contract.prefills()), *decode]:
        yield f"it ran the functions {', '.join(map(str, data['functions']))}"
    cache = contract.kv_cache
    lengths, heads = [length for _, length in contract.prefills()], program.heads(contract.functions)
    covering.held(params, lengths, cache.context, cache.layers, heads)
    asked = {
        "precision": params.precision,
        "units": params.units,
        "tolerances": params.tolerances.model_dump(mode="json"),
        "prefill": params.prefill,
        "decode_context": params.decode_context,
        "layers": params.layers,
        "golden_prompts": params.golden_prompts,
        "decode_steps": params.decode_steps,
        "heads": params.heads,
    }
    yield from ondevice.unlike(asked, data)


def _refusal(message: str) -> Refusal:
    return Refusal(
        message,
        place="device.report",
        action="kcompiler deliver SPEC --goldens --to DIR, then on the Mac kcompiler verify --on-device DIR --to FILE",
        code="KR0281",
    )
