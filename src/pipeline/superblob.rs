//! From the blobs of all shave counts to one superblob, and back for the check.
//!
//! Patches are made while later blobs are still being compiled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use thiserror::Error;

use crate::disk::{self, DiskError};
use crate::hint::Hint;
use crate::myriad::difference::Differ;
use crate::myriad::superblob::{self, Superblob};
use crate::myriad::{Blob, BlobError, SuperblobError};
use crate::units::{ByteSize, ShaveCount};

/// A blob's header counts its bytes in 32 bits; sixteen patches are far smaller.
const FILE_LIMIT: ByteSize = ByteSize::new(2 * (u32::MAX as u64));

/// A blob or superblob that is not what was ordered.
#[derive(Debug, Error)]
pub enum ResultError {
    /// The file system refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The compiler wrote something that is no blob.
    #[error("the blob for {shaves} shaves is damaged")]
    Blob {
        /// For how many shaves.
        shaves: ShaveCount,
        /// What is wrong.
        #[source]
        source: BlobError,
    },
    /// The compiler wrote a blob for another number of shaves.
    #[error("the blob for {ordered} shaves says that it is for {found}")]
    Shaves {
        /// What was ordered.
        ordered: ShaveCount,
        /// What the blob says.
        found: u32,
    },
    /// A blob is missing.
    #[error("the compiler made no blob for {shaves} shaves")]
    Missing {
        /// For how many shaves.
        shaves: ShaveCount,
    },
    /// The blobs have other inputs or outputs than each other.
    #[error("the blobs for {left} and {right} shaves differ in their inputs or outputs")]
    Ends {
        /// One of them.
        left: ShaveCount,
        /// The other.
        right: ShaveCount,
    },
    /// A blob does not come out of the superblob as it went in.
    #[error("the blob for {shaves} shaves that comes out of the superblob is not the one that was compiled")]
    Differs {
        /// For how many shaves.
        shaves: ShaveCount,
    },
    /// The superblob is damaged.
    #[error(transparent)]
    Superblob(#[from] SuperblobError),
}

impl Hint for ResultError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            _ => vec![
                "look for warnings of the compiler in the log; an image built anew rules out a damaged tool".into(),
            ],
        }
    }
}

/// Reads the blob at `path` and checks that it is for `shaves` shaves.
///
/// # Errors
/// The file is no such blob.
pub fn read_blob(path: &Path, shaves: ShaveCount) -> Result<(Vec<u8>, Blob), ResultError> {
    let bytes = disk::read(path, FILE_LIMIT)?;
    let blob = check(&bytes, shaves)?;
    Ok((bytes, blob))
}

/// Writes a file that nobody relies on after a crash, without waiting for the disk.
///
/// # Errors
/// The file system refuses.
pub fn put(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    disk::remove_file(path)?;
    disk::write_all(&mut disk::create_new(path, 0o666)?, bytes, path)
}

/// Makes the superblob of the blobs that `finished` names as they come; the one for 8 shaves is the base of all patches.
/// Each patch is also written beside its blob.
///
/// # Errors
/// A blob that is missing or damaged.
pub fn assemble(finished: &Receiver<(ShaveCount, PathBuf)>) -> Result<Vec<u8>, ResultError> {
    let mut early = Vec::new();
    let base_path = loop {
        match finished.recv() {
            Ok((ShaveCount::EIGHT, path)) => break path,
            Ok(other) => early.push(other),
            Err(_) => return Err(ResultError::Missing { shaves: ShaveCount::EIGHT }),
        }
    };
    let (base, _) = read_blob(&base_path, ShaveCount::EIGHT)?;
    let differ = Differ::new(&base);
    let mut patches = BTreeMap::new();
    for (shaves, path) in early.into_iter().chain(finished.iter()) {
        let (bytes, _) = read_blob(&path, shaves)?;
        let patch = differ.patch(&bytes);
        put(&path.with_extension("patch"), &patch)?;
        patches.insert(shaves, patch);
    }
    Ok(superblob::write(&base, &patches)?)
}

/// Reads the superblob at `path` back, applies every patch, checks every blob and compares it with the one that was
/// compiled, on all cores. Returns the blob for 8 shaves.
///
/// # Errors
/// Any of the sixteen blobs is not as it was compiled.
pub fn check_superblob(
    path: &Path,
    compiled: &BTreeMap<ShaveCount, PathBuf>,
    workers: usize,
) -> Result<Blob, ResultError> {
    let bytes = disk::read(path, FILE_LIMIT)?;
    let superblob = Superblob::parse(&bytes)?;
    let all: Vec<ShaveCount> = ShaveCount::all().collect();
    let next = AtomicUsize::new(0);
    let checked = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, all.len()) {
            scope.spawn(|| {
                while let Some(shaves) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = check_one(&superblob, *shaves, compiled);
                    if let Ok(mut checked) = checked.lock() {
                        checked.insert(*shaves, result);
                    }
                }
            });
        }
    });
    let mut checked = checked.into_inner().unwrap_or_default();
    let base = take(&mut checked, ShaveCount::EIGHT)?;
    for shaves in all.into_iter().filter(|shaves| *shaves != ShaveCount::EIGHT) {
        let blob = take(&mut checked, shaves)?;
        if (&blob.inputs, &blob.outputs) != (&base.inputs, &base.outputs) {
            return Err(ResultError::Ends { left: ShaveCount::EIGHT, right: shaves });
        }
    }
    Ok(base)
}

fn check_one(
    superblob: &Superblob<'_>,
    shaves: ShaveCount,
    compiled: &BTreeMap<ShaveCount, PathBuf>,
) -> Result<Blob, ResultError> {
    let bytes = superblob.blob(shaves)?;
    let path = compiled.get(&shaves).ok_or(ResultError::Missing { shaves })?;
    if disk::read(path, FILE_LIMIT)? != bytes {
        return Err(ResultError::Differs { shaves });
    }
    check(&bytes, shaves)
}

fn take(
    checked: &mut BTreeMap<ShaveCount, Result<Blob, ResultError>>,
    shaves: ShaveCount,
) -> Result<Blob, ResultError> {
    checked.remove(&shaves).unwrap_or(Err(ResultError::Missing { shaves }))
}

fn check(bytes: &[u8], shaves: ShaveCount) -> Result<Blob, ResultError> {
    let blob = Blob::parse(bytes).map_err(|source| ResultError::Blob { shaves, source })?;
    if blob.shaves == u32::from(shaves.get()) {
        Ok(blob)
    } else {
        Err(ResultError::Shaves { ordered: shaves, found: blob.shaves })
    }
}
