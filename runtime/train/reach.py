"""Terms, a few short rows and the student as it starts → each term alone: what it promises, and what its gradient
reaches: the operation `reach`.

The rows go the way that training goes: encoded, grouped, through the student's trunk, its head and the one loss path.
Only the teacher is made up, from a seed. One gradient of one parameter exists at a time.

Letters: N supervised tokens, H hidden width, V vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime.contract import Context, Refusal
from runtime.contract import report as facts
from runtime.contract.heads import PREFIX, tensors
from runtime.contract.layers import STATES
from runtime.contract.objective import Top
from runtime.contract.rows import Row, answered, read
from runtime.data.encode import Example, encode
from runtime.models import build, heads, tokenizer
from runtime.models.tokenizer import Tokenizer
from runtime.steps.reach import ReachParams
from runtime.steps.train import Term
from runtime.train import layers, objective, onepass, promises
from runtime.train.batches import Batch, Corpus
from runtime.train.layers import Read
from runtime.train.loop import deterministic
from runtime.train.matching import Matched, Matching
from runtime.train.objective import Bound, Choices, Side
from runtime.train.promises import Finding
from runtime.train.teaching import gathered, head_of

#: sequences that a mask is tried on, and how many that have it are looked at to find short ones
EACH, LOOKED_AT = 2, 64
#: width of the made-up teacher
WIDTH = 8
#: supervised tokens whose logits exist at one time
CHUNK = 128
#: a tensor of one of several experts: which of them a token goes to, the router says
EXPERT = re.compile(r"((?:.*\.)?experts)\.\d+\.")


def _answer(row: Row) -> Row:
    """A row that the teacher is to answer has no response yet: its own prompt stands in for it."""
    return row if row["response"] or "messages" in row else answered(row, row["prompt"])


def _short(examples: Iterable[tuple[str, Example]], masks: Sequence[str], longest: int) -> list[tuple[str, Example]]:
    """For each mask the shortest of the first sequences that supervise one of its tokens, which is not their first."""
    found: dict[str, list[tuple[str, Example]]] = {mask: [] for mask in masks}
    for name, example in examples:
        if len(example.ids) <= longest:
            for mask, chosen in found.items():
                if len(chosen) < LOOKED_AT and any(example.masks[mask]) and not example.masks[mask][0]:
                    chosen.append((name, example))
        if all(len(chosen) == LOOKED_AT for chosen in found.values()):
            break
    shortest = {mask: sorted(chosen, key=lambda one: len(one[1].ids))[:EACH] for mask, chosen in found.items()}
    for mask, chosen in shortest.items():
        if not chosen:
            raise Refusal(
                f"no row of at most {longest} tokens has a `{mask}` span, and a loss term supervises nothing else",
                place="train.jsonl",
                action="remove the term, or give rows with such spans",
                code="KR0128",
            )
    # a sequence that several masks have chosen stands once
    return list({id(one[1]): one for chosen in shortest.values() for one in chosen}.values())


def _examples(
    path: Path, words: Tokenizer, masks: Sequence[str], facts_read: Sequence[str]
) -> Iterator[tuple[str, Example]]:
    for row in read(path):
        for example in encode(_answer(row), words, masks, facts_read):
            yield row["id"], example


def batch_of(path: Path, words: Tokenizer, terms: Sequence[Bound], longest: int) -> Batch:
    """The rows of the trial. Raises Refusal where a term has no token in the whole split."""
    if not path.is_file():
        raise Refusal("the dataset has no training split", place=path.name, action="lower data.held_out")
    masks = sorted({bound.loss.mask for bound in terms})
    facts_read = sorted({fact for bound in terms for fact in bound.facts})
    chosen = _short(_examples(path, words, masks, facts_read), masks, longest)
    corpus = Corpus([name for name, _ in chosen], [example for _, example in chosen], longest, words.pad_id)
    return corpus.batch(range(len(corpus)))


def _teacher(tokens: int, width: int) -> tuple[Side, Choices]:
    """Made-up hidden states and head, and choices at every supervised token."""
    made = torch.Generator().manual_seed(11)
    head = nn.Linear(WIDTH, width, bias=False).requires_grad_(False)
    head.weight.copy_(torch.randn(width, WIDTH, generator=made))
    hidden_NH = torch.randn(tokens, WIDTH, generator=made)
    ids_NM = torch.arange(min(promises.CHOICES, width)).expand(tokens, -1)
    return Side(hidden_NH, head), Choices(ids_NM, head(hidden_NH).log_softmax(-1).gather(-1, ids_NM))


def _matching(student: PreTrainedModel, bound: Bound) -> Matching | None:
    """A term over layers beside a made-up teacher, of a width of its own where a matrix brings the student's to it."""
    reads = bound.loss.layers
    if reads is None:
        return None
    mine = layers.shape_of(student)
    pairs = reads.pairs(bound.params, mine.layers, mine.layers)
    deepest = max(mine.layers, *(pair.teacher for pair in pairs))
    # it sees what the student sees; the real one is asked before the first step
    seen = {pair.teacher: mine.windows[pair.student - 1] for pair in pairs if 0 < pair.student <= mine.layers}
    windows = tuple(seen.get(layer) for layer in range(1, deepest + 1))
    theirs = replace(mine, layers=deepest, width=WIDTH if reads.projects else mine.width, windows=windows)
    found = Matching([bound], mine, theirs, 11)
    if found.student.attention:
        layers.attend(student, "student")
    return found


