"""Writes references/multi-scale/<case>.json: logits of PyTorch (in float64) fused over several scales of the input, as
DeepLab v2 does it (MSC), for random models and images (random_weights.py).

usage: python multi_scale.py [case ...] && npx biome format --write references
"""

import sys
from functools import partial

import torch
from torch.nn import functional as F

from generate import RATES, REFERENCES, reference, write

SEED = 2  # not generate.py's: no two cases share a model
PUBLISHED = (0.5, 0.75, 1)
# The model and the image as in generate.py; scales, fuse, flip. At no case do the scales divide the size, so that a
# resized input ends short of the image's edge, and mirroring before resizing is not mirroring after it.
CASES = {
    "resnet50-max": (("resnet50", 65, 49, "3x3", "floor", RATES), PUBLISHED, "max", False),
    "resnet50-mean-flip": (("resnet50", 57, 71, "3x3", "same", RATES), PUBLISHED, "mean", True),
    "resnet101-max-enlarged": (("resnet101", 33, 47, "1x1", "ceil", RATES), (0.75, 1, 1.25), "max", False),
}


def resized(x, **size):
    return F.interpolate(x, **size, mode="bilinear", align_corners=False)


def fused(scales, fuse, flip, model, image):
    """image: float [1,3,H,W], normalised. -> logits of the size that they have at scale 1."""
    one = model(image)
    logits = []
    for scale in scales:
        for mirrored in (False, True) if flip else (False,):
            x = resized(image.flip(3) if mirrored else image, scale_factor=scale)
            y = resized(model(x), size=one.shape[2:])
            logits.append(y.flip(3) if mirrored else y)
    stack = torch.stack(logits)
    return stack.amax(0) if fuse == "max" else stack.mean(0)


def main():
    folder = REFERENCES / "multi-scale"
    folder.mkdir(exist_ok=True)
    for name in sys.argv[1:] or CASES:
        case, scales, fuse, flip = CASES[name]
        result = reference(*case, seed=SEED, infer=partial(fused, scales, fuse, flip))
        result["options"] = {"scales": scales, "fuse": fuse, "flip": flip}
        write(folder / f"{name}.json", result)


if __name__ == "__main__":
    main()
