//! Sessions: the temporary files of one live process, and what it relies on.
//!
//! A session is a folder in `scratch/` with a file `lock` that its process holds, and a file `uses` with one line for
//! each thing the process was handed. The gate `locks/gate` is held alone while sessions begin and while things are
//! moved in or out of sight, and shared while somebody looks a thing up and notes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::disk::{self, DiskError, File, FileLock, Sharing, TemporaryFolder};
use crate::units::ByteSize;

/// More than any session writes; a larger `uses` file is not ours.
const USES_LIMIT: ByteSize = ByteSize::new(64 << 20);

/// Everything below the root, made when the store is opened.
const FOLDERS: [&str; 7] = ["blobs/sha256", "partial", "trees/sha256", "documents", "caches", "scratch", "locks"];

/// Returns the path of the gate of the store below `root`.
pub(super) fn gate(root: &Path) -> PathBuf {
    root.join("locks/gate")
}

/// The temporary files of this process.
pub(super) struct Session {
    /// Best effort: the next process that opens the store removes what is left.
    folder: TemporaryFolder,
    /// Held as long as the session lives.
    _lock: FileLock,
    uses: Mutex<Uses>,
    counter: AtomicU64,
}

struct Uses {
    file: File,
    noted: BTreeSet<String>,
}

impl Session {
    /// Begins a session and removes what dead sessions left.
    pub(super) fn begin(root: &Path) -> Result<Self, DiskError> {
        for folder in FOLDERS {
            disk::create_folder(&root.join(folder))?;
        }
        let scratch = root.join("scratch");
        let gate = FileLock::wait(&gate(root), Sharing::Alone)?;
        let folder = TemporaryFolder::with_prefix("session-", &scratch)?;
        let lock = FileLock::wait(&folder.path().join("lock"), Sharing::Alone)?;
        let uses = Uses { file: disk::append(&folder.path().join("uses"))?, noted: BTreeSet::new() };
        let session = Self { folder, _lock: lock, uses: Mutex::new(uses), counter: AtomicU64::new(0) };
        let dead = session.bury_the_dead(&scratch)?;
        drop(gate);
        for folder in dead {
            disk::remove_all(&folder)?;
        }
        Ok(session)
    }

    /// Moves the folders of dead sessions into this one, so that removing them needs no gate.
    fn bury_the_dead(&self, scratch: &Path) -> Result<Vec<PathBuf>, DiskError> {
        let mut dead = Vec::new();
        for other in disk::list(scratch)? {
            if other == self.folder.path() || is_live(&other)? {
                continue;
            }
            let grave = self.fresh("dead");
            disk::rename(&other, &grave)?;
            dead.push(grave);
        }
        Ok(dead)
    }

    /// Returns the folder of the session.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a path in the session that nobody has used.
    pub(super) fn fresh(&self, what: &str) -> PathBuf {
        self.path().join(format!("{what}-{}", self.counter.fetch_add(1, Ordering::Relaxed)))
    }

    /// Writes down that this process relies on `thing`. The gate must be held.
    pub(super) fn note(&self, thing: &str) -> Result<(), DiskError> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.noted.contains(thing) {
            return Ok(());
        }
        disk::write_all(&mut uses.file, format!("{thing}\n").as_bytes(), self.path())?;
        uses.noted.insert(thing.to_owned());
        Ok(())
    }
}

/// Returns whether a process holds the session in `folder`. The gate must be held alone.
fn is_live(folder: &Path) -> Result<bool, DiskError> {
    match FileLock::attempt(&folder.join("lock")) {
        Ok(lock) => Ok(lock.is_none()),
        // Its process is just removing it.
        Err(DiskError::Missing { .. }) => Ok(true),
        // Another user's session in a shared store: theirs to remove.
        Err(error) if error.refuses_writing() => Ok(true),
        // Not a session at all: a stray file.
        Err(DiskError::Other { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns what all live processes rely on. The gate must be held alone.
pub(super) fn uses(root: &Path) -> Result<BTreeSet<String>, DiskError> {
    let mut things = BTreeSet::new();
    for folder in disk::list(&root.join("scratch"))? {
        if let Some(bytes) = disk::read_if_exists(&folder.join("uses"), USES_LIMIT)? {
            things.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
        }
    }
    Ok(things)
}
