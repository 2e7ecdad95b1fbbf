//! NN Archives as bytes.
//!
//! Written: a tar by the rules of [`tarball`](crate::tarball), compressed with nothing but the members in it, so that the
//! same members make the same archive on any machine with any number of cores. Read: a tar in any usual compression,
//! member by member, with the limits and rules for archives of strangers.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::thread;

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use thiserror::Error;

use super::document::{Document, DocumentError};
use super::xz::{EarlyBlocks, XzWriter};
use crate::entry::{Entry, EntryKind};
use crate::hint::Hint;
use crate::image_path::ImagePath;
use crate::intake::{Compression, IntakeError, Limits, foreign, foreign_hint, tar};
use crate::tarball::{FileMode, TarWriter};
use crate::units::ByteSize;

/// The member that describes the others.
pub const CONFIG_NAME: &str = "config.json";

/// The member with versions and command lines.
pub const BUILD_INFO_NAME: &str = "buildinfo.json";

/// The member with quantisation encodings for SNPE, where somebody put one.
pub const ENCODINGS_NAME: &str = "encodings.json";

/// The level of the other compressions' own programs.
const GZIP_LEVEL: u32 = 6;
const ZSTANDARD_LEVEL: i32 = 3;

/// The longest `config.json` that is read.
const LONGEST_CONFIG: u64 = 64 << 20;

/// How much an archive may hold when it is read: networks have at most a few gigabytes.
pub const LIMITS: Limits = Limits { members: 10_000, member: ByteSize::new(16 << 30), total: ByteSize::new(32 << 30) };

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveForm {
    /// `.tar.xz`, the usual one.
    Xz,
    /// `.tar.gz`.
    Gzip,
    /// `.tar.bz2`.
    Bzip2,
    /// `.tar.zst`.
    Zstandard,
    /// `.tar`.
    Plain,
}

impl ArchiveForm {
    /// All endings that tell the form, long ones first where one ends another.
    const ENDINGS: [(&str, Self); 9] = [
        (".tar.xz", Self::Xz),
        (".tar.gz", Self::Gzip),
        (".tar.bz2", Self::Bzip2),
        (".tar.zst", Self::Zstandard),
        (".tar", Self::Plain),
        (".txz", Self::Xz),
        (".tgz", Self::Gzip),
        (".tbz2", Self::Bzip2),
        (".tzst", Self::Zstandard),
    ];

    /// Splits a file name into the archive's own name and its form: `my.model.v2.tar.xz` is `my.model.v2`, xz. Returns
    /// nothing if the name does not end like an archive's.
    pub fn split(name: &str) -> Option<(&str, Self)> {
        let lower = name.to_ascii_lowercase();
        let (ending, form) = Self::ENDINGS.into_iter().find(|(ending, _)| lower.ends_with(ending))?;
        let stem = name.get(..name.len() - ending.len())?;
        if stem.is_empty() { None } else { Some((stem, form)) }
    }
}

/// A file that goes into an archive beside its documents.
pub struct Member<'a> {
    /// Where it stands in the archive.
    pub path: ImagePath,
    /// The length of `content`.
    pub size: ByteSize,
    /// Its bytes, to be read once, to the end.
    pub content: &'a mut dyn Read,
}

/// All that goes into an archive.
pub struct Contents<'a, 'member> {
    /// Its `config.json`.
    pub document: &'a Document,
    /// Its `buildinfo.json`.
    pub build_info: Option<&'a [u8]>,
    /// Its files, in the order in which they are written.
    pub members: &'a mut [Member<'member>],
}

/// What is done to be fast. It changes no byte.
#[derive(Clone)]
pub struct Haste {
    /// How many threads compress.
    pub threads: NonZeroU32,
    /// What of the archive was compressed before.
    pub early: Arc<EarlyBlocks>,
}

impl Haste {
    /// Compresses on all cores, once all is there.
    pub fn on_all_cores() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { threads: NonZeroU32::try_from(threads).unwrap_or(NonZeroU32::MIN), early: Arc::default() }
    }
}

/// Where the content of the first member begins in an archive, if its header is the usual one.
pub const FIRST_CONTENT: usize = 512;

/// An archive that cannot be written or read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// Two members of one name, or one with the name of a document.
    #[error("the NN Archive cannot have two members named `{path}`")]
    Double {
        /// The name.
        path: ImagePath,
    },
    /// A model that is no member.
    #[error("the NN Archive's config.json names the model file `{path}`, which is no member")]
    NoModel {
        /// The model's path.
        path: String,
    },
    /// No `config.json`.
    #[error("NN Archive config not found: the archive has no member `{CONFIG_NAME}`")]
    NoConfig {
        /// A member of that name in a folder.
        deeper: Option<ImagePath>,
    },
    /// Another kind of file.
    #[error("not an NN Archive but {what}")]
    Foreign {
        /// The other kind, with its article.
        what: &'static str,
    },
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
            Self::NoConfig { deeper: None } => vec![format!("an NN Archive is a tar with `{CONFIG_NAME}` at its top")],
            Self::NoConfig { deeper: Some(path) } => vec![format!(
                "an NN Archive has `{CONFIG_NAME}` at its top; this one has `{path}`: pack what is in that folder, not \
                 the folder"
            )],
            Self::Foreign { what } => {
                let hint = format!("an NN Archive is a tar, in any usual compression, with `{CONFIG_NAME}` at its top");
                vec![foreign_hint(what).unwrap_or(hint)]
            }
            Self::Document(error) => error.hints(),
            Self::Intake(error) => error.hints(),
            Self::Double { .. } | Self::NoModel { .. } | Self::Transfer { .. } => Vec::new(),
        }
    }
}

