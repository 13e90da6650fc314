"""What torchvision's own networks compute with the numbers of synthetic.py: references/*.json of import-networks.test.ts.

Needs PyTorch 2, torchvision and numpy. In this folder: python with_torchvision.py, then npx biome format --write references
"""

import pathlib

import torch
from torchvision.models.segmentation import deeplabv3_resnet50

from synthetic import tame, write_reference
from torchvision_network import compute

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
write_reference(references / "torchvision.json", image, *compute(model, image))
