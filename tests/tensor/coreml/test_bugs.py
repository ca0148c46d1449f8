"""Each silent defect of the converter, made by the converter itself, in a report that passes without it: the rules that
name it (`tests/tensor/BUGS.md`).

A body is converted, saved, run by the interpreter and compared with torch as `verify` does; the numbers take the place
of one shape's in a real report. So a rule that fails here fails by the defect alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.optimize.coreml import OpPalettizerConfig, OptimizationConfig, palettize_weights
from torch import Tensor, nn

from kcompiler import assets, policy
from kcompiler.judge import judge
from kcompiler.spec.verification import Tolerances
from runtime.contract import Refusal
from runtime.contract.recipe import Recipe, Weights
from runtime.mil import package, readback
from runtime.mil.convert import REMOVED_PASSES, _toolchain
from runtime.mil.golden import Watched
from runtime.mil.interpreter import Interpreter
from runtime.mil.islands import stem
from runtime.mil.parity import Tally
from runtime.mil.quiet import quiet
from runtime.mil.verify import _health
from runtime.models.export import _clean
from tests.longer import some
from tests.unit.kcompiler.policy import plans

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.usefixtures("converter_folders"),
]
ROOT = Path(__file__).resolve().parents[3]
SPEC = {
    "risk_tier": 3,
    "shapes": {"prefill": [64, 128, 256]},
    "verification": {"tolerances": Tolerances().model_dump()},
}
GOOD = json.loads((ROOT / "tests/unit/kcompiler/policy/reports/verify.json").read_text(encoding="utf-8"))
MODES: dict[str, Any] = {"float32": "exact32", "fp16": "fp16_round", "quantized": "fp16_round"}


class Body(nn.Module):
    def __init__(self, body: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def converted(module: nn.Module, given: Tensor, variant: str, dynamic: int | None = None, ours: bool = False) -> Any:
    """The module as coremltools makes it by default; `dynamic`: the axis that has two
    sizes; `ours`: without the passes that our conversion leaves out."""
    program = torch.export.export(
        module,
        (given,),
        dynamic_shapes={"x": {dynamic: torch.export.Dim("rows", min=2, max=64)}} if dynamic is not None else None,
    )
    program = program.run_decompositions({})
    _clean(program)
    passes = [name for name in ct.PassPipeline.DEFAULT.passes if not ours or name not in REMOVED_PASSES]
    longer = [24 if axis == dynamic else size for axis, size in enumerate(given.shape)]
    with quiet():
        return ct.convert(
            program,
            inputs=None
            if dynamic is None
            else [ct.TensorType(name="x", shape=ct.EnumeratedShapes([list(given.shape), longer]))],
            minimum_deployment_target=ct.target.iOS18,
            pass_pipeline=ct.PassPipeline(passes),
            compute_precision=ct.precision.FLOAT32 if variant == "float32" else ct.precision.FLOAT16,
            skip_model_load=True,
        )


def measured(made: Any, variant: str, given: Tensor, wanted: Tensor, folder: Path) -> dict[str, Any]:
    """What `verify` says of the logits of one function, of a package and of what torch computes."""
    path = folder / f"{variant}.mlpackage"
    with quiet():
        made.save(str(path))
    run = Interpreter(package.open(path), mode=MODES[variant])
    result = run.run({"x": given.numpy()})
    (found,) = result.outputs.values()
    tally = Tally(layers=0)
    tally.logits(wanted.numpy().astype(np.float64), found.astype(np.float64))
    # so few positions say nothing of ranks
    left_out = ("cache", "top1_agreement", "top5_containment")
    numbers = {name: value for name, value in tally.data().items() if name not in left_out}
    return {**numbers, **_health({"": run.function}, Watched([result.findings]))}


@cache
def obliged() -> Any:
    pack = policy.load(["caws/core"], [assets.folder("policies")])
    made, _ = policy.obligations(pack, SPEC, {"coreml.parity": ["verify"]}, {"verify": plans.VERIFY})
    asked = [one for one in made if one["rule"].startswith(("caws/core/parity-", "caws/core/package-"))]
    assert len(asked) > 15
    return asked


def failing(found: dict[str, dict[str, Any]], **sections: Any) -> set[str]:
    """The rules of caws/core that do not pass when these numbers stand in the report, by variant."""
    report = copy.deepcopy(GOOD)
    for variant in report["data"]["variants"]:
        variant["shapes"][0] |= found.get(variant["variant"], {})
    report["data"] |= sections
    decided = judge({"verify": report}, obliged()).outcomes
    # one graph over one input is less than a package has to be asked
    left_out = {"package-as-asked"}
    return {one.rule.removeprefix("caws/core/") for one in decided if one.outcome != "pass"} - left_out


def normed(x: Tensor) -> Tensor:
    return nn.functional.rms_norm(x, (8,), eps=1e-5)


def written_out(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


def looked_up(x: Tensor) -> Tensor:
    """Two gathers: the second takes the type of 16 bits that the places of the first have."""
    return x.index_select(0, torch.tensor([0, 2, 0])) + x.index_select(0, torch.tensor([3, 1, 1]))


def causal(fill: float) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.softmax(x + torch.triu(torch.full((4, 4), fill), 1), -1)


def masked(fill: float) -> Callable[[Tensor], Tensor]:
    """The last row is masked throughout, as that of a padded token is."""

    def body(x: Tensor) -> Tensor:
        return torch.softmax(x + (x < 0).to(torch.float32) * fill, -1)

    return body


def chosen(x: Tensor) -> Tensor:
    places = torch.arange(x.shape[0])
    mask = torch.where(places[None, :] <= places[:, None], 0.0, -1e4)
    return torch.softmax(x @ x.transpose(0, 1) + mask, -1) @ x


ROWS = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32))
SQUARE = ROWS[:, :4].abs() + 0.1
PLACES = torch.tensor([[0, 1], [4, 1], [-12, 1], [-21, 1]], dtype=torch.int32)
SPIKE = torch.cat([ROWS, ROWS[:1]])
SPIKE[4, 5] = 300.0
#: the gates of the outputs' sizes, where a function is another one altogether
FAR = {"parity-cosine", "parity-cosine-fp16", "parity-float16", "parity-float32", "parity-kl", "parity-relative-error"}


@dataclass(frozen=True)
class Bug:
    """A body and an input that shows the defect; the rules that name it, and those that must not be needed for it."""

    body: Callable[[Tensor], Tensor]
    given: Tensor
    named: set[str]
    silent: set[str]
    dynamic: int | None = None
    ours: bool = False


FINITE = {"parity-finite"}
BUGS: dict[str, Bug] = {
    "RMSNorm of small rows": Bug(
        normed, torch.cat([ROWS[:2], ROWS[2:] * 1e-3]), {"parity-float32", "parity-float16"}, FINITE,
    ),
    "RMSNorm of a row of zeros": Bug(
        normed, torch.cat([ROWS, ROWS[:1] * 0]), {"parity-finite", "parity-saturation", "parity-float32"}, set(),
    ),
    "alpha": Bug(lambda x: torch.sub(x, x.flip(-1), alpha=5), ROWS, FAR, FINITE),
    "triu of minus infinity": Bug(causal(-np.inf), SQUARE, {"parity-finite", "parity-saturation", "parity-float32"}, set()),
    "a mask of finfo(float32).min": Bug(
        masked(torch.finfo(torch.float32).min),
        torch.cat([SQUARE, -SQUARE[:1]]),
        {"parity-finite", "parity-saturation", "parity-float16", "parity-cosine-fp16"},
        {"parity-float32"},
    ),
    "places cast to uint16": Bug(
        looked_up,
        PLACES,
        {"parity-saturation", "parity-cosine-fp16"},
        {"parity-float32", "parity-finite"},
    ),
    "a choice of two scalars": Bug(chosen, torch.cat([ROWS, ROWS]), {"parity-shapes"}, FAR | FINITE, dynamic=0),
    "RMSNorm written out, a spike of 300": Bug(
        written_out, SPIKE, {"parity-saturation", "parity-not-zero"}, {"parity-finite", "parity-float32"},
    ),
}  # fmt: skip
SOUND: dict[str, Bug] = {
    "places as our conversion leaves them": Bug(looked_up, PLACES, set(), set(), ours=True),
    "RMSNorm written out": Bug(written_out, ROWS, set(), set()),
    "alpha multiplied": Bug(lambda x: x - x.flip(-1) * 5, ROWS, set(), set()),
    "a mask of -1e4": Bug(masked(-1e4), SQUARE * torch.tensor([1.0, -1.0, 1.0, -1.0]), set(), set()),
}


def named(bug: Bug, folder: Path) -> set[str]:
    with torch.no_grad():
        wanted = bug.body(bug.given)
    assert torch.isfinite(wanted).all()
    return failing(
        {
            variant: measured(
                converted(Body(bug.body), bug.given, variant, bug.dynamic, bug.ours), variant, bug.given, wanted, folder
            )
            for variant in ("float32", "fp16")
        }
    )


@pytest.mark.parametrize("name", some(BUGS, 3))
def test_the_rules_that_name_a_defect(name: str, tmp_path: Path) -> None:
    found = named(BUGS[name], tmp_path)
    assert BUGS[name].named <= found
    assert not BUGS[name].silent & found


@pytest.mark.parametrize("name", some(SOUND, 2))
def test_what_is_advised_instead_passes_every_rule(name: str, tmp_path: Path) -> None:
    assert named(SOUND[name], tmp_path) == set()


def test_the_report_that_is_spoilt_passes_by_itself() -> None:
    assert failing({}) == set()


def test_a_tensor_that_was_not_palettized_and_left_divided(tmp_path: Path) -> None:
    """120 rows are no groups of 16: coremltools says that it skipped them, and has divided every row by its largest."""
    torch.manual_seed(0)
    module, given = nn.Linear(64, 120, bias=False).eval(), torch.randn(3, 64)
    made = converted(Body(module), given, "quantized")
    asked = OpPalettizerConfig(
        mode="uniform", nbits=4, granularity="per_grouped_channel", group_size=16, enable_per_channel_scale=True,
        weight_threshold=0,
    )  # fmt: skip
    with quiet():
        made = palettize_weights(made, OptimizationConfig(global_config=asked))
    with torch.no_grad():
        numbers = measured(made, "quantized", given, module(given), tmp_path)
    opened = package.open(tmp_path / "quantized.mlpackage")
    (weight,) = [one for one in opened.weights("main") if one.shape == (120, 64)]
    tensors = {"up.weight": module.weight.detach().numpy()}
    contract = _Contract("up.weight", stem(weight.name.removesuffix("_quantized")))
    recipe = Recipe(default=Weights(weights="fp16"), rules=[])
    found = readback.recipe(opened, contract, recipe, tensors).findings  # type: ignore[arg-type]
    assert [(one.kind, one.subject) for one in found] == [("value", "up.weight")]
    section = copy.deepcopy(GOOD["data"]["recipe"])
    section["violations"]["value"] = len(found)
    assert "package-recipe" in failing({}, recipe=section)
    # rows of like size keep their direction: the cosine alone says nothing
    assert {"parity-quantized", "parity-relative-error"} <= failing({"quantized": numbers})


def test_the_same_choice_beside_fused_attention_is_a_refusal() -> None:
    """coremltools ends with an IndexError of its own, of which nobody could tell what to do."""

    def body(x: Tensor) -> Tensor:
        places = torch.arange(x.shape[2])
        mask = torch.where((places[None, :] <= places[:, None])[None, None], 0.0, -1e4)
        return nn.functional.scaled_dot_product_attention(x, x, x, mask)

    said = "cannot convert it: IndexError: tuple index out of range"
    with pytest.raises(Refusal, match=said) as caught, _toolchain("it"):
        converted(Body(body), torch.zeros(1, 2, 8, 16), "float32", dynamic=2)
    assert caught.value.code == "KR0140"


class _Contract:
    """Of a contract what the readback reads: one tensor, and the graph input that it came from."""

    authoring = None

    def __init__(self, tensor: str, parameter: str) -> None:
        self.name, self.aliases, self.shape = tensor, (), (120, 64)
        self.tensors, self.functions, self.parameters = [self], {"main": self}, {parameter: tensor}
