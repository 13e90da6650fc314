"""Writes references/family/<case>.json: logits of PyTorch (in float64) for random networks of the family (family.py).

usage: python generate_family.py [case ...] && npx biome format --write references

Each file has the metadata of the model, the names and shapes of its tensors, in the order in which random_weights.py
numbers them, and the logits of a random image. The variant of torchvision's weights is held against torchvision.
"""

import json
import sys

import torch
import torchvision

from deeplab_v2 import normalise
from family import build
from generate import REFERENCES, write
from random_weights import checksum, random_image, random_state

OUT = REFERENCES / "family"
CLASSES, SEED = 5, 1
COMMON = {
    "output_stride": "8",
    "bn_eps": "1e-5",
    "classes": ",".join(f"class{i}" for i in range(CLASSES)),
    "channel_order": "rgb",
    "mean": "0.485,0.456,0.406",
    "std": "0.229,0.224,0.225",
    "value_range": "0..1",
    "max_pool": "kernel 3, stride 2, padding 1, floor",
}
VGG = {
    "architecture": "deeplab_v2",
    "backbone": "vgg16",
    "max_pool": "kernel 3, stride 2, padding 1, ceil",
    "head_channels": "32",
    "fc6_kernel": "3",
}
V3 = {
    "architecture": "deeplab_v3",
    "backbone": "resnet50",
    "stride_placement": "3x3",
    "aspp_rates": "6,12,18",
    "head_channels": "32",
}
V3_OS16 = {**V3, "output_stride": "16", "multi_grid": "1,2,4"}
CASCADE = {**V3_OS16, "aspp_fusion": "none", "aspp_rates": "", "multi_grid": "1,2,1"}
TORCHVISION = {**V3, "aspp_rates": "12,24,36", "head_conv": "3x3", "dilation_start": "second"}
SLIM = {
    **V3,
    "stride_unit": "last",
    "max_pool": "kernel 3, stride 2, same",
    "bn_eps": "1e-3",
    "head_bn_eps": "1e-5",
}
MOBILENET = {
    "architecture": "deeplab_v3",
    "backbone": "mobilenet_v2",
    "stem_padding": "same",
    "bn_eps": "1e-3",
    "head_bn_eps": "1e-5",
    "head_channels": "32",
    "width_multiplier": "1",
}
# metadata, width, height; another output stride at which the same weights run (its rates written out)
CASES = {
    "vgg16-large-fov": ({**VGG, "architecture": "deeplab_v1", "aspp_rates": "12", "pool5a": "average"}, 65, 49),
    "vgg16-fc6-7x7-rate-4": ({**VGG, "architecture": "deeplab_v1", "fc6_kernel": "7", "aspp_rates": "4"}, 64, 48),
    "vgg16-fc6-4x4-rate-4": ({**VGG, "architecture": "deeplab_v1", "fc6_kernel": "4", "aspp_rates": "4"}, 67, 50),
    "vgg16-fc6-4x4-rate-8": ({**VGG, "architecture": "deeplab_v1", "fc6_kernel": "4", "aspp_rates": "8"}, 33, 97),
    "vgg16-aspp-s": ({**VGG, "aspp_rates": "2,4,8,12"}, 65, 65),
    "vgg16-aspp-l": ({**VGG, "aspp_rates": "6,12,18,24"}, 17, 23),
    "v3-resnet50-multi-grid": (V3_OS16, 97, 65),
    "v3-resnet50-multi-grid-at-8": (V3_OS16, 97, 65, {"output_stride": "8", "aspp_rates": "12,24,36"}),
    "v3-resnet101": ({**V3_OS16, "backbone": "resnet101", "image_pooling": "no"}, 64, 48),
    "v3-resnet50-cascade": ({**CASCADE, "cascade_blocks": "3"}, 65, 49),
    "v3-resnet50-cascade-at-8": ({**CASCADE, "cascade_blocks": "1"}, 65, 49, {"output_stride": "8"}),
    "v3-resnet50-torchvision": (TORCHVISION, 65, 97),
    "v3-resnet50-slim": (SLIM, 63, 50),
    "v3-resnet50-slim-at-16": (SLIM, 63, 50, {"output_stride": "16", "aspp_rates": "3,6,9"}),
    "v3-resnet50-folded": ({**V3_OS16, "batch_norm": "folded"}, 33, 33),
    "v3-mobilenet-v2": (MOBILENET, 65, 65),
    "v3-mobilenet-v2-half": ({**MOBILENET, "width_multiplier": "0.5", "channel_divisor": "1"}, 64, 51),
    "v3-mobilenet-v2-folded": ({**MOBILENET, "width_multiplier": "0.35", "batch_norm": "folded"}, 17, 23),
    "v3-mobilenet-v2-aspp": ({**MOBILENET, "stem_padding": "3", "output_stride": "16", "aspp_rates": "6,12,18"}, 97, 64),
    "v3-mobilenet-v2-aspp-at-8": (
        {**MOBILENET, "output_stride": "16", "aspp_rates": "6,12,18"}, 33, 64,
        {"output_stride": "8", "aspp_rates": "12,24,36"},
    ),
    # Images of one pixel's width or height, and a single pixel.
    "v3-resnet50-line": ({**V3_OS16, "max_pool": "kernel 3, stride 2, padding 1, ceil"}, 1, 301),
    "v3-mobilenet-v2-line": (MOBILENET, 700, 1),
    "vgg16-pixel": ({**VGG, "aspp_rates": "12", "pool5a": "average"}, 1, 1),
}  # fmt: skip


