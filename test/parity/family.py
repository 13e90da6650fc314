"""DeepLab v1 and v2 on VGG-16, and v3 on ResNet and MobileNetV2, in plain PyTorch: the independent reference.

Follows arXiv 1412.7062 (v1), 1606.00915 (v2), 1706.05587 (v3), 1801.04381 (MobileNetV2). Modules are named as
docs/weights.md names tensors. `metadata` below is a weights file's.
"""

import torch
from torch import nn
from torch.nn import functional as F

import deeplab_v2
from deeplab_v2 import BLOCKS, load_safetensors, same_padding


FLOOR = "kernel 3, stride 2, padding 1, floor"


def integers(metadata, key, default=""):
    text = metadata.get(key, default)
    return [int(part) for part in text.split(",")] if text else []


class Conv(nn.Conv2d):
    """Keeps the size at stride 1; at stride 2 pads symmetrically, or as TensorFlow's SAME."""

    def __init__(self, inputs, outputs, kernel, stride=1, dilation=1, same=False, **rest):
        self.same = same and stride > 1
        padding = 0 if self.same else dilation * (kernel - 1) // 2
        super().__init__(inputs, outputs, kernel, stride, padding, dilation, **rest)

    def forward(self, x):
        return super().forward(same_padding(x, self.kernel_size[0], self.stride[0]) if self.same else x)


class Unit(nn.Module):
    """Convolution, batch norm (or, folded, a bias) and an activation."""

    def __init__(self, *shape, activation=F.relu, eps=1e-5, folded=False, **rest):
        super().__init__()
        self.conv = Conv(*shape, bias=folded, **rest)
        self.bn = nn.Identity() if folded else nn.BatchNorm2d(shape[1], eps)
        self.activation = activation

    def forward(self, x):
        return self.activation(self.bn(self.conv(x)))


# ---- VGG-16 ----


class VggBranch(nn.Module):
    def __init__(self, classes, width, kernel, rate):
        super().__init__()
        self.fc6 = Conv(512, width, kernel, dilation=rate)
        self.fc7 = nn.Conv2d(width, width, 1)
        self.fc8 = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        return self.fc8(F.relu(self.fc7(F.relu(self.fc6(x)))))


class Vgg16(nn.Module):
    def __init__(self, metadata, classes):
        super().__init__()
        self.ceil = metadata.get("max_pool", FLOOR).endswith("ceil")
        self.pool5a = metadata.get("pool5a") == "average"
        inputs = 3
        for block, (count, width) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
            for i in range(1, count + 1):
                setattr(self, f"conv{block}_{i}", Conv(inputs, width, 3, dilation=2 if block == 5 else 1))
                inputs = width
        width, kernel = int(metadata.get("head_channels", "1024")), int(metadata.get("fc6_kernel", "3"))
        self.aspp = nn.Module()
        self.aspp.branches = nn.ModuleList(
            VggBranch(classes, width, kernel, rate) for rate in integers(metadata, "aspp_rates")
        )

    def forward(self, x):
        for block, count in enumerate((2, 2, 3, 3, 3), 1):
            for i in range(1, count + 1):
                x = F.relu(getattr(self, f"conv{block}_{i}")(x))
            x = F.max_pool2d(x, 3, 2 if block < 4 else 1, 1, ceil_mode=self.ceil)
        if self.pool5a:
            x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=True)
        return sum(branch(x) for branch in self.aspp.branches)


