//! What a container left behind becomes the user's result: checked against the report, then put in place at once.
//!
//! Owns the rules of the output folder: what may be replaced, and the marker that says so. A folder is replaced as a
//! whole and only after the new one is complete; a folder that is not ours is never touched.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::digest::{Digest, VerifyingReader};
use crate::disk::{self, DiskError};
use crate::exchange::Artifact;
use crate::hint::Hint;
use crate::units::ByteSize;

/// The file that marks a folder as the result of a conversion.
pub const MARKER: &str = ".modelconverter_output";

/// The name of the log among the results.
const LOG: &str = "modelconverter.log";

/// A result that could not be put in place.
#[derive(Debug, Error)]
pub enum CollectError {
    /// The place of the result is taken.
    #[error("refusing to overwrite {path}: {reason}")]
    Taken {
        /// The folder.
        path: PathBuf,
        /// Why it is not ours.
        reason: &'static str,
    },
    /// A file of the report is not what the report says.
    #[error("the result `{path}` is not what the report of the container says")]
    Different {
        /// The path below the output folder.
        path: String,
        /// What differs.
        #[source]
        source: std::io::Error,
    },
    /// The report names a path that leaves the output folder.
    #[error("the report of the container names `{path}`, which is no path inside the output folder")]
    Outside {
        /// The path.
        path: String,
    },
    /// A file cannot be read or written.
    #[error("failed to put the result in place")]
    Disk(#[from] DiskError),
}

impl Hint for CollectError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Taken { .. } => vec!["choose another place with `--output-dir`, or move the folder away".to_owned()],
            Self::Different { .. } | Self::Outside { .. } => {
                vec!["the image may be another one than you think; build it again with `image build`".to_owned()]
            }
            Self::Disk(error) => error.hints(),
        }
    }
}

/// Checks, before any work is done, that the result may be put at `place`.
///
/// # Errors
/// Something that is no result of ours is there.
pub fn check_place(place: &Path) -> Result<(), CollectError> {
    let taken = |reason| Err(CollectError::Taken { path: place.to_owned(), reason });
    match disk::metadata(place)? {
        None => Ok(()),
        Some(metadata) if !metadata.is_dir() => taken("it is not a directory"),
        Some(_) if disk::metadata(&place.join(MARKER))?.is_some() => Ok(()),
        Some(_) if disk::list(place)?.is_empty() => Ok(()),
        Some(_) => taken("it is not empty, and no result of an earlier conversion"),
    }
}

/// Checks the files of a report below `made`, and puts that folder at `place`.
///
/// # Errors
/// A file differs from the report, or `place` is taken or cannot be written.
pub fn collect(made: &Path, artifacts: &[Artifact], place: &Path) -> Result<(), CollectError> {
    for artifact in artifacts {
        check(made, artifact)?;
    }
    put(made, place)
}

/// Puts a folder at `place`, replacing an earlier result.
///
/// # Errors
/// `place` is taken or cannot be written.
pub fn put(made: &Path, place: &Path) -> Result<(), CollectError> {
    check_place(place)?;
    disk::write(&made.join(MARKER), b"")?;
    if disk::metadata(place)?.is_some() {
        // Both names exist for a moment; a result is never half there.
        let away = made.with_extension("replaced");
        disk::rename(place, &away)?;
        disk::rename(made, place)?;
        disk::remove_all(&away)?;
    } else {
        disk::rename(made, place)?;
    }
    Ok(())
}

/// Moves the log of a failed conversion beside the place where its result would be; a log that cannot be moved is lost.
pub fn keep_log(made: &Path, place: &Path) -> Option<PathBuf> {
    let log = made.join(LOG);
    let mut name = place.file_name()?.to_owned();
    name.push(".log");
    let kept = place.with_file_name(name);
    disk::metadata(&log).ok()??;
    disk::rename(&log, &kept).ok()?;
    Some(kept)
}

fn check(made: &Path, artifact: &Artifact) -> Result<(), CollectError> {
    let outside = || CollectError::Outside { path: artifact.path.clone() };
    let is_plain = |component| matches!(component, std::path::Component::Normal(_));
    if !Path::new(&artifact.path).components().all(is_plain) {
        return Err(outside());
    }
    let path = made.join(&artifact.path);
    if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(outside());
    }
    read_through(disk::open(&path)?, artifact.size, artifact.sha256)
        .map_err(|source| CollectError::Different { path: artifact.path.clone(), source })
}

fn read_through(content: impl Read, size: ByteSize, digest: Digest) -> std::io::Result<()> {
    std::io::copy(&mut VerifyingReader::new(content, size, digest), &mut std::io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::ArtifactKind;

    fn made(folder: &Path) -> PathBuf {
        let made = folder.join("output");
        fs::create_dir(&made).unwrap();
        fs::write(made.join("m.blob"), b"blob").unwrap();
        made
    }

    fn artifact(path: &str, bytes: &[u8]) -> Artifact {
        let size = ByteSize::new(bytes.len() as u64);
        Artifact { path: path.to_owned(), size, sha256: Digest::of(bytes), kind: ArtifactKind::Blob }
    }

    #[test]
    fn a_result_replaces_an_earlier_one_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("result");
        collect(&made(folder.path()), &[artifact("m.blob", b"blob")], &place).unwrap();
        fs::write(place.join("old"), b"").unwrap();
        collect(&made(folder.path()), &[artifact("m.blob", b"blob")], &place).unwrap();
        assert!(!place.join("old").exists());
        assert_eq!(fs::read(place.join("m.blob")).unwrap(), b"blob");

        fs::remove_file(place.join(MARKER)).unwrap();
        let error = collect(&made(folder.path()), &[], &place).unwrap_err();
        assert!(matches!(error, CollectError::Taken { .. }), "{error}");
        assert!(place.join("m.blob").exists());
    }

    #[test]
    fn a_result_that_differs_from_its_report_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let made = made(folder.path());
        let place = folder.path().join("result");
        for artifact in [artifact("m.blob", b"bolb"), artifact("m.blob", b"blo"), artifact("../etc/passwd", b"")] {
            assert!(collect(&made, &[artifact], &place).is_err());
            assert!(!place.exists());
        }
    }
}
