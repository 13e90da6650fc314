"""Writes references/<case>.json: logits of PyTorch (in float64) for random models and images (random_weights.py).

usage: python generate.py [case ...] && npx biome format --write references
"""

import json
import math
import sys
from pathlib import Path

import torch

from deeplab_v2 import metadata_of, normalise
from random_weights import checksum, random_image, random_model

RATES = (6, 12, 18, 24)
# backbone, width, height, stride placement, padding, rates. Both backbones meet every value of every column: odd,
# even, tiny and wide sizes, each stride placement, each padding.
CASES = {
    "resnet50-odd-floor": ("resnet50", 65, 65, "3x3", "floor", RATES),
    "resnet50-even-ceil": ("resnet50", 64, 48, "1x1", "ceil", RATES),
    "resnet50-tiny-same": ("resnet50", 17, 23, "3x3", "same", RATES),
    "resnet50-wide-same": ("resnet50", 129, 33, "1x1", "same", RATES),
    "resnet50-even-large-fov": ("resnet50", 64, 48, "3x3", "floor", (12,)),
    # Large enough that even layer4, at rate 4, is done by Winograd.
    "resnet50-large-floor": ("resnet50", 257, 193, "1x1", "floor", RATES),
    "resnet101-odd-ceil": ("resnet101", 65, 65, "1x1", "ceil", RATES),
    "resnet101-even-same": ("resnet101", 64, 48, "3x3", "same", RATES),
    "resnet101-tiny-floor": ("resnet101", 17, 23, "1x1", "floor", RATES),
    "resnet101-wide-floor": ("resnet101", 129, 33, "3x3", "floor", RATES),
    "resnet101-tiny-ceil": ("resnet101", 17, 23, "3x3", "ceil", RATES),
}
SEED, CLASSES = 1, 5


@torch.no_grad()
def reference(backbone, width, height, stride_placement, padding, rates):
    model, state = random_model(backbone, SEED, CLASSES, rates, stride_placement, padding)
    metadata = metadata_of(model, backbone, CLASSES, stride_placement, padding)
    image = normalise(random_image(width, height, SEED), metadata).double()
    logits = model.double()(image)[0]
    return {
        "model": {
            "backbone": backbone,
            "seed": SEED,
            "classes": CLASSES,
            "rates": rates,
            "stridePlacement": stride_placement,
            "padding": padding,
        },
        "weightsSha256": checksum(state),
        "image": {"width": width, "height": height, "seed": SEED},
        "logits": {"shape": list(logits.shape), "data": [float(f"{v:.9g}") for v in logits.flatten().tolist()]},
    }


def main():
    for name in sys.argv[1:] or CASES:
        result = reference(*CASES[name])
        (Path(__file__).parent / "references" / f"{name}.json").write_text(json.dumps(result) + "\n")
        data = result["logits"]["data"]
        spread = math.sqrt(sum(v * v for v in data) / len(data))
        print(name, result["logits"]["shape"], f"rms {spread:.3g}", result["weightsSha256"][:8])


if __name__ == "__main__":
    main()
