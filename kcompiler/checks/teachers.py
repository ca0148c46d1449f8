"""Teachers that answer instead of being loaded, and weights that lie elsewhere: pins, prices and what they allow.

What is not in the project cannot be measured while compiling. It has to be declared (a commit, a number of parameters,
a price, a bound on missing answers), and the step that meets it proves the declaration or refuses.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from fractions import Fraction
from urllib.parse import urlsplit

from kcompiler.checks import Check, World
from kcompiler.checks.signals import answers
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.models import ANOTHER, LACKED, Unfit, head_dim, of_config, said_of, same_number, total
from kcompiler.facts.paths import kind, located
from kcompiler.facts.record import Recorded, recorded
from kcompiler.facts.rows import readable
from kcompiler.facts.sizes import teacher_parameters
from kcompiler.facts.teacher import IN_TEXT, SHOWN, apart, folder_at, folder_of, of_teacher, weights_of
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime import catalog
from runtime.contract.hosted import LEAST_LOGPROBS, Hosted, Reached, Server
from runtime.contract.splits import TEST
from runtime.contract.weights import REMOTE

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def _pins(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for pointer, weights in weights_of(spec):
        if weights.packed:
            continue
        remote = weights.place.startswith(REMOTE)
        if remote and not _REPOSITORY.match(weights.repository):
            yield tree.diagnostic(
                "KC4207",
                f"{pointer}/model",
                "this names no repository of the Hub",
                label="not hf:ORG/NAME",
                help="write it as in hf:mistralai/Mixtral-8x7B-Instruct-v0.1",
            )
        if remote == weights.revision.startswith("sha256:"):
            what = "a repository is pinned by its commit" if remote else "a folder is pinned by its tree digest"
            yield tree.diagnostic(
                "KC4207",
                f"{pointer}/revision",
                what,
                label="40 hex digits are wanted" if remote else "sha256:… is wanted",
                help="take the commit from the repository's history; a branch or a tag can be moved"
                if remote
                else "`kcompiler pin SPEC` writes it",
            )
        if remote and weights.stated is None:
            yield tree.diagnostic(
                "KC4207",
                pointer,
                "weights that are not in the project must say how many parameters they have",
                on="key",
                label="no `parameters`",
                help="write the exact number; memory is computed from it, and the import refuses any other",
            )


def _servers(spec: Spec) -> Iterator[tuple[str, str, Reached]]:
    """(pointer, what it is, how it is reached) of every model behind a server."""
    if isinstance(spec.teacher.params, Hosted):
        yield "/teacher", "teacher", spec.teacher.params
    for i, runner in enumerate(spec.evaluation.runners):
        if isinstance(runner.params, Server):
            yield f"/evaluation/runners/{i}", "runner", runner.params
    judge = spec.evaluation.judge
    if judge is not None and judge.server is not None:
        yield "/evaluation/judge/server", "judge", judge.server


def _endpoint(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for pointer, what, params in _servers(spec):
        yield from _reached(tree, pointer, what, params)


def _reached(tree: Tree, pointer: str, what: str, params: Reached) -> Iterator[Diagnostic]:
    parts = urlsplit(params.base_url)
    here = _is_local(parts.hostname or "")
    if params.insecure:
        if here or (parts.scheme == "https" and params.api_key is not None):
            yield tree.diagnostic(
                "KC4228",
                f"{pointer}/insecure",
                "nothing is insecure here",
                on="key",
                label="this machine is asked" if here else "it is asked over https and with a key",
                help="remove `insecure`",
            )
        return
    if parts.scheme == "http" and not here:
        yield tree.diagnostic(
            "KC4208",
            f"{pointer}/base_url",
            "prompts and key would cross the network in the clear",
            label="http, and not to this machine",
            help="write https://…; in a network of your own, `insecure: true` allows it",
        )
    if params.api_key is None and not here:
        yield tree.diagnostic(
            "KC4208",
            f"{pointer}/base_url",
            f"a hosted {what} is asked with a key",
            label="no `api_key` in this section",
            help="write `api_key: env:NAME`, the name of the environment variable that holds it; a server in a network "
            "of your own may have none with `insecure: true`",
        )


def _priced(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A price that nobody has written is no price of zero: the bound on what is spent would hold nothing back."""
    for pointer, what, params in _servers(spec):
        if _is_local(urlsplit(params.base_url).hostname or ""):
            continue
        prices = ("usd_per_million_input", "usd_per_million_output")
        lacking = [key for key in prices if f"{pointer}/{key}" not in tree.values]
        if lacking:
            yield tree.diagnostic(
                "KC4218",
                f"{pointer}/base_url",
                f"a hosted {what} without a price",
                label=f"no {' and no '.join(f'`{key}`' for key in lacking)} in this section",
                help="write what the service charges for a million tokens, or 0 when asking costs nothing",
                related=(tree.related("/budgets/usd", "this bound would hold nothing back"),),
            )


