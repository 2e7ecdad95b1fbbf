//! From the blobs of all shave counts to one superblob, and back for the check.
//!
//! Patches are made and applied, and most of the file is written, while later blobs are still being compiled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use thiserror::Error;

use crate::digest::Fingerprint;
use crate::disk::{self, DiskError, NewFile};
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

/// Reads the blob at `path` and checks that it is for `shaves` shaves. The compiler has written it, and nobody will.
///
/// # Errors
/// The file is no such blob.
pub fn read_blob(path: &Path, shaves: ShaveCount) -> Result<(Bytes, Blob), ResultError> {
    let bytes = disk::map(path, FILE_LIMIT)?;
    let blob = check(&bytes, shaves)?;
    Ok((bytes, blob))
}

/// A superblob that was written.
#[derive(Debug)]
pub struct Made {
    /// What the blob for 8 shaves says of itself.
    pub blob: Blob,
    /// What the file is.
    pub file: Fingerprint,
}

/// What is known of a superblob while its blobs are still being compiled.
pub struct Foretold<'run> {
    /// Where in the superblob these bytes begin.
    pub place: usize,
    /// The bytes.
    pub bytes: &'run [u8],
    /// Whether all else is known by now too, so that nothing is gained any more.
    pub is_over: &'run AtomicBool,
}

/// Makes the superblob at `path` of the blobs that `finished` names as they come; the one for 8 shaves is the base of all
/// patches, written and told to `foretell` as soon as it is there. Each patch is applied at once, so that what comes out is
/// what was compiled, and also written beside its blob.
///
/// # Errors
/// A blob that is missing, damaged or of another network; a file that is not read back as it was written.
pub fn make(
    path: &Path,
    finished: Receiver<(ShaveCount, PathBuf)>,
    workers: usize,
    foretell: &(dyn Fn(Foretold<'_>) + Sync),
) -> Result<Made, ResultError> {
    let mut early = Vec::new();
    let base_path = loop {
        match finished.recv() {
            Ok((ShaveCount::EIGHT, path)) => break path,
            Ok(other) => early.push(other),
            Err(_) => return Err(ResultError::Missing { shaves: ShaveCount::EIGHT }),
        }
    };
    let (base, blob) = read_blob(&base_path, ShaveCount::EIGHT)?;
    let differ = Differ::new(&base);
    let blobs = Mutex::new(early.into_iter().chain(finished));
    let made = Mutex::new(BTreeMap::new());
    let next = || blobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let is_over = AtomicBool::new(false);
    let file = std::thread::scope(|scope| {
        scope.spawn(|| foretell(Foretold { place: superblob::BASE, bytes: &base, is_over: &is_over }));
        let file = scope.spawn(|| begin(path, &base));
        std::thread::scope(|scope| {
            for _ in 0..workers.clamp(1, ShaveCount::all().count()) {
                scope.spawn(|| {
                    while let Some((shaves, path)) = next() {
                        let patch = patch(&differ, (&base, &blob), shaves, &path);
                        made.lock().unwrap_or_else(PoisonError::into_inner).insert(shaves, patch);
                    }
                });
            }
        });
        is_over.store(true, Ordering::Relaxed);
        file.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    let patches = made.into_iter().map(|(shaves, patch)| Ok((shaves, patch?))).collect::<Result<_, ResultError>>()?;
    let file = finish(file?, path, &base, &patches)?;
    Ok(Made { blob, file })
}

/// Begins the file with the blob for 8 shaves, which is most of it, and leaves room for what stands before.
fn begin(path: &Path, base: &[u8]) -> Result<NewFile, DiskError> {
    let file = NewFile::create(path)?;
    file.write_at(superblob::BASE as u64, base)?;
    Ok(file)
}

/// Writes the rest of a superblob, puts the file at `path` and sees that it is read back as it was meant.
fn finish(
    file: NewFile,
    path: &Path,
    base: &[u8],
    patches: &BTreeMap<ShaveCount, Vec<u8>>,
) -> Result<Fingerprint, ResultError> {
    let header = superblob::header(base, patches)?;
    std::thread::scope(|scope| {
        let pieces = [&header, base].into_iter().chain(patches.values().map(Vec::as_slice));
        let fingerprint = scope.spawn(|| Fingerprint::of(pieces));
        file.write_at(0, &header)?;
        let mut offset = superblob::BASE + base.len();
        for patch in patches.values() {
            file.write_at(offset as u64, patch)?;
            offset += patch.len();
        }
        file.commit()?;
        let found = disk::map(path, FILE_LIMIT)?;
        if let Some(shaves) = Superblob::parse(&found)?.first_difference(base, patches) {
            return Err(ResultError::Differs { shaves });
        }
        Ok(fingerprint.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Makes the patch from the base to the blob at `path`, and sees that it does.
fn patch(
    differ: &Differ<'_>,
    (base, of_base): (&[u8], &Blob),
    shaves: ShaveCount,
    path: &Path,
) -> Result<Vec<u8>, ResultError> {
    let (bytes, blob) = read_blob(path, shaves)?;
    if (&blob.inputs, &blob.outputs) != (&of_base.inputs, &of_base.outputs) {
        return Err(ResultError::Ends { left: ShaveCount::EIGHT, right: shaves });
    }
    let patch = differ.patch(&bytes);
    disk::put(&path.with_extension("patch"), &patch)?;
    if superblob::patched(base, shaves, &patch)? != bytes {
        return Err(ResultError::Differs { shaves });
    }
    Ok(patch)
}

fn check(bytes: &[u8], shaves: ShaveCount) -> Result<Blob, ResultError> {
    let blob = Blob::parse(bytes).map_err(|source| ResultError::Blob { shaves, source })?;
    if blob.shaves == u32::from(shaves.get()) {
        Ok(blob)
    } else {
        Err(ResultError::Shaves { ordered: shaves, found: blob.shaves })
    }
}
