"""Everything a spec names: does it exist, inside the project, in a form that cannot run code, as it was pinned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean, suggest
from kcompiler.facts import weights as lying
from kcompiler.facts.paths import kind, located, wrong_path
from kcompiler.facts.registry import faults
from kcompiler.facts.rows import MAX_BYTES, content_of, look
from kcompiler.facts.teacher import PICKLED, json_object, of_teacher
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource, GeneratorSource
from runtime import catalog, digest
from runtime.contract import shards
from runtime.contract.tables import size_of
from runtime.contract.weights import Weights

PACK_FILE = "pack.yaml"


def _data(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for i, source in enumerate(spec.data.sources):
        if isinstance(source, FileSource):
            if source.sha256 is None and source.bytes is None:
                wrong = list(wrong_path(tree, world, f"/data/sources/{i}/path", source.path, folder=source.folder))
                yield from wrong or _linked(tree, world, f"/data/sources/{i}/path", source)
            else:
                yield from _elsewhere(tree, world, f"/data/sources/{i}", source)
    if spec.data.tools:
        yield from wrong_path(tree, world, "/data/tools", spec.data.tools, folder=False)


def _linked(tree: Tree, world: World, pointer: str, source: FileSource) -> Iterator[Diagnostic]:
    """A folder of rows has a digest: it is made of plain files."""
    path = located(source.path, world)
    if source.folder and path and not content_of(path):
        yield tree.diagnostic(
            "KC4521",
            pointer,
            "this folder of rows has no stable content",
            label="a symbolic link or a special file is in it",
            help=f"copy what the links lead to: cp -rL {path.name} {path.name}-plain",
        )


def _elsewhere(tree: Tree, world: World, pointer: str, source: FileSource) -> Iterator[Diagnostic]:
    """A file that is not kept with the spec: what it must be is stated, and what is here must be that."""
    if source.sha256 is None or source.bytes is None:
        lacking = "sha256" if source.sha256 is None else "bytes"
        yield tree.diagnostic(
            "KC4419",
            pointer,
            "a file that is not kept with the spec is pinned by digest and size",
            on="key",
            label=f"no `{lacking}`",
            help=f"write `{lacking}` beside the other, or remove both and keep the file with the spec",
        )
        return
    path = located(source.path, world)
    if path is None or kind(path):
        wrong = list(wrong_path(tree, world, f"{pointer}/path", source.path, folder=source.folder))
        wrong += [] if wrong else _linked(tree, world, f"{pointer}/path", source)
        yield from wrong
        if path is not None and not wrong:
            yield from _stated(tree, pointer, path, source.sha256, source.bytes)
        return
    yield tree.diagnostic(
        "KC4420",
        f"{pointer}/path",
        "this file is not here: the spec can be planned and not applied",
        severity="warning",
        label="its rows could not be looked at",
        help=f"put the file with sha256 {source.sha256[:12]}… there; overlap and coverage are checked when it is",
    )


def _large(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Files that are too large to be read while compiling: what is not said about their rows is not known."""
    named = []
    for i, one in enumerate(spec.data.sources):
        found = look(one, world) if isinstance(one, FileSource) else None
        if found is not None and found.large:
            named.append((f"/data/sources/{i}/path", found.large))
    if spec.teacher.source == "recorded":
        path = located(spec.teacher.path, world)
        if path is not None and kind(path) == "file" and path.stat().st_size > MAX_BYTES:
            named.append(("/teacher/path", f"{path.stat().st_size / 2**20:,.0f} MiB"))
    for pointer, size in named:
        yield tree.diagnostic(
            "KC4422",
            pointer,
            "this file is too large to be looked at while compiling",
            severity="note",
            label=f"{size}, up to {MAX_BYTES >> 20} are read",
            help="overlap of splits, spans, lengths and coverage are checked when the data step runs, before anything "
            "is trained",
        )


