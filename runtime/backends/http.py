"""Clients of what is elsewhere: teachers, runners and judges behind HTTP, and repositories of weights."""

from runtime.contract import Backend

BACKEND = Backend(
    name="http",
    version=1,
    operations={
        "ask": "runtime.asking.ask:ask",
        "evaluate": "runtime.asking.hosted_judge:evaluate",
        "harvest": "runtime.data.harvest:harvest",
        "fetch": "runtime.data.fetch:fetch",
    },
    requires={"httpx": "0.28.1", "stamina": "26.1.0", "huggingface_hub": "2.4.0"},
    extra="http",
)
