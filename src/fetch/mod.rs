//! Artifacts from their sources into the store, and small documents into memory.
//!
//! Owns the network: which base is asked in which order, what is tried again, how a broken download goes on. Nothing
//! reaches the store unverified. Sync outside: each download has a thread, and all share one runtime for their sockets,
//! made when the first byte is wanted from the network. Secrets are in no error, no log and no event.

mod machine;
mod problem;
mod registry;
mod transfer;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::lock::{Artifact, Source};
use crate::name::{ArtifactId, FileName};
use crate::progress::Progress;
use crate::sources::{Base, Sources};
use crate::store::{Store, StoreError};
use crate::units::ByteSize;

pub use machine::read as read_machine;
pub use problem::{Cause, Failure, FetchError, Missing, Problem, Reason};
pub use transfer::placed;
pub(crate) use web::{builder as client, wait};

use registry::Registries;
use web::Clients;

/// How things are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Whether the network may be used.
    pub network: Network,
    /// How many artifacts are brought at once.
    pub parallel: usize,
    /// How often a base is asked again when a request failed for a reason that may pass.
    pub retries: usize,
    /// How long the first wait before asking again is; later ones are longer.
    pub first_wait: Duration,
    /// How long a connection may be silent. pip's own setting wins for Python package indexes.
    pub silence: Duration,
}

/// Whether the network may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It may.
    Online,
    /// It must not: what is not on this machine is missing.
    Offline,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            network: Network::Online,
            parallel: 8,
            retries: 4,
            first_wait: Duration::from_millis(500),
            silence: Duration::from_secs(30),
        }
    }
}

/// An artifact that is wanted, with the names under which users know its file.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The artifact.
    pub artifact: &'a Artifact,
    /// Other names of its file.
    pub also_known_as: BTreeSet<FileName>,
}

/// A small document, by kind and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// A file of a Debian archive, such as `dists/bullseye/InRelease`.
    Debian {
        /// Which archive: `debian` or `debian-security`.
        archive: String,
        /// The path below the archive's root.
        path: String,
    },
    /// The page of a project in a Python package index.
    Pypi {
        /// The normalised project name.
        project: String,
    },
    /// A file of a vendor's public server.
    Https {
        /// Which server.
        origin: String,
        /// The path below the server's base.
        path: String,
    },
}

impl std::fmt::Display for Document {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Debian { archive, path } => write!(formatter, "{path} of the archive `{archive}`"),
            Self::Pypi { project } => write!(formatter, "the index page of `{project}`"),
            Self::Https { origin, path } => write!(formatter, "{path} of the server `{origin}`"),
        }
    }
}

/// Brings artifacts and documents.
pub struct Fetcher {
    sources: Sources,
    options: FetchOptions,
    network: OnceLock<Sockets>,
    /// Bases that could not be connected to; nobody waits for them twice.
    unreachable: Mutex<BTreeMap<String, String>>,
}

/// Everything that only downloads need.
struct Sockets {
    runtime: Runtime,
    clients: Clients,
    registries: Registries,
}

impl Fetcher {
    /// Makes a fetcher. Nothing is connected yet.
    pub fn new(sources: Sources, options: FetchOptions) -> Self {
        Self { sources, options, network: OnceLock::new(), unreachable: Mutex::default() }
    }

