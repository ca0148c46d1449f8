"""Terms that read spans of a row, or what it says of itself: each is what its definition says, acts where it should and
nowhere else, and every known way to get one wrong is caught.

The definitions stand here, in numpy and one token at a time, and are made from rows as they are written: the masks and
facts come from the same rows by the code that trains.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from runtime import catalog
from runtime.contract.rows import Row
from runtime.data import conditions, encode
from runtime.losses import code_mode, early_tool, integration, length
from runtime.steps.train import Term
from runtime.train import objective, onepass
from runtime.train.batches import Corpus
from tests.tensor.losses import oracle

Array = npt.NDArray[np.float64]
Patch = pytest.MonkeyPatch
VOCAB, WIDTH = 259, 6
NAMES = ("claims", "compliance", "integration", "length", "early_tool", "code_mode")


class Bytes:
    """A tokenizer of one token a byte: prompt, answer, end."""

    END = 258

    def sequences(self, row: Any) -> list[Any]:
        prompt, response = row["prompt"].encode(), row["response"].encode()
        return [Pair([256, *prompt, *response, self.END], len(prompt) + 1, len(response))]


class Pair:
    def __init__(self, ids: list[int], prompt_tokens: int, size: int) -> None:
        self.ids, self.prompt_tokens, self.earlier = ids, prompt_tokens, ()
        self.offsets = [(at, at + 1) for at in range(size)]


def row(response: str, prompt: str = "ask", **more: Any) -> Row:
    made: Any = {"id": f"{prompt}/{response}", "prompt": prompt, "response": response, "class": "", "spans": {}}
    return {**made, "source": "s", **more}


def span(response: str, *texts: str) -> list[list[int]]:
    return [[response.index(text), response.index(text) + len(text)] for text in texts]


CALL = 'Let me look. {"name": "f", "args": {"x": 1}}'
RIGHT = {"calls": [{"name": "f", "args": {"x": [1, 2]}}]}


def called(response: str, wanted: Any) -> Row:
    spans = {"tool_name": span(response, "f"), "call": span(response, response[response.index("{") :])}
    spans |= {"json_args": [[response.index('{"x"'), response.index("}") + 1]]}
    return row(response, spans=spans, wanted=wanted)


FAR = "It is 12.5 km away, I think."
LONG = "Well, it is rather far away from here."
ROWS: list[Row] = [
    row(
        FAR,
        spans={
            "integration": span(FAR, "is 12.5 km away"),
            "fact": span(FAR, "12.5 km"),
            "claims": span(FAR, "12.5"),
        },
    ),
    row("So, sadly, no.", prompt="b", spans={"forbidden": span("So, sadly, no.", "sadly"), "claims": [[0, 14]]}),
    row(LONG, prompt="c", wanted={"required": ["12.5 km"], "reference_bytes": 12}),
    row(LONG, prompt="d", wanted={"required": ["far"], "reference_bytes": 12}),
    row("Short.", prompt="e", wanted={"required": ["12.5 km"], "reference_bytes": 12}),
    called(CALL, RIGHT),
    called(CALL.replace("1}", "7}"), RIGHT),
    called(CALL.replace('"f"', '"f"'), {"calls": []}),
    row("run(f(1), g(2))", prompt="f", rejected="ran f, then g", wanted={"code_mode": True}),
    row("run(f(1), g(2))", prompt="g", rejected="ran f, then g", wanted={"code_mode": False}),
    row("run(f(1), g(2))", prompt="h", wanted={"code_mode": True}),
]


def corpus(names: Sequence[str] = NAMES) -> Corpus:
    losses = [catalog.load("losses", name) for name in names]
    masks = sorted({"response", *(loss.mask for loss in losses)})
    facts = sorted({fact for loss in losses for fact in loss.facts})
    made = [example for one in ROWS for example in encode.encode(one, Bytes(), masks, facts)]
    return Corpus([one["id"] for one in ROWS], made, 96, pad_id=0)


def logits(seed: int = 1, scale: float = 2.0) -> list[Array]:
    """One array [T, V] a row."""
    random = np.random.default_rng(seed)
    return [random.normal(size=(len(Bytes().sequences(one)[0].ids), VOCAB)) * scale for one in ROWS]


# -- the definitions ---------------------------------------------------------------------------------------------------


def tokens(of: Row) -> list[int]:
    return [int(byte) for byte in of["response"].encode()]


def _spans(of: Row, name: str) -> list[int]:
    return [at for start, end in of["spans"].get(name, []) for at in range(start, end)]


def learnt(name: str, of: Row) -> dict[int, tuple[float, Callable[[Array], float]]]:
    """Byte of the answer → (weight, loss of the logits that predict it), for every token that counts in the
    denominator."""
    ids = tokens(of)
    wanted: dict[str, Any] = of.get("wanted", {})

    def nll(token: int) -> Callable[[Array], float]:
        return lambda logits_V: -float(oracle.log_softmax(logits_V)[token])

    if name == "claims":
        return {at: (1.0, nll(ids[at])) for at in _spans(of, "claims") if at not in _spans(of, "forbidden")}
    if name == "compliance":
        return {
            at: (1.0, lambda logits_V, at=at: -float(np.log(1 - np.exp(oracle.log_softmax(logits_V)[ids[at]]))))
            for at in _spans(of, "forbidden")
        }
    if name == "integration":
        return {at: (1.0 if at in _spans(of, "fact") else 0.1, nll(ids[at])) for at in _spans(of, "integration")}
    if name == "length":
        if "reference_bytes" not in wanted or all(text in of["response"] for text in wanted["required"]):
            return {}
        limit = wanted["reference_bytes"]
        return {at: (float(at >= 1.15 * limit), nll(Bytes.END)) for at in range(limit, len(ids))}
    if name == "early_tool":
        if not wanted.get("calls") or '"x": 1' not in of["response"]:
            return {}
        start = of["response"].index("{")
        return {at: (float(at < 8), nll(ord("{"))) for at in range(start + 1)}
    if wanted.get("code_mode") is not True or "rejected" not in of:
        return {}
    # `run(` and `ran `
    return {1: (1.0, lambda logits_V: float(np.log1p(np.exp(1.0 - logits_V[ord("u")] + logits_V[ord("a")]))))}


PARAMS: dict[str, dict[str, Any]] = {"early_tool": {"first": 8}}


def truth(name: str, said: Sequence[Array]) -> float:
    total, count = 0.0, 0
    for of, logits_TV in zip(ROWS, said, strict=True):
        before = len(of["prompt"].encode()) + 1
        for at, (weight, loss) in learnt(name, of).items():
            total += weight * loss(logits_TV[before + at - 1])
            count += 1
    return total / count


# -- the path that trains ----------------------------------------------------------------------------------------------


def bound(name: str) -> objective.Bound:
    loss = catalog.load("losses", name)
    return objective.bind([Term(term=name, version=loss.version, weight=1.0, params=PARAMS.get(name, {}))])[0]


def path(name: str, said: Sequence[Array], chunk: int = 7) -> tuple[float, list[Array]]:
    """(value, its slope at every logit) as `onepass` gives them: the logits stand for hidden states."""
    made = corpus()
    batch = made.batch(range(len(made)))
    flat = torch.cat([torch.tensor(said[number])[made.before(number)] for number in batch.rows]).requires_grad_()
    head = torch.nn.Linear(VOCAB, VOCAB, bias=False).double()
    with torch.no_grad():
        head.weight.copy_(torch.eye(VOCAB))
    given = onepass.Batch(None, batch.target_N, batch.masks_N, objective.totals(batch.masks_N), facts_N=batch.facts_N)
    value = onepass.total(flat, head, given, [bound(name)], [1.0], chunk)[0]
    (gradient_NV,) = torch.autograd.grad(value, flat)
    found = [np.zeros_like(one) for one in said]
    begin = 0
    for number in batch.rows:
        places = made.before(number)
        found[number][places.numpy()] = gradient_NV[begin : begin + len(places)].numpy()
        begin += len(places)
    return float(value.detach()), found


def check(name: str) -> None:
    """Value to 1e-12; slope along random directions of all logits, prompt included."""
    said = logits()
    value, gradient = path(name, said)
    assert value == pytest.approx(truth(name, said), rel=1e-12)
    assert max(float(np.abs(one).max()) for one in gradient) > 1e-5
    for seed in (5, 6):
        direction = logits(seed, 1.0)
        above, below = (
            truth(name, [one + way * 1e-5 * to for one, to in zip(said, direction, strict=True)]) for way in (1, -1)
        )
        slope = sum(float((one * to).sum()) for one, to in zip(gradient, direction, strict=True))
        assert slope == pytest.approx((above - below) / 2e-5, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_those_of_the_definition(name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", NAMES)
def test_it_acts_in_the_rows_that_say_so_and_in_no_other(name: str) -> None:
    rows = {
        "claims": [0, 1],
        "compliance": [1],
        "integration": [0],
        "length": [2],
        "early_tool": [5],
        "code_mode": [8],
    }[name]
    _, gradient = path(name, logits())
    assert [number for number, one in enumerate(gradient) if np.abs(one).max() > 0] == rows


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chunk", [1, 1000])
def test_chunks_change_nothing(name: str, chunk: int) -> None:
    said = logits(3)
    assert path(name, said, chunk)[0] == pytest.approx(path(name, said)[0], rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_within_a_millionth_and_sure_students_give_finite_numbers(name: str) -> None:
    term, made = bound(name), torch.Generator().manual_seed(9)
    target = torch.randint(VOCAB, (12,), generator=made)
    for scale, limit in ((3.0, 1e-6), (60.0, None)):
        student = torch.randn(12, VOCAB, generator=made) * scale
        facts = {
            "fact": torch.arange(12.0) % 2,
            "excess": torch.arange(12.0) / 6 - 1,
            "place": torch.arange(12.0),
            **{one: torch.randint(VOCAB, (12,), generator=made) for one in ("end", "opens", "direct")},
        }
        value, gradient = onepass.both(term, student, None, target, facts)
        assert bool(value.isfinite().all())
        assert bool(gradient.isfinite().all())
        wide, slope = onepass.both(term, student.double(), None, target, facts)
        if limit is not None:
            torch.testing.assert_close(value.double(), wide, rtol=limit, atol=limit)
            torch.testing.assert_close(gradient.double(), slope, rtol=limit, atol=limit)


def test_unlikelihood_falls_as_the_forbidden_token_becomes_unlikely_and_is_exact_where_it_is_sure() -> None:
    loss, target = catalog.load("losses", "compliance"), torch.tensor([0])
    found = [
        float(loss.value(torch.tensor([[at, 0.0, 0.0]]), None, target, loss.params())) for at in (90.0, 2.0, 0.0, -3.0)
    ]
    assert found[0] == pytest.approx(90.0 - np.log(2), rel=1e-6), "1 - q is 0 in float32 there"
    assert all(more > less for more, less in itertools.pairwise(found))


def test_the_preference_gets_better_when_the_wanted_token_is_preferred() -> None:
    """The origin's grew from 92 to 182 there (D10)."""
    loss = catalog.load("losses", "code_mode")
    facts = {"direct": torch.tensor([1])}
    found = [
        float(loss.value(torch.tensor([[at, 0.0, 0.0]]), None, torch.tensor([0]), loss.params(), facts=facts))
        for at in (-2.0, 0.0, 2.0, 10.0)
    ]
    assert all(more > less for more, less in itertools.pairwise(found))


