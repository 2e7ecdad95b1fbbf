"""Quantizes a network with ONNX Runtime's own quantizer, to quantized operators.

Calibrates with inputs drawn from a seeded generator.

usage: quantizer.py NETWORK RESULT
"""

import sys

import numpy
import onnxruntime
from onnxruntime import quantization


class Drawn(quantization.CalibrationDataReader):
    def __init__(self, path):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        random = numpy.random.default_rng(3)
        inputs = session.get_inputs()
        drawn = lambda: {it.name: random.standard_normal(it.shape).astype(numpy.float32) for it in inputs}
        self.samples = iter([drawn() for _ in range(8)])

    def get_next(self):
        return next(self.samples, None)


def main():
    source, result = sys.argv[1:]
    quantization.quantize_static(
        source,
        result,
        Drawn(source),
        quant_format=quantization.QuantFormat.QOperator,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


main()
