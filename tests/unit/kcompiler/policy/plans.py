"""What the plans of the kept reports (`reports/`) ask of their steps."""

from __future__ import annotations

from typing import Any

_COVERING = {"prefill": [64, 128, 256], "decode_context": 256, "layers": 3, "golden_prompts": 2, "decode_steps": 4}
_RECIPE = {"default": {"weights": "int8"}, "rules": [{"match": "*norm*", "weights": "fp16"}]}
VERIFY: dict[str, Any] = {**_COVERING, "islands": ["rms_norm"], "mode": "fp16_round", "recipe": _RECIPE}
LEDGER: dict[str, Any] = {**_COVERING, "mode": "fp16_round", "float32": 1e-5, "float16": 0.02, "quantized": 0.05}
ONNX: dict[str, Any] = {**_COVERING, "prefill": [32, 48]}
CALIBRATE: dict[str, Any] = {
    "sources": {"answers": 48},
    "split": "train",
    "activations": [f"model.layers.{i}.mlp.{name}_proj" for i in range(3) for name in ("gate", "up", "down")],
}
