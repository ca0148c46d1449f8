"""Audited evidence × artifacts → the files of a delivery, each with its SHA-256. Text and digests, no tensors.

Reads nothing that it does not hash: reports must be those the verdict was given on, artifacts those the journal names.
What the packages declare is handed in by whoever may open them. One more file in a delivery is one more entry of
`files`; where files stand is said in `runtime.contract.delivery`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kcompiler import lock as locks
from kcompiler.audit import records
from kcompiler.deliver.card import card
from kcompiler.deliver.choose import (
    CHECKPOINT_FILE,
    Chosen,
    Form,
    Undeliverable,
    chosen,
    conversions,
    forms,
    precisions,
)
from kcompiler.deliver.sbom import sbom
from kcompiler.plan import APPLY
from kcompiler.project import Project
from kcompiler.spec import Spec
from kcompiler.spec.verification import on_device
from kcompiler.veil import leaks
from kcompiler.verifier import facts
from kcompiler.waiver import FOLDER
from kcompiler.waiver.load import envelopes
from runtime import digest
from runtime.contract import BrokenEvidence, delivery, program, strict_json
from runtime.contract.delivery import EVIDENCE, GOLDENS, HUGGINGFACE, PACKAGES, PRECISIONS, SUMS, Item
from runtime.contract.report import hex_of

__all__ = ["Chosen", "Undeliverable", "chosen", "conversions", "files", "given_of"]

#: (folder of a package artifact, its variants) → what `runtime.mil.describe` says of them
Describe = Callable[[Path, Sequence[str]], Mapping[str, Any]]
#: bytes by which a file is told to be text
_START = 4096
_GENERATION, _TOKENIZER, _TEMPLATE = "generation_config.json", "tokenizer.json", "chat_template.jinja"
#: what a tokenizer artifact says of its own chat template: among others, which tokens end an answer
_CHAT = "chat.json"
#: what a GGUF artifact says of its words
_WORDS = "words.json"
_HOSTS = {"hosts/python/host.py": "python.txt", "hosts/swift/Host.swift": "swift.txt"}


def files(
    made: Mapping[str, Any], spec: Spec, home: Project, convert: str, describe: Describe, *, goldens: bool = False
) -> dict[str, Item]:
    """Path in the delivery → the file. `made` is a lock whose evidence an audit found sound, and by whose verdict
    nothing blocks: PASS or WAIVED. With `goldens` the golden vectors are in it, which hold tokens of held-out rows.

    Raises Undeliverable, also where a key can be read in a file or its name; and BrokenEvidence for what is no longer
    what the audit saw.
    """
    name = str(made["asked"]["name"])
    evidence = home.evidence(name)
    text = home.verdict(name).read_bytes()
    verdict: Any = strict_json.loads(text)
    if verdict["verdict"] not in ("PASS", "WAIVED") or verdict["lock"] != locks.plan_digest(made):
        raise BrokenEvidence(
            "it is not the verdict on this lock that was audited", subject=home.shown(home.verdict(name))
        )
    given = given_of(evidence, verdict, made)
    used, _ = records.in_use(evidence / records.JOURNAL, records.JOURNAL, None)
    parts = chosen(made, used, convert)
    reports: dict[str, Any] = {key: strict_json.loads(data) for key, data in given.items()}
    variants = precisions(reports[parts.verify], verdict, parts.verify)

    found: dict[str, Item] = {}
    package = _artifact(home, parts.package)
    folder = _place(home, parts.package)
    parts_of = program.parts(program.load(folder))
    wanted = tuple(f"{program.filename(variant, part)}/" for variant in variants for part in parts_of)
    found |= {f"{PACKAGES}/{path}": item for path, item in package.items() if path.startswith(wanted)}
    checkpoint, tokenizer = _artifact(home, parts.checkpoint), _artifact(home, parts.tokenizer)
    checkpoint.pop(CHECKPOINT_FILE, None)
    huggingface = {**checkpoint, **tokenizer, _GENERATION: _item(_generation(tokenizer))}
    # what the machine says of its artifacts stands in the one contract.json of the delivery
    del huggingface[delivery.CONTRACT]
    found |= {f"{HUGGINGFACE}/{path}": item for path, item in huggingface.items()}
    others = [_packed(home, one, found) for one in forms(made, used, verdict, parts)]
    found |= {f"{EVIDENCE}/reports/{key}.json": _item(data) for key, data in given.items() if key != APPLY}
    found[f"{EVIDENCE}/run.json"] = _item(given[APPLY])
    found[f"{EVIDENCE}/verdict.json"] = _item(text)
    for one in verdict.get("waivers", ()):
        data = (evidence / FOLDER / f"{one['id']}.yaml").read_bytes()
        if digest.of_bytes(data) != one["digest"]:
            raise BrokenEvidence("it is not the waiver that the verdict was given with", subject=str(one["id"]))
        found[f"{EVIDENCE}/{FOLDER}/{one['id']}.yaml"] = _item(data)
        for file, envelope in envelopes(evidence / FOLDER / str(one["id"])).items():
            found[f"{EVIDENCE}/{FOLDER}/{one['id']}/{file}"] = _item(envelope)
    found[f"{EVIDENCE}/plan.lock"] = _item(locks.dump(made))

    golden = None
    if goldens and not parts.goldens:
        raise Undeliverable(f"`{parts.verify}` took no golden vectors of this plan", "deliver without --goldens")
    if goldens:
        kept = _artifact(home, parts.goldens)
        found |= {f"{GOLDENS}/{path}": item for path, item in kept.items()}
        golden = _golden(spec, variants, hex_of(digest.of_folder(_place(home, parts.goldens))))
    contract = _contract(name, folder, describe(folder, variants), variants, found, hex_of(verdict["lock"]), golden)
    found[delivery.CONTRACT] = _item(delivery.dump(contract))
    found["README.md"] = _item(card(contract, parts, reports, verdict, others))
    trees = {one.path: one.sha256 for one in contract.packages}
    found["sbom.cdx.json"] = _item(sbom(made, spec, contract.plan_sha256, trees))
    found |= {path: _item((Path(__file__).parent / "hosts" / name).read_bytes()) for path, name in _HOSTS.items()}
    _sound(found)
    found[SUMS] = _item("".join(f"{found[path].sha256}  {path}\n" for path in sorted(found)))
    return found


def _item(content: str | bytes) -> Item:
    data = content.encode() if isinstance(content, str) else content
    return Item(source=data, sha256=hex_of(digest.of_bytes(data)))


def _sound(found: Mapping[str, Item]) -> None:
    """Raises Undeliverable where a key can be read in a file or its name."""
    for path, line in leaks({path: _text(item) for path, item in found.items()}):
        said = f"{path}:{line}: this looks like a key" if line else f"{path}: the name of this file looks like a key"
        raise Undeliverable(f"KC4209 {said}: it is not delivered", "revoke it, take it out, then apply again")


def _text(item: Item) -> bytes:
    """What a file says; b"" for one that is no text, by its beginning: weights are not read once more."""
    if isinstance(item.source, bytes):
        return item.source
    with item.source.open("rb") as file:
        start = file.read(_START)
        return b"" if b"\0" in start else start + file.read()


def given_of(evidence: Path, verdict: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, bytes]:
    """Step → bytes of the report that the verdict was given on.

    What the lock says of itself lies in no file: whoever judges the delivery again makes it of the lock. Raises
    BrokenEvidence for another report than that.
    """
    own = {step: facts.dump(one) for step, one in facts.reports(made).items()}
    given = {}
    for step, pin in verdict["reports"].items():
        path = evidence / "run.json" if step == APPLY else evidence / "reports" / f"{step}.json"
        data = own[step] if step in own else path.read_bytes()
        if digest.of_bytes(data) != pin:
            raise BrokenEvidence("it is not the report that the verdict was given on", subject=str(path))
        if step not in own:
            given[step] = data
    return given


def _place(home: Project, artifact: str) -> Path:
    scheme, _, text = artifact.partition(":")
    return home.root / records.STATE / "store" / scheme / text[:2] / text


def _artifact(home: Project, artifact: str) -> dict[str, Item]:
    """The files of an artifact, hashed now."""
    folder = _place(home, artifact)
    entries = digest.manifest(folder) if folder.is_dir() else []
    if digest.of_value(entries, "kc.tree.v1") != artifact:
        raise BrokenEvidence("the artifact is not what was stored", subject=home.shown(folder))
    return {one["path"]: Item(source=folder / one["path"], sha256=hex_of(one["digest"])) for one in entries}


def _packed(home: Project, form: Form, into: dict[str, Item]) -> Form:
    """Puts the files of another form into a delivery, unless something speaks against it; the form with what does."""
    if form.lacks:
        return form
    items = _artifact(home, form.artifact)
    # what the machine says of its artifacts stands in the one contract.json of the delivery
    items.pop(delivery.CONTRACT, None)
    if _WORDS in items and not _json(items[_WORDS])["cut"]:
        return replace(form, lacks="llama.cpp has no rule here that gives the tokenizer's own ids for every text")
    into |= {f"{form.folder}/{path}": item for path, item in items.items()}
    return form


def _json(item: Item) -> Any:
    data = item.source if isinstance(item.source, bytes) else item.source.read_bytes()
    return strict_json.loads(data)


def _generation(tokenizer: Mapping[str, Item]) -> str:
    """generation_config.json: the tokenizer's own tokens, every token that ends an answer, greedy as it was judged."""
    special = _json(tokenizer[delivery.CONTRACT])["special"]
    ids: dict[str, Any] = {f"{name}_token_id": special[name]["id"] for name in ("pad", "bos", "eos")}
    if _CHAT in tokenizer:
        ids["eos_token_id"] = [stop["id"] for stop in _json(tokenizer[_CHAT])["stop"]]
    return json.dumps({**ids, "do_sample": False}, sort_keys=True) + "\n"


