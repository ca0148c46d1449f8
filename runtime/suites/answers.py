"""Held-out questions × models → whether only permitted answers are given, the right ones, in the right proportions.

Three things that one number cannot say. *Validity*: the greedy output is, letter by letter, one of the permitted
answers; one constant answer is wholly valid. *The row's own answer*: how likely each model finds it among the permitted
ones (`gold_nll`, in nats), how often it is the greedy output (`gold_match`), and how far this is above the best policy
that understands nothing, such as the proportions of the rows alone (`zoo`). *Proportions*: how far the mean
distribution of a model is from that of the rows (`distance`, total variation), and how large a share the most frequent
answer has (`top_share`).

An output with personal data that no permitted answer holds is not `privacy_ok`.

Each answer is a class besides (`by_answer`, `macro_f1`, `confusion`), and `preserved` says how often the package gives
the very answer of its checkpoint.

Where answers are random by nature, as an eight ball's, `gold_match` has a low ceiling and the other two decide; where a
question has one right answer all three do. Proportions are exact, not sampled: every runner scores every permitted
answer to every question, and the probabilities are divided by their sum. Divergence is KL(teacher ‖ model) over the
permitted answers, in nats per question.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field, field_validator

from runtime.contract import Params, Refusal, Runner, Suite, items, spool, zoo
from runtime.contract.conversation import Conversation
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics.paired import COMPARED, RUNNERS, Numbers, difference, lacking, not_numbers
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.data import personal
from runtime.data.classic import ANSWERS

Distribution = list[float]
_PER_QUESTION = "nat/question"
#: what stands in a table of confusion for an output that is no permitted answer
NOT_PERMITTED = "(none of them)"
#: nats by which a policy finds its own answer likelier than any other
_SURE = 20.0
#: outputs that are no answer and are shown
_QUOTED = 5


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


class Questions:
    """Distinct prompts in the order of the rows, each with the answers that rows give to it, by number. Raises Refusal
    for a row that is answered by none of the answers."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], params: AnswersParams) -> None:
        place = {answer: index for index, answer in enumerate(params.permitted())}
        self._golds = array("I")
        for row in rows:
            gold = place.get(str(row["response"]))
            if gold is None:
                raise Refusal(
                    f"row `{row['id']}` is answered by {str(row['response'])[:40]!r}, which is no permitted answer",
                    action="write it under `answers` of the suite, or correct the row",
                )
            self._golds.append(gold)
        self._groups = _alike(rows)
        #: the first row of each
        self.rows = items.first(spool.picked(rows, self._groups.firsts), params.limit)

    def __len__(self) -> int:
        return len(self.rows)

    def golds(self, at: int) -> list[int]:
        """The answers that rows give to one of them."""
        return [self._golds[row] for row in self._groups.members(at)]

    def subject(self, at: int) -> str:
        """The class of one of them."""
        return str(self.rows[at]["class"])


def _alike(rows: Sequence[Mapping[str, Any]]) -> spool.Groups:
    """Rows that ask the same."""

    def told(row: Mapping[str, Any]) -> str:
        prompt = prompt_of(row)
        return f"messages {prompt.text}" if isinstance(prompt, Conversation) else f"text {prompt}"

    return spool.Groups(map(told, rows))


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: AnswersParams) -> Sequence[Mapping[str, Any]]:
    """The first row of each question that a runner is asked."""
    asked = items.first(spool.picked(rows, _alike(rows).firsts), params.limit)
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
    parts = {
        "valid": valid,
        "own": own,
        "finite": not not_numbers(scores),
        "personal": [] if valid else personal.leaked(text, "\n".join([str(row["response"]), *answers])),
    }
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


def _logs(line: Mapping[str, Any]) -> list[float]:
    return [items.score_of(one).log_probability for one in line["output"]["scores"]]


def _shares(logs: Sequence[float]) -> tuple[Distribution, float]:
    """The distribution over the answers, and the mass that is on them."""
    top = max(logs)
    weights = [math.exp(log - top) for log in logs]
    total = sum(weights)
    # what rounding may add to a sum is no probability
    return [weight / total for weight in weights], min(1.0, math.exp(top + math.log(total)))


