//! Files that people hand over by mistake, known by how they begin.

/// Offset, bytes, what the file is.
const BEGINNINGS: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"\xfd7zXZ", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\x7fELF", "an ELF file, such as a compiled blob"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, POINTER, "a Git LFS pointer; the file itself was not downloaded"),
    (0, b"<?xml", "an XML file"),
    (0, b"<net", "an OpenVINO IR"),
    (0, b"<!DOCTYPE", "an HTML page"),
    (0, b"<!doctype", "an HTML page"),
    (0, b"<html", "an HTML page"),
    (0, b"\x80\x02", "a Python pickle"),
    (4, b"TFL3", "a TFLite model"),
    (257, b"ustar", "a tar archive"),
];

/// How the pointers begin that Git LFS leaves in place of large files.
const POINTER: &[u8] = b"version https://git-lfs";

/// Returns what a file is that begins with `start`, with its article, if that is known.
pub fn foreign(start: &[u8]) -> Option<&'static str> {
    let begins = |(offset, magic): (usize, &[u8])| start.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    BEGINNINGS.iter().find(|(offset, magic, _)| begins((*offset, magic))).map(|(.., what)| *what)
}

/// Returns what to do about a file that is something else, as [`foreign`] says.
pub fn foreign_hint(what: &str) -> Option<String> {
    what.contains("Git LFS").then(|| "run `git lfs pull` where the file is from".to_owned())
}
