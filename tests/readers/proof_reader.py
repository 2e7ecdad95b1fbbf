"""How far apart the outputs of two ONNX models are, as ONNX Runtime and NumPy say it, on the inputs that a request for
the prover describes. Written from the description of the figures alone.

usage: proof_reader.py FOLDER < REQUEST, where the models of the request lie in FOLDER
"""

import json
import os
import sys

import numpy
import onnxruntime


def drawn(wanted, request, sample, index):
    random = numpy.random.RandomState([request["seed"], sample, index])
    values, shape = wanted["values"], wanted["shape"]
    if values["kind"] == "normal":
        return random.standard_normal(shape)
    low, high = values["low"], values["high"]
    if sample % 2 == 1 and values["patches"]:
        rows, columns = values["patches"]
        grid = list(shape)
        grid[rows], grid[columns] = -(-grid[rows] // 16), -(-grid[columns] // 16)
        patches = random.randint(low, high + 1, grid)
        place = numpy.indices(shape)
        place[rows] //= 16
        place[columns] //= 16
        return patches[tuple(place)].astype(float)
    return random.randint(low, high + 1, shape).astype(float)


def fed(wanted, request, sample, index):
    drawn_sets = request["samples"]
    recorded = request["recorded"][sample - drawn_sets] if sample >= drawn_sets else {}
    if wanted["name"] not in recorded:
        return drawn(wanted, request, sample, index)
    found = numpy.load(os.path.join(sys.argv[1], os.path.basename(recorded[wanted["name"]]))).astype(float)
    return numpy.moveaxis(found, wanted["axes"], range(found.ndim))


def preprocessed(picture, steps):
    if not steps:
        return picture
    moved = numpy.moveaxis(picture, steps["channels"], -1)
    if steps["reverse"]:
        moved = moved[..., ::-1]
    moved = (moved - (steps["mean"] or 0.0)) / (steps["scale"] or 1.0)
    return numpy.moveaxis(moved, -1, steps["channels"])


def main():
    request = json.loads(sys.stdin.readline())
    path = lambda key: os.path.join(sys.argv[1], os.path.basename(request[key]))
    original, other = onnxruntime.InferenceSession(path("original")), onnxruntime.InferenceSession(path("rewritten"))
    worst = {}
    for sample in range(request["samples"] + len(request["recorded"])):
        raw = {wanted["name"]: fed(wanted, request, sample, index) for index, wanted in enumerate(request["inputs"])}
        ready = {
            wanted["name"]: preprocessed(raw[wanted["name"]], wanted.get("preprocessing")).astype("float32")
            for wanted in request["inputs"]
        }
        raw = {name: numbers.astype("float32") for name, numbers in raw.items()}
        for name in request["outputs"]:
            expected = original.run([name], ready)[0].astype("float64").ravel()
            found = other.run([name], raw)[0].astype("float64").ravel()
            figures = worst.setdefault(name, {"absolute": 0.0, "relative": 0.0, "cosine": 1.0, "differing": 0})
            figures["differing"] += int((expected != found).sum())
            expected, found = expected[numpy.isfinite(expected)], found[numpy.isfinite(expected)]
            largest = numpy.abs(expected).max()
            error = numpy.abs(expected - found)
            figures["absolute"] = max(figures["absolute"], error.max())
            figures["relative"] = max(figures["relative"], (error / numpy.maximum(numpy.abs(expected), largest / 100)).max())
            cosine = expected @ found / (numpy.linalg.norm(expected) * numpy.linalg.norm(found))
            figures["cosine"] = min(figures["cosine"], cosine)
            figures["largest"] = max(figures.get("largest", 0.0), largest)
    print(json.dumps(worst))


main()
