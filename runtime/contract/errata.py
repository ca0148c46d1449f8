"""Known defects of coremltools that a conversion knows how to avoid, by their ids in the compiler's table of errata."""

from __future__ import annotations

from collections.abc import Mapping

#: erratum → the rule of `runtime.models.fxlint` without whose finding the construct is not in the exported graph
ABSENT: Mapping[str, str] = {
    "rms-norm-eps": "FX-DENY",
    "alpha-ignored": "FX-KEYWORD",
    "triu-tril-nan": "FX-DENY",
    "mask-minus-infinity": "FX-FINITE",
    "scalar-select-rank": "FX-DENY",
    "keyword-dropped": "FX-KEYWORD",
    "reciprocal-epsilon": "FX-DENY",
    "log-softmax-floor": "FX-DENY",
    "log-epsilon": "FX-DENY",
    "log1p-expm1": "FX-DENY",
    "rsqrt-epsilon": "FX-EPSILON",
    "variance-of-all": "FX-WHOLE",
    "argmax-of-all": "FX-WHOLE",
    "softplus-threshold": "FX-SOFTPLUS",
    "integer-wraps": "FX-INT64",
    "scatter-add-folded": "FX-DENY",
    "attention-all-masked": "FX-DENY",
    "mutated-buffer-start": "FX-MUTATE",
    "fused-attention-ios26": "FX-DENY",
    "pow-base-two": "FX-DENY",
}
#: erratum whose workaround is to leave passes of coremltools out → those passes
LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "int16-ids": ("common::add_int16_cast",),
    "int16-cast-underflow": ("common::add_int16_cast",),
    "tensors-merged": ("common::noop_elimination", "common::const_deduplication"),
}
#: erratum for which a conversion does something → what, and the file whose code does it
CHANGED: Mapping[str, tuple[str, str]] = {
    "constants-quantized": ("left as they are", "runtime/mil/convert.py"),
    "tied-embedding-exemption": ("one form for all names of a tensor", "runtime/mil/quantize.py"),
    "multifunction-quantization": ("quantized in memory", "runtime/mil/convert.py"),
    "gelu-tanh": ("written out", "runtime/models/export.py"),
    "training-dialect": ("decomposed", "runtime/models/export.py"),
    "quantizer-import": ("quantized by code of this project", "runtime/mil/quantize.py"),
    "palettize-skipped-divided": ("quantized by code of this project", "runtime/mil/quantize.py"),
    "small-weights": ("settled to zero", "runtime/mil/convert.py"),
    "island-weights": ("stored in float16 and widened", "runtime/mil/islands.py"),
}
KNOWN = tuple(sorted({*ABSENT, *LEFT_OUT, *CHANGED}))