/// Writes an archive: the members in order, then the record of the making, then `config.json`.
///
/// # Errors
/// A reader or the writer fails, a member is shorter or longer than announced, two members share a name, or the
/// document names a model that is no member.
pub fn write<W: Write>(contents: Contents<'_, '_>, form: ArchiveForm, haste: &Haste, to: W) -> Result<W, ArchiveError> {
    let failed = |source| ArchiveError::Transfer { action: "write", source };
    let Contents { document, build_info, members } = contents;
    let mut paths = BTreeSet::from([CONFIG_NAME, BUILD_INFO_NAME]);
    for member in members.iter() {
        if !paths.insert(member.path.as_str()) {
            return Err(ArchiveError::Double { path: member.path.clone() });
        }
    }
    for path in models(document) {
        if !members.iter().any(|member| member.path.as_str() == path) {
            return Err(ArchiveError::NoModel { path });
        }
    }
    let mut tar = TarWriter::with_utf8_names(Compressor::new(form, haste, to).map_err(failed)?);
    for member in members {
        put(&mut tar, member.path.as_str(), member.size, member.content)?;
    }
    let config = document.render();
    for (name, bytes) in [(BUILD_INFO_NAME, build_info), (CONFIG_NAME, Some(config.as_bytes()))] {
        if let Some(mut bytes) = bytes {
            put(&mut tar, name, ByteSize::new(bytes.len() as u64), &mut bytes)?;
        }
    }
    tar.finish().and_then(Compressor::finish).map_err(failed)
}

