"""Let the packages that import torchvision be imported where its compiled part does not fit this torch."""

import importlib.util

import torch


def settle():
    if importlib.util.find_spec("entropick.optional"):
        from entropick.optional import settle_torchvision

        return settle_torchvision()
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        declared = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return declared


HELD = settle()
