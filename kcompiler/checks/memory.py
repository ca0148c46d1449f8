"""Bytes of weights, caches, training and teacher against the machine: what cannot fit is refused, arithmetic shown.

Serving is compared with what the system lets a model keep resident, training and the teacher with all the memory of
the machine that trains (`hardware.training_profile`, else the target). Only lower bounds refuse; what would not fit in
an unfavourable case is a warning.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from kcompiler import tables
from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts import layers, rounding, sizes
from kcompiler.facts.layers import reads_weights
from kcompiler.facts.models import teacher_architectures, total
from kcompiler.facts.placing import chunk_tokens, device, device_of_machine
from kcompiler.facts.teacher import folder_of, of_teacher
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.hardware import Hardware
from kcompiler.spec.training import Stage
from kcompiler.tables import Machine
from runtime import catalog
from runtime.contract import footprint
from runtime.contract.qat import rounded
from runtime.contract.recipe import FLOAT32
from runtime.contract.rounding import BITS
from runtime.contract.targets import TARGETS

_MB = 10**6
_LOGITS = "logits"
_RARE = "rows of the longest length may be rare, but nothing forbids them"


def _known(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    profiles = tables.hardware().profiles
    for key in ("profile", "training_profile"):
        name = getattr(spec.hardware, key)
        if name is not None and name not in profiles:
            yield tree.diagnostic(
                "KC4701",
                f"/hardware/{key}",
                f"no machine is called `{name}`",
                label="not in the table of hardware",
                help=did_you_mean(name, profiles),
            )


def _runs(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    machine = target(spec.hardware)
    if machine is not None and machine.system != "macos":
        yield tree.diagnostic(
            "KC4718",
            "/hardware/profile",
            "a Core ML student is meant for a machine that has no Core ML",
            label=f"{machine.title} runs {machine.system.capitalize()}",
            help="name the Apple machine that it is for; the one that trains stands in hardware.training_profile",
        )


def target(hardware: Hardware) -> Machine | None:
    """The machine that the student is meant for."""
    return tables.hardware().profiles.get(hardware.profile)


def trainer(spec: Spec) -> tuple[Machine | None, str]:
    """The machine that trains, and where the spec names it. Where none is named that is the target, unless models run
    on a device that the target does not have: then nothing is known of the machine."""
    hardware = spec.hardware
    if hardware.training_profile is None:
        elsewhere = device(spec) not in ("cpu", device_of_machine(hardware.profile))
        return None if elsewhere else target(hardware), "/hardware/profile"
    return tables.hardware().profiles.get(hardware.training_profile), "/hardware/training_profile"


def _bytes(figure: tables.Figure) -> int | None:
    return None if figure.value is None else int(figure.value)


def _serving(spec: Spec) -> list[tuple[str, int]]:
    """What serving cannot do without, part by part."""
    a, context, sessions = spec.student.architecture, spec.shapes.decode.context, spec.hardware.concurrency
    parts = sizes.weights(a, spec.quantization, spec.quantization.islands)
    per_token, longest = sizes.kv_per_token(a), max(spec.shapes.prefill)
    # before iOS 18 decode is a package of its own, with weights of its own
    packages = 1 if TARGETS[spec.export.deployment].several else 2
    twice = ", in each of two packages" if packages > 1 else ""
    return [
        (f"weights as stored{twice}: {', '.join(f'{name} {sizes.text(n)}' for name, n in parts.items() if n)}",
         packages * sum(parts.values())),
        (f"caches: {sessions} session{'s' * (sessions > 1)} × {context:,} tokens × {per_token:,} B "
         "(2 × layers × key/value heads × head width × 2)", sessions * context * per_token),
        (f"prefill of {longest:,} tokens: logits, new keys and values, mask", sizes.prefill_outputs(a, longest)),
    ]  # fmt: skip


def _shown(parts: list[tuple[str, int]]) -> tuple[str, ...]:
    whole = sum(size for _, size in parts)
    return (*(f"{name} = {sizes.text(size)}" for name, size in parts), f"total {sizes.text(whole)}")


def _serves(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    machine = target(spec.hardware)
    limit = None if machine is None else _bytes(machine.model_bytes) or _bytes(machine.memory_bytes)
    if machine is None or limit is None:
        return
    parts, a = _serving(spec), spec.student.architecture
    needed = sum(size for _, size in parts)
    if needed > limit:
        one = needed - parts[1][1] + parts[1][1] // spec.hardware.concurrency
        fits = (limit - needed + parts[1][1]) // (parts[1][1] // spec.hardware.concurrency)
        way = f"serve {fits} sessions" if one <= limit else "take a smaller student, shorter shapes or INT8 weights"
        yield tree.diagnostic(
            "KC4702",
            "/hardware/profile",
            "the student does not fit the machine it is meant for",
            label=f"{sizes.text(needed)} needed, {machine.title} keeps {sizes.text(limit)} resident",
            help=f"{way}, or name a larger machine",
            notes=_shown(parts),
        )
        return
    longest = max(spec.shapes.prefill)
    scores = sizes.prefill_scores(a, longest)
    if needed + scores > limit:
        yield tree.diagnostic(
            "KC4703",
            f"/shapes/prefill/{spec.shapes.prefill.index(longest)}",
            "this prefill fits only if the device never holds a whole layer's attention scores",
            severity="warning",
            label=f"scores and softmax take {sizes.text(scores)} more",
            detail=f"2 × {a.num_attention_heads} heads × {longest:,}² × 2 B; {sizes.text(limit - needed)} are left",
            help="drop this length, take fewer sessions, or expect the measurement to fail",
            notes=_shown(parts),
        )


def _reads_logits(stages: Sequence[Stage]) -> bool:
    """Whether a loss compares the student's logits with a teacher's."""
    return any(_LOGITS in catalog.load("losses", term.term).needs for stage in stages for term in stage.losses)


def _state(spec: Spec, world: World) -> list[tuple[str, int]]:
    """What training holds from the first step to the last: the student's state and, for losses over logits, the
    teacher's weights in the floats that are declared. Nothing where nothing is trained."""
    if not spec.training.stages:
        return []
    count = total(spec.student.architecture)
    parts = [
        (
            f"student: 16 B (weights, gradients, two moments) × {count:,} parameters",
            sizes.training_state(spec.student.architecture),
        )
    ]
    if any(stage.qat is not None for stage in spec.training.stages):
        tensors = list(sizes.tensors(spec.student.architecture))
        names = {*rounded(spec.quantization, tensors)}
        beside = sum(math.prod(one.shape) for one in tensors if one.name in names)
        parts.append((f"student: 4 B × {beside:,} parameters, rounded as the package has them", FLOAT32 * beside))
    # what the teacher says is read where it is stored: no training holds the teacher
    if any(map(reads_weights, spec.training.stages)) and spec.teacher.store is None:
        parts += [_held(spec, number, world) for _, number, _, _ in _teachers(spec, world)]
    return parts


