"""What a teacher says is computed once and kept: training from what is kept is training from the teacher.

Also: what is torn, changed, of other rows or beside its tokens is refused with its name and its numbers, and a kill
while signals are recorded costs at most the shard at work.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime import catalog, digest
from runtime.contract import BrokenEvidence, Refusal, signals
from runtime.contract.signals import Full, Hidden, Likeliest
from runtime.machine.ledger import Ledger, record
from runtime.models import build, capping
from runtime.steps.reach import ReachParams, Tried
from runtime.steps.record_signals import RecordSignalsParams
from runtime.steps.train import Term, TrainParams
from runtime.train import linear, recording, stored, teaching
from runtime.train.distill import fit, train
from runtime.train.reach import reach
from runtime.train.recording import record_signals
from tests.longer import also, longer
from tests.tensor.train import killed, world
from tests.tensor.train.world import Stage

KD = {"kl": 0.5, "reverse_kl": 0.1, "ce_teacher": 0.1, "ce_truth": 0.2, "json_args": 0.1}
FORMS: dict[str, Hidden | Likeliest | Full] = {
    "hidden": Hidden(form="hidden"),
    "top_k": Likeliest(form="top_k", k=16),
    "full": Full(form="full"),
}


def asked(store: Hidden | Likeliest | Full, **changes: Any) -> RecordSignalsParams:
    values: dict[str, Any] = {"store": store, "temperatures": [1.0, 2.0], "max_length": 96, "threads": 1}
    return RecordSignalsParams(**(values | changes))


def recorded(root: Path, takes: dict[str, Path], params: RecordSignalsParams) -> Stage:
    stage = Stage(root, takes)
    record_signals(takes, params, stage)
    return stage


@pytest.fixture(scope="module")
def taught(base: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher that knows the rows: where its signals stand can be told."""
    stage = Stage(tmp_path_factory.mktemp("teacher"), base)
    shape = world.architecture(hidden_size=48, num_hidden_layers=1)
    fit(base, world.params(architecture=shape, steps=90), stage, made_by="bootstrap")
    return {**base, "teacher": stage.root / "checkpoint"}


@pytest.fixture(scope="module")
def kept(taught: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stage]:
    """Each form, in shards of a few dozen tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "SHARD_BYTES", 1 << 13)
        return {
            name: recorded(tmp_path_factory.mktemp(f"signals-{name}"), taught, asked(store))
            for name, store in FORMS.items()
        }


def losses(of_top: bool) -> list[Term]:
    found = []
    for term in world.terms(**KD):
        loss = catalog.load("losses", term.term)
        means = loss.top.semantics if of_top and loss.top is not None else loss.semantics
        found.append(term.model_copy(update={"semantics": dict(means)}))
    return found


def taking(base: dict[str, Path], folder: Path) -> dict[str, Path]:
    return {"dataset": base["dataset"], "tokenizer": base["tokenizer"], "signals": folder}


def params(form: str, **changes: Any) -> TrainParams:
    return world.params(losses=losses(form == "top_k"), signals=form, **({"steps": 10} | changes))


def trained(root: Path, takes: dict[str, Path], given: TrainParams) -> Stage:
    stage = Stage(root, takes)
    train(takes, given, stage)
    return stage


def weights(stage: Stage) -> dict[str, torch.Tensor]:
    return load_file(stage.root / "checkpoint" / "model.safetensors")


# -- the same training -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asking(taught: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The same training from the teacher itself."""
    given = world.params(losses=losses(False), needs_teacher=True, steps=10)
    return trained(tmp_path_factory.mktemp("asking"), taught, given)


