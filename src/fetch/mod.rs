//! Artifacts from their sources into the store.
