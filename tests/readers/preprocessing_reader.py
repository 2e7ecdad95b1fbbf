"""Computes a network and the one that modelconverter made of it with ONNX Runtime, on inputs as a camera sends them.

The network that was made has reversal, mean and scale in itself; for the original they are done here, as the README says
it: channels are reversed first, then the mean is subtracted, then the scale divides.

usage: preprocessing_reader.py ORIGINAL MADE STEPS, where STEPS is JSON with input, shape, reverse, mean and scale
"""

import json
import sys

import numpy
import onnxruntime


def run(path, inputs):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs), session.get_inputs()


def preprocessed(image, steps):
    if steps["reverse"]:
        image = image[:, ::-1]
    shape = (1, -1, 1, 1)
    mean = numpy.array(steps["mean"], numpy.float64).reshape(shape)
    scale = numpy.array(steps["scale"], numpy.float64).reshape(shape)
    return ((image.astype(numpy.float64) - mean) / scale).astype(numpy.float32)


def main():
    original, made, steps = sys.argv[1:]
    steps = json.loads(steps)
    random = numpy.random.default_rng(7)
    image = random.integers(0, 256, steps["shape"]).astype(numpy.float32)
    (expected, *_), _ = run(original, {steps["input"]: preprocessed(image, steps)})
    (found, *_), _ = run(made, {steps["input"]: image})
    (without, *_), _ = run(original, {steps["input"]: image})
    facts = {
        "error": float(numpy.abs(expected - found).max()),
        "size": float(numpy.abs(expected).max()),
        "effect": float(numpy.abs(expected - without).max()),
    }
    print(json.dumps(facts))


main()