# ---- ResNet ----


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride, dilation, slim, folded, eps):
        super().__init__()

        def bn(channels):
            return nn.Identity() if folded else nn.BatchNorm2d(channels, eps)

        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=folded), bn(width)
        self.conv2, self.bn2 = Conv(width, width, 3, stride, dilation, bias=folded), bn(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=folded), bn(4 * width)
        self.downsample = None
        self.subsample = stride if slim else 1
        if inputs != 4 * width or (stride != 1 and not slim):
            self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=folded), bn(4 * width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        x = x[:, :, :: self.subsample, :: self.subsample] if self.downsample is None else self.downsample(x)
        return F.relu(y + x)


# Strides and rates of the bottlenecks of each layer, written out: [(stride of the first, of the last, rate of the first,
# of the others)] for layers 1 to 7.
STRIDES_AND_RATES = {
    ("first", "first", 8): [(1, 1, 1, 1), (2, 1, 1, 1), (1, 1, 2, 2), (1, 1, 4, 4), (1, 1, 8, 8), (1, 1, 16, 16), (1, 1, 32, 32)],
    ("first", "first", 16): [(1, 1, 1, 1), (2, 1, 1, 1), (2, 1, 1, 1), (1, 1, 2, 2), (1, 1, 4, 4), (1, 1, 8, 8), (1, 1, 16, 16)],
    ("first", "second", 8): [(1, 1, 1, 1), (2, 1, 1, 1), (1, 1, 1, 2), (1, 1, 2, 4)],
    ("last", "first", 8): [(1, 2, 1, 1), (1, 1, 1, 1), (1, 1, 2, 2), (1, 1, 4, 4)],
    ("last", "first", 16): [(1, 2, 1, 1), (1, 2, 1, 1), (1, 1, 1, 1), (1, 1, 2, 2)],
}


class ResNet(nn.Module):
    channels = 2048

    def __init__(self, metadata):
        super().__init__()
        folded, eps = metadata.get("batch_norm") == "folded", float(metadata.get("bn_eps", "1e-5"))
        self.pool = metadata.get("max_pool", FLOOR)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=folded)
        self.bn1 = nn.Identity() if folded else nn.BatchNorm2d(64, eps)
        unit, start = metadata.get("stride_unit", "first"), metadata.get("dilation_start", "first")
        plan = STRIDES_AND_RATES[unit, start, int(metadata["output_stride"])]
        grid = integers(metadata, "multi_grid", "1,1,1")
        blocks = BLOCKS[metadata["backbone"]]
        self.count = 4 + int(metadata.get("cascade_blocks", "0"))
        inputs = 64
        for i in range(self.count):
            width, units = 64 << min(i, 3), blocks[min(i, 3)]
            stride_first, stride_last, rate_first, rate = plan[i]
            layer = []
            for b in range(units):
                stride = stride_first if b == 0 else stride_last if b == units - 1 else 1
                dilation = (rate_first if b == 0 else rate) * (grid[b] if i >= 3 else 1)
                layer.append(Bottleneck(inputs, width, stride, dilation, unit == "last", folded, eps))
                inputs = 4 * width
            setattr(self, f"layer{i + 1}", nn.Sequential(*layer))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.pool.endswith("same"):
            x = F.max_pool2d(same_padding(x, 3, 2, value=-torch.inf), 3, 2)
        else:
            x = F.max_pool2d(x, 3, 2, 1, ceil_mode=self.pool.endswith("ceil"))
        for i in range(self.count):
            x = getattr(self, f"layer{i + 1}")(x)
        return x


