"""Reads what modelconverter writes with DepthAI, and prints what it saw as JSON.

usage: depthai_reader.py blob|superblob|nn_archive FILE
"""

import json
import sys

import depthai as dai


def tensors(described):
    return {
        name: {"type": str(info.dataType).rsplit(".", 1)[-1], "dims": list(info.dims)} for name, info in described.items()
    }


def blob_facts(blob):
    return {
        "version": str(blob.version).rsplit(".", 1)[-1],
        "shaves": blob.numShaves,
        "slices": blob.numSlices,
        "stages": blob.stageCount,
        "size": len(blob.data),
        "inputs": tensors(blob.networkInputs),
        "outputs": tensors(blob.networkOutputs),
    }


def superblob_facts(superblob):
    return {str(count): blob_facts(superblob.getBlobWithNumShaves(count)) for count in range(1, 17)}


def archive_facts(path):
    archive = dai.NNArchive(path)
    config = archive.getConfigV1()
    facts = {
        "name": config.model.metadata.name,
        "path": config.model.metadata.path,
        "inputs": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "layout": tensor.layout,
                "type": str(tensor.inputType).rsplit(".", 1)[-1],
                "dtype": str(tensor.dtype).rsplit(".", 1)[-1],
                "dai_type": tensor.preprocessing.daiType,
                "reverse_channels": tensor.preprocessing.reverseChannels,
                "mean": tensor.preprocessing.mean,
                "scale": tensor.preprocessing.scale,
            }
            for tensor in config.model.inputs
        ],
        "precision": str(config.model.metadata.precision).rsplit(".", 1)[-1],
        "kind": str(archive.getModelType()).rsplit(".", 1)[-1],
        "heads": [
            {
                "parser": head.parser,
                "outputs": head.outputs,
                "conf_threshold": head.metadata.confThreshold,
                "classes": head.metadata.classes,
                "postprocessor_path": head.metadata.postprocessorPath,
                "extra": head.metadata.extraParams,
            }
            for head in config.model.heads or []
        ],
        "outputs": [{"name": tensor.name, "shape": tensor.shape, "layout": tensor.layout} for tensor in config.model.outputs],
    }
    if archive.getModelType() == dai.ModelType.SUPERBLOB:
        facts["superblob"] = superblob_facts(archive.getSuperBlob())
    elif archive.getModelType() == dai.ModelType.BLOB:
        facts["blob"] = blob_facts(archive.getBlob())
    return facts


def main():
    kind, path = sys.argv[1:]
    if kind == "blob":
        facts = blob_facts(dai.OpenVINO.Blob(path))
    elif kind == "superblob":
        facts = superblob_facts(dai.OpenVINO.SuperBlob(path))
    else:
        facts = archive_facts(path)
    # DepthAI logs to standard output too: the result is the last line.
    print(json.dumps(facts, sort_keys=True))


main()
