"""Writes small TFLite models, one or more for each operator, and what Google's interpreter computes with them.

usage: tflite_writer.py FOLDER [MODEL.tflite ...]

Makes NAME.tflite and NAME.npz (inputs in0, in1, ..., outputs out0, out1, ...) for each case, or NAME.npz alone for
models that exist, and cases.json with the tolerance of each. Knows the schema from the interpreter's own package; shares
nothing with the product.
"""

import json
import math
import pathlib
import sys

import flatbuffers
import numpy
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from flatbuffers import flexbuffers

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "complex64": 8, "int8": 9, "resource": 13, "uint16": 16}
BUILTIN = schema.BuiltinOperator


class Net:
    """A model that is being put together; everything is named by the index of its tensor."""

    def __init__(self, outer=None):
        self.buffers, self.codes = (outer.buffers, outer.codes) if outer else ([schema.BufferT()], [])
        self.tensors, self.operators, self.nets = [], [], outer.nets if outer else [self]
        self.inputs, self.outputs, self.random = [], [], outer.random if outer else numpy.random.default_rng(11)

    def nested(self, function):
        """Adds a graph that operators run; returns its index."""
        net = Net(self)
        self.nets.append(net)
        index = len(self.nets) - 1
        net.outputs = function(net)
        return index

    def tensor(self, shape, kind="float32", data=None, scale=None, zero=0, axis=0):
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.tensors)}".encode()
        tensor.shape, tensor.type = [max(int(size), 1) for size in shape], TYPES[kind]
        if any(size < 0 for size in shape):
            tensor.shapeSignature = [int(size) for size in shape]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = numpy.frombuffer(numpy.ascontiguousarray(data).tobytes(), numpy.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if scale is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = numpy.atleast_1d(numpy.float32(scale))
            quantization.zeroPoint = numpy.broadcast_to(numpy.int64(zero), quantization.scale.shape).copy()
            quantization.quantizedDimension = axis
            tensor.quantization = quantization
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def input(self, shape, kind="float32", **quantization):
        self.inputs.append(self.tensor(shape, kind, **quantization))
        return self.inputs[-1]

    def const(self, data, kind=None, **quantization):
        data = numpy.asarray(data)
        kind = kind or {"float64": "float32", "int64": "int32"}.get(str(data.dtype), str(data.dtype))
        return self.tensor(data.shape, kind, data.astype(kind), **quantization)

    def variable(self, *shape):
        """A state, which is zero at first."""
        state = self.tensor(shape)
        self.tensors[state].isVariable = True
        return state

    def weights(self, *shape):
        return self.const(self.random.normal(0, 0.5, shape).astype("float32"))

    def op(self, name, inputs, /, kind="float32", count=1, shape=(), quantization=None, **options):
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(BUILTIN, name, BUILTIN.CUSTOM)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), options.pop("version", 1)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.codes)
        self.codes.append(code)
        family = options.pop("family", None)
        if code.builtinCode == BUILTIN.CUSTOM:
            code.customCode, operator.customOptions = name, numpy.frombuffer(options["content"], numpy.uint8)
        elif family and not hasattr(schema.BuiltinOptions, family):
            # What came into the schema later.
            operator.builtinOptions2Type = getattr(schema.BuiltinOptions2, family)
            operator.builtinOptions2 = getattr(schema, family + "T")()
            for key, value in options.items():
                setattr(operator.builtinOptions2, key, value)
        elif family:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, family)
            operator.builtinOptions = getattr(schema, family + "T")()
            for key, value in options.items():
                assert hasattr(operator.builtinOptions, key), (family, key)
                setattr(operator.builtinOptions, key, value)
        operator.inputs = list(inputs)
        kinds = kind if isinstance(kind, list) else [kind] * count
        results = [self.tensor(shape, kind, **(quantization or {})) for kind in kinds]
        operator.outputs = results
        self.operators.append(operator)
        return results[0] if count == 1 else results

    def bytes(self):
        model = schema.ModelT()
        model.version, model.operatorCodes = 3, self.codes
        model.subgraphs, model.buffers = [], self.buffers
        for net in self.nets:
            graph = schema.SubGraphT()
            graph.tensors, graph.operators = net.tensors, net.operators
            graph.inputs, graph.outputs = net.inputs, net.outputs
            model.subgraphs.append(graph)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, folder, name, outputs):
        # What the interpreter cannot compute comes with a function that does.
        outputs, function = outputs if isinstance(outputs, tuple) else (outputs, None)
        self.outputs = outputs if isinstance(outputs, list) else [outputs]
        if function:
            (folder / f"{name}.tflite").write_bytes(self.bytes())
            given = numpy.random.default_rng(5).uniform(*LIMITS, self.tensors[self.inputs[0]].shape).astype("float32")
            numpy.savez(folder / f"{name}.npz", in0=given, out0=numpy.vectorize(function)(given).astype("float32"))
            return
        # The interpreter knows the shapes of results; the file has to say them too, unless it leaves them open.
        interpreter = load(self.bytes())
        interpreter.invoke()
        for place, net in enumerate(self.nets):
            for index, tensor in enumerate(net.tensors):
                if tensor.buffer == 0 and index not in net.inputs and tensor.shapeSignature is None:
                    tensor.shape = [int(size) for size in interpreter._get_tensor_details(index, place)["shape"]]
        content = self.bytes()
        (folder / f"{name}.tflite").write_bytes(content)
        numpy.savez(folder / f"{name}.npz", **run(content))


def load(content):
    # The plain kernels: delegates compute in other orders. What MediaPipe added to the format only a delegate knows.
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    kernels = OpResolverType.AUTO if MEDIAPIPE.encode() in content else plain
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    for detail in interpreter.get_input_details():
        if -1 in detail["shape_signature"]:
            shape = [OPEN if size == -1 else size for size in detail["shape_signature"]]
            interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    return interpreter


def run(content):
    """Computes a model on random inputs."""
    interpreter = load(content)
    random = numpy.random.default_rng(5)
    values = {}
    for index, detail in enumerate(interpreter.get_input_details()):
        kind, shape = numpy.dtype(detail["dtype"]), detail["shape"]
        if kind.kind == "f":
            value = random.uniform(-3, 3, shape)
        else:
            value = random.integers(0 if kind.kind == "u" else -100, 100, shape)
        value = value.astype(kind)
        values[f"in{index}"] = value
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    for index, detail in enumerate(interpreter.get_output_details()):
        value = interpreter.get_tensor(detail["index"])
        scale, zero = detail["quantization"]
        values[f"out{index}"] = (value.astype("float32") - zero) * numpy.float32(scale) if scale else value
    return values


CASES = []


def case(function):
    CASES.append((function.__name__, function))
    return function


def variants(*settings):
    """Makes a case of each setting."""

    def register(function):
        for number, setting in enumerate(settings):
            arguments = setting if isinstance(setting, tuple) else (setting,)
            CASES.append((f"{function.__name__}_{number}", lambda net, arguments=arguments: function(net, *arguments)))
        return function

    return register


SAME, VALID = 0, 1
# What numbers are drawn from for which most functions have values.
LIMITS = (-0.9, 0.9)
# What an open dimension is here.
OPEN = 5
MEDIAPIPE = "Convolution2DTransposeBias"
PICTURE = (1, 7, 6, 5)


# padding, strides (width, height), dilations (width, height), kernel (height, width), activation
@variants(
    (SAME, (1, 1), (1, 1), (3, 3), 0), (SAME, (2, 2), (1, 1), (3, 3), 1), (VALID, (1, 2), (1, 1), (2, 3), 3),
    (SAME, (1, 1), (2, 1), (3, 3), 2), (VALID, (1, 1), (1, 1), (1, 1), 1), (SAME, (2, 1), (1, 1), (5, 4), 0),
    (SAME, (3, 3), (1, 1), (2, 2), 0),
)
def convolution(net, padding, strides, dilations, kernel, activation):
    return net.op(
        "CONV_2D", [net.input(PICTURE), net.weights(4, *kernel, 5), net.weights(4)], family="Conv2DOptions",
        padding=padding, strideW=strides[0], strideH=strides[1], dilationWFactor=dilations[0],
        dilationHFactor=dilations[1], fusedActivationFunction=activation,
    )


@case
def convolution_grouped(net):
    inputs = [net.input((1, 5, 5, 6)), net.weights(4, 3, 3, 3), net.weights(4)]
    return net.op("CONV_2D", inputs, family="Conv2DOptions", padding=SAME, strideW=1, strideH=1)


@variants((SAME, 1, (1, 1), 1), (VALID, 2, (1, 1), 2), (SAME, 1, (2, 2), 1), (SAME, 2, (1, 1), 3))
def depthwise(net, padding, stride, dilations, multiplier):
    return net.op(
        "DEPTHWISE_CONV_2D", [net.input(PICTURE), net.weights(1, 3, 3, 5 * multiplier), net.weights(5 * multiplier)],
        family="DepthwiseConv2DOptions", padding=padding, strideW=stride, strideH=stride, depthMultiplier=multiplier,
        dilationWFactor=dilations[0], dilationHFactor=dilations[1], fusedActivationFunction=3,
    )


# shape, sizes of blocks, borders or what is cut off
@variants(
    ((1, 6, 8, 3), [2, 2], [[0, 0], [0, 0]]), ((2, 5, 7, 3), [3, 2], [[1, 3], [0, 1]]), ((1, 5, 3), [4], [[1, 2]]),
    ((2, 6, 8, 3), [1, 4], [[2, 0], [0, 0]]),
)
def space_to_batch(net, shape, blocks, borders):
    given = net.op("RELU", [net.input(shape)])
    inputs = [given, net.const(numpy.array(blocks, "int32")), net.const(numpy.array(borders, "int32"))]
    return net.op("SPACE_TO_BATCH_ND", inputs)


@variants(
    ((4, 6, 8, 3), [2, 2], [[0, 0], [0, 0]]), ((12, 5, 7, 3), [3, 2], [[1, 3], [0, 1]]), ((4, 5, 3), [4], [[1, 2]]),
    ((8, 6, 8, 3), [1, 4], [[2, 0], [0, 0]]),
)
def batch_to_space(net, shape, blocks, cut):
    given = net.op("RELU", [net.input(shape)])
    inputs = [given, net.const(numpy.array(blocks, "int32")), net.const(numpy.array(cut, "int32"))]
    return net.op("BATCH_TO_SPACE_ND", inputs)


