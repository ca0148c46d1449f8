"""Crops agree with PyTorch's sampling at the places that Apple's texts give, and suppressed boxes with onnxruntime's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime.contract import BrokenEvidence
from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import MODES, Array
from tests.longer import LONG
from tests.tensor.mil import cases
from tests.tensor.mil.onnx_oracle import by_onnxruntime
from tests.tensor.mil.support import declared_by_coremltools, run_op, same

F = torch.nn.functional
few = settings(max_examples=100 if LONG else 12, derandomize=True, deadline=None, database=None)

# --- crops -------------------------------------------------------------------------------------------------------


def places(mode: str, first: float, last: float, count: int) -> Array:
    """The grid of `SamplingMode` in NeuralNetwork.proto, with numpy's linspace as the text has it, of [first, last]."""
    size = last - first + 1
    match mode:
        case "STRICT_ALIGN_CORNERS":
            start, end = 0.0, size - 1
        case "ALIGN_CORNERS":
            start, end = ((size - 1) / 2,) * 2 if count == 1 else (0.0, size - 1)
        case "DEFAULT":
            start, end = 0.0, size - size / count
        case "OFFSET_CORNERS":
            spacing = max(1.0, size - 1) / count
            start, end = 0.5 * spacing, 0.5 * spacing + (count - 1) * spacing
        case _:
            # resize_bilinear's text: half a step in, half an element back
            start, end = 0.5 * size / count - 0.5, (count - 0.5) * size / count - 0.5
    return first + np.clip(np.linspace(start, end, count), 0, size - 1)


def sampled(image: Array, rows: Array, columns: Array) -> torch.Tensor:
    """x_CHW by PyTorch's bilinear sampling at rows × columns, in float64."""
    y, x = np.meshgrid(rows, columns, indexing="ij")
    height, width = image.shape[1:]
    grid = np.stack([2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1], -1)
    wide = torch.from_numpy(image.astype(np.float64))[None]
    return F.grid_sample(wide, torch.from_numpy(grid)[None], align_corners=True, padding_mode="border")[0]


SAMPLING = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]


@pytest.mark.parametrize("mode", SAMPLING)
@few
@given(data=st.data())
def test_a_crop_is_sampled_where_the_text_says(mode: str, data: st.DataObject) -> None:
    """Both forms of the older op and the newer one; normalized places, scaled ones, and height or width first."""
    draw = data.draw
    images, height, width = draw(st.integers(1, 2)), draw(st.integers(2, 6)), draw(st.integers(2, 6))
    x = cases.floats(draw, (images, 2, height, width))
    count = draw(st.integers(1, images))
    sizes, normalized = (draw(st.integers(1, 4)), draw(st.integers(1, 4))), draw(st.booleans())
    scale = draw(st.sampled_from([1.0, 0.5]))
    unit = np.sort(cases.generator(draw).uniform(0, 1, size=(count, 2, 2)), axis=1).reshape(count, 4)
    if draw(st.booleans()):
        unit[0] = 0, 0, 1, 1
    bounds = np.array([height - 1, width - 1] * 2)
    boxes = (unit / scale * (1 if normalized else bounds)).astype(np.float32)
    real = boxes.astype(np.float64) * scale * (bounds if normalized else 1)
    assume((real <= bounds).all())
    crops = [
        [sampled(image, places(mode, box[0], box[2], sizes[0]), places(mode, box[1], box[3], sizes[1])) for image in x]
        for box in real
    ]
    static: dict[str, Any] = {"target_height": sizes[0], "target_width": sizes[1], "sampling_mode": mode}
    static |= {"normalized_coordinates": normalized, "spatial_scale": np.float32(scale)}
    turned = draw(st.booleans())
    static |= {"box_coordinate_mode": "CORNERS_WIDTH_FIRST"} if turned else {}
    written = boxes[:, [1, 0, 3, 2]] if turned else boxes
    every = torch.stack([torch.stack(row) for row in crops]).float()
    old = written.reshape(count, 1, 4, 1, 1)
    same("crop_resize", draw(st.sampled_from([5, 6])), {"x": x, "roi": old}, static, every)
    which = cases.integers(draw, (count,), 0, images - 1)
    chosen = every[range(count), which]
    with_image = np.concatenate([which[:, None].astype(np.float32), written], 1).reshape(count, 1, 5, 1, 1)
    opset, kinds = draw(st.sampled_from([5, 6])), [("float32", tuple(chosen[:, None].shape))]
    found = run_op("crop_resize", opset, {"x": x, "roi": with_image}, static, kinds)
    np.testing.assert_allclose(found.outputs["result_0"], chosen[:, None], rtol=2e-5, atol=3e-6)
    declared = declared_by_coremltools("crop_resize", opset, {"x": x, "roi": with_image}, static)
    # of boxes that name their image the text gives one crop, coremltools declares one for every image
    assert (declared == kinds) == (images == 1)
    mismatches = run_op("crop_resize", opset, {"x": x, "roi": with_image}, static, declared).findings.mismatches
    assert {item.what for item in mismatches} == ({"shape"} if images > 1 else set())
    same("crop_resize", 7, {"x": x, "boxes": written, "box_indices": which}, static, chosen)
    found = run_op("crop_resize", 7, {"x": x, "boxes": written}, static, [("float32", tuple(chosen.shape))])
    np.testing.assert_allclose(found.outputs["result_0"], every[range(count), range(count)], rtol=2e-5, atol=3e-6)


