//! A layer as a folder of files: read back as a list of nodes, and as the tar stream that the folder stands for.
//!
//! The stream follows from names, kinds, link targets, the owner's right to execute, contents, and which names share one
//! file; from nothing else that a file system keeps. Order is bytewise by whole path. Must not change the folder.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::digest::{DiffId, HashingWriter};
use crate::disk::{self, DiskError, File, Metadata};
use crate::hint::Hint;
use crate::image_path::{ImagePath, ImagePathError};
use crate::tarball::{FileMode, TarWriter};
use crate::units::ByteSize;

/// A folder that stands for no layer.
#[derive(Debug, Error)]
pub enum TreeError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A name that no image can have.
    #[error("{} has a name that no image can have", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with its name; nothing if it is no UTF-8.
        source: Option<ImagePathError>,
    },
    /// A device, socket or pipe.
    #[error("{} is no file, folder or link", path.display())]
    Special {
        /// What was found.
        path: PathBuf,
    },
    /// The stream cannot be written, or a file changed while it was read.
    #[error("cannot write the layer of {}", root.display())]
    Stream {
        /// The folder.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Hint for TreeError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints_in_store(),
            _ => Vec::new(),
        }
    }
}

/// What stands at a path of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Directory,
    /// A regular file, under its first name.
    File {
        /// Whether it may be executed.
        mode: FileMode,
        /// Its length.
        size: ByteSize,
    },
    /// A symbolic link.
    Symlink {
        /// What it says.
        target: String,
    },
    /// Another name of a file of the same layer.
    Hardlink {
        /// Whether the file may be executed.
        mode: FileMode,
        /// The file's first name.
        original: ImagePath,
    },
}

/// Lists everything below a folder in the order of the stream.
///
/// # Errors
/// The folder cannot be read or has something in it that no layer has.
pub fn nodes(root: &Path) -> Result<Vec<(ImagePath, Node)>, TreeError> {
    let mut found = collect(root)?;
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    // Only now is it known which name of a file is the first.
    let mut first_names = HashMap::new();
    let mut nodes = Vec::with_capacity(found.len());
    for (path, metadata) in found {
        let kind = metadata.file_type();
        let host = || root.join(path.as_str());
        let node = if kind.is_dir() {
            Node::Directory
        } else if kind.is_symlink() {
            let target = disk::read_link(&host())?.into_os_string().into_string();
            Node::Symlink { target: target.map_err(|_| TreeError::Name { path: host(), source: None })? }
        } else if kind.is_file() {
            let mode = FileMode::of(metadata.mode() & 0o100 != 0);
            let identity = (metadata.dev(), metadata.ino());
            match (metadata.nlink() > 1).then(|| first_names.insert(identity, path.clone())).flatten() {
                Some(original) => {
                    first_names.insert(identity, original.clone());
                    Node::Hardlink { mode, original }
                }
                None => Node::File { mode, size: ByteSize::new(metadata.len()) },
            }
        } else {
            return Err(TreeError::Special { path: host() });
        };
        nodes.push((path, node));
    }
    Ok(nodes)
}

/// Lists everything below a folder, in any order. Folders can nest two thousand deep, so they wait in a list.
fn collect(root: &Path) -> Result<Vec<(ImagePath, Metadata)>, TreeError> {
    let mut found = Vec::new();
    let mut folders: Vec<(PathBuf, Option<ImagePath>)> = vec![(root.to_owned(), None)];
    while let Some((folder, inside)) = folders.pop() {
        for host in disk::list(&folder)? {
            let unnamed = |source| TreeError::Name { path: host.clone(), source };
            let name = host.file_name().and_then(|name| name.to_str()).ok_or_else(|| unnamed(None))?;
            let path = match &inside {
                Some(inside) => inside.join(name),
                None => name.parse(),
            };
            let path = path.map_err(|error| unnamed(Some(error)))?;
            // It was listed a moment ago; whoever removed it since has broken the folder.
            let Some(metadata) = disk::metadata(&host)? else { return Err(TreeError::Special { path: host }) };
            if metadata.is_dir() {
                folders.push((host, Some(path.clone())));
            }
            found.push((path, metadata));
        }
    }
    Ok(found)
}

/// Writes the stream of a folder.
///
/// # Errors
/// The folder cannot be read, the writer fails, or a file changes meanwhile.
pub fn write_layer<W: Write>(root: &Path, to: W) -> Result<W, TreeError> {
    write_nodes(root, &nodes(root)?, to)
}

