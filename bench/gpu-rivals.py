"""PyTorch on a GPU, and the GPU's ceilings: what deeplab's times (bench/gpu.cc) are held against.

python gpu-rivals.py [--model FILE] [--device cuda] [--size 513] [--batch 1,8,32] [--seconds 1] [--modes eager,compile]
                     [--json FILE] [--quick] [--training] [--only training]

The network of test/parity/deeplab_v2.py in fp16 and channels_last: eager with cuDNN's own search, torch.compile in the
modes "max-autotune" and "reduce-overhead" (both replay CUDA graphs). Each is timed to logits and to labels on the device,
by CUDA events, and from pinned uint8 pixels to uint8 labels in host memory, by the clock. The ceilings are those that
PyTorch reaches on this card at this moment: a large matrix product and a copy within device memory.

--training adds steps of SGD of the same network, eager, with autocast as PyTorch advises: the loss on the logits' grid,
batch norm frozen or trained, from pinned pixels and labels to the loss in host memory. --only training does nothing else.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch._inductor.config
from torch.nn import functional as F

PARITY = Path(__file__).resolve().parents[1] / "test" / "parity"
sys.path.insert(0, str(PARITY))

MODES = {
    "eager": None,
    "compile max-autotune": "max-autotune",
    "compile reduce-overhead": "reduce-overhead",
}
CLASSES = 21


def load_network(path):
    """-> the network in eval mode, its metadata; random weights without a path."""
    if path:
        from family import load_model

        return load_model(path)
    from deeplab_v2 import metadata_of
    from random_weights import random_model

    model, _ = random_model("resnet101", classes=CLASSES)
    return model, metadata_of(model, "resnet101", CLASSES, "3x3", "floor")


class ToLabels(torch.nn.Module):
    """Normalised images [N,3,H,W] -> labels, uint8 [N,H,W]."""

    def __init__(self, network, size):
        super().__init__()
        self.network, self.size = network, size

    def forward(self, x):
        logits = F.interpolate(self.network(x), size=self.size, mode="bilinear", align_corners=False)
        return logits.argmax(1).to(torch.uint8)


class Normalise(torch.nn.Module):
    """Pixels, uint8 [N,H,W,3] -> the network's input, channels_last [N,3,H,W]."""

    def __init__(self, metadata, dtype):
        super().__init__()
        self.dtype, self.bgr = dtype, metadata["channel_order"] == "bgr"
        scale = 1 / 255 if metadata["value_range"] == "0..1" else 1.0
        mean, std = (torch.tensor([float(v) for v in metadata[key].split(",")]) for key in ("mean", "std"))
        self.register_buffer("factor", (scale / std).view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1))

    def forward(self, pixels):
        x = pixels.permute(0, 3, 1, 2)
        if self.bgr:
            x = x.flip(1)
        x = (x.float() * self.factor + self.shift).to(self.dtype)
        return x.contiguous(memory_format=torch.channels_last)


class Clock:
    """Times work on a device: by its own events, or by the clock where it has none."""

    def __init__(self, device, seconds, quick):
        self.cuda, self.seconds = device.type == "cuda", seconds
        self.warm_up, self.least = (1, 2) if quick else (3, 10)

    def synchronize(self):
        if self.cuda:
            torch.cuda.synchronize()

    def once(self, task):
        if not self.cuda:
            started = time.perf_counter()
            task()
            return 1000 * (time.perf_counter() - started)
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        task()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)

    def median(self, task):
        """`task(i)` is run for i = 0, 1, ... -> the median of its milliseconds."""
        for i in range(self.warm_up):
            task(i)
        self.synchronize()
        times, started = [], time.perf_counter()
        while len(times) < self.least or time.perf_counter() - started < self.seconds:
            times.append(self.once(lambda: task(len(times))))
        return statistics.median(times)

    def per_run(self, task):
        """`task(runs)` does that many, each of them complete when it returns -> milliseconds per run, a median."""

        def timed(runs):
            started = time.perf_counter()
            task(runs)
            return 1000 * (time.perf_counter() - started) / runs

        first = [timed(2) for _ in range(self.warm_up)][-1]
        runs = max(int(1000 * self.seconds / 3 / first), 2)
        return statistics.median(timed(runs) for _ in range(3))