@few
@given(data=st.data())
def test_offset_corners_are_onnxruntime_s_roi_align(data: st.DataObject) -> None:
    """With one sample a bin, of boxes that are at least one element wide."""
    draw = data.draw
    x = cases.floats(draw, (2, 3, 7, 8))
    first = cases.generator(draw).uniform(0, 3, size=(3, 2))
    boxes = np.concatenate([first, first + cases.generator(draw).uniform(1, 3, size=(3, 2))], 1).astype(np.float32)
    which = cases.integers(draw, (3,), 0, 1)
    (wanted,) = by_onnxruntime(
        "RoiAlign",
        {"X": x, "rois": boxes * 2, "batch_indices": which.astype(np.int64)},
        1,
        output_height=2,
        output_width=3,
        sampling_ratio=1,
        spatial_scale=0.5,
        coordinate_transformation_mode="output_half_pixel",
    )
    static = {"target_height": 2, "target_width": 3, "sampling_mode": "OFFSET_CORNERS"}
    static |= {"spatial_scale": np.float32(0.5), "box_coordinate_mode": "CORNERS_WIDTH_FIRST"}
    same("crop_resize", 8, {"x": x, "boxes": boxes * 2, "box_indices": which}, static, torch.from_numpy(wanted))


GRID = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)


@pytest.mark.parametrize(
    ("box", "normalized", "size", "wanted"),
    [
        ([1, 1, 2, 2], False, 2, [6, 7, 10, 11]),
        ([1, 1, 2, 2], False, 1, [8.5]),
        ([2, 2, 1, 1], False, 2, [11, 10, 7, 6]),
        ([0, 0, 1 / 3, 1 / 3], True, 2, [1, 2, 5, 6]),
        ([0.1, 0.3, 1.3, 1.0], True, 2, [3.1, 5.2, 10, 10]),
        ([0.5, 1.8, 1.0, 0.3], True, 2, [10, 7.9, 10, 13.9]),
        ([0.0, 0.4, 0.6, 0.7], True, 2, [2.2, 3.1, 9.4, 10.3]),
        ([-1, 3, 3, 4], False, 2, [10, 10, 16, 10]),
    ],
)
def test_apple_s_examples_of_a_crop_hold(box: list[float], normalized: bool, size: int, wanted: list[float]) -> None:
    """The numbers coremltools' own tests expect of a device, and one of a box that begins before the image."""
    static = {
        "target_height": size,
        "target_width": size,
        "sampling_mode": "ALIGN_CORNERS",
        "pad_value": np.float32(10),
    }
    static |= {"normalized_coordinates": normalized}
    boxes = np.array([box], np.float32)
    shaped = torch.tensor(wanted).reshape(1, 1, size, size)
    same("crop_resize", 7, {"x": GRID, "boxes": boxes}, static, shaped)
    roi = np.concatenate([np.zeros((1, 1), np.float32), boxes], 1).reshape(1, 1, 5, 1, 1)
    same("crop_resize", 6, {"x": GRID, "roi": roi}, static, shaped[None])


