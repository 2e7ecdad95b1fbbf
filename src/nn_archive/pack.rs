//! NN Archives as bytes.
//!
//! Written: a tar by the rules of [`tarball`](crate::tarball), xz in blocks of a fixed size, so that the same members
//! make the same archive on any machine with any number of cores. Read: a tar in any usual compression, member by
//! member, with the limits and rules for archives of strangers.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::num::NonZeroU32;

use liblzma::stream::{Check, MtStreamBuilder};
use liblzma::write::XzEncoder;
use thiserror::Error;

use super::document::{Document, DocumentError};
use crate::entry::{Entry, EntryKind};
use crate::hint::Hint;
use crate::image_path::ImagePath;
use crate::intake::{Compression, IntakeError, Limits, tar};
use crate::name::FileName;
use crate::tarball::{FileMode, TarWriter};
use crate::units::ByteSize;

/// The member that describes the others.
pub const CONFIG_NAME: &str = "config.json";

/// The member with versions and command lines.
pub const BUILD_INFO_NAME: &str = "buildinfo.json";

/// The xz preset. Weights hardly compress: on half floats preset 6 takes three times as long and saves 1 %.
const PRESET: u32 = 0;

/// The length of an xz block: many enough for all cores, long enough that the ends of blocks do not count.
const BLOCK: u64 = 4 << 20;

/// The longest `config.json` that is read.
const LONGEST_CONFIG: u64 = 64 << 20;

/// How much an archive may hold when it is read: networks have at most a few gigabytes.
const LIMITS: Limits = Limits { members: 10_000, member: ByteSize::new(16 << 30), total: ByteSize::new(32 << 30) };

/// A file that goes into an archive beside `config.json`.
pub struct Member<'a> {
    /// Its name.
    pub name: FileName,
    /// The length of `content`.
    pub size: ByteSize,
    /// Its bytes, to be read once, to the end.
    pub content: &'a mut dyn Read,
}

