//! Unpacked layers: staged in scratch, visible by one rename, trusted by their state.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Store, StoreError, session};
use crate::digest::DiffId;
use crate::disk::{self, DiskError, FileLock, Sharing};
use crate::units::ByteSize;

/// A state file holds one short line.
const STATE_LIMIT: ByteSize = ByteSize::new(256);

/// After this long the system has written a tree back by itself (its dirty pages expire after half a minute), so that
/// waiting for the rest is cheap.
const SETTLING: Duration = Duration::from_secs(120);

/// The tree's files are on the disk.
const SETTLED: &str = "settled";

/// A tree that nobody sees yet; dropping it leaves nothing.
pub struct StagedTree {
    store: Store,
    path: PathBuf,
}

impl StagedTree {
    /// Returns the empty folder to fill. It must stay writable for its owner, or it cannot be moved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the tree visible under its diff id. A tree that is there already wins.
    pub fn commit(self, id: &DiffId) -> Result<PathBuf, StoreError> {
        let store = &self.store;
        let session = store.session()?;
        let target = store.tree_path(id);
        let state = match this_boot() {
            Some(boot) if store.disk(keeps_pages(store.root()))? => boot,
            _ => {
                store.disk(disk::sync_file_system(&self.path))?;
                SETTLED.to_owned()
            }
        };
        let _gate = store.disk(FileLock::wait(&session::gate(store.root()), Sharing::Alone))?;
        store.disk(session.note(&format!("tree {}", id.0.hex())))?;
        if store.disk(disk::metadata(&target))?.is_some() {
            if store.trusted_state(id)?.is_some() {
                return Ok(target);
            }
            store.disk(disk::rename(&target, &session.fresh("untrusted")))?;
        }
        store.disk(disk::rename(&self.path, &target))?;
        store.write_state(id, &state)?;
        Ok(target)
    }
}

impl Drop for StagedTree {
    fn drop(&mut self) {
        // Best effort, and nothing to do after a commit: the end of the session removes what is left.
        let _ = disk::remove_all(&self.path);
    }
}

impl Store {
    /// Returns the folder of an unpacked layer, if it is there and whole; `gc` spares it from now on.
    pub fn tree(&self, id: &DiffId) -> Result<Option<PathBuf>, StoreError> {
        let gate = self.hold(&format!("tree {}", id.0.hex()))?;
        let path = self.tree_path(id);
        if self.disk(disk::metadata(&path))?.is_none() {
            return Ok(None);
        }
        let Some(state) = self.trusted_state(id)? else { return Ok(None) };
        if gate.is_some() && state != SETTLED && self.is_old(id)? {
            drop(gate);
            self.disk(disk::sync_file_system(&path))?;
            self.write_state(id, SETTLED)?;
        }
        Ok(Some(path))
    }

    /// Begins a tree.
    pub fn stage_tree(&self) -> Result<StagedTree, StoreError> {
        let path = self.session()?.fresh("tree");
        self.disk(disk::create_folder(&path))?;
        Ok(StagedTree { store: self.clone(), path })
    }

    /// Returns the state of a tree if its files can be relied on. See the crash guarantees of the store.
    pub(super) fn trusted_state(&self, id: &DiffId) -> Result<Option<String>, StoreError> {
        let bytes = self.disk(disk::read_if_exists(&self.state_path(id), STATE_LIMIT))?;
        let state = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let state = state.trim_end();
        let trusted = state == SETTLED || this_boot().is_some_and(|boot| boot == state);
        Ok(trusted.then(|| state.to_owned()))
    }

    pub(super) fn state_path(&self, id: &DiffId) -> PathBuf {
        self.tree_path(id).with_extension("state")
    }

    /// Replaces the state of a tree. A torn one, after a power failure, is no state at all, so nothing is waited for.
    fn write_state(&self, id: &DiffId, state: &str) -> Result<(), StoreError> {
        let mut scratch = self.scratch_file()?;
        self.disk(disk::write_all(&mut scratch.file, format!("{state}\n").as_bytes(), &scratch.path))?;
        self.disk(disk::rename(&scratch.path, &self.state_path(id)))?;
        scratch.moved = true;
        Ok(())
    }

    fn is_old(&self, id: &DiffId) -> Result<bool, StoreError> {
        let metadata = self.disk(disk::metadata(&self.state_path(id)))?;
        let age = metadata.and_then(|metadata| metadata.modified().ok()).and_then(|time| time.elapsed().ok());
        Ok(age.is_some_and(|age| age > SETTLING))
    }
}

/// Returns a text that is the same as long as the machine keeps running.
fn this_boot() -> Option<String> {
    let bytes = disk::read(Path::new("/proc/sys/kernel/random/boot_id"), STATE_LIMIT).ok()?;
    let boot = String::from_utf8(bytes).ok()?;
    let boot = boot.trim();
    (!boot.is_empty()).then(|| format!("boot {boot}"))
}

/// Returns whether the file system at `path` belongs to this machine alone, so that what a process has written stays
/// readable as long as the machine keeps running. On network file systems each machine has its own idea of that.
fn keeps_pages(path: &Path) -> Result<bool, DiskError> {
    // ext2 to ext4, XFS, Btrfs, tmpfs, overlayfs; numbers from statfs(2).
    const LOCAL: [u64; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630];
    let facts = rustix::fs::statfs(path).map_err(|errno| DiskError::new("look at", path, errno.into()))?;
    Ok(LOCAL.contains(&(facts.f_type as u64 & 0xFFFF_FFFF)))
}
