//! Small documents by kind and key. The last line of the file is the digest of what stands before it, so that a
//! document torn by a power failure is recognised and counts as absent.

use std::path::PathBuf;

use super::{Store, StoreError};
use crate::digest::Digest;
use crate::disk;
use crate::units::ByteSize;

/// Documents describe images and layers; a larger one is none.
const LIMIT: ByteSize = ByteSize::new(64 << 20);

impl Store {
    /// Returns a document, if it is there and whole.
    pub fn document(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.document_path(kind, key)?;
        Ok(self.disk(disk::read_if_exists(&path, LIMIT))?.and_then(without_checksum))
    }

    /// Replaces a document.
    pub fn write_document(&self, kind: &str, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.document_path(kind, key)?;
        let mut scratch = self.scratch_file()?;
        let checksum = format!("\n{}\n", Digest::of(bytes));
        let content = [bytes, checksum.as_bytes()].concat();
        self.disk(disk::write_all(&mut scratch.file, &content, &scratch.path))?;
        self.disk(disk::create_folder(&self.folder("documents").join(kind)))?;
        self.disk(disk::rename(&scratch.path, &path))?;
        scratch.moved = true;
        Ok(())
    }

    /// Returns the keys of all documents of a kind, sorted.
    pub fn documents(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        let folder = self.folder("documents").join(name(kind)?);
        let paths = self.disk(disk::list(&folder))?;
        let stem = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".json").map(str::to_owned);
        Ok(paths.iter().filter_map(stem).collect())
    }

    fn document_path(&self, kind: &str, key: &str) -> Result<PathBuf, StoreError> {
        Ok(self.folder("documents").join(name(kind)?).join(format!("{}.json", name(key)?)))
    }
}

/// Returns `text` if it can be one component of a path. Accepted: `layer`, `sha256-ab`. Refused: `..`, `a/b`, `.x`.
fn name(text: &str) -> Result<&str, StoreError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let named = plain && !text.is_empty() && !text.starts_with('.') && text.len() <= 200;
    if named { Ok(text) } else { Err(StoreError::Name { name: text.to_owned() }) }
}

/// Returns what stands before the last line, if the last line is its digest.
fn without_checksum(mut content: Vec<u8>) -> Option<Vec<u8>> {
    // A line feed, `sha256:`, 64 digits and a line feed.
    const LENGTH: usize = 1 + 7 + 64 + 1;
    let cut = content.len().checked_sub(LENGTH)?;
    let (bytes, checksum) = content.split_at(cut);
    if checksum != format!("\n{}\n", Digest::of(bytes)).as_bytes() {
        return None;
    }
    content.truncate(cut);
    Some(content)
}
