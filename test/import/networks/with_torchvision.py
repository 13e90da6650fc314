"""What torchvision's own networks compute with the numbers of synthetic.py: references/*.json of import-networks.test.ts.

Needs PyTorch 2, torchvision and numpy. In this folder: python with_torchvision.py, then npx biome format --write references
"""

import pathlib

import numpy as np
import torch
from torchvision.models.segmentation import deeplabv3_resnet50

from synthetic import random_image, tame, write_reference

references = pathlib.Path(__file__).parent / "references"
references.mkdir(exist_ok=True)
image = (49, 33, 5)

model = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).eval()
state = {
    name: torch.from_numpy(tame(name, tuple(tensor.shape)))
    for name, tensor in model.state_dict().items()
    if not name.endswith("num_batches_tracked")
}
model.load_state_dict(state, strict=False)
model.double()
pixels = torch.from_numpy(random_image(*image)).permute(2, 0, 1)[None].double() / 255
mean, std = (torch.tensor(x, dtype=torch.float64).view(1, 3, 1, 1) for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
pixels = (pixels - mean) / std
with torch.no_grad():
    logits = model.classifier(model.backbone(pixels)["out"])[0].numpy()
    labels = model(pixels)["out"][0].argmax(0).numpy()
write_reference(references / "torchvision.json", image, logits, labels)
