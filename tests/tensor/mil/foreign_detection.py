"""A detector in plain torch: a pyramid of anchors, boxes decoded and suppressed; random weights, written for these tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.tensor.mil.foreign_nets import conv

CLASSES, STRIDES = 4, (4, 8)


def _suppressed(boxes_N4: Tensor, scores_N: Tensor, iou_threshold: float) -> Tensor:
    """What torchvision's op of that name gives: the boxes that are kept, best first."""
    low, high = boxes_N4[:, :2], boxes_N4[:, 2:]
    shared = (torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)).clamp(min=0).prod(-1)
    areas = (high - low).prod(-1)
    overlap = shared / (areas[:, None] + areas - shared)
    kept: list[int] = []
    for place in scores_N.argsort(descending=True, stable=True).tolist():
        if not kept or not bool((overlap[place, kept] > iou_threshold).any()):
            kept.append(place)
    return torch.tensor(kept)


def _with_nms() -> None:
    """torchvision's operator under its name, where torchvision is not installed: coremltools knows it by that name."""
    if not hasattr(torch.ops.torchvision, "nms"):
        _LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARY.impl("nms", _suppressed, "CPU")


_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


class Detector(nn.Module):
    """SSD-like: image_13HW → boxes_K4 (corners, in pixels) and their logits_K, as many as are left."""

    def __init__(self) -> None:
        super().__init__()
        _with_nms()
        self.stem = nn.Sequential(conv(3, 8, 3, 2), conv(8, 12, 3, 2))
        self.deeper = conv(12, 12, 3, 2)
        self.heads = nn.ModuleList(nn.Conv2d(12, CLASSES + 4, 3, padding=1) for _ in STRIDES)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        first = self.stem(image)
        boxes, scores = [], []
        for level, head, stride in zip((first, self.deeper(first)), self.heads, STRIDES, strict=True):
            height, width = level.shape[2:]
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            centres = (torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride
            rows = head(level)[0].flatten(1).T
            middle = centres + rows[:, :2] * stride
            half = rows[:, 2:4].clamp(-2, 2).exp() * 2 * stride
            boxes.append(torch.cat([middle - half, middle + half], -1))
            scores.append(rows[:, 4:])
        every, best = torch.cat(boxes), torch.cat(scores).amax(-1)
        kept = torch.ops.torchvision.nms(every, best, 0.2)
        return every[kept], best[kept]


def detector() -> nn.Module:
    return Detector()
