"""DeepLab v2 on ResNet-50/101 in plain PyTorch: the independent reference for the native engine.

Follows arXiv 1606.00915: ResNet with output stride 8 (layer3 dilated by 2, layer4 by 4) and an ASPP head whose
dilated 3x3 branches go straight to the classes and are summed. The three padding conventions and the two stride
placements that published weights use are all here, spelled out with explicit padding.
"""

import json
import math
import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def same_padding(x, kernel, stride, value=0.0):
    """TensorFlow's SAME: as little padding as ceil(size / stride) outputs need, the odd pixel after."""
    pads = []
    for size in (x.shape[3], x.shape[2]):
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride, dilation, stride_placement, same):
        super().__init__()
        s1, s2 = (stride, 1) if stride_placement == "1x1" else (1, stride)
        self.same_stride = s2 if same and s2 > 1 else 0
        self.conv1 = nn.Conv2d(inputs, width, 1, s1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        padding = 0 if self.same_stride else dilation
        self.conv2 = nn.Conv2d(width, width, 3, s2, padding, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride != 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        if self.same_stride:
            y = same_padding(y, 3, self.same_stride)
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Aspp(nn.Module):
    def __init__(self, inputs, classes, rates):
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(inputs, classes, 3, padding=r, dilation=r) for r in rates)

    def forward(self, x):
        return sum(branch(x) for branch in self.branches)


class DeepLabV2(nn.Module):
    """x: float [N,3,H,W], already normalised. Returns logits [N,classes,ceil(H/8),ceil(W/8)] (about)."""

    def __init__(self, backbone, classes, rates=(6, 12, 18, 24), stride_placement="3x3", padding="floor"):
        super().__init__()
        assert padding in ("floor", "ceil", "same")
        self.padding = padding
        same = padding == "same"
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 0 if same else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for i, blocks in enumerate(BLOCKS[backbone]):
            width, stride, dilation = 64 << i, (1, 2, 1, 1)[i], (1, 1, 2, 4)[i]
            layer = []
            for b in range(blocks):
                layer.append(Bottleneck(inputs, width, stride if b == 0 else 1, dilation, stride_placement, same))
                inputs = 4 * width
            setattr(self, f"layer{i + 1}", nn.Sequential(*layer))
        self.aspp = Aspp(inputs, classes, rates)

    def forward(self, x):
        if self.padding == "same":
            x = F.relu(self.bn1(self.conv1(same_padding(x, 7, 2))))
            x = F.max_pool2d(same_padding(x, 3, 2, value=-math.inf), 3, 2)
        else:
            x = F.relu(self.bn1(self.conv1(x)))
            x = F.max_pool2d(x, 3, 2, 1, ceil_mode=self.padding == "ceil")
        return self.aspp(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


def metadata_of(model, backbone, classes, stride_placement, padding, **extra):
    """The `__metadata__` that describes `model` in a weights file."""
    pool = "kernel 3, stride 2, " + ("same" if padding == "same" else f"padding 1, {padding}")
    names = [f"class{i}" for i in range(classes)]
    return {
        "architecture": "deeplab_v2",
        "backbone": backbone,
        "output_stride": "8",
        "aspp_rates": ",".join(str(b.dilation[0]) for b in model.aspp.branches),
        "stride_placement": stride_placement,
        "stem_padding": "same" if padding == "same" else "3",
        "max_pool": pool,
        "bn_eps": "1e-5",
        "classes": ",".join(names),
        "channel_order": "rgb",
        "mean": "0.485,0.456,0.406",
        "std": "0.229,0.224,0.225",
        "value_range": "0..1",
        **extra,
    }


def load_safetensors(path):
    """-> (metadata, state dict in f32)."""
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = f.read()
    metadata = header.pop("__metadata__", {})
    types = {"F16": np.float16, "F32": np.float32}
    state = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = np.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])
        state[name] = torch.from_numpy(array.astype(np.float32))
    return metadata, state


def build(metadata):
    """The model that a weights file's metadata describes."""
    pool = metadata.get("max_pool", "floor")
    padding = "same" if "same" in pool else "ceil" if "ceil" in pool else "floor"
    rates = [int(r) for r in metadata["aspp_rates"].split(",")]
    classes = len(metadata["classes"].split(","))
    return DeepLabV2(metadata["backbone"], classes, rates, metadata["stride_placement"], padding)


def normalise(rgb, metadata):
    """Pixel values [H,W,3], uint8 or float -> float [1,3,H,W], as the metadata says."""
    mean = torch.tensor([float(v) for v in metadata["mean"].split(",")]).view(1, 3, 1, 1)
    std = torch.tensor([float(v) for v in metadata["std"].split(",")]).view(1, 3, 1, 1)
    x = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None]
    if not x.is_floating_point():
        x = x.float()
    if metadata["value_range"] == "0..1":
        x = x / 255
    if metadata["channel_order"] == "bgr":
        x = x.flip(1)
    return (x - mean) / std