def _gold_nll(golds: Sequence[int], share: Distribution) -> float:
    """Nats that the rows' answers to a question cost."""
    return fmean(-math.log(share[gold]) if share[gold] > 0.0 else math.inf for gold in golds)


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


def _mean_of(values: spool.Sum | None, unit: str) -> dict[str, Any]:
    return measured(values.mean, unit, n=values.count) if values else unavailable("no items", unit)


def _rows_of(questions: Questions, count: int, answers: int) -> Distribution:
    """How the rows' answers to the first questions are distributed; each question counts once."""
    shares = [0.0] * answers
    for at in range(count):
        golds = questions.golds(at)
        for gold in golds:
            shares[gold] += 1 / len(golds) / count
    return [min(1.0, share) for share in shares]


class _Runner:
    """What one runner says and thinks of question after question.

    Kept of each question are what the rows' answers cost, the mass on all answers, and how far the teacher is, in eight
    bytes each: the intervals of comparisons need the first. Of distributions sums are kept."""

    def __init__(self, params: AnswersParams) -> None:
        self.answers, self._edges, start = params.permitted(), {}, 0
        for category, group in sorted(params.answers.items()):
            self._edges[category] = (start, start + len(group))
            start += len(group)
        self.count = self.valid = self.matches = self.private = 0
        self.wrong: list[str] = []
        #: (the row's own answer, what was said: None where it is not permitted) → how often
        self.said: Counter[tuple[str, str | None]] = Counter()
        self.numbers = Numbers()
        self.masses, self.nll = array("d"), array("d")
        self._columns = [spool.Sum() for _ in self.answers]
        #: class → category → its probability; class → how far from the teacher
        self.categories: dict[str, dict[str, spool.Sum]] = {}
        self.divergences, self.apart = spool.Sum(), dict[str, spool.Sum]()

    def add(self, line: items.Line, row: Mapping[str, Any], subject: str, golds: Sequence[int]) -> Distribution | None:
        """The next line. Gives its distribution, None where its scores are no numbers."""
        text = str(line["output"]["text"])
        valid = text in self.answers
        self.count += 1
        self.valid += valid
        self.private += not line["parts"]["personal"]
        self.matches += valid and text in {self.answers[gold] for gold in golds}
        self.wrong += [] if valid or len(self.wrong) >= _QUOTED else [text]
        self.said[str(row["response"]), text if valid else None] += 1
        self.numbers.add(map(items.score_of, line["output"]["scores"]))
        if self.numbers.why:
            return None
        share, mass = _shares(_logs(line))
        self.masses.append(mass)
        self.nll.append(_gold_nll(golds, share))
        for column, one in zip(self._columns, share, strict=True):
            column.add(one)
        mine = self.categories.setdefault(subject, {category: spool.Sum() for category in self._edges})
        for category, (low, high) in self._edges.items():
            mine[category].add(min(1.0, sum(share[low:high])))
        return share

    def from_teacher(self, subject: str, nats: float) -> None:
        """How far the teacher's distribution is from the one that was added last."""
        self.divergences.add(nats)
        self.apart.setdefault(subject, spool.Sum()).add(nats)

    def mean(self) -> Distribution:
        """Its mean distribution."""
        return [column.mean for column in self._columns]


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: AnswersParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.answers`. What a runner that is not there would show is `unavailable`.

    Raises Refusal for a row whose response is none of the permitted answers, ValueError for a line that is not what its
    output gives.
    """
    questions, answers = Questions(rows, params), params.permitted()
    asked = questions.rows

    def again(name: str, at: int, output: Any) -> items.Line:
        return judged(name, asked[at], output, params)

    def worth(at: int, line: Mapping[str, Any]) -> float:
        return -_gold_nll(questions.golds(at), _shares(_logs(line))[0])

    trivial = zoo.Weighed(_policies(questions, params), len(questions), again, worth, _PER_QUESTION)
    held, subjects = dict[str, _Runner](), dict[str, None]()
    for at, mine in items.walk(lines, asked, lambda name: len(select(rows, name, params)), again):
        subject, golds = questions.subject(at), questions.golds(at)
        subjects[subject] = None
        shares = {
            name: held.setdefault(name, _Runner(params)).add(line, asked[at], subject, golds)
            for name, line in mine.items()
        }
        teacher = shares.get("teacher")
        for name, share in shares.items():
            if teacher is not None and share is not None:
                held[name].from_teacher(subject, divergence(teacher, share))
        trivial.add(at)
    data: dict[str, Any] = {
        "questions": measured(len(questions), "question"),
        "answers": measured(len(answers), "answer"),
        **{name: {} for name in ("validity", "gold_match", "privacy_ok", "invalid_examples", "answer_mass")},
    }
    found: dict[str, _Runner] = {}
    why: dict[str, str] = {}
    for name in RUNNERS:
        if name not in held:
            why[name] = items.lacks(name, questions.rows)
            for each in ("validity", "gold_match", "privacy_ok"):
                data[each][name] = unavailable(why[name], "ratio")
            data["answer_mass"][name] = unavailable(why[name], "probability")
            continue
        one = held[name]
        data["validity"][name] = rate(one.valid, one.count)
        data["gold_match"][name] = rate(one.matches, one.count)
        data["privacy_ok"][name] = rate(one.private, one.count)
        data["invalid_examples"][name] = one.wrong
        if lack := one.numbers.why:
            why[name] = lack
            data["answer_mass"][name] = unavailable(lack, "probability")
        else:
            found[name] = one
            data["answer_mass"][name] = _mean(one.masses, "probability")
    data |= _classified(held, answers)
    by_name = items.by_runner(lines)
    both = zip(by_name.get("student", ()), by_name.get("coreml", ()), strict=False)
    same = bytearray(one["output"]["text"] == other["output"]["text"] for one, other in both)
    data["preserved"] = rate(sum(same), len(same))
    data["zoo"] = trivial.data(
        {name: array("d", (-value for value in one.nll)) for name, one in found.items()},
        lambda name: why[name],
        RUNNERS,
    )
    return data | _likelihoods(found, why) | _proportions(questions, subjects, found, why, params)


def _classified(held: Mapping[str, _Runner], answers: Sequence[str]) -> dict[str, Any]:
    """Each answer as a class: how often it is found, and how often it is said rightly; what is said in its place."""
    data: dict[str, Any] = {"by_answer": {}, "confusion": {}, "macro_f1": {}}

    def beside(answer: str) -> dict[str, Any]:
        if "teacher" not in held:
            return unavailable("no runner `teacher`", "ratio")
        said = held["teacher"].said
        return rate(said[answer, answer], sum(times for (gold, _), times in said.items() if gold == answer))

    for name, one in held.items():
        table: dict[str, Counter[str]] = {}
        of_gold, of_said = Counter[str](), Counter[str]()
        for (gold, said), times in one.said.items():
            table.setdefault(gold, Counter())[NOT_PERMITTED if said is None else said] += times
            of_gold[gold] += times
            if said is not None:
                of_said[said] += times
        hits = {answer: one.said[answer, answer] for answer in answers}
        scores = {}
        for answer in answers:
            if of_gold[answer]:
                tp, fp, fn = hits[answer], of_said[answer] - hits[answer], of_gold[answer] - hits[answer]
                counts = {"tp": tp, "fp": fp, "fn": fn}
                scores[answer] = measured(2 * tp / (2 * tp + fp + fn), "ratio", n=of_gold[answer], **counts)
        data["confusion"][name] = {
            gold: {place: measured(times, "question") for place, times in places.items()}
            for gold, places in table.items()
        }
        data["by_answer"][name] = {
            answer: {
                "recall": rate(hits[answer], of_gold[answer]),
                "precision": rate(hits[answer], of_said[answer]),
                "f1": f1,
                "recall_of_teacher": beside(answer),
            }
            for answer, f1 in scores.items()
        }
        data["macro_f1"][name] = _mean([f1["value"] for f1 in scores.values()], "1")
    return data


def policies(
    rows: Sequence[Mapping[str, Any]], _tools: Sequence[Any], params: AnswersParams
) -> dict[str, Sequence[dict[str, Any]]]:
    """What policies that understand nothing would say and score: `uniform` says nothing and finds all answers equally
    likely, `prior` finds each as likely as it is among the rows."""
    return _policies(Questions(rows, params), params)


def _policies(questions: Questions, params: AnswersParams) -> dict[str, Sequence[dict[str, Any]]]:
    answers, count = params.permitted(), len(questions)
    if not count:
        return {}
    golds = spool.picked(answers, array("I", (questions.golds(at)[0] for at in range(count))))
    shares = _rows_of(questions, count, len(answers))
    likely = [math.log(share) if share > 0.0 else -_SURE for share in shares]
    often = answers[shares.index(max(shares))]
    longest = max(answers, key=len)

    def says(text: str, logs: Sequence[float]) -> dict[str, Any]:
        return {"text": text, "scores": [{"log_probability": log, "tokens": 1} for log in logs]}

    def only(one: str) -> dict[str, Any]:
        return says(one, [0.0 if one == each else -_SURE for each in answers])

    drawn = zoo.by_prior(golds)
    return {
        zoo.GOLD: spool.Each(count, lambda at: only(golds[at])),
        "uniform": spool.same(says("", [0.0] * len(answers)), count),
        "prior": spool.Each(count, lambda at: says(drawn[at], likely)),
        "constant": spool.same(only(often), count),
        "longest": spool.same(only(longest), count),
    }


def _likelihoods(found: Mapping[str, _Runner], why: Mapping[str, str]) -> dict[str, Any]:
    """What the rows' own answers cost each model, and each comparison of two models by it."""
    data: dict[str, Any] = {
        "gold_nll": {
            name: unavailable(why[name], _PER_QUESTION) if name in why else _mean(found[name].nll, _PER_QUESTION)
            for name in RUNNERS
        }
    }
    worth = {name: array("d", (-value for value in one.nll)) for name, one in found.items()}
    for name, (better, worse) in COMPARED.items():
        lack = lacking(name, found, why)
        data[name] = (
            unavailable(lack, _PER_QUESTION) if lack else difference(worth[better], worth[worse], _PER_QUESTION)
        )
    return data


def _proportions(
    questions: Questions,
    subjects: Iterable[str],
    found: Mapping[str, _Runner],
    why: Mapping[str, str],
    params: AnswersParams,
) -> dict[str, Any]:
    """How the models' answers are distributed, against the rows' and against the teacher's."""
    data: dict[str, Any] = {name: {} for name in ("distance", "top_share", "kl")}
    size = len(params.permitted())
    data["top_share"]["rows"] = (
        measured(max(_rows_of(questions, len(questions), size)), "probability", n=len(questions))
        if len(questions)
        else unavailable("no items", "probability")
    )
    for name in RUNNERS:
        lack = why.get(name) or ("" if len(questions) else "no items")
        if lack:
            data["distance"][name] = data["top_share"][name] = unavailable(lack, "probability")
        else:
            n, mean = found[name].count, found[name].mean()
            data["distance"][name] = measured(distance(mean, _rows_of(questions, n, size)), "probability", n=n)
            data["top_share"][name] = measured(max(mean), "probability", n=n)
    subjects = sorted(subjects)
    for name in RUNNERS[1:]:
        lack = why.get("teacher") or why.get(name) or ""
        if lack:
            data["kl"][name] = {"all": unavailable(lack, _PER_QUESTION), "by_class": {}}
        else:
            one = found[name]
            data["kl"][name] = {
                "all": _mean_of(one.divergences, _PER_QUESTION),
                "by_class": {subject: _mean_of(one.apart.get(subject), _PER_QUESTION) for subject in subjects},
            }
    data["categories"] = {
        subject: {
            category: {
                name: _mean_of(one.categories.get(subject, {}).get(category), "probability")
                for name, one in found.items()
            }
            for category in params.answers
        }
        for subject in subjects
    }
    return data


SUITE = Suite(
    name="answers",
    version=5,
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