def _tables(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    """Rows that a library reads which is not installed here."""
    for i, source in enumerate(spec.data.sources):
        found = look(source, world) if isinstance(source, FileSource) else None
        if found is not None and found.lacking:
            yield tree.diagnostic(
                "KC4520",
                f"/data/sources/{i}/kind",
                "the rows of this source could not be looked at: pyarrow is not installed here",
                severity="warning",
                label="the spec can be planned and not applied",
                help=found.lacking,
            )


def _stated(tree: Tree, pointer: str, path: Path, sha256: str, size: int) -> Iterator[Diagnostic]:
    actual, here = content_of(path).removeprefix("sha256:"), size_of(path)
    if actual != sha256 or here != size:
        key, value = ("sha256", actual) if actual != sha256 else ("bytes", str(here))
        yield tree.diagnostic(
            "KC4421",
            f"{pointer}/{key}",
            "the file is not the one that was pinned",
            label=f"`{path.name}` has {value}",
            help=f"take the pinned file again, or review this one and write {value}",
            related=(tree.related(f"{pointer}/path", "this file"),),
        )


def _teacher(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    yield from _weights(tree, world, "/teacher", of_teacher(spec))
    if spec.teacher.source == "recorded":
        yield from wrong_path(tree, world, "/teacher/path", spec.teacher.path, folder=False)


def _student(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    yield from _weights(tree, world, "/student/checkpoint", spec.student.checkpoint)


def _weights(tree: Tree, world: World, pointer: str, weights: Weights | None) -> Iterator[Diagnostic]:
    # what is in a repository is looked at when it has been fetched
    where = None if weights is None else lying.of(weights)
    if weights is None or where is None or where.remote:
        return
    wrong = list(lying.wrong(tree, world, pointer, where))
    yield from wrong
    path = lying.path_of(where, world)
    if wrong or path is None:
        return
    if weights.packed:
        yield from _pinned(tree, path, pointer, weights)
    else:
        yield from _folder(tree, path, pointer, weights.revision)


def _pinned(tree: Tree, path: Path, owner: str, weights: Weights) -> Iterator[Diagnostic]:
    """A GGUF file against its pin."""
    actual = digest.of_file(path)
    if actual != weights.revision:
        yield tree.diagnostic(
            "KC4408",
            f"{owner}/revision",
            f"the {_who(owner)}'s file is not the one that was pinned",
            label=f"its digest is {actual}",
            help="restore the file, or review the change and pin it: `kcompiler pin SPEC`",
            related=(tree.related(f"{owner}/{weights.key}", "this file"),),
        )


def _who(owner: str) -> str:
    return owner.split("/")[1]


def _folder(tree: Tree, folder: Path, owner: str, revision: str) -> Iterator[Diagnostic]:
    pointer = f"{owner}/model"
    pickled = sorted(item.name for item in folder.rglob("*") if item.suffix.lower() in PICKLED)
    weights = sorted(folder.glob("*.safetensors"))
    yield from _config(tree, owner, folder)
    if pickled:
        yield tree.diagnostic(
            "KC4407",
            pointer,
            f"the {_who(owner)}'s folder holds pickled files, and loading those runs code",
            label=f"{', '.join(pickled[:3])}{' …' if len(pickled) > 3 else ''}",
            help="save the weights as safetensors and remove the pickled files",
        )
    elif not weights:
        yield tree.diagnostic(
            "KC4406",
            pointer,
            f"the {_who(owner)}'s folder has no weights",
            label="no *.safetensors in it",
            help="save the model with save_pretrained(…, safe_serialization=True)",
        )
    for path in weights:
        reason = shards.header(path)
        if isinstance(reason, str):
            yield tree.diagnostic(
                "KC4412",
                pointer,
                f"`{path.name}` is not a safetensors file",
                label=reason,
                help="save the weights again, and never rename another format",
            )
            return
    if why := shards.trouble(folder):
        yield tree.diagnostic(
            "KC4423",
            pointer,
            f"the {_who(owner)}'s folder does not say which weights are meant",
            label=why,
            help="save the model again with save_pretrained into an empty folder, and pin that",
        )
        return
    if revision.startswith("sha256:"):
        yield from _revision(tree, folder, owner, revision)


def _config(tree: Tree, owner: str, folder: Path) -> Iterator[Diagnostic]:
    path, pointer = folder / "config.json", f"{owner}/model"
    if not path.is_file():
        yield tree.diagnostic(
            "KC4405",
            pointer,
            f"the {_who(owner)}'s folder has no config.json",
            label="not a Transformers folder",
            help="name the folder that save_pretrained wrote",
        )
        return
    found = json_object(path)
    if not isinstance(found.get("model_type"), str):
        why = "it names no model_type" if found else "it is no JSON object"
    elif "auto_map" in found:
        why = "it asks for code of its own (auto_map)"
    elif "quantization_config" in found:
        why = "its weights are quantized (quantization_config)"
    else:
        return
    yield tree.diagnostic(
        "KC4413",
        pointer,
        f"the {_who(owner)}'s config.json cannot be used",
        label=why,
        help="give plain weights of a family that Transformers itself knows",
    )


def _revision(tree: Tree, folder: Path, owner: str, revision: str) -> Iterator[Diagnostic]:
    try:
        actual = digest.of_folder(folder)
    except ValueError as error:
        yield tree.diagnostic(
            "KC4409",
            f"{owner}/model",
            f"the {_who(owner)}'s folder has no stable content",
            label=str(error),
            help="replace links by the files they point to (cp -rL)",
        )
        return
    if actual != revision:
        yield tree.diagnostic(
            "KC4408",
            f"{owner}/revision",
            f"the {_who(owner)}'s folder is not the one that was pinned",
            label="another content",
            help=f"after reviewing the change, write {actual}",
            related=(tree.related(f"{owner}/model", "this folder"),),
        )


def _policies(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    folders = [folder for folder in world.packs if folder.is_dir()]
    known = {file.parent.relative_to(folder).as_posix() for folder in folders for file in folder.rglob(PACK_FILE)}
    for i, name in enumerate(spec.policies):
        if name not in known:
            yield tree.diagnostic(
                "KC6001",
                f"/policies/{i}",
                f"no policy pack is called `{name}`",
                label="unknown pack",
                help=_other_root(name, world) or did_you_mean(name, known) or f"write policies/{name}/{PACK_FILE}",
                notes=() if suggest(name, known) else (_looked(world),),
            )


def _looked(world: World) -> str:
    root = f"the folder `{world.root.resolve().name}`, the nearest above the spec with .kcompiler or .git"
    return f"a team's packs lie in policies/ of the project's root: {root}"


def _other_root(name: str, world: World) -> str:
    """What to do where the pack lies in a folder between the spec and the project's root."""
    root, own = world.root.resolve(), world.folder.resolve()
    for folder in (own, *own.parents):
        if folder == root or not folder.is_relative_to(root):
            return ""
        if (folder / "policies" / name / PACK_FILE).is_file():
            place = folder.relative_to(root).as_posix()
            return f"it lies in {place}/policies/{name}: `mkdir {place}/.kcompiler` makes `{place}` the project's root"
    return ""


def _stages(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    before: dict[str, int] = {}
    for i, stage in enumerate(spec.training.stages):
        pointer = f"/training/stages/{i}"
        if stage.from_ is not None and stage.from_ not in before:
            later = stage.from_ in (other.name for other in spec.training.stages)
            yield tree.diagnostic(
                "KC4410",
                f"{pointer}/from",
                f"stage `{stage.name}` starts from a stage that does not come before it",
                label="comes later" if later and stage.from_ != stage.name else "itself" if later else "no such stage",
                help=did_you_mean(stage.from_, before) or "remove `from`: the first stage starts from random weights",
            )
        yield from _once(tree, before, stage.name, i, "/training/stages/{}/name", "stages")


def _sources(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    sources: dict[str, int] = {}
    for i, source in enumerate(spec.data.sources):
        yield from _once(tree, sources, source.name, i, "/data/sources/{}/name", "sources")


def _kept(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A stage whose student neither the last stage nor a further step starts from was trained for nothing."""
    stages = {stage.name: stage for stage in spec.training.stages}
    if not stages:
        return
    used: set[str] = set()
    wanted: list[str | None] = [spec.training.stages[-1].name, *_taken(spec)]
    while wanted:
        name = wanted.pop()
        if name is not None and name in stages and name not in used:
            used.add(name)
            wanted.append(stages[name].from_)
    last = spec.training.stages[-1]
    for i, stage in enumerate(spec.training.stages):
        if stage.name not in used:
            yield tree.diagnostic(
                "KC4417",
                f"/training/stages/{i}/name",
                f"nothing starts from what stage `{stage.name}` trains",
                label=f"{stage.steps:,} steps whose result is thrown away",
                help=f"write `from: {stage.name}` in a later stage, such as `{last.name}`, or remove the stage",
                notes=() if last.from_ else (f"stage `{last.name}` is delivered, and starts from random weights",),
            )


def _taken(spec: Spec) -> Iterator[str]:
    """Stages whose checkpoint a further step takes."""
    for step in spec.steps:
        for reference in step.takes.values():
            yield reference.removeprefix("step:").partition("#")[0].removeprefix("train-")


def _registry(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    path = located(spec.data.tools, world) if spec.data.tools else None
    found = faults(path) if path is not None and kind(path) == "file" else []
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        yield tree.diagnostic(
            "KC4414",
            "/data/tools",
            "the file is no registry of tools",
            label=f"{found[0]}{more}",
            help="list objects {name, description, parameters}; parameters is a JSON Schema of type object",
            notes=tuple(found[1:4]),
        )


def _readers(spec: Spec) -> Iterator[tuple[str, str, bool]]:
    """(pointer, what, whether it cannot do without) of everything that may read the registry."""
    for i, source in enumerate(spec.data.sources):
        if isinstance(source, GeneratorSource):
            reads = _reads(catalog.load("generators", source.generator).rows)
            if reads is not False:
                yield f"/data/sources/{i}/generator", f"generator `{source.generator}`", reads is True
    for i, suite in enumerate(spec.evaluation.suites):
        reads = _reads(catalog.load("suites", suite.use).data_of)
        if reads is not False:
            yield f"/evaluation/suites/{i}/use", f"suite `{suite.use}`", reads is True


def _reads(function: Callable[..., object]) -> bool | None:
    """Whether a plug-in works over the tools it is handed; None when that cannot be told.

    Those of the machine that have no use for them call the parameter `_tools`; the others refuse to work without.
    """
    code = getattr(function, "__code__", None)
    if code is None or not str(getattr(function, "__module__", "")).startswith("runtime."):
        return None
    return "tools" in code.co_varnames[: code.co_argcount]


def _tools_read(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    readers = list(_readers(spec))
    if spec.data.tools and not readers:
        yield tree.diagnostic(
            "KC4415",
            "/data/tools",
            "nothing reads the registry of tools",
            severity="warning",
            label="declared, never used",
            help="add a suite that judges calls, such as tool_use, or remove data.tools",
        )
    for pointer, what, needed in readers:
        if needed and not spec.data.tools:
            yield tree.diagnostic(
                "KC4416",
                pointer,
                f"{what} needs a registry of tools",
                label="there is none",
                help="name its file in data.tools",
                related=(tree.related("/data", "no `tools` here", "key"),),
            )


def _runners(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """A suite that compares with a baseline would refuse only after every training had been paid for."""
    have = {"teacher", "student", "coreml", *spec.evaluation.baselines}
    for i, suite in enumerate(spec.evaluation.suites):
        asked = catalog.load("suites", suite.use)
        for runner in (*asked.runners, *(asked.trained if spec.training.stages else ())):
            if runner not in have:
                yield tree.diagnostic(
                    "KC4418",
                    f"/evaluation/suites/{i}/use",
                    f"suite `{suite.use}` compares with `{runner}`, which nothing trains",
                    label=f"needs `{runner}`",
                    help=f"add `{runner}` to evaluation.baselines",
                )
    questioned = {name for suite in spec.evaluation.suites for name in catalog.load("suites", suite.use).baselines}
    for i, baseline in enumerate(spec.evaluation.baselines):
        if baseline not in questioned:
            known = [name for name in catalog.names("suites") if baseline in catalog.load("suites", name).baselines]
            yield tree.diagnostic(
                "KC4425",
                f"/evaluation/baselines/{i}",
                f"the baseline `{baseline}` is trained, and no suite questions it",
                label="nothing reads it",
                help=f"add a suite that does to evaluation.suites: {', '.join(known)}; or remove it",
            )


def _once(tree: Tree, seen: dict[str, int], name: str, index: int, pointer: str, what: str) -> Iterator[Diagnostic]:
    if name in seen:
        yield tree.diagnostic(
            "KC4411",
            pointer.format(index),
            f"two {what} are called `{name}`",
            label="again",
            help="give each its own name",
            related=(tree.related(pointer.format(seen[name]), "the first"),),
        )
    seen.setdefault(name, index)


CHECKS = (
    Check(_data, "data"),
    Check(_large, "data", "teacher"),
    Check(_tables, "data"),
    Check(_teacher, "teacher"),
    Check(_student, "student"),
    Check(_policies, "policies"),
    Check(_stages, "training"),
    Check(_sources, "data"),
    Check(_kept, "training", "steps"),
    Check(_registry, "data"),
    Check(_tools_read, "data", "evaluation"),
    Check(_runners, "evaluation", "training"),
)
