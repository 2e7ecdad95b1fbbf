"""Runs one network in several forms on the same inputs and tells how far apart their outputs are.

The original network, as ONNX Runtime runs it, is the measure. Compared with it are the network after the converter's
rewriting, in ONNX Runtime too, and the network as the vendor's library imports it, on the vendor's CPU device in single
precision. What a difference means is judged by whoever asks.

Speaks JSON lines: one request on standard input, one event a line on standard output. The networks are run one after the
other, so that only one is in memory at a time.
"""

import json
import os
import sys

from networks import Device, Onnx, Refused, cpu_version, inputs_of, tell, threads

import numpy

# The compile beside this process is what people wait for.
os.nice(10)

# Relative errors are taken of at least this part of the largest value of an output: what is smaller is noise beside it.
FLOOR = 0.01
# Elements compared at once, which bounds the memory for their copies in double precision.
CHUNK = 1 << 20
# Half floats, in which devices compute, have no larger numbers.
HIGHEST = 65504.0


class Distance:
    """How far an output is from the original's, at worst, for one set of inputs."""

    def __init__(self, output, sample):
        self.output, self.set = output, sample
        self.elements = self.differing = 0
        self.absolute = self.largest = 0.0
        self.relative = self.cosine = None

    def add(self, expected, found):
        expected, found = expected.reshape(-1), found.reshape(-1)
        self.elements += expected.size
        size = max([0.0] + [largest(first[numpy.isfinite(first)]) for first, _ in chunks(expected, found)])
        self.largest = max(self.largest, size)
        if expected.dtype.kind == "f":
            self.add_floats(expected, found, size)
            return
        for first, second in chunks(expected, found):
            self.differing += int(numpy.count_nonzero(first != second))
            self.absolute = max(self.absolute, largest(first - second))

    def add_floats(self, expected, found, size):
        product = of_expected = of_found = worst = 0.0
        for first, second in chunks(expected, found):
            finite = numpy.isfinite(first) & numpy.isfinite(second)
            alike = (first == second) | (numpy.isnan(first) & numpy.isnan(second))
            self.differing += int(numpy.count_nonzero(~finite & ~alike))
            first, second = first[finite], second[finite]
            error = numpy.abs(first - second)
            self.absolute = max(self.absolute, largest(error))
            if size > 0.0:
                worst = max(worst, largest(error / numpy.maximum(numpy.abs(first), FLOOR * size)))
                # In units of the largest value nothing overflows when it is squared.
                first, second = first / size, second / size
                product += float(numpy.dot(first, second))
                of_expected += float(numpy.dot(first, first))
                of_found += float(numpy.dot(second, second))
        if size == 0.0:
            # Nothing but zeros has neither direction nor size: the absolute error alone speaks.
            return
        norms = (of_expected * of_found) ** 0.5
        cosine = min(1.0, product / norms) if 0.0 < norms < float("inf") else 0.0
        self.cosine = cosine if self.cosine is None else min(self.cosine, cosine)
        self.relative = worst if self.relative is None else max(self.relative, worst)


def chunks(expected, found):
    for start in range(0, expected.size, CHUNK):
        part = slice(start, start + CHUNK)
        yield expected[part].astype("float64"), found[part].astype("float64")


def largest(numbers):
    # JSON has no word for infinite.
    return min(float(numpy.abs(numbers).max()), sys.float_info.max) if numbers.size else 0.0


def alike_in_shape(expected, found, exactly):
    if exactly:
        return expected.shape == found.shape
    # The vendor's library adds and drops dimensions of one.
    return [size for size in expected.shape if size != 1] == [size for size in found.shape if size != 1]


def numbers(results, quantized):
    """Returns results in which integers of a quantization are the numbers for which they stand."""

    def number(integers, steps):
        return (integers.astype("float64") - steps["zero"]) * steps["scale"]

    return {name: number(it, quantized[name]) if name in quantized else it for name, it in results.items()}


def compare(network, truth, results, exactly):
    for name in truth[0]:
        for sample, (expected, outputs) in enumerate(zip(truth, results)):
            found = outputs.get(name)
            if found is None:
                tell("missing", network=network, output=name)
                break
            if not alike_in_shape(expected[name], found, exactly):
                shapes = {"expected": list(expected[name].shape), "found": list(found.shape)}
                tell("misshapen", network=network, output=name, **shapes)
                break
            # Each set by itself: the error of one says nothing about the direction of another.
            distance = Distance(name, sample)
            distance.add(expected[name], found)
            tell("compared", network=network, distance=vars(distance))


def compare_with_itself(network, request, fed):
    """Tells how far the original is from itself when the last bits of what it is fed change."""
    loaded = Onnx(network, request[network], threads())
    quantized = request.get("quantized", {})
    for sample, (inputs, _) in enumerate(fed):
        expected = numbers(loaded.run(inputs, request["outputs"]), quantized)
        distances = {name: Distance(name, sample) for name in expected}
        for shake in range(request["shaken"]):
            found = loaded.run(inputs, request["outputs"], shaken=[request["seed"], sample, shake])
            found = numbers(found, quantized)
            for name, distance in distances.items():
                distance.add(expected[name], found[name])
        for distance in distances.values():
            tell("compared", network=network, distance=vars(distance))


def main():
    request = json.loads(sys.stdin.readline())
    outputs = request["outputs"]
    count = request["samples"] + len(request.get("recorded", []))
    if request.get("shaken"):
        fed = (inputs_of(request, sample) for sample in range(count))
        try:
            compare_with_itself("original", request, fed)
        except Refused:
            pass
        return
    compared = [("rewritten", Onnx), ("imported", Device)]
    if request.get("imported") and not cpu_version():
        compared.pop()
    compared = [(network, kind) for network, kind in compared if request.get(network)]
    if not compared:
        return

    def run(network, kind):
        # The same with outputs for peaks, which is gone when a request is asked again.
        watched = request.get("watched", "") if network == "rewritten" else ""
        is_watched = os.path.exists(watched)
        loaded = kind(network, watched if is_watched else request[network], threads())
        peaks = [name for name in loaded.outputs() if name not in outputs] if is_watched else []
        highest = {}
        results = []
        # Made anew for each network rather than kept: there may be many, and they are quickly made.
        for original, others in (inputs_of(request, sample) for sample in range(count)):
            found = loaded.run(original if network == "original" else others, outputs + peaks)
            for name in peaks:
                # What is no number is no peak.
                peak = float(found.pop(name))
                if peak > max(highest.get(name, 0.0), HIGHEST):
                    highest[name] = min(peak, sys.float_info.max)
            results.append(numbers(found, request.get("quantized", {})))
        if highest:
            tell("peaks", values=highest)
        return results

    try:
        truth = run("original", Onnx)
    except Refused:
        return
    for name in outputs:
        if name not in truth[0]:
            tell("missing", network="original", output=name)
    for network, kind in compared:
        try:
            results = run(network, kind)
        except Refused:
            continue
        compare(network, truth, results, exactly=kind is Onnx)


main()
sys.stderr.flush()
# The vendor's library takes its time to unload.
os._exit(0)