def in_batches(net, given, blocks, borders, cut, convolve):
    """What old converters make of a dilated convolution."""
    blocks = net.const(numpy.array(blocks, "int32"))
    inner = net.op("SPACE_TO_BATCH_ND", [given, blocks, net.const(numpy.array(borders, "int32"))])
    return net.op("BATCH_TO_SPACE_ND", [convolve(inner), blocks, net.const(numpy.array(cut, "int32"))])


# operator, sizes of blocks, borders, what is cut off, padding and dilation of the convolution
@variants(
    ("CONV_2D", [2, 2], [[2, 3], [2, 2]], [[0, 1], [0, 0]], VALID, 1), ("DEPTHWISE_CONV_2D", [3, 2], [[3, 5], [2, 4]], [[0, 2], [0, 2]], VALID, 1),
    ("CONV_2D", [2, 3], [[0, 1], [0, 0]], [[0, 1], [0, 0]], SAME, 1), ("DEPTHWISE_CONV_2D", [2, 1], [[2, 3], [4, 0]], [[1, 0], [2, 0]], SAME, 2),
    # More is cut off than was put there.
    ("CONV_2D", [2, 2], [[0, 1], [2, 2]], [[1, 0], [0, 3]], VALID, 1),
)
def dilated(net, name, blocks, borders, cut, padding, dilation):
    family, options = ("Conv2DOptions", {}) if name == "CONV_2D" else ("DepthwiseConv2DOptions", {"depthMultiplier": 1})
    weights = net.weights(4, 3, 3, 5) if name == "CONV_2D" else net.weights(1, 3, 3, 5)
    bias = net.weights(4 if name == "CONV_2D" else 5)

    def convolve(inner):
        return net.op(
            name, [inner, weights, bias], family=family, padding=padding, strideW=1, strideH=1,
            dilationWFactor=dilation, dilationHFactor=dilation, fusedActivationFunction=3, **options,
        )

    return in_batches(net, net.input(PICTURE), blocks, borders, cut, convolve)


@variants(1, 2)
def dilated_sequence(net, axis):
    """A convolution of one dimension, with the picture that it is made of wide or high."""
    weights = net.weights(4, 1, 3, 5) if axis == 1 else net.weights(4, 3, 1, 5)

    def convolve(inner):
        wide = net.op("EXPAND_DIMS", [inner, net.const(numpy.array(axis, "int32"))])
        convolved = net.op("CONV_2D", [wide, weights, net.weights(4)], family="Conv2DOptions", padding=VALID, strideW=1, strideH=1)
        return net.op("SQUEEZE", [convolved], family="SqueezeOptions", squeezeDims=numpy.array([axis], "int32"))

    return in_batches(net, net.input((2, 11, 5)), [4], [[8, 1]], [[0, 1]], convolve)


@case
def dilated_with_readers(net):
    """What is between is read by others too."""
    inner = []

    def convolve(given):
        convolved = net.op("CONV_2D", [given, net.weights(5, 1, 1, 5), net.weights(5)], family="Conv2DOptions", padding=VALID, strideW=1, strideH=1)
        inner.append(net.op("ADD", [convolved, given], family="AddOptions"))
        return inner[0]

    return [in_batches(net, net.input((1, 6, 8, 5)), [2, 2], [[0, 0], [0, 0]], [[0, 0], [0, 0]], convolve), inner[0]]


# size of the result, padding, stride, kernel, with bias
@variants(
    ((14, 12), SAME, 2, (3, 3), True), ((15, 13), VALID, 2, (3, 3), False), ((14, 12), SAME, 2, (2, 2), True),
    ((7, 6), SAME, 1, (3, 3), False), ((13, 12), SAME, 2, (4, 4), True), ((16, 14), VALID, 2, (3, 3), True),
)
def transposed_convolution(net, size, padding, stride, kernel, with_bias):
    inputs = [net.const(numpy.array([1, *size, 4], "int32")), net.weights(4, *kernel, 5), net.input(PICTURE)]
    return net.op(
        "TRANSPOSE_CONV", inputs + ([net.weights(4)] if with_bias else []), family="TransposeConvOptions",
        version=3, padding=padding, strideW=stride, strideH=stride,
    )


@variants(
    ((14, 12), SAME, (2, 2), (2, 2)), ((14, 12), SAME, (2, 2), (4, 4)), ((22, 20), VALID, (3, 3), (4, 5)),
    ((8, 12), VALID, (1, 2), (2, 2)),
)
def transposed_convolution_with_bias(net, size, padding, stride, kernel):
    # Padding counts from 1 here; strides are height, width in the setting and width, height in the file.
    options = numpy.array([padding + 1, stride[1], stride[0], 0], "<i4").tobytes()
    inputs = [net.input(PICTURE), net.weights(4, *kernel, 5), net.weights(4)]
    return net.op(MEDIAPIPE, inputs, shape=(1, *size, 4), content=options)


@variants(((1, 6), True, False), ((3, 6), False, False), ((1, 2, 3, 2), True, False), ((2, 3, 6), True, True))
def fully_connected(net, shape, with_bias, keep):
    width = int(numpy.prod(shape)) if len(shape) == 4 else shape[-1]
    inputs = [net.input(shape), net.weights(4, width), net.weights(4) if with_bias else -1]
    return net.op(
        "FULLY_CONNECTED", inputs, version=6, family="FullyConnectedOptions", fusedActivationFunction=1, keepNumDims=keep
    )


@variants((False, False), (True, False), (False, True))
def matrix_product(net, adj_x, adj_y):
    left, right = ((1, 2, 5, 3), (1, 2, 3, 4))
    left = left[:2] + left[:1:-1] if adj_x else left
    right = right[:2] + right[:1:-1] if adj_y else right
    return net.op("BATCH_MATMUL", [net.input(left), net.input(right)], family="BatchMatMulOptions", adjX=adj_x, adjY=adj_y)


@variants(
    ("AVERAGE_POOL_2D", SAME, (3, 3), (1, 1)), ("AVERAGE_POOL_2D", VALID, (2, 3), (2, 1)),
    ("AVERAGE_POOL_2D", VALID, (6, 7), (1, 1)), ("MAX_POOL_2D", SAME, (2, 2), (2, 2)),
    ("MAX_POOL_2D", SAME, (3, 2), (2, 2)), ("MAX_POOL_2D", VALID, (2, 2), (1, 2)),
    ("L2_POOL_2D", SAME, (3, 2), (2, 1)),
)
def pool(net, name, padding, kernel, strides):
    return net.op(
        name, [net.input(PICTURE)], family="Pool2DOptions", padding=padding, filterWidth=kernel[0],
        filterHeight=kernel[1], strideW=strides[0], strideH=strides[1],
    )


@variants(
    *[
        (name, size, align, half)
        for name in ("Bilinear", "NearestNeighbor")
        for size in ((14, 12), (9, 10), (21, 18), (4, 3))
        for align, half in ((False, False), (True, False), (False, True))
    ]
)
def resize(net, name, size, align, half):
    operator = "RESIZE_BILINEAR" if name == "Bilinear" else "RESIZE_NEAREST_NEIGHBOR"
    inputs = [net.input(PICTURE), net.const(numpy.array(size, "int32"))]
    return net.op(
        operator, inputs, version=3, family=f"Resize{name}Options", alignCorners=align, halfPixelCenters=half
    )


@variants(("SPACE_TO_DEPTH", "SpaceToDepthOptions", (1, 6, 4, 3)), ("DEPTH_TO_SPACE", "DepthToSpaceOptions", (1, 3, 2, 12)))
def blocks(net, name, family, shape):
    return net.op(name, [net.input(shape)], family=family, blockSize=2)


def positive(net, shape):
    return net.op("ADD", [net.op("ABS", [net.input(shape)]), net.const(numpy.float32(0.5))], family="AddOptions")


@variants(*"ABS CEIL COS EXP FLOOR LOGISTIC NEG RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ROUND SIGN SIN TANH".split(), *"ELU HARD_SWISH SQUARE".split())
def unary(net, name):
    return net.op(name, [net.input(PICTURE)])


@variants("LOG", "SQRT", "RSQRT")
def unary_of_positive(net, name):
    return net.op(name, [positive(net, PICTURE)])


@variants(*"acos asin asinh atan atanh cosh erf sinh tan acosh softplus softsign selu".split())
def unary_of_tensorflow(net, name):
    """The interpreter leaves these to TensorFlow."""
    functions = {
        "acosh": lambda value: math.acosh(value + 2), "softplus": lambda value: math.log1p(math.exp(value)),
        "softsign": lambda value: value / (1 + abs(value)),
        "selu": lambda value: 1.05070098735548 * (value if value > 0 else 1.67326324235438 * math.expm1(value)),
    }
    given = net.input(PICTURE)
    if name == "acosh":
        given = net.op("ADD", [given, net.const(numpy.float32(2))], family="AddOptions", shape=PICTURE)
    return net.op("Flex" + name.capitalize(), [given], shape=PICTURE, content=b"\0"), functions.get(name) or getattr(math, name)


@case
def leaky_relu(net):
    return net.op("LEAKY_RELU", [net.input(PICTURE)], family="LeakyReluOptions", alpha=0.3)


@variants((1, 1, 5), (7, 6, 5), (5,))
def prelu(net, *shape):
    return net.op("PRELU", [net.input(PICTURE), net.weights(*shape)])


@variants(True, False)
def gelu(net, approximate):
    return net.op("GELU", [net.input(PICTURE)], version=2, family="GeluOptions", approximate=approximate)


@variants(*[(name, shape) for name in ("ADD", "SUB", "MUL", "DIV") for shape in (PICTURE, (5,), (1, 1, 1, 5), (), (7, 6, 1))])
def arithmetic(net, name, shape):
    family = name.capitalize() + "Options"
    other = net.const(net.random.uniform(0.5, 2, shape).astype("float32"))
    return net.op(name, [net.input(PICTURE), other], family=family, fusedActivationFunction=1)


@variants((PICTURE, PICTURE), (PICTURE, (1, 1, 1, 5)), (PICTURE, (6, 5)), ((3, 4), (4,)), ((5,), PICTURE))
def arithmetic_of_inputs(net, left, right):
    return net.op("SUB", [net.input(left), net.input(right)], version=3, family="SubOptions")


@variants("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")
def extremes(net, name):
    return net.op(name, [net.input(PICTURE), net.input(PICTURE)])


@variants("POW", "FLOOR_DIV", "FLOOR_MOD")
def division(net, name):
    inputs = [positive(net, PICTURE), net.const(net.random.uniform(0.5, 2, PICTURE).astype("float32"))]
    return net.op(name, inputs, version=2 if name == "FLOOR_DIV" else 1)


