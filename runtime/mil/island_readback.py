"""Saved package × islands → where arithmetic that is declared float32 is not, in the package's own program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runtime.contract import program as contracts
from runtime.mil.package import Package
from runtime.mil.program import Function, Operation
from runtime.mil.readback import Finding

#: the op that every module of a kind must own, so that an island cannot be claimed by an op that was renamed away
SIGNATURE_OP: Mapping[str, str] = {
    "rms_norm": "rsqrt",
    "layer_norm": "layer_norm",
    "residual": "add",
    "softmax": "softmax",
    "logits": "linear",
}
#: ops through which a value goes unchanged but for its type and shape
_PASSED_ON = ("cast", "identity", "reshape", "squeeze", "expand_dims", "transpose")
#: what bounds logits, the last first: cap · tanh(x / cap)
_BOUND = (("mul",), ("tanh",), ("real_div", "mul"))


def signatures(contract: contracts.Contract) -> Mapping[str, str]:
    """The op that every module of a kind must own in a program of the contract's profile."""
    return SIGNATURE_OP if contract.authoring is None else {**SIGNATURE_OP, "rms_norm": "sqrt", "logits": "conv"}


def islands(package: Package, contract: contracts.Contract, asked: Sequence[str]) -> tuple[list[Finding], int]:
    """(findings, operations checked): each declared island's arithmetic must be float32 in the saved program."""
    findings: list[Finding] = []
    checked, due = 0, signatures(contract)
    for name, declared in contract.functions.items():
        function = package.functions.get(name)
        if function is None:
            findings.append(Finding("missing", name, name, "the package has no such function"))
            continue
        results = {operation.name: operation for operation in function.operations}
        for kind in asked:
            modules = declared.modules.get(kind, {})
            if not modules:
                findings.append(Finding("island", name, kind, "matches no module"))
            for module, nodes in modules.items():
                checked += len(nodes)
                findings += _island(name, kind, module, nodes, results, due.get(kind))
            findings += _strays(name, kind, declared, function, due.get(kind))
    return findings, checked


def _is_float32(operation: Operation) -> bool:
    return all(kind.dtype == "float32" for _, kind in operation.outputs)


def _island(
    function: str,
    kind: str,
    module: str,
    nodes: Sequence[str],
    results: Mapping[str, Operation],
    signature: str | None,
) -> Iterator[Finding]:
    if not any(node in results and results[node].type == signature for node in nodes):
        yield Finding("island", function, module, f"no {signature} of this {kind} in the saved program")
    for node in nodes:
        operation = results.get(node)
        if operation is None:
            narrowed = f"{node}_cast_fp16" in results
            yield Finding("island", function, module, f"{node} {'is float16' if narrowed else 'is not in the program'}")
        elif not _is_float32(operation):
            yield Finding("island", function, module, f"{node} ({operation.type}) is not float32")


def _strays(
    function: str, kind: str, declared: contracts.Function, program: Function, signature: str | None
) -> Iterator[Finding]:
    """Independently of names: there are as many signature ops as modules, and none of them is float16.

    Attention that goes by key/value head has one for each. Many things are added: the sums meant are those of the
    stream's shape, as many as its nodes. A norm that adds (one more than its weight) is named as what it is. Many
    products are linear: the head is what the logits come from.
    """
    if kind == "logits":
        yield from _head(function, declared, program, signature)
        return
    modules = declared.modules.get(kind, {})
    found = [operation for operation in program.operations if operation.type == signature]
    wanted, what = len(modules), "modules"
    if kind == "softmax":
        wanted = sum(map(len, modules.values()))
    if kind == "residual":
        nodes = [node for path in modules.values() for node in path]
        others = {node for path in declared.modules.get("rms_norm", {}).values() for node in path}
        found = [operation for operation in found if operation.name.removesuffix("_cast_fp16") not in others]
        shapes = {operation.outputs[0][1].shape for operation in found if operation.name in nodes}
        found = [operation for operation in found if operation.outputs[0][1].shape in shapes]
        wanted, what = len(nodes), "sums of the stream"
    if len(found) != wanted:
        yield Finding("island", function, kind, f"{len(found)} {signature} for {wanted} {what}")
    for operation in found:
        if not _is_float32(operation):
            yield Finding("island", function, kind, f"{operation.name} ({operation.type}) is not float32")


def _head(function: str, declared: contracts.Function, program: Function, signature: str | None) -> Iterator[Finding]:
    """The op that the output `logits` comes from must compute in float32, whatever it is called; so must those that
    bound what the head says, where the graph has them."""
    makers = {name: operation for operation in program.operations for name, _ in operation.outputs}
    bounded = any(len(nodes) > 1 for nodes in declared.modules.get("logits", {}).values())
    way = [*(_BOUND if bounded else ()), (str(signature),)]
    operation = makers.get("logits")
    for types in way:
        while operation is not None and operation.type in _PASSED_ON:
            operation = _source(operation, makers)
        if operation is None or operation.type not in types:
            what = "nothing" if operation is None else f"{operation.name} ({operation.type})"
            yield Finding("island", function, "logits", f"the logits come from {what}, not from a {' or '.join(types)}")
            return
        if not _is_float32(operation):
            yield Finding("island", function, "logits", f"{operation.name} ({operation.type}) is not float32")
        operation = _source(operation, makers)


def _source(operation: Operation, makers: Mapping[str, Operation]) -> Operation | None:
    """The operation that an operand of another comes from, constants left out."""
    for name in ("x", "y"):
        for source in operation.inputs.get(name, ()):
            if isinstance(source, str) and source in makers and makers[source].type != "const":
                return makers[source]
    return None


def homeless(contract: contracts.Contract, asked: Sequence[str]) -> list[Finding]:
    """Islands that have a module in none of the pieces of a function."""
    return [
        Finding("island", name, kind, "matches no module")
        for name, function in contract.functions.items()
        if function.pieces is not None
        for kind in asked
        if not any((piece.modules or function.modules).get(kind) for piece in function.pieces)
    ]
