"""onnx and onnxruntime: the exported program as ONNX files, and a third opinion of what it computes."""

from runtime.contract import Backend

BACKEND = Backend(
    name="onnx",
    version=1,
    operations={
        "verify_onnx": "runtime.mil.onnx_parity:verify",
        "write_onnx": "runtime.models.onnx_files:write",
    },
    requires={
        "coremltools": "9.0",
        "numpy": "2.4.6",
        "onnx": "1.23.2",
        "onnxruntime": "1.32.0",
        "onnxscript": "0.7.2",
        "safetensors": "0.8.0",
        "torch": "2.13.0",
    },
    extra="onnx",
)