@variants("FLOOR_DIV", "FLOOR_MOD")
def division_of_integers(net, name):
    given = net.input((4, 6), "int32")
    divisors = net.const(numpy.array([3, -3, 7, -1, 50, -8], "int32"))
    return net.op(name, [given, divisors], "int32", version=2 if name == "FLOOR_DIV" else 1)


@case
def sum_of_three(net):
    return net.op("ADD_N", [net.input(PICTURE), net.input(PICTURE), net.input(PICTURE)])


@variants("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
def comparison(net, name):
    left, right = net.op("ROUND", [net.input(PICTURE)]), net.op("ROUND", [net.input(PICTURE)])
    both = net.op(name, [left, right], "bool")
    either = net.op("LOGICAL_OR", [both, net.op("LOGICAL_NOT", [both], "bool")], "bool")
    return [net.op("SELECT_V2", [both, left, net.const(numpy.float32(9))]), net.op("LOGICAL_AND", [both, either], "bool")]


@case
def select_of_rows(net):
    are_positive = net.op("GREATER", [net.input((6,)), net.const(numpy.zeros(6, "float32"))], "bool")
    return net.op("SELECT", [are_positive, net.input((6, 4)), net.input((6, 4))])


@variants("int32", "int64", "bool")
def cast(net, kind):
    return net.op("CAST", [net.op("CAST", [net.input(PICTURE)], kind)])


# axis of the result, shapes
@variants((3, PICTURE, (1, 7, 6, 2)), (1, PICTURE, (1, 2, 6, 5)), (-1, (2, 3), (2, 4)), (-2, PICTURE, (1, 7, 3, 5)))
def concatenation(net, axis, left, right):
    return net.op(
        "CONCATENATION", [net.input(left), net.input(right), net.weights(*right)], family="ConcatenationOptions", axis=axis
    )


@variants([[0, 0], [1, 2], [3, 0], [0, 0]], [[0, 0], [0, 0], [0, 0], [0, 3]], [[0, 0], [0, 0], [1, 0], [2, 1]])
def pad(net, borders):
    inputs = [net.input(PICTURE), net.const(numpy.array(borders, "int32"))]
    plain = net.op("PAD", inputs)
    return [plain, net.op("PADV2", inputs + [net.const(numpy.float32(2.5))])]


@variants((0, [[0, 0], [1, 2], [3, 0], [0, 0]]), (1, [[0, 0], [1, 1], [0, 1], [0, 0]]), (1, [[0, 0], [3, 7], [2, 0], [0, 0]]))
def mirror_pad(net, mode, borders):
    inputs = [net.input(PICTURE), net.const(numpy.array(borders, "int32"))]
    return net.op("MIRROR_PAD", inputs, family="MirrorPadOptions", mode=mode)


@variants([1, -1, 5], [1, 210], [5, 6, 7], [1, 5, 7, 6])
def reshape(net, shape):
    inputs = [net.input(PICTURE), net.const(numpy.array(shape, "int32"))]
    return net.op("RESHAPE", inputs, family="ReshapeOptions", newShape=numpy.array(shape, "int32"))


@case
def reshape_of_computed_shape(net):
    picture = net.input(PICTURE)
    shape = net.op("SHAPE", [picture], "int32", family="ShapeOptions", outType=2)
    begin, end, one = (net.const(numpy.array([value], "int32")) for value in (0, 1, 1))
    batch = net.op("STRIDED_SLICE", [shape, begin, end, one], "int32", family="StridedSliceOptions", shrinkAxisMask=1)
    rest = net.const(numpy.array(210, "int32"))
    wanted = net.op("PACK", [batch, rest], "int32", family="PackOptions", valuesCount=2, axis=0)
    return net.op("RESHAPE", [picture, wanted], family="ReshapeOptions")


@case
def squeeze_and_expand(net):
    pooled = net.op("MEAN", [net.input(PICTURE), net.const(numpy.array([1, 2], "int32"))], family="ReducerOptions", keepDims=True)
    flat = net.op("SQUEEZE", [pooled], family="SqueezeOptions", squeezeDims=numpy.array([1, 2], "int32"))
    return [flat, net.op("EXPAND_DIMS", [flat, net.const(numpy.array(1, "int32"))])]


@variants([0, 3, 1, 2], [0, 2, 3, 1], [0, 2, 1, 3], [3, 2, 1, 0])
def transpose(net, order):
    moved = net.op("TRANSPOSE", [net.input(PICTURE), net.const(numpy.array(order, "int32"))])
    return net.op("ADD", [moved, moved], family="AddOptions")


@variants(([0, 1, 0, 2], [1, 3, -1, 2]), ([0, 0, 0, 0], [-1, -1, -1, 1]), ([0, 0, 0, 0], [1, 7, 6, 5]))
def slices(net, begin, size):
    inputs = [net.input(PICTURE), net.const(numpy.array(begin, "int32")), net.const(numpy.array(size, "int32"))]
    return net.op("SLICE", inputs)


# begin, end, strides; masks of begin, end, shrink
@variants(
    ([0, 1, 0, 0], [1, 5, 6, 5], [1, 2, 1, 1], 0, 0, 0), ([0, 0, 0, 1], [0, 0, 0, 3], [1, 1, 1, 1], 7, 7, 0),
    ([0, 0, 0, 2], [0, 0, 0, 3], [1, 1, 1, 1], 7, 7, 8), ([0, -1, 0, 0], [1, 0, 6, 5], [1, -2, 1, 2], 0, 2, 0),
    ([0, 3], [1, 4], [1, 1], 0, 0, 2),
)
def strided_slice(net, begin, end, strides, begin_mask, end_mask, shrink_mask):
    lists = [net.const(numpy.array(values, "int32")) for values in (begin, end, strides)]
    return net.op(
        "STRIDED_SLICE", [net.input(PICTURE), *lists], family="StridedSliceOptions", beginMask=begin_mask,
        endMask=end_mask, shrinkAxisMask=shrink_mask,
    )


# begin, end; masks of begin, end, ellipsis, new axes, shrink
@variants(
    ([0, 2], [0, 3], 0, 0, 1, 0, 2), ([0, 1, 0], [0, 4, 3], 0, 0, 1, 0, 0), ([0, 0, 0, 1, 1], [1, 0, 0, 5, 4], 4, 4, 0, 2, 0),
    ([0, 0, 1], [0, 0, 4], 0, 0, 2, 1, 0), ([0, 0, 0, 2], [1, 0, 0, 3], 0, 0, 2, 4, 9),
)
def slice_with_other_dimensions(net, begin, end, begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_mask):
    lists = [net.const(numpy.array(values, "int32")) for values in (begin, end, [1] * len(begin))]
    return net.op(
        "STRIDED_SLICE", [net.input((2, 7, 6, 5)), *lists], family="StridedSliceOptions", beginMask=begin_mask, endMask=end_mask,
        ellipsisMask=ellipsis_mask, newAxisMask=new_axis_mask, shrinkAxisMask=shrink_mask,
    )


@variants(2, -1)
def split(net, axis):
    shape = (1, 7, 6, 6)
    halves = net.op("SPLIT", [net.const(numpy.array(axis, "int32")), net.input(shape)], family="SplitOptions", count=2, numSplits=2)
    return list(halves)


@case
def split_in_lengths(net):
    inputs = [net.input(PICTURE), net.const(numpy.array([2, 3], "int32")), net.const(numpy.array(3, "int32"))]
    return list(net.op("SPLIT_V", inputs, family="SplitVOptions", count=2, numSplits=2))


@variants(0, 3, -1)
def pack(net, axis):
    return net.op("PACK", [net.input((2, 3, 4)), net.input((2, 3, 4))], family="PackOptions", valuesCount=2, axis=axis)


@variants(1, 3)
def unpack(net, axis):
    return list(net.op("UNPACK", [net.input((1, 2, 5, 3))], family="UnpackOptions", count=[1, 2, 5, 3][axis], num=[1, 2, 5, 3][axis], axis=axis))


@variants((3, [4, 0, 2]), (1, [[0, 6], [3, 3]]), (-1, 2))
def gather(net, axis, indices):
    return net.op("GATHER", [net.input(PICTURE), net.const(numpy.array(indices, "int32"))], family="GatherOptions", axis=axis)


@case
def gather_of_one_member(net):
    inputs = [net.input((1, 7, 3)), net.const(numpy.array([[4, 0]], "int32"))]
    return net.op("GATHER", inputs, family="GatherOptions", axis=1, batchDims=1)


@case
def embedding(net):
    return net.op("EMBEDDING_LOOKUP", [net.const(numpy.array([2, 0, 2], "int32")), net.input((4, 5))])


@variants([[0, 3, 2, 1], [0, 6, 5, 4]], [[[0, 3]], [[0, 6]]], [[0], [0]], [[0, 1, 2]])
def gather_points(net, indices):
    return net.op("GATHER_ND", [net.input(PICTURE), net.const(numpy.array(indices, "int32"))])


@variants((1, 0), (7, 0))
def gather_points_of_computed_places(net, axis, other):
    """The indices are what is greatest, as networks for poses have it."""
    best = net.op("ARG_MAX", [net.input((7, 6)), net.const(numpy.array(0, "int32"))], "int32", family="ArgMaxOptions", outputType=TYPES["int32"])
    if axis == 1:
        parts = net.op("EXPAND_DIMS", [best, net.const(numpy.array(1, "int32"))], "int32")
    else:
        numbers = net.const(numpy.arange(6).astype("int32"))
        parts = net.op("PACK", [best, numbers], "int32", family="PackOptions", valuesCount=2, axis=1)
    return net.op("GATHER_ND", [net.input((7, 6, 4)), parts])


@variants((PICTURE, 3), ((2, 9), 9), ((8,), 1))
def greatest(net, shape, count):
    inputs = [net.input(shape), net.const(numpy.array(count, "int32"))]
    return list(net.op("TOPK_V2", inputs, ["float32", "int32"], count=2))


@variants(-1, 0, 1)
def one_hot(net, axis):
    """Some of the indices are out of bounds, to both sides."""
    indices = net.input((2, 60), "int32")
    inputs = [indices, net.const(numpy.array(9, "int32")), net.const(numpy.float32(2)), net.const(numpy.float32(-0.5))]
    return net.op("ONE_HOT", inputs, family="OneHotOptions", axis=axis)


@variants((PICTURE, [1]), (PICTURE, [2]), ((3, 4, 5), [0, -1]))
def reverse(net, shape, axes):
    given = net.input(shape)
    for axis in axes:
        given = net.op("REVERSE_V2", [given, net.const(numpy.array([axis], "int32"))])
    return given


@variants((numpy.int32(2), numpy.int32(11), numpy.int32(3)), (numpy.int32(4), numpy.int32(-3), numpy.int32(-2)), (numpy.float32(-1), numpy.float32(1), numpy.float32(0.3)))
def number_range(net, first, end, step):
    kind = str(first.dtype)
    numbers = net.op("RANGE", [net.const(first), net.const(end), net.const(step)], kind)
    length = len(numpy.arange(first, end, step))
    return net.op("ADD", [numbers, net.input((length,), kind)], kind, family="AddOptions")


@variants((1, False, False), (-1, True, False), (2, False, True), (3, True, True))
def cumulative_sum(net, axis, exclusive, reverse):
    inputs = [net.input(PICTURE), net.const(numpy.array(axis, "int32"))]
    return net.op("CUMSUM", inputs, family="CumsumOptions", exclusive=exclusive, reverse=reverse)


@case
def tile(net):
    return net.op("TILE", [net.input(PICTURE), net.const(numpy.array([1, 2, 1, 3], "int32"))])


@case
def broadcast(net):
    wide = net.op("BROADCAST_TO", [net.input((1, 1, 1, 5)), net.const(numpy.array(PICTURE, "int32"))], version=2)
    filled = net.op("FILL", [net.const(numpy.array([2, 3], "int32")), net.const(numpy.float32(1.5))])
    return [wide, net.op("ADD", [filled, net.input((2, 3))], family="AddOptions"), net.op("ZEROS_LIKE", [net.input((2, 2))])]


@variants(*[
    (name, axes, keep)
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")
    for axes, keep in (([1, 2], True), ([1, 2], False), ([3], False), ([-1], True), ([2], False), ([1, 2, 3], False))
])
def reduction(net, name, axes, keep):
    return net.op(name, [net.input(PICTURE), net.const(numpy.array(axes, "int32"))], family="ReducerOptions", keepDims=keep)


@variants(("MEAN", [2, 4], False), ("SUM", [3, 4, 5], True), ("REDUCE_MAX", [0, 1, 3, -1], True))
def reduction_of_many_dimensions(net, name, axes, keep):
    given = net.op("RESHAPE", [net.input((1, 6, 4, 6)), integer(net, [1, 3, 2, 2, 2, 6])])
    return net.op(name, [given, integer(net, axes)], family="ReducerOptions", keepDims=keep)


@variants(("REDUCE_ANY", [1, 2], True), ("REDUCE_ALL", [3], False), ("REDUCE_ANY", [-1], False))
def reduction_of_truth(net, name, axes, keep):
    is_greater = net.op("GREATER", [net.input(PICTURE), net.const(numpy.float32(1.5 if name == "REDUCE_ANY" else -1.5))], "bool")
    return net.op(name, [is_greater, net.const(numpy.array(axes, "int32"))], "bool", family="ReducerOptions", keepDims=keep)


@variants(("ARG_MAX", 3, "int32"), ("ARG_MAX", 1, "int64"), ("ARG_MIN", -1, "int32"), ("ARG_MAX", 2, "int32"))
def position(net, name, axis, kind):
    family = "ArgMaxOptions" if name == "ARG_MAX" else "ArgMinOptions"
    return net.op(name, [net.input(PICTURE), net.const(numpy.array(axis, "int32"))], kind, family=family, outputType=TYPES[kind])


@variants((PICTURE, 1.0), ((2, 5), 1.0), ((1, 3, 4), 0.5))
def softmax(net, shape, beta):
    return net.op("SOFTMAX", [net.input(shape)], family="SoftmaxOptions", beta=beta)


@variants((2, 1.0, 0.5, 0.75), (1, 2.0, 0.1, 0.5))
def local_response(net, radius, bias, alpha, beta):
    family = "LocalResponseNormalizationOptions"
    given = net.op("RELU", [net.input(PICTURE)])
    return net.op("LOCAL_RESPONSE_NORMALIZATION", [given], family=family, radius=radius, bias=bias, alpha=alpha, beta=beta)


@variants(PICTURE, (2, 5))
def other_norms(net, *shape):
    given = net.input(shape)
    return [net.op("LOG_SOFTMAX", [given]), net.op("L2_NORMALIZATION", [given], family="L2NormOptions")]


def lstm(net, shape, cells, weights, coupled=False, peepholes=False, projected=None, **options):
    steps, batch, width = (shape[0], shape[1], shape[2]) if options.get("timeMajor") else (shape[1], shape[0], shape[2])
    result = projected or cells
    gates = range(1 if coupled else 0, 4)
    operands = [-1] * 24
    operands[0] = net.input(shape)
    for gate in gates:
        operands[1 + gate], operands[5 + gate] = weights(cells, width), weights(cells, result)
        operands[12 + gate] = net.weights(cells)
    for place, gate in ((9, 0), (10, 1), (11, 3)) if peepholes else ():
        operands[place] = net.weights(cells) if gate in gates else -1
    if projected:
        operands[16], operands[17] = weights(projected, cells), net.weights(projected)
    operands[18], operands[19] = net.variable(batch, result), net.variable(batch, cells)
    # 4 is the hyperbolic tangent.
    return net.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", operands, family="UnidirectionalSequenceLSTMOptions", fusedActivationFunction=4, **options
    )


