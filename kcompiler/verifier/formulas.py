"""Data of a report that others in it give → where they do not: parts of a whole, intervals, tables. Standard library.

Each is what a schema names under `x-derived`; laws.py asks them, and holds those of two models compared.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from kcompiler.verifier import statistics
from kcompiler.verifier.datum import Datum, measured
from kcompiler.verifier.reading import text_at

Data = Mapping[str, Any]
_NEAR = 1e-9
_STUDENT = "Student t over items"
_SUMS = ("above_above", "below_below", "above_below")


def _names(data: Data, text: str) -> List[str]:
    """The models for which a `*` stands."""
    held = text_at(data, *text.partition(".*")[0].split("."))
    return sorted(held) if isinstance(held, dict) else []


def _for(text: str, name: str) -> List[str]:
    return text.replace("*", name).split(".")


def _shown(text: str, name: str) -> str:
    return "/" + text.replace(".", "/").replace("*", name)


def _every(data: Data, text: str, name: str) -> List[Any]:
    """All that a text with `[*]` leads to."""
    found: List[Any] = [data]
    for part in text.split("."):
        each, key = part.endswith("[*]"), part[:-3] if part.endswith("[*]") else part
        key = name if key == "*" else key
        found = [one[key] for one in found if isinstance(one, dict) and key in one]
        if each:
            found = [value for one in found if isinstance(one, dict) for value in one.values()]
    return found


def _number(found: Optional[Datum]) -> float:
    return float(found.value) if found is not None and found.value is not None else 0.0


def of_items(node: Any) -> bool:
    """Whether the ends of a mean are Student's of its `n` and `sd`."""
    n, sd, value, ends = node.get("n"), node.get("sd"), node.get("value"), (node.get("low"), node.get("high"))
    if node.get("interval") != _STUDENT or type(n) is not int or n < 2:
        return False
    if type(sd) not in (int, float) or sd < 0 or any(type(end) not in (int, float) for end in ends):
        return False
    half = statistics.t_quantile(0.975, n - 1) / math.sqrt(n) * sd
    slack = _NEAR * max(1.0, abs(value), half)
    return bool(abs(value - half - ends[0]) <= slack and abs(value + half - ends[1]) <= slack)


def _parts(data: Data, said: Data) -> Iterator[str]:
    for name in _names(data, said["whole"]):
        whole = text_at(data, *_for(said["whole"], name))
        if measured(whole) is None:
            continue
        there = _every(data, said["into"], name)
        parts = [one for one in there if measured(one) is not None]
        if said.get("overlap") and len(parts) < len(there):
            continue  # one was not measured: that is for rules to miss
        n = sum(one.get("n", 0) for one in parts)
        more = bool(said.get("overlap")) and n > whole["n"]
        for count in ("n", "k", "tp", "fn"):
            total = n if count == "n" else sum(one.get(count, 0) for one in parts)
            if count in whole and (total < whole[count] or (total > whole[count] and not more)):
                yield f"{_shown(said['whole'], name)}: its parts have other `{count}`"
        called = measured(text_at(data, *_for(said["besides"], name))) if "besides" in said else None
        if called is not None and not more:
            beside = whole["fp"] - sum(one.get("fp", 0) for one in parts)
            if beside < (called.k or 0) or (called.k == 0 and beside):
                yield f"{_shown(said['whole'], name)}: its parts have other `fp`"


def _reasons(data: Data, said: Data) -> Iterator[str]:
    for name in _names(data, said["into"]):
        whole, nodes = measured(text_at(data, *_for(said["whole"], name))), text_at(data, *_for(said["into"], name))
        found = {key: measured(node) for key, node in nodes.items()} if isinstance(nodes, dict) else {}
        if whole is None and not any(found.values()):
            continue
        n = whole.n if whole is not None else next(one.n for one in found.values() if one is not None)
        k = {key: one.k or 0 for key, one in found.items() if one is not None}
        every, own = sum(k.values()), "right" in said
        right = k.get(said["right"], 0) if own else (n or 0) - every
        if any(one is None or one.n != n for one in found.values()) or (own and every != n):
            yield f"{_shown(said['into'], name)}: not one reason of each answer"
        elif whole is not None and right != whole.k:
            yield f"{_shown(said['into'], name)}: another number of right answers"
        elif any(not _fits(data, one, name, k, n or 0) for one in said.get("counted", ())):
            yield f"{_shown(said['into'], name)}: something beside them counts otherwise"