@longer
def test_a_teacher_that_bounds_its_logits_is_stored_with_its_bound(base: dict[str, Path], tmp_path: Path) -> None:
    """Its hidden states say nothing of it: the same training from them and from the teacher, to the last bit."""
    shape = world.architecture(family="gemma2", hidden_size=48, final_logit_softcapping=3.0)
    known = Stage(tmp_path / "teacher", base)
    fit(base, world.params(architecture=shape, steps=60), known, made_by="bootstrap")
    taught = {**base, "teacher": known.root / "checkpoint"}
    kept = recorded(tmp_path / "kept", taught, asked(FORMS["hidden"]))
    assert capping.cap_of(stored.Stored(kept.root / "signals").head()) == 3.0
    students = {"architecture": world.architecture(family="gemma2", final_logit_softcapping=0.2), "steps": 3}
    given = world.params(losses=losses(False), needs_teacher=True, **students)
    asking = trained(tmp_path / "asking", taught, given)
    found = trained(tmp_path / "found", taking(taught, kept.root / "signals"), params("hidden", **students))
    name = "checkpoint/model.safetensors"
    assert (found.root / name).read_bytes() == (asking.root / name).read_bytes()
    assert build.load(found.root / "checkpoint").config.final_logit_softcapping == 0.2
    # and without the bound it is another training
    index = kept.root / "signals" / signals.INDEX
    index.write_text(json.dumps(json.loads(index.read_text()) | {"cap": None}), encoding="utf-8")
    other = trained(tmp_path / "other", taking(taught, kept.root / "signals"), params("hidden", **students))
    assert (other.root / name).read_bytes() != (asking.root / name).read_bytes()


@pytest.mark.parametrize("packing", [False, True])
def test_hidden_states_that_were_stored_train_the_same_bits(
    taught: dict[str, Path], kept: dict[str, Stage], asking: Stage, tmp_path: Path, packing: bool
) -> None:
    found = trained(tmp_path, taking(taught, kept["hidden"].root / "signals"), params("hidden", packing=packing))
    if not packing:
        name = "checkpoint/model.safetensors"
        assert (found.root / name).read_bytes() == (asking.root / name).read_bytes()
    for name, tensor in weights(asking).items():
        torch.testing.assert_close(weights(found)[name], tensor, rtol=1e-3, atol=1e-5)
    told = json.loads((found.root / "checkpoint/training.json").read_text())
    assert (told["teacher"], told["signals"]) == (None, found.digests["signals"])


def test_parts_that_are_trained_side_by_side_read_the_store_at_the_same_time(
    taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path
) -> None:
    """Two threads, each with rows of its own, whose shards are opened and closed meanwhile."""
    asked_of = world.params(losses=losses(False), needs_teacher=True, steps=4, threads=2, batch_size=16)
    first = trained(tmp_path / "asked", taught, asked_of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "OPEN", 1)
        given = params("hidden", steps=4, threads=2, batch_size=16)
        second = trained(tmp_path / "stored", taking(taught, kept["hidden"].root / "signals"), given)
    name = "checkpoint/model.safetensors"
    assert (first.root / name).read_bytes() == (second.root / name).read_bytes()


def test_log_probabilities_that_were_stored_train_the_same_within_rounding(
    taught: dict[str, Path], kept: dict[str, Stage], asking: Stage, tmp_path: Path
) -> None:
    found = trained(tmp_path, taking(taught, kept["full"].root / "signals"), params("full"))
    for name, tensor in weights(asking).items():
        torch.testing.assert_close(weights(found)[name], tensor, rtol=1e-3, atol=2e-5)


def test_with_every_token_stored_the_likeliest_are_all_there_is(
    taught: dict[str, Path], asking: Stage, tmp_path: Path
) -> None:
    whole = recorded(tmp_path / "all", taught, asked(Likeliest(form="top_k", k=world.VOCAB)))
    found = trained(tmp_path / "kd", taking(taught, whole.root / "signals"), params("top_k"))
    for name, tensor in weights(asking).items():
        torch.testing.assert_close(weights(found)[name], tensor, rtol=1e-3, atol=2e-5)
    assert whole.reports["report"]["data"]["mass"]["value"] == pytest.approx(1.0)


