//! The content-addressed store: everything the program keeps on a machine, below one root.
//!
//! ```text
//! blobs/sha256/<hex>          bytes by digest, read-only, verified when they came in
//! partial/<hex>               downloads that broke off, with what is needed to resume them
//! trees/sha256/<hex>/         unpacked layers by diff id, each with <hex>.state beside it
//! documents/<kind>/<key>      small documents, each with its own checksum
//! caches/<hex>/               what an image's `prepare` command derived, by the image's digest
//! scratch/<session>/          temporary files of one live process
//! locks/                      locks by key, and the gate
//! ```
//!
//! What holds, whatever happens:
//! - **A process that dies at any moment** (kill -9 included) leaves no partial blob, tree or document visible: each
//!   becomes visible by one rename of something complete. What it left in `scratch/` is removed by the next process
//!   that opens the store; a session is dead when nobody holds its lock, so process ids do not matter.
//! - **A machine that loses power**: a blob's bytes are on the disk before its name is. A document that was torn fails
//!   its checksum and counts as absent. A tree of thousands of files is not waited for; it is marked with the boot it
//!   was made in and trusted in that boot only, until one `syncfs` some minutes later, when the system has long
//!   written it back, settles it for good. An unsettled tree of an earlier boot counts as absent and is made again.
//! - **Several processes** may do anything at once. `gc` never removes what a live process has been handed.
//! - **A store that cannot be written** (read-only, foreign or full) still serves what it has.
//!
//! Must not know about networks, locks of toolchains or images.

mod document;
mod partial;
mod session;
mod sweep;
mod tree;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::digest::{DiffId, Digest, Hasher, Mismatch};
use crate::disk::{self, DiskError, File, FileLock, Sharing, TemporaryFolder};
use crate::hint::Hint;
use crate::lock::Pin;
use crate::units::ByteSize;

pub use partial::{Partial, Slot};
use session::Session;
pub use sweep::{Broken, Collected, Judgement, Kept, Usage, UsageOfKind, Verified};
pub use tree::StagedTree;

/// Read and written at a time; large enough that the system calls do not show.
const BUFFER: usize = 256 * 1024;

/// Something the store could not do.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("store {} cannot be used", root.display())]
    Disk {
        /// The root of the store.
        root: PathBuf,
        /// What the file system refused.
        source: DiskError,
    },
    /// The bytes are not the promised ones.
    #[error("bytes of {expected} are not the promised ones")]
    Mismatch {
        /// The digest that was promised.
        expected: Digest,
        /// What differs.
        source: Mismatch,
    },
    /// The bytes could not be read from where they come from.
    #[error("cannot read the bytes of {wanted}")]
    Content {
        /// What was to be stored.
        wanted: String,
        /// Why it could not be read.
        source: io::Error,
    },
    /// A name that cannot stand in the store.
    #[error("`{name}` cannot name a document: expected letters, digits, `.`, `_` and `-`")]
    Name {
        /// The name.
        name: String,
    },
}

impl Hint for StoreError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk { source, .. } => source.hints_in_store(),
            Self::Mismatch { .. } | Self::Content { .. } | Self::Name { .. } => Vec::new(),
        }
    }
}

/// An open store. Clones share one session.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    /// The session of this process; nothing while the store cannot be written.
    session: Mutex<Option<Arc<Session>>>,
}

/// A lock by key, released by drop or death.
#[derive(Debug)]
pub struct StoreLock {
    _lock: FileLock,
}