def test_a_longer_answer_costs_more_and_every_token_past_the_margin_has_a_gradient() -> None:
    """The origin's was a number without a gradient (D10)."""
    said = logits(4)
    _, gradient = path("length", said)
    moved = np.abs(gradient[2]).max(-1) > 0
    before = len(ROWS[2]["prompt"]) + 1
    past = [at for at in range(len(tokens(ROWS[2]))) if at >= 1.15 * 12]
    assert [at + 1 - before for at in np.flatnonzero(moved)] == past
    assert all(gradient[2][before + at - 1][Bytes.END] < 0 for at in past), "ending must become likelier"


def test_forbidden_tokens_are_no_target_of_any_other_term() -> None:
    made = encode.encode(ROWS[1], Bytes(), ["response", "claims", "forbidden"])[0]
    bad = {at for at, flag in enumerate(made.masks["forbidden"]) if flag}
    assert len(bad) == len("sadly")
    for mask in ("response", "claims"):
        assert not bad & {at for at, flag in enumerate(made.masks[mask]) if flag}
    plain = encode.encode({**ROWS[1], "spans": {}}, Bytes(), ["response"])[0]
    assert {at for at, flag in enumerate(plain.masks["response"]) if flag} - bad == {
        at for at, flag in enumerate(made.masks["response"]) if flag
    }


