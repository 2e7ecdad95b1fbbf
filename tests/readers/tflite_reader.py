"""Computes translations of TFLite models with ONNX Runtime and compares them with what Google's interpreter computed.

usage: tflite_reader.py FOLDER, as tflite_writer.py made it, with NAME.stored.onnx and NAME.first.onnx for each case

Prints the largest relative error of each file as JSON. Pictures of `first` have channels before height and width.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime


def run(path, inputs):
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    fed = {}
    for described, value in zip(session.get_inputs(), inputs, strict=True):
        if path.name.endswith(".first.onnx") and value.ndim == 4:
            value = value.transpose(0, 3, 1, 2)
        fed[described.name] = value if described.type != "tensor(float)" else value.astype("float32")
        assert list(value.shape) == described.shape, (path, value.shape, described.shape)
    return session.run(None, fed)


def listed(values, prefix):
    return [values[f"{prefix}{index}"] for index in range(sum(name.startswith(prefix) for name in values))]


def main():
    folder = pathlib.Path(sys.argv[1])
    errors = {}
    for path in sorted(folder.glob("*.onnx")):
        values = numpy.load(folder / f"{path.name.split('.')[0]}.npz")
        try:
            found = run(path, listed(values, "in"))
        except Exception as error:
            errors[path.stem] = str(error)
            continue
        worst = 0.0
        for result, expected in zip(found, listed(values, "out"), strict=True):
            assert result.shape == expected.shape, (path, result.shape, expected.shape)
            assert result.dtype == expected.dtype, (path, result.dtype, expected.dtype)
            # Equal infinities do not differ, and they are no measure of the rest.
            size = max(1.0, float(numpy.abs(expected[numpy.isfinite(expected)].astype("float64")).max(initial=0)))
            others = result != expected
            difference = numpy.abs(result[others].astype("float64") - expected[others].astype("float64"))
            worst = numpy.maximum(worst, difference.max(initial=0) / size)
        # What is no number is no error that is small enough.
        errors[path.stem] = float(worst) if numpy.isfinite(worst) else str(worst)
    print(json.dumps(errors))


main()
