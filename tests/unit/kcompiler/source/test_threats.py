"""T01: text made to exhaust the reader is refused, or read, within a second and 200 MB."""

import resource
import time

import pytest

from kcompiler.source import load

N = 999_000
HOSTILE = {
    "five thousand nestings": "[" * 5000,
    "nested mappings": "{a: " * (N // 4),
    "nested in block style": "- " * (N // 2),
    "alias bomb": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
    "many aliases": "- &a x\n" + "- *a\n" * (N // 5),
    "many anchors": "".join(f"- &a{i} x\n" for i in range(N // 12)),
    "long scalar": "a: " + "x" * N,
    "long quoted scalar": 'a: "' + "x" * (N - 9) + '"',
    "long key": "a" * N + ": 1",
    "long integer": "a: " + "9" * N,
    "long float": "a: 1." + "9" * N + "e5",
    "long exponent": "a: 1e" + "9" * N,
    "underscores": "a: " + "1_000" * (N // 5),
    "many items": "[" + "a," * (N // 2) + "]",
    "duplicate keys": "a: 1\n" * (N // 5),
    "numbers as keys": "1: 1\n" * (N // 5),
    "not finite": "[" + ".nan," * (N // 5) + "]",
    "tags": "- !a b\n" * (N // 7),
    "hidden characters": "a: " + "\u202e" * (N // 3),
    "conflict markers": "<<<<<<< \n" * (N // 9),
    "empty lines": "\n" * (N - 9) + "a: 1",
    "spaces": " " * (N - 9) + "a: 1",
    "comment": "#" + "x" * N,
    "documents": "---\n" * (N // 4),
    "question marks": "? " * (N // 2),
    "a hundred megabytes": "a: " + "x" * 10**8,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_little(name):
    data = HOSTILE[name].encode()
    before = time.process_time()
    _, found = load("f.yaml", data)
    assert time.process_time() - before < 2.0, "one second on an idle machine, twice that in company"
    assert len(found) <= 101


def test_hostile_text_needs_little_memory():
    text = HOSTILE["many items"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    load("f.yaml", text.encode())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "KiB"