def _fits(data: Data, due: Data, name: str, k: Mapping[str, int], n: int) -> bool:
    node = measured(text_at(data, *_for(due["of"], name)))
    if node is None:
        return True
    count = node.value if node.k is None else node.k
    if "with" in due:
        most = sum(k.get(one, 0) for one in due["with"])
    else:
        most = n - sum(k.get(one, 0) for one in due["without"])
    least = most - sum(k.get(one, 0) for one in due.get("perhaps", ()))
    return node.n == n and count is not None and least <= count <= most


def _pooled(data: Data, said: Data) -> Iterator[str]:
    for text in said["of"]:
        for name in _names(data, text):
            node = text_at(data, *_for(text, name))
            if measured(node) is not None and not _f1(node):
                yield f"{_shown(text, name)}: not the interval of its sums"


def _f1(node: Data) -> bool:
    aa, bb, ab = (node.get(one, -1) for one in _SUMS)
    if any(type(one) is not int for one in (aa, bb, ab)):
        return False
    n, a, b = node["n"], 2 * node["tp"], 2 * node["tp"] + node["fp"] + node["fn"]
    over = n * aa - a * a, n * bb - b * b, n * ab - a * b
    # what is right of an answer is an even part of its whole
    if aa % 4 or not 2 * a <= aa <= ab <= bb or bb < b or min(over[:2]) < 0 or over[2] ** 2 > over[0] * over[1]:
        return False
    ends, value = statistics.quotient(n, (a, b), (aa, bb, ab)), a / b
    if ends is None:
        return "low" not in node and "high" not in node
    low, high = max(0.0, min(ends[0], value)), min(1.0, max(ends[1], value))
    return statistics.near(node.get("low"), low) and statistics.near(node.get("high"), high)


def _classes(data: Data, said: Data) -> Iterator[str]:
    for name, node in data["validity"].items():
        valid = measured(node)
        if valid is None:
            continue
        table: Dict[str, Dict[str, int]] = {}
        for gold, row in data["confusion"].get(name, {}).items():
            table[gold] = {key: int(_number(measured(one))) for key, one in row.items()}
        n, none = sum(sum(row.values()) for row in table.values()), sum(r.get(said["none"], 0) for r in table.values())
        hits, matches = sum(row.get(gold, 0) for gold, row in table.items()), measured(data["gold_match"].get(name))
        if (n - none, n) != (valid.k, valid.n):
            yield f"/confusion/{name}: not of the questions that were answered"
        elif matches is not None and not hits <= (matches.k or 0) <= n - none:
            yield f"/gold_match/{name}: not what the table has"
        elif not _scores_of(data, name, table):
            yield f"/by_answer/{name}: not what the table gives"


def _scores_of(data: Data, name: str, table: Mapping[str, Mapping[str, int]]) -> bool:
    told, f1s = data["by_answer"].get(name, {}), []
    if set(told) != {gold for gold, row in table.items() if sum(row.values())}:
        return False
    for answer, scores in told.items():
        hit, gold = table[answer].get(answer, 0), sum(table[answer].values())
        taken = sum(row.get(answer, 0) for row in table.values())
        for part, of in (("recall", gold), ("precision", taken)):
            found = measured(scores[part])
            if (found is None) != (of == 0) or (found is not None and (found.k, found.n) != (hit, of)):
                return False
        own = measured(data["by_answer"].get("teacher", {}).get(answer, {}).get("recall"))
        beside = measured(scores["recall_of_teacher"])
        if (own is None) != (beside is None) or (own and beside and (own.k, own.n) != (beside.k, beside.n)):
            return False
        if tuple(scores["f1"].get(one) for one in ("tp", "fp", "fn", "n")) != (hit, taken - hit, gold - hit, gold):
            return False
        f1s.append(2 * hit / (gold + taken))
    mean = measured(data["macro_f1"].get(name))
    return mean is None or (mean.n == len(f1s) and statistics.near(_number(mean), math.fsum(f1s) / len(f1s)))


