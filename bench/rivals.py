"""One rival as a child process of bench.js (race.js has the protocol):

python rivals.py <rival> <model.safetensors> <size> <threads> <scratch folder>

Every rival goes from the normalised float image to the label map: network, bilinear upsampling, argmax. Two further
names prepare what others need: `export` writes model.onnx, `random` writes a model with random weights for the metadata
in <model.safetensors>.json.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

PARITY = Path(__file__).resolve().parents[1] / "test" / "parity"


def wrap(network, size):
    """The network with what makes labels of its logits."""
    import torch
    from torch.nn import functional as F

    class Segmenter(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            logits = self.network(x).float()
            return F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=False).argmax(1)

    return Segmenter().eval()


def load(path, size, threads):
    import torch

    sys.path.insert(0, str(PARITY))
    from family import load_model

    torch.set_num_threads(threads)
    return wrap(load_model(path)[0], size)


def timed(task):
    started = time.perf_counter()
    task()
    return 1000 * (time.perf_counter() - started)


def torch_rival(name, path, size, threads):
    """-> function that runs once, milliseconds of the load, what is worth knowing."""
    import torch

    started = time.perf_counter()
    model = load(path, size, threads)
    load_ms = 1000 * (time.perf_counter() - started)
    image = torch.randn(1, 3, size, size)

    def in_format(memory_format):
        model.to(memory_format=memory_format)
        return image.to(memory_format=memory_format)

    formats = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    chosen = "channels_last"
    if name == "eager-f32":
        with torch.no_grad():
            times = {}
            for key, memory_format in formats.items():
                x = in_format(memory_format)
                model(x)
                times[key] = timed(lambda x=x: model(x))
            chosen = min(times, key=times.get)
    x = in_format(formats[chosen])
    runner = model
    if name.startswith("compile"):
        import torch._inductor.config

        torch._inductor.config.freezing = True  # weights as constants: folds batch norm, packs them once
        runner = torch.compile(model)
    bf16 = name.endswith("bf16")

    def run():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            runner(x)

    return run, load_ms, chosen


def onnx_rival(onnx_file, size, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
    load_ms = 1000 * (time.perf_counter() - started)
    image = np.random.default_rng(1).standard_normal((1, 3, size, size), np.float32)
    return lambda: session.run(None, {"image": image}), load_ms, ""


def export(path, size, onnx_file):
    import torch

    model = load(path, size, 1)
    torch.onnx.export(
        model, (torch.zeros(1, 3, size, size),), str(onnx_file), input_names=["image"], opset_version=18, dynamo=False
    )


def save_random(path):
    sys.path.insert(0, str(PARITY))
    from family import build
    from random_weights import random_state, write_model

    metadata = json.loads(Path(f"{path}.json").read_text())
    write_model(path, metadata, random_state(build(metadata), seed=1))


def main():
    name, path, size, threads, scratch = sys.argv[1:]
    size, threads, onnx_file = int(size), int(threads), Path(scratch) / "model.onnx"
    if name == "random":
        return save_random(path)
    if name == "export":
        return export(path, size, onnx_file)
    if name == "onnxruntime":
        run, load_ms, note = onnx_rival(onnx_file, size, threads)
    else:
        run, load_ms, note = torch_rival(name, path, size, threads)
    print(json.dumps({"loadMs": load_ms, "firstMs": timed(run), "note": note}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"ms": timed(run)}), flush=True)


if __name__ == "__main__":
    main()
