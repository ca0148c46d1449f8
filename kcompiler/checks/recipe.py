"""The quantization recipe against the tensors the student will have: every rule speaks of some, and none in vain.

Names are those of the checkpoint. The conversion refuses the same mistakes, hours of training later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.facts import sizes
from kcompiler.source import Tree
from kcompiler.spec import Spec
from kcompiler.spec.verification import FINE_LIMITS
from runtime.contract.families import FAMILIES
from runtime.contract.recipe import COARSE, HEAD, SIZED, Weights


def _plain(tensor: str) -> str:
    """A tensor's name as patterns see it."""
    return tensor.removesuffix(".weight")


def _matched(spec: Spec) -> list[set[str]]:
    """Per rule, the names (aliases too) it matches."""
    names = [_plain(n) for tensor in sizes.tensors(spec.student.architecture) for n in (tensor.name, *tensor.aliases)]
    return [{name for name in names if fnmatchcase(name, rule.match)} for rule in spec.quantization.rules]


def _tied(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    for tensor in sizes.tensors(spec.student.architecture):
        answers = {name: spec.quantization.of(name) for name in (tensor.name, *tensor.aliases)}
        if len(set(answers.values())) > 1:
            # what the last of their rules asks for is what its author wants
            last = answers[max(answers, key=lambda name: _deciding(spec, name))]
            rules = [_typed(name, last) for name, answer in answers.items() if answer != last]
            said = ", ".join(f"{_plain(name)}: {answer.said}" for name, answer in answers.items())
            yield tree.diagnostic(
                "KC4910",
                "/quantization",
                "one tied tensor gets two ways of storing it",
                on="key",
                label=said,
                help=f"let later rules say the same of every name of the tensor, {', '.join(rules)}; or untie the "
                "embeddings, and count `parameters` again",
                related=(tree.related("/student/architecture/tie_word_embeddings", "the embedding is the head too"),),
            )


def _deciding(spec: Spec, tensor: str) -> int:
    """The place of the rule that decides about a tensor; -1 where the default does."""
    rules = spec.quantization.rules
    return max((i for i, rule in enumerate(rules) if fnmatchcase(_plain(tensor), rule.match)), default=-1)


def _typed(tensor: str, form: Weights) -> str:
    """The rule that asks for this form, as it is written in a spec."""
    said = form.model_dump(exclude_defaults=True)
    words = ", ".join(f"{key}: {value}" for key, value in {"match": _plain(tensor), **said}.items())
    return f"{{{words}}}"


def _idle(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Rules that match nothing, and rules that later ones overrule everywhere."""
    matched = _matched(spec)
    known = [_plain(tensor.name) for tensor in sizes.tensors(spec.student.architecture)]
    for i, names in enumerate(matched):
        written = spec.quantization.rules[i].match
        if not names:
            yield tree.diagnostic(
                "KC4911",
                f"/quantization/rules/{i}/match",
                "this rule matches no tensor of the student",
                label=f"a {spec.student.architecture.family} of {spec.student.architecture.num_hidden_layers} layers "
                f"has {len(known)} tensors, none of this name",
                help=did_you_mean(written.strip("*."), _parts(known)),
            )
        elif names <= set().union(*matched[i + 1 :]):
            later = next(j for j in range(i + 1, len(matched)) if matched[j] & names)
            yield tree.diagnostic(
                "KC4912",
                f"/quantization/rules/{i}/match",
                "later rules decide about every tensor that this one matches",
                severity="warning",
                label="without effect: the last matching rule wins",
                help="move it behind them, or remove it",
                related=(tree.related(f"/quantization/rules/{later}/match", "decides instead"),),
            )


def _parts(names: list[str]) -> list[str]:
    """Parts of tensor names that a pattern may mean, numbers of layers left out."""
    return sorted({part for name in names for part in name.split(".") if not part.isdigit()})


def _vectors(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    vectors = {_plain(t.name) for t in sizes.tensors(spec.student.architecture) if len(t.shape) == 1}
    matched = _matched(spec)
    for i, rule in enumerate(spec.quantization.rules):
        # the last matching rule decides
        mine = sorted((matched[i] & vectors).difference(*matched[i + 1 :]))
        if rule.weights != "fp16" and mine:
            kinds = dict.fromkeys(name.rpartition(".")[2] for name in mine)
            kept = ", ".join(f'{{match: "*{kind}", weights: fp16}}' for kind in kinds)
            yield tree.diagnostic(
                "KC4913",
                f"/quantization/rules/{i}/match",
                f"{rule.weights} is for matrices, and this rule asks it of vectors",
                label=f"{len(mine)} of them, such as `{mine[0]}`",
                help=f"add later rules that keep them, {kept}, or name the matrices more closely",
            )


def _divided(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Blocks and groups that do not divide a tensor which they are asked of, each at the word that asks."""
    found: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
    matched = _matched(spec)
    for tensor in sizes.tensors(spec.student.architecture):
        asked = spec.quantization.of(tensor.name)
        why = asked.misfit(tensor.shape)
        if not why:
            continue
        deciding = [i for i, names in enumerate(matched) if _plain(tensor.name) in names]
        place = f"/quantization/rules/{deciding[-1]}" if deciding else "/quantization/default"
        key = SIZED[asked.granularity]
        size = tensor.shape[-1] if key == "block" else tensor.shape[0]
        found.setdefault((place, key), []).append((_plain(tensor.name), why, size))
    for (place, key), tensors in found.items():
        name, why, _ = tensors[0]
        common = math.gcd(*(size for *_, size in tensors))
        fits = [str(size) for size in (8, 16, 32, 64, 128) if common % size == 0]
        yield tree.diagnostic(
            "KC4915",
            f"{place}/{key}",
            f"a {key} of this size does not divide what it is asked of",
            label=f"{len(tensors)} tensor{'s' * (len(tensors) > 1)}, such as `{name}`: {why}",
            help=f"take {' or '.join(fits)}, which divide all of them, or name these tensors in a later rule"
            if fits
            else "name these tensors in a later rule, as `int8` or `fp16`",
        )


def _islands(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    family = spec.student.architecture.family
    for i, kind in enumerate(spec.quantization.islands):
        if kind not in FAMILIES[family].islands:
            yield tree.diagnostic(
                "KC4914",
                f"/quantization/islands/{i}",
                f"a {family} model has no `{kind}` to keep in float32",
                label="matches no module",
                help="remove the island",
                related=(tree.related("/student/architecture/family", "its layers normalise otherwise"),),
            )


def _sparse(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    if "logits" not in spec.quantization.islands or spec.quantization.of(HEAD).weights != "sparse":
        return
    tensors = ((one.name, *one.aliases) for one in sizes.tensors(spec.student.architecture))
    # a tied head is stored by each of its names
    names = next((names for names in tensors if HEAD in names), (HEAD,))
    rules, matched = ", ".join(_typed(name, Weights(weights="int8")) for name in names), _matched(spec)
    deciding = sorted({_deciding(spec, name) for name in names})
    if -1 in deciding or any(matched[i] - {_plain(name) for name in names} for i in deciding):
        store = f"store it in another form by later rules, {rules}"
    else:
        # no other tensor is made sparse by them, and a form that no tensor has is refused
        store = f"store it in another form, {rules} in place of rules {', '.join(str(i + 1) for i in deciding)}"
    yield tree.diagnostic(
        "KC4919",
        f"/quantization/islands/{spec.quantization.islands.index('logits')}",
        "a sparse head cannot be computed in float32",
        label="its elements are float16, and Core ML widens no sparse constant",
        help=f"{store}, or remove the island",
    )


def _lax(spec: Spec, tree: Tree, _world: World) -> Iterator[Diagnostic]:
    """Tolerances that only a coarse recipe may have, and a coarse form that no tensor has."""
    recipe = spec.quantization
    if recipe.coarse:
        matrices = [tensor for tensor in sizes.tensors(spec.student.architecture) if len(tensor.shape) > 1]
        forms = {recipe.of(tensor.name).weights for tensor in matrices}
        if recipe.activations is None and not forms & COARSE:
            asked = [("default", recipe.default), *((f"rules/{i}", rule) for i, rule in enumerate(recipe.rules))]
            place, form = next((place, one.weights) for place, one in asked if one.weights in COARSE)
            yield tree.diagnostic(
                "KC4916",
                f"/quantization/{place}/weights",
                "no matrix of the student is stored so, and the package would be asked less for it",
                label=f"{form}, and other rules decide about every matrix",
                help="write what the matrices are stored as, and remove the rest",
            )
        return
    for name, (least, most) in FINE_LIMITS.items():
        found = getattr(spec.verification.tolerances, name)
        kept = min(max(found, least), most)
        if kept != found:
            yield tree.diagnostic(
                "KC4916",
                f"/verification/tolerances/{name}",
                "this tolerance is for weights of less than eight bits, sparse ones, or layers that read int8",
                label=f"what this recipe asks for keeps {'at least' if kept == least else 'at most'} {kept}",
                help="remove the line, or keep the tensors that suffer in fp16",
                related=(tree.related("/quantization", "it has eight or more in every tensor"),),
            )


CHECKS = (
    Check(_tied, "quantization", "student"),
    Check(_idle, "quantization", "student"),
    Check(_vectors, "quantization", "student"),
    Check(_divided, "quantization", "student"),
    Check(_lax, "quantization", "verification", "student"),
    Check(_islands, "quantization", "student"),
    Check(_sparse, "quantization", "student"),
)
