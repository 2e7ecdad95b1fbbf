"""Unpacks a superblob with bsdiff4: sixteen blobs from one base and patches, by number of shaves.

usage: superblob_reader.py FILE FOLDER
"""

import pathlib
import struct
import sys

import bsdiff4


def main():
    content = pathlib.Path(sys.argv[1]).read_bytes()
    folder = pathlib.Path(sys.argv[2])
    base_size, *sizes = struct.unpack(">17Q", content[:136])
    base, rest = content[136 : 136 + base_size], content[136 + base_size :]
    for shaves, size in enumerate(sizes, 1):
        patch, rest = rest[:size], rest[size:]
        blob = bsdiff4.patch(base, patch) if size else base
        (folder / f"{shaves}.blob").write_bytes(blob)
    assert not rest, f"{len(rest)} bytes follow the last patch"


main()
