"""Writes references/<case>.json: logits of PyTorch (in float64) for random models and images (random_weights.py).

usage: python generate.py [case ...] && npx biome format --write references
"""

import json
import math
import sys
from pathlib import Path

import torch

from deeplab_v2 import DeepLabV2, metadata_of, normalise
from random_weights import checksum, random_image, random_model

REFERENCES = Path(__file__).parent / "references"
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
def reference(backbone, width, height, stride_placement, padding, rates, seed=SEED, infer=DeepLabV2.forward):
    """`infer`: makes logits of the model and the normalised image [1,3,H,W]."""
    model, state = random_model(backbone, seed, CLASSES, rates, stride_placement, padding)
    metadata = metadata_of(model, backbone, CLASSES, stride_placement, padding)
    image = normalise(random_image(width, height, seed), metadata).double()
    logits = infer(model.double(), image)[0]
    return {
        "model": {
            "backbone": backbone,
            "seed": seed,
            "classes": CLASSES,
            "rates": rates,
            "stridePlacement": stride_placement,
            "padding": padding,
        },
        "weightsSha256": checksum(state),
        "image": {"width": width, "height": height, "seed": seed},
        "logits": {"shape": list(logits.shape), "data": [float(f"{v:.9g}") for v in logits.flatten().tolist()]},
    }


def write(path, result):
    path.write_text(json.dumps(result) + "\n")
    data = result["logits"]["data"]
    spread = math.sqrt(sum(v * v for v in data) / len(data))
    print(path.stem, result["logits"]["shape"], f"rms {spread:.3g}", result["weightsSha256"][:8])


def main():
    for name in sys.argv[1:] or CASES:
        write(REFERENCES / f"{name}.json", reference(*CASES[name]))


if __name__ == "__main__":
    main()
