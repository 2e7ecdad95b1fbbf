"""Compiles one network to MyriadX blobs, one for each requested number of shaves, without a device.

Started by the converter with a clock that runs faster (see toolchain.toml): the vendor's plugin searches for a device
until five seconds have passed on the clock, and finds none here. Nothing below may depend on the clock.

Speaks JSON lines: one request on standard input, one event a line on standard output. Whatever the vendor's libraries
print goes to standard error.

The network is read once. Each number of shaves is compiled in a child that is forked after that, because the vendor's
call holds the interpreter's lock. The call itself ends in an error (no device to create an infer request on), but by
then the core has exported the compiled network to its cache folder; that file, without its first line, is the blob.
"""

import ctypes
import json
import os
import shutil
import signal
import sys

# Standard output belongs to events alone: libraries that print get standard error instead.
EVENTS = os.dup(1)
os.dup2(2, 1)
os.set_inheritable(EVENTS, False)

# The error that the plugin raises after the export; any other error means that nothing was compiled.
NO_DEVICE = "there is no available devices"
FLOATS = ("FP16", "FP32")
COMPILE_ERROR, READ_ERROR = 3, 4


def tell(event, **fields):
    # One write of a short line to a pipe is atomic, so lines of children never mix. Longer lines are cut at their text.
    line = json.dumps(dict(fields, event=event), ensure_ascii=True)
    if len(line) > 4000 and "message" in fields:
        line = json.dumps(dict(fields, event=event, message=fields["message"][:500]), ensure_ascii=True)
    os.write(EVENTS, (line + "\n").encode("ascii"))


def read_network(request):
    from openvino.inference_engine import IECore, get_version

    core = IECore()
    tell("version", inference_engine=get_version())
    network = core.read_network(request["network"])
    shapes = request.get("shapes") or {}
    if shapes:
        network.reshape(shapes)
    return core, network


def apply_precisions(network, request):
    """Does what compile_tool does: floating-point ends become FP16, then -ip and -op, then -iop and -iol by name."""
    inputs, outputs = network.input_info, network.outputs
    for end in list(inputs.values()) + list(outputs.values()):
        if end.precision in FLOATS:
            end.precision = "FP16"
    for end in inputs.values():
        if request.get("input_precision"):
            end.precision = request["input_precision"]
    for end in outputs.values():
        if request.get("output_precision"):
            end.precision = request["output_precision"]
    for ends, key in ((inputs, "input_layout"), (outputs, "output_layout")):
        layout = request.get(key)
        for end in ends.values():
            if layout and len(shape_of(end)) == len(layout):
                end.layout = layout
    for attribute in ("precision", "layout"):
        for name, value in (request.get(attribute + "s") or {}).items():
            end = inputs.get(name) or outputs.get(name)
            if end is None:
                raise ValueError("the network has no input or output `%s`" % name)
            setattr(end, attribute, value)


def shape_of(end):
    return list(end.input_data.shape if hasattr(end, "input_data") else end.shape)


def described(ends):
    return [
        {"name": name, "shape": shape_of(end), "precision": end.precision, "layout": end.layout}
        for name, end in sorted(ends.items())
    ]


def compile_one(core, network, request, shaves):
    folder = os.path.join(request["scratch"], "%02d" % shaves)
    os.makedirs(folder)
    core.set_config({"CACHE_DIR": folder}, "")
    config = {key: value.replace("{shaves}", str(shaves)) for key, value in request["config"].items()}
    message = ""
    try:
        core.load_network(network, "MYRIAD", config)
    except Exception as error:
        message = str(error)
    exported = os.listdir(folder)
    if len(exported) != 1 or not (message == "" or NO_DEVICE in message):
        tell("failed", shaves=shaves, message=message or "the plugin exported %d files" % len(exported))
        return COMPILE_ERROR
    path = request["blob"].replace("{shaves}", str(shaves))
    source_path = os.path.join(folder, exported[0])
    with open(source_path, "rb") as source:
        if not source.readline(65536).startswith(b"<?xml"):
            tell("failed", shaves=shaves, message="the exported file does not begin with the expected line")
            return COMPILE_ERROR
        with open(path + ".part", "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    os.rename(path + ".part", path)
    os.unlink(source_path)
    return 0


def compile_all(core, network, request):
    # What the C library still holds would be printed by every child again.
    ctypes.CDLL(None).fflush(None)
    workers = int(os.environ.get("MODELCONVERTER_WORKERS", "1"))
    waiting, running = list(request["shaves"]), {}
    while waiting or running:
        while waiting and len(running) < workers:
            shaves = waiting.pop(0)
            child = os.fork()
            if child == 0:
                status = COMPILE_ERROR
                try:
                    status = compile_one(core, network, request, shaves)
                except BaseException as error:
                    tell("failed", shaves=shaves, message=repr(error))
                finally:
                    # Destructors of the vendor's libraries look for devices again; the blob is written, so leave.
                    os._exit(status)
            running[child] = shaves
        child, status, usage = os.wait4(-1, 0)
        shaves = running.pop(child)
        if status == 0:
            path = request["blob"].replace("{shaves}", str(shaves))
            tell("compiled", shaves=shaves, path=path, peak_memory=usage.ru_maxrss * 1024)
            continue
        if os.WIFSIGNALED(status):
            tell("killed", shaves=shaves, signal=os.WTERMSIG(status))
        elif os.WEXITSTATUS(status) != COMPILE_ERROR:
            tell("failed", shaves=shaves, message="the compile process ended with status %d" % os.WEXITSTATUS(status))
        for other in running:
            os.kill(other, signal.SIGKILL)
        return COMPILE_ERROR
    return 0


def main():
    request = json.loads(sys.stdin.readline())
    try:
        core, network = read_network(request)
        if request.get("serialize"):
            network.serialize(request["serialize"] + ".xml", request["serialize"] + ".bin")
        apply_precisions(network, request)
        tell("network", name=network.name, inputs=described(network.input_info), outputs=described(network.outputs))
    except Exception as error:
        tell("unreadable", message=str(error))
        return READ_ERROR
    return compile_all(core, network, request)


STATUS = main()
sys.stderr.flush()
os._exit(STATUS)