def _contract(
    name: str,
    folder: Path,
    said: Mapping[str, Any],
    variants: Sequence[str],
    found: Mapping[str, Item],
    plan_sha256: str,
    golden: delivery.Golden | None,
) -> delivery.Contract:
    """What the packages themselves declare (as `describe` has seen), with the meaning that the export gave each
    function."""
    exported = program.load(folder)
    functions = {
        key: delivery.Function(
            kind=one.kind,
            length=one.length,
            inputs=one.inputs,
            outputs=one.outputs,
            states=one.states or [],
            pieces=None if one.pieces is None else [_bare(piece) for piece in one.pieces],
        )
        for key, one in exported.functions.items()
    }
    ends = _json(found[f"{HUGGINGFACE}/{_GENERATION}"])["eos_token_id"]
    packages = [
        delivery.Package(
            precision="quantized" if variant == "quantized" else "fp16",
            part=part,
            path=f"{PACKAGES}/{program.filename(variant, part)}",
            sha256=hex_of(digest.of_folder(folder / program.filename(variant, part))),
            bytes=sum(one["bytes"] for one in digest.manifest(folder / program.filename(variant, part))),
            **found_in,
        )
        for variant in variants
        for part, found_in in said[variant].items()
    ]
    return delivery.Contract(
        name=name,
        model_type=exported.model_type,
        vocab_size=exported.vocab_size,
        context=exported.kv_cache.context,
        functions=functions,
        kv_cache=exported.kv_cache,
        special=exported.special,
        stop_ids=ends if isinstance(ends, list) else [ends],
        tokenizer=_file(found, f"{HUGGINGFACE}/{_TOKENIZER}"),
        chat_template=_file(found, f"{HUGGINGFACE}/{_TEMPLATE}"),
        packages=packages,
        compute_units=exported.package.compute_units if exported.package else "all",
        authoring=exported.authoring,
        plan_sha256=plan_sha256,
        golden=golden,
    )


def _bare(piece: program.Piece) -> program.Piece:
    """What a host needs to know of a piece."""
    return piece.model_copy(update={"parameters": {}, "modules": {}})


def _golden(spec: Spec, variants: Sequence[str], sha256: str) -> delivery.Golden:
    """What the golden vectors cover, and how far a package of each precision may be from them, as the spec has it."""
    asked = spec.verification
    return delivery.Golden(
        sha256=sha256,
        golden_prompts=asked.prompts,
        decode_steps=asked.decode_steps,
        tolerances={one: on_device(asked.tolerances, one) for one in PRECISIONS if one in variants},
    )


def _file(found: Mapping[str, Item], path: str) -> delivery.File:
    return delivery.File(path=path, sha256=found[path].sha256)
