"""A search that keeps its budget, and a recipe that says exactly what was chosen."""

from __future__ import annotations

import itertools
from fnmatch import fnmatchcase

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompiler.spec.quantization import Quantization
from runtime.contract.recipe import FLOAT16, FLOAT32, HEAD, Recipe, Weights, scale_width
from runtime.contract.suggestion import FP16, Option, Search, furthest, kind_of, text, written

INT8 = Weights(weights="int8")
INT4 = Weights(weights="int4", granularity="per_block", block=32)
LUT = Weights(weights="lut4", granularity="per_grouped_channel", group=16)


def options(*pairs: tuple[int, float]) -> list[Option]:
    return [Option("fp16" if not i else f"form{i}", {}, size, kl) for i, (size, kl) in enumerate(pairs)]


def drawn(count: int) -> st.SearchStrategy[Search]:
    one = st.lists(st.tuples(st.integers(1, 100), st.floats(0, 10)), min_size=1, max_size=3)
    groups = st.lists(one, min_size=1, max_size=count)
    return groups.map(
        lambda given: Search({f"g{i}": options((101, 0.0), *pairs) for i, pairs in enumerate(given)}, rest=7)
    )


@given(drawn(4))
@settings(max_examples=100, deadline=None)
def test_a_path_starts_at_float16_saves_at_each_step_and_ends_at_the_fewest_bytes(search: Search) -> None:
    path = search.path()
    sizes = [search.bytes(state) for state in path]
    assert set(path[0].values()) == {0}
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[-1] == search.least()


@given(drawn(3), st.integers(0, 320))
@settings(max_examples=200, deadline=None)
def test_a_choice_within_a_budget_keeps_it_and_there_is_none_only_where_none_can_be(search: Search, most: int) -> None:
    state = search.within(most)
    assert (state is None) == (most < search.least())
    if state is None:
        return
    assert search.bytes(state) <= most
    # nothing that still fits would cost less in one group alone
    for name, at in state.items():
        for other, one in enumerate(search.options[name]):
            if search.bytes({**state, name: other}) <= most:
                assert one.kl >= search.options[name][at].kl
    assert search.estimate(state) <= max(map(search.estimate, search.path()))


def test_the_cheapest_byte_is_saved_first_and_what_is_over_is_given_back() -> None:
    search = Search({"sturdy": options((100, 0), (50, 0.1)), "frail": options((100, 0), (60, 4.0), (30, 5.0))}, rest=10)
    assert search.path() == [{"sturdy": 0, "frail": 0}, {"sturdy": 1, "frail": 0}, {"sturdy": 1, "frail": 2}]
    assert search.within(160) == {"sturdy": 1, "frail": 0}
    # the path goes to 90 bytes; what lies between is enough
    assert search.within(125) == {"sturdy": 1, "frail": 1}
    assert search.within(90) == {"sturdy": 1, "frail": 2}
    assert search.within(89) is None
    assert search.least() == 90


def test_where_each_step_costs_more_for_a_byte_no_choice_costs_less() -> None:
    """On convex costs the greedy path holds the best choice of each size that it has."""
    search = Search({"a": options((90, 0), (60, 1.0), (30, 3.0)), "b": options((90, 0), (60, 2.0), (30, 7.0))}, rest=0)
    every = [dict(zip("ab", at, strict=True)) for at in itertools.product(range(3), repeat=2)]
    for state in search.path():
        rivals = [one for one in every if search.bytes(one) <= search.bytes(state)]
        assert search.estimate(state) == min(map(search.estimate, rivals))


@given(st.integers(1, 40), st.integers(-1, 40))
def test_the_furthest_is_the_last_that_holds_and_was_asked(length: int, last: int) -> None:
    asked: list[int] = []

    def holds(state: dict[str, int]) -> bool:
        asked.append(state["at"])
        return state["at"] <= last

    found = furthest([{"at": i} for i in range(length)], holds)
    if last < 0:
        assert found is None
    else:
        assert found == {"at": min(last, length - 1)}
        assert found["at"] in asked
    assert len(asked) <= 8


def test_a_layer_that_is_stored_alike_is_one_rule_behind_those_about_kinds() -> None:
    names = names_of(3, tied=False)
    chosen = {name: INT8 for name in names if is_matrix(name)}
    chosen |= {name: INT4 for name in chosen if kind_of(name) == "up_proj"}
    chosen |= {name: LUT for name in chosen if ".layers.1." in name}
    rules = [(rule.match, rule.weights) for rule in written(chosen, names).rules]
    assert rules == [("*.up_proj", "int4"), ("model.layers.1.*_proj", "lut4")]


def test_a_kind_of_which_half_differs_is_named_and_no_pattern_is_taken_back() -> None:
    names = names_of(2, tied=False)
    chosen = {name: FP16 for name in names if is_matrix(name)} | {"model.layers.0.mlp.up_proj.weight": INT8}
    assert [rule.match for rule in written(chosen, names).rules] == ["model.layers.0.mlp.up_proj"]


