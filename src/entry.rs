//! What a package, wheel or archive contributes to an image, one entry at a time.
//!
//! Owns [`Entry`] and the trait [`Sink`] that readers of packages push entries into. Times, owners and mode bits beyond
//! "executable" do not exist here: layer format 1 fixes them (see `tarball`). Must not touch the file system.

use std::io::{self, Read};

use crate::image_path::ImagePath;
use crate::units::ByteSize;

/// One entry on its way from a package into an image.
pub struct Entry<'a> {
    /// Where it goes.
    pub path: ImagePath,
    /// What it is.
    pub kind: EntryKind<'a>,
}

/// What an entry is.
pub enum EntryKind<'a> {
    /// A folder.
    Directory,
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// The length of `content`.
        size: ByteSize,
        /// Its bytes, to be read once, to the end.
        content: &'a mut dyn Read,
    },
    /// A symbolic link.
    Symlink {
        /// The target as written: absolute inside the image, or relative to the link's folder.
        target: String,
    },
    /// Another name of a file that came earlier from the same package.
    Hardlink {
        /// The earlier entry.
        original: ImagePath,
    },
}

/// Somebody who takes the entries of a package, in the package's order.
pub trait Sink {
    /// Takes one entry.
    ///
    /// # Errors
    /// Whatever keeps the entry from being taken; reading the package then stops with this error.
    fn take(&mut self, entry: Entry<'_>) -> io::Result<()>;
}
