//! Vendors' archives as entries: tar in any usual compression, and zip.
//!
//! Owns choosing and placing of members. The kind is known by the bytes and never by the name, for users keep these
//! files under names of their own. Must not know recipes.

use std::io::{Chain, Cursor, Read, Seek, SeekFrom};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use thiserror::Error;

use crate::entry::{Entry, EntryKind, Sink};
use crate::hint::Hint;
use crate::image_path::{ImagePath, ImagePathError};
use crate::intake::zip::{ZipFile, ZipKind};
use crate::intake::{Compression, Guard, IntakeError, Limits, Shape, check_link, tar};
use crate::name::FileName;
use crate::units::ByteSize;

/// The longest target of a symbolic link in a zip file, where it is the member's content.
const LONGEST_LINK: ByteSize = ByteSize::new(4096);

/// Which members of an archive go where.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The folder that members go to.
    pub folder: ImagePath,
    /// How many leading components of each member's path are dropped; members with no more than that are left out.
    pub strip: usize,
    /// The members taken, by their paths after stripping; all of them where it is empty. See [`globs`].
    pub include: GlobSet,
}

/// An archive that cannot be unpacked.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The file is damaged, or has members that no image may have.
    #[error("archive `{name}` cannot be unpacked")]
    Intake {
        /// The archive.
        name: FileName,
        /// What is wrong with it.
        #[source]
        source: IntakeError,
    },
    /// `strip` and `include` leave nothing.
    #[error("no member of archive `{name}` is placed in the image")]
    Nothing {
        /// The archive.
        name: FileName,
    },
}

impl Hint for ArchiveError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Intake { source, .. } => source.hints(),
            Self::Nothing { .. } => {
                vec!["compare `strip` and `include` of the recipe with the archive's list".to_owned()]
            }
        }
    }
}

/// A pattern that is none.
#[derive(Debug, Error)]
#[error("`{pattern}` is no pattern of paths")]
pub struct GlobError {
    pattern: String,
    #[source]
    source: globset::Error,
}

impl Hint for GlobError {}

/// Makes a set of glob patterns over paths, where `*` stays within a folder and `**` crosses folders.
///
/// # Errors
/// A pattern that cannot be read.
pub fn globs<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<GlobSet, GlobError> {
    let refused = |pattern: &str, source| GlobError { pattern: pattern.to_owned(), source };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let relative = pattern.trim_start_matches('/');
        let glob = GlobBuilder::new(relative).literal_separator(true).backslash_escape(true).build();
        set.add(glob.map_err(|source| refused(pattern, source))?);
    }
    set.build().map_err(|source| refused("all patterns together", source))
}

impl Placement {
    /// Returns where the member at `path` goes, if anywhere.
    fn of(&self, path: &ImagePath) -> Result<Option<ImagePath>, ImagePathError> {
        let mut rest = path.as_str();
        for _ in 0..self.strip {
            match rest.split_once('/') {
                Some((_, below)) => rest = below,
                None => return Ok(None),
            }
        }
        if !self.include.is_empty() && !self.include.is_match(rest) {
            return Ok(None);
        }
        self.folder.join(rest).map(Some)
    }
}

/// Reads the archive called `name` and hands the members that `placement` takes to `sink`, in the archive's order.
///
/// Files are executable when their Unix mode says so; members of zip files without modes, when they begin like an ELF
/// file or a script.
///
/// # Errors
/// A damaged archive, members that no image may have, a limit that is passed, nothing placed at all, and what the sink
/// fails with.
pub fn unpack(
    name: &FileName,
    mut bytes: impl Read + Seek,
    placement: &Placement,
    sink: &mut dyn Sink,
) -> Result<(), ArchiveError> {
    let mut placing = Placing { placement, sink, placed: 0 };
    let done = start(&mut bytes)
        .map_err(|source| IntakeError::Damaged { what: "archive".to_owned(), source })
        .and_then(|first| match first.as_slice() {
            [b'P', b'K', 3, 4, ..] => placing.zip(name, bytes),
            first => placing.tar(bytes, Compression::of_bytes(first)),
        });
    done.map_err(|source| ArchiveError::Intake { name: name.clone(), source })?;
    if placing.placed == 0 { Err(ArchiveError::Nothing { name: name.clone() }) } else { Ok(()) }
}

/// Returns the first bytes and goes back before them.
fn start(bytes: &mut (impl Read + Seek)) -> std::io::Result<Vec<u8>> {
    let mut first = Vec::new();
    bytes.take(8).read_to_end(&mut first)?;
    bytes.seek(SeekFrom::Start(0))?;
    Ok(first)
}

