"""Runs networks on given and drawn inputs: what the programs of this image that run networks share.

Importing it makes standard output a channel of events, one JSON object a line. Whatever the libraries print goes to
standard error.
"""

import json
import os

# Standard output belongs to events alone: libraries that print get standard error instead.
EVENTS = os.dup(1)
os.dup2(2, 1)
os.set_inheritable(EVENTS, False)

import numpy

# The size of a patch of one colour, in pixels: what convolutions and poolings see as more than noise.
PATCH = 16
TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
}


class Refused(Exception):
    """A network that cannot be run; why was told."""


def tell(event, **fields):
    line = json.dumps(dict(fields, event=event), ensure_ascii=True, allow_nan=False)
    os.write(EVENTS, (line + "\n").encode("ascii"))


def refuse(network, reason):
    kind = "Refused" if isinstance(reason, str) else type(reason).__name__
    tell("refused", network=network, kind=kind, message=str(reason)[:2000])
    raise Refused()


def drawn(wanted, seed, sample):
    """Returns what an input is fed before any preprocessing if no sample of it is given, in double precision."""
    shape, values = wanted["shape"], wanted["values"]
    generator = numpy.random.RandomState(seed)
    kind = values["kind"]
    if kind == "normal":
        return generator.standard_normal(shape)
    if kind == "uniform":
        return generator.uniform(values["low"], values["high"], shape)
    if kind == "constant":
        numbers = numpy.array(values["numbers"], "float64")
        whole = numbers.size == numpy.prod(shape, dtype="int64")
        return numpy.broadcast_to(numbers.reshape(shape) if whole else numbers, shape)
    low, high = values["low"], values["high"]
    if sample % 2 == 0 or not values["patches"]:
        return generator.randint(low, high + 1, shape).astype("float64")
    # Noise is what convolutions average away, so every other picture has patches of one colour.
    coarse = [-(-size // PATCH) if axis in values["patches"] else size for axis, size in enumerate(shape)]
    numbers = generator.randint(low, high + 1, coarse)
    for axis in values["patches"]:
        numbers = numbers.repeat(PATCH, axis)
    return numbers[tuple(slice(size) for size in shape)].astype("float64")


def read(wanted, path):
    """Returns a calibration sample with its axes where the network has them."""
    numbers = numpy.load(path)
    return numbers.transpose(wanted["axes"]) if "axes" in wanted else numbers


def preprocessed(numbers, steps):
    """Does to numbers what the converter promises to have put into the network, in its order."""
    along = [1] * numbers.ndim
    if steps["channels"] is not None:
        along[steps["channels"]] = -1

    def each(values):
        return numpy.array(values, "float64").reshape(along if len(values) > 1 else [1] * numbers.ndim)

    if steps["reverse"]:
        numbers = numpy.flip(numbers, steps["channels"])
    if steps["mean"]:
        numbers = numbers - each(steps["mean"])
    if steps["scale"]:
        numbers = numbers / each(steps["scale"])
    return numbers


def inputs_of(request, sample):
    """Returns what the original is fed, and what all others are."""
    original, others = {}, {}
    # First come all sets that are drawn, then those with calibration samples.
    behind = sample - request["samples"]
    given = request["recorded"][behind] if behind >= 0 else {}
    for index, wanted in enumerate(request["inputs"]):
        name, steps = wanted["name"], wanted.get("preprocessing")
        if name in given:
            numbers = read(wanted, given[name])
        else:
            numbers = drawn(wanted, [request["seed"], sample, index], sample)
        original[name] = preprocessed(numbers, steps) if steps else numbers
        others[name] = original[name] if steps and steps["outside"] else numbers
    return original, others


def moved(numbers, seed):
    """Moves each floating number to one of its two neighbours."""
    ends = numpy.array([-numpy.inf, numpy.inf], numbers.dtype)
    return numpy.nextafter(numbers, ends[numpy.random.RandomState(seed).randint(0, 2, numbers.shape)])


class Onnx:
    """A network that ONNX Runtime runs."""

    def __init__(self, network, path, threads):
        import onnxruntime

        self.network = network
        tell("runtime", network=network, name="ONNX Runtime", version=onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # As it is: what its optimizer fuses is wrong now and then (a Pad with an AveragePool), or cannot be run then.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            refuse(network, error)

    def outputs(self):
        return [value.name for value in self.session.get_outputs()]

    def run(self, inputs, outputs, shaken=None):
        feeds = {}
        for value in self.session.get_inputs():
            if value.name not in inputs:
                refuse(self.network, "nothing is known to feed its input `%s`" % value.name)
            if value.type not in TYPES:
                refuse(self.network, "the type %s of its input `%s` is not known" % (value.type, value.name))
            numbers = numpy.ascontiguousarray(inputs[value.name], TYPES[value.type])
            feeds[value.name] = moved(numbers, shaken) if shaken and numbers.dtype.kind == "f" else numbers
        known = self.outputs()
        wanted = [name for name in outputs if name in known]
        try:
            results = dict(zip(wanted, self.session.run(wanted, feeds)))
        except Exception as error:
            refuse(self.network, error)
        for name, result in results.items():
            if not isinstance(result, numpy.ndarray) or result.dtype.kind not in "fiub":
                refuse(self.network, "the type of its output `%s` is not known: it is no tensor of numbers" % name)
        return results


def cpu_version():
    """Returns the version of the vendor's CPU device, or nothing if the toolchain has none."""
    try:
        from openvino.inference_engine import IECore

        return IECore().get_versions("CPU")["CPU"].build_number
    except Exception as error:
        tell("no-device", message=str(error)[:500])


class Device:
    """A network that the vendor's CPU device runs."""

    def __init__(self, network, path, threads):
        from openvino.inference_engine import IECore

        self.name = network
        core = IECore()
        tell("runtime", network=network, name="OpenVINO CPU", version=core.get_versions("CPU")["CPU"].build_number)
        try:
            self.network = core.read_network(path)
            for end in list(self.network.input_info.values()) + list(self.network.outputs.values()):
                end.precision = "FP32" if end.precision in ("FP16", "FP32", "FP64") else "I32"
            # Processors that can would use bfloat16, which is no measure.
            config = {"CPU_THREADS_NUM": str(threads), "CPU_BIND_THREAD": "NO", "ENFORCE_BF16": "NO"}
            self.executable = core.load_network(self.network, "CPU", config)
        except Exception as error:
            refuse(network, error)

    def run(self, inputs, outputs):
        feeds = {}
        for name, end in self.network.input_info.items():
            if name not in inputs:
                refuse(self.name, "nothing is known to feed its input `%s`" % name)
            kind = "float32" if end.precision == "FP32" else "int32"
            feeds[name] = numpy.ascontiguousarray(inputs[name], kind).reshape(end.input_data.shape)
        try:
            found = self.executable.infer(feeds)
        except Exception as error:
            refuse(self.name, error)
        return {name: found[own] for name, own in self.pairs(outputs) if own in found}

    def pairs(self, outputs):
        """Pairs the original's outputs with those of the network, which may be named after their nodes."""
        own = list(self.network.outputs)
        for name in outputs:
            if name in own:
                yield name, name
                continue
            try:
                yield name, self.network.get_ov_name_for_tensor(name)
            except Exception:
                yield name, own[0] if len(own) == len(outputs) == 1 else name


def threads():
    return int(os.environ.get("MODELCONVERTER_WORKERS", "1"))
