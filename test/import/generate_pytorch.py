"""Writes fixtures/pytorch-*: checkpoints in every form that torch.save has had, and one that would run a command; and
fixtures/pytorch.json: what torch.load reads from them, {file: {path of the tensor: [shape, values]}}. With
../shared/models, fixtures/resnet50-imagenet.json too: shape and SHA-256 of each tensor of a real network, as floats.

usage: python generate_pytorch.py && npx biome format --write fixtures

Needs PyTorch 2 and numpy. The tar format is of PyTorch before 0.1.10 and written here by hand; torch.load reads it.
"""

import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
FIXTURES = HERE / "fixtures"
RESNET = HERE.parents[2] / "shared/models/resnet50-imagenet.pth"


def checkpoint(everything=True):
    """A training script's checkpoint: tensors of all types and layouts, in dicts and lists, beside other things."""
    torch.manual_seed(1)
    base = torch.randn(4, 6)
    state = OrderedDict()
    state["conv.weight"] = torch.randn(2, 3, 3, 3)
    state["bn.num_batches_tracked"] = torch.tensor(1234567)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        state[f"floats.{str(dtype)[6:]}"] = torch.randn(5).to(dtype)
    for dtype in (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool):
        state[f"integers.{str(dtype)[6:]}"] = torch.tensor([0, 1, 100]).to(dtype)
    state["views.whole"] = base
    state["views.transposed"] = base.t()
    state["views.part"] = base[1:3, 2:5]
    state["views.steps"] = base[::2, ::3]
    state["views.expanded"] = torch.randn(3, 1).expand(3, 4)
    state["views.channels_last"] = torch.randn(1, 2, 3, 4).to(memory_format=torch.channels_last)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = torch.nn.Parameter(torch.randn(3))
    state._metadata = OrderedDict([("", {"version": 1})])
    found = {"state_dict": state, "epoch": 3, "arch": "deeplab", "best": 0.5, "done": True, "none": None}
    found["optimizer"] = {"state": {0: {"exp_avg": torch.randn(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    found["list"] = [torch.randn(2), (torch.randn(1), -5, 2**40, 2**70)]
    found["itself"] = found
    if everything:  # what only PyTorch 2 has
        state["integers.uint16"] = torch.tensor([0, 1, 65535], dtype=torch.uint16)
        state["complex"] = torch.randn(2, dtype=torch.complex64)
        named = torch.randn(2)
        named.note = "an attribute"
        state["attributes"] = named
        found["miou"] = np.float64(0.75)
        found["others"] = [torch.Size([1, 2]), torch.device("cpu"), torch.float32, b"bytes", {1, 2}]
    return found


def contents(value, path=(), inside=()):
    """-> {path: [shape, values]} of the tensors of numbers in an object."""
    found = {}
    if isinstance(value, torch.Tensor) and not value.is_complex():
        values = value.detach().contiguous().to(torch.float32)
        found[".".join(path)] = [list(values.shape), values.flatten().tolist()]
    elif isinstance(value, (dict, list, tuple)) and id(value) not in inside:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in items:
            found |= contents(child, (*path, str(key)), (*inside, id(value)))
    return found


class Storage:
    """A tensor in the old tar file: the pickle refers to it by its key."""

    def __init__(self, key):
        self.key = key


def write_tar(path):
    """As torch/serialization.py of 0.1.9 wrote: two tensors of one storage, and one of a part of another."""
    base, halves = torch.arange(12, dtype=torch.float32) / 4, torch.arange(6, dtype=torch.float64) - 2.5

    def storage(key, kind, values):
        head = pickle.dumps((key, "cpu", kind), 2)
        return head + struct.pack("<q", values.numel()) + values.numpy().tobytes()

    def tensor(key, storage_key, kind, shape, stride, offset):
        numbers = struct.pack(f"<{2 * len(shape) + 1}q", *shape, *stride, offset)
        return pickle.dumps((key, storage_key, kind), 2) + struct.pack("<i", len(shape)) + b"\0" * 4 + numbers

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.key if isinstance(value, Storage) else None

    pickled = io.BytesIO()
    state = OrderedDict([("conv.weight", Storage(11)), ("conv.turned", Storage(12)), ("bias", Storage(13))])
    Pickler(pickled, 2).dump({"state_dict": state, "epoch": 7})
    members = {
        "sys_info": pickle.dumps({"protocol_version": 1000, "little_endian": True, "type_sizes": {"int": 4}}, 2),
        "pickle": pickled.getvalue(),
        "tensors": pickle.dumps(3, 2)
        + tensor(11, 1, torch.FloatTensor, (3, 4), (4, 1), 0)
        + tensor(12, 1, torch.FloatTensor, (4, 2), (1, 4), 4)
        + tensor(13, 3, torch.DoubleTensor, (2,), (1,), 1),
        "storages": pickle.dumps(2, 2)
        + storage(1, torch.FloatStorage, base)
        + storage(2, torch.DoubleStorage, halves)
        + pickle.dumps([(3, 2, 2, 4)], 2),
    }
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def checksums(path):
    """-> {name: "<shape> <first half of the SHA-256 of the little-endian floats>"} of a state dict."""

    def checksum(tensor):
        values = tensor.to(torch.float32).contiguous().numpy()
        return f"{'x'.join(map(str, values.shape))} {hashlib.sha256(values.tobytes()).hexdigest()[:32]}"

    return {name: checksum(tensor) for name, tensor in sorted(torch.load(path, weights_only=True).items())}


class Evil:
    def __reduce__(self):
        return os.system, ("touch deeplab-was-here",)


def main():
    torch.save(checkpoint(), FIXTURES / "pytorch-zip.pth")
    torch.save(checkpoint(), FIXTURES / "pytorch-zip-5.pth", pickle_protocol=5)
    torch.save(checkpoint(False), FIXTURES / "pytorch-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(
        checkpoint(False), FIXTURES / "pytorch-legacy-4.pth", pickle_protocol=4, _use_new_zipfile_serialization=False
    )
    write_tar(FIXTURES / "pytorch-tar.pth")
    expected = {}
    for path in sorted(FIXTURES.glob("pytorch-*.pth")):
        if not path.name.startswith("pytorch-unsafe"):
            expected[path.name] = contents(torch.load(path, weights_only=False))
    (FIXTURES / "pytorch.json").write_text(json.dumps(expected))
    if RESNET.exists():
        (FIXTURES / "resnet50-imagenet.json").write_text(json.dumps(checksums(RESNET)))
    tensors = {"state_dict": {"weight": torch.randn(2)}, "note": Evil()}
    torch.save(tensors, FIXTURES / "pytorch-unsafe-zip.pth")
    torch.save(tensors, FIXTURES / "pytorch-unsafe-legacy.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
