"""Writes fixtures/keras-*.h5, weights of a little network in the forms that Keras has for them, and fixtures/keras.json:
what h5py reads from them.

usage: python generate_keras.py && npx biome format --write fixtures

Needs h5py, numpy and Keras 3 with a backend. `legacy` is the layout of Keras 1 and 2 (groups by layer, `weight_names`),
written here as they wrote it: Keras 3 only writes its own. `model` is a whole model in the old layout, by Keras 3, and
`weights` the layout of Keras 3 (`layers/<name>/vars/0`). `stored` holds what h5py can store numbers as.
"""

import json
from pathlib import Path

import h5py
import keras
import numpy as np

FIXTURES = Path(__file__).resolve().parent / "fixtures"


def network():
    """A depthwise and a plain convolution with batch norms, of random weights."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="Conv")(image)
    x = keras.layers.BatchNormalization(name="Conv_BN")(x)
    x = keras.layers.DepthwiseConv2D(3, use_bias=False, name="expanded_conv_depthwise")(x)
    x = keras.layers.Conv2D(2, 1, name="logits_semantic")(x)
    model = keras.Model(image, x)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def write_legacy(model, path):
    """As keras.engine.saving.save_weights_to_hdf5_group of Keras 2.2 does."""
    with h5py.File(path, "w") as f:
        f.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        f.attrs["backend"] = b"tensorflow"
        f.attrs["keras_version"] = b"2.2.4"
        for layer in model.layers:
            group = f.create_group(layer.name)
            names = [f"{layer.name}/{w.name}:0" for w in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights):
                group.create_dataset(name, weight.shape, dtype=np.float32)[:] = weight.numpy()


def write_stored(path):
    """The types of numbers, orders of bytes, and chunks, filters and a scalar."""
    values = np.arange(-6, 6).reshape(3, 4) / 4
    with h5py.File(path, "w") as f:
        for dtype in ("<f2", "<f4", "<f8", ">f4", "<i4", "<i8", "|u1"):
            f.create_dataset(f"types/{dtype[1:]}_{'big' if dtype[0] == '>' else 'little'}", data=values.astype(dtype))
        f.create_dataset("chunked", data=values, dtype="<f4", chunks=(2, 2))
        f.create_dataset("deflated", data=values, dtype="<f4", chunks=(2, 3), compression="gzip", shuffle=True)
        f.create_dataset("scalar", data=np.float32(2.5))
        f.create_dataset("text", data="not numbers")
        f["itself"] = f["/"]  # a hard link: groups may be a circle


def contents(path):
    """-> {name: [shape, values]} of the datasets of numbers."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
            values = np.asarray(item[()]).astype(np.float32)
            found[name] = [list(values.shape), values.ravel().tolist()]

    with h5py.File(path) as f:
        f.visititems(visit)
    return found


def main():
    model = network()
    write_legacy(model, FIXTURES / "keras-legacy.h5")
    model.save(FIXTURES / "keras-model.h5")
    model.save_weights(FIXTURES / "keras-3.weights.h5")
    write_stored(FIXTURES / "keras-stored.h5")
    expected = {path.name: contents(path) for path in sorted(FIXTURES.glob("keras-*.h5"))}
    (FIXTURES / "keras.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main()