impl Store {
    /// Opens the store below `root`, making its folders, and removes what dead processes left in `scratch/`.
    ///
    /// A root that exists but cannot be written still serves reads.
    ///
    /// # Errors
    /// The root does not exist and cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let store = Self { inner: Arc::new(Inner { root, session: Mutex::default() }) };
        match store.session() {
            Ok(_) => Ok(store),
            Err(error) => {
                let standing = disk::metadata(store.root()).map_err(|source| store.failed(source))?;
                if standing.is_some_and(|metadata| metadata.is_dir()) { Ok(store) } else { Err(error) }
            }
        }
    }

    /// Returns the folder that everything lies in.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Returns the path of a blob, if it is there. It was verified when it came in, and `gc` spares it from now on.
    pub fn blob(&self, digest: &Digest) -> Result<Option<PathBuf>, StoreError> {
        let _gate = self.hold(&format!("blob {}", digest.hex()))?;
        let path = self.blob_path(digest);
        Ok(self.disk(disk::metadata(&path))?.is_some().then_some(path))
    }

    /// Stores the bytes of `content`, which must be the ones of `pin`; a blob that is there already is not read again.
    ///
    /// # Errors
    /// Other bytes or another size than promised; `content` cannot be read; the store cannot be written.
    pub fn insert(&self, content: &mut dyn Read, pin: Pin) -> Result<PathBuf, StoreError> {
        if let Some(path) = self.blob(&pin.sha256)? {
            return Ok(path);
        }
        let failed = |source| StoreError::Mismatch { expected: pin.sha256, source };
        let (scratch, found) = self.receive(content, &pin.sha256.to_string(), pin.size)?;
        if found.size != pin.size {
            return Err(failed(Mismatch::Size { expected: pin.size, found: found.size }));
        }
        if found.sha256 != pin.sha256 {
            return Err(failed(Mismatch::Digest { expected: pin.sha256, found: found.sha256 }));
        }
        self.publish(scratch, &pin.sha256)
    }

    /// Writes `content` to a scratch file, stopping at the first read beyond `limit`.
    fn receive(&self, content: &mut dyn Read, wanted: &str, limit: ByteSize) -> Result<(Scratch, Pin), StoreError> {
        let mut scratch = self.scratch_file()?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; BUFFER];
        while hasher.length() <= limit {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(StoreError::Content { wanted: wanted.to_owned(), source }),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            hasher.update(bytes);
            self.disk(disk::write_all(&mut scratch.file, bytes, &scratch.path))?;
        }
        let (size, sha256) = hasher.finish();
        Ok((scratch, Pin { size, sha256 }))
    }

    /// Makes a verified file visible as a blob.
    fn publish(&self, mut scratch: Scratch, digest: &Digest) -> Result<PathBuf, StoreError> {
        self.disk(disk::sync(&scratch.file, &scratch.path))?;
        self.disk(disk::set_mode(&scratch.path, 0o444))?;
        let _gate = self.hold(&format!("blob {}", digest.hex()))?;
        let path = self.blob_path(digest);
        self.disk(disk::rename(&scratch.path, &path))?;
        scratch.moved = true;
        Ok(path)
    }

    /// Returns the folder for what the `prepare` command of an image derives, making it if need be.
    pub fn cache(&self, image: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.folder("caches").join(image.hex());
        let _gate = self.hold(&format!("cache {}", image.hex()))?;
        self.disk(disk::create_folder(&path))?;
        Ok(path)
    }

    /// Makes an empty folder on the file system of the store. The store must outlive it.
    pub fn scratch(&self) -> Result<TemporaryFolder, StoreError> {
        let session = self.session()?;
        self.disk(TemporaryFolder::create_in(session.path()))
    }

    /// Waits for the lock of that key.
    pub fn lock(&self, key: &str) -> Result<StoreLock, StoreError> {
        self.session()?;
        let lock = FileLock::wait(&self.lock_path(key), Sharing::Alone);
        Ok(StoreLock { _lock: self.disk(lock)? })
    }

    /// Takes the lock of that key, or returns nothing if somebody holds it.
    pub fn try_lock(&self, key: &str) -> Result<Option<StoreLock>, StoreError> {
        self.session()?;
        let lock = FileLock::attempt(&self.lock_path(key));
        Ok(self.disk(lock)?.map(|lock| StoreLock { _lock: lock }))
    }

    fn lock_path(&self, key: &str) -> PathBuf {
        self.folder("locks").join(format!("key-{}", Digest::of(key.as_bytes()).hex()))
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.folder("blobs/sha256").join(digest.hex())
    }

    fn tree_path(&self, id: &DiffId) -> PathBuf {
        self.folder("trees/sha256").join(id.0.hex())
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.inner.root.join(name)
    }

    /// Names the store in an error of the file system.
    fn failed(&self, source: DiskError) -> StoreError {
        StoreError::Disk { root: self.inner.root.clone(), source }
    }

    fn disk<T>(&self, result: Result<T, DiskError>) -> Result<T, StoreError> {
        result.map_err(|source| self.failed(source))
    }

    /// Returns the session of this process, beginning it if need be.
    fn session(&self) -> Result<Arc<Session>, StoreError> {
        let mut slot = self.inner.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*slot {
            return Ok(session.clone());
        }
        let session = Arc::new(self.disk(Session::begin(&self.inner.root))?);
        *slot = Some(session.clone());
        Ok(session)
    }

    /// Tells other processes that this one relies on `thing`, and keeps `gc` out until the gate is dropped.
    ///
    /// A store that cannot be written has no sessions, and nobody can remove anything from it.
    fn hold(&self, thing: &str) -> Result<Option<FileLock>, StoreError> {
        let Ok(session) = self.session() else { return Ok(None) };
        let gate = self.disk(FileLock::wait(&session::gate(&self.inner.root), Sharing::Shared))?;
        match session.note(thing) {
            // A full disk must not keep people from what is there.
            Err(DiskError::NoSpace { .. }) => {}
            result => self.disk(result)?,
        }
        Ok(Some(gate))
    }

    fn scratch_file(&self) -> Result<Scratch, StoreError> {
        let session = self.session()?;
        let path = session.fresh("file");
        let file = self.disk(disk::create_new(&path, 0o644))?;
        Ok(Scratch { file, path, moved: false })
    }
}

/// A temporary file of this session, removed by drop unless it has moved.
struct Scratch {
    file: File,
    path: PathBuf,
    moved: bool,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.moved {
            // Best effort: the end of the session removes what is left.
            let _ = disk::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