def names_of(layers: int, tied: bool) -> dict[str, tuple[str, ...]]:
    """A llama's tensors, vectors too."""
    found = {"model.embed_tokens.weight": ("model.embed_tokens.weight", *([HEAD] if tied else []))}
    for i in range(layers):
        parts = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm")
        # a bias is called like its matrix
        every = [f"model.layers.{i}.{part}.weight" for part in parts] + [f"model.layers.{i}.self_attn.q_proj.bias"]
        found |= {name: (name,) for name in every}
    found["model.norm.weight"] = ("model.norm.weight",)
    return found if tied else found | {HEAD: (HEAD,)}


def is_matrix(name: str) -> bool:
    return "norm" not in name and not name.endswith(".bias")


def _number(name: str) -> str:
    return name.split(".")[2] if ".layers." in name else "0"


@given(st.integers(1, 3), st.booleans(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_written_recipe_says_what_was_chosen_of_every_name_and_reads_back(
    layers: int, tied: bool, data: st.DataObject
) -> None:
    names = names_of(layers, tied)
    matrices = [name for name in names if is_matrix(name)]
    chosen = {name: data.draw(st.sampled_from([FP16, INT8, INT4, LUT])) for name in matrices}
    if data.draw(st.booleans()):
        # all of a layer alike
        chosen = {name: chosen[f"model.layers.{_number(name)}.mlp.up_proj.weight"] for name in matrices}
    recipe = written(chosen, names)
    for name, form in chosen.items():
        assert {recipe.of(alias).plain for alias in names[name]} == {form}
    vectors = [name.removesuffix(".weight") for name in names if not is_matrix(name)]
    # a rule that asks int8 of a vector is refused: none speaks of one
    for i, rule in enumerate(recipe.rules):
        wider = any(fnmatchcase(rule.match, earlier.match) for earlier in recipe.rules[:i])
        assert rule.plain != recipe.default or wider
        assert all(Recipe(default=INT8, rules=[rule]).of(name) == INT8 for name in vectors)
    calibration = {"sources": {"ein: Name": 4}, "split": "train", "max_length": 64}
    kept = {"calibration": calibration, "activations": {"match": ["*.mlp.*"]}}
    assert {key: yaml.safe_load(text(recipe, [], kept))["quantization"][key] for key in kept} == kept
    section = yaml.safe_load(text(recipe, ["rms_norm"]))["quantization"]
    assert Quantization.model_validate(section) == Quantization(
        default=recipe.default, rules=recipe.rules, islands=["rms_norm"]
    )


def test_what_is_called_alike_is_one_rule_and_an_exception_comes_behind_it() -> None:
    names = names_of(3, tied=True)
    chosen = {name: INT8 for name in names if is_matrix(name)}
    chosen |= {name: INT4 for name in chosen if kind_of(name) == "up_proj"}
    chosen["model.layers.2.mlp.up_proj.weight"] = FP16
    chosen["model.embed_tokens.weight"] = FP16
    assert text(written(chosen, names), []) == (
        "quantization:\n"
        "  default: {weights: int8, granularity: per_channel}\n"
        "  rules:\n"
        '    - {match: "*.up_proj", weights: int4, granularity: per_block, block: 32}\n'
        '    - {match: "model.embed_tokens", weights: fp16}\n'
        '    - {match: "lm_head", weights: fp16}\n'
        '    - {match: "model.layers.2.mlp.up_proj", weights: fp16}\n'
    )


@pytest.mark.parametrize(
    ("form", "stored"),
    [
        (FP16, 2 * 64 * 96),
        (INT8, 64 * 96 + 2 * 64),
        (Weights(weights="int8", granularity="per_tensor"), 64 * 96 + 2),
        (INT4, 64 * 96 // 2 + 2 * 64 * 3),
        (LUT, 64 * 96 // 2 + 2 * 4 * 16),
        (Weights(weights="lut6", granularity="per_tensor"), 64 * 96 * 6 // 8 + 2 * 64),
        (Weights(weights="sparse", granularity="per_tensor", density=0.25), 64 * 96 // 8 + 2 * 64 * 24),
    ],
)
def test_bytes_of_a_matrix_count_scales_palettes_and_masks(form: Weights, stored: int) -> None:
    assert form.stored_bytes((64, 96)) == stored
    assert form.stored_bytes((96,)) == 2 * 96


def test_a_head_in_float32_has_wider_scales_and_those_of_its_embedding_beside_them() -> None:
    tied = ("model.embed_tokens.weight", HEAD)
    assert scale_width(tied, ["rms_norm"]) == scale_width(("x.weight",), ["logits"]) == FLOAT16
    assert (scale_width(tied, ["logits"]), scale_width((HEAD,), ["logits"])) == (FLOAT16 + FLOAT32, FLOAT32)
    assert INT8.stored_bytes((64, 96), FLOAT16 + FLOAT32) == 64 * 96 + 6 * 64