/// An archive that cannot be written or read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// Two members of one name, or one with the name of a document.
    #[error("the NN Archive cannot have two members named `{name}`")]
    Double {
        /// The name.
        name: FileName,
    },
    /// A model that is no member.
    #[error("the NN Archive's config.json names the model file `{path}`, which is no member")]
    NoModel {
        /// The model's path.
        path: String,
    },
    /// No `config.json`.
    #[error("NN Archive config not found: the archive has no member `{CONFIG_NAME}`")]
    NoConfig,
    /// A `config.json` that breaks the schema.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The bytes are damaged or nothing that anybody should unpack.
    #[error("the NN Archive cannot be read")]
    Intake(#[from] IntakeError),
    /// Somebody who takes or gives bytes failed.
    #[error("failed to {action} the NN Archive")]
    Transfer {
        /// `write` or `read`.
        action: &'static str,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

impl Hint for ArchiveError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoConfig => vec![format!("an NN Archive is a tar with `{CONFIG_NAME}` at its top")],
            Self::Document(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

/// Writes an archive: the members in order, then the record of the making, then `config.json`.
///
/// The bytes do not depend on `threads`.
///
/// # Errors
/// A reader or the writer fails, a member is shorter or longer than announced, two members share a name, or the
/// document names a model that is no member.
pub fn write<W: Write>(
    document: &Document,
    build_info: Option<&[u8]>,
    members: &mut [Member<'_>],
    threads: NonZeroU32,
    to: W,
) -> Result<W, ArchiveError> {
    let failed = |source| ArchiveError::Transfer { action: "write", source };
    let mut names = BTreeSet::from([CONFIG_NAME, BUILD_INFO_NAME]);
    for member in members.iter() {
        if !names.insert(member.name.as_str()) {
            return Err(ArchiveError::Double { name: member.name.clone() });
        }
    }
    let path = document.model.metadata.path.as_str();
    if !members.iter().any(|member| member.name.as_str() == path) {
        return Err(ArchiveError::NoModel { path: path.to_owned() });
    }
    let encoder = MtStreamBuilder::new()
        .threads(threads.get().min(64))
        .block_size(BLOCK)
        .preset(PRESET)
        .check(Check::Crc64)
        .encoder()
        .map_err(|error| failed(error.into()))?;
    let mut tar = TarWriter::new(XzEncoder::new_stream(to, encoder));
    for member in members {
        put(&mut tar, member.name.as_str(), member.size, member.content)?;
    }
    let config = document.render();
    for (name, bytes) in [(BUILD_INFO_NAME, build_info), (CONFIG_NAME, Some(config.as_bytes()))] {
        if let Some(mut bytes) = bytes {
            put(&mut tar, name, ByteSize::new(bytes.len() as u64), &mut bytes)?;
        }
    }
    tar.finish().and_then(XzEncoder::finish).map_err(failed)
}

fn put<W: Write>(
    tar: &mut TarWriter<W>,
    name: &str,
    size: ByteSize,
    content: &mut dyn Read,
) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::Transfer { action: "write", source };
    let path: ImagePath = name.parse().map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    tar.file(&path, FileMode::of(false), size, content).map_err(failed)
}

/// Reads an archive and returns its `config.json`; every other file is handed to `take`, in the archive's order.
///
/// Links and devices are refused, as are paths that leave the archive, doubles, and more than any archive holds.
///
/// # Errors
/// The bytes are no archive in a known compression, are damaged or refused, have no `config.json` or one that breaks
/// the schema, lack the model that it names, or `take` fails.
pub fn read(
    mut archive: impl Read,
    take: &mut dyn FnMut(&ImagePath, ByteSize, &mut dyn Read) -> io::Result<()>,
) -> Result<Document, ArchiveError> {
    let failed = |source| ArchiveError::Transfer { action: "read", source };
    let mut start = Vec::new();
    archive.by_ref().take(8).read_to_end(&mut start).map_err(failed)?;
    let compression = Compression::of_bytes(&start);
    let plain = compression.reader(start.as_slice().chain(archive)).map_err(failed)?;
    let mut config = None;
    let mut names = BTreeSet::new();
    tar::read("the NN Archive", plain, LIMITS, |Entry { path, kind }| -> Result<(), ArchiveError> {
        match kind {
            EntryKind::Directory => Ok(()),
            EntryKind::File { size, content, .. } if path.as_str() == CONFIG_NAME => {
                if size.bytes() > LONGEST_CONFIG {
                    let reason = format!("`{CONFIG_NAME}` has {} bytes", size.bytes());
                    return Err(IntakeError::TooLarge { reason }.into());
                }
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(failed)?;
                config = Some(bytes);
                Ok(())
            }
            EntryKind::File { size, content, .. } => {
                take(&path, size, content).map_err(|source| IntakeError::Taking { path: path.clone(), source })?;
                names.insert(path);
                Ok(())
            }
            EntryKind::Symlink { .. } | EntryKind::Hardlink { .. } => {
                let reason = "an NN Archive has no links".to_owned();
                Err(IntakeError::Refused { path: path.to_string(), reason }.into())
            }
        }
    })?;
    let document = Document::parse(&config.ok_or(ArchiveError::NoConfig)?)?;
    let path = &document.model.metadata.path;
    let is_member = path.parse::<ImagePath>().is_ok_and(|path| names.contains(&path));
    if is_member { Ok(document) } else { Err(ArchiveError::NoModel { path: path.clone() }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;

    fn document() -> Document {
        let json = r#"{"config_version": "1.0", "model": {"metadata": {"name": "net", "path": "net.blob",
            "precision": "float16", "more": 1}, "inputs": [{"name": "x", "dtype": "uint8", "input_type": "image",
            "shape": [1, 3, 8, 8], "layout": "NCHW", "preprocessing": {"mean": [0, 0, 0], "scale": null,
            "dai_type": "BGR888p"}}], "outputs": [{"name": "y", "dtype": "float16"}],
            "heads": [{"parser": "YOLO", "metadata": {"classes": ["a"], "anything": {"b": [1]}}}]}}"#;
        Document::parse(json.as_bytes()).unwrap()
    }

    fn packed(document: &Document, model: &[u8], threads: u32) -> Result<Vec<u8>, ArchiveError> {
        let mut content = model;
        let size = ByteSize::new(model.len() as u64);
        let mut members = [Member { name: "net.blob".parse().unwrap(), size, content: &mut content }];
        write(document, Some(b"{}\n"), &mut members, NonZeroU32::new(threads).unwrap(), Vec::new())
    }

    fn unpacked(bytes: &[u8]) -> Result<(Document, Vec<(String, u64)>), ArchiveError> {
        let mut members = Vec::new();
        let document = read(bytes, &mut |path, size, content| {
            io::copy(content, &mut io::sink())?;
            members.push((path.to_string(), size.bytes()));
            Ok(())
        })?;
        Ok((document, members))
    }

    #[test]
    fn what_is_written_reads_back_and_does_not_depend_on_threads() {
        // Longer than two blocks, and not compressible to nothing.
        let model: Vec<u8> =
            (0_u32..3_000_000).flat_map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let bytes = packed(&document(), &model, 1).unwrap();
        assert_eq!(Digest::of(&packed(&document(), &model, 3).unwrap()), Digest::of(&bytes));
        let (back, members) = unpacked(&bytes).unwrap();
        assert_eq!(back, document());
        assert_eq!(members, [("net.blob".to_owned(), 12_000_000), ("buildinfo.json".to_owned(), 3)]);
    }

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        let bytes = packed(&document(), b"model", 2).unwrap();
        assert_eq!(Digest::of(&bytes).to_string(), GOLDEN);
    }

    const GOLDEN: &str = "sha256:8b957a207099174b2a561348e4a4ecae8a73c378cb321d717536f4516ae29366";

    #[test]
    fn archives_that_do_not_hold_together_are_refused() {
        let mut missing = document();
        missing.model.metadata.path = "other.blob".to_owned();
        assert!(matches!(packed(&missing, b"", 1), Err(ArchiveError::NoModel { path }) if path == "other.blob"));
        let tar = |names: &[(&str, &str)]| {
            let mut tar = TarWriter::new(Vec::new());
            for (name, text) in names {
                put(&mut tar, name, ByteSize::new(text.len() as u64), &mut text.as_bytes()).unwrap();
            }
            tar.finish().unwrap()
        };
        let config = document().render();
        for (members, expected) in [
            (&[("a", "b")][..], "NN Archive config not found: the archive has no member `config.json`"),
            (
                &[("config.json", config.as_str())],
                "the NN Archive's config.json names the model file `net.blob`, which is no member",
            ),
            (&[("config.json", "{}")], "the NN Archive's config.json is not of the schema"),
            (&[("a", ""), ("a", "")], "the NN Archive cannot be read"),
        ] {
            assert_eq!(unpacked(&tar(members)).unwrap_err().to_string(), expected);
        }
        let mut links = TarWriter::new(Vec::new());
        links.symlink(&"net.blob".parse().unwrap(), "../../etc/passwd").unwrap();
        assert!(matches!(unpacked(&links.finish().unwrap()), Err(ArchiveError::Intake(_))));
        for bytes in [&b""[..], b"x", &[0; 2000], b"\xfd7zXZ\0", b"\x1f\x8b"] {
            assert!(unpacked(bytes).is_err());
        }
        let newer = document().render().replacen("\"1.0\"", "\"2.0\"", 1);
        assert!(
            matches!(Document::parse(newer.as_bytes()), Err(DocumentError::Version { version }) if version == "2.0")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(at in 0_usize..900, byte in any::<u8>(), cut in 0_usize..900) {
            let mut bytes = packed(&document(), b"model", 1).unwrap();
            if let Some(place) = bytes.get_mut(at) {
                *place ^= byte;
            }
            let _ = unpacked(&bytes);
            bytes.truncate(cut);
            let _ = unpacked(&bytes);
        }

        #[test]
        fn any_document_is_read_or_refused(text in "[\\[\\]{}\",:0-9a-z. ]{0,200}") {
            let _ = Document::parse(text.as_bytes());
        }

        #[test]
        fn any_tar_is_read_or_refused(at in 0_usize..512, byte in any::<u8>()) {
            let mut tar = TarWriter::new(Vec::new());
            put(&mut tar, "net.blob", ByteSize::new(5), &mut &b"model"[..]).unwrap();
            let mut bytes = tar.finish().unwrap();
            bytes[at] ^= byte;
            let _ = unpacked(&bytes);
        }
    }
}