def test_the_likeliest_tokens_train_towards_the_teacher(
    taught: dict[str, Path], kept: dict[str, Stage], asking: Stage, tmp_path: Path
) -> None:
    """Another objective, named so in the lock; and it is one that falls."""
    found = trained(tmp_path, taking(taught, kept["top_k"].root / "signals"), params("top_k", steps=30))
    term = found.reports["report"]["data"]["terms"]["kl"]
    assert term["semantics"]["tail"].startswith("one bucket")
    assert term["final"]["value"] < term["first"]["value"]
    assert term["first"]["value"] < asking.reports["report"]["data"]["terms"]["kl"]["first"]["value"]


def test_no_teacher_is_opened_where_its_signals_are_stored(
    taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_folder: Path) -> Any:
        raise AssertionError("the teacher was loaded")

    monkeypatch.setattr(teaching, "loaded", never)
    away = shutil.move(taught["teacher"], tmp_path / "teacher")
    try:
        for form in FORMS:
            trained(tmp_path / form, taking(taught, kept[form].root / "signals"), params(form, steps=2))
    finally:
        shutil.move(away, taught["teacher"])


def test_two_students_of_other_shapes_read_one_recording(
    taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path
) -> None:
    takes = taking(taught, kept["top_k"].root / "signals")
    shape = world.architecture(num_hidden_layers=1)
    for name, given in (("one", params("top_k")), ("two", params("top_k", architecture=shape, batch_size=3))):
        data = trained(tmp_path / name, takes, given).reports["report"]["data"]["signals"]
        assert data["covered"]["value"] == 1
        assert data["margin"]["value"] > 0
        assert [one["shift"]["value"] for one in data["beside"]] == [-2, -1, 1, 2]


def test_every_parameter_is_read(taught: dict[str, Path], tmp_path: Path) -> None:
    for name, store in {**FORMS, "bf16": Full(form="full", dtype="bf16")}.items():
        ledger = Ledger()
        stage = Stage(tmp_path / name, taught)
        given = asked(store)
        record_signals(taught, record(given, ledger), stage)
        catalog.load("steps", "record_signals").takes_of(record(given, ledger))
        assert ledger.unread() == [], name


# -- what is written ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_bounded_listed_and_counted(form: str, kept: dict[str, Stage]) -> None:
    folder, data = kept[form].root / "signals", kept[form].reports["report"]["data"]
    index = json.loads((folder / "signals.json").read_text())
    names = {path.name for path in folder.iterdir()}
    assert names == {"signals.json", *index["files"]}
    shards = sorted(name for name in names if name.startswith("shard-"))
    assert len(shards) == data["shards"]["value"] > 2
    assert max((folder / name).stat().st_size for name in shards) < (1 << 13) + 1024
    assert ("head.safetensors" in names) == (form == "hidden")
    each = signals.token_bytes(FORMS[form], vocab=world.VOCAB, width=48, floats="fp32", temperatures=2)
    held = sum(tensor.nbytes for name in shards for tensor in load_file(folder / name).values())
    assert held == each * data["tokens"]["value"] == data["token_bytes"]["value"] * data["tokens"]["value"]
    assert sum(index["files"][name]["bytes"] for name in index["files"]) == data["bytes"]["value"]
    for name in index["files"]:
        assert digest.of_file(folder / name) == index["files"][name]["digest"]


@pytest.mark.parametrize("form", FORMS)
def test_a_rows_numbers_do_not_depend_on_its_neighbours(form: str, kept: dict[str, Stage]) -> None:
    data = kept[form].reports["report"]["data"]
    assert data["same_alone"]["n"] == 16
    assert data["agreeing"]["value"] == 1
    assert data["largest_difference"]["value"] < 1e-5


