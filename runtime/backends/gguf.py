"""gguf and torch: weights of a GGUF file become plain floats, and a checkpoint a GGUF file."""

from runtime.contract import Backend

BACKEND = Backend(
    name="gguf",
    version=1,
    operations={
        "read_gguf": "runtime.models.unpacking:read_gguf",
        "write_gguf": "runtime.asking.writing:write_gguf",
    },
    requires={"gguf": "0.19.0", "numpy": "2.4.6", "safetensors": "0.8.0", "torch": "2.13.0"},
    extra="gguf",
)