struct Placing<'a> {
    placement: &'a Placement,
    sink: &'a mut dyn Sink,
    placed: usize,
}

impl Placing<'_> {
    fn take(&mut self, path: ImagePath, kind: EntryKind<'_>) -> Result<(), IntakeError> {
        self.placed += 1;
        let taken = self.sink.take(Entry { path: path.clone(), kind });
        taken.map_err(|source| IntakeError::Taking { path, source })
    }

    fn tar(&mut self, bytes: impl Read, compression: Compression) -> Result<(), IntakeError> {
        let what = "archive";
        let damaged = |source| IntakeError::Damaged { what: what.to_owned(), source };
        let plain = compression.reader(bytes).map_err(damaged)?;
        tar::read(what, plain, Limits::VENDOR, |entry| {
            let Some(path) = self.placement.of(&entry.path)? else { return Ok(()) };
            let kind = match entry.kind {
                EntryKind::Symlink { target } => {
                    check_link(&path, &target)?;
                    EntryKind::Symlink { target }
                }
                EntryKind::Hardlink { original } => {
                    let placed = self.placement.of(&original)?.ok_or_else(|| IntakeError::Refused {
                        path: entry.path.to_string(),
                        reason: format!("it is a hard link to `{original}`, which the recipe leaves out"),
                    })?;
                    EntryKind::Hardlink { original: placed }
                }
                other => other,
            };
            self.take(path, kind)
        })
    }

    fn zip(&mut self, name: &FileName, bytes: impl Read + Seek) -> Result<(), IntakeError> {
        let mut zip = ZipFile::open(name.as_str(), bytes, Limits::VENDOR)?;
        let mut guard = Guard::new(Limits::VENDOR);
        for member in zip.members()? {
            guard.count(member.size)?;
            let shape = match member.kind {
                ZipKind::Folder => Shape::Folder,
                ZipKind::File { .. } => Shape::File,
                ZipKind::Link => Shape::Link,
            };
            guard.admit(&member.path, shape)?;
            let Some(path) = self.placement.of(&member.path)? else { continue };
            match member.kind {
                ZipKind::Folder => self.take(path, EntryKind::Directory)?,
                ZipKind::Link => {
                    let target = zip.text(&member, LONGEST_LINK)?;
                    check_link(&path, &target)?;
                    self.take(path, EntryKind::Symlink { target })?;
                }
                ZipKind::File { mode: Some(mode) } => {
                    let mut content = zip.content(&member, None)?;
                    let executable = mode & 0o100 != 0;
                    self.take(path, EntryKind::File { executable, size: member.size, content: &mut content })?;
                }
                ZipKind::File { mode: None } => {
                    let content = zip.content(&member, None)?;
                    let (executable, mut content) =
                        sniffed(content).map_err(|source| IntakeError::Taking { path: path.clone(), source })?;
                    self.take(path, EntryKind::File { executable, size: member.size, content: &mut content })?;
                }
            }
        }
        Ok(())
    }
}

/// Bytes that were looked at, before those that were not.
type Rejoined<R> = Chain<Cursor<Vec<u8>>, R>;

