"""Functions on numpy arrays → modelled ops, found by (op type, opset).

An op is declared once, by its function: the parameters' names are MIL's, their annotations say which are tensors and of
which kind, which must be known when the program is compiled (plain Python types), and the defaults are the documented
ones. The parameter `inner` is supplied by the interpreter: it rounds intermediate results in `fp16_strict`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import BY_NAME, Array

FLOAT = frozenset({"float16", "float32"})
INT = frozenset(name for name, dtype in BY_NAME.items() if dtype.kind == "int" and 8 <= dtype.bits <= 32)
_NARROW = frozenset(name for name, dtype in BY_NAME.items() if dtype.kind == "int" and dtype.bits < 8)
BOOL = frozenset({"bool"})


@dataclass(frozen=True)
class Domain:
    """Dtypes a tensor parameter accepts. Parameters of one op with `same` share one dtype (MIL's type variable T)."""

    dtypes: frozenset[str]
    same: bool = True
    variadic: bool = False
    #: may be known at compile time or not
    flexible: bool = False
    #: "list": a list of tensors of that dtype
    form: str = ""


Floats = Annotated[Array, Domain(FLOAT)]
Numbers = Annotated[Array, Domain(FLOAT | INT)]
Anything = Annotated[Array, Domain(FLOAT | INT | BOOL)]
Bools = Annotated[Array, Domain(BOOL)]
#: integers that address something, of any width, whatever T is
Indices = Annotated[Array, Domain(INT, same=False)]
Predicate = Annotated[Array, Domain(BOOL, same=False)]
Mask = Annotated[Array, Domain(FLOAT | BOOL, same=False)]
#: a tensor of which only the shape is read
Reference = Annotated[Array, Domain(FLOAT | INT | BOOL, same=False)]
#: constants in a compressed form, each with a dtype of its own
Stored = Annotated[Array, Domain(FLOAT | INT | _NARROW, same=False)]
#: several operands of one dtype
Many = Annotated[tuple[Array, ...], Domain(FLOAT | INT | BOOL, variadic=True)]
ManyFloats = Annotated[tuple[Array, ...], Domain(FLOAT, variadic=True)]
#: sizes, positions or repetitions, often constant: then the op may be planned once
Sizes = Annotated[Array, Domain(INT, same=False, flexible=True)]

Kernel = Callable[..., Any]
#: (dtype of each tensor parameter, static parameters) → dtype of each output
ResultRule = Callable[[Mapping[str, str], Mapping[str, Any]], tuple[str, ...]]


@dataclass(frozen=True)
class Op:
    """One modelled op from opset `since` on."""

    name: str
    since: int
    kernel: Kernel
    #: tensor parameters in positional order
    tensors: Mapping[str, Domain]
    #: parameters that must be constants → the Python type they are handed over as
    static: Mapping[str, Any]
    required: frozenset[str]
    #: parameters that MIL defines and that cannot change the result here
    ignores: frozenset[str]
    #: parameters of a later opset than the op itself
    added: Mapping[str, int]
    result: str | ResultRule
    #: only selects or moves elements: the result is exactly representable when the operands are
    moves: bool
    #: builds a kernel over the non-flexible tensors when every flexible one is constant
    plan: Callable[..., Kernel] | None
    takes_inner: bool
    #: opset from which the other operands need not have the first one's dtype
    loose: int = 99
    #: "list": its one result is a list
    form: str = ""

    def result_dtypes(self, dtypes: Mapping[str, str], static: Mapping[str, Any]) -> tuple[str, ...]:
        """Dtypes the outputs have by MIL's rules, given the operands' dtypes; one per output."""
        if callable(self.result):
            return self.result(dtypes, static)
        return (self.result if self.result in BY_NAME else dtypes[self.result],)


#: ops whose results the program does not determine: none is ever modelled
RANDOM = frozenset({"random_bernoulli", "random_categorical", "random_normal", "random_uniform"})

Registry = Mapping[tuple[str, int], Op]

#: (op type, first opset) → op
REGISTRY: dict[tuple[str, int], Op] = {}


def op(
    *names: str,
    since: int = 5,
    moves: bool = False,
    result: str | ResultRule | None = None,
    added: Mapping[str, int] | None = None,
    ignores: tuple[str, ...] = (),
    plan: Callable[..., Kernel] | None = None,
    loose: int = 99,
    form: str = "",
) -> Callable[[Kernel], Kernel]:
    """Register the decorated function as the op(s) `names`. `result` is a dtype, the parameter whose dtype the one
    output has (default: the first tensor parameter), or a rule. `form` is the result's, where it is no tensor."""

    def register(kernel: Kernel) -> Kernel:
        tensors: dict[str, Domain] = {}
        static: dict[str, Any] = {}
        required = set()
        takes_inner = False
        hints = get_type_hints(kernel, include_extras=True)
        for name, parameter in inspect.signature(kernel).parameters.items():
            domain = _domain(hints[name])
            if name == "inner":
                takes_inner = True
                continue
            if domain is None:
                static[name] = hints[name]
            elif static:
                raise TypeError(f"{kernel.__name__}: tensor {name} comes after a static parameter")
            else:
                tensors[name] = domain
            if parameter.default is inspect.Parameter.empty:
                required.add(name)
        for name in names:
            REGISTRY[name, since] = Op(
                name=name,
                since=since,
                kernel=kernel,
                tensors=tensors,
                static=static,
                required=frozenset(required),
                ignores=frozenset(ignores),
                added=added or {},
                result=result or next(iter(tensors)),
                moves=moves,
                plan=plan,
                takes_inner=takes_inner,
                loose=loose,
                form=form,
            )
        return kernel

    return register


def _domain(hint: Any) -> Domain | None:
    """The domain of a tensor annotation (also of `X | None`), None for a static parameter."""
    if get_origin(hint) is Annotated:
        return next((item for item in get_args(hint)[1:] if isinstance(item, Domain)), None)
    return next((found for item in get_args(hint) if (found := _domain(item)) is not None), None)


def find(registry: Registry, name: str, opset: int, place: str) -> Op:
    """The op of that type in that opset. Raises UnsupportedOp when none is modelled."""
    for since in range(opset, 0, -1):
        found = registry.get((name, since))
        if found is not None:
            return found
    if name in RANDOM:
        raise UnsupportedOp(
            f"op {name} of opset CoreML{opset} is not modelled ({place}): its numbers are drawn anew in every run, or"
            " from a seed by a generator that is not documented, so that the program does not say what it gives",
            op=name,
            place=place,
            action="draw the numbers outside and give them to the function as an input",
        )
    raise UnsupportedOp(f"op {name} of opset CoreML{opset} is not modelled ({place})", op=name, place=place)