@variants(
    ((1, 6, 5), 4, {"cellClip": 10.0}), ((2, 6, 5), 4, {}), ((6, 2, 5), 4, {"timeMajor": True}), ((1, 1, 5), 3, {}),
    ((1, 12, 5), 4, {"cellClip": 0.5}), ((2, 5, 3), 4, {"coupled": True}), ((3, 2, 5), 4, {"timeMajor": True, "peepholes": True}),
    ((2, 4, 5), 6, {"projected": 3, "projClip": 0.2}), ((2, 4, 5), 6, {"projected": 3, "coupled": True, "peepholes": True, "cellClip": 0.4}),
)
def recurrent(net, shape, cells, options):
    return lstm(net, shape, cells, net.weights, **options)


@case
def half_recurrent(net):
    """As the converter writes layers with weights of 16 bits: it makes halves of the states too."""

    def weights(*shape):
        return net.op("DEQUANTIZE", [net.const(net.random.normal(0, 0.5, shape).astype("float16"))])

    result = lstm(net, (1, 6, 5), 4, weights)
    layer = net.operators.pop()
    for state in layer.inputs[18:20]:
        zeros = net.const(numpy.zeros(net.tensors[state].shape, "float16"))
        net.op("DEQUANTIZE", [zeros])
        net.tensors.pop()
        net.operators[-1].outputs = [state]
    net.operators.append(layer)
    return result


@case
def quantized_recurrent(net):
    """Weights of 8 bits; the interpreter rounds what they are multiplied with too."""
    return lstm(net, (1, 6, 5), 4, lambda *shape: quantized(net, net.random.normal(0, 0.3, shape), -128 / 127, 1)[0])


