"""What coremltools reads by keyword, for each ATen operator that its torch.export front end has a handler for.

Taken from the source of coremltools 9.0's handlers; `tests/tensor/coreml/test_handlers.py` takes it again from what is
installed. A handler that is not listed reads none: whatever it is given by keyword is dropped without a word.
"""

from __future__ import annotations

from collections.abc import Mapping

#: operator as coremltools spells it → the keywords its handler reads
READ: Mapping[str, frozenset[str]] = {
    "_convolution": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "_empty_dim_order": frozenset({"device", "dim_order", "dtype", "layout", "pin_memory"}),
    "_logcumsumexp": frozenset({"dtype"}),
    "_scaled_dot_product_flash_attention_for_cpu": frozenset({"attn_mask", "scale"}),
    "_slice": frozenset({"dim", "end", "start", "step"}),
    "_to_copy": frozenset({"dtype"}),
    "_to_dim_order_copy": frozenset({"device", "dim_order", "dtype", "layout", "non_blocking", "pin_memory"}),
    "_upsample_bilinear2d_aa": frozenset({"scales_h", "scales_w"}),
    "_upsample_bilinear2d_aa.vec": frozenset({"scales_h", "scales_w"}),
    "_weight_norm": frozenset({"dim"}),
    "_weight_norm_interface": frozenset({"dim"}),
    "addmm": frozenset({"alpha", "beta"}),
    "all": frozenset({"keepdim"}),
    "all.dim": frozenset({"keepdim"}),
    "all.dims": frozenset({"keepdim"}),
    "amax": frozenset({"dim", "keepdim"}),
    "amin": frozenset({"dim", "keepdim"}),
    "any": frozenset({"keepdim"}),
    "any.dim": frozenset({"keepdim"}),
    "any.dims": frozenset({"keepdim"}),
    "arange": frozenset({"step"}),
    "arange.start": frozenset({"step"}),
    "argmax": frozenset({"dim", "keepdim"}),
    "argmin": frozenset({"dim", "keepdim"}),
    "argsort": frozenset({"descending", "dim"}),
    "baddbmm": frozenset({"alpha", "beta"}),
    "cat": frozenset({"dim"}),
    "concat": frozenset({"dim"}),
    "constant_pad_nd": frozenset({"mode", "value"}),
    "conv1d": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "conv1d.padding": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "conv2d": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "conv2d.padding": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "conv3d": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "conv3d.padding": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "conv_transpose1d": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "conv_transpose2d.input": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "conv_transpose3d.input": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "convolution": frozenset({"bias", "dilation", "groups", "out_padding", "padding", "stride"}),
    "coreml.sdpa": frozenset({"attn_mask", "scale"}),
    "coreml::sdpa": frozenset({"attn_mask", "scale"}),
    "cumsum": frozenset({"dtype"}),
    "diagonal": frozenset({"dim1", "dim2", "offset"}),
    "diagonal_copy": frozenset({"dim1", "dim2", "offset"}),
    "dim_order_ops::_empty_dim_order": frozenset({"device", "dim_order", "dtype", "layout", "pin_memory"}),
    "dim_order_ops::_to_dim_order_copy": frozenset(
        {"device", "dim_order", "dtype", "layout", "non_blocking", "pin_memory"}
    ),
    "div": frozenset({"rounding_mode"}),
    "full": frozenset({"dtype"}),
    "glu": frozenset({"dim"}),
    "group_norm": frozenset({"bias", "weight"}),
    "index_put": frozenset({"accumulate"}),
    "leaky_relu": frozenset({"negative_slope"}),
    "linalg_vecdot": frozenset({"dim"}),
    "logcumsumexp": frozenset({"dtype"}),
    "logsumexp": frozenset({"keepdim"}),
    "mean": frozenset({"keepdim"}),
    "mean.dim": frozenset({"keepdim"}),
    "meshgrid": frozenset({"indexing"}),
    "meshgrid.indexing": frozenset({"indexing"}),
    "nan_to_num": frozenset({"nan", "neginf", "posinf"}),
    "one_hot": frozenset({"num_classes"}),
    "ones": frozenset({"dtype"}),
    "ones_like": frozenset({"dtype"}),
    "pad": frozenset({"mode", "value"}),
    "randn_like": frozenset({"device", "dtype", "layout", "memory_format", "pin_memory"}),
    "repeat_interleave": frozenset({"dim"}),
    "repeat_interleave.self_int": frozenset({"dim"}),
    "repeat_interleave.self_tensor": frozenset({"dim"}),
    "scaled_dot_product_attention": frozenset({"attn_mask", "scale"}),
    "scatter": frozenset({"reduce"}),
    "scatter.reduce": frozenset({"reduce"}),
    "scatter.src": frozenset({"reduce"}),
    "scatter.value": frozenset({"reduce"}),
    "scatter.value_reduce": frozenset({"reduce"}),
    "searchsorted": frozenset({"right", "side"}),
    "slice": frozenset({"dim", "end", "start", "step"}),
    "slice_copy": frozenset({"dim", "end", "start", "step"}),
    "sort": frozenset({"descending", "dim"}),
    "split": frozenset({"dim"}),
    "split_with_sizes": frozenset({"dim"}),
    "split_with_sizes_copy": frozenset({"dim"}),
    "stack": frozenset({"dim"}),
    "std": frozenset({"dim", "keepdim", "unbiased"}),
    "std.correction": frozenset({"correction", "dim", "keepdim"}),
    "std.dim": frozenset({"dim", "keepdim", "unbiased"}),
    "std_correction": frozenset({"correction", "dim", "keepdim"}),
    "stft": frozenset(
        {"align_to_window", "hop_length", "normalized", "onesides", "return_complex", "win_length", "window"}
    ),
    "sum": frozenset({"keepdim"}),
    "sum.dim_intlist": frozenset({"keepdim"}),
    "to": frozenset({"dtype"}),
    "topk": frozenset({"dim", "largest", "sorted"}),
    "truediv": frozenset({"rounding_mode"}),
    "unbind": frozenset({"dim"}),
    "unbind_copy": frozenset({"dim"}),
    "upsample_bilinear2d": frozenset({"scales_h", "scales_w"}),
    "upsample_bilinear2d.vec": frozenset({"scales_h", "scales_w"}),
    "upsample_linear1d": frozenset({"scales"}),
    "upsample_linear1d.vec": frozenset({"scales"}),
    "upsample_nearest1d": frozenset({"scales"}),
    "upsample_nearest1d.vec": frozenset({"scales"}),
    "upsample_nearest2d": frozenset({"scales_h", "scales_w"}),
    "upsample_nearest2d.vec": frozenset({"scales_h", "scales_w"}),
    "var": frozenset({"dim", "keepdim", "unbiased"}),
    "var.correction": frozenset({"correction", "dim", "keepdim"}),
    "var.dim": frozenset({"dim", "keepdim", "unbiased"}),
    "var_correction": frozenset({"correction", "dim", "keepdim"}),
}

#: namespaces and overloads that coremltools does not tell apart
_SPACES = ("aten::", "prim::")
_PLAIN = frozenset({"default", "int", "tensor", "tensor_mode", "scalar", "tensor_scalar"})


def kind_of(name: str) -> str:
    """`aten::add.Tensor` → `add`, as coremltools looks an operator up."""
    lowered = name.lower()
    for space in _SPACES:
        lowered = lowered.removeprefix(space)
    head, _, overload = lowered.rpartition(".")
    return head if head and overload in _PLAIN else lowered
