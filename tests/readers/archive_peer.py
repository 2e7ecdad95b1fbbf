"""Makes and reads NN Archives with the library that defines them (luxonis_ml) and Python's tarfile.

usage: archive_peer.py make FOLDER NAME COMPRESSION FILE...   FOLDER has config.json; prints the archive's path
       archive_peer.py read FILE                              prints members and the checked configuration as JSON
       archive_peer.py frames                                 prints the names of DepthAI's frame types
"""

import json
import pathlib
import sys
import tarfile


def make(folder, name, compression, *files):
    from luxonis_ml.nn_archive import ArchiveGenerator

    config = json.loads(pathlib.Path(folder, "config.json").read_text())
    paths = [str(pathlib.Path(folder, file)) for file in files]
    generator = ArchiveGenerator(name, folder, config, paths, compression)
    return str(generator.make_archive())


def read(path):
    from luxonis_ml.nn_archive.config import Config

    with tarfile.open(path) as archive:
        members = [
            {
                "name": member.name,
                "size": member.size,
                "mode": member.mode,
                "mtime": member.mtime,
                "owner": [member.uid, member.gid, member.uname, member.gname],
                "file": member.isfile(),
            }
            for member in archive.getmembers()
        ]
        config = archive.extractfile("config.json").read()
        build_info = archive.extractfile("buildinfo.json") if "buildinfo.json" in archive.getnames() else None
        build_info = json.load(build_info) if build_info else None
    # Refuses what breaks the schema.
    checked = Config(**json.loads(config))
    return {
        "members": members,
        "config": json.loads(config),
        "text": config.decode(),
        "checked": json.loads(checked.model_dump_json()),
        "build_info": build_info,
    }


def frames():
    import depthai

    return list(depthai.ImgFrame.Type.__members__)


def main():
    command, *words = sys.argv[1:]
    # The libraries may say something too: the result is the last line.
    print(json.dumps({"make": make, "read": read, "frames": frames}[command](*words)))


main()