def _over(parts: Sequence[Optional[Datum]]) -> Tuple[int, float]:
    """Items behind parts, and the mean over all of them."""
    n = sum(one.n or 0 for one in parts if one is not None)
    total = math.fsum(_number(one) * (one.n or 0) for one in parts if one is not None)
    return n, total / n if n else 0.0


def _distributions(data: Data, said: Data) -> Iterator[str]:
    for name, node in data["kl"].items():
        whole = measured(node["all"])
        if whole is None:
            continue
        n, mean = _over([measured(one) for one in node["by_class"].values()])
        if n != whole.n or not statistics.near(_number(whole), mean):
            yield f"/kl/{name}: another mean than by class"
        for subject, one in node["by_class"].items():
            here = measured(one)
            for row in data["categories"].get(subject, {}).values():
                there = measured(row.get(name))
                if (here.n if here else None) != (there.n if there else None):
                    yield f"/kl/{name}/by_class/{subject}: of other questions"
    for name in data["answer_mass"]:
        yield from _shares(data, name)
    rows, worth = measured(data["top_share"]["rows"]), data["zoo"]["worth"]
    if rows is not None:
        size, sure = data["answers"]["value"], said["sure"]
        constant = -math.log(1 + (size - 1) * math.exp(-sure)) - sure * (1 - _number(rows))
        for policy, value in (("uniform", -math.log(size)), ("constant", constant)):
            if policy in worth and not statistics.near(worth[policy]["value"], value):
                yield f"/zoo/worth/{policy}: it is worth something else"
        prior = worth.get("prior", {}).get("value", -math.log(size))
        # less than the entropy of equally likely answers, more than that of the likeliest
        if not -math.log(size) - _NEAR <= prior <= math.log(_number(rows)) + _NEAR:
            yield "/zoo/worth/prior: it is no entropy of the rows' answers"


def _shares(data: Data, name: str) -> Iterator[str]:
    whole, top = measured(data["answer_mass"][name]), measured(data["top_share"].get(name))
    if whole is None:
        return
    held: Dict[str, List[Optional[Datum]]] = {}
    for subject, row in data["categories"].items():
        parts = [measured(one.get(name)) for one in row.values()]
        known = [one for one in parts if one is not None]
        if known and (len(known) < len(parts) or len({one.n for one in known}) > 1):
            yield f"/categories/{subject}: of other questions"
        elif known and not statistics.near(math.fsum(map(_number, known)), 1.0):
            yield f"/categories/{subject}: not a whole distribution"
        for category, part in zip(row, parts):
            held.setdefault(category, []).append(part)
    means = [_over(parts) for parts in held.values()]
    if any(n != whole.n for n, _ in means):
        yield "/categories: of other questions"
    elif top is not None and means:
        most = max(mean for _, mean in means)
        if _number(top) > most + _NEAR or (
            data["answers"]["value"] == len(means) and not statistics.near(_number(top), most)
        ):
            yield f"/top_share/{name}: not what its category has"
    rows, far = measured(data["top_share"]["rows"]), measured(data["distance"].get(name))
    if rows and top and far and rows.n == top.n and abs(_number(top) - _number(rows)) > _number(far) + _NEAR:
        yield f"/distance/{name}: nearer than their likeliest answers"


