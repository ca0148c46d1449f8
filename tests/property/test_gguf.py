"""Whatever bytes a GGUF file has, it is a model, or it is refused in one of two ways, soon and in little memory."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import gguf, gguf_model
from runtime.contract.gguf_words import Unsupported
from tests import gguf_files as made

WHOLE = made.small()
HEADER = WHOLE.index(made.floats("token_embd.weight", 4))
BYTES = st.one_of(st.sampled_from([0, 1, 127, 128, 255]), st.integers(0, 255))


@settings(max_examples=int(os.environ.get("GGUF_EXAMPLES", "150")), deadline=2000)
@given(st.dictionaries(st.integers(0, HEADER - 1), BYTES, min_size=1, max_size=6), st.integers(0, len(WHOLE)))
def test_changed_bytes_are_read_or_refused(changes, end):
    data = bytearray(WHOLE)
    for place, byte in changes.items():
        data[place] = byte
    with TemporaryDirectory() as folder:
        path = Path(folder, "it.gguf")
        path.write_bytes(data[: end if end % 3 == 0 else len(data)])
        said = ""
        try:
            gguf_model.of(gguf.read(path))
        except (gguf.Broken, Unsupported) as reason:
            said = str(reason)
        assert len(said) < 500
