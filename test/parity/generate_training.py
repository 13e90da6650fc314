"""Writes references/training/<case>.json: losses and gradients of PyTorch, in float64, for random networks of the family,
and references/training-steps/<case>.json: the losses of steps of SGD, in float32.

usage: python generate_training.py [case ...] && npx biome format --write references

Of every parameter there are the gradient's norm and its product with a vector of noise, which no wrong gradient has by
chance; of running statistics the same numbers of their values after the step.
"""

import json
import sys

import numpy as np
import torch
from torch.nn import functional as F

from deeplab_v2 import DeepLabV2, metadata_of, normalise
from family import build
from generate import REFERENCES
from generate_family import CASES as FAMILY
from generate_family import COMMON
from random_weights import checksum, counters, fmix32, random_image, random_state

SEED, IGNORED, NOISE = 1, 255, 7
WEIGHTS = [1.0, 0.5, 2.0, 1.0, 0.25]


def v2(backbone="resnet50", placement="3x3", padding="floor", **extra):
    model = DeepLabV2(backbone, 5, (6, 12, 18, 24), placement, padding)
    return {**metadata_of(model, backbone, 5, placement, padding), **extra}


# metadata, crop width and height, crops, batch norm, where the loss is
CASES = {
    "v2-resnet50": (v2(), 65, 49, 2, "trained", "grid"),
    "v2-resnet50-frozen": (v2(), 65, 49, 2, "frozen", "image"),
    "v2-resnet50-corners": (v2(placement="1x1", padding="ceil", upsample="align_corners"), 57, 41, 3, "trained", "image"),
    "v2-resnet50-same": (v2(padding="same"), 33, 48, 2, "frozen", "grid"),
    "vgg16-large-fov": (FAMILY["vgg16-large-fov"][0], 49, 33, 2, "frozen", "grid"),
    "vgg16-aspp-l": (FAMILY["vgg16-aspp-l"][0], 49, 33, 2, "frozen", "image"),
    "v3-resnet50-multi-grid": (FAMILY["v3-resnet50-multi-grid"][0], 65, 49, 3, "trained", "image"),
    "v3-resnet50-torchvision": (FAMILY["v3-resnet50-torchvision"][0], 49, 33, 3, "frozen", "grid"),
    "v3-resnet50-cascade": (FAMILY["v3-resnet50-cascade"][0], 49, 33, 2, "frozen", "grid"),
    "v3-resnet50-slim": (FAMILY["v3-resnet50-slim"][0], 65, 49, 3, "trained", "grid"),
    "v3-mobilenet-v2": (FAMILY["v3-mobilenet-v2"][0], 65, 65, 3, "trained", "image"),
}
# The same, then steps and learning rate: so small that rounding to float32 changes no loss by more than 4e-5 of it.
STEPS = {
    "v2-resnet50": (v2(), 33, 33, 2, "trained", "grid", 50, 1e-4),
    "v2-resnet50-frozen": (v2(), 33, 33, 2, "frozen", "image", 50, 2e-5),
    "vgg16-large-fov": (FAMILY["vgg16-large-fov"][0], 33, 33, 2, "frozen", "grid", 50, 1e-3),
}


def crops(width, height, count, step=0):
    """-> images uint8 [N,H,W,3], labels uint8 [N,H,W] in blocks of 8 pixels, a few of them ignored."""
    images = np.stack([random_image(width, height, 100 * step + n + 1) for n in range(count)])
    labels = np.zeros((count, height, width), np.uint8)
    for n in range(count):
        noise = fmix32(counters(width * height, 1, 100 * step + n + 1)).reshape(height, width) % np.uint32(6)
        blocks = noise[::8, ::8].repeat(8, 0).repeat(8, 1)[:height, :width]
        labels[n] = np.where(blocks == 5, IGNORED, blocks)
    return images, labels


def cell_labels(labels, grid, upsample):
    """Of each cell, the label of the pixel in its middle."""

    def pixels(cells, size):
        i = np.arange(cells)
        if upsample == "align_corners":
            return np.floor(i * (size - 1) / max(cells - 1, 1) + 0.5).astype(int)
        return ((2 * i + 1) * size) // (2 * cells)

    return labels[:, pixels(grid[0], labels.shape[1])][:, :, pixels(grid[1], labels.shape[2])]


def loss_of(model, metadata, images, labels, where, dtype):
    x = torch.cat([normalise(image, metadata) for image in images]).to(dtype)
    logits = model(x)
    upsample = metadata.get("upsample", "half_pixel")
    if where == "grid":
        labels = cell_labels(labels, logits.shape[2:], upsample)
    else:
        corners = upsample == "align_corners"
        logits = F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=corners)
    weights = torch.tensor(WEIGHTS, dtype=dtype)
    return F.cross_entropy(logits, torch.from_numpy(labels.astype(np.int64)), weights, ignore_index=IGNORED)


def prepare(metadata, batch_norm, dtype):
    metadata = {**COMMON, **metadata}
    model = build(metadata)
    state = random_state(model, SEED)
    model.load_state_dict(state, strict=False)
    model = model.to(dtype).train(batch_norm == "trained")
    model.requires_grad_(True)
    if batch_norm == "frozen":
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.requires_grad_(False)
    description = {
        "metadata": metadata,
        "seed": SEED,
        "tensors": [[name, list(tensor.shape)] for name, tensor in state.items()],
        "weightsSha256": checksum(state),
        "batchNorm": batch_norm,
        "classWeights": WEIGHTS,
    }
    return model, metadata, description


def summary(index, tensor):
    values = tensor.detach().double().flatten().numpy()
    noise = (fmix32(counters(values.size, index, NOISE)) >> np.uint32(8)) * 2.0**-24 - 0.5
    return [float(f"{v:.9g}") for v in (np.linalg.norm(values), values @ noise)]


def gradients(metadata, width, height, count, batch_norm, where):
    model, metadata, description = prepare(metadata, batch_norm, torch.float64)
    loss = loss_of(model, metadata, *crops(width, height, count), where, torch.float64)
    loss.backward()
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    names = [name for name, _ in description["tensors"]]
    running = {n: tensors[n] for n in names if "running_" in n}
    trained = {n: tensors[n].grad for n in names if n not in running and tensors[n].grad is not None}
    return {
        **description,
        "crops": {"width": width, "height": height, "count": count},
        "loss": where,
        "value": loss.item(),
        "gradients": {n: summary(names.index(n), gradient) for n, gradient in trained.items()},
        "running": {n: summary(names.index(n), value) for n, value in running.items()} if batch_norm == "trained" else {},
    }


def steps(metadata, width, height, count, batch_norm, where, number, rate):
    model, metadata, description = prepare(metadata, batch_norm, torch.float32)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(number):
        optimizer.zero_grad()
        loss = loss_of(model, metadata, *crops(width, height, count, step % 4), where, torch.float32)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {
        **description,
        "crops": {"width": width, "height": height, "count": count, "batches": 4},
        "loss": where,
        "learningRate": rate,
        "momentum": 0.9,
        "weightDecay": 5e-4,
        "losses": losses,
    }


def write(folder, name, result):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result) + "\n")


def main():
    for name in [n for n in CASES if n in sys.argv[1:] or not sys.argv[1:]]:
        result = gradients(*CASES[name])
        write(REFERENCES / "training", name, result)
        print(name, result["value"], len(result["gradients"]))
    for name in [n for n in STEPS if n in sys.argv[1:] or not sys.argv[1:]]:
        result = steps(*STEPS[name])
        write(REFERENCES / "training-steps", name, result)
        print(name, result["losses"][0], result["losses"][-1])


if __name__ == "__main__":
    main()
