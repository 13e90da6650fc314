"""PyTorch as a child process of training.js (race.js has the protocol): the same step of SGD.

python training-rival.py <weights.safetensors> <batch> <width> <height> <threads> <f32|bf16> <frozen|trained>

The weights stay float32; bf16 is autocast's. Activations are channels_last, which is faster here in both precisions.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "parity"))
from family import load_model  # noqa: E402


def main(path, batch, width, height, threads, precision, batch_norm):
    torch.set_num_threads(int(threads))
    model = load_model(path)[0].to(memory_format=torch.channels_last).train(batch_norm == "trained")
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.requires_grad_(batch_norm == "trained")
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], 1e-4, momentum=0.9, weight_decay=5e-4
    )
    images = torch.randn(int(batch), 3, int(height), int(width)).to(memory_format=torch.channels_last)
    labels = (torch.arange(int(batch) * int(height) * int(width)) // 16 % 11).view(int(batch), int(height), int(width))

    def step():
        started = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(images)
        logits = F.interpolate(logits.float(), size=labels.shape[1:], mode="bilinear", align_corners=False)
        F.cross_entropy(logits, labels, ignore_index=255).backward()
        optimizer.step()
        return 1000 * (time.perf_counter() - started)

    print(json.dumps({"firstMs": step()}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"ms": step()}), flush=True)


main(*sys.argv[1:])