def test_a_crop_that_no_text_defines_is_refused() -> None:
    sizes = {"target_height": 2, "target_width": 2}
    kinds = [("float32", (1, 1, 2, 2))]

    def crop(box: list[float], **static: Any) -> None:
        run_op("crop_resize", 7, {"x": GRID, "boxes": np.array([box], np.float32)}, {**sizes, **static}, kinds)

    with pytest.raises(UnsupportedOp, match="box_coordinate_mode 'CENTER_SIZE_HEIGHT_FIRST' is not modelled"):
        crop([1, 1, 2, 2], box_coordinate_mode="CENTER_SIZE_HEIGHT_FIRST")
    with pytest.raises(UnsupportedOp, match="sampling mode 'CORNERS' is not modelled"):
        crop([1, 1, 2, 2], sampling_mode="CORNERS")
    for mode in ("DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"):
        with pytest.raises(UnsupportedOp, match=f"crop_resize: {mode} of a box whose end is before its start"):
            crop([2, 2, 1, 1], sampling_mode=mode)
    beyond = {"x": GRID, "roi": np.array([0, 0, 2, 4], np.float32).reshape(1, 1, 4, 1, 1)}
    with pytest.raises(UnsupportedOp, match="a box beyond the image, of which CoreML5 does not say"):
        run_op("crop_resize", 5, beyond, {**sizes, "sampling_mode": "ALIGN_CORNERS"}, [("float32", (1, 1, 1, 2, 2))])
    for index in (-1, 1):
        given_ = {"x": GRID, "boxes": np.ones((1, 4), np.float32), "box_indices": np.array([index], np.int32)}
        with pytest.raises(BrokenEvidence, match=rf"boxes of the images \[{index}\], of which there are 1"):
            run_op("crop_resize", 7, given_, sizes, kinds)


def test_a_float16_crop_is_the_float32_one_rounded_once() -> None:
    draws = np.random.default_rng(1)
    x = draws.normal(size=(2, 3, 5, 6)).astype(np.float16)
    dynamic = {"x": x, "boxes": np.array([[0.5, 1, 3, 4.25], [0, 0, 4, 5]], np.float32)}
    static = {"target_height": 3, "target_width": 4, "sampling_mode": "UNALIGN_CORNERS", "pad_value": np.float16(0)}
    kinds = declared_by_coremltools("crop_resize", 7, dynamic, static)
    exact, once, strict = (run_op("crop_resize", 7, dynamic, static, kinds, mode) for mode in MODES)
    assert once.findings.clean
    wanted = exact.outputs["result_0"].astype(np.float16).astype(np.float32)
    assert not np.array_equal(wanted, exact.outputs["result_0"])
    np.testing.assert_array_equal(once.outputs["result_0"], wanted)
    np.testing.assert_array_equal(strict.outputs["result_0"], wanted)


# --- boxes -------------------------------------------------------------------------------------------------------


def crowd(draw: cases.Draw, images: int, count: int) -> Array:
    """boxes_NB4 (centre and size) that overlap often; some have no area."""
    draws = cases.generator(draw)
    boxes = np.concatenate([draws.uniform(0, 4, (images, count, 2)), draws.uniform(0.5, 4, (images, count, 2))], -1)
    if draw(st.booleans()):
        boxes[:, 0, 2] = 0
    return boxes.astype(np.float32)


def by_onnx(boxes: Array, scores: Array, overlap: float, threshold: float, most: int) -> list[list[int]]:
    """The boxes onnxruntime keeps of each image, best first; every box stands in its best class only."""
    alone = np.where(scores == scores.max(-1, keepdims=True), scores, np.float32(-1e30)).swapaxes(1, 2)
    (picked,) = by_onnxruntime(
        "NonMaxSuppression",
        {
            "boxes": boxes,
            "scores": np.ascontiguousarray(alone),
            "most": np.array([len(boxes[0])], np.int64),
            "overlap": np.array([overlap], np.float32),
            "threshold": np.array([threshold], np.float32),
        },
        1,
        center_point_box=1,
    )
    kept: list[list[int]] = [[] for _ in boxes]
    for image, _, box in picked:
        kept[image].append(int(box))
    return [sorted(row, key=lambda box: -scores[image, box].max())[:most] for image, row in enumerate(kept)]


def padded(rows: list[Array], most: int, fill: float) -> Array:
    return np.stack(
        [np.concatenate([row, np.full((most - len(row), *row.shape[1:]), fill, row.dtype)]) for row in rows]
    )


