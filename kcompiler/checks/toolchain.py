"""Versions that the spec's backends pin × known-good versions and known defects → what is untried, and what can bite.

The tables are data (`kcompiler/tables/{toolchain,errata}.yaml`). A defect that code of this project avoids, or that no
plan contains, is in the table for its readers and never reported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from kcompiler import tables
from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts import chunks
from kcompiler.facts.errata import within
from kcompiler.facts.rounding import rounded
from kcompiler.facts.runners import ways
from kcompiler.facts.teacher import weights_of
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.hardware import Targets
from kcompiler.tables import Applies, Erratum
from runtime import catalog
from runtime.contract import Backend, Step, Teacher
from runtime.contract.formats import TABLES
from runtime.contract.targets import UNITS

#: what every spec is lowered to, whatever its sections say, and the step that makes its teacher
PIPELINE = ("data", "tokenizer", "reach", "train", "probe", "export", "convert", "verify", "evaluate")


def backends(spec: Spec) -> Iterator[tuple[str, Backend]]:
    """(pointer, backend) of every step that the spec makes; the pipeline's own stand at `kind`."""
    teacher: Teacher = catalog.load("teachers", spec.teacher.source)
    used = [("/kind", name) for name in (*PIPELINE, teacher.step)]
    table = next((i for i, source in enumerate(spec.data.sources) if source.kind in TABLES), None)
    for pointer, weights in weights_of(spec):
        step = "read_gguf" if weights.packed else "fetch" if weights.repository else ""
        used += [(f"{pointer}/{weights.key}", step)] if step else []
    used += [("/verification/onnx", name) for name in ("write_onnx", "verify_onnx") if spec.verification.onnx]
    used += [(f"/steps/{i}/use", extra.use) for i, extra in enumerate(spec.steps)]
    seen: set[str] = set()
    for pointer, name in used:
        made: Step = catalog.load("steps", name)
        if made.backend not in seen and made.backend in catalog.names("backends"):
            seen.add(made.backend)
            yield pointer, catalog.load("backends", made.backend)
    for way in ways(spec):
        asking = {way.kind.backend, "gguf"} if way.from_plan == "gguf" else {way.kind.backend}
        for name in sorted(asking - seen):
            seen.add(name)
            yield f"{way.pointer}/use", catalog.load("backends", name)
    judge = spec.evaluation.judge
    if judge is not None and judge.server is not None:
        for name in ("http", "torch_http"):
            yield "/evaluation/judge/server", catalog.load("backends", name)
    if rounded(spec) is not None:
        yield "/teacher/dtype", catalog.load("backends", "torchao")
    if table is not None:
        yield f"/data/sources/{table}/kind", catalog.load("backends", spec.data.backend)


def _pins(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    known = tables.toolchain().distributions
    first: dict[str, tuple[str, str]] = {}
    for pointer, backend in backends(spec):
        for distribution, version in sorted(backend.requires.items()):
            name, other = first.setdefault(distribution, (backend.name, version))
            good = [one.version for one in known.get(distribution, [])]
            if other != version:
                yield tree.diagnostic(
                    "KC4812",
                    pointer,
                    f"two backends of this spec pin {distribution} differently",
                    label=f"`{backend.name}` pins {version}, `{name}` pins {other}",
                    help="use steps whose backends agree: one run has one toolchain",
                )
            elif version not in good:
                yield tree.diagnostic(
                    "KC4811",
                    pointer,
                    f"{distribution} {version} is not known to work",
                    severity="warning",
                    label=f"pinned by backend `{backend.name}`",
                    help=f"known-good: {', '.join(good)}" if good else "nothing is known of this distribution; test it",
                )


def concerned(spec: Spec, pins: Mapping[str, str]) -> Iterator[Erratum]:
    """The open errata that concern a spec under a toolchain."""
    for one in tables.errata().errata:
        inside = all(name in pins and within(pins[name], span) for name, span in one.toolchain.items())
        if one.applies is not None and inside and applies(one.applies, spec):
            yield one


def applies(when: Applies, spec: Spec) -> bool:
    """Whether every condition that is given holds."""
    a, targets = spec.student.architecture, spec.hardware.targets
    # who declares no target is taken to mean the unit that targets mean by default, where Core ML may compute on it;
    # weights of a rule are weights, too
    unit = Targets().compute_unit if targets is None else targets.compute_unit
    if targets is None and unit not in UNITS[spec.export.compute_units]:
        unit = UNITS[spec.export.compute_units][0]
    # who writes for the Neural Engine means it, whatever else is declared
    written = ("ane",) if spec.export.profile == "ane" else ()
    facts: dict[str, Collection[object]] = {
        "family": (a.family,),
        "weights": {spec.quantization.default.weights, *(rule.weights for rule in spec.quantization.rules)},
        "compute_unit": (unit, *written),
        "cache": (spec.shapes.decode.cache,),
        # of one length nothing is enumerated
        "strategy": (spec.export.strategy if len(spec.shapes.prefill) > 1 else "multifunction",),
        "risk_tier": (spec.risk_tier,),
    }
    listed = all(
        any(fact in getattr(when, name) for fact in found)
        for name, found in facts.items()
        if getattr(when, name) is not None
    )
    weights = chunks.largest(a, spec.export.chunks, spec.quantization, spec.quantization.islands)
    return (
        listed
        and (when.without_island is None or when.without_island not in spec.quantization.islands)
        and (when.tied is None or when.tied == a.tie_word_embeddings)
        and (when.vocab_over is None or a.vocab_size > when.vocab_over)
        and (when.weights_bytes_over is None or weights > when.weights_bytes_over)
    )


def _place(when: Applies | None) -> str:
    """The part of a spec that an erratum hangs on."""
    if when is not None and when.without_island is not None:
        return "/quantization"
    if when is not None and when.cache is not None:
        return "/shapes/decode/cache"
    if when is not None and when.strategy is not None:
        return "/export/strategy"
    if when is not None and when.vocab_over is not None:
        return "/tokenizer/vocab_size"
    return "/hardware/targets/compute_unit"


def _errata(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    pins = {name: version for _, backend in backends(spec) for name, version in backend.requires.items()}
    for one in concerned(spec, pins):
        versions = ", ".join(f"{name} {pins[name]}" for name in one.toolchain)
        yield tree.diagnostic(
            "KC4814" if one.severity == "error" else "KC4813",
            _place(one.applies),
            f"a known defect of {versions} concerns this spec: {one.concerns}",
            severity=one.severity,
            label=f"erratum {one.id}",
            detail=one.defect,
            help=one.workaround,
            notes=(
                f"{'reproduced' if one.verified else 'reported, not reproduced by us'}: {one.source}",
                f"noticed by: {one.detected_by}",
            ),
        )


CHECKS = (
    Check(_pins, "data", "teacher", "student", "steps", "evaluation", "verification"),
    Check(
        _errata,
        *(
            "data",
            "teacher",
            "steps",
            "student",
            "tokenizer",
            "hardware",
            "shapes",
            "quantization",
            "export",
            "evaluation",
            "verification",
        ),
        "risk_tier",
    ),
)
