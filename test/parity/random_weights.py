"""Models and images made from a seed. test/models.ts makes the same ones, bit for bit; see there."""

import hashlib
import json
import math
import re
import struct

import numpy as np
import torch

from deeplab_v2 import DeepLabV2, metadata_of


def fmix32(h):
    """MurmurHash3's finaliser on a uint32 array."""
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def counters(size, index, seed):
    base = np.uint32((index * 0x9E3779B9 + seed * 0x85EBCA6B) & 0xFFFFFFFF)
    return np.arange(size, dtype=np.uint32) + base


def distribution(name, shape):
    """-> offset, scale of (u + offset) * scale, u uniform in [0, 1)."""
    to_classes = re.fullmatch(r"aspp\.branches\.\d+\.(weight|bias)", name)
    if len(shape) == 4:
        bound = math.sqrt(6 / math.prod(shape[1:]))
        return -0.5, bound / 2 if to_classes else bound * 2
    if to_classes:
        return -0.5, 1.0
    if name.endswith("bn3.weight"):
        return 0.5, 0.2
    if name.endswith("project.bn.weight") and name.startswith("blocks."):
        return 0.5, 0.4
    return (0.5, 1.0) if name.endswith((".weight", ".running_var")) else (-0.5, 0.2)


def random_state(model, seed):
    """-> the state dict of `model` with random values, without num_batches_tracked."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        h = fmix32(counters(tensor.numel(), len(state), seed))
        offset, scale = distribution(name, tensor.shape)
        values = ((h >> np.uint32(8)) * 2.0**-24 + offset) * scale
        state[name] = torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape)
    return state


def random_model(backbone, seed=1, classes=5, rates=(6, 12, 18, 24), stride_placement="3x3", padding="floor"):
    """-> the model in eval mode, its state dict."""
    model = DeepLabV2(backbone, classes, rates, stride_placement, padding)
    state = random_state(model, seed)
    model.load_state_dict(state, strict=False)
    return model.eval(), state


def checksum(state):
    """SHA-256 of all values, in order, as a weights file stores them."""
    digest = hashlib.sha256()
    for tensor in state.values():
        digest.update(tensor.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def random_image(width, height, seed):
    """-> uint8 [H,W,3], plain noise."""
    noise = fmix32(counters(width * height * 3, 0, seed)) & np.uint32(255)
    return noise.astype(np.uint8).reshape(height, width, 3)


def save_model(path, backbone, seed=1, classes=5, rates=(6, 12, 18, 24), stride_placement="3x3", padding="floor"):
    """Writes a random model as a weights file."""
    model, state = random_model(backbone, seed, classes, rates, stride_placement, padding)
    write_model(path, metadata_of(model, backbone, classes, stride_placement, padding), state)


def write_model(path, metadata, state):
    """Writes a weights file."""
    header = {"__metadata__": metadata}
    offset = 0
    for name, tensor in state.items():
        end = offset + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in state.values():
            file.write(tensor.numpy().astype("<f4").tobytes())
