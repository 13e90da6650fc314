"""Writes small TensorFlow checkpoints and TensorFlow Lite models, by TensorFlow itself, and what is in them.

Needs TensorFlow 2 for the CPU. From this folder, `python tensorflow.py` writes tensorflow/ anew, which
test/import-tensorflow.test.ts and test/import-tflite.test.ts read; `python tensorflow.py FOLDER` writes to FOLDER.
Afterwards: `npx biome format --write test/import`.
"""

import json
import os
import sys

sys.path = sys.path[1:]  # this folder has a module called tensorflow: this one
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def values(shape, dtype=np.float32):
    """Numbers that 16 bits hold exactly and that are all different from their neighbours."""
    count = int(np.prod(shape))
    return ((np.arange(count) * 37 % 256 - 100) / 64).reshape(shape).astype(dtype)


def batch_norm(scope):
    return {f"{scope}/{part}": (4,) for part in ("gamma", "beta", "moving_mean", "moving_variance")}


# The names of the networks that were published with TensorFlow, with fewer channels.
DEEPLAB_RESNET = {
    "conv1/weights": (7, 7, 3, 2),
    **batch_norm("bn_conv1"),
    "res2a_branch1/weights": (1, 1, 2, 4),
    "res4b22_branch2b/weights": (3, 3, 2, 2),
    **batch_norm("bn4b22_branch2b"),
    "fc1_voc12_c0/weights": (3, 3, 4, 2),
    "fc1_voc12_c0/biases": (2,),
}
SLIM = {
    "resnet_v1_101/conv1/weights": (7, 7, 3, 2),
    **batch_norm("resnet_v1_101/conv1/BatchNorm"),
    "resnet_v1_101/block3/unit_23/bottleneck_v1/conv2/weights": (3, 3, 2, 2),
    **batch_norm("resnet_v1_101/block3/unit_23/bottleneck_v1/conv2/BatchNorm"),
    "resnet_v1_101/logits/biases": (3,),
}


def described(tensors):
    return {
        name: {"shape": list(value.shape), "values": np.asarray(value, np.float64).flatten().tolist()}
        for name, value in tensors.items()
    }


def save(path, tensors, left_out=(), **saver):
    """Saves variables of these values as a session's Saver does; those called in `left_out` are not described."""
    with tf.Graph().as_default(), v1.Session() as session:
        variables = {name: v1.get_variable(name, initializer=value, use_resource=False) for name, value in tensors.items()}
        session.run(v1.global_variables_initializer())
        v1.train.Saver(variables, **saver).save(session, path, write_meta_graph=False, write_state=False)
    return described({name: value for name, value in tensors.items() if name not in left_out})


