"""Runs pairs of networks with ONNX Runtime on the same inputs and tells how far their outputs are apart.

Inputs are drawn from a seeded generator, in the type and shape that the first network of a pair states; named sizes are
taken from the pair. The graph optimisations of ONNX Runtime are off, so that each network is run as it is.

usage: pairs_reader.py PAIRS, where PAIRS is a file of JSON: a list of {before, after, sizes, integers}; prints a list of
{error, size, outputs, same_shapes} in the same order; {unjudged} where already the first network is beyond ONNX Runtime or
NumPy, {failure} where only the second is.
"""

import json
import sys

import numpy
import onnx
import onnxruntime

TYPES = {
    "tensor(float)": numpy.float32,
    "tensor(double)": numpy.float64,
    "tensor(float16)": numpy.float16,
    "tensor(int64)": numpy.int64,
    "tensor(int32)": numpy.int32,
    "tensor(int8)": numpy.int8,
    "tensor(uint8)": numpy.uint8,
    "tensor(bool)": numpy.bool_,
}


# Where products have weights and their zero point.
WEIGHTS = {
    "ConvInteger": [(1, 3)],
    "DynamicQuantizeLSTM": [(1, 9), (2, 11)],
    "DynamicQuantizeMatMul": [(1, 3)],
    "MatMulInteger": [(1, 3)],
    "MatMulIntegerToFloat": [(1, 5)],
    "QAttention": [(1, 7)],
    "QGemm": [(3, 5)],
    "QLinearConv": [(3, 5)],
    "QLinearMatMul": [(3, 5)],
}


def exact(model):
    """Makes weights of bytes that have a sign ones that have none, and says whether there were any.

    On x86-64 processors without VNNI, ONNX Runtime adds products of bytes with and without a sign up in 16 bits, which do
    not hold them; those of bytes without signs it adds up in 32 bits.
    """
    signed = [it for it in model.graph.initializer if it.data_type == onnx.TensorProto.INT8]
    constants = {it.name: onnx.numpy_helper.to_array(it) for it in signed}
    changed = False
    for node in model.graph.node:
        for places in WEIGHTS.get(node.op_type, []):
            names = [node.input[place] if place < len(node.input) else "" for place in places]
            # One operand with a sign and the other one too is another matter.
            if names[0] not in constants or node.input[0] in constants:
                continue
            if names[1] not in constants:
                node.input.extend([""] * (places[1] + 1 - len(node.input)))
                directions = constants[names[0]].shape[:1] if node.op_type == "DynamicQuantizeLSTM" else ()
                constants[names[1]] = numpy.zeros(directions, numpy.int8)
            for place, name in zip(places, names):
                node.input[place] = "%s as in %s, %d" % (name, node.output[0], place)
                unsigned = (constants[name].astype(numpy.int16) + 128).astype(numpy.uint8)
                model.graph.initializer.append(onnx.numpy_helper.from_array(unsigned, node.input[place]))
            changed = True
    return changed


def is_inexact():
    with open("/proc/cpuinfo") as file:
        return "vnni" not in file.read()


def session(path):
    if is_inexact():
        model = onnx.load(path)
        if exact(model):
            onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def drawn(information, sizes, random):
    shape = [size if isinstance(size, int) else sizes[size] for size in information.shape]
    kind = TYPES[information.type]
    if kind == numpy.bool_:
        return random.integers(0, 2, shape).astype(kind)
    if numpy.issubdtype(kind, numpy.integer):
        return random.integers(0, 4, shape).astype(kind)
    return random.standard_normal(shape).astype(kind)


def compare(pair):
    random = numpy.random.default_rng(7)
    try:
        before = session(pair["before"])
        inputs = {it.name: drawn(it, pair["sizes"], random) for it in before.get_inputs()}
        expected = before.run(None, inputs)
        if not all(isinstance(it, numpy.ndarray) and it.dtype.kind in "biuf" for it in expected):
            return {"unjudged": "an output is no tensor of numbers"}
    except Exception as failure:
        return {"unjudged": str(failure)}
    onnx.checker.check_model(pair["after"])
    after = session(pair["after"])
    wanted = {it.name for it in after.get_inputs()}
    names = [it.name for it in before.get_outputs()]
    if names != [it.name for it in after.get_outputs()]:
        return {"failure": "the outputs have other names"}
    found = after.run(None, {name: value for name, value in inputs.items() if name in wanted})
    error, size, same = 0.0, 0.0, True
    for one, other in zip(expected, found):
        same = same and one.shape == other.shape and one.dtype == other.dtype
        if same and one.size:
            one, other = one.astype(numpy.float64), other.astype(numpy.float64)
            equal = (one == other) | (numpy.isnan(one) & numpy.isnan(other))
            difference = numpy.where(equal, 0.0, numpy.abs(one - other))
            error = max(error, float(numpy.nan_to_num(difference, nan=numpy.inf, posinf=numpy.inf).max()))
            size = max(size, float(numpy.nan_to_num(numpy.abs(one), posinf=0.0).max()))
    stated = [it.shape for it in after.get_outputs()]
    return {"error": error, "size": size, "outputs": stated, "same_shapes": same}


def attempt(pair):
    try:
        return compare(pair)
    except Exception as failure:
        return {"failure": str(failure)}


def main():
    with open(sys.argv[1]) as file:
        pairs = json.load(file)
    print(json.dumps([attempt(pair) for pair in pairs]))


main()
