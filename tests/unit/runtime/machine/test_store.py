from __future__ import annotations

from pathlib import Path

import pytest

from runtime import digest
from runtime.contract import BrokenEvidence
from runtime.machine.store import Staged, Store


def folder(tmp_path: Path, text: str = "weights", name: str = "out") -> Path:
    made = tmp_path / name
    (made / "inner").mkdir(parents=True)
    (made / "inner" / "model.bin").write_text(text)
    (made / "config.json").write_text("{}")
    return made


def publish(store: Store, source: Path) -> str:
    staged = store.stage(source)
    store.publish(staged)
    return staged.digest


def test_what_is_published_is_named_by_its_content_and_found_again(tmp_path: Path) -> None:
    source = folder(tmp_path)
    expected = digest.of_folder(source)
    store = Store(tmp_path / "state")
    staged = store.stage(source)
    assert (staged.digest, staged.size_bytes) == (expected, 9)
    place = store.publish(staged)
    assert place == tmp_path / "state" / "store" / "sha256" / expected[7:9] / expected[7:]
    assert not source.exists()
    fresh = Store(tmp_path / "state")
    assert fresh.present(expected) is True
    assert (fresh.read(expected) / "inner" / "model.bin").read_text() == "weights"
    assert fresh.digests() == [expected]


def test_an_artifact_is_read_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    place = store.read(publish(store, folder(tmp_path)))
    assert [path.stat().st_mode & 0o222 for path in (place, place / "inner", place / "config.json")] == [0, 0, 0]


def test_an_equal_artifact_is_kept_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    first, second = publish(store, folder(tmp_path)), publish(store, folder(tmp_path, name="again"))
    assert first == second
    assert len(store.digests()) == 1
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("damage", ["flip", "remove", "add", "rename", "link"])
def test_any_damage_is_seen_on_read_and_never_used(tmp_path: Path, damage: str) -> None:
    state = tmp_path / "state"
    name = publish(Store(state), folder(tmp_path))
    place = Store(state).path(name)
    for path in (place, place / "inner"):
        path.chmod(0o755)
    model = place / "inner" / "model.bin"
    model.chmod(0o644)
    if damage == "flip":
        model.write_text("Weights")
    elif damage == "remove":
        model.unlink()
    elif damage == "add":
        (place / "inner" / "more").write_text("")
    elif damage == "rename":
        model.rename(place / "inner" / "other.bin")
    else:
        model.unlink()
        model.symlink_to(place / "config.json")
    store = Store(state)
    assert store.present(name) == "corrupt"
    with pytest.raises(BrokenEvidence, match="not what was stored"):
        store.read(name)


def test_every_flipped_byte_is_seen(tmp_path: Path) -> None:
    state = tmp_path / "state"
    name = publish(Store(state), folder(tmp_path, text="0123456789"))
    model = Store(state).path(name) / "inner" / "model.bin"
    model.chmod(0o644)
    whole = model.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        model.write_bytes(flipped)
        assert Store(state).present(name) == "corrupt"
    model.write_bytes(whole)
    assert Store(state).present(name) is True


def test_a_corrupt_artifact_goes_to_quarantine_and_can_be_made_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = Store(state)
    name = publish(store, folder(tmp_path))
    for number in (1, 2):
        (store.path(name) / "config.json").chmod(0o644)
        (store.path(name) / "config.json").write_text("broken")
        store.forget(name)
        assert store.quarantine(name) == state / "quarantine" / f"{name[7:]}-{number}"
        assert store.present(name) is False
        assert publish(store, folder(tmp_path)) == name
        assert Store(state).present(name) is True


def test_publishing_over_a_corrupt_artifact_replaces_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    name = publish(Store(state), folder(tmp_path))
    (Store(state).path(name) / "config.json").chmod(0o644)
    (Store(state).path(name) / "config.json").write_text("broken")
    assert publish(Store(state), folder(tmp_path)) == name
    assert Store(state).present(name) is True


def test_what_is_missing_is_not_present(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = "sha256:" + "0" * 64
    assert store.present(name) is False
    with pytest.raises(BrokenEvidence, match="not in the store"):
        store.read(name)


@pytest.mark.parametrize("name", ["", "sha256:", "sha256:../../etc", "md5:" + "0" * 64, "sha256:" + "A" * 64])
def test_a_text_that_is_no_digest_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        Store(tmp_path).path(name)


def test_links_in_outputs_are_refused(tmp_path: Path) -> None:
    source = folder(tmp_path)
    (source / "link").symlink_to("config.json")
    with pytest.raises(ValueError, match="symbolic link"):
        Store(tmp_path / "state").stage(source)


def test_gc_removes_what_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    kept, gone = publish(store, folder(tmp_path)), publish(store, folder(tmp_path, text="other"))
    assert store.gc({kept}) == [gone]
    assert store.digests() == [kept]
    assert store.present(gone) is False
    assert Store(tmp_path / "state").present(kept) is True


def test_a_staged_folder_can_be_published_by_another_process(tmp_path: Path) -> None:
    staged = Store(tmp_path / "state").stage(folder(tmp_path))
    again = Staged(folder=staged.folder, digest=staged.digest, size_bytes=staged.size_bytes)
    assert Store(tmp_path / "state").publish(again).is_dir()
