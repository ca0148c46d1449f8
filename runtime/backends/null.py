"""Any step → forged artifacts of every kind it promises, marked as forged. Computes nothing.

For trying out a plan's order, resume and gates without a toolchain. The artifacts depend on the step, its params, its
seed and what it takes, so that keys and reuse behave as with a real backend. Reports hold no measured datum and their
environment says `forged`, so no gate can pass on them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from runtime import digest
from runtime.contract import Backend, Context, Params, Ports
from runtime.contract.report import unavailable


class ForgingContext(Context, Protocol):
    """What the machine's own context offers beyond the contract: the ports that must be given."""

    gives: Ports


def forge(takes: Mapping[str, Path], params: Params, ctx: ForgingContext) -> None:
    """Fill every output port: one marked file each, or a report without any measured datum."""
    seen = {port: ctx.digests[port] for port in sorted(takes)}
    asked = digest.of_value(params.model_dump(mode="json"), "kc.params.v1")
    for name, port in ctx.gives.items():
        if port.kind == "report":
            reason = "forged by the null backend: nothing was computed"
            ctx.report(name, {"forged": unavailable(reason, "none")}, fingerprints={})
            continue
        mark: dict[str, Any] = {
            "forged": True,
            "step": ctx.step_id,
            "port": name,
            "kind": port.kind,
            "params": asked,
            "seed": str(ctx.seed),
            "takes": seen,
        }
        text = json.dumps(mark, indent=2, sort_keys=True) + "\n"
        (ctx.out(name) / "FORGED.json").write_text(text, encoding="utf-8", newline="\n")


BACKEND = Backend(name="null", version=1, operations={"*": "runtime.backends.null:forge"}, forges=True)
