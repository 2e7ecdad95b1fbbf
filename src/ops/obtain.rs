//! Artifacts into the store: from the network, or from a file that somebody has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::digest::Mismatch;
use crate::disk::{self, DiskError};
use crate::fetch::{FetchError, Fetcher, Wanted};
use crate::hint::Hint;
use crate::lock::{Artifact, Lock, Pin, Toolchain};
use crate::name::{ArtifactId, FileName};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::store::{Store, StoreError};

/// Names under which users know the files of vendors, by the file's name in the lock.
pub type OtherNames = BTreeMap<FileName, BTreeSet<FileName>>;

/// The verified artifacts of a toolchain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolchainArtifacts {
    paths: BTreeMap<ArtifactId, PathBuf>,
}

impl ToolchainArtifacts {
    /// Returns where an artifact lies in the store.
    pub fn path(&self, id: &ArtifactId) -> Option<&Path> {
        self.paths.get(id).map(PathBuf::as_path)
    }

    /// Returns how many artifacts there are.
    pub fn count(&self) -> usize {
        self.paths.len()
    }
}

/// Artifacts that could not be obtained, or a file that could not be imported.
#[derive(Debug, Error)]
pub enum ObtainError {
    /// Some artifacts could not be fetched.
    #[error(transparent)]
    Fetch(FetchError),
    /// The file cannot be read.
    #[error("cannot import {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: DiskError,
    },
    /// The file has the name of an artifact, but other bytes.
    #[error("{} has the name of {artifact}, but other bytes", path.display())]
    Differs {
        /// Which file.
        path: PathBuf,
        /// Which artifact.
        artifact: ArtifactId,
        /// What differs.
        source: Mismatch,
    },
    /// The lock knows neither the bytes nor the name.
    #[error("{} is no artifact of the lock: neither its name nor its digest ({}) is known", path.display(), found.sha256)]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: Pin,
        /// Names of files that are still to be imported.
        awaited: Vec<FileName>,
    },
    /// The store failed.
    #[error("cannot keep {}", path.display())]
    Store {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<StoreError>,
    },
}

impl Hint for ObtainError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Fetch(error) => error.hints(),
            Self::Unreadable { source, .. } => source.hints_in_store(),
            Self::Differs { .. } => vec!["obtain the file again; the lock pins exactly one build of it".to_owned()],
            Self::Unknown { awaited, .. } if awaited.is_empty() => Vec::new(),
            Self::Unknown { awaited, .. } => {
                let names: Vec<&str> = awaited.iter().map(FileName::as_str).collect();
                vec![format!("rename it to the file that it is, one of: {}", names.join(", "))]
            }
            Self::Store { source, .. } => source.hints(),
        }
    }
}

/// A file that is in the store now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The artifact that it is.
    pub artifact: ArtifactId,
    /// Its bytes.
    pub pin: Pin,
    /// Whether the lock pins them; if not, nobody had measured the artifact, and the lock can be completed.
    pub was_pinned: bool,
    /// Where it lies in the store.
    pub path: PathBuf,
}

/// Returns the names under which users know the files of the recipes' archives.
pub fn other_names<'a>(recipes: impl IntoIterator<Item = &'a Recipe>) -> OtherNames {
    let mut names = OtherNames::new();
    let layers = recipes.into_iter().flat_map(|recipe| &recipe.toolchains).flat_map(|toolchain| &toolchain.layers);
    for archive in layers.flat_map(|layer| &layer.archives) {
        names.entry(archive.file.clone()).or_default().extend(archive.also_known_as.iter().cloned());
    }
    names
}

/// Returns the artifacts of a toolchain as things to fetch, each once.
pub fn wanted<'a>(lock: &'a Lock, toolchain: &'a Toolchain, names: &OtherNames) -> Vec<Wanted<'a>> {
    let artifacts: BTreeMap<&ArtifactId, &Artifact> =
        lock.artifacts_of(toolchain).map(|artifact| (&artifact.id, artifact)).collect();
    let wanted = |artifact: &'a Artifact| Wanted {
        artifact,
        also_known_as: names.get(&artifact.file).cloned().unwrap_or_default(),
    };
    artifacts.into_values().map(wanted).collect()
}

/// Brings artifacts into the store: each one that is not there is taken from a file placed by hand, or fetched.
pub fn obtain(
    wanted: &[Wanted<'_>],
    store: &Store,
    fetcher: &Fetcher,
    progress: &dyn Progress,
) -> Result<ToolchainArtifacts, ObtainError> {
    let paths = fetcher.fetch(wanted, store, progress).map_err(ObtainError::Fetch)?;
    Ok(ToolchainArtifacts { paths })
}

/// Copies a file that somebody has into the store, as the artifact that it is.
///
/// A pinned artifact is recognised by its bytes, whatever the file is called; one without a pin by the file's name.
pub fn import(file: &Path, lock: &Lock, names: &OtherNames, store: &Store) -> Result<Imported, ObtainError> {
    let path = || file.to_owned();
    let unreadable = |source| ObtainError::Unreadable { path: path(), source };
    let found = measure(file).map_err(unreadable)?;
    let keep = || {
        let mut content = disk::open(file).map_err(unreadable)?;
        store
            .insert(&mut content, found)
            .map_err(|source| ObtainError::Store { path: path(), source: Box::new(source) })
    };
    if let Some(artifact) = lock.artifacts().find(|artifact| artifact.pin == Some(found)) {
        return Ok(Imported { artifact: artifact.id.clone(), pin: found, was_pinned: true, path: keep()? });
    }
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_called = |artifact: &&Artifact| {
        let others = names.get(&artifact.file).into_iter().flatten();
        std::iter::once(&artifact.file).chain(others).any(|known| known.as_str() == name)
    };
    let called: Vec<&Artifact> = lock.artifacts().filter(is_called).collect();
    if let Some(artifact) = called.iter().find(|artifact| artifact.pin.is_none()) {
        return Ok(Imported { artifact: artifact.id.clone(), pin: found, was_pinned: false, path: keep()? });
    }
    match called.first().and_then(|artifact| artifact.pin.map(|pin| (artifact.id.clone(), pin))) {
        Some((artifact, pin)) => Err(ObtainError::Differs { path: path(), artifact, source: difference(pin, found) }),
        None => {
            let awaited = lock.artifacts().filter(|artifact| artifact.pin.is_none());
            let known = |artifact: &Artifact| {
                let others = names.get(&artifact.file).into_iter().flatten().cloned();
                std::iter::once(artifact.file.clone()).chain(others).collect::<Vec<_>>()
            };
            let awaited = awaited.flat_map(known).collect();
            Err(ObtainError::Unknown { path: path(), found, awaited })
        }
    }
}

fn difference(expected: Pin, found: Pin) -> Mismatch {
    if expected.size == found.size {
        Mismatch::Digest { expected: expected.sha256, found: found.sha256 }
    } else {
        Mismatch::Size { expected: expected.size, found: found.size }
    }
}

/// Measures a file.
fn measure(path: &Path) -> Result<Pin, DiskError> {
    Pin::read(disk::open(path)?).map_err(|source| DiskError::new("read", path, source))
}
