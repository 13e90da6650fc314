"""Writes fixtures/safetensors-types.safetensors and fixtures/safetensors.json: the numbers in it, {file: {name: [shape,
values]}}.

usage: python generate_safetensors.py && npx biome format --write fixtures

Needs PyTorch 2 and safetensors. The I8 tensor has its scales beside it, as docs/weights.md says.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parent / "fixtures"


def main():
    torch.manual_seed(1)
    values = torch.randn(2, 3)
    dtypes = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8, torch.bool)
    tensors = {f"types.{str(dtype)[6:]}": (values.abs() * 3).to(dtype) for dtype in dtypes}
    tensors["scalar"] = torch.tensor(2.5)
    tensors["conv.weight"] = torch.randint(-127, 128, (3, 2, 1, 2), dtype=torch.int8)
    scales = torch.tensor([0.5, 0.25, 3.0], dtype=torch.float16)
    tensors["plain.scale"] = torch.tensor([7.0])  # of nothing
    numbers = dict(tensors)
    numbers["conv.weight"] = tensors["conv.weight"].float() * scales.float().view(3, 1, 1, 1)
    others = {"conv.weight.scale": scales, "float8": values.to(torch.float8_e4m3fn)}
    name = "safetensors-types.safetensors"
    save_file(tensors | others, FIXTURES / name, {"architecture": "deeplab_v2", "classes": "a,b"})
    expected = {key: [list(t.shape), t.to(torch.float32).flatten().tolist()] for key, t in numbers.items()}
    (FIXTURES / "safetensors.json").write_text(json.dumps({name: expected}))


if __name__ == "__main__":
    main()
