"""Computes with ONNX Runtime what a stage makes of calibration samples and compares it with files that were written.

usage: links_reader.py NETWORK SAMPLES MADE TASK, where SAMPLES is a folder of .npy files as a camera sends them, MADE a
folder of .npy files, and TASK JSON with input, mean, scale and mode: `output`, or `mean` over height and width
"""

import json
import pathlib
import sys

import numpy
import onnxruntime


def main():
    network, samples, made, task = sys.argv[1:]
    task = json.loads(task)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    given = sorted(pathlib.Path(samples).glob("*.npy"))
    found = sorted(pathlib.Path(made).glob("*.npy"))
    worst = size = 0.0
    for path, result in zip(given, found):
        image = (numpy.load(path).astype(numpy.float64) - task["mean"]) / task["scale"]
        (expected, *_) = session.run(None, {task["input"]: image.astype(numpy.float32)})
        if task["mode"] == "mean":
            expected = expected.mean(axis=(2, 3))
        written = numpy.load(result)
        assert written.shape == expected.shape, (written.shape, expected.shape)
        worst = max(worst, float(numpy.abs(written - expected).max()))
        size = max(size, float(numpy.abs(expected).max()))
    print(json.dumps({"files": [path.name for path in found], "error": worst, "size": size}))


main()
