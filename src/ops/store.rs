//! `store info`, `store verify` and `store gc`: looking after the content store.
//!
//! Owns which things count as needed. Every result prints for people and serialises for programs.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::digest::DiffId;
use crate::lock::{Artifact, Lock};
use crate::name::ArtifactId;
use crate::progress::Progress;
use crate::store::{Collected, Judgement, Kept, Store, StoreError, Usage, Verified};

/// Counts and measures everything in the store, by kind.
pub fn info(store: &Store) -> Result<Usage, StoreError> {
    store.usage()
}

/// Reads every blob again and has `judge` look at every unpacked layer; what is broken is removed.
pub fn verify(
    store: &Store,
    judge: &dyn Fn(&DiffId, &Path) -> Judgement,
    progress: &dyn Progress,
) -> Result<Verified, StoreError> {
    store.verify(judge, progress)
}

/// Which artifacts of a toolchain are in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// In the store, and every byte as pinned.
    pub intact: Vec<ArtifactId>,
    /// Not in the store, or not pinned yet.
    pub missing: Vec<ArtifactId>,
    /// In the store with other bytes than pinned; removed where the store can be written.
    pub broken: Vec<ArtifactId>,
}

impl Presence {
    /// Returns whether everything is there and intact.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.broken.is_empty()
    }
}

/// Prints a sum, and what is missing or broken.
impl fmt::Display for Presence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (intact, missing, broken) = (self.intact.len(), self.missing.len(), self.broken.len());
        write!(formatter, "{intact} artifacts intact, {missing} missing, {broken} broken")?;
        for (what, ids) in [("missing", &self.missing), ("broken", &self.broken)] {
            for id in ids {
                write!(formatter, "\n  {what}: {id}")?;
            }
        }
        Ok(())
    }
}

/// Reads the blob of every artifact again.
///
/// # Errors
/// The store cannot be read.
pub fn verify_artifacts<'a>(
    artifacts: impl IntoIterator<Item = &'a Artifact>,
    store: &Store,
) -> Result<Presence, StoreError> {
    let mut presence = Presence::default();
    for artifact in artifacts {
        let list = match artifact.pin {
            None => &mut presence.missing,
            Some(pin) => match store.check(pin)? {
                Some(true) => &mut presence.intact,
                Some(false) => &mut presence.broken,
                None => &mut presence.missing,
            },
        };
        list.push(artifact.id.clone());
    }
    Ok(presence)
}

/// Removes what none of `locks` names, what `more` does not keep either, and what no live process relies on.
///
/// `more` is what the locks cannot know: documents and caches of their images, and the layer of the converter.
pub fn gc(store: &Store, locks: &[&Lock], more: Kept) -> Result<Collected, StoreError> {
    let kept = locks.iter().fold(more, |kept, lock| kept.and(Kept::by_lock(lock)));
    store.collect(&kept)
}
