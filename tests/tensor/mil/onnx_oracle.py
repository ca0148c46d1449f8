"""onnxruntime as an oracle of one op."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from runtime.mil.numerics import Array


def by_onnxruntime(op_type: str, inputs: Mapping[str, Array | None], outputs: int, **attributes: Any) -> list[Array]:
    """The op's results over constants; an input of None is left out."""
    given = {name: np.asarray(value) for name, value in inputs.items() if value is not None}
    names = [f"out_{index}" for index in range(outputs)]
    node = helper.make_node(op_type, list(inputs), names, **attributes)
    features = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    graph = helper.make_graph([node], op_type, features, [onnx.ValueInfoProto(name=name) for name in names])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(names, given)]