def torchvision_name(name):
    part, _, rest = name.partition(".")
    if part == "classifier":
        return f"classifier.4.{rest}"
    if part == "head":
        return "classifier." + rest.replace("conv", "1").replace("bn", "2")
    if part != "aspp":
        return f"backbone.{name}"
    if rest.startswith("pooling."):
        return "classifier.0.convs.4." + rest.removeprefix("pooling.").replace("conv", "1").replace("bn", "2")
    return "classifier.0." + rest.replace("branches", "convs").replace("conv.", "0.").replace("bn.", "1.")


def torchvision_logits(state, image):
    """Of torchvision's own deeplabv3_resnet50, with our tensors under its names and a head as narrow as ours."""
    model = torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES)
    width = state["head.conv.weight"].shape[0]
    model.classifier = torchvision.models.segmentation.deeplabv3.DeepLabHead(2048, CLASSES)
    aspp = torchvision.models.segmentation.deeplabv3.ASPP(2048, (12, 24, 36), width)
    model.classifier[0] = aspp
    model.classifier[1] = torch.nn.Conv2d(width, width, 3, padding=1, bias=False)
    model.classifier[2] = torch.nn.BatchNorm2d(width)
    model.classifier[4] = torch.nn.Conv2d(width, CLASSES, 1)
    renamed = {torchvision_name(name): value for name, value in state.items()}
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not unexpected and all(n.endswith("num_batches_tracked") or n.startswith("aux") for n in missing), missing
    model = model.eval().double()
    return model.classifier(model.backbone(image)["out"])[0]


@torch.no_grad()
def reference(metadata, width, height, other=None):
    metadata = {**COMMON, **metadata}
    running = {**metadata, **(other or {})}
    model = build(running)
    state = random_state(model, SEED)
    model.load_state_dict(state, strict=False)
    image = normalise(random_image(width, height, SEED), metadata).double()
    logits = model.eval().double()(image)[0]
    if metadata.get("head_conv") == "3x3":
        difference = (logits - torchvision_logits(state, image)).abs().max() / logits.abs().max()
        assert difference < 1e-12, difference
    return {
        "metadata": metadata,
        "seed": SEED,
        **({"outputStride": int(other["output_stride"])} if other else {}),
        "tensors": [[name, list(tensor.shape)] for name, tensor in state.items()],
        "weightsSha256": checksum(state),
        "image": {"width": width, "height": height, "seed": SEED},
        "logits": {"shape": list(logits.shape), "data": [float(f"{v:.9g}") for v in logits.flatten().tolist()]},
    }


def main():
    OUT.mkdir(exist_ok=True)
    for name in sys.argv[1:] or CASES:
        write(OUT / f"{name}.json", reference(*CASES[name]))


if __name__ == "__main__":
    main()
