"""Writes references/preprocessing/<case>.json: scores of PyTorch (in float64) at the image's size, for what a weights
file can ask of preprocessing: resizing, padding, channel order, value range.

usage: python generate_preprocessing.py && npx biome format --write references
"""

import json
from pathlib import Path

import torch
from torch.nn import functional as F

from deeplab_v2 import metadata_of, normalise
from random_weights import random_image, random_model

WIDTH, HEIGHT, SEED, CLASSES = 24, 19, 1, 3
CAFFE = {"channel_order": "bgr", "value_range": "0..255", "mean": "104.008,116.669,122.675", "std": "1,1,1"}
CASES = {
    "as-it-is": {},
    "fixed": {"input_size": "49x33"},
    "longest-enlarged": {"input_size": "longest 40"},
    "longest-reduced": {"input_size": "longest 17"},
    "padded": {"pad_to_multiple": "16"},
    "fixed-and-padded": {"input_size": "30x40", "pad_to_multiple": "32"},
    "caffe": CAFFE,
}


def resized(image, input_size):
    """image: float [1,3,H,W], pixel values."""
    if input_size == "any":
        return image
    if input_size.startswith("longest "):
        scale = int(input_size.removeprefix("longest ")) / max(HEIGHT, WIDTH)
        size = (round(HEIGHT * scale), round(WIDTH * scale))
    else:
        width, height = input_size.split("x")
        size = (int(height), int(width))
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


def sampled(logits, height, width, padded_height, padded_width):
    """Logits, which cover the padded input, read at the centres of the image's pixels: [1,C,HEIGHT,WIDTH]."""
    y = (torch.arange(HEIGHT, dtype=torch.float64) + 0.5) / HEIGHT * height / padded_height * 2 - 1
    x = (torch.arange(WIDTH, dtype=torch.float64) + 0.5) / WIDTH * width / padded_width * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
    return F.grid_sample(logits, grid, mode="bilinear", padding_mode="border", align_corners=False)


@torch.no_grad()
def reference(model, metadata):
    # Normalising is affine, so pixels may be resized as floats first.
    pixels = torch.from_numpy(random_image(WIDTH, HEIGHT, SEED)).permute(2, 0, 1)[None].double()
    pixels = resized(pixels, metadata.get("input_size", "any"))
    image = normalise(pixels[0].permute(1, 2, 0), metadata)
    height, width = image.shape[2:]
    multiple = int(metadata.get("pad_to_multiple", "1"))
    image = F.pad(image, (0, -width % multiple, 0, -height % multiple))
    return sampled(model(image), height, width, *image.shape[2:]).softmax(1)[0]


def main():
    model, _ = random_model("resnet50", SEED, CLASSES)
    metadata = metadata_of(model, "resnet50", CLASSES, "3x3", "floor")
    folder = Path(__file__).parent / "references" / "preprocessing"
    folder.mkdir(exist_ok=True)
    for name, extra in CASES.items():
        scores = reference(model.double(), {**metadata, **extra})
        result = {
            "model": {"backbone": "resnet50", "seed": SEED, "classes": CLASSES, "metadata": extra},
            "image": {"width": WIDTH, "height": HEIGHT, "seed": SEED},
            "scores": [float(f"{v:.7g}") for v in scores.flatten().tolist()],
        }
        (folder / f"{name}.json").write_text(json.dumps(result) + "\n")
        print(name, f"{scores.std():.3f}")


if __name__ == "__main__":
    main()