def test_a_row_that_is_not_what_it_is_alone_is_found(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher whose numbers depend on the rows that go through it together."""
    hidden_of = teaching.hidden_of

    def together(model: Any, groups: Any, place: Any) -> torch.Tensor:
        return hidden_of(model, groups, place) * (1 + 0.01 * sum(group.rows for group in groups))

    monkeypatch.setattr(recording, "hidden_of", together)
    data = recorded(tmp_path, taught, asked(FORMS["hidden"])).reports["report"]["data"]
    assert data["agreeing"]["value"] < 1
    assert data["largest_difference"]["value"] > 1e-3


def test_the_validation_rows_are_recorded_with_the_training_rows(taught: dict[str, Path], tmp_path: Path) -> None:
    more = tmp_path / "dataset"
    shutil.copytree(taught["dataset"], more)
    lines = (more / "train.jsonl").read_text().splitlines(keepends=True)
    (more / "train.jsonl").write_text("".join(lines[:30]))
    (more / "validation.jsonl").write_text("".join(lines[30:]))
    data = recorded(tmp_path / "out", {**taught, "dataset": more}, asked(FORMS["top_k"])).reports["report"]["data"]
    assert data["rows"]["value"] == 40


def test_more_tokens_than_there_are_is_refused_with_the_number(taught: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=f"the vocabulary has {world.VOCAB}"):
        recorded(tmp_path, taught, asked(Likeliest(form="top_k", k=world.VOCAB + 1)))


def test_too_little_room_is_said_before_anything_is_computed(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=50_000_000))
    monkeypatch.setattr(signals, "SHARD_BYTES", 50_000_000)
    monkeypatch.setattr(recording, "hidden_of", lambda *_: pytest.fail("the teacher ran"))
    with pytest.raises(Refusal, match="50,000,000 are free") as refused:
        recorded(tmp_path, taught, asked(FORMS["full"]))
    assert refused.value.code == "KR0138"


# -- kills -------------------------------------------------------------------------------------------------------------


def test_killed_while_it_records_it_goes_on_with_the_shards_that_are_whole(
    taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tensor.train.killed"])
    ours, theirs = context.Pipe()
    process = context.Process(target=killed.record, args=(taught, tmp_path / "scratch", tmp_path / "first", theirs))
    process.start()
    theirs.close()
    while ours.recv() in ("0 shards", "1 shards"):
        ours.send(None)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "scratch/signals").glob("shard-*")}
    assert len(before) >= 2

    monkeypatch.setattr(signals, "SHARD_BYTES", 1 << 13)
    stage = Stage(tmp_path / "second", taught)
    stage.scratch = tmp_path / "scratch"
    record_signals(taught, killed.recording(), stage)
    assert any(line.startswith("continuing at token ") for line in stage.said)
    # in lots, as its progress: so many need not go through the teacher again
    begun, *_, whole = stage.kept_at
    assert 0 < begun < whole
    assert stage.kept_at == sorted(stage.kept_at)
    assert kept["top_k"].kept_at[0] == 0
    assert kept["top_k"].kept_at[-1] == whole
    assert {name: (tmp_path / "scratch/signals" / name).stat().st_mtime_ns for name in before} == before
    assert digest.of_folder(stage.root / "signals") == digest.of_folder(kept["top_k"].root / "signals")
    assert stage.reports["report"]["data"] == kept["top_k"].reports["report"]["data"]


class Cut(Stage):
    """A Context whose step ends when two shards are whole."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, note)
        if note == "2 shards":
            raise KeyboardInterrupt


def test_a_recording_goes_on_with_the_products_that_it_began_with(
    taught: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On whatever processor it goes on: the bits are those of an undisturbed recording."""
    monkeypatch.setattr(signals, "SHARD_BYTES", 1 << 13)
    monkeypatch.setattr(linear, "gains", lambda: False)
    whole = recorded(tmp_path / "whole", taught, asked(FORMS["hidden"]))
    cut, again = Cut(tmp_path / "cut", taught), Stage(tmp_path / "again", taught)
    again.scratch = cut.scratch
    with pytest.raises(KeyboardInterrupt):
        record_signals(taught, asked(FORMS["hidden"]), cut)
    monkeypatch.setattr(linear, "gains", lambda: True)
    record_signals(taught, asked(FORMS["hidden"]), again)
    assert any("continuing" in line for line in again.said)
    assert json.loads((again.root / "signals/signals.json").read_text())["products"] == "torch"
    assert digest.of_folder(again.root / "signals") == digest.of_folder(whole.root / "signals")


def test_a_shard_that_a_kill_tore_is_made_again(
    taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "SHARD_BYTES", 1 << 13)
    first = recorded(tmp_path / "first", taught, asked(FORMS["full"]))
    torn = first.scratch / "signals/shard-00001.safetensors"
    data = torn.read_bytes()
    # the finished artifact has the same bytes under another name
    torn.unlink()
    torn.write_bytes(data[: len(data) // 2])
    second = Stage(tmp_path / "second", taught)
    second.scratch = first.scratch
    record_signals(taught, asked(FORMS["full"]), second)
    why = "shard-00001.safetensors was changed after it was written: it is made again, and those after it"
    assert why in second.said
    assert second.kept_at[0] < first.kept_at[-1] == second.kept_at[-1]
    assert digest.of_folder(second.root / "signals") == digest.of_folder(kept["full"].root / "signals")


def test_shards_of_another_recording_are_not_continued(
    taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "SHARD_BYTES", 1 << 13)
    first = recorded(tmp_path / "first", taught, asked(Likeliest(form="top_k", k=8)))
    second = Stage(tmp_path / "second", taught)
    second.scratch = first.scratch
    record_signals(taught, asked(FORMS["top_k"]), second)
    assert not any("continuing" in line for line in second.said)
    assert digest.of_folder(second.root / "signals") == digest.of_folder(kept["top_k"].root / "signals")


# -- what is refused ---------------------------------------------------------------------------------------------------


def spoiled(kept: Stage, folder: Path) -> Path:
    shutil.copytree(kept.root / "signals", folder)
    return folder


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("shard-00002.safetensors", flip, "was changed"),
        ("shard-00001.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-40]), "is torn"),
        ("shard-00000.safetensors", Path.unlink, "is not here"),
        ("rows.safetensors", flip, "was changed"),
        ("signals.json", lambda path: path.write_text("{"), "cannot be read"),
        ("signals.json", lambda path: path.write_text(path.read_text().replace('"1.0"', '"2.0"')), "version 2.0"),
        ("signals.json", lambda path: path.write_text(path.read_text().replace("shard-00003", "shard-x")), "not list"),
    ],
)
def test_a_file_that_is_not_what_was_written_is_named(
    name: str,
    spoil: Callable[[Path], Any],
    said: str,
    taught: dict[str, Path],
    kept: dict[str, Stage],
    tmp_path: Path,
) -> None:
    folder = spoiled(kept["top_k"], tmp_path / "signals")
    spoil(folder / name)
    with pytest.raises(BrokenEvidence, match=said) as broken:
        trained(tmp_path / "kd", taking(taught, folder), params("top_k", batch_size=40))
    assert broken.value.subject == (name if said != "not list" else "shard-00003.safetensors")


def rewritten(folder: Path, tensors: dict[str, torch.Tensor], name: str) -> None:
    """A file of an artifact written anew, and listed as if it had always been so."""
    save_file(tensors, folder / name)
    index = json.loads((folder / "signals.json").read_text())
    index["files"][name] = {"bytes": (folder / name).stat().st_size, "digest": digest.of_file(folder / name)}
    (folder / "signals.json").write_text(json.dumps(index))


@pytest.mark.parametrize("by", [also(-2), -1, 1, also(2)])
@pytest.mark.parametrize("form", FORMS)
def test_signals_beside_their_tokens_are_refused_with_the_numbers(
    form: str, by: int, taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path
) -> None:
    """All that is stored stands some places off, and every digest is right: only a measurement can tell."""
    folder = spoiled(kept[form], tmp_path / "signals")
    names = sorted(path.name for path in folder.glob("shard-*"))
    shards = [load_file(folder / name) for name in names]
    moved = {key: torch.cat([shard[key] for shard in shards]).roll(-by, 0) for key in shards[0]}
    begin = 0
    for name, shard in zip(names, shards, strict=True):
        end = begin + len(next(iter(shard.values())))
        rewritten(folder, {key: tensor[begin:end].contiguous() for key, tensor in moved.items()}, name)
        begin = end
    with pytest.raises(Refusal, match="do not stand at the rows' own tokens: those") as refused:
        trained(tmp_path / "kd", taking(taught, folder), params(form))
    assert refused.value.code == "KR0126"
    assert "nat/token" in refused.value.message


def test_a_row_without_signals_is_refused_by_its_name(
    taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path
) -> None:
    other = tmp_path / "dataset"
    shutil.copytree(taught["dataset"], other)
    lines = (other / "train.jsonl").read_text().splitlines(keepends=True)
    assert "make it stop 6" in lines[6]
    lines[6] = lines[6].replace("make it stop 6", "make it stop, all of it")
    (other / "train.jsonl").write_text("".join(lines))
    takes = {**taking(taught, kept["hidden"].root / "signals"), "dataset": other}
    with pytest.raises(
        Refusal, match=r"supervised tokens \d+ have no stored signal; the first is in row `row-6`"
    ) as refused:
        trained(tmp_path / "kd", takes, params("hidden", batch_size=40))
    assert refused.value.code == "KR0132"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokenizer": "sha256:" + "0" * 64}, "tokenizer"),
        ({"vocab_size": world.VOCAB + 1}, "vocabulary width"),
        ({"form": "top_k"}, "form"),
    ],
)
def test_signals_of_another_tokenizer_width_or_form_are_refused(
    change: dict[str, Any], said: str, taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path
) -> None:
    folder = spoiled(kept["full"], tmp_path / "signals")
    index = json.loads((folder / "signals.json").read_text())
    (folder / "signals.json").write_text(json.dumps({**index, **change}))
    with pytest.raises(Refusal, match=f"recorded with {said}") as refused:
        trained(tmp_path / "kd", taking(taught, folder), params("full"))
    assert refused.value.code == "KR0132"


def test_signals_without_a_temperature_of_a_term_are_refused(
    taught: dict[str, Path], kept: dict[str, Stage], tmp_path: Path
) -> None:
    given = params("top_k")
    warmer = [
        one.model_copy(update={"params": {"temperature": 3.0}}) if one.term == "kl" else one for one in given.losses
    ]
    with pytest.raises(Refusal, match=r"recorded with temperatures \[1.0, 2.0\], the training has \[1.0, 2.0, 3.0\]"):
        trained(tmp_path, taking(taught, kept["top_k"].root / "signals"), given.model_copy(update={"losses": warmer}))


def test_terms_are_tried_before_training_as_they_will_be_read(base: dict[str, Path], tmp_path: Path) -> None:
    terms = [
        Tried(term=one.term, version=one.version, params=one.params, semantics=one.semantics)
        for one in losses(True)
        if one.term in ("kl", "reverse_kl", "ce_truth")
    ]
    stage = Stage(tmp_path, base)
    given = ReachParams(architecture=world.architecture(), terms=terms, of_top=True, max_length=96, threads=1)
    reach(base, given, stage)
    assert set(stage.reports["report"]["data"]["terms"]) == {"kl", "reverse_kl", "ce_truth"}
    with pytest.raises(Refusal, match="another meaning"):
        reach(base, given.model_copy(update={"of_top": False}), stage)
