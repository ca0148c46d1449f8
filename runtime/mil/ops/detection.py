"""Boxes that are kept of many: non-maximum suppression.

Meaning: Apple's MIL op reference, modules `tensor_operation` of iOS15 and iOS17. What its text leaves open, the test of
the op that coremltools runs on devices says (`TestNonMaximumSuppression`): what is padded is 0, its index -1; a box
without area overlaps none; and where no score is above the threshold, the best box is kept. What is kept is decided in
float32 in every numeric mode. Equal scores keep their order of occurrence; MIL leaves it open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array
from runtime.mil.ops.registry import Floats, op

_OP = "non_maximum_suppression"


def _overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of box_4 with others_B4, all (left, top, right, bottom); 0 where one has no area."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.maximum(0, high - low).prod(-1)
    areas, own = (others[:, 2:] - others[:, :2]).prod(-1), (box[2:] - box[:2]).prod()
    union = areas + own - shared
    return shared / np.where(union > 0, union, 1)


def _kept(corners: Array, best: Array, classes: Array, allowed: Array, threshold: float, most: int) -> list[int]:
    """Boxes in falling order of their score, without those that overlap one before them of their class."""
    kept: list[int] = []
    for place in (int(place) for place in np.argsort(-best, kind="stable") if allowed[place]):
        if len(kept) == most:
            break
        rivals = [other for other in kept if classes[other] == classes[place]]
        if not (_overlaps(corners[place], corners[rivals]) > np.float32(threshold)).any():
            kept.append(place)
    return kept


def _of_image(
    boxes: Array, scores: Array, iou_threshold: float, score_threshold: float | None, most: int, per_class: bool
) -> list[int]:
    """boxes_B4 (centre x, centre y, width, height), scores_BK → the boxes that are kept."""
    half = boxes[:, 2:] / 2
    corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=-1)
    best, classes = scores.max(-1), scores.argmax(-1) if per_class else np.zeros(len(boxes), np.int64)
    if score_threshold is None:
        return _kept(corners, best, classes, np.ones(len(boxes), np.bool_), iou_threshold, most)
    least = np.float32(score_threshold)
    kept = _kept(corners, best, classes, best > least, iou_threshold, most)
    if (best == least).any() and kept != _kept(corners, best, classes, best >= least, iou_threshold, most):
        raise UnsupportedOp(f"{_OP}: whether a score that equals the threshold is below it is not documented", op=_OP)
    return kept or [int(best.argmax())][:most]


def _suppressed(
    boxes: Array, scores: Array, iou_threshold: float, score_threshold: float | None, most: int, per_class: bool
) -> tuple[Array, Array, Array, Array]:
    """boxes_NB4, scores_NBK → boxes_NM4, scores_NMK, indices_NM, counts_N."""
    images, _, kinds = scores.shape
    places, values = np.zeros((images, most, 4), boxes.dtype), np.zeros((images, most, kinds), scores.dtype)
    indices, counts = np.full((images, most), -1, np.int32), np.zeros(images, np.int32)
    for image in range(images):
        kept = _of_image(boxes[image], scores[image], iou_threshold, score_threshold, most, per_class)
        count = counts[image] = len(kept)
        places[image, :count], values[image, :count] = boxes[image, kept], scores[image, kept]
        indices[image, :count] = kept
    return places, values, indices, counts


def _result(dtypes: Mapping[str, str], _: Mapping[str, Any]) -> tuple[str, ...]:
    return dtypes["boxes"], dtypes["scores"], "int32", "int32"


@op(_OP, result=_result, moves=True)
def non_maximum_suppression(
    boxes: Floats,
    scores: Floats,
    iou_threshold: float,
    score_threshold: float,
    max_boxes: int,
    per_class_suppression: bool = False,
) -> tuple[Array, ...]:
    """boxes_NB4 (centre x, centre y, width, height), scores_NBK → the M best boxes_NM4, their scores_NMK, indices_NM
    and how many there are, counts_N. A box counts with the best of its scores, whose class is the box's."""
    return _suppressed(boxes, scores, iou_threshold, score_threshold, max_boxes, per_class_suppression)


def _result_ios17(dtypes: Mapping[str, str], static: Mapping[str, Any]) -> tuple[str, ...]:
    return _result(dtypes, static)[:3]


@op(_OP, since=7, result=_result_ios17, moves=True)
def non_maximum_suppression_ios17(
    boxes: Floats, scores: Floats, iou_threshold: float, max_boxes: int, per_class_suppression: bool = False
) -> tuple[Array, ...]:
    """boxes_N4B, scores_NKB → boxes_N4M, scores_NKM, indices_NM."""
    turned = boxes.swapaxes(1, 2), scores.swapaxes(1, 2)
    places, values, indices, _ = _suppressed(*turned, iou_threshold, None, max_boxes, per_class_suppression)
    return places.swapaxes(1, 2), values.swapaxes(1, 2), indices
