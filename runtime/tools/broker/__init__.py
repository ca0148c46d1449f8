"""Calls of tools → what the tools were recorded to answer, never from the network; a call nothing answers is a miss.

One JSON Lines file per tool (`runtime/contract/fixtures.py` says what may stand in it), and `world.jsonl` with what is
known of the world that stateful tools read and change. Another way to answer is another kind of line: a reader there,
and a branch of `Session.call`.
"""