@pytest.mark.parametrize("per_class", [False, True])
@few
@given(data=st.data())
def test_suppression_is_onnxruntime_s(per_class: bool, data: st.DataObject) -> None:
    draw = data.draw
    images, count, kinds = draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    boxes, scores = crowd(draw, images, count), cases.floats(draw, (images, count, kinds))
    overlap, threshold = draw(st.sampled_from([0.1, 0.3, 0.7])), draw(st.sampled_from([-9.0, 0.0, 1.0]))
    most = draw(st.integers(1, 10))
    judged = scores if per_class else scores.max(-1, keepdims=True)
    kept = by_onnx(boxes, judged, overlap, threshold, most)
    # Apple's test: where nothing is above the threshold, the best one is kept
    kept = [row or [int(judged[image].max(-1).argmax())] for image, row in enumerate(kept)]
    wanted = [
        padded([boxes[image][row] for image, row in enumerate(kept)], most, 0),
        padded([scores[image][row] for image, row in enumerate(kept)], most, 0),
        padded([np.array(row, np.int32) for row in kept], most, -1),
        np.array([len(row) for row in kept], np.int32),
    ]
    static: dict[str, Any] = {"iou_threshold": np.float32(overlap), "max_boxes": most}
    static |= {"per_class_suppression": True} if per_class else {}
    named = {"boxes": boxes, "scores": scores}
    with_least = {**static, "score_threshold": np.float32(threshold)}
    same("non_maximum_suppression", draw(st.sampled_from([5, 6])), named, with_least, *map(torch.from_numpy, wanted))
    if threshold == -9:
        turned = {name: np.ascontiguousarray(value.swapaxes(1, 2)) for name, value in named.items()}
        first, second, third, _ = map(torch.from_numpy, wanted)
        same("non_maximum_suppression", 8, turned, static, first.mT, second.mT, third)


def test_apple_s_example_of_a_suppression_holds() -> None:
    boxes = np.repeat(np.arange(4, dtype=np.float32)[:, None], 4, 1)[None]
    scores = np.array([[[-3.5], [9.4], [2.3], [0.7]]], np.float32)
    static = {"iou_threshold": np.float32(0.2), "score_threshold": np.float32(0.4), "max_boxes": 2}
    static |= {"per_class_suppression": True}
    wanted = (boxes[:, 1:3], scores[:, 1:3], np.array([[1, 2]], np.int32), np.array([2], np.int32))
    same("non_maximum_suppression", 5, {"boxes": boxes, "scores": scores}, static, *map(torch.from_numpy, wanted))


def test_a_score_that_equals_its_threshold_is_refused_where_it_matters() -> None:
    boxes = np.array([[[0, 0, 2, 2], [9, 9, 2, 2], [9, 9, 2, 2]]], np.float32)
    static = {"iou_threshold": np.float32(0.5), "score_threshold": np.float32(0.5), "max_boxes": 2}

    def kept(*scores: float) -> list[int]:
        dynamic = {"boxes": boxes, "scores": np.array(scores, np.float32).reshape(1, 3, 1)}
        kinds = declared_by_coremltools("non_maximum_suppression", 5, dynamic, static)
        return list(run_op("non_maximum_suppression", 5, dynamic, static, kinds).outputs["result_2"][0])

    assert kept(0.9, 0.8, 0.5) == [0, 1]
    with pytest.raises(UnsupportedOp, match="a score that equals the threshold"):
        kept(0.9, 0.5, 0.4)


def test_equal_scores_keep_their_order_and_what_is_kept_is_the_same_in_every_mode() -> None:
    boxes = np.array([[0, 0, 2, 2], [0.2, 0, 2, 2], [5, 5, 1, 1]], np.float16).T[None]
    scores = np.array([[[0.5, 0.5, 0.5]]], np.float16)
    static = {"iou_threshold": np.float16(0.5), "max_boxes": 3}
    kinds = declared_by_coremltools("non_maximum_suppression", 8, {"boxes": boxes, "scores": scores}, static)
    for mode in MODES:
        found = run_op("non_maximum_suppression", 8, {"boxes": boxes, "scores": scores}, static, kinds, mode)
        assert found.findings.clean
        assert found.outputs["result_2"].tolist() == [[0, 2, -1]]
        np.testing.assert_array_equal(found.outputs["result_0"][0, :, 1], boxes[0, :, 2])
