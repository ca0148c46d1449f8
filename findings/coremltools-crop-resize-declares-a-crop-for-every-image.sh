#!/usr/bin/env bash
# Guess: crop_resize with boxes that name their image gives one crop a box (the op's text, iOS15 and iOS16: "If roi :
#   tensor<[N,1,5,1,1], T>, the output is tensor<[N, 1, C, target_height, target_width],T>").
# Behaviour: of such boxes, too, type inference declares a crop of every image: [N, B, C, …]. From iOS17 on, where the op
#   takes boxes and box_indices, it declares one crop a box.
# Versions: coremltools 9.0, numpy 2.4.6, Python 3.11, Linux.
# Seen: "iOS16, 3 boxes that name one of 2 images: (3, 2, 1, 2, 2)", "iOS17: (3, 1, 2, 2)"
# Why it costs: with a batch of one both are the same. With more, the program is typed, converted and saved without a word,
#   and whatever follows the op is typed for B times as many crops as the text says there are.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q coremltools==9.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY' 2>/dev/null
import sys
import coremltools as ct, numpy as np
from coremltools.converters.mil import Builder as mb

boxes, images = np.ones((3, 4), np.float32), np.array([0, 1, 1], np.int32)
roi = np.concatenate([images[:, None].astype(np.float32), boxes], 1).reshape(3, 1, 5, 1, 1)
how = {"target_height": 2, "target_width": 2, "sampling_mode": "ALIGN_CORNERS"}

def shape(target, **where):
    @mb.program(input_specs=[mb.TensorSpec((2, 1, 4, 4))], opset_version=target)
    def made(x):
        return mb.crop_resize(x=x, **where, **how)
    model = ct.convert(made, minimum_deployment_target=target, skip_model_load=True)
    (op,) = [op for op in model._mil_program.functions["main"].operations if op.op_type == "crop_resize"]
    return tuple(map(int, op.outputs[0].shape))

old, new = shape(ct.target.iOS16, roi=roi), shape(ct.target.iOS17, boxes=boxes, box_indices=images)
print(f"iOS16, 3 boxes that name one of 2 images: {old}\niOS17: {new}")
sys.exit((old, new) != ((3, 2, 1, 2, 2), (3, 1, 2, 2)))
PY
# kcompiler's interpreter gives one crop a box, and names the shape that is declared otherwise (runtime/mil/ops/cropping.py).
