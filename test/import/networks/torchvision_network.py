"""Runs a DeepLab v3 of torchvision on an image of synthetic.py, in float64."""

import torch

from synthetic import random_image


def compute(model, image):
    """-> logits [C,h,w] on the network's grid, labels [H,W] of the whole image."""
    model.double()
    pixels = torch.from_numpy(random_image(*image)).permute(2, 0, 1)[None].double() / 255
    mean, std = (
        torch.tensor(x, dtype=torch.float64).view(1, 3, 1, 1) for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    pixels = (pixels - mean) / std
    with torch.no_grad():
        logits = model.classifier(model.backbone(pixels)["out"])[0].numpy()
        labels = model(pixels)["out"][0].argmax(0).numpy()
    return logits, labels
