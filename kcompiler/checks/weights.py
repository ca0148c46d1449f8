"""Weights whose config.json or tokenizer.json already says that they cannot be learnt from, or what is not taken over.

The step that brings a model in runs it and asks the same and more (`runtime.models.admission`); what a file beside the
spec proves is said before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler.checks import Check, World
from kcompiler.diagnostic import Diagnostic
from kcompiler.facts.teacher import Folder, folder_at, weights_of
from kcompiler.source import Tree
from kcompiler.spec import Spec
from runtime.contract.families import NAMES
from runtime.contract.rotation import KINDS
from runtime.contract.strict_json import Json

#: encoders that Transformers 5.23 gives a head for language modelling; they see the whole text unless told not to
ENCODERS = frozenset(
    {
        "bert",
        "bert-generation",
        "big_bird",
        "camembert",
        "data2vec-text",
        "electra",
        "ernie",
        "megatron-bert",
        "rembert",
        "roberta",
        "roberta-prelayernorm",
        "roc_bert",
        "roformer",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
#: keys under which families of Transformers 5.23 change their logits after the head: caps (0 and null are none) and
#: scales. `final_logit_softcapping` is none of them: the loss knows it
CAPS = ("logits_soft_cap", "output_logit_soft_cap")
SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier")
#: kinds of rotary positions that Transformers 5.23 knows, with two older spellings its configs still translate
ROPE = frozenset({"default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional", "su", "mrope"})


def _folders(spec: Spec, world: World) -> Iterator[tuple[str, Folder]]:
    for pointer, weights in weights_of(spec):
        folder = folder_at(weights, world)
        if folder is not None:
            yield f"{pointer}/{weights.key}", folder


def _stated(folder: Folder, key: str) -> Json:
    """A key of config.json, or of its `text_config`; None when neither has it."""
    inner = folder.config.get("text_config")
    return folder.config.get(key, inner.get(key) if isinstance(inner, dict) else None)


def _ahead(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for pointer, folder in _folders(spec, world):
        family = folder.config.get("model_type")
        if _stated(folder, "is_causal") is False:
            why, way = "its config.json says is_causal false", "remove `is_causal` from config.json, if it was trained "
            way += "as a decoder"
        elif family in ENCODERS and _stated(folder, "is_decoder") is not True:
            why, way = f"`{family}` without `is_decoder: true` is an encoder", "write `is_decoder: true` in config.json"
            way += ", if it was trained as one"
        else:
            continue
        yield tree.diagnostic(
            "KC4231",
            pointer,
            "this model sees the tokens it is asked to predict",
            label=why,
            help=f"take a causal language model; or {way}, and pin the folder again",
        )


def _after_head(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for pointer, folder in _folders(spec, world):
        caps = [key for key in CAPS if _number(_stated(folder, key)) not in (None, 0)]
        scales = [key for key in SCALES if _number(_stated(folder, key)) not in (None, 1)]
        if caps or scales:
            yield tree.diagnostic(
                "KC4232",
                pointer,
                "this model changes its logits after the head",
                label=f"its config.json has {', '.join(f'{key} {_stated(folder, key)}' for key in caps + scales)}",
                help=f"take a family whose logits are the head's output, such as {NAMES}",
            )


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _rotations(folder: Folder) -> Iterator[tuple[str, str]]:
    """(key of config.json, kind) of every rotation that is stated; a kind is "" where it cannot be read."""
    for key in ("rope_parameters", "rope_scaling"):
        value = _stated(folder, key)
        if value is None:
            continue
        if not isinstance(value, dict):
            yield key, ""
            continue
        # one for all layers, or one for each type of layer
        inner = [item for item in value.values() if isinstance(item, dict)]
        for one in inner if inner and not {"rope_type", "type"} & set(value) else [value]:
            kind = one.get("rope_type", one.get("type", "default"))
            yield key, kind if isinstance(kind, str) else ""


def _unscaled(said: Json, kind: str) -> str:
    """What a scaled rotation lacks, of those whose fields are known here; "" for nothing. Of a student's weights what
    is made of them says so (checks/rotation.py)."""
    if not isinstance(said, dict) or kind not in KINDS:
        return ""
    for name in ("factor", "original_max_position_embeddings"):
        value = said.get(name)
        if value is None and name in KINDS[kind][0]:
            return f"has no {name}"
        if value is not None and not (_number(value) or 0) > 0:
            return f"has {name} {value}, no number above zero"
    return ""


def _rope(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for pointer, folder in _folders(spec, world):
        student = pointer.startswith("/student")
        for key, kind in _rotations(folder):
            if kind not in ROPE:
                label = f"{key} is of kind `{kind}`" if kind else f"{key} cannot be read"
                way = f"take weights of a known kind: {', '.join(sorted(ROPE - {'su', 'mrope'}))}"
            elif not student and (why := _unscaled(_stated(folder, key), kind)):
                label, way = f"{key} of kind `{kind}` {why}", "take config.json again as its authors publish it"
            else:
                continue
            yield tree.diagnostic(
                "KC4233", pointer, "the rotary positions of this model are not supported", label=label, help=way
            )
            break


def _template(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    if spec.tokenizer.chat:
        return
    for pointer, folder in _folders(spec, world):
        place = next((place for place in _chat_templates(folder)), None)
        if place is not None:
            yield tree.diagnostic(
                "KC4234",
                "/tokenizer/template",
                f"the chat template of the {pointer.split('/')[1]} is not used",
                severity="note",
                label=f"rows are written by this template, not by {place}",
                help="write `template: chat` to have them written by it, or make this one write what the model was "
                "trained on"
                if spec.tokenizer.source == pointer.split("/")[1]
                else "make this template write what the model was trained on",
                related=(tree.related(pointer, "this folder has one"),),
            )


def _chat_templates(folder: Folder) -> Iterator[str]:
    """The files that hold a chat template, whether or not it could be run."""
    if folder.document("tokenizer_config.json", strict=False).get("chat_template"):
        yield "tokenizer_config.json"
    for name in ("chat_template.jinja", "chat_template.json"):
        if folder.has(name):
            yield name


def _random(spec: Spec, tree: Tree, world: World) -> Iterator[Diagnostic]:
    for pointer, folder in _folders(spec, world):
        if spec.tokenizer.source != pointer.split("/")[1]:
            continue
        model = folder.tokenizer.get("model")
        chance = _number(model.get("dropout")) if isinstance(model, dict) else None
        if chance:
            yield tree.diagnostic(
                "KC4235",
                "/tokenizer/source",
                "what is random in the tokenizer is switched off",
                severity="note",
                label=f"its tokenizer.json drops merges with probability {chance:g}",
                help="nothing is to be done: one text has one encoding here",
                related=(tree.related(pointer, "this folder"),),
            )


CHECKS = (
    Check(_ahead, "teacher", "student"),
    Check(_after_head, "teacher", "student"),
    Check(_rope, "teacher", "student"),
    Check(_template, "tokenizer", "teacher", "student"),
    Check(_random, "tokenizer", "teacher", "student"),
)
