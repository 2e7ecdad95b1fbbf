//! What every member of a stranger's archive must obey before anybody hears of it.

use std::collections::HashMap;
use std::io::{self, Read};

use thiserror::Error;

use crate::digest::{Digest, Hasher, Mismatch};
use crate::hint::Hint;
use crate::image_path::{ImagePath, ImagePathError};
use crate::units::ByteSize;

/// An archive that is damaged, or that nobody should unpack.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// Bytes that cannot be read or decompressed, or that end too soon.
    #[error("{what} is damaged")]
    Damaged {
        /// The archive or the part of it.
        what: String,
        /// What the reader or decoder says.
        #[source]
        source: io::Error,
    },
    /// Bytes that break the rules of their format.
    #[error("{what} is damaged: {rule}")]
    Malformed {
        /// The archive or the part of it.
        what: String,
        /// Which rule.
        rule: String,
    },
    /// A name that is no path inside an image.
    #[error("a member has a path that cannot be used")]
    Path(#[from] ImagePathError),
    /// A member that no image may have.
    #[error("member `{path}` is refused: {reason}")]
    Refused {
        /// Its path.
        path: String,
        /// Why.
        reason: String,
    },
    /// More than an archive of this kind may reasonably hold: it may be a decompression bomb.
    #[error("archive is refused: {reason}")]
    TooLarge {
        /// Which limit.
        reason: String,
    },
    /// The member's bytes are wrong, or whoever takes the members could not take this one.
    #[error("failed to unpack `{path}`")]
    Taking {
        /// The member.
        path: ImagePath,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

impl Hint for IntakeError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Damaged { .. } | Self::Malformed { .. } => {
                vec!["compare the file's SHA-256 with the one its publisher states, and download it again".to_owned()]
            }
            Self::Path(_) | Self::Refused { .. } | Self::TooLarge { .. } => {
                vec!["do not unpack it by other means; obtain the file from its publisher again".to_owned()]
            }
            Self::Taking { .. } => Vec::new(),
        }
    }
}

/// How much one archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of members.
    pub members: usize,
    /// The length of one member.
    pub member: ByteSize,
    /// The length of all members together.
    pub total: ByteSize,
}

impl Limits {
    /// For packages and wheels: ten times the largest that are published.
    pub const PACKAGE: Self = Self { members: 300_000, member: ByteSize::new(8 << 30), total: ByteSize::new(16 << 30) };

    /// For vendors' archives, the largest of which unpack to 12 GB.
    pub const VENDOR: Self =
        Self { members: 1_000_000, member: ByteSize::new(16 << 30), total: ByteSize::new(64 << 30) };

    /// For the few small documents that describe a package.
    pub const DOCUMENTS: Self =
        Self { members: 1000, member: ByteSize::new(64 << 20), total: ByteSize::new(128 << 20) };
}

/// What a member is, as far as rules about paths go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
}

/// What has been seen of an archive so far.
pub struct Guard {
    limits: Limits,
    members: usize,
    total: u64,
    seen: HashMap<ImagePath, Shape>,
    /// The folder of the last member, known to be no file and no link nor below one.
    last_folder: Option<ImagePath>,
}

impl Guard {
    /// Returns the guard of an archive of which nothing has been seen.
    pub fn new(limits: Limits) -> Self {
        Self { limits, members: 0, total: 0, seen: HashMap::new(), last_folder: None }
    }

    /// Counts one member of `size` bytes, whatever it is.
    ///
    /// # Errors
    /// A limit is passed.
    pub fn count(&mut self, size: ByteSize) -> Result<(), IntakeError> {
        let too_large = |reason: String| Err(IntakeError::TooLarge { reason });
        self.members += 1;
        self.total = self.total.saturating_add(size.bytes());
        if self.members > self.limits.members {
            return too_large(format!("it has more than {} members", self.limits.members));
        }
        if size > self.limits.member {
            return too_large(format!("a member has {size}, more than {}", self.limits.member));
        }
        if self.total > self.limits.total.bytes() {
            return too_large(format!("it unpacks to more than {}", self.limits.total));
        }
        Ok(())
    }

    /// Admits a member at `path`.
    ///
    /// # Errors
    /// The path came before (folders may), or an earlier member that is no folder stands above it.
    pub fn admit(&mut self, path: &ImagePath, shape: Shape) -> Result<(), IntakeError> {
        let refused = |reason: String| Err(IntakeError::Refused { path: path.to_string(), reason });
        let folder = path.parent();
        if folder.is_some() && folder != self.last_folder {
            for ancestor in path.ancestors() {
                if self.seen.get(&ancestor).is_some_and(|shape| *shape != Shape::Folder) {
                    return refused(format!("`{ancestor}` above it is no folder"));
                }
            }
        }
        self.last_folder = folder;
        match self.seen.insert(path.clone(), shape) {
            None => {}
            Some(Shape::Folder) if shape == Shape::Folder => {}
            Some(_) => return refused("it stands twice".to_owned()),
        }
        Ok(())
    }

