"""The recipe: what is refused of rules and islands, by the tensors of each family."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from kcompiler.source import load
from kcompiler.spec.parse import parse
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES
from tests.unit.kcompiler.checks.claims import Claim, disagrees, section, several, student
from tests.unit.kcompiler.checks.laboratory import ROOT, compiled


def rules(*written: tuple[str, str] | tuple[str, str, str], **more: Any) -> Any:
    made = [dict(zip(("match", "weights", "granularity"), rule, strict=False)) for rule in written]
    return lambda data: data["quantization"].update(rules=made, **more)


def default(**more: Any) -> Any:
    return lambda data: data["quantization"].update(default=more)


BLOCK = {"weights": "int4", "granularity": "per_block", "block": 32}
WIDE = {"quantized": 0.3, "logits": 0.5, "cache": 0.5, "cosine": 0.98, "cache_cosine": 0.95, "kl": 0.1}
PHI, UNTIED = student(family="phi"), student(tie_word_embeddings=False)
CLAIMS = [
    Claim("no rules", lambda _: None),
    Claim("an embedding that is the head", rules(("lm_head", "fp16")), ("KC4910",),
          ("model.embed_tokens: int8 per_channel, lm_head: fp16 per_channel",), severity="error"),
    Claim("another granularity of it", rules(("lm_head", "int8", "per_tensor")), ("KC4910",)),
    Claim("both names of it", rules(("lm_head", "fp16"), ("model.embed_tokens", "fp16"))),
    Claim("the same answer twice", rules(("lm_head", "int8"))),
    Claim("a head of its own", several(UNTIED, rules(("lm_head", "fp16")))),
    Claim("a name that nothing has", rules(("*.down_prj", "fp16")), ("KC4911",), ("down_proj", "20 tensors"),
          severity="error"),
    Claim("a layer beyond the last", rules(("model.layers.2.*_proj", "fp16")), ("KC4911",)),
    Claim("the last layer", rules(("model.layers.1.*_proj", "fp16"))),
    Claim("the suffix that patterns do not see", rules(("*.down_proj.weight", "fp16")), ("KC4911",)),
    Claim("a rule under a later one", rules(("*.down_proj", "fp16"), ("*_proj", "int8", "per_tensor")), ("KC4912",),
          ("the last matching rule wins",), severity="warning"),
    Claim("under two that share it", rules(("*.up_proj", "fp16"), ("*.0.mlp.up_proj", "int8"), ("*.1.*.up_proj", "int8")),
          ("KC4912",)),
    Claim("a rule half under a later one", rules(("*.up_proj", "fp16"), ("*.0.mlp.up_proj", "int8"))),
    Claim("the last rule of two equal ones", rules(("*.up_proj", "fp16"), ("*.up_proj", "fp16")), ("KC4912",)),
    Claim("INT8 for a layer", rules(("model.layers.*", "int8")), ("KC4913",),
          ("4 of them", "model.layers.0.input_layernorm", 'match: "*input_layernorm"', 'match: "*post_attention_layernorm"'), severity="error"),
    Claim("and its norms kept", rules(("model.layers.*", "int8"), ("*norm", "fp16"))),
    Claim("float16 for vectors", rules(("*norm", "fp16"))),
    Claim("INT8 for one vector", rules(("model.norm", "int8")), ("KC4913",), ("1 of them", '"*norm"')),
    Claim("INT8 by default leaves them", default(weights="int8", granularity="per_tensor")),
    Claim("a bias of phi", several(PHI, rules(("*.dense*", "int8"))), ("KC4913",), ("2 of them", "self_attn.dense.bias")),
    Claim("another size of blocks of it", lambda data: data["quantization"].update(default=BLOCK, rules=[{"match": "lm_head", **BLOCK, "block": 16}]),
          ("KC4910",), ("model.embed_tokens: int4 per_block 32, lm_head: int4 per_block 16",)),
    Claim("blocks that divide", default(**BLOCK)),
    Claim("blocks that do not", default(**BLOCK | {"block": 96}), ("KC4915",), ("model.embed_tokens", "block of 96", "take 8 or 16 or 32"), severity="error"),
    Claim("blocks of a rule that do not", lambda data: data["quantization"].update(rules=[{"match": "*down_proj", **BLOCK, "block": 7}]), ("KC4915",)),
    Claim("blocks of one tensor that do not", lambda data: data["quantization"].update(rules=[{"match": "model.layers.0.*down_proj", **BLOCK, "block": 7}]), ("KC4915",), ("1 tensor, such as",)),
    Claim("overruled where they do not", lambda data: data["quantization"].update(default=BLOCK | {"block": 96, "weights": "int8"}, rules=[{"match": "*", "weights": "fp16"}])),
    Claim("groups that divide", default(weights="lut4", granularity="per_grouped_channel", group=16)),
    Claim("groups that do not", default(weights="lut4", granularity="per_grouped_channel", group=96), ("KC4915",), ("output channels",)),
    Claim("a palette of vectors", lambda data: data["quantization"].update(rules=[{"match": "*norm", "weights": "lut8", "granularity": "per_tensor"}]), ("KC4913",), ("lut8 is for matrices",)),
    Claim("tolerances of four bits", lambda data: (data["quantization"].update(default=BLOCK), data.update(verification={"tolerances": WIDE}))),
    Claim("of zeros", several(default(weights="sparse", granularity="per_tensor", density=0.5), section("verification", tolerances=WIDE))),
    Claim("of a rule", several(rules(("*up_proj", "int4")), section("verification", tolerances=WIDE))),
    Claim("and of eight", section("verification", tolerances=WIDE), ("KC4916",) * 6, ("at least 0.999", "at most 0.01", "at most 0.05"), severity="error"),
    Claim("of a palette of eight", several(default(weights="lut8", granularity="per_tensor"), section("verification", tolerances={"kl": 0.02})), ("KC4916",)),
    Claim("four bits for nothing", lambda data: data["quantization"].update(default=BLOCK, rules=[{"match": "*", "weights": "fp16"}]),
          ("KC4916",), ("int4, and other rules decide",)),
    Claim("four bits for vectors alone", lambda data: data["quantization"].update(default=BLOCK, rules=[{"match": name, "weights": "fp16"} for name in ("*_proj", "model.embed_tokens", "lm_head")]), ("KC4916",), ("int4, and other rules",)),
    Claim("four bits in a rule for nothing", rules(("*_proj", "int4"), ("*_proj", "int8")), ("KC4912", "KC4916"), ("int4, and other",)),
    Claim("what INT8 may have", section("verification", tolerances={"quantized": 0.05, "kl": 0.001, "cosine": 0.9999})),
    Claim("an island of llama", lambda data: data["quantization"].update(islands=["rms_norm", "residual"])),
    Claim("a stream of phi", several(PHI, lambda data: data["quantization"].update(islands=["residual"]))),
    Claim("attention and head", lambda data: data["quantization"].update(islands=["softmax", "logits"])),
    Claim("all that phi has", several(PHI, lambda data: data["quantization"].update(islands=["layer_norm", "residual", "softmax", "logits"]))),
    Claim("a norm that llama has not", lambda data: data["quantization"].update(islands=["layer_norm"]), ("KC4914",)),
    Claim("a sparse head in float16", default(weights="sparse", granularity="per_tensor", density=0.5)),
    Claim("a sparse head as an island", several(default(weights="sparse", granularity="per_tensor", density=0.5), lambda data: data["quantization"].update(islands=["logits"])),
          ("KC4919",), ("widens no sparse",), severity="error"),
    Claim("a sparse layer beside it", lambda data: data["quantization"].update(islands=["logits"], rules=[{"match": "*up_proj", "weights": "sparse", "granularity": "per_tensor", "density": 0.5}])),
    Claim("an island of phi", several(PHI, lambda data: data["quantization"].update(islands=["rms_norm"])),
          ("KC4914",), severity="error"),
]  # fmt: skip
ARITHMETIC = ()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_recipe_says(claim, tmp_path):
    assert disagrees("recipe", claim, tmp_path) == ""


SPARSE = {"weights": "sparse", "granularity": "per_tensor", "density": 0.5}
HEAD, EMBEDDING = {"match": "lm_head"}, {"match": "model.embed_tokens"}
LOGITS = section("quantization", islands=["logits"])


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("KC4919", several(LOGITS, default(**SPARSE))),
        ("KC4919", several(LOGITS, default(**SPARSE), UNTIED)),
        ("KC4919", several(LOGITS, section("quantization", rules=[HEAD | SPARSE, EMBEDDING | SPARSE]))),
        (
            "KC4919",
            several(LOGITS, UNTIED, section("quantization", rules=[{"match": "*_proj"} | SPARSE, HEAD | SPARSE])),
        ),
        ("KC4919", several(LOGITS, UNTIED, section("quantization", rules=[{"match": "*e*d*"} | SPARSE]))),
        ("KC4919", several(LOGITS, default(**SPARSE), section("quantization", rules=[HEAD | SPARSE]))),
        ("KC4910", rules(("lm_head", "fp16"))),
        ("KC4910", rules(("model.embed_tokens", "int8", "per_tensor"))),
        ("KC4910", rules(("model.embed_tokens", "int8", "per_tensor"), ("lm_head", "fp16"))),
        ("KC4910", section("quantization", rules=[HEAD | BLOCK])),
        ("KC4910", section("quantization", default=BLOCK, rules=[EMBEDDING | BLOCK | {"block": 16}])),
    ],
)
def test_the_advice_about_the_head_compiles(code: str, change: Any, tmp_path: Path) -> None:
    """Typed as it stands: later rules, or others in place of those that it counts."""
    before = [one for one in compiled(tmp_path, change).diagnostics if one.severity == "error"]
    assert code in [one.code for one in before]
    advice = next(one.help for one in before if one.code == code)
    typed = [yaml.safe_load(one) for one in re.findall(r"\{.*?\}", advice)]
    assert typed
    counted = re.search(r"in place of rules ([\d, ]+\d)", advice)
    instead = {int(one) - 1 for one in counted[1].split(", ")} if counted else set()

    def followed(data: dict[str, Any]) -> None:
        change(data)
        kept = [one for i, one in enumerate(data["quantization"].get("rules", ())) if i not in instead]
        data["quantization"]["rules"] = [*kept, *typed]

    assert [one.code for one in compiled(tmp_path, followed).diagnostics if one.severity == "error"] == []


def test_every_family_says_which_modules_it_has():
    assert set(FAMILIES) == set(get_args(Architecture.model_fields["family"].annotation))


def test_a_form_that_is_no_word_is_told_like_any_other_mistake():
    """The tolerances follow from the recipe as it is written, which may be anything."""
    text = (
        (ROOT / "specs" / "eight-ball.yaml").read_text(encoding="utf-8").replace("weights: int8", "weights: [int8]", 1)
    )
    tree, _ = load("spec.yaml", text.encode())
    assert tree is not None
    assert "KC2110" in {one.code for one in parse(tree).diagnostics}
