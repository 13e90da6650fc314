"""Writes references/crf: what pydensecrf computes. <case>.json: marginals of small random images; example<n>.png: labels
of pydensecrf's own example n under its functions for images.

usage: python crf.py && npx biome format --write references

Needs numpy, pillow and pydensecrf: pip install git+https://github.com/lucasb-eyer/pydensecrf

Arrays are base64: image uint8 [H,W,3], unary uint8 [C,H,W] in 1/32 nats, marginals little-endian float32 [C,H,W].
pydensecrf has two paths to the same kernels. `generic`: features are made by its utils and begin with y; `2d`: by
DenseCRF2D, and begin with x. Its lattice is not symmetric in them, so the results differ a little.

Sizes have a multiple of 4 pixels: pydensecrf fills up the last four points with zeros, whose vertices then exist too.
"""

import base64
import json
from pathlib import Path

import numpy as np
import pydensecrf.densecrf as dcrf
from PIL import Image
from pydensecrf.utils import create_pairwise_bilateral, create_pairwise_gaussian, unary_from_labels

HERE = Path(__file__).resolve().parent
OUT = HERE / "references" / "crf"
EXAMPLES = HERE.parents[2] / "shared" / "crf"
NORMALIZATIONS = {
    "symmetric": dcrf.NORMALIZE_SYMMETRIC,
    "before": dcrf.NORMALIZE_BEFORE,
    "after": dcrf.NORMALIZE_AFTER,
    "none": dcrf.NO_NORMALIZATION,
}
COMPATIBILITIES = ("potts", "vector", "matrix")
WIDTH, HEIGHT, CLASSES, ITERATIONS = 24, 20, 5, 5
GAUSSIAN, BILATERAL = (3, 2), (10, 9, 13, 14, 15)  # deviations: x, y and x, y, r, g, b


def smooth(rng, channels):
    """-> float [channels,HEIGHT,WIDTH] in 0..255: random values 8 pixels apart, interpolated, and a little noise."""
    coarse = rng.random((channels, 4, 4), np.float32) * 255
    maps = [Image.fromarray(one).resize((WIDTH, HEIGHT), Image.BILINEAR) for one in coarse]
    return np.clip(np.stack(maps) + rng.normal(0, 6, (channels, HEIGHT, WIDTH)), 0, 255)


def compatibility(rng, kind, normalization):
    """-> the values as deeplab takes them: rewards for agreeing, or the symmetric matrix of costs, row by row."""
    scale = 0.01 if normalization == "none" else 1  # sums over pixels, not means
    if kind == "potts":
        return np.array([3 * scale], np.float32)
    if kind == "vector":
        return (rng.random(CLASSES) * 3 * scale).astype(np.float32)
    costs = rng.random((CLASSES, CLASSES)) * 2 * scale
    np.fill_diagonal(costs, -scale)
    return ((costs + costs.T) / 2).astype(np.float32).ravel()


def for_pydensecrf(values):
    """Its vector is of costs."""
    if len(values) == 1:
        return float(values[0])
    return -values if len(values) == CLASSES else values.reshape(CLASSES, CLASSES)


def add_kernels(crf, path, image, gaussian, bilateral, normalization):
    """`gaussian`, `bilateral`: deviations, compatibility."""
    (sxy, compat), (deviations, bilateral_compat) = gaussian, bilateral
    kind = NORMALIZATIONS[normalization]
    if path == "2d":
        crf.addPairwiseGaussian(sxy, compat, normalization=kind)
        crf.addPairwiseBilateral(deviations[:2], deviations[2:], image, bilateral_compat, normalization=kind)
    else:
        features = create_pairwise_gaussian(sxy[::-1], image.shape[:2])
        crf.addPairwiseEnergy(features, compat, normalization=kind)
        features = create_pairwise_bilateral(deviations[1::-1], deviations[2:], image, 2)
        crf.addPairwiseEnergy(features, bilateral_compat, normalization=kind)


def new_crf(path, width, height, classes):
    return dcrf.DenseCRF2D(width, height, classes) if path == "2d" else dcrf.DenseCRF(width * height, classes)


def text(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def reference(path, kind, normalization, seed):
    rng = np.random.default_rng(seed)
    image = np.array(smooth(rng, 3).transpose(1, 2, 0).astype(np.uint8), order="C")
    unary = (smooth(rng, CLASSES) / 2).astype(np.uint8)
    weights = [compatibility(rng, kind, normalization) for _ in range(2)]

    crf = new_crf(path, WIDTH, HEIGHT, CLASSES)
    crf.setUnaryEnergy(unary.reshape(CLASSES, -1).astype(np.float32) / 32)
    potentials = zip((GAUSSIAN, BILATERAL), map(for_pydensecrf, weights))
    add_kernels(crf, path, image, *potentials, normalization)
    marginals, *scratch = crf.startInference()
    divergence = [crf.klDivergence(marginals)]
    for _ in range(ITERATIONS):
        crf.stepInference(marginals, *scratch)
        divergence.append(crf.klDivergence(marginals))
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "classes": CLASSES,
        "coordinates": "xy" if path == "2d" else "yx",
        "iterations": ITERATIONS,
        "pairwise": [
            {
                "kernel": name,
                "deviations": deviations,
                "compatibility": [float(v) for v in values],
                "normalization": normalization,
            }
            for name, deviations, values in zip(("gaussian", "bilateral"), (GAUSSIAN, BILATERAL), weights)
        ],
        "klDivergence": divergence,
        "image": text(image),
        "unary": text(unary),
        "marginals": text(np.asarray(marginals, "<f4")),
    }


def example_labels(number):
    """Labels of a published example, 5 iterations with its parameters, under DenseCRF2D: uint8 [H,W]."""
    image = np.array(Image.open(EXAMPLES / f"im{number}.png").convert("RGB"))
    annotation = np.array(Image.open(EXAMPLES / f"anno{number}.png").convert("RGB")).astype(np.uint32)
    height, width, _ = annotation.shape
    # As its example has it: colours 0xRRGGBB in ascending order, black for unknown.
    colours, labels = np.unique(annotation @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_inverse=True)
    assert colours[0] == 0
    classes = len(colours) - 1
    crf = new_crf("2d", width, height, classes)
    crf.setUnaryEnergy(unary_from_labels(labels.ravel(), classes, gt_prob=0.7, zero_unsure=True))
    add_kernels(crf, "2d", image, ((3, 3), 3), ((80, 80, 13, 13, 13), 10), "symmetric")
    return np.argmax(crf.inference(5), axis=0).reshape(height, width).astype(np.uint8)


def main():
    OUT.mkdir(exist_ok=True)
    for index, (normalization, kind) in enumerate((n, c) for n in NORMALIZATIONS for c in COMPATIBILITIES):
        path = ("generic", "2d")[index % 2]
        result = reference(path, kind, normalization, seed=index)
        (OUT / f"{path}-{normalization}-{kind}.json").write_text(json.dumps(result) + "\n")
        print(path, normalization, kind, [f"{v:.2f}" for v in result["klDivergence"]])
    for number in (1, 2):
        Image.fromarray(example_labels(number)).save(OUT / f"example{number}.png", optimize=True)


if __name__ == "__main__":
    main()
