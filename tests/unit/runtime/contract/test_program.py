"""What becomes of a contract when a package keeps its caches in states."""

from __future__ import annotations

from runtime.contract.program import Cache, Contract, Function, Piece, Value, stateful


def value(name: str, *shape: int) -> Value:
    return Value(name=name, shape=[*shape], dtype="float16")


def test_every_piece_that_writes_is_told_where_and_no_other() -> None:
    """A piece of the profile `ane` is fed masks and not its position; a chunk without layers writes nothing."""
    caches = [value("key_cache", 2, 1, 8, 4), value("value_cache", 2, 1, 8, 4)]
    given = [value("logits", 1, 1, 9), value("new_key", 2, 1, 1, 4), value("new_value", 2, 1, 1, 4)]
    ends = {"inputs": [value("hidden", 1, 1, 4)], "outputs": [value("logits", 1, 1, 9)]}
    position = Value(name="position", shape=[1], dtype="int32")
    decode = Function(
        kind="decode",
        length=1,
        inputs=[value("input_ids", 1, 1), position, *caches],
        outputs=given,
        parameters={},
        modules={},
        pieces=[
            Piece(function="decode", layers=(0, 2), inputs=[value("mask", 1, 1, 1, 8), *caches], outputs=given[1:]),
            Piece(package="chunk_2", function="decode", layers=(2, 2), **ends),
        ],
    )
    made = Contract.model_construct(
        functions={"decode": decode}, kv_cache=Cache(layers=2, heads=1, head_dim=4, context=8)
    )
    found = stateful(made).functions["decode"]
    assert [one.name for one in found.inputs] == ["input_ids", "position"]
    assert found.pieces is not None
    assert [[one.name for one in piece.inputs] for piece in found.pieces] == [["mask", "position"], ["hidden"]]
    assert [[one.name for one in piece.states or ()] for piece in found.pieces] == [["key_cache", "value_cache"], []]