# -- every way to get one of them wrong --------------------------------------------------------------------------------


def _shifted(patch: Patch) -> None:
    build = Corpus.__init__

    def wrong(self: Corpus, *given: Any, **named: Any) -> None:
        build(self, *given, **named)
        self._before_S = (self._before_S - 1).clamp(min=0)

    patch.setattr(Corpus, "__init__", wrong)


def _without_mask(patch: Patch) -> None:
    """Every token of a response counts."""
    total = onepass.total

    def wrong(hidden: Tensor, head: Any, batch: onepass.Batch, *rest: Any) -> Any:
        masks = dict.fromkeys(batch.masks_N, batch.masks_N["response"])
        return total(hidden, head, onepass.replace(batch, masks_N=masks), *rest)

    patch.setattr(onepass, "total", wrong)


def _one_denominator(patch: Patch) -> None:
    totals = objective.totals
    patch.setattr(objective, "totals", lambda masks: dict.fromkeys(masks, totals(masks)["response"]))


def _facts_of_other_tokens(patch: Patch) -> None:
    """Facts stand one token further."""
    right = conditions.numbers

    def wrong(*given: Any) -> list[float]:
        found = right(*given)
        return [0.0, *found[:-1]]

    patch.setattr(conditions, "numbers", wrong)


def _from_the_start(patch: Patch) -> None:
    """Spans are taken for the first tokens of the answer (the origin's D10)."""

    def wrong(offset: tuple[int, int], spans: Any) -> bool:
        return any(offset[0] < end - start for start, end in spans)

    patch.setattr(encode, "overlaps", wrong)