def _layers(matching: Matching, bound: Bound, inside: Read, tokens: int, width: int) -> Read:
    """Made-up layers of a teacher: states, and maps over the keys that the student sees."""
    made = torch.Generator().manual_seed(13)
    states = {layer: torch.randn(tokens, width, generator=made) for layer in sorted(matching.teacher.states)}
    maps: dict[int, Tensor] = {}
    for pair in matching.pairs[bound.name] if matching.teacher.attention else []:
        mine_NAK = inside.attention[pair.student].detach()
        drawn_NAK = torch.rand(mine_NAK.shape, generator=made) * (mine_NAK > 0)
        maps[pair.teacher] = drawn_NAK / drawn_NAK.sum(-1, keepdim=True)
    return Read(states, maps)


@dataclass(frozen=True, slots=True)
class Reached:
    """Gradient of one unweighted term over all parameters: its norm, and the tensors that it moves."""

    norm: float
    moved: frozenset[str]


def gradient_of(student: PreTrainedModel, head: nn.Linear, bound: Bound, batch: Batch) -> Reached:
    """What the term's gradient reaches in the student. Each tensor's gradient is let go as soon as it was measured."""
    norms: dict[str, float] = {}

    def note(name: str, parameter: Tensor) -> None:
        assert parameter.grad is not None
        norms[name] = float(parameter.grad.double().norm())
        parameter.grad = None

    hooks = [
        parameter.register_post_accumulate_grad_hook(lambda tensor, name=name: note(name, tensor))
        for name, parameter in student.named_parameters()
        if parameter.requires_grad
    ]
    matching = _matching(student, bound)
    wanted = layers.NOTHING if matching is None else matching.student
    hooks += layers.listen(student, wanted)
    try:
        hidden_NH, inside = gathered(student, batch.groups, wanted=wanted)
        matched = None
        if matching is not None:
            width = WIDTH if bound.loss.layers is not None and bound.loss.layers.projects else hidden_NH.shape[-1]
            matched = Matched(matching, inside, _layers(matching, bound, inside, len(batch.target_N), width))
        teacher, choices_N = _teacher(len(batch.target_N), head.out_features)
        denominators = objective.totals(batch.masks_N)
        top_N = promises.read_of(bound, teacher.head(teacher.hidden_NH)) if bound.of_top else None
        given = onepass.Batch(
            teacher,
            batch.target_N,
            batch.masks_N,
            denominators,
            choices_N,
            top_N if isinstance(top_N, Top) else None,
            matched,
            batch.facts_N,
            heads.of(student),
        )
        onepass.total(hidden_NH, head, given, [bound], [1.0], CHUNK)[0].backward()
    finally:
        for hook in hooks:
            hook.remove()
    moved = frozenset(name for name, norm in norms.items() if norm != 0.0)
    return Reached(math.hypot(*norms.values()) if norms else 0.0, moved)


def _read(student: PreTrainedModel, bound: Bound) -> tuple[set[int], set[int]]:
    """Tensors, by their identity, that a term over layers reads, and those of which it reads one at least: queries and
    keys of a layer whose map it compares, by whatever names."""
    found, reads, trunk = layers.layers_of(student), bound.loss.layers, student.base_model
    assert reads is not None
    deepest = max(pair.student for pair in reads.pairs(bound.params, len(found), len(found)))
    if reads.signal == STATES and deepest == len(found):
        return {id(one) for one in trunk.parameters()}, set()
    whole = deepest if reads.signal == STATES else deepest - 1
    below = [student.get_input_embeddings(), *found[:whole]]
    some = [] if reads.signal == STATES else found[whole].parameters()
    return {id(one) for module in below for one in module.parameters()}, {id(one) for one in some}


