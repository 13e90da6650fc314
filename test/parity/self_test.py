"""Prints what PyTorch (in float64) computes of the doctor's self-test, as lib/self-test.ts holds it in selfTestReference.

usage: python self_test.py, after `npm run build:lib`; needs PyTorch, numpy and node.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from deeplab_v2 import normalise
from family import load_model

SCRIPT = """
const { selfTestImage, writeSelfTest } = require('../../dist/self-test');
writeSelfTest(process.argv[1]);
const { data, width, height } = selfTestImage();
console.log(JSON.stringify({ data: [...data], width, height }));
"""

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "self-test.safetensors"
    printed = subprocess.run(["node", "-e", SCRIPT, file], check=True, capture_output=True, cwd=Path(__file__).parent)
    model, metadata = load_model(file)
image = json.loads(printed.stdout)
pixels = np.array(image["data"], dtype=np.uint8).reshape(image["height"], image["width"], 3)
with torch.no_grad():
    logits = model.double()(normalise(pixels, metadata).double())
    large = F.interpolate(logits, size=pixels.shape[:2], mode="bilinear", align_corners=False)
top = large[0].sort(dim=0, descending=True).values
print("shape", tuple(logits.shape), "logits", [float(f"{value:.6g}") for value in logits.flatten().tolist()])
print("pixels", torch.bincount(large[0].argmax(0).flatten(), minlength=3).tolist())
print("margin: median", (top[0] - top[1]).median().item(), "largest logit", logits.abs().max().item())