fn write_nodes<W: Write>(root: &Path, nodes: &[(ImagePath, Node)], to: W) -> Result<W, TreeError> {
    let failed = |source| TreeError::Stream { root: root.to_owned(), source };
    let mut tar = TarWriter::new(to);
    for (path, node) in nodes {
        match node {
            Node::Directory => tar.directory(path),
            Node::File { mode, size } => {
                let mut file = disk::open(&root.join(path.as_str()))?;
                tar.file(path, *mode, *size, &mut file)
            }
            Node::Symlink { target } => tar.symlink(path, target),
            Node::Hardlink { mode, original } => tar.hardlink(path, *mode, original),
        }
        .map_err(failed)?;
    }
    tar.finish().map_err(failed)
}

/// Returns the identity and the length of the stream of a folder.
///
/// # Errors
/// The folder cannot be read.
pub fn measure(root: &Path) -> Result<(DiffId, ByteSize), TreeError> {
    measure_nodes(root, &nodes(root)?)
}

/// Returns the identity and the length of the stream of a folder that has been listed.
///
/// # Errors
/// The folder cannot be read.
pub fn measure_nodes(root: &Path, nodes: &[(ImagePath, Node)]) -> Result<(DiffId, ByteSize), TreeError> {
    let (_, size, digest) = write_nodes(root, nodes, HashingWriter::new(io::sink()))?.finish();
    Ok((DiffId(digest), size))
}

/// Returns whether two files have the same bytes.
///
/// # Errors
/// One of them cannot be read.
pub fn equal_files(left: &Path, right: &Path) -> Result<bool, DiskError> {
    let (mut left_file, mut right_file) = (disk::open(left)?, disk::open(right)?);
    let (mut left_bytes, mut right_bytes) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let left_count = fill(&mut left_file, &mut left_bytes, left)?;
        let right_count = fill(&mut right_file, &mut right_bytes, right)?;
        if left_bytes.get(..left_count) != right_bytes.get(..right_count) {
            return Ok(false);
        }
        if left_count == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8], path: &Path) -> Result<usize, DiskError> {
    let mut length = 0;
    while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DiskError::new("read", path, error)),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("usr/bin")).unwrap();
        fs::write(at("usr/bin/b"), "same").unwrap();
        fs::hard_link(at("usr/bin/b"), at("usr/bin/a")).unwrap();
        fs::write(at("usr/bin-x"), "").unwrap();
        symlink("usr/bin", at("bin")).unwrap();
        folder
    }

    #[test]
    fn order_is_by_whole_path_and_the_first_name_holds_the_file() {
        let folder = folder();
        let listed: Vec<String> =
            nodes(folder.path()).unwrap().iter().map(|(path, node)| format!("{path} {node:?}")).collect();
        insta::assert_snapshot!(listed.join("\n"), @r#"
        bin Symlink { target: "usr/bin" }
        usr Directory
        usr/bin Directory
        usr/bin-x File { mode: Plain, size: ByteSize(0) }
        usr/bin/a File { mode: Plain, size: ByteSize(4) }
        usr/bin/b Hardlink { mode: Plain, original: "usr/bin/a" }
        "#);
    }

    #[test]
    fn what_a_file_system_keeps_besides_does_not_matter() {
        let expected = measure(folder().path()).unwrap();
        let other = folder();
        for (path, mode) in [("usr", 0o700), ("usr/bin/b", 0o600), ("usr/bin-x", 0o666)] {
            fs::set_permissions(other.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(measure(other.path()).unwrap(), expected);
        // A name outside the folder is no name of the layer.
        fs::hard_link(other.path().join("usr/bin-x"), other.path().with_extension("outside")).unwrap();
        let found = measure(other.path()).unwrap();
        fs::remove_file(other.path().with_extension("outside")).unwrap();
        assert_eq!(found, expected);
        fs::set_permissions(other.path().join("usr/bin/b"), fs::Permissions::from_mode(0o744)).unwrap();
        assert_ne!(measure(other.path()).unwrap(), expected);
    }

    #[test]
    fn sockets_and_names_without_text_are_refused() {
        let sockets = folder();
        let _socket = std::os::unix::net::UnixListener::bind(sockets.path().join("socket")).unwrap();
        assert!(matches!(nodes(sockets.path()), Err(TreeError::Special { .. })));
        let names = folder();
        let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"a\xff");
        fs::write(names.path().join(name), "").unwrap();
        assert!(matches!(nodes(names.path()), Err(TreeError::Name { .. })));
    }

    #[test]
    fn files_are_compared_by_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let long = vec![1; 200_000];
        let a = write("a", &long);
        assert!(equal_files(&a, &write("b", &long)).unwrap());
        assert!(!equal_files(&a, &write("c", &long[1..])).unwrap());
        assert!(!equal_files(&a, &write("d", &[&long[1..], &[2]].concat())).unwrap());
    }
}
