//! Zip files (PKWARE APPNOTE, without encryption, stored or deflated) as members, by their central directory.

use std::io::{self, Read, Seek};

use zip::{CompressionMethod, System, ZipArchive};

use super::guard::{Exact, IntakeError, Limits};
use super::tar::member_path;
use crate::digest::Digest;
use crate::image_path::ImagePath;
use crate::units::ByteSize;

/// A zip file whose directory has been read and found sound.
pub struct ZipFile<R> {
    what: String,
    archive: ZipArchive<R>,
}

/// What the directory of a zip file says about one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZipMember {
    /// Its number, for [`ZipFile::content`].
    pub index: usize,
    /// Its path inside the archive.
    pub path: ImagePath,
    /// What it is.
    pub kind: ZipKind,
    /// The length of its content.
    pub size: ByteSize,
}

/// What a member of a zip file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZipKind {
    /// A folder.
    Folder,
    /// A regular file, with its Unix mode where the archive was made on Unix.
    File {
        /// The permission bits.
        mode: Option<u32>,
    },
    /// A symbolic link; its content is the target.
    Link,
}

impl<R: Read + Seek> ZipFile<R> {
    /// Reads the directory of a zip file; `what` names it in messages.
    ///
    /// # Errors
    /// No zip file, names that stand twice, members that share bytes, more members than `limits` allow.
    pub fn open(what: &str, bytes: R, limits: Limits) -> Result<Self, IntakeError> {
        let damaged =
            |error: zip::result::ZipError| IntakeError::Damaged { what: what.to_owned(), source: error.into() };
        let malformed = |rule: &str| IntakeError::Malformed { what: what.to_owned(), rule: rule.to_owned() };
        let mut archive = ZipArchive::new(bytes).map_err(damaged)?;
        if archive.len() > limits.members {
            return Err(IntakeError::TooLarge { reason: format!("it has more than {} members", limits.members) });
        }
        if archive.has_duplicate_names() {
            return Err(malformed("a name stands twice in its directory"));
        }
        // A few kilobytes that many members share unpack to petabytes.
        if archive.has_overlapping_entries().map_err(damaged)? {
            return Err(malformed("members share bytes"));
        }
        Ok(Self { what: what.to_owned(), archive })
    }

    /// Returns all members in the order of the directory, without the root.
    ///
    /// # Errors
    /// A member that is encrypted, compressed in another way, of another kind, or whose name is no path.
    pub fn members(&self) -> Result<Vec<ZipMember>, IntakeError> {
        let mut members = Vec::with_capacity(self.archive.len());
        for index in 0..self.archive.len() {
            let entry = self.archive.by_index_data(index).map_err(|error| self.damaged(error.into()))?;
            let Some(path) = member_path(entry.name_raw())? else { continue };
            let refused = |reason: String| IntakeError::Refused { path: path.to_string(), reason };
            if entry.encrypted() {
                return Err(refused("it is encrypted".to_owned()));
            }
            if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
                return Err(refused(format!("it is compressed by {:?}, not by deflate", entry.compression())));
            }
            let mode = (entry.system() == System::Unix).then(|| entry.external_attributes() >> 16);
            let kind = match mode.map(|mode| mode & 0o170_000) {
                _ if entry.name_raw().ends_with(b"/") => ZipKind::Folder,
                Some(0o040_000) => ZipKind::Folder,
                Some(0o120_000) => ZipKind::Link,
                None | Some(0 | 0o100_000) => {
                    ZipKind::File { mode: mode.map(|mode| mode & 0o7777).filter(|mode| *mode != 0) }
                }
                Some(_) => return Err(refused("it is a device or a pipe".to_owned())),
            };
            let size = ByteSize::new(entry.size());
            members.push(ZipMember { index, path, kind, size });
        }
        Ok(members)
    }

    /// Returns the content of a member, which fails when it is longer or shorter than the directory says, or differs
    /// from its own CRC-32 or from `expected`.
    ///
    /// # Errors
    /// The member's own header is damaged.
    pub fn content(&mut self, member: &ZipMember, expected: Option<Digest>) -> Result<impl Read + '_, IntakeError> {
        let what = &self.what;
        let damaged = |error: zip::result::ZipError| IntakeError::Damaged { what: what.clone(), source: error.into() };
        let reader = self.archive.by_index(member.index).map_err(damaged)?;
        Ok(Exact::new(reader, member.size, expected))
    }

    /// Returns the content of a small member as text.
    ///
    /// # Errors
    /// It is longer than `most`, damaged, or not UTF-8.
    pub fn text(&mut self, member: &ZipMember, most: ByteSize) -> Result<String, IntakeError> {
        if member.size > most {
            let reason = format!("`{}` has {}, more than {most}", member.path, member.size);
            return Err(IntakeError::TooLarge { reason });
        }
        let mut text = String::new();
        let read = self.content(member, None)?.read_to_string(&mut text);
        read.map_err(|source| IntakeError::Taking { path: member.path.clone(), source })?;
        Ok(text)
    }

    fn damaged(&self, source: io::Error) -> IntakeError {
        IntakeError::Damaged { what: self.what.clone(), source }
    }
}