def _style_as_facts(patch: Patch) -> None:
    patch.setattr(integration, "_weight", lambda fact, _params: torch.ones_like(fact))


def _likelihood(patch: Patch) -> None:
    """The forbidden tokens are learnt."""
    load = catalog.load

    def swapped(room: str, name: str) -> Any:
        found = load(room, name)
        if name != "compliance":
            return found
        of = load(room, "ce_truth")
        return onepass.replace(found, value=of.value, gradient=of.gradient)

    patch.setattr(catalog, "load", swapped)


def _no_hinge(patch: Patch) -> None:
    patch.setattr(length, "_past", lambda facts, _params: torch.ones_like(facts["excess"], dtype=torch.bool))


def _complete_too(patch: Patch) -> None:
    """Answers that have all that is required are shortened as well."""
    patch.setattr(conditions.conditions, "missing", lambda _row: ["something"])


def _wrong_calls_too(patch: Patch) -> None:
    patch.setattr(conditions, "_right", lambda row: bool(row["spans"].get("tool_name")))


def _any_place(patch: Patch) -> None:
    patch.setattr(early_tool, "_within", lambda facts, _params: torch.ones_like(facts["place"], dtype=torch.bool))


def _direct_preferred(patch: Patch) -> None:
    right = code_mode._short

    def wrong(student: Tensor, target: Tensor, facts: Any, params: Any) -> Tensor:
        return right(student, facts["direct"], {"direct": target}, params)

    patch.setattr(code_mode, "_short", wrong)


def _not_only_eligible(patch: Patch) -> None:
    fork = conditions._fork

    def wrong(row: Any, pair: Any, rejected: Any) -> Any:
        return fork({**row, "wanted": {"code_mode": True}}, pair, rejected)

    patch.setattr(conditions, "_fork", wrong)


EVERYWHERE = (_shifted, _without_mask, _one_denominator)
OWN: list[tuple[str, Callable[[Patch], None]]] = [
    ("claims", _from_the_start),
    ("compliance", _from_the_start),
    ("compliance", _likelihood),
    ("integration", _from_the_start),
    ("integration", _style_as_facts),
    ("integration", _facts_of_other_tokens),
    ("length", _no_hinge),
    ("length", _complete_too),
    ("length", _facts_of_other_tokens),
    ("early_tool", _wrong_calls_too),
    ("early_tool", _any_place),
    ("early_tool", _facts_of_other_tokens),
    ("code_mode", _direct_preferred),
    ("code_mode", _not_only_eligible),
]
CASES = [(name, mutant) for name in NAMES for mutant in EVERYWHERE] + OWN


@pytest.mark.parametrize(("name", "mutant"), CASES, ids=[f"{name}{mutant.__name__}" for name, mutant in CASES])
def test_mutant_is_caught(name: str, mutant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check(name)