def _missed(student: PreTrainedModel, reached: Reached, bound: Bound | None = None) -> list[str]:
    """Trainable tensors that the gradient does not reach and that the term reads, which is all where it reads logits.
    Of a layer's experts it has to reach one."""
    named = [(name, one) for name, one in student.named_parameters() if one.requires_grad]
    # a head of its own is trained by the terms that name it
    names = [name for name, _ in named if not name.startswith(PREFIX)]
    if bound is not None and bound.loss.head:
        trunk = {id(one) for one in student.base_model.parameters()}
        own = tensors(bound.loss.head, int(student.config.hidden_size))
        names = [name for name, one in named if id(one) in trunk or name in own]
    if bound is not None and bound.loss.layers is not None:
        whole, some = _read(student, bound)
        names = [name for name, one in named if id(one) in whole]
        either = [name for name, one in named if id(one) in some]
        names += either if reached.moved.isdisjoint(either) else []
    groups = {found[1] for name in reached.moved if (found := EXPERT.match(name))}
    return [
        name
        for name in names
        if name not in reached.moved and not ((found := EXPERT.match(name)) and found[1] in groups)
    ]


def _of_model(student: PreTrainedModel, reached: Reached, count: int, bound: Bound | None = None) -> list[Finding]:
    missed = _missed(student, reached, bound)
    if not math.isfinite(reached.norm):
        return [Finding("finite", reached.norm, False, "its gradient in the student is not")]
    named = ", ".join(f"`{name}`" for name in islice(missed, 3))
    more = f"{len(missed)} of {count} tensors are left out: {named}{', …' if len(missed) > 3 else ''}"
    return [Finding("reaches", float(len(missed)), not missed, more)]


def _told(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "check": one.check,
            "difference": facts.measured(one.value, "1"),
            "passed": facts.measured(one.passed, "bool"),
        }
        for one in findings
    ]


def _named(terms: Sequence[Bound]) -> Iterator[tuple[str, Bound]]:
    """Each term with a name of its own: one that several stages give other parameters is counted."""
    seen: dict[str, int] = {}
    for bound in terms:
        seen[bound.name] = seen.get(bound.name, 0) + 1
        yield bound.name if seen[bound.name] == 1 else f"{bound.name}-{seen[bound.name]}", bound


def _bound(params: ReachParams) -> list[Bound]:
    """What is left to what is measured later is tried in each way it may come out."""
    found: list[Bound] = []
    for one in params.terms:
        term = Term(term=one.term, version=one.version, weight=1.0, params=one.params, semantics=one.semantics)
        found += objective.bind([term], of_top=params.of_top)[0].options()
    return found


def _student(takes: Mapping[str, Path], params: ReachParams, words: Tokenizer, seed: int) -> PreTrainedModel:
    if params.architecture is None:
        return build.load(takes["from"], attention="sdpa")
    special = {"pad": words.pad_id, "bos": words.bos_id, "eos": words.eos_id}
    return build.build(params.architecture, seed, special, attention="sdpa")


def reach(takes: Mapping[str, Path], params: ReachParams, ctx: Context) -> None:
    """Operation `reach`. Raises Refusal, which names the loss, for the first promise of a term that is not kept."""
    terms = _bound(params)
    words = tokenizer.load(takes["tokenizer"])
    found: dict[str, dict[str, Any]] = {}
    # before any model is built
    promised = [promises.tried(bound, words.vocab_size) for bound in terms]
    for bound, findings in zip(terms, promised, strict=True):
        promises.admit(bound.name, findings)
    batch = batch_of(takes["dataset"] / "train.jsonl", words, terms, params.max_length)
    with deterministic(ctx.seed, params.threads):
        student = _student(takes, params, words, ctx.seed)
        if student.config.vocab_size != words.vocab_size:
            raise Refusal(
                f"the student has {student.config.vocab_size} embedding rows, the tokenizer {words.vocab_size} tokens",
                action="give both one vocab_size; nothing is cut or filled up",
            )
        count = sum(parameter.requires_grad for parameter in student.parameters())
        heads.attach(student, {bound.loss.head for bound in terms if bound.loss.head}, ctx.seed)
        head = head_of(student, batch.groups[0].ids_BT[:1], "student")
        for (name, bound), findings in zip(_named(terms), promised, strict=True):
            ctx.progress(len(found), len(terms), name)
            reached = gradient_of(student, head, bound, batch)
            of_model = _of_model(student, reached, count, bound)
            promises.admit(bound.name, of_model)
            tokens = int(batch.masks_N[bound.loss.mask].sum())
            beside = bound.loss.layers is not None or bool(bound.loss.head)
            found[name] = {
                "checks": _told([*findings, *of_model]),
                "gradient_norm": facts.measured(reached.norm, bound.unit, n=tokens),
                # of a term over layers or another head, those that it reads: one that it misses is refused above
                "tensors_reached": facts.rate(len(reached.moved), len(reached.moved) if beside else count),
            }
    data = {
        "terms": found,
        "rows": facts.measured(len(batch.rows), "row"),
        "tokens": facts.measured(batch.tokens, "token"),
    }
    ctx.report("report", data, fingerprints=facts.fingerprints(dict(takes), ctx.digests))
    ctx.say(f"{len(found)} loss terms keep what they promise and reach the student")
