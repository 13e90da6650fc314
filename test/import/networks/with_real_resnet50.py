"""What torchvision's DeepLab v3 computes with a real ResNet-50 and a head of random numbers: references/real-resnet50.json of
import-resnet50.test.ts.

The backbone is ../shared/models/resnet50-imagenet.pth, torchvision's own weights; the head is of synthetic.py, which here
and there makes the same numbers. Needs PyTorch 2, torchvision and numpy. In this folder: python with_real_resnet50.py, then
npx biome format --write references
"""

import pathlib

import torch
from torchvision.models.segmentation import deeplabv3_resnet50

from synthetic import tame, write_reference
from torchvision_network import compute

here = pathlib.Path(__file__).resolve().parent
image = (97, 65, 7)

trained = torch.load(here.parents[3] / "shared/models/resnet50-imagenet.pth", weights_only=True)
state = {f"backbone.{name}": tensor for name, tensor in trained.items() if not name.startswith("fc.")}
model = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=False).eval()
for name, tensor in model.state_dict().items():
    if name.startswith("classifier.") and not name.endswith("num_batches_tracked"):
        state[name] = torch.from_numpy(tame(name, tuple(tensor.shape)))
missing, unexpected = model.load_state_dict(state, strict=False)
assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
write_reference(here / "references/real-resnet50.json", image, *compute(model, image))
