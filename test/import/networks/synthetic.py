"""Numbers by the name of a tensor and the place in it, as test/synthetic-archives.ts makes them, bit for bit."""

import base64
import json
import math

import numpy as np


def hash_of(name):
    h = 0x811C9DC5
    for char in name:
        h = ((h ^ ord(char)) * 0x01000193) & 0xFFFFFFFF
    return h


def uniform(name, count):
    """-> float32, from 0.25 to 1.25."""
    h = (np.arange(count, dtype=np.uint32) ^ np.uint32(hash_of(name))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    h = h ^ (h >> np.uint32(16))
    return ((h >> np.uint32(8)) * 2.0**-24 + 0.25).astype(np.float32)


def tame(name, shape):
    """-> a tensor with which activations neither die nor explode; the same as `tame` in synthetic-archives.ts."""
    u = uniform(name, math.prod(shape)).astype(np.float64)
    if len(shape) == 4:
        tensorflow = "/" in name
        depthwise = name.endswith("depthwise_weights")
        fan_in = 9 if depthwise else math.prod(shape[:-1] if tensorflow else shape[1:])
        values = (u - 0.75) * (2 * math.sqrt(6 / fan_in))
    elif name.endswith(("bn3.weight", "branch2c/gamma")):
        values = u * 0.2
    elif name.endswith((".weight", "/gamma", "running_var", "moving_variance")):
        values = u + 0.25
    else:
        values = (u - 0.75) * 0.2
    return values.astype(np.float32).reshape(shape)


def random_image(width, height, seed):
    """-> uint8 [H,W,3], plain noise, as randomImage in test/models.ts."""
    base = np.uint32((seed * 0x85EBCA6B) & 0xFFFFFFFF)
    h = np.arange(width * height * 3, dtype=np.uint32) + base
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return ((h ^ (h >> np.uint32(16))) & np.uint32(255)).astype(np.uint8).reshape(height, width, 3)


def write_reference(path, image, logits, labels):
    """Logits [C,h,w] on the network's grid; labels [H,W] of the whole image."""
    width, height, seed = image
    with open(path, "w") as file:
        reference = {
            "image": {"width": width, "height": height, "seed": seed},
            "logits": {"shape": list(logits.shape), "data": [float(f"{x:.8g}") for x in logits.ravel()]},
            "labels": base64.b64encode(labels.astype(np.uint8).tobytes()).decode(),
        }
        json.dump(reference, file)
        file.write("\n")
