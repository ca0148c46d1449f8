"""The runner of servers and the runner of folders: `kcompiler serve DIR`, asked over HTTP, says what DIR says in torch."""

from __future__ import annotations

from pathlib import Path

from runtime.asking import checkpoint, server
from runtime.contract import parity
from runtime.contract.asked import Asked
from runtime.contract.hosted import Server
from runtime.runners.torch import TorchParams
from tests.unit.runtime.data.teaching import Stage

PROMPTS = ["Is it certain?", "Shall I go?", "tell me a story", "<|im_end|>", "ünïcödé 你好", "Is it certain?"]


def test_a_folder_and_its_server_give_one_answer(folder, plain, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    given = Server(base_url=plain.url, model=folder.name, requests_per_minute=100_000, concurrency=2)
    common = {"ctx": stage, "told": stage.progress}
    there = server.opened(Asked(name="there", params=given, takes={}, purse="test", **common))
    here = checkpoint.opened(Asked(name="here", params=TorchParams(model="taken"), takes={"model": folder}, **common))
    said = there.generate(PROMPTS, 12)
    assert said == here.generate(PROMPTS, 12)
    assert there.say(PROMPTS, 12) == here.say(PROMPTS, 12)
    # one answer to everything would show nothing
    assert len(set(said)) > 2
    lines = [
        [
            {"row": f"r{i}", "runner": name, "prompt": "", "output": text, "parts": {}, "reason": ""}
            for i, text in enumerate(texts)
        ]
        for name, texts in (("there", said), ("here", here.generate(PROMPTS, 12)))
    ]
    assert parity.compared(*lines, 1)["other_text"]["k"] == 0
