"""What networks of TensorFlow compute with the numbers of synthetic.py: references/*.json of import-networks.test.ts.

The networks are written with TensorFlow's operators, after DrSleep/tensorflow-deeplab-resnet (here with ResNet-50, to be
small) and research/deeplab of tensorflow/models, whose own code needs TensorFlow 1.

Needs TensorFlow 2 and numpy. In this folder: python with_tensorflow.py, then npx biome format --write references
"""

import pathlib

import numpy as np
import tensorflow as tf

from synthetic import random_image, tame, write_reference

references = pathlib.Path(__file__).parent / "references"
references.mkdir(exist_ok=True)
image = (49, 33, 5)


def variable(name, *shape):
    return tf.constant(tame(name, shape), dtype=tf.float64)


def norm(x, scope, epsilon):
    channels = x.shape[-1]
    gamma, beta, mean, variance = (
        variable(f"{scope}/{part}", channels) for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)


def conv(x, name, size, outputs, stride=1, rate=1):
    kernel = variable(f"{name}/weights", size, size, x.shape[-1], outputs)
    return tf.nn.conv2d(x, kernel, stride, "SAME", dilations=rate)


def finish(name, logits, align_corners):
    width, height, _ = image
    large = tf.compat.v1.image.resize_bilinear(tf.cast(logits, tf.float32), [height, width], align_corners=align_corners)
    labels = np.argmax(large[0].numpy(), axis=-1)
    write_reference(references / name, image, np.transpose(logits[0].numpy(), (2, 0, 1)), labels)


def deeplab_resnet():
    def unit(x, name, size, outputs, stride=1, rate=1):
        bn = "bn_conv1" if name == "conv1" else name.replace("res", "bn")
        return norm(conv(x, name, size, outputs, stride, rate), bn, 1e-3)

    mean = np.array([104.00698793, 116.66876762, 122.67891434])
    x = tf.constant(random_image(*image)[None, :, :, ::-1].astype(np.float64) - mean)
    x = tf.nn.relu(unit(x, "conv1", 7, 64, stride=2))
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    for layer, (blocks, stride, rate) in enumerate([(3, 1, 1), (4, 2, 1), (6, 1, 2), (3, 1, 4)]):
        for block in range(blocks):
            name = f"res{layer + 2}{'abcdef'[block]}_branch"
            width, step = 64 << layer, stride if block == 0 else 1
            shortcut = unit(x, f"{name}1", 1, 4 * width, step) if block == 0 else x
            y = tf.nn.relu(unit(x, f"{name}2a", 1, width, step))
            y = tf.nn.relu(unit(y, f"{name}2b", 3, width, rate=rate))
            x = tf.nn.relu(shortcut + unit(y, f"{name}2c", 1, 4 * width))
    branches = [
        conv(x, f"fc1_voc12_c{i}", 3, 21, rate=rate) + variable(f"fc1_voc12_c{i}/biases", 21)
        for i, rate in enumerate([6, 12, 18, 24])
    ]
    finish("tensorflow-resnet.json", tf.add_n(branches), align_corners=False)


def deeplab_mobilenet():
    def unit(x, scope, size, outputs, stride=1, epsilon=1e-3):
        return norm(conv(x, scope, size, outputs, stride), f"{scope}/BatchNorm", epsilon)

    def depthwise(x, scope, stride, rate):
        kernel = variable(f"{scope}/depthwise_weights", 3, 3, x.shape[-1], 1)
        y = tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME", dilations=[rate, rate])
        return norm(y, f"{scope}/BatchNorm", 1e-3)

    x = tf.constant(random_image(*image)[None].astype(np.float64) * (2.0 / 255.0) - 1.0)
    x = tf.nn.relu6(unit(x, "MobilenetV2/Conv", 3, 32, stride=2))
    total, rate, index = 2, 1, 0
    for expansion, outputs, blocks, first in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ]:
        for block in range(blocks):
            scope = "MobilenetV2/expanded_conv" + (f"_{index}" if index else "")
            stride, index = (first if block == 0 else 1), index + 1
            used, after = rate, rate
            if total * stride > 8:
                stride, after = 1, rate * stride
            total *= stride
            y = x
            if expansion > 1:
                y = tf.nn.relu6(unit(y, f"{scope}/expand", 1, expansion * x.shape[-1]))
            y = tf.nn.relu6(depthwise(y, f"{scope}/depthwise", stride, used))
            y = unit(y, f"{scope}/project", 1, outputs)
            x = x + y if stride == 1 and x.shape[-1] == outputs else y
            rate = after
    size = x.shape[1:3]
    pooled = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
    pooled = tf.nn.relu(unit(pooled, "image_pooling", 1, 256, epsilon=1e-5))
    pooled = tf.broadcast_to(pooled, [1, *size, 256])
    branch = tf.nn.relu(unit(x, "aspp0", 1, 256, epsilon=1e-5))
    x = tf.concat([pooled, branch], axis=3)
    x = tf.nn.relu(unit(x, "concat_projection", 1, 256, epsilon=1e-5))
    logits = conv(x, "logits/semantic", 1, 19) + variable("logits/semantic/biases", 19)
    finish("tensorflow-mobilenet.json", logits, align_corners=True)


deeplab_resnet()
deeplab_mobilenet()
