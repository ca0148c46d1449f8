"""llama.cpp by llama-cpp-python: GGUF files run on the processor."""

from runtime.contract import Backend

BACKEND = Backend(
    name="llama",
    version=1,
    operations={"ask": "runtime.asking.ask:ask"},
    requires={
        "llama-cpp-python": "0.3.36",
        "gguf": "0.19.0",
        "tokenizers": "0.23.3",
        "safetensors": "0.8.0",
        "sentencepiece": "0.2.3",
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "jinja2": "3.1.6",
        "numpy": "2.4.6",
    },
    extra="llama",
)