class Pipeline:
    """Pinned uint8 pixels -> uint8 labels in pinned memory; the next batch goes up while one is computed."""

    def __init__(self, network, pixels, device):
        self.network, self.pixels, self.device = network, pixels, device
        self.cuda = device.type == "cuda"
        self.results = [torch.empty(pixels[0].shape[:3], dtype=torch.uint8, pin_memory=self.cuda) for _ in range(2)]
        if self.cuda:
            self.staged = [torch.empty_like(pixels[0], device=device) for _ in range(2)]
            self.upload = torch.cuda.Stream()
            self.ready, self.read = ([torch.cuda.Event() for _ in range(2)] for _ in range(2))

    def put(self, i):
        """-> batch `i` on the device, for the current stream."""
        source, slot = self.pixels[i % len(self.pixels)], i % 2
        if not self.cuda:
            return source
        with torch.cuda.stream(self.upload):
            self.upload.wait_event(self.read[slot])
            self.staged[slot].copy_(source, non_blocking=True)
            self.ready[slot].record(self.upload)
        torch.cuda.current_stream().wait_event(self.ready[slot])
        return self.staged[slot]

    def run(self, runs):
        for i in range(runs):
            labels = self.network(self.put(i))
            if self.cuda:
                self.read[i % 2].record()
            self.results[i % 2].copy_(labels, non_blocking=True)
        if self.cuda:
            torch.cuda.synchronize()