def _likelihood(data: Data, _said: Data) -> Iterator[str]:
    for name, node in data["runners"].items():
        nats, found = measured(node["nll"]), measured(node["perplexity"])
        if (nats is None) != (found is None) or (
            nats is not None and not statistics.near(_number(found), math.exp(_number(nats)))
        ):
            yield f"/runners/{name}/perplexity: not that of its nats"
    gain, again, wins = (measured(data[name]) for name in ("kd_gain", "kd_gain_bootstrap", "kd_wins"))
    if gain is None:
        return
    if again is None or again.n != gain.n or not statistics.near(_number(again), _number(gain)):
        yield "/kd_gain_bootstrap: another mean"
    if wins is None or wins.n != gain.n or (wins.k == 0 and _number(gain) > 0):
        yield "/kd_wins: not of this gain"
    elif wins.k == wins.n and _number(gain) <= 0:
        yield "/kd_wins: all are better, and the mean is not"


def _scores(data: Data, _said: Data) -> Iterator[str]:
    for score, runners in data["scores"].items():
        for name, node in runners.items():
            whole, mine, margin = (
                measured(one) for one in (data["preferred"][name], node["preferred"], node["margin"])
            )
            if whole is None or mine is None:
                wrong = whole is not mine
            else:
                wrong = mine.n != whole.n or (score == data["score"] and mine.k != whole.k)
                if margin is not None:
                    wrong = wrong or margin.n != mine.n or not of_items(node["margin"])
                    wrong = wrong or (_number(margin) <= 0 if mine.k == mine.n else mine.k == 0 and _number(margin) > 0)
            if wrong:
                yield f"/scores/{score}/{name}: not of what is preferred"
    for number, one in enumerate(data["worst"]):
        found = [measured(one["margins"].get(name)) for name in ("student", "coreml")]
        if all(_number(margin) > 0 for margin in found if margin is not None):
            yield f"/worst/{number}: it is ranked rightly"


_MADE_OF = ("n", "tokens", "right", "reference_tokens", "reference_right")


def _efficiency(data: Data, _said: Data) -> Iterator[str]:
    runners = data["runners"]
    reference = next((name for name in ("teacher", "ce_only") if name in runners), "none")
    if data["reference"] != reference:
        yield "/reference: another is compared with"
    for name, one in runners.items():
        k, n, found = one["right"]["k"], one["right"]["n"], measured(one["per_right"])
        if (found is None) != (k == 0):
            yield f"/runners/{name}/per_right: {k} answers are right"
        elif found is not None and (found.n != n or not statistics.near(one["per_right"]["value"], _took(one) / k)):
            yield f"/runners/{name}/per_right: not its tokens by its right answers"
        if one["score"]["tag"] == "measured" and (
            reference in ("none", name) or not _scored(one["score"], one, runners[reference])
        ):
            yield f"/runners/{name}/score: not of what its two sides took"


def _took(one: Data) -> int:
    return int(one["read"]["value"] + one["wrote"]["value"])


def _scored(node: Data, mine: Data, other: Data) -> bool:
    counts: List[Any] = [node.get(name) for name in _MADE_OF]
    if any(type(one) is not int or one < 1 for one in counts):
        return False
    n, tokens, right, its_tokens, its_right = counts
    for side, spent, k in ((mine, tokens, right), (other, its_tokens, its_right)):
        left, others, took = side["right"]["n"] - n, side["right"]["k"] - k, _took(side)
        if not 0 <= others <= left or k > n or spent > took or (spent == took) != (left == 0):
            return False
    return statistics.near(node["value"], 1 - (tokens / right) / (its_tokens / its_right))


FORMULAS: Mapping[str, Callable[[Data, Data], Iterator[str]]] = {
    "parts": _parts,
    "reasons": _reasons,
    "pooled": _pooled,
    "classes": _classes,
    "distributions": _distributions,
    "likelihood": _likelihood,
    "scores": _scores,
    "efficiency": _efficiency,
}
