"""Steps that need no toolchain beyond the core dependencies."""

from runtime.contract import Backend

BACKEND = Backend(
    name="python",
    version=1,
    operations={"data": "runtime.data.prepare:prepare", "replay": "runtime.data.replay:replay"},
)