def ceilings(device, clock, quick):
    """-> matrix rate in TFLOP/s and copy bandwidth in TB/s (read and written), of random data."""
    n = 256 if quick else 8192
    rates = {}
    for name, dtype in {"fp16": torch.float16, "bf16": torch.bfloat16}.items():
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        c = torch.empty_like(a)
        rates[f"{name}TflopPerS"] = 2 * n**3 / clock.median(lambda _, a=a, b=b, c=c: torch.mm(a, b, out=c)) / 1e9
    source = torch.empty(1 << (20 if quick else 32), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_ms = clock.median(lambda _: target.copy_(source))
    return {"matrixSize": n, **rates, "copyTbPerS": 2 * source.numel() / copy_ms / 1e9}


def measure(mode, network, metadata, batch, size, device, dtype, clock):
    """-> figures of one mode and batch size, milliseconds per image."""
    sets = 4  # different images in turn, so that no cache flatters
    generator = torch.Generator().manual_seed(1)
    pixels = [torch.randint(256, (batch, size, size, 3), generator=generator, dtype=torch.uint8) for _ in range(sets)]
    inputs = [
        ((p.permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.22).to(device, dtype, memory_format=torch.channels_last)
        for p in pixels
    ]
    if device.type == "cuda":
        pixels = [p.pin_memory() for p in pixels]

    def build(module):
        module = module.to(device).eval()
        return module if MODES[mode] is None else torch.compile(module, mode=MODES[mode], dynamic=False)

    to_logits, to_labels = build(network), build(ToLabels(network, (size, size)))
    prepare = build(Normalise(metadata, dtype))
    pipeline = Pipeline(lambda batch: to_labels(prepare(batch)), pixels, device)

    started = time.perf_counter()
    row = {"mode": mode, "batch": batch}
    with torch.inference_mode():
        row["logitsMs"] = clock.median(lambda i: to_logits(inputs[i % sets])) / batch
        row["labelsMs"] = clock.median(lambda i: to_labels(inputs[i % sets])) / batch
        row["endToEndMs"] = clock.per_run(pipeline.run) / batch
    row["secondsInAll"] = time.perf_counter() - started
    return row


def measure_training(network, metadata, norm, dtype, batch, size, device, clock):
    """-> figures of one kind of training step, milliseconds per image. `network` is f32."""
    sets = 4
    generator = torch.Generator().manual_seed(1)
    pixels = [torch.randint(256, (batch, size, size, 3), generator=generator, dtype=torch.uint8) for _ in range(sets)]
    labels = [torch.randint(CLASSES, (batch, size, size), generator=generator, dtype=torch.uint8) for _ in range(sets)]
    if device.type == "cuda":
        pixels, labels = [p.pin_memory() for p in pixels], [p.pin_memory() for p in labels]
    network = network.to(device, torch.float32, memory_format=torch.channels_last)
    network.train(norm == "trained")
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    if norm == "frozen":
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.requires_grad_(False)
    prepare = Normalise(metadata, torch.float32).to(device)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-4, momentum=0.9, weight_decay=5e-4, fused=device.type == "cuda")
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def step(i):
        inputs = prepare(pixels[i % sets].to(device, non_blocking=True))
        targets = labels[i % sets].to(device, non_blocking=True)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = network(inputs)
            scale = targets.shape[-1] / logits.shape[-1]
            cells = ((torch.arange(logits.shape[-1], device=device) + 0.5) * scale).long()
            loss = F.cross_entropy(logits.float(), targets[:, cells][:, :, cells].long(), ignore_index=255)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def steps(count):
        for i in range(count):
            step(i)

    name = str(dtype).removeprefix("torch.")
    row = {"mode": f"training, batch norm {norm}", "dtype": name, "batch": batch, "size": size}
    row["stepMs"] = clock.per_run(steps) / batch
    network.requires_grad_(False)
    return row


def measure_trainings(path, arguments, device, clock, keep):
    """Each dtype and batch norm; `keep` is given a row at a time. -> whether all worked."""
    network, metadata = load_network(path)
    dtypes = [torch.bfloat16, torch.float16] if device.type == "cuda" else [torch.bfloat16]
    worked = True
    for norm in ("frozen", "trained"):
        for dtype in dtypes:
            batch, size = arguments.training_batch, arguments.training_size
            try:
                row = measure_training(network, metadata, norm, dtype, batch, size, device, clock)
                print(f"{row['mode']:30} {row['dtype']:9} {batch:5} {row['stepMs']:10.3f} ms per image", flush=True)
            except Exception as failure:
                row, worked = {"mode": f"training, batch norm {norm}", "failure": str(failure)[:500]}, False
                print(f"{row['mode']:30} {row['failure']}", flush=True)
            keep(row)
    return worked


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="weights file; default: random weights")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=513)
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--modes", default="eager,compile max-autotune,compile reduce-overhead")
    parser.add_argument("--seconds", type=float, default=1, help="at least, of each figure")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--training", action="store_true", help="training steps as well")
    parser.add_argument("--only", choices=["training"], help="nothing else")
    parser.add_argument("--training-size", type=int, default=321)
    parser.add_argument("--training-batch", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="few runs, small ceilings: only whether it works")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    device = torch.device(arguments.device)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    torch.backends.cudnn.benchmark = True
    torch._inductor.config.freezing = True  # weights as constants: batch norm is folded, as in bench/rivals.py
    torch._dynamo.config.recompile_limit = 64  # a graph for each batch size, not one for all
    clock = Clock(device, 0 if arguments.quick else arguments.seconds, arguments.quick)
    network, metadata = load_network(arguments.model)
    network = network.to(device, dtype, memory_format=torch.channels_last)
    only_training = arguments.only == "training"
    result = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "size": arguments.size,
        "ceilings": ceilings(device, clock, arguments.quick),
        "rows": [],
    }

    def keep(row):
        result["rows"].append(row)
        if arguments.json:  # after each row: a time limit loses only what comes later
            Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")

    print(json.dumps(result["ceilings"]), flush=True)
    print(f"{'':26} batch  logits ms  labels ms  end to end ms, per image", flush=True)
    failed = False
    if arguments.training or only_training:
        failed = not measure_trainings(arguments.model, arguments, device, clock, keep)
    for mode in [] if only_training else arguments.modes.split(","):
        for batch in (int(b) for b in arguments.batch.split(",")):
            try:
                row = measure(mode, network, metadata, batch, arguments.size, device, dtype, clock)
            except Exception as failure:  # one mode that PyTorch cannot do is no reason to lose the others
                row, failed = {"mode": mode, "batch": batch, "failure": str(failure)[:500]}, True
                print(f"{mode:26} {batch:5}  {row['failure']}", flush=True)
            else:
                times = f"{row['logitsMs']:10.3f} {row['labelsMs']:10.3f} {row['endToEndMs']:10.3f}"
                print(f"{mode:26} {batch:5} {times}", flush=True)
            keep(row)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
