"""A student cut from the teacher: one start, a teacher that has weights, sizes that agree, a vocabulary that shrinks;
and a run without training, which delivers weights that exist and compares them with the original."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import cuts
from kcompiler.facts.models import Unfit, Unreadable, said_of, same_number, teacher_architectures
from kcompiler.facts.teacher import folder_of, has_weights
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource
from runtime.contract.architecture import Architecture
from runtime.contract.cut import shape

#: what a shape has where nobody says it: the teacher's may be written in a spec as well
_UNSAID = {name: field.default for name, field in Architecture.model_fields.items() if not field.is_required()}
_CUT, _VOCABULARY = "/student/cut", "/student/cut/vocabulary"
_RANDOM = "random_init"


def _one_start(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if spec.student.cut is not None and spec.student.checkpoint is not None:
        yield tree.diagnostic(
            "KC4340",
            _CUT,
            "a student starts from one set of weights",
            on="key",
            label="cut from the teacher, and",
            help="remove `cut` or `checkpoint`",
            related=(tree.related("/student/checkpoint", "from these weights", "key"),),
        )


def _agrees(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Sizes that are written out beside a cut are those that it leaves."""
    cut = spec.student.cut
    if cut is None or spec.student.checkpoint is not None:
        return
    if not has_weights(spec):
        yield cuts.unknown(tree, Unfit(f"a teacher of source `{spec.teacher.source}` has no weights here"))
        return
    try:
        original = cuts.teacher(tree.get("/teacher"), world)
    except Unfit as reason:
        yield cuts.unknown(tree, reason)
        return
    except Unreadable:
        # what is not here is compared by the step that cuts
        return
    wrong = list(cuts.faults(tree, cut, original))
    yield from wrong
    own = spec.student.architecture
    # a width of heads that is not written out is channels / heads
    width = own.hidden_size // own.num_attention_heads
    written = {**said_of(own), "head_dim": own.head_dim or width}
    left = {**_UNSAID, "head_dim": width, **shape(original, cut)} if not wrong else {}
    for name, value in left.items():
        said = written[name]
        if said != value and not (isinstance(said, float) and same_number(said, value)):
            yield tree.diagnostic(
                "KC4343",
                f"/student/architecture/{name}",
                f"the cut leaves another {name} than the student has",
                label=f"{said}, the cut leaves {value}",
                help=f"write {value}, or `architecture: from cut`",
                related=(tree.related(_CUT, "this cut", "key"),),
            )


def _vocabulary(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    cut = spec.student.cut
    if cut is None or cut.vocabulary is None:
        return
    size, label, way = cut.vocabulary.size, "", ""
    asked = next(
        (one.name for one in spec.data.sources if isinstance(one, FileSource) and one.responses == "teacher"), ""
    )
    folder = folder_of(spec, world)
    width = folder.number("vocab_size") if folder else None
    model = folder.tokenizer.get("model") if folder else None
    # one without a type is read as BPE; one without a model is refused elsewhere
    kind = (isinstance(model, dict) and model.get("type")) or "BPE"
    if spec.tokenizer.source != "teacher":
        label, way = f"tokenizer.source is `{spec.tokenizer.source}`", "write `tokenizer.source: teacher`"
    elif size != spec.tokenizer.vocab_size:
        label = f"{size:,} ids are kept, tokenizer.vocab_size is {spec.tokenizer.vocab_size:,}"
        way = f"write `tokenizer.vocab_size: {size}`, or leave it out"
    elif width is not None and size >= width:
        label, way = f"{size:,} of {width:,} ids", f"write less than {width}, or remove `vocabulary`"
    elif asked:
        label = f"source `{asked}` has no responses: the ids that the teacher's answers use are not known"
        way = "remove `vocabulary`, or name rows that hold the answers"
    elif kind != "BPE":
        label, way = f"its tokenizer is of kind {kind}, only BPE is reduced", "remove `vocabulary`"
    if label:
        yield tree.diagnostic(
            "KC4344", _VOCABULARY, "the teacher's vocabulary cannot be reduced so", on="key", label=label, help=way
        )


def _started(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A student of random weights is its own baseline from random weights."""
    if not spec.training.stages or spec.student.checkpoint is not None or spec.student.cut is not None:
        return
    if _RANDOM in spec.evaluation.baselines:
        yield tree.diagnostic(
            "KC4350",
            f"/evaluation/baselines/{spec.evaluation.baselines.index(_RANDOM)}",
            "the student itself starts from random weights",
            label="would be trained twice",
            help=f"remove `{_RANDOM}`, or start the student from weights: student.checkpoint or student.cut",
            related=(tree.related("/student", "no `checkpoint` and no `cut` here", "key"),),
        )


def _something(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if spec.training.stages:
        return
    if spec.student.checkpoint is None and spec.student.cut is None:
        yield tree.diagnostic(
            "KC4345",
            "/training/stages",
            "nothing is trained, and the student has no weights to start with",
            label="random weights would be delivered",
            help="name weights in student.checkpoint, or write a stage",
            related=(tree.related("/student", "no `checkpoint` and no `cut` here", "key"),),
        )
    if spec.evaluation.baselines:
        yield tree.diagnostic(
            "KC4346",
            "/evaluation/baselines",
            "a baseline is the same student trained otherwise, and nothing is trained",
            label="nothing to train",
            help="remove `baselines`",
            related=(tree.related("/training/stages", "no stage"),),
        )
    if getattr(spec.teacher.params, "dtype", "fp32") != "fp32":
        yield tree.diagnostic(
            "KC4352",
            "/teacher/dtype",
            "the original would be rounded before anything is judged by it",
            label="nothing learns from it, so that nothing is saved",
            help="remove `dtype`",
            related=(tree.related("/training/stages", "no stage"),),
        )
    made_here = next(teacher_architectures(spec), None) is not None
    if made_here or not has_weights(spec):
        yield tree.diagnostic(
            "KC4347",
            "/teacher/source",
            "nothing is trained, so that the package is judged against the original, and this teacher is none",
            label="would be trained here" if made_here else "has no weights here",
            help="name the original as the teacher: `source: hf`, with the same model as student.checkpoint",
            related=(tree.related("/training/stages", "no stage"),),
        )


CHECKS = (
    Check(_one_start, "student"),
    Check(_agrees, "student", "teacher"),
    Check(_vocabulary, "student", "teacher", "tokenizer"),
    Check(_started, "student", "training", "evaluation"),
    Check(_something, "student", "teacher", "training", "evaluation"),
)
