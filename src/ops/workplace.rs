//! The folder in which a result is made, beside the place where it will be.
//!
//! Owns its name and its lock. The folder goes with its [`Workplace`]; that of a process that was killed goes with the
//! next conversion that works beside it. Must not know what is made.

use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError, FileLock, Fleeting, Sharing};

/// How the name of every such folder begins.
const PREFIX: &str = ".modelconverter-";

/// How it begins until the folder is locked; such a folder is never swept away.
const UNLOCKED: &str = ".modelconverter-new-";

/// The file whose lock says that the process lives.
const LOCK: &str = ".lock";

/// A folder of this process, removed by drop.
#[derive(Debug)]
pub(super) struct Workplace {
    path: PathBuf,
    _lock: FileLock,
    _fleeting: Fleeting,
}

impl Workplace {
    /// Makes an empty folder in `parent`, and removes those of dead processes there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn in_folder(parent: &Path) -> Result<Self, DiskError> {
        sweep(parent);
        let failed = |source| DiskError::new("create a folder in", parent, source);
        let made = tempfile::Builder::new().prefix(UNLOCKED).tempdir_in(parent).map_err(failed)?;
        let lock = FileLock::wait(&made.path().join(LOCK), Sharing::Alone)?;
        let name = made.path().file_name().unwrap_or_default().to_string_lossy().replacen(UNLOCKED, PREFIX, 1);
        let path = made.path().with_file_name(name);
        let fleeting = Fleeting::note(&path);
        disk::rename(made.path(), &path)?;
        // It has another name now.
        let _ = made.keep();
        Ok(Self { path, _lock: lock, _fleeting: fleeting })
    }

    /// Returns the folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // Best effort: the next conversion beside it removes what is left.
        let _ = disk::remove_all(&self.path);
    }
}

/// Removes what dead processes left. What cannot be removed is in nobody's way.
fn sweep(parent: &Path) {
    for folder in disk::list(parent).unwrap_or_default() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = name.starts_with(PREFIX) && !name.starts_with(UNLOCKED);
        let lock = folder.join(LOCK);
        // The tools could write there: a link, say, is no lock of ours.
        let is_locked = matches!(disk::metadata(&lock), Ok(Some(metadata)) if metadata.is_file());
        if is_ours && is_locked && matches!(FileLock::attempt(&lock), Ok(Some(_))) {
            let _ = disk::remove_all(&folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner_and_a_dead_ones_with_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let stranger = parent.path().join(".modelconverter-of-somebody");
        let unlocked = parent.path().join(".modelconverter-new-x");
        let dead = parent.path().join(".modelconverter-dead");
        for folder in [&stranger, &unlocked, &dead] {
            disk::create_folder(folder).unwrap();
        }
        for folder in [&unlocked, &dead] {
            disk::write(&folder.join(LOCK), b"").unwrap();
        }
        let first = Workplace::in_folder(parent.path()).unwrap();
        let second = Workplace::in_folder(parent.path()).unwrap();
        assert!(first.path().is_dir() && second.path().is_dir());
        assert!(!dead.exists());
        drop((first, second));
        let left = disk::list(parent.path()).unwrap();
        assert_eq!(left, [unlocked, stranger]);
    }
}
