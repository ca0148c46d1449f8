"""Terms that train a head of its own: the path that trains computes what the oracle defines, and each known way to get it
wrong gives another number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from runtime.contract import Refusal, rows
from runtime.data.encode import Example, encode
from runtime.models import heads
from runtime.train import batches, objective, onepass
from runtime.train.batches import Batch
from runtime.train.teaching import head_of, hidden_of
from tests.tensor.losses.bench import Bench, bound, nudged


def ends(example: Example) -> list[float]:
    """1 at the last token of each answer."""
    answer = [*example.masks["response"], False]
    return [float(one and not after) for one, after in itertools.pairwise(answer)]


class Headed(Bench):
    """A bench whose student has the head; some rows are conversations of two answers."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        heads.attach(self.student, ["halt", "self_eval"], 3)
        with torch.no_grad():
            for one in heads.of(self.student).values():
                one.weight.mul_(60)
                one.bias.fill_(-0.7)
        # where the question is long enough for an answer in its middle
        self.longer = [row for row, one in enumerate(self.examples) if one.masks["response"].index(True) > 4]
        for row in self.longer:
            example = self.examples[row]
            answers = [place in (2, 3) or one for place, one in enumerate(example.masks["response"])]
            self.examples[row] = Example(example.ids, {**example.masks, "response": answers})
        for row, example in enumerate(self.examples):
            judged = [row % 2 == 0 and one for one in example.masks["response"]]
            facts = {"ends": ends(example), "right": [float(row % 4 == 0)] * len(example.ids)}
            self.examples[row] = Example(example.ids, {**example.masks, "judged": judged}, facts)
        self.corpus = batches.Corpus([str(row) for row in range(len(self.examples))], self.examples, 32, pad_id=0)

    def total(self, names: tuple[str, ...] = ("halt",), parts: bool = False) -> Tensor:
        """The weighed sum, differentiable, as the loop makes it."""
        whole = self.batch() if not parts else self.corpus.batch(range(len(self.examples)), 3)
        counts, head = objective.totals(whole.masks_N), head_of(self.student, whole.groups[0].ids_BT[:1], "student")
        found = [self._of(part, names, counts, head) for part in (whole.parts() if parts else [whole])]
        return torch.stack(found).sum()

    def _of(self, part: Batch, names: tuple[str, ...], counts: dict[str, int], head: Any) -> Tensor:
        read = onepass.Batch(
            None,
            part.target_N,
            part.masks_N,
            counts,
            facts_N=part.facts_N,
            heads=heads.of(self.student),
        )
        terms = [bound(name) for name in names]
        return onepass.total(hidden_of(self.student, part.groups), head, read, terms, [1.0] * len(terms), 5)[0]

    def oracle(self, late: int = 0, turned: bool = False, every: bool = False, of_last_row: bool = False) -> float:
        """From the definition alone: rows one by one, unpadded. Each argument makes one known mistake."""
        sums, count = 0.0, 0
        halt = heads.of(self.student)["halt"]
        weight, bias = halt.weight.detach().double().numpy()[0], float(halt.bias.detach())
        for example in self.examples:
            with torch.no_grad():
                out = self.student(input_ids=torch.tensor([example.ids]), output_hidden_states=True, use_cache=False)
            hidden_TH = out.hidden_states[-1][0].double().numpy()
            answer = example.masks["response"]
            for at in range(1, len(example.ids)):
                if not (answer[at] or every):
                    continue
                last = at + 1 == len(answer) or (not answer[at + 1] and not of_last_row)
                ends = answer[at] and last
                odds = float(weight @ hidden_TH[at - 1 + late]) + bias
                sums += float(np.logaddexp(0.0, odds if bool(ends) == turned else -odds))
                count += 1
        return sums / count


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_value_is_the_oracles(dtype: torch.dtype, near: float) -> None:
    bench = Headed(dtype)
    wanted = bench.oracle()
    assert abs(float(bench.total().detach()) - wanted) <= near * max(1.0, wanted)
    assert abs(float(bench.total(parts=True).detach()) - wanted) <= near * max(1.0, wanted)


@pytest.mark.parametrize(
    "mistake", [{"late": 1}, {"turned": True}, {"every": True}, {"of_last_row": True}], ids=lambda one: next(iter(one))
)
def test_each_mistake_gives_another_number(mistake: dict[str, Any]) -> None:
    bench = Headed()
    assert abs(bench.oracle(**mistake) - bench.oracle()) > 1e-3


def test_the_gradient_is_the_derivative_in_head_and_trunk() -> None:
    bench = Headed()
    bench.student.zero_grad(set_to_none=True)
    bench.total().backward()
    made = torch.Generator().manual_seed(9)
    parameters = list(bench.student.parameters())
    direction = [
        torch.randn(one.shape, generator=made, dtype=one.dtype) * one.detach().abs().mean() for one in parameters
    ]
    given = sum(
        float((one.grad * part).sum()) for one, part in zip(parameters, direction, strict=True) if one.grad is not None
    )
    ends = []
    # Transformers normalises in float32 whatever the weights are: a smaller step would measure its rounding
    for by in (1e-3, -1e-3):
        with nudged(bench.student, direction, by):
            ends.append(float(bench.total().detach()))
    assert math.isclose((ends[0] - ends[1]) / 2e-3, given, rel_tol=2e-3)
    named = dict(bench.student.named_parameters())
    assert all(float(named[f"heads.halt.{part}"].grad.norm()) > 0 for part in ("weight", "bias"))


