//! `store info`, `store verify` and `store gc`: looking after the content store.
//!
//! Owns which things count as needed. Every result prints for people and serialises for programs.

use std::path::Path;

use crate::digest::DiffId;
use crate::lock::Lock;
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

/// Removes what none of `locks` names, what `more` does not keep either, and what no live process relies on.
///
/// `more` is what the locks cannot know: documents and caches of their images, and the layer of the converter.
pub fn gc(store: &Store, locks: &[&Lock], more: Kept) -> Result<Collected, StoreError> {
    let kept = locks.iter().fold(more, |kept, lock| kept.and(Kept::by_lock(lock)));
    store.collect(&kept)
}
