"""pydensecrf as a child process of crf.js (race.js has the protocol):

python crf-rival.py <folder with pydensecrf> <task, JSON: see crf.js> <file for the labels>
"""

import json
import sys
import time
from pathlib import Path

import numpy as np


def run(dcrf, task, image, unary):
    """-> the labels, the times in milliseconds."""
    size = task["size"]
    gaussian, bilateral = task["gaussian"], task["bilateral"]
    started = time.perf_counter()
    crf = dcrf.DenseCRF2D(size, size, task["classes"])
    crf.setUnaryEnergy(unary)
    crf.addPairwiseGaussian(gaussian["xy"], gaussian["weight"])
    crf.addPairwiseBilateral(bilateral["xy"], bilateral["rgb"], image, bilateral["weight"])
    built = time.perf_counter()
    labels = np.argmax(crf.inference(task["iterations"]), axis=0).astype(np.uint8)
    done = time.perf_counter()
    times = {"ms": done - started, "latticeMs": built - started, "inferenceMs": done - built}
    return labels, {name: 1000 * seconds for name, seconds in times.items()}


def main():
    folder, task_text, labels_file = sys.argv[1:]
    sys.path.insert(0, folder)
    import pydensecrf.densecrf as dcrf

    task = json.loads(task_text)
    size, scene = task["size"], Path(task["scene"])
    image = np.fromfile(scene / "image.rgb", np.uint8).reshape(size, size, 3)
    unary = np.fromfile(scene / "unary.f32", np.float32).reshape(task["classes"], -1)
    labels, first = run(dcrf, task, image, unary)
    labels.tofile(labels_file)
    print(json.dumps({"firstMs": first["ms"], "firstLatticeMs": first["latticeMs"]}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(run(dcrf, task, image, unary)[1]), flush=True)


if __name__ == "__main__":
    main()
