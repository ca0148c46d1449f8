"""torch with torchao beside it: what runs a teacher whose weights are rounded to few bits."""

from runtime.contract import Backend

BACKEND = Backend(
    name="torchao",
    version=1,
    operations={
        "round_teacher": "runtime.train.rounding:round_teacher",
        "record_signals": "runtime.train.recording:record_signals",
        "train": "runtime.train.distill:train",
    },
    devices="runtime.models.device:words",
    requires={
        "torch": "2.13.0",
        "torchao": "0.18.0",
        "transformers": "5.23.0",
        "tokenizers": "0.23.3",
        "safetensors": "0.8.0",
        "sentencepiece": "0.2.3",
        "jinja2": "3.1.6",
        "numpy": "2.4.6",
    },
    extra="torchao",
)