    /// Returns where everything comes from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Brings all artifacts into the store, the biggest first, and returns their paths.
    ///
    /// Each is looked for in the store, among the files placed by hand, then at each base of its kind.
    ///
    /// # Errors
    /// Some could not be had; the error has every base's reason. Offline: some are missing.
    pub fn fetch(
        &self,
        wanted: &[Wanted<'_>],
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<ArtifactId, PathBuf>, FetchError> {
        let mut queue: Vec<&Wanted<'_>> = wanted.iter().collect();
        queue.sort_by_key(|wanted| wanted.artifact.pin.map(|pin| pin.size));
        let queue = Mutex::new(queue);
        let paths = Mutex::new(BTreeMap::new());
        let failures = Mutex::new(Vec::new());
        // A function of its own, so that the queue is free again before the work begins.
        let next = || locked(&queue).pop();
        let work = || {
            while let Some(wanted) = next() {
                match self.bring(wanted, store, progress) {
                    Ok(path) => drop(locked(&paths).insert(wanted.artifact.id.clone(), path)),
                    Err(cause) => {
                        // What one artifact meets on the disk, all others will meet.
                        if let Cause::Store(StoreError::Disk { .. }) = cause {
                            locked(&queue).clear();
                        }
                        let artifact = wanted.artifact;
                        let failure = Failure { artifact: artifact.id.clone(), file: artifact.file.clone(), cause };
                        locked(&failures).push(failure);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.options.parallel.min(wanted.len()) {
                scope.spawn(work);
            }
            work();
        });
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        let paths = paths.into_inner().unwrap_or_else(PoisonError::into_inner);
        if failures.is_empty() { Ok(paths) } else { Err(self.summed_up(wanted, failures)) }
    }

    fn summed_up(&self, wanted: &[Wanted<'_>], mut failures: Vec<Failure>) -> FetchError {
        failures.sort_by(|left, right| left.artifact.cmp(&right.artifact));
        let absent = |cause: &Cause| !matches!(cause, Cause::Store(_) | Cause::Placed { .. });
        if self.options.network == Network::Online || !failures.iter().all(|failure| absent(&failure.cause)) {
            return FetchError::Failed { wanted: wanted.len(), failures };
        }
        let missing = |failure: &Failure| {
            let artifact = wanted.iter().map(|wanted| wanted.artifact).find(|artifact| artifact.id == failure.artifact);
            Missing {
                artifact: failure.artifact.clone(),
                file: failure.file.clone(),
                kind: artifact.map_or("file", |artifact| artifact.source.kind()),
                size: artifact.and_then(|artifact| artifact.pin).map(|pin| pin.size),
            }
        };
        FetchError::Offline { missing: failures.iter().map(missing).collect() }
    }

    /// Brings a small document of at most `limit`; each base of its kind is asked in turn.
    ///
    /// # Errors
    /// No base has it; the error has every base's reason. Offline.
    pub fn fetch_bytes(&self, document: &Document, limit: ByteSize) -> Result<Vec<u8>, FetchError> {
        if self.options.network == Network::Offline {
            return Err(FetchError::DocumentOffline { document: document.to_string() });
        }
        let sockets = self.sockets()?;
        let mut reasons = Vec::new();
        for base in self.bases(&document.source()) {
            match self.read(sockets, base, document, limit) {
                Ok(bytes) => return Ok(bytes),
                Err(problem) => reasons.push(Reason { from: base.to_string(), problem }),
            }
        }
        Err(FetchError::Document { document: document.to_string(), reasons })
    }

    /// Returns the bases of a kind in order of preference.
    fn bases(&self, source: &Source) -> &[Base] {
        let mirrors = &self.sources.mirrors;
        match source {
            Source::Debian(debian) => mirrors.debian.get(&debian.archive).map(Vec::as_slice).unwrap_or_default(),
            Source::Pypi { .. } => &mirrors.pypi,
            Source::Https { origin, .. } => mirrors.https.get(origin).map(Vec::as_slice).unwrap_or_default(),
            Source::Oci { .. } => &mirrors.oci,
            Source::File { .. } => &[],
        }
    }

    fn sockets(&self) -> Result<&Sockets, FetchError> {
        if let Some(sockets) = self.network.get() {
            return Ok(sockets);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("network")
            .enable_all()
            .build()
            .map_err(|source| FetchError::Setup { what: "network threads", source })?;
        let clients = Clients::new(&self.sources, &self.options)?;
        // If another thread was quicker, its sockets are taken and these dropped.
        Ok(self.network.get_or_init(|| Sockets { runtime, clients, registries: Registries::default() }))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