def save_sharded(path):
    """Two devices, and with them two data files."""
    tensors = {"first/weights": values((3, 2)), "second/weights": values((2, 3))}
    config = v1.ConfigProto(device_count={"CPU": 2})
    with tf.Graph().as_default(), v1.Session(config=config) as session:
        for device, (name, value) in enumerate(tensors.items()):
            with tf.device(f"/job:localhost/replica:0/task:0/device:CPU:{device}"):
                v1.get_variable(name, initializer=value, use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.train.Saver(sharded=True).save(session, path, write_meta_graph=False, write_state=False)
    return described(tensors)


def save_partitioned(path, **saver):
    """A variable in two slices, and one that is whole."""
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable(
            "sliced", (4, 3), initializer=v1.zeros_initializer, partitioner=v1.fixed_size_partitioner(2), use_resource=False
        )
        v1.get_variable("whole", initializer=values((3,)), use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.train.Saver(**saver).save(session, path, write_meta_graph=False, write_state=False)
    return described({"whole": values((3,))})


def save_objects(path):
    """As Keras and tf.train.Checkpoint save: by the path of attributes to a variable."""
    layer = tf.Module()
    layer.kernel = tf.Variable(values((1, 1, 3, 2)))
    layer.bias = tf.Variable(values((2,)))
    model = tf.Module()
    model.backbone = layer
    tf.train.Checkpoint(model=model).write(path)
    expected = {"model/backbone/kernel": layer.kernel.numpy(), "model/backbone/bias": layer.bias.numpy()}
    return described(expected)


class Network(tf.Module):
    """A convolution, a dilated depthwise one, image pooling and a resize, as DeepLab v3 has them."""

    def __init__(self):
        super().__init__()
        self.stem = tf.Variable(values((3, 3, 3, 4)), name="stem")
        self.depthwise = tf.Variable(values((3, 3, 4, 1)), name="depthwise")
        self.logits = tf.Variable(values((1, 1, 8, 3)), name="logits")
        self.bias = tf.Variable(values((3,)), name="bias")

    @tf.function(input_signature=[tf.TensorSpec((1, 17, 13, 3), tf.float32, "image")])
    def __call__(self, image):
        x = tf.nn.relu6(tf.nn.conv2d(image, self.stem, (1, 2, 2, 1), "SAME"))
        x = tf.nn.relu(tf.nn.depthwise_conv2d(x, self.depthwise, (1, 1, 1, 1), "SAME", dilations=(2, 2)))
        pooled = tf.reduce_mean(x, (1, 2), keepdims=True)
        pooled = v1.image.resize_bilinear(pooled, (9, 7), align_corners=True)
        x = tf.nn.conv2d(tf.concat((pooled, x), 3), self.logits, (1, 1, 1, 1), "VALID") + self.bias
        return v1.image.resize_bilinear(x, (17, 13), half_pixel_centers=True)


def convert(path, optimize=False, types=(), calibration=None):
    network = Network()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.__call__.get_concrete_function()], network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if optimize else []
    converter.target_spec.supported_types = list(types)
    converter.representative_dataset = calibration
    model = converter.convert()
    with open(path, "wb") as file:
        file.write(model)
    interpreter = tf.lite.Interpreter(
        model_content=model,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    computed = {index for op in interpreter._get_ops_details() for index in op["outputs"]}
    computed.update(detail["index"] for detail in interpreter.get_input_details())
    constants = {
        detail["name"]: interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_tensor_details()
        if detail["index"] not in computed and detail["name"] != ""
    }
    return {"tensors": described(constants), "operators": [op["op_name"] for op in interpreter._get_ops_details()]}


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "tensorflow")
    os.makedirs(folder, exist_ok=True)
    place = lambda name: os.path.join(folder, name)
    floats = {name: values(shape) for name, shape in DEEPLAB_RESNET.items()}
    types = {
        "half": values((5,), np.float16),
        "bfloat16": tf.constant(values((5,)), tf.bfloat16).numpy(),
        "double": values((2, 2), np.float64),
        "global_step": np.int64(20000),
        "int32": np.array([-7, 2**30], np.int32),
        "uint8": np.array([0, 255], np.uint8),
        "text": np.array([b"left out"]),
        "flag": np.array([True]),
    }
    slim = {name: values(shape) for name, shape in SLIM.items()}
    v1_format = {"write_version": v1.train.SaverDef.V1}
    expected = {
        "deeplab_resnet.ckpt": save(place("deeplab_resnet.ckpt"), floats),
        "types.ckpt": save(place("types.ckpt"), types, left_out=("text", "flag")),
        "resnet_v1_101.ckpt": save(
            place("resnet_v1_101.ckpt"),
            {**slim, "double": values((2,), np.float64), "global_step": np.int64(300)},
            left_out=("global_step",),
            **v1_format,
        ),
        "sharded.ckpt": save_sharded(place("sharded.ckpt")),
        "partitioned.ckpt": save_partitioned(place("partitioned.ckpt")),
        "partitioned_v1.ckpt": save_partitioned(place("partitioned_v1.ckpt"), **v1_format),
        "objects": save_objects(place("objects")),
    }
    models = {
        "float32.tflite": convert(place("float32.tflite")),
        "float16.tflite": convert(place("float16.tflite"), True, types=[tf.float16]),
    }
    convert(place("quantised.tflite"), True, calibration=lambda: [[values((1, 17, 13, 3))]])
    for name, content in (("checkpoints.json", expected), ("models.json", models)):
        with open(place(name), "w", encoding="utf8") as file:
            json.dump(content, file)


main()
