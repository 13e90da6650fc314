"""gpu-report.py WORK OUT GPU: makes OUT/report.json and OUT/table.txt of what the stages of gpu-check.sh have left."""

import json
import sys
from pathlib import Path


def read(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def stages(work):
    lines = (work / "logs" / "stages.tsv").read_text().splitlines()
    return [dict(zip(("stage", "status", "seconds"), line.split("\t"))) for line in lines]


def speed_lines(bench, rivals):
    """Ours beside the best of PyTorch's modes, for each batch size."""
    best = {}
    for row in (rivals or {}).get("rows", []):
        for key in ("logitsMs", "labelsMs", "endToEndMs"):
            if key in row and row[key] < best.get((row["batch"], key), (float("inf"), ""))[0]:
                best[row["batch"], key] = (row[key], row["mode"])
    keys = {"network, pixels to labels on the device": "labelsMs", "host pixels to host labels": "endToEndMs"}
    for row in (bench or {}).get("rows", []):
        line = f"{row['what']:42} batch {row['batch']:3} {row['msPerImage']:10.4f} ms per image"
        rival = best.get((row["batch"], keys.get(row["what"])))
        if rival:
            line += f"   PyTorch {rival[1]}: {rival[0]:.4f}, {rival[0] / row['msPerImage']:.2f} times ours"
        yield line


def training_lines(parts):
    """Ours beside PyTorch eager of the same batch norm and precision."""
    rivals = {}
    for row in (parts["training-rivals"] or {}).get("rows", []):
        if "stepMs" in row:
            rivals[row["mode"].rsplit(" ", 1)[1], row["dtype"]] = row["stepMs"]
    for name, dtype in (("bf16", "bfloat16"), ("f16", "float16")):
        for row in (parts[f"training-{name}"] or {}).get("rows", []):
            ms = row["msPerImage"]
            line = f"{name} {row['what']:42} batch {row['batch']:3} {1000 / ms:8.1f} images/s"
            rival = rivals.get((row["what"].rsplit(" ", 1)[1], dtype))
            if rival:
                line += f"   PyTorch eager: {1000 / rival:.1f}, ours {rival / ms:.2f} times that"
            yield f"{line}   {row['note']}"


def main():
    work, out, gpu = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    names = ("compare", "gradients", "full", "bench", "rivals", "javascript", "training-bf16", "training-f16", "training-rivals")
    parts = {name: read(work / f"{name}.json") for name in names}
    report = {"gpu": gpu, "stages": stages(work), **parts}
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")

    lines = [f"GPU: {gpu}", ""]
    for stage in report["stages"]:
        passed = "passed" if stage["status"] == "0" else f"FAILED ({stage['status']})"
        lines.append(f"{stage['stage']:12} {passed}, {stage['seconds']} s")
    javascript, rivals = parts["javascript"], parts["rivals"]
    for name in ("compare", "gradients", "full"):
        found = parts[name]
        if not found:
            continue
        lines += ["", f"{name}: {found['passed']} passed, {found['failed']} failed, seed {found['seed']}"]
        lines += [f"  FAILED {c['precision']} {c['name']}" for c in found["cases"] if not c["passed"]]
    if javascript:
        counts = (javascript[key] for key in ("numPassedTests", "numFailedTests", "numPendingTests"))
        lines.append("JavaScript: {} passed, {} failed, {} skipped".format(*counts))
    if rivals:
        ceilings = rivals["ceilings"]
        lines += ["", f"ceilings: {ceilings['fp16TflopPerS']:.0f} TFLOP/s fp16, {ceilings['copyTbPerS']:.2f} TB/s copied"]
    lines += [*speed_lines(parts["bench"], rivals), "", *training_lines(parts)]
    (out / "table.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
