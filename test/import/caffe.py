"""Writes small .caffemodel files and what is in them.

Caffe itself can no longer be installed, so the files are written by Google's protobuf from the part of caffe.proto that
they need, which stands below in the notation of its descriptors. Needs the package protobuf. From this folder,
`python caffe.py` writes caffe/ anew, which test/import-caffe.test.ts reads. Afterwards:
`npx biome format --write test/import`.
"""

import json
import os

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto

# https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto: name, number, type, "*" several, "p" packed.
MESSAGES = {
    "BlobShape": ["dim 1 int64 *p"],
    "BlobProto": [
        "num 1 int32",
        "channels 2 int32",
        "height 3 int32",
        "width 4 int32",
        "data 5 float *p",
        "diff 6 float *p",
        "shape 7 BlobShape",
        "double_data 8 double *p",
        "double_diff 9 double *p",
    ],
    "ParamSpec": ["name 1 string", "lr_mult 3 float"],
    "ConvolutionParameter": ["num_output 1 uint32", "bias_term 2 bool", "kernel_size 4 uint32 *", "dilation 18 uint32 *"],
    "LayerParameter": [
        "name 1 string",
        "type 2 string",
        "bottom 3 string *",
        "top 4 string *",
        "loss_weight 5 float *",
        "param 6 ParamSpec *",
        "blobs 7 BlobProto *",
        "phase 10 int32",
        "convolution_param 106 ConvolutionParameter",
    ],
    "V1LayerParameter": [
        "bottom 2 string *",
        "top 3 string *",
        "name 4 string",
        "type 5 int32",
        "blobs 6 BlobProto *",
        "blobs_lr 7 float *",
        "convolution_param 10 ConvolutionParameter",
    ],
    "NetParameter": [
        "name 1 string",
        "layers 2 V1LayerParameter *",
        "input 3 string *",
        "input_dim 4 int32 *",
        "force_backward 5 bool",
        "layer 100 LayerParameter *",
    ],
}


def message_classes():
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields:
            field_name, number, kind, *rules = text.split()
            rule = rules[0] if rules else ""
            field = message.field.add(name=field_name, number=int(number))
            field.label = Field.LABEL_REPEATED if "*" in rule else Field.LABEL_OPTIONAL
            if kind in MESSAGES:
                field.type = Field.TYPE_MESSAGE
                field.type_name = f".caffe.{kind}"
            else:
                field.type = getattr(Field, f"TYPE_{kind.upper()}")
            if "p" in rule:
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in MESSAGES}


classes = message_classes()
NetParameter = classes["NetParameter"]


def values(shape):
    """Numbers that 16 bits hold exactly and that are all different from their neighbours."""
    count = 1
    for size in shape:
        count *= size
    return [(i * 37 % 256 - 100) / 64 for i in range(count)]


def fill(blob, shape, kind):
    if kind == "legacy":
        blob.num, blob.channels, blob.height, blob.width = shape
    else:
        blob.shape.dim.extend(shape)
    (blob.double_data if kind == "double" else blob.data).extend(values(shape))
    if kind == "diff":
        blob.diff.extend([0.5] * len(blob.data))


def net(name, layers_field, layers):
    model = NetParameter(name=name)
    model.input.append("data")
    model.input_dim.extend([1, 3, 321, 321])
    for layer_name, kind, blobs in layers:
        layer = getattr(model, layers_field).add(name=layer_name, type=kind)
        layer.bottom.append("data")
        layer.top.append(layer_name)
        if blobs:
            layer.convolution_param.num_output = blobs[0][0][0]
            layer.convolution_param.kernel_size.append(3)
        for shape, storage in blobs:
            fill(layer.blobs.add(), shape, storage)
    tensors = {
        f"{layer_name}/{index}": {"shape": shape, "values": values(shape)}
        for layer_name, _, blobs in layers
        for index, (shape, _) in enumerate(blobs)
    }
    described = [{"name": layer_name, "type": str(kind)} for layer_name, kind, blobs in layers if blobs]
    return model.SerializeToString(), {"name": name, "tensors": tensors, "layers": described}


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "caffe")
    os.makedirs(folder, exist_ok=True)
    files = {
        # As DeepLab v2 on ResNet-101 has them.
        "layer.caffemodel": net(
            "ResNet-101",
            "layer",
            [
                ("conv1", "Convolution", [([2, 3, 7, 7], "float")]),
                ("bn_conv1", "BatchNorm", [([2], "float"), ([2], "float"), ([1], "float")]),
                ("scale_conv1", "Scale", [([2], "float"), ([2], "float")]),
                ("conv1_relu", "ReLU", []),
                ("res4b22_branch2b", "Convolution", [([2, 2, 3, 3], "diff")]),
                ("fc1_voc12_c0", "Convolution", [([3, 2, 3, 3], "double"), ([3], "double")]),
            ],
        ),
        # As DeepLab v1 on VGG-16: sizes are always four, types are numbers (4: convolution, 18: ReLU).
        "v1-layers.caffemodel": net(
            "VGG_ILSVRC_16_layers",
            "layers",
            [
                ("conv1_1", 4, [([2, 3, 3, 3], "legacy"), ([1, 1, 1, 2], "legacy")]),
                ("relu1_1", 18, []),
                ("fc6", 4, [([2, 2, 4, 4], "legacy"), ([1, 1, 1, 2], "legacy")]),
            ],
        ),
    }
    for name, (content, _) in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    with open(os.path.join(folder, "models.json"), "w", encoding="utf8") as file:
        json.dump({name: expected for name, (_, expected) in files.items()}, file)


main()