# ---- MobileNetV2 ----


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, expansion, stride, dilation, **rest):
        super().__init__()
        width = inputs * expansion
        self.expand = None
        if expansion > 1:
            self.expand = Unit(inputs, width, 1, activation=F.relu6, **rest)
        same = rest.pop("same")
        self.depthwise = Unit(width, width, 3, stride, dilation, same, groups=width, activation=F.relu6, **rest)
        self.project = Unit(width, outputs, 1, activation=nn.Identity(), **rest)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    # Expansion, channels, stride and rate at output stride 16 and 8 of each of the 17 blocks.
    BLOCKS = (
        [(1, 16, 1, 1, 1, 1)]
        + [(6, 24, 2, 1, 2, 1)] + [(6, 24, 1, 1, 1, 1)]
        + [(6, 32, 2, 1, 2, 1)] + [(6, 32, 1, 1, 1, 1)] * 2
        + [(6, 64, 2, 1, 1, 1)] + [(6, 64, 1, 1, 1, 2)] * 3
        + [(6, 96, 1, 1, 1, 2)] * 3
        + [(6, 160, 1, 1, 1, 2)] + [(6, 160, 1, 2, 1, 4)] * 2
        + [(6, 320, 1, 2, 1, 4)]
    )

    def __init__(self, metadata):
        super().__init__()
        rest = {
            "eps": float(metadata.get("bn_eps", "1e-5")),
            "folded": metadata.get("batch_norm") == "folded",
            "same": metadata.get("stem_padding") == "same",
        }
        multiplier, divisor = float(metadata.get("width_multiplier", "1")), int(metadata.get("channel_divisor", "8"))

        def scaled(channels):
            rounded = max(divisor, int(channels * multiplier + divisor / 2) // divisor * divisor)
            return rounded + divisor if rounded < 0.9 * channels * multiplier else rounded

        inputs = scaled(32)
        self.stem = Unit(3, inputs, 3, 2, activation=F.relu6, **rest)
        blocks = []
        for expansion, channels, stride16, rate16, stride8, rate8 in self.BLOCKS:
            stride, rate = (stride8, rate8) if metadata["output_stride"] == "8" else (stride16, rate16)
            blocks.append(InvertedResidual(inputs, scaled(channels), expansion, stride, rate, **rest))
            inputs = scaled(channels)
        self.blocks = nn.Sequential(*blocks)
        self.channels = inputs

    def forward(self, x):
        return self.blocks(self.stem(x))


# ---- DeepLab v3 ----


class Aspp(nn.Module):
    def __init__(self, inputs, width, rates, pooling, **rest):
        super().__init__()
        branches = [Unit(inputs, width, 1, **rest)]
        branches += [Unit(inputs, width, 3, dilation=rate, **rest) for rate in rates]
        self.branches = nn.ModuleList(branches)
        self.pooling = Unit(inputs, width, 1, **rest) if pooling else None
        self.project = Unit((len(branches) + pooling) * width, width, 1, **rest)

    def forward(self, x):
        outputs = [branch(x) for branch in self.branches]
        if self.pooling is not None:
            outputs.append(self.pooling(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:]))
        return self.project(torch.cat(outputs, 1))


def deeplab_v3(metadata, classes):
    """The backbone's modules and the head's in one, so that the names are those of the file."""
    model = (MobileNetV2 if metadata["backbone"] == "mobilenet_v2" else ResNet)(metadata)
    backbone = model.forward
    rest = {
        "eps": float(metadata.get("head_bn_eps", metadata.get("bn_eps", "1e-5"))),
        "folded": metadata.get("batch_norm") == "folded",
    }
    width, channels = int(metadata.get("head_channels", "256")), model.channels
    with_aspp = metadata.get("aspp_fusion", "concat") == "concat"
    if with_aspp:
        pooling = metadata.get("image_pooling", "yes") == "yes"
        model.aspp = Aspp(channels, width, integers(metadata, "aspp_rates"), pooling, **rest)
        channels = width
    with_conv = metadata.get("head_conv") == "3x3"
    if with_conv:
        model.head = Unit(channels, width, 3, **rest)
        channels = width
    model.classifier = nn.Conv2d(channels, classes, 1)

    def forward(x):
        x = backbone(x)
        x = model.aspp(x) if with_aspp else x
        x = model.head(x) if with_conv else x
        return model.classifier(x)

    model.forward = forward
    return model


def build(metadata):
    """The model that a weights file's metadata describes; x: float [N,3,H,W], normalised -> logits."""
    if metadata["backbone"] != "vgg16" and metadata["architecture"] == "deeplab_v2":
        return deeplab_v2.build(metadata)
    classes = len(metadata["classes"].split(","))
    return Vgg16(metadata, classes) if metadata["backbone"] == "vgg16" else deeplab_v3(metadata, classes)


def load_model(path):
    """The PyTorch model of a weights file, in eval mode, and its metadata."""
    metadata, state = load_safetensors(path)
    model = build(metadata)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
    return model.eval(), metadata
