from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.contract import BrokenEvidence
from runtime.contract.chain import GENESIS, _hash, check_head, head_text, read, seal, unseal


def journal(count: int, fence: int = 1) -> bytes:
    text, prev = b"", GENESIS
    for seq in range(1, count + 1):
        line = seal(body(seq, prev, fence))
        text, prev = text + line, unseal(line, subject="x").hash
    return text


def body(seq: int, prev: str, fence: int = 1) -> dict[str, Any]:
    data = {"step": "kd", "message": "größer ≥ 2"}
    return {"seq": seq, "prev": prev, "run": "r1", "fence": fence, "ts": "", "type": "step_failed", "data": data}


def test_what_is_sealed_is_read_back() -> None:
    chain = read(journal(3))
    assert [line.seq for line in chain.lines] == [1, 2, 3]
    assert chain.lines[0].data == {"step": "kd", "message": "größer ≥ 2"}
    assert b"".join(line.text for line in chain.lines) == journal(3)
    assert chain.torn == b""
    assert chain.head == chain.lines[-1].hash
    assert read(b"").head == GENESIS


def test_every_flipped_bit_of_every_byte_is_noticed_and_its_line_named() -> None:
    text, head = journal(3), read(journal(3))
    anchor = head_text(3, head.head)
    ends = [len(line.text) for line in head.lines]
    starts = [0, ends[0], ends[0] + ends[1]]
    for position in range(len(text)):
        damaged = bytearray(text)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(BrokenEvidence) as caught:
            check_head(read(bytes(damaged)), anchor)
        number = sum(start <= position for start in starts)
        # A damaged line end joins two lines, or leaves the last one incomplete: then the journal itself is named.
        assert caught.value.subject in (f"journal:{number}", "journal")


def test_a_cut_at_every_byte_is_noticed_by_the_anchor() -> None:
    text = journal(3)
    anchor = head_text(3, read(text).head)
    for size in range(len(text)):
        with pytest.raises(BrokenEvidence, match="missing at the end"):
            check_head(read(text[:size]), anchor)


def test_lines_swapped_repeated_or_removed_are_noticed() -> None:
    first, second, third = (line.text for line in read(journal(3)).lines)
    for text in (second + first + third, first + third, first + first + second, first + second + second + third):
        with pytest.raises(BrokenEvidence):
            read(text)


def test_a_line_that_follows_another_line_than_the_one_before_it_is_noticed() -> None:
    """As when a line in the midst is replaced by one with a right hash of its own."""
    first, second = (line.text for line in read(journal(2)).lines)
    other = seal({**body(1, GENESIS), "data": {"step": "forged"}})
    assert first != other
    with pytest.raises(BrokenEvidence, match="does not follow the line before it"):
        read(other + second)


def test_a_fence_that_falls_is_noticed() -> None:
    first = seal(body(1, GENESIS, fence=2))
    second = seal(body(2, unseal(first, subject="x").hash, fence=1))
    with pytest.raises(BrokenEvidence, match="fence 1 after fence 2"):
        read(first + second)


def test_the_last_line_may_be_incomplete_if_it_was_never_anchored() -> None:
    text = journal(3)
    two = read(journal(2))
    torn = text[: len(journal(2)) + 10]
    chain = read(torn)
    check_head(chain, head_text(2, two.head))
    assert chain.torn == torn[len(journal(2)) :]
    nul = read(journal(2) + b"\0" * 4096)
    check_head(nul, head_text(2, two.head))
    assert nul.torn == b"\0" * 4096


def test_a_crash_leaves_the_anchor_one_line_behind_and_no_more() -> None:
    chain = read(journal(3))
    check_head(chain, head_text(2, chain.lines[1].hash))
    with pytest.raises(BrokenEvidence, match="2 lines follow"):
        check_head(chain, head_text(1, chain.lines[0].hash))


@pytest.mark.parametrize("head", [b"", b"{}", b"[]", b'{"seq": "x", "hash": ""}', b'{"seq": 0, "hash": ""}', b"\xff"])
def test_an_unreadable_anchor_is_no_anchor(head: bytes) -> None:
    with pytest.raises(BrokenEvidence):
        check_head(read(journal(2)), head)


def test_an_anchor_may_be_absent_only_for_the_first_line() -> None:
    check_head(read(b""), None)
    check_head(read(journal(1)), None)
    with pytest.raises(BrokenEvidence, match="is gone"):
        check_head(read(journal(2)), None)


def test_an_anchor_of_another_journal_is_refused() -> None:
    with pytest.raises(BrokenEvidence, match="not the line of that number"):
        check_head(read(journal(2)), head_text(2, GENESIS))


def test_a_line_with_a_right_hash_and_a_wrong_shape_is_refused() -> None:
    import hashlib

    for content in ({"seq": 1}, {**body(1, GENESIS), "seq": "1"}, {**body(1, GENESIS), "fence": True}):
        text = json.dumps(content).encode()
        stated = hashlib.sha256(b"kc.journal.v1\0" + text).hexdigest()
        line = text[:-1] + f',"hash":"sha256:{stated}"}}\n'.encode()
        with pytest.raises(BrokenEvidence, match="not a journal event"):
            read(line)


def test_events_of_unknown_type_or_with_nan_are_not_written() -> None:
    with pytest.raises(ValueError, match="no such type"):
        seal({**body(1, GENESIS), "type": "whatever"})
    with pytest.raises(ValueError, match="JSON compliant"):
        seal({**body(1, GENESIS), "data": {"wall_s": float("nan")}})
    with pytest.raises(ValueError, match="has the keys"):
        seal({"seq": 1})


DEEP = b"[" * 200_000


def test_what_nests_too_deep_is_broken_evidence() -> None:
    """Also where a line states the right hash: that anybody can compute."""
    with pytest.raises(BrokenEvidence, match="not readable"):
        check_head(read(journal(2)), DEEP)
    deep = b'{"data":' + DEEP
    with pytest.raises(BrokenEvidence, match="the line is not JSON"):
        unseal(deep + b',"hash":"' + _hash(deep + b"}").encode() + b'"}\n', subject="x")
    with pytest.raises(BrokenEvidence, match="not a journal event"):
        unseal(b'{"seq":1' + b',"hash":"' + _hash(b'{"seq":1}').encode() + b'"}\n', subject="x")
