"""Runs one network on calibration samples and writes its outputs, or what scripts make of them, for other networks to
be calibrated with.

Speaks JSON lines: one request on standard input, one event a line on standard output. A request without a network only
reads its scripts, so that a wrong one is found before anything is converted.
"""

import json
import os
import sys
import traceback

from networks import Device, Onnx, Refused, cpu_version, inputs_of, tell, threads

import numpy

# What runs a network, and what events call that network.
RUNTIMES = {"onnx": (Onnx, "original"), "device": (Device, "imported")}


class ScriptFailed(Exception):
    """A script that cannot be used; why was told."""


def fail(path, message):
    tell("script-failed", script=path, message=message[:2000])
    raise ScriptFailed()


def reason(error, path):
    """Returns what went wrong in a script, in one line, with the last of the script's own lines."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines = [error.lineno]
    place = " (line %s)" % lines[-1] if lines else ""
    return "%s: %s%s" % (type(error).__name__, getattr(error, "msg", None) or error, place)


def function_of(path):
    """Runs a script and returns its `run_script`."""
    names = {"__name__": "script", "__file__": path}
    try:
        with open(path, "rb") as file:
            exec(compile(file.read(), path, "exec"), names)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        fail(path, reason(error, path))
    function = names.get("run_script")
    if not callable(function):
        fail(path, "it defines no function `run_script`")
    return function


def called(function, path, outputs):
    """Returns what a script makes of the outputs for one sample; it may do with them what it wants."""
    try:
        result = function({name: numpy.array(output) for name, output in outputs.items()})
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        fail(path, reason(error, path))
    if result is None:
        fail(path, "`run_script` returns nothing")
    result = numpy.asarray(result)
    if result.dtype.kind not in "fiub":
        fail(path, "`run_script` returns %s, which is no array of numbers" % result.dtype)
    return result


def main():
    request = json.loads(sys.stdin.readline())
    functions = {path: function_of(path) for path in request.get("scripts", [])}
    if "run" not in request:
        return
    # Every input but constants has a sample, so nothing is drawn.
    run = dict(request["run"], seed=0, samples=0)
    outputs = run["outputs"]
    kind, name = RUNTIMES[run["runtime"]]
    if kind is Device and not cpu_version():
        return
    network = kind(name, run["network"], threads())
    for sample in range(len(run["recorded"])):
        original, others = inputs_of(run, sample)
        found = network.run(original if kind is Onnx else others, outputs)
        for output in outputs:
            if output not in found:
                tell("missing", network=name, output=output)
                return
        number = run["first"] + sample
        for wanted in run["results"]:
            content = wanted["content"]
            script = content.get("script")
            result = called(functions[script], script, found) if script else found[content["output"]]
            path = os.path.join(wanted["folder"], "%06d.npy" % number)
            numpy.save(path, numpy.ascontiguousarray(result), allow_pickle=False)
        tell("recorded", sample=number)


try:
    main()
except (Refused, ScriptFailed):
    pass
# What scripts print.
sys.stdout.flush()
sys.stderr.flush()
# The vendor's library takes its time to unload.
os._exit(0)