def _held(spec: Spec, number: int, world: World) -> tuple[str, int]:
    """A teacher of so many parameters as it is held while the student learns."""
    weights = rounding.rounded(spec)
    if weights is not None:
        how = f"teacher: {number:,} parameters, {BITS[weights]} bits each in linear layers"
        return how, rounding.held(weights, number, folder_of(spec, world))
    held = sizes.HELD[getattr(spec.teacher.params, "dtype", "fp32")]
    return f"teacher: {held} B × {number:,} parameters", held * number


def _learns(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    machine, pointer = trainer(spec)
    limit = None if machine is None else _bytes(machine.memory_bytes)
    if machine is None or limit is None or not spec.training.stages:
        return
    # a teacher that does not even fit alone is a mistake of its own
    state = [part for i, part in enumerate(_state(spec, world)) if i == 0 or part[1] <= limit]
    needed = sum(size for _, size in state)
    if needed > limit:
        yield tree.diagnostic(
            "KC4704",
            pointer,
            "the student cannot be trained on this machine",
            label=f"{sizes.text(needed)} needed, {machine.title} has {sizes.text(limit)}",
            help="name the machine that trains as hardware.training_profile, or train a smaller student",
            notes=_shown(state),
        )
        return
    for i, stage in enumerate(spec.training.stages):
        parts = [*state, *_batch(spec, stage, stage.max_length or max(spec.shapes.prefill), world)]
        needed = sum(size for _, size in parts)
        if needed > limit:
            # how long the rows are is not known; that each has a token is
            never = sum(size for _, size in [*state, *_batch(spec, stage, 1, world)]) > limit
            yield tree.diagnostic(
                "KC4707",
                f"/training/stages/{i}/{'batch_size' if stage.micro_batch is None else 'micro_batch'}",
                f"a batch of {'any' if never else 'the longest'} rows of stage `{stage.name}` does not fit the "
                "machine that trains",
                severity="error" if never else "warning",
                label=f"{sizes.text(needed)} needed, {machine.title} has {sizes.text(limit)}",
                help=f"{_smaller(spec, stage, limit - sum(size for _, size in state), world)}; "
                + ("even rows of one token would not fit" if never else _RARE),
                notes=_shown(parts),
            )


def _smaller(spec: Spec, stage: Stage, left: int, world: World) -> str:
    """What to set so that a pass of the longest rows takes no more than is `left`: as little as possible is changed."""
    length = stage.max_length or max(spec.shapes.prefill)
    rows = stage.micro_batch or stage.batch_size
    for checkpointed in sorted({stage.gradient_checkpointing, True}):
        tried = stage.model_copy(update={"gradient_checkpointing": checkpointed})

        def fits(count: int, tried: Stage = tried) -> bool:
            parts = _batch(spec, tried.model_copy(update={"micro_batch": count}), length, world)
            return sum(size for _, size in parts) <= left

        also = " and gradient_checkpointing: true" * (checkpointed and not stage.gradient_checkpointing)
        if also and fits(rows):
            return "set gradient_checkpointing: true, which changes no gradient"
        if fits(1):
            most = bisect.bisect_left(range(1, rows), True, key=lambda count: not fits(count))
            return f"set micro_batch: {most}{also}, which changes no gradient"
    return "lower max_length: not even one such row fits, with gradient_checkpointing neither"


def _passes(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A setting of the passes that cannot have an effect."""
    for i, stage in enumerate(spec.training.stages):
        rows = stage.micro_batch or stage.batch_size
        if rows > stage.batch_size:
            yield tree.diagnostic(
                "KC4723",
                f"/training/stages/{i}/micro_batch",
                f"a pass of {rows:,} rows is larger than the batch",
                label=f"stage `{stage.name}` has {stage.batch_size:,} rows in a batch",
                help="remove micro_batch: without it the whole batch goes through the models at once",
            )
        elif stage.packing and rows == 1:
            yield tree.diagnostic(
                "KC4723",
                f"/training/stages/{i}/packing",
                "there is nothing to pack: one row goes through the models at a time",
                label=f"stage `{stage.name}` has 1 row in a pass",
                help="remove packing, or let more rows through at once",
            )


def _bootstraps(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A teacher that is trained here, before the student and without checkpointing of activations."""
    machine, _ = trainer(spec)
    limit = None if machine is None else _bytes(machine.memory_bytes)
    rows = getattr(spec.teacher.params, "batch_size", None)
    if machine is None or limit is None or not isinstance(rows, int):
        return
    length = max(spec.shapes.prefill)
    for _, a in teacher_architectures(spec):
        parts = [
            (f"teacher: 16 B (weights, gradients, two moments) × {total(a):,} parameters", sizes.training_state(a)),
            (f"activations of {rows:,} × {length:,} tokens", footprint.activations(a, rows * length, row=length)),
        ]
        # without its batch it does not fit either: that is said of the teacher
        if parts[0][1] <= limit < parts[0][1] + parts[1][1]:
            yield tree.diagnostic(
                "KC4707",
                "/teacher/batch_size",
                "a batch of the longest rows of the teacher's training does not fit the machine that trains",
                severity="warning",
                label=f"{sizes.text(parts[0][1] + parts[1][1])} needed, {machine.title} has {sizes.text(limit)}",
                help=f"lower teacher.batch_size; {_RARE}",
                notes=_shown(parts),
            )


def _batch(spec: Spec, stage: Stage, length: int, world: World) -> list[tuple[str, int]]:
    """What a pass of rows of `length` tokens takes beside the state."""
    compared = layers.compared(spec, stage, world)
    rows = stage.micro_batch or stage.batch_size
    a, tokens = spec.student.architecture, rows * length
    chunk, models = min(tokens, chunk_tokens(spec, stage)), 1 + _reads_logits([stage])
    return [
        (f"activations of {rows:,} × {length:,} tokens"
         f"{', of one layer beside the inputs of all' * stage.gradient_checkpointing}",
         footprint.activations(a, tokens, checkpointed=stage.gradient_checkpointing, length=length * stage.packing,
                               row=length, eager=compared.maps > 0)),
        (f"logits of one chunk{', of student and teacher' * (models > 1)}: {chunk:,} × {a.vocab_size:,} × 4 B"
         f"{' × 2' * (models > 1)}",
         footprint.chunk_logits(a, tokens, chunk, models)),
        *([(_layers_said(compared), sum(compared.parts(a, tokens, length, tokens).values()))]
          if compared != footprint.NO_LAYERS else []),
    ]  # fmt: skip


def _layers_said(compared: footprint.Compared) -> str:
    """What terms over layers compare, in words."""
    counts = (("states", compared.states), ("attention maps", compared.maps))
    what = ", ".join(f"{count} pairs of {name}" for name, count in counts if count)
    return f"layers: {what}" + (f", {compared.projected:,} numbers of their matrices" if compared.projected else "")


def _teacher(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """A local teacher is loaded whole, in float32, however few of its parameters are active per token, and in whatever
    floats it is held afterwards: it is examined first."""
    machine, pointer = trainer(spec)
    limit = None if machine is None else _bytes(machine.memory_bytes)
    if machine is None or limit is None:
        return
    for where, count, each, how in _teachers(spec, world):
        if each * count > limit:
            yield tree.diagnostic(
                "KC4705",
                where,
                f"the teacher does not fit {machine.title}",
                label=f"{sizes.text(each * count)} needed, {sizes.text(limit)} there",
                detail=f"{count:,} parameters × {each} B ({how}); even at 4 bits {sizes.text(count // 2)}",
                help="ask a remote teacher or replay recorded answers (losses over text or choices need no logits), "
                f"take a teacher of at most {limit // each:,} parameters, or name a larger hardware.training_profile",
                related=(tree.related(pointer, "this machine would hold it"),),
            )


def _teachers(spec: Spec, world: World) -> Iterator[tuple[str, int, int, str]]:
    """(pointer, parameters, bytes each, why so many) of every teacher that a machine of ours would hold."""
    for where, architecture in teacher_architectures(spec):
        yield where, total(architecture), 4 * FLOAT32, "trained here: weights, gradients and two moments"
    folder, weights = folder_of(spec, world), of_teacher(spec)
    if weights is None:
        return
    if folder is not None:
        yield f"/teacher/{weights.key}", sizes.teacher_parameters(folder), FLOAT32, "float32"
    elif weights.repository and weights.stated is not None:
        yield "/teacher/model", weights.stated, FLOAT32, "float32, as declared"


def _declared(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    declared = spec.hardware.declared
    if declared is None:
        return
    serving, per_token = _serving(spec), sizes.kv_per_token(spec.student.architecture)
    computed = {
        "weights_mb": serving[:1],
        "kv_mb_per_token": [("2 × layers × key/value heads × head width × 2 B", per_token)],
        "serving_mb": serving,
        "training_mb": _state(spec, world),
    }
    for key, parts in computed.items():
        said: float | None = getattr(declared, key)
        actual = Fraction(sum(size for _, size in parts), _MB)
        allowed = Fraction(str(declared.tolerance_percent)) / 100 * actual
        if said is None or abs(Fraction(str(said)) - actual) <= allowed:
            continue
        yield tree.diagnostic(
            "KC4706",
            f"/hardware/declared/{key}",
            "the budgeted memory is not what the model takes",
            label=f"computed {float(actual):,.4g} MB, {float(Fraction(str(said)) / actual - 1):+.1%} from it",
            help=f"declare {float(actual):.4g}, or change what is counted",
            notes=_shown(parts),
        )


CHECKS = (
    Check(_known, "hardware"),
    Check(_runs, "hardware"),
    Check(_serves, "hardware", "student", "shapes", "quantization", "export"),
    Check(_learns, "hardware", "student", "shapes", "training", "teacher", "execution", "quantization"),
    Check(_passes, "training"),
    Check(_bootstraps, "hardware", "teacher", "shapes", "execution"),
    Check(_teacher, "hardware", "teacher", "execution"),
    Check(_declared, "hardware", "student", "shapes", "quantization", "export", "training", "teacher"),
)