@case
def recurrent_in_both_directions(net):
    """As Keras writes it."""
    given = net.input((1, 6, 5))
    axis = net.const(numpy.array([1], "int32"))

    def direction(given):
        operands = [given] + [net.weights(4, 5) for _ in range(4)] + [net.weights(4, 4) for _ in range(4)] + [-1] * 3
        operands += [net.weights(4) for _ in range(4)] + [-1] * 2 + [net.variable(1, 4), net.variable(1, 4)] + [-1] * 4
        family = "UnidirectionalSequenceLSTMOptions"
        return net.op("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, family=family, fusedActivationFunction=4, cellClip=10.0)

    forward = direction(given)
    backward = net.op("REVERSE_V2", [direction(net.op("REVERSE_V2", [given, axis])), axis])
    return net.op("CONCATENATION", [forward, backward], family="ConcatenationOptions", axis=2)


# shape, activation: none, one that is zero below zero, one between bounds, the hyperbolic tangent
@variants(
    ((1, 6, 5), 4, {}), ((2, 5, 3), 1, {}), ((6, 2, 5), 0, {"timeMajor": True}), ((2, 4, 5), 3, {}), ((1, 1, 5), 2, {}),
)
def plain_recurrent(net, shape, activation, options):
    batch = shape[1] if options else shape[0]
    operands = [net.input(shape), net.weights(4, shape[2]), net.weights(4, 4), net.weights(4), net.variable(batch, 4)]
    return net.op("UNIDIRECTIONAL_SEQUENCE_RNN", operands, family="SequenceRNNOptions", fusedActivationFunction=activation, **options)


# shape, whether the time is first, whether the results are one, whether the way back goes through another sequence
@variants(((2, 5, 3), False, True, False), ((5, 2, 3), True, False, False), ((6, 1, 5), True, True, True), ((4, 3, 5), True, False, True))
def plain_recurrent_both_ways(net, shape, time_first, merged, second):
    batch = shape[1] if time_first else shape[0]
    operands = [net.input(shape)]
    for cells in (4, 3):
        operands += [net.weights(cells, shape[2]), net.weights(cells, cells), net.weights(cells), net.variable(batch, cells)]
    operands += [net.input(shape) if second else -1, -1, -1]
    options = {"timeMajor": time_first, "mergeOutputs": merged, "fusedActivationFunction": 4}
    return net.op("BIDIRECTIONAL_SEQUENCE_RNN", operands, family="BidirectionalSequenceRNNOptions", count=1 if merged else 2, **options)


# As above. With the batch first and one result, the interpreter looks for the states of a second sequence behind their end.
@variants(
    ((1, 5, 3), False, True, False, {}), ((5, 2, 3), True, False, False, {}), ((1, 6, 5), True, True, True, {}),
    ((2, 5, 3), False, False, False, {"peepholes": True, "cellClip": 0.4}), ((4, 2, 3), True, True, False, {"coupled": True}),
    ((1, 4, 3), False, True, False, {"projected": 2, "projClip": 0.3}),
)
def recurrent_both_ways(net, shape, time_first, merged, second, options):
    coupled, peepholes, projected = (options.pop(key, None) for key in ("coupled", "peepholes", "projected"))
    batch, operands = shape[1] if time_first else shape[0], [net.input(shape)] + [-1] * 47
    for begin, states in ((0, 35), (17, 37)):
        cells = 4
        result = projected or cells
        for gate in range(1 if coupled else 0, 4):
            operands[begin + 1 + gate], operands[begin + 5 + gate] = net.weights(cells, shape[2]), net.weights(cells, result)
            operands[begin + 12 + gate] = net.weights(cells)
        for place in (9, 10, 11) if peepholes else ():
            operands[begin + place] = net.weights(cells)
        if projected:
            operands[begin + 16], operands[begin + 17] = net.weights(projected, cells), net.weights(projected)
        operands[states], operands[states + 1] = net.variable(batch, result), net.variable(batch, cells)
    operands[39] = net.input(shape) if second else -1
    options |= {"timeMajor": time_first, "mergeOutputs": merged, "fusedActivationFunction": 4}
    return net.op("BIDIRECTIONAL_SEQUENCE_LSTM", operands, family="BidirectionalSequenceLSTMOptions", count=1 if merged else 2, **options)


@case
def recurrent_step(net):
    """Old converters write a step whose states are seen."""
    before, cells = net.input((2, 4)), net.input((2, 4))
    operands = [net.input((2, 5)), before, net.weights(16, 9), net.weights(16), cells]
    return list(net.op("LSTM", operands, version=2, family="LSTMOptions", count=4, fusedActivationFunction=4, kernelType=1))


# width of what is transformed, length of the transformation
@variants((16, 16), (10, 16), (20, 8))
def spectrum(net, width, length):
    """As frameworks write the spectra of sounds."""
    wide = net.op("EXPAND_DIMS", [net.input((3, width)), net.const(numpy.array(1, "int32"))])
    complex = net.op("RFFT2D", [wide, net.const(numpy.array([1, length], "int32"))], "complex64", family="Rfft2dOptions")
    flat = net.op("RESHAPE", [complex, net.const(numpy.array([3, length // 2 + 1], "int32"))], "complex64", family="ReshapeOptions")
    parts = [net.op(name, [flat]) for name in ("REAL", "IMAG")]
    return [net.op("COMPLEX_ABS", [flat]), *(net.op("NEG", [part]) for part in parts)]


@case
def half_weights(net):
    weights = net.const(net.random.normal(0, 0.5, (4, 3, 3, 5)).astype("float16"))
    bias = net.const(net.random.normal(0, 0.5, (4,)).astype("float16"))
    inputs = [net.input(PICTURE), net.op("DEQUANTIZE", [weights]), net.op("DEQUANTIZE", [bias])]
    return net.op("CONV_2D", inputs, family="Conv2DOptions", padding=SAME, strideW=1, strideH=1)


@case
def several_readers(net):
    """A picture that is read in both orders, and outputs in the middle."""
    picture = net.input(PICTURE)
    one = net.op("CONV_2D", [picture, net.weights(5, 1, 1, 5), net.weights(5)], family="Conv2DOptions", padding=SAME, strideW=1, strideH=1)
    two = net.op("ADD", [one, picture], family="AddOptions")
    flat = net.op("RESHAPE", [two, net.const(numpy.array([1, 42, 5], "int32"))], family="ReshapeOptions")
    back = net.op("RESHAPE", [net.op("TANH", [flat]), net.const(numpy.array(PICTURE, "int32"))], family="ReshapeOptions")
    return [net.op("MUL", [back, one], family="MulOptions"), one, flat]


def quantized(net, values, low, high, kind="int8", axis=None):
    """A constant of 8 bits, with one scale or one for each index along an axis."""
    if axis is None:
        scale = numpy.float32((high - low) / 255)
        zero = int(round(-low / scale)) - (128 if kind == "int8" else 0)
    else:
        others = tuple(index for index in range(values.ndim) if index != axis)
        scale, zero = numpy.float32(numpy.abs(values).max(others) / 127), 0
    spread = scale if axis is None else scale.reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    info = numpy.iinfo(kind)
    data = numpy.clip(numpy.round(values / spread) + zero, info.min, info.max).astype(kind)
    return net.const(data, scale=scale, zero=zero, axis=axis or 0), scale


def quantization(low, high, kind="int8"):
    scale = numpy.float32((high - low) / 255)
    return {"scale": scale, "zero": int(round(-low / scale)) - (128 if kind == "int8" else 0)}


@variants("int8", "uint8")
def quantized_network(net, kind):
    per_channel = 0 if kind == "int8" else None
    given = quantization(-3, 3, kind)
    picture = net.input(PICTURE, kind, **given)
    weights, scale = quantized(net, net.random.normal(0, 0.3, (6, 3, 3, 5)), -1, 1, kind, per_channel)
    bias = net.const(net.random.integers(-200, 200, 6).astype("int32"), scale=scale * given["scale"])
    conv = net.op(
        "CONV_2D", [picture, weights, bias], kind, version=3, family="Conv2DOptions", padding=SAME, strideW=1, strideH=1,
        # The activation is in the range: nothing below zero can be said.
        quantization=quantization(0, 4, kind),
    )
    pooled = net.op("MAX_POOL_2D", [conv], kind, version=2, family="Pool2DOptions", padding=SAME, filterWidth=2, filterHeight=2, strideW=2, strideH=2, quantization=quantization(0, 4, kind))
    double = net.op("ADD", [pooled, pooled], kind, version=2, family="AddOptions", quantization=quantization(0, 8, kind))
    flat = net.op("RESHAPE", [double, net.const(numpy.array([1, 72], "int32"))], kind, family="ReshapeOptions", quantization=quantization(0, 8, kind))
    weights, scale = quantized(net, net.random.normal(0, 0.1, (4, 72)), -0.5, 0.5, kind)
    bias = net.const(numpy.array([10, -10, 0, 5], "int32"), scale=scale * numpy.float32(8 / 255))
    dense = net.op("FULLY_CONNECTED", [flat, weights, bias], kind, version=4, family="FullyConnectedOptions", quantization=quantization(-8, 8, kind))
    real = net.op("DEQUANTIZE", [dense], version=2)
    return [dense, net.op("TANH", [real])]


@variants("int8", "uint8", "int16")
def quantized_within_limits(net, kind):
    """Much of what is computed is beyond what the integers can say."""
    bounds = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}[kind]

    def limits(low, high):
        if kind == "int16":
            return {"scale": numpy.float32(max(-low, high) / 32767), "zero": 0}
        return quantization(low, high, kind)

    one = net.op("QUANTIZE", [net.input(PICTURE)], kind, quantization=limits(-2, 1.5))
    moved = net.op("TRANSPOSE", [one, integer(net, [0, 2, 1, 3])], kind, version=5, quantization=limits(-2, 1.5))
    sum = net.op("ADD", [one, one], kind, version=2, family="AddOptions", quantization=limits(-1, 2))
    product = net.op("MUL", [sum, one], kind, version=2, family="MulOptions", quantization=limits(-0.8, 1))
    positive = net.op("MUL", [sum, one], kind, version=2, family="MulOptions", fusedActivationFunction=1, quantization=limits(-0.1, 1))
    relu = net.op("RELU", [one], kind, version=2, quantization=limits(-0.2, 1))
    likely = net.op("LOGISTIC", [sum], kind, version=3, quantization={"scale": numpy.float32(1 / 32768 if kind == "int16" else 1 / 256), "zero": min(bounds[0], 0) if kind != "int16" else 0})
    return [net.op("DEQUANTIZE", [value], version=3) for value in (moved, sum, product, positive, relu, likely)]


@variants((-1.0, 1.5, 8), (0.0, 2.3, 8), (-2.0, 0.3, 10))
def quantized_in_pretence(net, low, high, bits):
    """As networks that are trained for integers are written while they are not of integers yet."""
    options = {"min": low, "max": high, "numBits": bits}
    return net.op("FAKE_QUANT", [net.input(PICTURE)], family="FakeQuantOptions", **options)


@case
def quantized_inside(net):
    """Floating numbers outside, integers inside."""
    inner = net.op("QUANTIZE", [net.input(PICTURE)], "int8", quantization=quantization(-3, 3))
    weights, scale = quantized(net, net.random.normal(0, 0.3, (1, 3, 3, 5)), -1, 1, "int8", 3)
    bias = net.const(numpy.zeros(5, "int32"), scale=scale * quantization(-3, 3)["scale"])
    conv = net.op(
        "DEPTHWISE_CONV_2D", [inner, weights, bias], "int8", version=3, family="DepthwiseConv2DOptions", padding=SAME,
        strideW=1, strideH=1, depthMultiplier=1, fusedActivationFunction=0, quantization=quantization(-8, 8),
    )
    return net.op("DEQUANTIZE", [conv], version=2)


@case
def quantized_weights(net):
    """Weights of 8 bits, everything else in floating numbers."""
    weights, _ = quantized(net, net.random.normal(0, 0.3, (4, 6)), -1, 1)
    weights_tensor = net.tensors[weights]
    weights_tensor.quantization.zeroPoint = numpy.array([0], "int64")
    return net.op("FULLY_CONNECTED", [net.input((1, 6)), weights, net.weights(4)], version=3, family="FullyConnectedOptions")


def integer(net, value):
    return net.const(numpy.array(value, "int32"))


def loop(net, values, condition, body):
    """Repeats `body` while `condition`; both get and the former returns as many values."""

    def fed(function):
        def write(inner):
            described = [net.tensors[value] for value in values]
            kinds = {number: kind for kind, number in TYPES.items()}
            return function(inner, *(inner.input(tensor.shape, kinds[tensor.type]) for tensor in described))

        return write

    kinds = [next(kind for kind, number in TYPES.items() if number == net.tensors[value].type) for value in values]
    graphs = {"condSubgraphIndex": net.nested(fed(condition)), "bodySubgraphIndex": net.nested(fed(body))}
    return net.op("WHILE", values, kinds, count=len(values), family="WhileOptions", **graphs)


def below(limit):
    return lambda net, count, *others: [net.op("LESS", [count, integer(net, limit)], "bool")]


def next_of(net, count):
    return net.op("ADD", [count, integer(net, 1)], "int32", family="AddOptions")


@variants(1, 2, 5)
def loop_over_a_sequence(net, steps):
    """As converters write the recurrent layers of frameworks: a list of results gets one more in each round."""
    recurrence, driven = net.random.normal(0, 0.5, (6, 6)).astype("float32"), net.random.normal(0, 0.5, (6, 5)).astype("float32")

    def body(net, count, results, state, sequence):
        now = net.op("GATHER", [sequence, count], family="GatherOptions", axis=0)
        left = net.op("FULLY_CONNECTED", [state, net.const(recurrence), -1], family="FullyConnectedOptions")
        right = net.op("FULLY_CONNECTED", [now, net.const(driven), net.weights(6)], family="FullyConnectedOptions")
        state = net.op("TANH", [net.op("ADD", [left, right], family="AddOptions")])
        after = next_of(net, count)
        begin = net.op("RESHAPE", [count, integer(net, [1])], "int32")
        size = net.op("CONCATENATION", [begin, integer(net, [-1, -1])], "int32", family="ConcatenationOptions")
        before = net.op("SLICE", [results, integer(net, [0, 0, 0]), size], shape=(-1, -1, -1))
        begin = net.op("RESHAPE", [after, integer(net, [1])], "int32")
        begin = net.op("CONCATENATION", [begin, integer(net, [0, 0])], "int32", family="ConcatenationOptions")
        behind = net.op("SLICE", [results, begin, integer(net, [-1, -1, -1])], shape=(-1, 1, 6))
        own = net.op("RESHAPE", [state, integer(net, [1, 1, 6])])
        results = net.op("CONCATENATION", [before, own, behind], family="ConcatenationOptions", axis=0, shape=(steps, 1, 6))
        return [after, results, state, sequence]

    results, state = net.const(numpy.zeros((steps, 1, 6), "float32")), net.const(numpy.zeros((1, 6), "float32"))
    values = [integer(net, 0), results, state, net.input((steps, 1, 5))]
    _, results, state, _ = loop(net, values, below(steps), body)
    return [net.op("RESHAPE", [results, integer(net, [1, steps, 6])]), state]


@case
def loop_in_a_loop(net):
    """Each round of the outer one has as many of the inner one as were before it."""

    def outer(net, count, value):
        def inner(net, rounds, limit, value):
            return [next_of(net, rounds), limit, net.op("TANH", [net.op("ADD", [value, net.weights(4)], family="AddOptions")])]

        def condition(net, rounds, limit, value):
            return [net.op("LESS", [rounds, limit], "bool")]

        _, _, value = loop(net, [integer(net, 0), count, value], condition, inner)
        return [next_of(net, count), net.op("MUL", [value, net.const(numpy.float32(1.5))], family="MulOptions")]

    return loop(net, [integer(net, 0), net.input((2, 4))], below(3), outer)[1]


def branches(net, condition, *values):
    def side(function):
        return lambda inner: function(inner, *(inner.input(net.tensors[value].shape) for value in values))

    def one(net, left, right):
        return [net.op("ADD", [left, right], family="AddOptions"), left]

    def other(net, left, right):
        product = net.op("MUL", [left, right], family="MulOptions")
        return [net.op("TANH", [product]), right]

    graphs = {"thenSubgraphIndex": net.nested(side(one)), "elseSubgraphIndex": net.nested(side(other))}
    return net.op("IF", [condition, *values], count=2, family="IfOptions", **graphs)


@variants(True, False)
def branch_of_a_constant(net, condition):
    return branches(net, net.const(numpy.array(condition)), net.input((2, 4)), net.input((2, 4)))


@variants("GREATER", "LESS")
def branch_that_is_computed(net, name):
    left = net.input((2, 4))
    sum = net.op("SUM", [left, integer(net, [0, 1])], family="ReducerOptions")
    return branches(net, net.op(name, [sum, net.const(numpy.float32(0))], "bool"), left, net.input((2, 4)))


@case
def open_batch(net):
    """As Keras writes a dense layer on sequences, and what follows: the file says 1 for everything that is open."""
    given = net.input((-1, 4, 6))
    shape = net.op("SHAPE", [given], "int32", family="ShapeOptions", outType=2, shape=(3,))
    others = net.op("GATHER", [shape, integer(net, [0, 1])], "int32", family="GatherOptions", shape=(2,))
    inner = net.op("GATHER", [shape, integer(net, [2])], "int32", family="GatherOptions", shape=(1,))
    counts = [net.op("REDUCE_PROD", [part, integer(net, [0])], "int32", family="ReducerOptions") for part in (others, inner)]
    rows = net.op("PACK", counts, "int32", family="PackOptions", valuesCount=2, shape=(2,))
    flat = net.op("RESHAPE", [given, rows], shape=(-1, -1))
    dense = net.op("FULLY_CONNECTED", [flat, net.weights(8, 6), -1], family="FullyConnectedOptions", shape=(-1, 8))
    wanted = net.op("CONCATENATION", [others, integer(net, [8])], "int32", family="ConcatenationOptions", shape=(3,))
    back = net.op("RESHAPE", [dense, wanted], shape=(-1, 4, 8))
    heads = net.op("RESHAPE", [back, integer(net, [-1, 4, 2, 4])], shape=(-1, 4, 2, 4))
    turned = net.op("TRANSPOSE", [heads, integer(net, [0, 2, 1, 3])], shape=(-1, 2, 4, 4))
    product = net.op("BATCH_MATMUL", [turned, turned], family="BatchMatMulOptions", adjY=True, shape=(-1, 2, 4, 4))
    weighed = net.op("SOFTMAX", [product], family="SoftmaxOptions", beta=1.0, shape=(-1, 2, 4, 4))
    first, second = net.op("UNPACK", [weighed], family="UnpackOptions", count=2, num=2, axis=1, shape=(-1, 4, 4))
    part = net.op("STRIDED_SLICE", [first, integer(net, [0, 1]), integer(net, [0, 9]), integer(net, [1, 2])], family="StridedSliceOptions", beginMask=1, endMask=1, shape=(-1, 2, 4))
    joined = net.op("CONCATENATION", [part, second], family="ConcatenationOptions", axis=1, shape=(-1, 6, 4))
    mean = net.op("MEAN", [joined, integer(net, [1])], family="ReducerOptions", keepDims=True, shape=(-1, 1, 4))
    return [net.op("SUB", [joined, mean], family="SubOptions", shape=(-1, 6, 4)), mean]


@case
def open_heads(net):
    """As Keras joins the heads of an attention, and as shapes are taken apart."""
    given = net.input((-1, -1, 2, 3))
    shape = net.op("SHAPE", [given], "int32", family="ShapeOptions", outType=2, shape=(4,))
    joined = net.op("UNSORTED_SEGMENT_PROD", [shape, integer(net, [0, 1, 2, 2]), integer(net, 3)], "int32", shape=(3,))
    flat = net.op("RESHAPE", [given, joined], shape=(-1, -1, 6))
    batch, rows, heads, width = net.op("UNPACK", [shape], "int32", family="UnpackOptions", count=4, num=4, axis=0)
    wanted = net.op("PACK", [batch, heads, rows, width], "int32", family="PackOptions", valuesCount=4, shape=(4,))
    turned = net.op("RESHAPE", [flat, wanted], shape=(-1, 2, -1, 3))
    return [net.op("NEG", [flat], shape=(-1, -1, 6)), net.op("NEG", [turned], shape=(-1, 2, -1, 3))]


@case
def open_batches(net):
    """As converters write a dilated convolution of pictures of any size."""
    given = net.input((1, -1, -1, 4))
    shape = net.op("SHAPE", [given], "int32", family="ShapeOptions", outType=2, shape=(4,))
    height = net.op("GATHER", [shape, integer(net, 1)], "int32", family="GatherOptions")

    def pack(values, axis, shape):
        return net.op("PACK", values, "int32", family="PackOptions", valuesCount=2, axis=axis, shape=shape)

    def less(number):
        return net.op("SUB", [height, integer(net, number)], "int32", family="SubOptions")

    blocks, one = integer(net, [2, 2]), pack([less(OPEN - 1), less(OPEN - 1)], 0, (2,))
    border = pack([pack([integer(net, 2), less(2)], 0, (2,)), integer(net, [2, 3])], 0, (2, 2))
    whole = [integer(net, [0, 0]), blocks, integer(net, [1, 1])]
    border = net.op("STRIDED_SLICE", [border, *whole], "int32", family="StridedSliceOptions", shape=(2, 2))
    cut = pack([integer(net, [0, 0]), one], 1, (2, 2))
    inner = net.op("SPACE_TO_BATCH_ND", [given, blocks, border], shape=(4, -1, -1, 4))
    options = {"padding": VALID, "strideW": 1, "strideH": 1}
    conv = net.op("CONV_2D", [inner, net.weights(6, 3, 3, 4), net.weights(6)], family="Conv2DOptions", shape=(4, -1, -1, 6), **options)
    back = net.op("BATCH_TO_SPACE_ND", [conv, blocks, cut], shape=(1, -1, -1, 6))
    return net.op("NEG", [back], shape=(1, -1, -1, 6))


@case
def open_sequences(net):
    """Recurrent layers of any number of steps, and places in what they compute."""
    given = net.input((1, -1, 5))
    operands = [given, net.weights(4, 5), net.weights(4, 4), net.weights(4), net.variable(1, 4)]
    plain = net.op("UNIDIRECTIONAL_SEQUENCE_RNN", operands, family="SequenceRNNOptions", fusedActivationFunction=4, shape=(1, -1, 4))
    rows = net.op("RESHAPE", [plain, integer(net, [-1, 4])], shape=(-1, 4))
    best = net.op("ARG_MAX", [rows, integer(net, 1)], "int32", family="ArgMaxOptions", outputType=TYPES["int32"], shape=(-1,))
    hot = net.op("ONE_HOT", [best, integer(net, 4), net.const(numpy.float32(1)), net.const(numpy.float32(0))], family="OneHotOptions", axis=-1, shape=(-1, 4))
    shape = net.op("SHAPE", [rows], "int32", family="ShapeOptions", outType=2, shape=(2,))
    count = net.op("SLICE", [shape, integer(net, [0]), integer(net, [1])], "int32", shape=(1,))
    size = net.op("CONCATENATION", [count, integer(net, [2, 2])], "int32", family="ConcatenationOptions", shape=(3,))
    halves = net.op("RESHAPE", [net.op("MUL", [hot, rows], family="MulOptions", shape=(-1, 4)), size], shape=(-1, 2, 2))
    return [net.op("NEG", [halves], shape=(-1, 2, 2)), plain]


@case
def open_picture(net):
    """Height and width are open, as in networks that take pictures of any size."""
    given = net.input((1, -1, -1, 4))
    conv = net.op("CONV_2D", [given, net.weights(6, 2, 3, 4), net.weights(6)], family="Conv2DOptions", padding=SAME, strideW=1, strideH=2, shape=(1, -1, -1, 6))
    depth = net.op("DEPTHWISE_CONV_2D", [conv, net.weights(1, 2, 1, 6), net.weights(6)], family="DepthwiseConv2DOptions", padding=VALID, strideW=1, strideH=1, depthMultiplier=1, shape=(1, -1, -1, 6))
    pooled = net.op("MAX_POOL_2D", [depth], family="Pool2DOptions", padding=SAME, filterWidth=2, filterHeight=2, strideW=1, strideH=1, shape=(1, -1, -1, 6))
    wide = net.op("RESIZE_BILINEAR", [pooled, integer(net, [5, 7])], version=3, family="ResizeBilinearOptions", halfPixelCenters=True, shape=(1, 5, 7, 6))
    border = net.op("PAD", [pooled, integer(net, [[0, 0], [1, 1], [0, 2], [0, 0]])], shape=(1, -1, -1, 6))
    return [wide, net.op("RELU", [border], shape=(1, -1, -1, 6))]


@variants("MAXIMUM", "MINIMUM")
def extremes_of_integers(net, name):
    return net.op(name, [net.input((3, 5), "int32"), net.input((3, 5), "int32")], "int32")


@case
def choices_of_truth(net):
    one, two = (net.op("GREATER", [net.input((3, 5)), net.const(numpy.float32(limit))], "bool") for limit in (-1, 1))
    chosen = net.op("SELECT_V2", [one, two, net.op("LOGICAL_NOT", [one], "bool")], "bool")
    indices = [net.input((4,), "int32"), integer(net, 9), net.const(numpy.array(True)), net.const(numpy.array(False))]
    return [chosen, net.op("ONE_HOT", indices, "bool", family="OneHotOptions", axis=-1)]


# shape, shape of the indices, axis, how many dimensions go together
@variants(((3, 7, 4), (3, 2), 1, 1), ((2, 3, 5), (2, 3, 4), 2, 2), ((2, 6), (2,), 1, 1), ((1, 6, 4), (1, 3), 2, 1))
def gather_of_members(net, shape, indices, axis, together):
    places = net.random.integers(0, shape[axis], indices).astype("int32")
    given = net.op("ADD", [net.const(places), net.op("MUL", [net.input(indices, "int32"), integer(net, 0)], "int32", family="MulOptions")], "int32", family="AddOptions")
    return net.op("GATHER", [net.input(shape), given], family="GatherOptions", axis=axis, batchDims=together)


# indices, shape of the updates, shape of the result; two updates go to one place in the last but one
@variants(
    ([[1], [3], [0]], (3, 4), (5, 4)), ([[2], [0], [1]], (3, 2, 2), (3, 2, 2)), ([[[0, 1], [2, 2]]], (1, 2, 4), (3, 3, 4)),
    ([[1], [3], [1]], (3, 4), (5, 4)), ([[0, 0, 2]], (1,), (2, 2, 3)),
)
def scattered(net, indices, updates, shape):
    return net.op("SCATTER_ND", [integer(net, indices), net.input(updates), integer(net, shape)])


@variants(([0, 0, 1, 1, 1], "SEGMENT_SUM"), ([2, 0, 3, 0, 2], "UNSORTED_SEGMENT_SUM"))
def segments(net, numbers, name):
    inputs = [net.input((5, 3, 2)), integer(net, numbers)]
    # How many segments there are follows from the last one, so the converter leaves it open.
    is_counted = name.startswith("UNSORTED")
    return net.op(name, inputs + ([integer(net, 4)] if is_counted else []), shape=() if is_counted else (-1, 3, 2))


@variants((2, 4), (4,), (2, 3, 3))
def diagonals(net, *shape):
    lists = net.input(shape)
    given = net.input((*shape, shape[-1]))
    return [net.op("MATRIX_DIAG", [lists], family="MatrixDiagOptions"), net.op("MATRIX_SET_DIAG", [given, lists], family="MatrixSetDiagOptions")]


# padding, strides, dilations (depth, height, width), kernel
@variants(
    (SAME, (1, 1, 1), (1, 1, 1), (3, 3, 3)), (VALID, (1, 2, 2), (1, 1, 1), (2, 3, 1)), (SAME, (2, 1, 3), (1, 1, 1), (3, 2, 2)),
    (SAME, (1, 1, 1), (2, 1, 2), (2, 3, 2)),
)
def volumes(net, padding, strides, dilations, kernel):
    inputs = [net.input((1, 5, 6, 7, 3)), net.weights(*kernel, 3, 4), net.weights(4)]
    return net.op(
        "CONV_3D", inputs if padding == VALID else inputs[:2], family="Conv3DOptions", padding=padding, strideD=strides[0], strideH=strides[1], strideW=strides[2],
        dilationDFactor=dilations[0], dilationHFactor=dilations[1], dilationWFactor=dilations[2], fusedActivationFunction=1,
    )


# size of the result, padding, strides, kernel, with bias
@variants(
    ((8, 6, 10), SAME, (2, 2, 2), (3, 3, 3), True), ((4, 3, 5), SAME, (1, 1, 1), (2, 3, 2), False),
    ((9, 8, 10), VALID, (2, 3, 2), (3, 2, 2), True),
)
def transposed_volumes(net, size, padding, strides, kernel, with_bias):
    inputs = [integer(net, [1, *size, 4]), net.weights(*kernel, 4, 3), net.input((1, 4, 3, 5, 3))]
    return net.op(
        "CONV_3D_TRANSPOSE", inputs + ([net.weights(4)] if with_bias else []), family="Conv3DOptions", padding=padding,
        strideD=strides[0], strideH=strides[1], strideW=strides[2],
    )


def computed_list(net, values):
    nothing = net.op("MUL", [net.input((len(values),), "int32"), integer(net, 0)], "int32", family="MulOptions")
    return net.op("ADD", [nothing, integer(net, values)], "int32", family="AddOptions")


@variants([2, 0, 1], [0, 1, 2])
def slice_from_computed_places(net, begins):
    return net.op("SLICE", [net.input((5, 6, 4)), computed_list(net, begins), integer(net, [3, 5 if begins[1] else 6, 2])])


@variants([3], [1, 4])
def elements_at_computed_places(net, begins):
    begin = computed_list(net, begins)
    end = net.op("ADD", [begin, integer(net, 1)], "int32", family="AddOptions")
    inputs = [net.input((5, 6, 4)), begin, end, integer(net, [1] * len(begins))]
    return net.op("STRIDED_SLICE", inputs, family="StridedSliceOptions", shrinkAxisMask=2 ** len(begins) - 1)


@variants(PICTURE, (4, 9))
def angles(net, *shape):
    """Also on the axes, where there is no slope."""
    ordinates, abscissas = (net.op("ROUND", [net.input(shape)]) for _ in range(2))
    return [net.op("ATAN2", [ordinates, abscissas]), net.op("ATAN2", [net.input(shape), net.input(shape)])]


@variants("int16", "int8", "uint8", "uint16")
def bits_that_differ(net, kind):
    # Inputs are small; the constant has all bits.
    other = net.const(net.random.integers(numpy.iinfo(kind).min, numpy.iinfo(kind).max, (3, 5), endpoint=True).astype(kind))
    return net.op("BITWISE_XOR", [net.input((3, 5), kind), other], kind)


@variants("int16", "int8", "uint8")
def bits_moved_down(net, kind):
    shifts = net.const(numpy.array([0, 1, 3, 7, 5], kind))
    return net.op("RIGHT_SHIFT", [net.input((3, 5), kind), shifts], kind)


@variants("float32", "int32")
def buckets(net, kind):
    """Numbers on a bound belong above it."""
    given = net.op("ROUND", [net.input(PICTURE)]) if kind == "float32" else net.input(PICTURE, kind)
    bounds = [-2.0, -1.0, 0.5, 2.0] if kind == "float32" else [-50.0, -7.0, 0.0, 3.0, 60.5]
    return net.op("BUCKETIZE", [given], "int32", family="BucketizeOptions", boundaries=bounds)


# shape, dimensions of time and batch, lengths
@variants(((3, 6, 4), 1, 0, [2, 6, 1]), ((3, 6, 4), 1, 0, [4, 4, 4]), ((2, 7, 6, 5), 2, 3, [1, 6, 3, 2, 5]), ((5, 2, 3), 0, 1, [3, 5]))
def sequences_turned_around(net, shape, time, batch, lengths):
    return net.op("REVERSE_SEQUENCE", [net.input(shape), integer(net, lengths)], family="ReverseSequenceOptions", seqDim=time, batchDim=batch)


@variants(*[(name, kind) for name in ("MAX", "MIN", "PROD") for kind in ("float32", "int32")])
def segments_in_any_order(net, name, kind):
    """One has no rows, one has one, one row belongs nowhere."""
    given = net.input((6, 3, 2), kind)
    if name == "PROD" and kind == "int32":
        given = net.op("FLOOR_MOD", [given, integer(net, 7)], kind)
    reduced = net.op(f"UNSORTED_SEGMENT_{name}", [given, integer(net, [2, 0, 3, 0, 2, 2]), integer(net, 5)], kind)
    # What stands for nothing is so large that it would hide errors.
    limit = net.const(numpy.array(1000, kind))
    return net.op("MAXIMUM", [net.op("MINIMUM", [reduced, limit], kind), net.const(numpy.array(-1000, kind))], kind)


# shapes of the whole and of the part, where the part begins
@variants(((5, 6, 4), (2, 6, 4), [1, 0, 0]), ((5, 6, 4), (2, 3, 4), [9, 2, 0]), ((5, 6, 4), (3, 2, 1), [-3, 4, 1]), ((3, 4), (3, 4), [1, 1]))
def part_that_is_replaced(net, shape, part, begins):
    updated = net.op("DYNAMIC_UPDATE_SLICE", [net.input(shape), net.input(part), integer(net, begins)])
    return net.op("NEG", [updated])


@case
def broadcast_shapes(net):
    shapes = [net.op("SHAPE", [given], "int32", family="ShapeOptions", outType=2) for given in (net.input((3, 1)), net.input((2, 1, 4)))]
    both = net.op("BROADCAST_ARGS", shapes, "int32")
    return net.op("BROADCAST_TO", [net.input((3, 4)), both], version=2)


@variants(*[(name, kind) for name in ("ADD", "MAXIMUM", "MINIMUM", "MULTIPLY") for kind in ("float32", "int32")])
def of_another_dialect(net, name, kind):
    return net.op(f"STABLEHLO_{name}", [net.input(PICTURE, kind), net.input(PICTURE, kind)], kind)


# places, shape of the values, sizes, whether the values are known
@variants(
    ([[0, 1], [2, 3], [1, 0]], (3,), [3, 4], False), ([[0, 1], [2, 3], [1, 0]], (3,), [3, 4], True), ([1, 4, 6], (), [8], False),
    (3, (), [5], False), ([[0, 1, 1], [1, 0, 2]], (2,), [2, 2, 3], True),
)
def from_sparse(net, places, values, sizes, known):
    given = net.weights(*values) if known else net.input(values)
    dense = net.op("SPARSE_TO_DENSE", [integer(net, places), integer(net, sizes), given, net.const(numpy.float32(0.5))])
    return net.op("ADD", [dense, net.input(sizes)], family="AddOptions")


@case
def border_that_does_not_count(net):
    """As converters write a pooling of PyTorch's."""
    border = [net.input((1, 8, 8, 3)), integer(net, [[0, 0], [1, 1], [1, 1], [0, 0]]), net.const(numpy.float32(-numpy.inf))]
    return net.op(
        "MAX_POOL_2D", [net.op("PADV2", border)], family="Pool2DOptions", padding=VALID, filterWidth=3, filterHeight=3,
        strideW=2, strideH=2,
    )


@variants(((2, 3, 4), [2, 1, 3]), ((5,), [4]), ((1, 4, 5, 2), [1, 2, 2, 1]), ((1, 1, 3), [7, 2, 1]))
def moved_apart(net, shape, distances):
    return net.op("DILATE", [net.input(shape), integer(net, distances), net.const(numpy.float32(-1.5))], family="DilateOptions")


# shape, sizes, strides, dilations of the windows
@variants(*[
    (name, *setting)
    for name in ("ADD", "MUL", "MINIMUM", "MAXIMUM")
    for setting in (
        ((1, 8, 9, 2), [1, 2, 3, 1], [1, 2, 1, 1], [1, 1, 1, 1], None), ((7,), [3], [2], [2], 0.5),
        ((2, 3, 8, 9), [1, 1, 3, 2], [1, 1, 1, 3], [1, 1, 2, 1], None),
    )
])
def windows(net, name, shape, sizes, strides, dilations, begin):
    neutral = {"ADD": 0, "MUL": 1, "MINIMUM": numpy.inf, "MAXIMUM": -numpy.inf}[name] if begin is None else begin
    inputs = [net.input(shape), net.const(numpy.float32(neutral)), *(net.const(numpy.array(values, "int64"), "int64") for values in (sizes, strides, dilations))]
    return net.op("REDUCE_WINDOW", inputs, family="ReduceWindowOptions", reduceFunction=getattr(schema.ReduceWindowFunction, name))


@variants("MAXIMUM", "MINIMUM", "ADD")
def windows_of_integers(net, name):
    neutral = {"ADD": 0, "MINIMUM": 2**31 - 1, "MAXIMUM": -(2**31)}[name]
    inputs = [net.input((4, 9), "int32"), net.const(numpy.array(neutral, "int32")), *(net.const(numpy.array(values, "int64"), "int64") for values in ([2, 3], [1, 2], [1, 1]))]
    return net.op("REDUCE_WINDOW", inputs, "int32", family="ReduceWindowOptions", reduceFunction=getattr(schema.ReduceWindowFunction, name))


@variants(("ANY", False), ("ALL", True), ("ALL", False))
def windows_of_truth(net, name, begin):
    given = net.op("GREATER", [net.input((4, 9)), net.const(numpy.float32(0.5 if name == "ANY" else -2))], "bool")
    inputs = [given, net.const(numpy.array(begin)), *(net.const(numpy.array(values, "int64"), "int64") for values in ([2, 3], [1, 2], [1, 1]))]
    return net.op("REDUCE_WINDOW", inputs, "bool", family="ReduceWindowOptions", reduceFunction=getattr(schema.ReduceWindowFunction, name))


# function, shape, sizes, strides, how far elements are moved apart before, dilations, what comes before and behind
@variants(
    ("ADD", (1, 6, 7, 2), [1, 3, 2, 1], [1, 2, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [[0, 0], [1, 1], [0, 1], [0, 0]]),
    ("MAXIMUM", (2, 6, 7), [1, 3, 2], [1, 2, 1], [1, 1, 1], [1, 1, 2], [[0, 0], [1, 1], [0, 0]]),
    ("MINIMUM", (8,), [3], [2], [1], [1], [[2, 1]]), ("ADD", (5, 4), [3, 1], [1, 1], [2, 1], [2, 1], [[1, 0], [-1, 0]]), ("MULTIPLY", (4, 4), [2, 2], [1, 1], [1, 1], [1, 1], [[0, 0], [0, 0]]),
)
def windows_of_another_dialect(net, name, shape, sizes, strides, base, dilations, padding):
    neutral = {"ADD": 0, "MULTIPLY": 1, "MINIMUM": numpy.inf, "MAXIMUM": -numpy.inf}[name]
    body = net.nested(lambda inner: inner.op(f"STABLEHLO_{name}", [inner.input(()), inner.input(())]))
    net.nets[body].outputs = [net.nets[body].outputs]
    options = {"windowDimensions": sizes, "windowStrides": strides, "baseDilations": base, "windowDilations": dilations, "padding": numpy.ravel(padding)}
    options = {key: numpy.array(values, "int64") for key, values in options.items()}
    inputs = [net.input(shape), net.const(numpy.float32(neutral))]
    return net.op("STABLEHLO_REDUCE_WINDOW", inputs, family="StablehloReduceWindowOptions", bodySubgraphIndex=body, **options)


# shape, before, behind, between
@variants(((2, 5, 6), [1, 0, 2], [0, 3, 1], [0, 0, 0]), ((2, 5, 6), [0, 2, -1], [1, -2, 0], [1, 2, 0]), ((4,), [-1], [3], [2]))
def border_of_another_dialect(net, shape, low, high, interior):
    options = {"edgePaddingLow": low, "edgePaddingHigh": high, "interiorPadding": interior}
    options = {key: numpy.array(values, "int64") for key, values in options.items()}
    return net.op("STABLEHLO_PAD", [net.input(shape), net.const(numpy.float32(2.5))], family="StablehloPadOptions", **options)


@variants(True, False)
def variables_that_are_only_read(net, both):
    """As converters write variables of which they do not know that nobody changes them."""

    def handle(net, name):
        return net.op("VAR_HANDLE", [], "resource", family="VarHandleOptions", container=b"c", sharedName=name)

    def first(inner):
        for name in (b"weights", b"bias"):
            shape = (4, 6) if name == b"weights" else (4,)
            inner.op("ASSIGN_VARIABLE", [handle(inner, name), inner.weights(*shape)], count=0, family="AssignVariableOptions")
        return []

    net.op("CALL_ONCE", [], count=0, family="CallOnceOptions", initSubgraphIndex=net.nested(first))
    weights = net.op("READ_VARIABLE", [handle(net, b"weights")], shape=(4, 6), family="ReadVariableOptions")
    bias = net.op("READ_VARIABLE", [handle(net, b"bias")], shape=(4,), family="ReadVariableOptions") if both else -1
    return net.op("FULLY_CONNECTED", [net.input((2, 6)), weights, bias], family="FullyConnectedOptions")


# shape, dimensions inside the pieces, those that pieces do not have, those that places are along, dimension of the parts of
# a place, sizes of the pieces, places, shape of the result
@variants(
    ((5, 6, 4), [1, 2], [0], [0], 1, [1, 6, 4], [[3], [0]], (2, 6, 4)), ((5, 6, 4), [1], [0, 1], [1, 0], 0, [1, 1, 4], [[2, 5, 0], [4, 1, 3]], (3, 4)),
    ((5, 6), [1, 2], [], [0, 1], 1, [2, 3], [[1, 2], [9, -4]], (2, 2, 3)), ((7,), [], [0], [0], 1, [1], [[4], [2], [2]], (3,)),
)
def pieces_that_are_taken(net, shape, inner, single, along, vector, sizes, places, result):
    options = {"offsetDims": inner, "collapsedSliceDims": single, "startIndexMap": along, "sliceSizes": sizes}
    options = {key: numpy.array(values, "int64") for key, values in options.items()}
    inputs = [net.input(shape), integer(net, places)]
    return net.op("STABLEHLO_GATHER", inputs, family="StablehloGatherOptions", indexVectorDim=vector, shape=result, **options)


# how pieces are joined with what is there, shape, dimensions inside the pieces, those that pieces do not have, those that
# places are along, dimension of the parts of a place, shape of the pieces, places
@variants(
    ("", (5, 6, 4), [1, 2], [0], [0], 1, (2, 6, 4), [[3], [0]]), ("ADD", (5, 6), [], [0, 1], [0, 1], 1, (3,), [[1, 2], [0, 0], [4, 5]]),
    ("MAXIMUM", (5, 6), [1], [0], [0], 1, (2, 6), [[4], [2]]), ("", (7,), [], [0], [0], 1, (3,), [[4], [9], [0]]),
)
def pieces_that_are_put(net, name, shape, inner, single, along, vector, updates, places):
    def join(inner):
        left, right = inner.input(()), inner.input(())
        return [inner.op(f"STABLEHLO_{name}", [left, right]) if name else right]

    options = {"updateWindowDims": inner, "insertedWindowDims": single, "scatterDimsToOperandDims": along}
    options = {key: numpy.array(values, "int64") for key, values in options.items()}
    operands = [net.input(shape), integer(net, places), net.input(updates)]
    return net.op("STABLEHLO_SCATTER", operands, family="StablehloScatterOptions", indexVectorDim=vector, updateComputationSubgraphIndex=net.nested(join), **options)


@case
def truth_of_another_dialect(net):
    both = [net.op("GREATER", [net.input((3, 4)), net.const(numpy.float32(limit))], "bool") for limit in (-1, 0)]
    return net.op("STABLEHLO_AND", both, "bool")


@case
def named_as_a_whole(net):
    """As PyTorch's layers come from their converter."""

    def parts(inner):
        left, right = inner.input((2, 4)), inner.input((2, 4))
        return [inner.op("TANH", [inner.op("ADD", [left, right], family="AddOptions")]), left]

    options = {"name": "odml.some_layer", "decompositionSubgraphIndex": net.nested(parts)}
    options["compositeAttributes"] = numpy.frombuffer(flexbuffers.Dumps({}), numpy.uint8)
    given = [net.input((2, 4)), net.input((2, 4))]
    return net.op("STABLEHLO_COMPOSITE", given, count=2, family="StableHLOCompositeOptions", **options)


@case
def shared_weights(net):
    """Layers with the same weights, as those that look at several scales."""
    weights, bias = net.weights(6, 3, 3, 5), net.weights(6)
    pictures = [net.input(PICTURE), net.input((1, 4, 3, 5))]
    return [net.op("CONV_2D", [picture, weights, bias], family="Conv2DOptions", padding=SAME, strideW=1, strideH=1) for picture in pictures]


def main():
    folder, models = pathlib.Path(sys.argv[1]), [pathlib.Path(model) for model in sys.argv[2:]]
    described = {}
    for model in models:
        numpy.savez(folder / f"{model.stem}.npz", **run(model.read_bytes()))
        described[model.stem] = 1e-4
    for name, function in [] if models else CASES:
        net = Net()
        net.save(folder, name, function(net))
        # Integers round between the layers; the translation does not.
        described[name] = 0.1 if name.startswith("quantized") else 1e-4
    (folder / "cases.json").write_text(json.dumps(described))


if __name__ == "__main__":
    main()
