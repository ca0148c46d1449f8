"""Held-out questions × models → whether only permitted answers are given, the right ones, in the right proportions.

Three things that one number cannot say. *Validity*: the greedy output is, letter by letter, one of the permitted
answers; one constant answer is wholly valid. *The row's own answer*: how likely each model finds it among the permitted
ones (`gold_nll`, in nats), how often it is the greedy output (`gold_match`), and how far this is above the best policy
that understands nothing, such as the proportions of the rows alone (`zoo`). *Proportions*: how far the mean
distribution of a model is from that of the rows (`distance`, total variation), and how large a share the most frequent
answer has (`top_share`).

Each answer is a class besides (`by_answer`, `macro_f1`, `confusion`), and `preserved` says how often the package gives
the very answer of its checkpoint.

Where answers are random by nature, as an eight ball's, `gold_match` has a low ceiling and the other two decide; where a
question has one right answer all three do. Proportions are exact, not sampled: every runner scores every permitted
answer to every question, and the probabilities are divided by their sum. Divergence is KL(teacher ‖ model) over the
permitted answers, in nats per question.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pydantic import Field, field_validator

from runtime.contract import Params, Refusal, Runner, Suite, items, zoo
from runtime.contract.conversation import Prompt
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics.paired import COMPARED, RUNNERS, difference, lacking, not_numbers
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.data.classic import ANSWERS

Distribution = list[float]
_PER_QUESTION = "nat/question"
#: what stands in a table of confusion for an output that is no permitted answer
NOT_PERMITTED = "(none of them)"
#: nats by which a policy finds its own answer likelier than any other
_SURE = 20.0


class AnswersParams(Params):
    answers: dict[str, list[str]] = Field(
        default_factory=lambda: {name: list(group) for name, group in ANSWERS.items()},
        min_length=1,
        description="Permitted answers by category, each once; rows that are answered otherwise are refused. The "
        "twenty of the generator eight_ball when absent.",
        examples=[{"yes": ["Yes", "Certainly"], "no": ["No"]}],
    )
    max_new_tokens: int = Field(
        default=24,
        ge=1,
        description="Longest output that is generated.",
        examples=[24],
        json_schema_extra=unit("token"),
    )
    limit: int = Field(
        default=0,
        ge=0,
        description="Questions for the runners in torch; 0 takes all.",
        examples=[0],
        json_schema_extra=unit("row"),
    )
    coreml_limit: int = Field(
        default=64,
        ge=1,
        description="Questions for the interpreted package.",
        examples=[64],
        json_schema_extra=unit("row"),
    )

    @field_validator("answers")
    @classmethod
    def _some_of_each(cls, answers: dict[str, list[str]]) -> dict[str, list[str]]:
        for category, group in answers.items():
            if not group:
                raise ValueError(f"category `{category}` has no answer")
            if not all(answer.strip() for answer in group):
                raise ValueError(f"category `{category}` has an empty answer")
        every = [answer for group in answers.values() for answer in group]
        twice = [answer for answer, times in Counter(every).items() if times > 1]
        if twice:
            raise ValueError(f"the answer {twice[0][:40]!r} stands there twice")
        if len(every) < 2:
            raise ValueError("one answer alone tells nothing apart")
        return answers

    def permitted(self) -> list[str]:
        """Every permitted answer, category by category in the order of their names: a lock keeps no other."""
        return [answer for _, group in sorted(self.answers.items()) for answer in group]


@dataclass(frozen=True, slots=True)
class Question:
    """A distinct prompt with the answers that rows give to it."""

    prompt: Prompt
    subject: str
    golds: list[int]


def questions_of(rows: Sequence[Mapping[str, Any]], params: AnswersParams) -> list[Question]:
    """Distinct prompts in the order of the rows. Raises Refusal for a row that is answered by none of the answers."""
    place = {answer: index for index, answer in enumerate(params.permitted())}
    found: dict[Prompt, Question] = {}
    for row in rows:
        gold = place.get(str(row["response"]))
        if gold is None:
            raise Refusal(
                f"row `{row['id']}` is answered by {str(row['response'])[:40]!r}, which is no permitted answer",
                action="write it under `answers` of the suite, or correct the row",
            )
        prompt = prompt_of(row)
        question = found.setdefault(prompt, Question(prompt, str(row["class"]), []))
        question.golds.append(gold)
    asked = list(found.values())
    return asked[: params.limit] if params.limit else asked


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: AnswersParams) -> Sequence[Mapping[str, Any]]:
    """The first row of each question that a runner is asked."""
    firsts: dict[Prompt, Mapping[str, Any]] = {}
    for row in rows:
        firsts.setdefault(prompt_of(row), row)
    asked = items.first(list(firsts.values()), params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def judged(runner: str, row: Mapping[str, Any], output: Any, params: AnswersParams) -> items.Line:
    """The line of one question: what was said, and the score of each answer. Raises ValueError for another output."""
    answers = params.permitted()
    if not isinstance(output, dict) or set(output) != {"text", "scores"} or not isinstance(output["scores"], list):
        raise ValueError("its output is not {text, scores}")
    text, scores = items.text_of(output["text"]), [items.score_of(one) for one in output["scores"]]
    if len(scores) != len(answers):
        raise ValueError(f"its output is not one score for each of {len(answers)} answers")
    valid, own = text in answers, text == row["response"]
    parts = {"valid": valid, "own": own, "finite": not not_numbers(scores)}
    return items.line(row, runner, output, parts, "" if own else "another_answer" if valid else "not_permitted")


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: AnswersParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each question."""
    prompts, answers = [prompt_of(row) for row in rows], params.permitted()
    texts = runner.generate(prompts, params.max_new_tokens)
    scores = runner.score([(prompt, answer) for prompt in prompts for answer in answers])
    size = len(answers)
    return [
        judged(
            name,
            row,
            {"text": text, "scores": [items.of_score(one) for one in scores[at * size : (at + 1) * size]]},
            params,
        )
        for at, (row, text) in enumerate(zip(rows, texts, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class Found:
    """What one runner thinks of each question: its distribution over the answers, and the mass that is on them."""

    shares: list[Distribution]
    masses: list[float]

    def gold_nll(self, questions: Sequence[Question]) -> list[float]:
        """Nats that the rows' answers cost, per question."""
        return [
            fmean(-math.log(share[gold]) if share[gold] > 0.0 else math.inf for gold in question.golds)
            for question, share in zip(questions, self.shares, strict=False)
        ]

    def mean(self) -> Distribution:
        return [fmean(column) for column in zip(*self.shares, strict=True)]


def _found(lines: Sequence[Mapping[str, Any]]) -> Found | str:
    """Distributions over the answers, or why there are none."""
    each = [[items.score_of(one) for one in line["output"]["scores"]] for line in lines]
    if why := not_numbers([score for scores in each for score in scores]):
        return why
    shares, masses = [], []
    for scores in each:
        logs = [score.log_probability for score in scores]
        top = max(logs)
        weights = [math.exp(log - top) for log in logs]
        total = sum(weights)
        shares.append([weight / total for weight in weights])
        # what rounding may add to a sum is no probability
        masses.append(min(1.0, math.exp(top + math.log(total))))
    return Found(shares, masses)


def divergence(teacher: Distribution, student: Distribution) -> float:
    """KL(teacher ‖ student) in nats; infinite where the student gives no mass to what the teacher may say."""
    total = 0.0
    for p, q in zip(teacher, student, strict=True):
        if p > 0.0:
            total += p * (math.log(p) - math.log(q)) if q > 0.0 else math.inf
    return max(total, 0.0)


def distance(one: Distribution, other: Distribution) -> float:
    """Total variation: the mass that would have to move, 0 (equal) to 1 (nothing in common)."""
    return min(1.0, sum(abs(p - q) for p, q in zip(one, other, strict=True)) / 2)


def _mean(values: Sequence[float], unit: str) -> dict[str, Any]:
    return measured(fmean(values), unit, n=len(values)) if values else unavailable("no items", unit)


def _rows_of(questions: Sequence[Question], answers: int) -> Distribution:
    """How the rows' answers are distributed; each question counts once."""
    shares = [0.0] * answers
    for question in questions:
        for gold in question.golds:
            shares[gold] += 1 / len(question.golds) / len(questions)
    return [min(1.0, share) for share in shares]


def _categories(questions: Sequence[Question], found: Mapping[str, Found], params: AnswersParams) -> dict[str, Any]:
    """Class → category → mean probability of each runner."""
    edges, start = {}, 0
    for category, group in sorted(params.answers.items()):
        edges[category] = (start, start + len(group))
        start += len(group)
    table: dict[str, Any] = {}
    for subject in sorted({question.subject for question in questions}):
        mine = [index for index, question in enumerate(questions) if question.subject == subject]
        table[subject] = {
            category: {
                name: _mean([min(1.0, sum(of.shares[i][low:high])) for i in mine if i < len(of.shares)], "probability")
                for name, of in found.items()
            }
            for category, (low, high) in edges.items()
        }
    return table


def _divergences(questions: Sequence[Question], teacher: Found, other: Found) -> dict[str, Any]:
    each = [divergence(p, q) for p, q in zip(teacher.shares, other.shares, strict=False)]
    by_class: dict[str, list[float]] = {question.subject: [] for question in questions}
    for value, question in zip(each, questions, strict=False):
        by_class[question.subject].append(value)
    return {
        "all": _mean(each, _PER_QUESTION),
        "by_class": {name: _mean(values, _PER_QUESTION) for name, values in sorted(by_class.items())},
    }


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: AnswersParams,
    seed: int,
) -> dict[str, Any]:
    """The data of report `eval.answers`. What a runner that is not there would show is `unavailable`.

    Raises Refusal for a row whose response is none of the permitted answers, ValueError for a line that is not what its
    output gives.
    """
    questions, answers = questions_of(rows, params), params.permitted()
    held = items.checked(
        lines,
        lambda name: select(rows, name, params),
        lambda name, row, output: judged(name, row, output, params),
    )
    data: dict[str, Any] = {
        "questions": measured(len(questions), "question"),
        "answers": measured(len(answers), "answer"),
        **{name: {} for name in ("validity", "gold_match", "invalid_examples", "answer_mass")},
    }
    found: dict[str, Found] = {}
    why: dict[str, str] = {}
    for name in RUNNERS:
        if name not in held:
            why[name] = items.lacks(name, questions)
            data["validity"][name] = data["gold_match"][name] = unavailable(why[name], "ratio")
            data["answer_mass"][name] = unavailable(why[name], "probability")
            continue
        outputs = [str(line["output"]["text"]) for line in held[name]]
        wrong = [output for output in outputs if output not in answers]
        golds = [[answers[gold] for gold in question.golds] for question in questions]
        matches = sum(output in mine for output, mine in zip(outputs, golds, strict=False))
        data["validity"][name] = rate(len(outputs) - len(wrong), len(outputs))
        data["gold_match"][name] = rate(matches, len(outputs))
        data["invalid_examples"][name] = wrong[:5]
        scored = _found(held[name])
        if isinstance(scored, str):
            why[name] = scored
            data["answer_mass"][name] = unavailable(scored, "probability")
        else:
            found[name] = scored
            data["answer_mass"][name] = _mean(scored.masses, "probability")
    texts = {name: [str(line["output"]["text"]) for line in mine] for name, mine in held.items()}
    data |= _classified([str(row["response"]) for row in select(rows, "", params)], texts, answers)
    data["zoo"] = zoo.weighed(
        policies(rows, _tools, params),
        select(rows, "", params),
        lambda name, row, output: judged(name, row, output, params),
        lambda mine: _worth(_found(mine), questions),
        {name: _worth(of, questions) for name, of in found.items()},
        lambda name: why[name],
        RUNNERS,
        _PER_QUESTION,
        seed,
    )
    return data | _likelihoods(questions, found, why, seed) | _proportions(questions, found, why, params)


def _classified(golds: Sequence[str], texts: Mapping[str, Sequence[str]], answers: Sequence[str]) -> dict[str, Any]:
    """Each answer as a class: how often it is found, and how often it is said rightly; what is said in its place; and
    how often the package says the very same as its checkpoint."""
    data: dict[str, Any] = {"by_answer": {}, "confusion": {}, "macro_f1": {}}
    for name, said in texts.items():
        pairs = Counter(zip(golds, said, strict=False))
        table: dict[str, dict[str, Any]] = {gold: {} for gold in answers if any(pair[0] == gold for pair in pairs)}
        for (gold, one), times in sorted(pairs.items()):
            place = one if one in answers else NOT_PERMITTED
            before = table[gold].get(place, measured(0, "question"))["value"]
            table[gold][place] = measured(before + times, "question")
        hits = {one: pairs[one, one] for one in answers}
        of_gold = Counter(gold for gold, _ in pairs.elements())
        of_said = Counter(one for _, one in pairs.elements())
        scores = {}
        for one in answers:
            if of_gold[one]:
                tp, fp, fn = hits[one], of_said[one] - hits[one], of_gold[one] - hits[one]
                counts = {"tp": tp, "fp": fp, "fn": fn}
                scores[one] = measured(2 * tp / (2 * tp + fp + fn), "ratio", n=of_gold[one], **counts)
        data["confusion"][name] = table
        data["by_answer"][name] = {
            one: {"recall": rate(hits[one], of_gold[one]), "precision": rate(hits[one], of_said[one]), "f1": f1}
            for one, f1 in scores.items()
        }
        data["macro_f1"][name] = _mean([f1["value"] for f1 in scores.values()], "1")
    both = list(zip(texts.get("student", ()), texts.get("coreml", ()), strict=False))
    data["preserved"] = rate(sum(one == other for one, other in both), len(both))
    return data


def _worth(found: Found | str, questions: Sequence[Question]) -> list[float]:
    """Nats of the rows' own answers, more of them better. Raises ValueError for scores that are none."""
    if isinstance(found, str):
        raise ValueError(found)
    return [-value for value in found.gold_nll(questions)]


def policies(
    rows: Sequence[Mapping[str, Any]], _tools: Sequence[Any], params: AnswersParams
) -> dict[str, list[dict[str, Any]]]:
    """What policies that understand nothing would say and score: `uniform` says nothing and finds all answers equally
    likely, `prior` finds each as likely as it is among the rows."""
    asked, answers = select(rows, "", params), params.permitted()
    golds = [str(row["response"]) for row in asked]
    if not golds:
        return {}
    shares = _rows_of(questions_of(rows, params), len(answers))
    likely = [math.log(share) if share > 0.0 else -_SURE for share in shares]
    often = answers[shares.index(max(shares))]
    longest = max(answers, key=len)

    def says(text: str, logs: Sequence[float]) -> dict[str, Any]:
        return {"text": text, "scores": [{"log_probability": log, "tokens": 1} for log in logs]}

    def only(one: str) -> list[float]:
        return [0.0 if one == each else -_SURE for each in answers]

    return {
        zoo.GOLD: [says(gold, only(gold)) for gold in golds],
        "uniform": [says("", [0.0] * len(answers)) for _ in golds],
        "prior": [says(text, likely) for text in zoo.by_prior(golds)],
        "constant": [says(often, only(often)) for _ in golds],
        "longest": [says(longest, only(longest)) for _ in golds],
    }


def _likelihoods(
    questions: Sequence[Question], found: Mapping[str, Found], why: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """What the rows' own answers cost each model, and each comparison of two models by it."""
    nll = {name: of.gold_nll(questions) for name, of in found.items()}
    data: dict[str, Any] = {
        "gold_nll": {
            name: unavailable(why[name], _PER_QUESTION) if name in why else _mean(nll[name], _PER_QUESTION)
            for name in RUNNERS
        }
    }
    for name, (better, worse) in COMPARED.items():
        lack = lacking(name, found, why)
        data[name] = (
            unavailable(lack, _PER_QUESTION)
            if lack
            else difference([-value for value in nll[better]], [-value for value in nll[worse]], _PER_QUESTION, seed)
        )
    return data


def _proportions(
    questions: Sequence[Question], found: Mapping[str, Found], why: Mapping[str, str], params: AnswersParams
) -> dict[str, Any]:
    """How the models' answers are distributed, against the rows' and against the teacher's."""
    data: dict[str, Any] = {name: {} for name in ("distance", "top_share", "kl")}
    size = len(params.permitted())
    data["top_share"]["rows"] = (
        measured(max(_rows_of(questions, size)), "probability", n=len(questions))
        if questions
        else unavailable("no items", "probability")
    )
    for name in RUNNERS:
        lack = why.get(name) or ("" if questions else "no items")
        if lack:
            data["distance"][name] = data["top_share"][name] = unavailable(lack, "probability")
        else:
            n, mean = len(found[name].shares), found[name].mean()
            data["distance"][name] = measured(distance(mean, _rows_of(questions[:n], size)), "probability", n=n)
            data["top_share"][name] = measured(max(mean), "probability", n=n)
    for name in RUNNERS[1:]:
        lack = why.get("teacher") or why.get(name) or ""
        if lack:
            data["kl"][name] = {"all": unavailable(lack, _PER_QUESTION), "by_class": {}}
        else:
            data["kl"][name] = _divergences(questions, found["teacher"], found[name])
    data["categories"] = _categories(questions, found, params)
    return data


SUITE = Suite(
    name="answers",
    version=3,
    params=AnswersParams,
    asks=frozenset({"generate", "score"}),
    runners=("teacher", "student"),
    figures=("validity.*", "gold_match.*", "gold_nll.*"),
    select=select,
    ask=ask,
    data_of=data_of,
    zoo=policies,
    permits=AnswersParams.permitted,
)
