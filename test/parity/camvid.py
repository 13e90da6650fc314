"""Writes the label maps that PyTorch computes (f32) for the CamVid validation images: references/camvid-val-labels.gz.

usage: python camvid.py [model.safetensors [folder with images/ and labels/]]

The file is the uint8 label maps [H,W] one after the other in the order of the sorted file names, gzipped. Each row but
a map's first is stored as its bytewise XOR with the row above, which is mostly zero.
"""

import gzip
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from deeplab_v2 import normalise
from family import load_model

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[2] / "shared"


@torch.no_grad()
def label_map(model, metadata, rgb):
    logits = model(normalise(rgb, metadata))
    logits = F.interpolate(logits, size=rgb.shape[:2], mode="bilinear", align_corners=False)
    return logits.argmax(1)[0].to(torch.uint8).numpy()


def main():
    weights = sys.argv[1] if len(sys.argv) > 1 else SHARED / "models/deeplabv2-resnet101-camvid.safetensors"
    split = Path(sys.argv[2] if len(sys.argv) > 2 else SHARED / "data/camvid/val")
    model, metadata = load_model(weights)
    classes = len(metadata["classes"].split(","))
    confusion = np.zeros((classes, classes), np.int64)  # [truth, prediction]
    stored = bytearray()
    started = time.time()
    for path in sorted((split / "images").iterdir()):
        labels = label_map(model, metadata, np.asarray(Image.open(path).convert("RGB")))
        truth = np.asarray(Image.open(split / "labels" / f"{path.stem}.png"))
        known = truth < classes
        np.add.at(confusion, (truth[known], labels[known]), 1)
        stored += labels[0].tobytes() + (labels[1:] ^ labels[:-1]).tobytes()
    out = HERE / "references" / "camvid-val-labels.gz"
    out.write_bytes(gzip.compress(bytes(stored), 9, mtime=0))

    hits = np.diag(confusion)
    iou = hits / (confusion.sum(0) + confusion.sum(1) - hits)
    print(f"{out}: {out.stat().st_size} bytes, {time.time() - started:.0f} s")
    print(f"mIoU {100 * iou.mean():.3f} %, pixel accuracy {100 * hits.sum() / confusion.sum():.3f} %")


if __name__ == "__main__":
    main()
