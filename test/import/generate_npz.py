"""Writes fixtures/npz-*.npz and fixtures/npz.json: the numbers in them, {file: {name: [shape, values]}}.

usage: python generate_npz.py && npx biome format --write fixtures

Needs numpy.
"""

import json
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).resolve().parent / "fixtures"


def main():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(2, 3, 4)) * 4
    dtypes = ("<f2", "<f4", "<f8", ">f4", ">f2", "|i1", "|u1", "<i2", ">i4", "<i8", "<u4", "|b1")
    arrays = {f"types/{dtype.strip('<>|')}-{i}": values.astype(dtype) for i, dtype in enumerate(dtypes)}
    arrays["conv1/weights"] = values.astype(np.float32)
    arrays["fortran"] = np.asfortranarray(values.astype(np.float32))
    arrays["fortran-doubles"] = np.asfortranarray(values[0].astype(">f8"))
    arrays["scalar"] = np.float32(2.5)
    arrays["empty"] = np.zeros((0, 3), np.float32)
    arrays["sixteen-dimensions"] = np.ones((1,) * 15 + (2,), np.float32)
    others = {"text": np.array(["a", "bc"]), "complex": np.array([1j]), "objects": np.array([{}, None], object)}
    np.savez(FIXTURES / "npz-stored.npz", **arrays, **others)
    np.savez_compressed(FIXTURES / "npz-deflated.npz", **arrays, **others)
    numbers = {
        name: [list(np.shape(array)), np.asarray(array).astype(np.float32).ravel().tolist()]
        for name, array in arrays.items()
    }
    expected = {path.name: numbers for path in sorted(FIXTURES.glob("npz-*.npz"))}
    (FIXTURES / "npz.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main()