def test_it_stands_beside_other_terms_and_is_not_diluted_by_them() -> None:
    bench = Headed()
    alone = [float(bench.total((name,)).detach()) for name in ("halt", "ce_truth", "tool_name")]
    assert math.isclose(float(bench.total(("ce_truth", "halt", "tool_name")).detach()), sum(alone), rel_tol=1e-12)


WRONG: dict[str, Callable[[Example, int], bool]] = {
    "of every row the last token": lambda example, at: at + 1 == len(example.ids),
    "the token before the end": lambda example, at: at + 2 == len(example.ids),
    "each token": lambda example, at: example.masks["response"][at],
    "nothing": lambda _example, _at: False,
}


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_another_label_is_noticed(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = WRONG[wrong]
    monkeypatch.setitem(globals(), "ends", lambda example: [float(said(example, at)) for at in range(len(example.ids))])
    bench = Headed()
    assert abs(float(bench.total().detach()) - bench.oracle()) > 1e-3


def test_self_evaluation_is_the_oracles_of_the_rows_that_are_judged() -> None:
    bench = Headed()
    head = heads.of(bench.student)["self_eval"]
    weight, bias = head.weight.detach().numpy()[0], float(head.bias.detach())
    losses = []
    for row, example in enumerate(bench.examples):
        with torch.no_grad():
            out = bench.student(input_ids=torch.tensor([example.ids]), output_hidden_states=True, use_cache=False)
        hidden_TH = out.hidden_states[-1][0].double().numpy()
        for at, judged in enumerate(example.masks["judged"]):
            odds = float(weight @ hidden_TH[at - 1]) + bias
            losses += [float(np.logaddexp(0.0, -odds if row % 4 == 0 else odds))] if judged else []
    assert abs(float(bench.total(("self_eval",)).detach()) - float(np.mean(losses))) <= 1e-12
    # rows that nobody judged, each row as right, and the labels turned: other numbers
    assert abs(float(bench.total(("self_eval",)).detach()) - float(bench.total().detach())) > 1e-3


class Turns:
    """A tokenizer of one token a byte; of a conversation two answers stand in one sequence."""

    def sequences(self, row: Any) -> list[Any]:
        prompt, response = row["prompt"].encode(), row["response"].encode()
        earlier = ((2, 5),) if row["prompt"].startswith("chat") else ()
        ids = [256, *prompt, *response, 258]
        offsets = [(at, at + 1) for at in range(len(response))]
        return [SimpleNamespace(ids=ids, prompt_tokens=len(prompt) + 1, earlier=earlier, offsets=offsets)]


def encoded(prompt: str, masks: list[str], **more: Any) -> Example:
    row: Any = {
        "id": "r",
        "prompt": prompt,
        "response": "yes.",
        "class": "",
        "spans": {"claims": [[0, 3]]},
        "source": "s",
    }
    return encode({**row, **more}, Turns(), masks, ["ends", "right"])[0]


def test_an_answer_ends_at_its_end_token_and_so_does_each_turn() -> None:
    one = encoded("ask", ["response"])
    assert one.facts["ends"] == [0.0] * 8 + [1.0]
    several = encoded("chat ab", ["response"])
    assert [at for at, end in enumerate(several.facts["ends"]) if end] == [4, 12]
    assert several.masks["response"][4]
    assert several.masks["response"][12]


@pytest.mark.parametrize("right", [True, False, None])
def test_from_a_wrong_answer_no_other_term_learns(right: bool | None) -> None:
    wanted = {} if right is None else {"wanted": {"right": right}}
    found = encoded("ask", ["response", "claims", "judged", "longer"], **wanted)
    # the end token is judged, too: the head is asked of the whole answer there
    assert found.masks["judged"] == [False] * 4 + [right is not None] * 5
    assert any(found.masks["response"]) == any(found.masks["claims"]) == (right is not False)
    assert found.facts["right"] == [float(right is True)] * 9


@pytest.mark.parametrize("right", ["yes", 1, None, []])
def test_what_is_no_verdict_is_refused(right: Any) -> None:
    row = {
        "id": "r",
        "prompt": "a",
        "response": "b",
        "class": "",
        "spans": {},
        "source": "s",
        "wanted": {"right": right},
    }
    with pytest.raises(Refusal, match="right must be true or false"):
        rows.checked(row, "train.jsonl:1")


def test_a_student_without_the_head_is_refused() -> None:
    bench = Headed()
    heads.detach(bench.student)
    with pytest.raises(Refusal, match="trains the head `halt`, and the student has none"):
        bench.total()