/// Returns the paths of all models that a document names.
fn models(document: &Document) -> Vec<String> {
    let mut models = vec![document.model.metadata.path.clone()];
    models.extend(document.postprocessors());
    models
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

/// A compression in progress. None of them records a name, a time or a number of threads.
enum Compressor<W: Write> {
    Xz(XzWriter<W>),
    Gzip(GzEncoder<W>),
    Bzip2(BzEncoder<W>),
    Zstandard(zstd::stream::write::Encoder<'static, W>),
    Plain(W),
}

impl<W: Write> Compressor<W> {
    fn new(form: ArchiveForm, haste: &Haste, to: W) -> io::Result<Self> {
        Ok(match form {
            ArchiveForm::Xz => Self::Xz(XzWriter::new(to, haste.threads, &haste.early)?),
            ArchiveForm::Gzip => Self::Gzip(GzEncoder::new(to, flate2::Compression::new(GZIP_LEVEL))),
            ArchiveForm::Bzip2 => Self::Bzip2(BzEncoder::new(to, bzip2::Compression::best())),
            ArchiveForm::Zstandard => Self::Zstandard(zstd::stream::write::Encoder::new(to, ZSTANDARD_LEVEL)?),
            ArchiveForm::Plain => Self::Plain(to),
        })
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Xz(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Bzip2(encoder) => encoder.finish(),
            Self::Zstandard(encoder) => encoder.finish(),
            Self::Plain(to) => Ok(to),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Xz(encoder) => encoder.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Bzip2(encoder) => encoder.write(bytes),
            Self::Zstandard(encoder) => encoder.write(bytes),
            Self::Plain(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Xz(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Bzip2(encoder) => encoder.flush(),
            Self::Zstandard(encoder) => encoder.flush(),
            Self::Plain(to) => to.flush(),
        }
    }
}

/// Returns whether bytes that begin with `start`, of which there should be 512 if there are so many, are a tar in some
/// compression, as far as that can be seen.
pub fn looks_like_archive(start: &[u8]) -> bool {
    /// Where headers of POSIX and GNU tars have their magic.
    const MAGIC: std::ops::Range<usize> = 257..262;
    Compression::of_bytes(start) != Compression::None || start.get(MAGIC) == Some(b"ustar")
}

/// Reads an archive and returns its `config.json`; every other file is handed to `take`, in the archive's order.
///
/// Links and devices are refused, as are paths that leave the archive, doubles, and more than `limits`.
///
/// # Errors
/// The bytes are no archive in a known compression, are damaged or refused, have no `config.json` or one that breaks
/// the schema, lack a model that it names, or `take` fails.
pub fn read(
    mut archive: impl Read,
    limits: Limits,
    take: &mut dyn FnMut(&ImagePath, ByteSize, &mut dyn Read) -> io::Result<()>,
) -> Result<Document, ArchiveError> {
    let failed = |source| ArchiveError::Transfer { action: "read", source };
    let mut start = Vec::new();
    archive.by_ref().take(512).read_to_end(&mut start).map_err(failed)?;
    let compression = Compression::of_bytes(&start);
    if let (Compression::None, Some(what)) = (compression, foreign(&start).filter(|_| !looks_like_archive(&start))) {
        return Err(ArchiveError::Foreign { what });
    }
    let plain = compression.reader(start.as_slice().chain(archive)).map_err(failed)?;
    let mut config = None;
    let mut deeper = None;
    let mut paths = BTreeSet::new();
    tar::read("the NN Archive", plain, limits, |Entry { path, kind }| -> Result<(), ArchiveError> {
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
                if path.file_name() == CONFIG_NAME {
                    deeper.get_or_insert_with(|| path.clone());
                }
                take(&path, size, content).map_err(|source| IntakeError::Taking { path: path.clone(), source })?;
                paths.insert(path);
                Ok(())
            }
            EntryKind::Symlink { .. } | EntryKind::Hardlink { .. } => {
                let reason = "an NN Archive has no links".to_owned();
                Err(IntakeError::Refused { path: path.to_string(), reason }.into())
            }
        }
    })?;
    let document = Document::parse(&config.ok_or(ArchiveError::NoConfig { deeper })?)?;
    for path in models(&document) {
        if !path.parse::<ImagePath>().is_ok_and(|path| paths.contains(&path)) {
            return Err(ArchiveError::NoModel { path });
        }
    }
    Ok(document)
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
        packed_as(ArchiveForm::Xz, document, model, threads)
    }

    fn packed_as(form: ArchiveForm, document: &Document, model: &[u8], threads: u32) -> Result<Vec<u8>, ArchiveError> {
        let mut content = model;
        let size = ByteSize::new(model.len() as u64);
        let mut members = [Member { path: "net.blob".parse().unwrap(), size, content: &mut content }];
        let contents = Contents { document, build_info: Some(b"{}\n"), members: &mut members };
        let haste = Haste { threads: NonZeroU32::new(threads).unwrap(), early: Arc::default() };
        write(contents, form, &haste, Vec::new())
    }

    fn unpacked(bytes: &[u8]) -> Result<(Document, Vec<(String, u64)>), ArchiveError> {
        let mut members = Vec::new();
        let document = read(bytes, LIMITS, &mut |path, size, content| {
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

    const GOLDEN: &str = "sha256:e3a70fb103376f5277e9538672fd20909ac1a1406e5c5e5787449535a35b8cb1";

    #[test]
    fn every_form_is_told_by_its_ending_and_reads_back() {
        for (name, stem, form) in [
            ("my.model.v2.tar.xz", "my.model.v2", ArchiveForm::Xz),
            ("a.TAR.GZ", "a", ArchiveForm::Gzip),
            ("a.tgz", "a", ArchiveForm::Gzip),
            ("a b.tar.bz2", "a b", ArchiveForm::Bzip2),
            ("a.tar.zst", "a", ArchiveForm::Zstandard),
            ("é.tar", "é", ArchiveForm::Plain),
        ] {
            assert_eq!(ArchiveForm::split(name), Some((stem, form)));
            let bytes = packed_as(form, &document(), b"model", 2).unwrap();
            assert!(looks_like_archive(&bytes), "{name}");
            let (back, members) = unpacked(&bytes).unwrap();
            assert_eq!((back, members.len()), (document(), 2), "{name}");
        }
        for name in ["a.zip", ".tar.xz", "tar", "a.xz", ""] {
            assert_eq!(ArchiveForm::split(name), None, "{name}");
        }
        assert!(!looks_like_archive(b"input_model: m.onnx\n"));
    }

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
            (
                &[("net/config.json", config.as_str())],
                "NN Archive config not found: the archive has no member `config.json`",
            ),
            (&[("a", ""), ("a", "")], "the NN Archive cannot be read"),
        ] {
            assert_eq!(unpacked(&tar(members)).unwrap_err().to_string(), expected);
        }
        let mut links = TarWriter::new(Vec::new());
        links.symlink(&"net.blob".parse().unwrap(), "../../etc/passwd").unwrap();
        assert!(matches!(unpacked(&links.finish().unwrap()), Err(ArchiveError::Intake(_))));
        // Layers of images come the same way, but that is nothing to whoever has an archive.
        let mut climbing = TarWriter::new(Vec::new());
        put(&mut climbing, "aa/x", ByteSize::new(0), &mut &b""[..]).unwrap();
        let mut climbing = climbing.finish().unwrap();
        climbing[..2].copy_from_slice(b"..");
        let sum: u32 = climbing[..512].iter().map(|byte| u32::from(*byte)).sum::<u32>()
            - climbing[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>()
            + 8 * 32;
        climbing[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let error = unpacked(&climbing).unwrap_err();
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let told: Vec<String> = causes.map(ToString::to_string).collect();
        assert!(told.len() == 3 && told[2].contains("`../x`") && !told.concat().contains("image"), "{told:?}");
        for (bytes, what) in [(&b"PK\x03\x04..."[..], "a ZIP archive"), (b"<!doctype html>", "an HTML page")] {
            assert_eq!(unpacked(bytes).unwrap_err().to_string(), format!("not an NN Archive but {what}"));
        }
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