    /// Returns what the member at `path` is, if there was one.
    pub fn shape(&self, path: &ImagePath) -> Option<Shape> {
        self.seen.get(path).copied()
    }
}

/// Checks that a symbolic link at `path` does not climb over the root of the image by its words.
///
/// # Errors
/// It does, or it says nothing, has a NUL, or is longer than paths may be.
pub fn check_link(path: &ImagePath, target: &str) -> Result<(), IntakeError> {
    let refused = |reason: &str| Err(IntakeError::Refused { path: path.to_string(), reason: reason.to_owned() });
    if target.is_empty() || target.contains('\0') || target.len() > 4096 {
        return refused("its link target is no path");
    }
    let mut depth = if target.starts_with('/') { 0 } else { path.as_str().matches('/').count() };
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if depth == 0 => return refused("its link target leaves the root"),
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    Ok(())
}

/// Passes on exactly the promised number of bytes, and fails with the last of them if they are not the promised ones.
///
/// Unlike `VerifyingReader` it needs no read beyond the last byte to notice, so that takers who know the size and stop
/// there are served as well.
pub(crate) struct Exact<R> {
    inner: R,
    left: u64,
    expected: Option<Digest>,
    hasher: Hasher,
}

impl<R: Read> Exact<R> {
    pub(crate) fn new(inner: R, size: ByteSize, expected: Option<Digest>) -> Self {
        Self { inner, left: size.bytes(), expected, hasher: Hasher::default() }
    }

    fn check_end(&mut self) -> io::Result<()> {
        // One more read makes decoders check their own sums, and shows bytes beyond the promised ones.
        if self.inner.read(&mut [0])? != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than the archive's directory says"));
        }
        if let Some(expected) = self.expected {
            let (_, found) = std::mem::take(&mut self.hasher).finish();
            if expected != found {
                return Err(io::Error::new(io::ErrorKind::InvalidData, Mismatch::Digest { expected, found }));
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(window) = buffer.get_mut(..most) else { return Ok(0) };
        let count = self.inner.read(window)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "bytes end too soon"));
        }
        self.left -= count as u64;
        if self.expected.is_some() {
            self.hasher.update(window.get(..count).unwrap_or_default());
        }
        if self.left == 0 {
            self.check_end()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_stands_twice_or_below_what_is_no_folder() {
        let mut guard = Guard::new(Limits::PACKAGE);
        for (text, shape, fine) in [
            ("usr", Shape::Folder, true),
            ("usr", Shape::Folder, true),
            ("usr/a", Shape::File, true),
            ("usr/a", Shape::File, false),
            ("usr/a/b", Shape::File, false),
            ("usr/link", Shape::Link, true),
            ("usr/link/etc/passwd", Shape::File, false),
            ("usr/link", Shape::Folder, false),
            ("x/y", Shape::File, true),
            ("x", Shape::Link, true),
            ("x/z", Shape::File, false),
        ] {
            assert_eq!(guard.admit(&path(text), shape).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn links_that_climb_over_the_root_are_refused() {
        for (at, target, fine) in [
            ("usr/lib/a", "../../etc/passwd", true),
            ("usr/lib/a", "../../../etc/passwd", false),
            ("a", "b", true),
            ("a", "..", false),
            ("usr/a", "/etc/x", true),
            ("usr/a", "/../x", false),
            ("usr/a", "", false),
            ("usr/a", "x\0y", false),
        ] {
            assert_eq!(check_link(&path(at), target).is_ok(), fine, "{at} -> {target}");
        }
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { members: 2, member: ByteSize::new(10), total: ByteSize::new(15) };
        assert!(Guard::new(limits).count(ByteSize::new(11)).is_err());
        let mut guard = Guard::new(limits);
        assert!(guard.count(ByteSize::new(10)).is_ok());
        assert!(guard.count(ByteSize::new(6)).is_err());
        let mut guard = Guard::new(limits);
        assert!(guard.count(ByteSize::new(0)).is_ok());
        assert!(guard.count(ByteSize::new(0)).is_ok());
        assert!(guard.count(ByteSize::new(0)).is_err());
    }

    #[test]
    fn exact_readers_notice_short_long_and_other_bytes() {
        let read = |bytes: &[u8], size: u64, digest: Option<Digest>| {
            let mut out = vec![0; usize::try_from(size).unwrap()];
            Exact::new(bytes, ByteSize::new(size), digest).read_exact(&mut out)
        };
        assert!(read(b"abc", 3, Some(Digest::of(b"abc"))).is_ok());
        assert!(read(b"abd", 3, Some(Digest::of(b"abc"))).is_err());
        assert!(read(b"ab", 3, None).is_err());
        assert!(read(b"abcd", 3, None).is_err());
    }
}