def _likeliest(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Fewer likeliest tokens than choices: some choice will have no log-probability."""
    params = spec.teacher.params
    if not isinstance(params, Hosted) or "choices" not in spec.teacher.signals:
        return
    for i, suite in enumerate(spec.evaluation.suites):
        choices = getattr(suite.params, "choices", ())
        if LEAST_LOGPROBS <= params.top_logprobs < len(choices):
            yield tree.diagnostic(
                "KC4220",
                "/teacher/top_logprobs",
                "fewer likeliest tokens are asked for than there are choices",
                severity="warning",
                label=f"{params.top_logprobs} tokens for {len(choices)} choices",
                help="ask for more: other tokens than the choices are among the likeliest, too; 20 is the usual limit",
                related=(tree.related(f"/evaluation/suites/{i}/use", f"chooses among {', '.join(choices)}"),),
            )


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def prompts_of(spec: Spec, world: World) -> tuple[list[str], list[str]]:
    """The distinct prompts that are learnt from or validated by, as far as they can be read here, and the sources that
    cannot."""
    read = {one.index: one for one in readable(spec.data, world) if not one.content.wrong}
    found: dict[str, None] = {}
    unread = []
    for index, source in enumerate(spec.data.sources):
        if source.split == TEST:
            continue
        if index not in read:
            unread.append(f"`{source.name}`")
            continue
        for row in read[index].content.rows:
            if spec.data.shares.split_of(source.split, row.prompt) != TEST:
                found[row.prompt] = None
    return list(found), unread


def _evaluated(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if not answers(spec):
        return
    for i, suite in enumerate(spec.evaluation.suites):
        if "teacher" in catalog.load("suites", suite.use).runners:
            yield tree.diagnostic(
                "KC4211",
                f"/evaluation/suites/{i}/use",
                f"suite `{suite.use}` questions the teacher, and this teacher's weights are not here",
                label="needs the runner `teacher`",
                help="take a suite that judges the student alone, such as choice with the teacher's accuracy pinned, "
                "or a teacher of source hf",
                related=(tree.related("/teacher/source", "this one only answers"),),
            )


def _responses(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A row has one response: the data's own, or the teacher's."""
    for s, stage in enumerate(spec.training.stages):
        losses = [catalog.load("losses", term.term) for term in stage.losses]
        text = next((t for t, loss in enumerate(losses) if "text" in loss.needs), None)
        if text is None:
            continue
        for t, loss in enumerate(losses):
            if "text" in loss.needs:
                continue
            spans = loss.mask != "response"
            if spans or not loss.needs:
                why = f"supervises `{loss.mask}` of the data's response" if spans else "supervises the data's response"
                yield tree.diagnostic(
                    "KC4212",
                    f"/training/stages/{s}/losses/{t}/term",
                    "two terms of one stage want different responses of a row",
                    label=why,
                    help="train the two in stages of their own, the second `from` the first",
                    related=(
                        tree.related(
                            f"/training/stages/{s}/losses/{text}/term", "this one puts the teacher's answer there"
                        ),
                    ),
                )


def _record(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    if spec.teacher.source != "recorded":
        return
    path = located(spec.teacher.path, world)
    if path is None or kind(path) != "file":
        return
    record = recorded(path)
    if record is None:
        return
    if record.wrong is not None:
        yield tree.diagnostic(
            "KC4213",
            "/teacher/path",
            "the recorded answers cannot be used",
            label=f"{record.wrong.place}: {record.wrong.reason}",
            help=f"{record.wrong.action}; a line holds `prompt`, `text` and, for multiple choice, `choices` with "
            "log-probabilities",
        )
        return
    yield from _covered(spec, tree, world, record)


def _covered(spec: Spec, tree: Tree, world: World, record: Recorded) -> Iterator[Diagnostic]:
    if "choices" in spec.teacher.signals and not any(answer.choices for answer in record.answers.values()):
        yield tree.diagnostic(
            "KC4213",
            f"/teacher/signals/{spec.teacher.signals.index('choices')}",
            "no recorded answer has choices",
            label="nothing gives this signal",
            help="record log-probabilities of the choices, or remove the signal",
        )
    prompts, unread = prompts_of(spec, world)
    if unread or not prompts:
        return
    lost = [prompt for prompt in prompts if prompt not in record.answers]
    allowed = Fraction(str(spec.teacher.allow_missing))
    if Fraction(len(lost), len(prompts)) > allowed:
        yield tree.diagnostic(
            "KC4213",
            "/teacher/path",
            "the record does not answer the rows that are trained on",
            label=f"{len(lost):,} of {len(prompts):,} prompts have no answer, {float(allowed):.1%} may lack one",
            detail=f"the first: {lost[0][:60]!r}",
            help="record the rest, or declare a higher teacher.allow_missing",
        )


def _start(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    if spec.tokenizer.source == "student" and spec.student.checkpoint is None:
        yield tree.diagnostic(
            "KC4214",
            "/tokenizer/source",
            "a student that starts from random weights brings no tokenizer",
            label="there is none to take",
            help="name the weights in student.checkpoint, or write `source: train`",
        )
    if spec.tokenizer.source == "student" or spec.student.checkpoint is None or spec.student.migrate is not None:
        return
    taken = spec.tokenizer.source == "teacher" and of_teacher(spec) is not None
    different = apart(spec, world) if taken else ["a new one"]
    if different:
        yield tree.diagnostic(
            "KC4214",
            "/tokenizer/source",
            "the student's weights were trained on their own tokenizer",
            label=f"`{spec.tokenizer.source}` gives its ids another meaning",
            help="write `source: student`"
            + (f", and {IN_TEXT}" if of_teacher(spec) is not None else "")
            + "; or `student.migrate`, which gives these weights the ids of the spec's tokenizer",
            notes=tuple(different[:SHOWN]) if taken else (),
            related=(tree.related("/student/checkpoint", "these weights", "key"),),
        )


def _shape(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """What a spec says of the weights it starts from must be what their config.json says."""
    folder = folder_at(spec.student.checkpoint, world)
    if folder is None or not folder.config:
        return
    try:
        found = of_config(folder.config)
        way = "write `architecture: from checkpoint`"
    except Unfit as reason:
        why, way = {"family": (str(reason), spec.student.architecture.family)}, ANOTHER
    else:
        said = said_of(spec.student.architecture)
        theirs = {"head_dim": None, **dict.fromkeys(LACKED), **found}
        # a head's width that is written out and the one that follows from the others are one
        theirs["head_dim"] = theirs["head_dim"] or found["hidden_size"] // max(1, found["num_attention_heads"])
        said["head_dim"] = head_dim(spec.student.architecture)
        why = {name: (value, said[name]) for name, value in theirs.items() if not _equal(value, said[name])}
    for name, (value, ours) in why.items():
        yield tree.diagnostic(
            "KC4315",
            f"/student/architecture/{name}",
            "the student does not have the shape of the weights it starts from",
            label=f"{ours} here, the checkpoint's config.json: {value}",
            help=way,
            related=(tree.related(f"/student/checkpoint/{spec.student.checkpoint.key}", "these weights"),)
            if spec.student.checkpoint is not None
            else (),
        )


def _equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return same_number(one, other)
    return one == other


def _larger(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A teacher that was made elsewhere and is not larger has no more capacity to teach from."""
    student, folder = total(spec.student.architecture), folder_of(spec, world)
    weights, stated = of_teacher(spec), getattr(spec.teacher.params, "parameters", None)
    key = weights.key if weights is not None else "source"
    count = teacher_parameters(folder) if folder is not None else stated if isinstance(stated, int) else 0
    if 0 < count < student:
        yield tree.diagnostic(
            "KC4216",
            "/teacher/parameters" if folder is None else f"/teacher/{key}",
            "the teacher is smaller than the student",
            severity="warning",
            label=f"{count:,} parameters, the student has {student:,}",
            help="take a larger teacher or a smaller student",
        )


CHECKS = (
    Check(_pins, "teacher", "student"),
    Check(_endpoint, "teacher", "evaluation"),
    Check(_priced, "teacher", "budgets", "evaluation"),
    Check(_likeliest, "teacher", "evaluation"),
    Check(_evaluated, "teacher", "evaluation"),
    Check(_responses, "training"),
    Check(_record, "teacher", "data"),
    Check(_start, "tokenizer", "student", "teacher", "training"),
    Check(_shape, "student"),
    Check(_larger, "teacher", "student"),
)