/// Returns whether the content begins like a program, and the whole content again.
fn sniffed<R: Read>(mut content: R) -> std::io::Result<(bool, Rejoined<R>)> {
    let mut first = Vec::new();
    (&mut content).take(4).read_to_end(&mut first)?;
    let executable = first.starts_with(b"\x7fELF") || first.starts_with(b"#!");
    Ok((executable, Cursor::new(first).chain(content)))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use zip::write::SimpleFileOptions;

    use super::*;

    #[derive(Default)]
    struct Lines(Vec<String>);

    impl Sink for Lines {
        fn take(&mut self, entry: Entry<'_>) -> io::Result<()> {
            let text = match entry.kind {
                EntryKind::Directory => "folder".to_owned(),
                EntryKind::Symlink { target } => format!("-> {target}"),
                EntryKind::Hardlink { original } => format!("= {original}"),
                EntryKind::File { executable, content, .. } => {
                    let mut text = String::new();
                    content.read_to_string(&mut text)?;
                    if executable { format!("program {text}") } else { text }
                }
            };
            self.0.push(format!("{} {text}", entry.path));
            Ok(())
        }
    }

    fn placement(strip: usize, include: &[&str]) -> Placement {
        Placement { folder: "/opt/x".parse().unwrap(), strip, include: globs(include.iter().copied()).unwrap() }
    }

    fn unpacked(bytes: &[u8], placement: &Placement) -> Result<Vec<String>, ArchiveError> {
        let mut lines = Lines::default();
        unpack(&"vendor.bin".parse().unwrap(), Cursor::new(bytes), placement, &mut lines).map(|()| lines.0)
    }

    fn tgz() -> Vec<u8> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let mut builder = ::tar::Builder::new(encoder);
        let mut add = |kind, name: &str, mode, content: &str, link: &str| {
            let mut header = ::tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            if link.is_empty() {
                builder.append_data(&mut header, name, content.as_bytes()).unwrap();
            } else {
                builder.append_link(&mut header, name, link).unwrap();
            }
        };
        use ::tar::EntryType::{Directory, Link, Regular, Symlink};
        add(Directory, "vendor-1/", 0o755, "", "");
        add(Regular, "vendor-1/bin/tool", 0o755, "tool", "");
        add(Regular, "vendor-1/lib/a/b.so", 0o644, "b", "");
        add(Symlink, "vendor-1/lib/b.so", 0o777, "", "a/b.so");
        add(Link, "vendor-1/bin/other", 0o755, "", "vendor-1/bin/tool");
        add(Regular, "README", 0o644, "readme", "");
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn tars_are_stripped_and_chosen_from() {
        let all = unpacked(&tgz(), &placement(1, &[])).unwrap();
        assert_eq!(
            all,
            [
                "opt/x/bin/tool program tool",
                "opt/x/lib/a/b.so b",
                "opt/x/lib/b.so -> a/b.so",
                "opt/x/bin/other = opt/x/bin/tool",
            ]
        );
        assert_eq!(unpacked(&tgz(), &placement(1, &["lib/*.so"])).unwrap(), ["opt/x/lib/b.so -> a/b.so"]);
        assert_eq!(unpacked(&tgz(), &placement(1, &["lib/**"])).unwrap().len(), 2);
        assert!(matches!(unpacked(&tgz(), &placement(9, &[])), Err(ArchiveError::Nothing { .. })));
        // A hard link cannot stand without its original.
        assert!(matches!(unpacked(&tgz(), &placement(1, &["bin/other"])), Err(ArchiveError::Intake { .. })));
        let whole = tgz();
        assert!(unpacked(&whole[..whole.len() - 9], &placement(1, &[])).is_err());
        assert!(unpacked(b"", &placement(0, &[])).is_err());
        assert!(unpacked(b"<html>not found</html>", &placement(0, &[])).is_err());
    }

    #[test]
    fn zips_keep_modes_and_links_or_are_sniffed() {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        for (name, content, mode) in [("v/tool", "x", 0o755), ("v/text", "#!no", 0o644), ("v/#", "#!sh", 0)] {
            writer.start_file(name, options.unix_permissions(mode)).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.add_symlink("v/link", "tool", options).unwrap();
        let mut bytes = writer.finish().unwrap().into_inner();
        // The directory entry of `v/#` becomes one made on DOS, which has no modes.
        let entry = bytes.windows(4).enumerate().filter(|(_, window)| *window == b"PK\x01\x02").nth(2).unwrap().0;
        bytes[entry + 5] = 0;
        bytes[entry + 38..entry + 42].fill(0);
        assert_eq!(
            unpacked(&bytes, &placement(1, &[])).unwrap(),
            ["opt/x/tool program x", "opt/x/text #!no", "opt/x/# program #!sh", "opt/x/link -> tool"]
        );
        let mut encrypted = bytes.clone();
        encrypted[entry + 8] |= 1;
        assert!(unpacked(&encrypted, &placement(1, &[])).is_err());
        let mut long = bytes;
        long[entry + 24] += 1;
        assert!(unpacked(&long, &placement(1, &[])).is_err());
    }

    #[test]
    fn zips_with_hostile_members_are_refused() {
        for (names, link) in [(vec!["../a"], None), (vec!["/a"], None), (vec![], Some("../../../etc"))] {
            let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
            for name in &names {
                writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            }
            if let Some(target) = link {
                writer.add_symlink("l", target, SimpleFileOptions::default()).unwrap();
            }
            let bytes = writer.finish().unwrap().into_inner();
            assert!(unpacked(&bytes, &placement(0, &[])).is_err(), "{names:?}");
        }
        assert!(globs(["a[", "b"]).is_err());
    }
}
